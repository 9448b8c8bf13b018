"""A table in batches is the table: of every format, with row groups of any size, from any place."""

import datetime as dt

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from plurality.data.readers import batches
from plurality.data.readers.batches import Batches
from plurality.data.readers.tables import open_frame
from plurality.errors import InputError


@pytest.fixture
def frame():
    n = 53
    zone = pl.Series([dt.datetime(2020, 1, 1, tzinfo=dt.UTC)] * n, dtype=pl.Datetime("us", "Europe/Berlin"))
    return pl.DataFrame(
        {
            "user_id": [f"u{i % 7}" for i in range(n)],
            "prompt": [[{"role": "user", "content": f"p{i}"}] for i in range(n)],
            "score": [None if i % 5 == 0 else i / 3 for i in range(n)],
            "kind": pl.Series([f"k{i // 20}" for i in range(n)], dtype=pl.Categorical),
            "level": pl.Series(["low", "high"] * 26 + ["low"], dtype=pl.Enum(["low", "high"])),
            "small": pl.Series(range(n), dtype=pl.Int8),
            "day": [dt.date(2020, 1, 1)] * n,
            "when": zone,
            "lists": [[i] * (i % 3) for i in range(n)],
            "nothing": pl.Series([None] * n, dtype=pl.Null),
            "true": [True, False, None] * 17 + [True, False],
        }
    )


@pytest.mark.parametrize("group", [1, 10, 16, 100])
@pytest.mark.parametrize("step", [1, 16, 60])
def test_parquet(frame, tmp_path, monkeypatch, group, step):
    monkeypatch.setattr(batches, "BATCH", step)
    frame.write_parquet(tmp_path / "x.parquet", row_group_size=group)
    found = Batches(tmp_path / "x.parquet", "rows")
    parts = [part for part, _ in found]
    assert [part.height for part in parts] == [step] * (53 // step) + [53 % step] * (53 % step > 0)
    assert_frame_equal(pl.concat(parts), open_frame(tmp_path / "x.parquet", "rows")[0], categorical_as_str=True)
    assert [row for _, place in found for row in place.rows] == list(range(53))
    last, place = found[len(found) - 1]
    assert_frame_equal(last, parts[-1], categorical_as_str=True)
    assert place.rows[-1] == 52


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_other_files_and_frames(frame, tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(batches, "BATCH", 16)
    plain, path = frame.select("user_id", "score", "small", "true"), tmp_path / f"x.{suffix}"
    plain.write_csv(path) if suffix == "csv" else plain.write_ndjson(path)
    for source in (path, plain):
        found = Batches(source, "rows")
        assert_frame_equal(pl.concat(part for part, _ in found), open_frame(source, "rows")[0])
        assert_frame_equal(found[3][0], open_frame(source, "rows")[0][48:])


def test_what_cannot_be_read(frame, tmp_path):
    path = tmp_path / "x.parquet"
    for content, message in (
        (None, "does not exist"),
        (b"", "cannot be read|has no rows"),
        (b"PAR1 no", "cannot be read"),
    ):
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            Batches(path, "rows")
    frame.head(0).write_parquet(path)
    with pytest.raises(InputError, match="has no rows"):
        Batches(path, "rows")
    frame.select("user_id", "score").write_parquet(path, compression="zstd")
    whole = bytearray(path.read_bytes())
    whole[20:60] = b"\xff" * 40
    path.write_bytes(bytes(whole))
    with pytest.raises(InputError, match=r"x\.parquet cannot be read"):
        list(Batches(path, "rows"))
