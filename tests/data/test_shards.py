"""A store made in shards is the store of one run, to the byte; what does not belong together is refused."""

import shutil
from pathlib import Path

import polars as pl
import pytest

import plurality as pl8
from plurality.data import pending
from plurality.data.shards import Shard, merge_shards, save_shard
from plurality.errors import InputError


@pytest.fixture
def rows():
    said = [f"{'red blue green ' * (i % 5)}{i}" for i in range(40)]
    return pl.DataFrame(
        {"user_id": ["u", "v"] * 10, "prompt": ["Why?", "How?"] * 10, "chosen": said[:20], "rejected": said[20:]}
    )


@pytest.fixture
def read(rows, letters, monkeypatch):
    """Comparisons whose vectors are made as they are saved, blocks of seven texts at a time."""
    monkeypatch.setattr(pending, "BLOCK", 7)

    def read(table=rows, **options):
        users = pl.DataFrame({"user_id": ["u", "v"], "age": [3, 4]})
        return pl8.read(table, **{"users": users, "encoder": letters, "prompts": True, "pending": True, **options})

    return read


def shards(read, folder, of, dtype="float32"):
    return [save_shard(read(), folder / f"s{k}", Shard(k, of), dtype=dtype) for k in range(1, of + 1)]


def content(folder):
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in Path(folder).rglob("*") if p.is_file()}


@pytest.mark.parametrize(("of", "dtype"), [(1, "float32"), (3, "bfloat16"), (4, "float16"), (9, "float32")])
def test_the_bytes_of_one_run(read, tmp_path, of, dtype):
    read().save(tmp_path / "whole", dtype=dtype)
    made = shards(read, tmp_path, of, dtype)
    merge_shards(made[::-1], tmp_path / "merged")
    assert content(tmp_path / "merged") == content(tmp_path / "whole")
    assert pl8.Comparisons.load(tmp_path / "merged").users["age"].to_list() == [3, 4]
    assert sum("users.parquet" in content(folder) for folder in made) == 1


def test_each_text_is_embedded_by_one_shard(read, letters, tmp_path):
    shards(read, tmp_path, 3)
    assert len(letters.seen) == len(set(letters.seen)) == 40


@pytest.mark.parametrize("count", [0, 1, 7, 8, 40, 100])
@pytest.mark.parametrize("of", [1, 2, 3, 16])
def test_shares_are_whole_blocks_and_leave_nothing_out(monkeypatch, count, of):
    monkeypatch.setattr(pending, "BLOCK", 7)
    ends = [Shard(k, of).rows(count) for k in range(1, of + 1)]
    assert [a for a, _ in ends] == [0, *(b for _, b in ends[:-1])]
    assert ends[-1][1] == count
    assert all(a % 7 == 0 or a == count for a, _ in ends)
    sizes = [-(-(b - a) // 7) for a, b in ends]
    assert max(sizes) - min(sizes) <= 1


def test_what_does_not_belong_together(read, rows, letters, tmp_path):
    one, two, three = shards(read, tmp_path, 3)
    out = tmp_path / "out"

    def refuses(message, *folders):
        with pytest.raises(InputError, match=message):
            merge_shards(folders, out)
        assert not out.exists()

    refuses(r"1 of 3 shards are missing \(2\)", one, three)
    refuses("shard 2 is given twice, also as", one, two, three, two)
    other = rows.with_columns(pl.col("chosen") + "!")
    foreign = save_shard(read(other), tmp_path / "foreign", Shard(2, 3))
    refuses("differ in comparisons.parquet: other rows", one, foreign, three)
    refuses("type of their embeddings", one, save_shard(read(), tmp_path / "h", Shard(2, 3), dtype="float16"), three)
    refuses("differ in the number of shards", one, save_shard(read(), tmp_path / "n", Shard(2, 4)), three)
    letters.fingerprint = "other letters"
    refuses("differ in the encoder", one, save_shard(read(), tmp_path / "e", Shard(2, 3)), three)
    letters.fingerprint = "letters"
    read().save(tmp_path / "store")
    refuses("shard.json", one, tmp_path / "store", three)
    shutil.rmtree(two / "encoder")
    refuses("encoder is missing", one, two, three)
    with pytest.raises(InputError, match="plurality data merge"):
        pl8.Comparisons.load(one)


def test_damage_is_told(read, tmp_path):
    one, two = shards(read, tmp_path, 2)
    path = two / "embeddings.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match="SHA-256 differs"):
        merge_shards([one, two], tmp_path / "out")


@pytest.mark.parametrize("text", ["3", "0/2", "3/2", "a/b", "1/0", "-1/2", "1/2/3"])
def test_what_is_no_share(text):
    with pytest.raises(InputError, match="shard"):
        Shard.parse(text)
