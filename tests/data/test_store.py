"""A store gives back what was saved, mapped, and raises when it is not whole."""

import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from plurality.data import store, tensor_files
from plurality.data.comparisons import Comparisons
from plurality.data.read import read
from plurality.data.tensor_files import map_tensors, write_tensors
from plurality.encoders import Encoder, LsaSpec
from plurality.errors import InputError
from plurality.io.sealed import seal

ARRAYS = ("first", "second", "user", "label", "weight", "group", "prompt", "item_keys", "prompt_keys", "items")
CHAT = [[{"role": "user", "content": "tea?"}], [{"role": "user", "content": "sea? ü"}]]


@pytest.fixture
def data(letters) -> Comparisons:
    rows = {"user_id": ["ann", "bob"], "prompt": CHAT, "chosen": ["green", "calm"], "rejected": ["black", "wild"]}
    extra = {"group_id": [1, 2], "strength": [0.3, 0.7], "label": [1.0, 0.5], "objective": ["taste", "calm"]}
    users = pl.DataFrame({"user_id": ["bob", "ann", "dan"], "age": [30, None, 50], "tags": [["x"], [], ["y", "z"]]})
    return read(pl.DataFrame({**rows, **extra}), users=users, encoder=letters, prompts=True)


def same(one: Comparisons, other: Comparisons) -> bool:
    for name in ARRAYS:
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype, name
        assert a.tobytes() == b.tobytes(), name
    assert one.users.equals(other.users)
    assert one.users.schema == other.users.schema
    assert (one.texts is None and other.texts is None) or one.texts.equals(other.texts)
    assert (one.prompts is None) == (other.prompts is None)
    assert one.prompts is None or one.prompts.tobytes() == other.prompts.tobytes()
    assert one.duplicates == other.duplicates
    assert one.objectives == other.objectives
    assert (one.objective is None and other.objective is None) or (one.objective == other.objective).all()
    return True


def test_round_trip_is_bit_equal_and_mapped(tmp_path, data):
    folder = data.save(tmp_path / "new" / "store")
    again = Comparisons.load(folder)
    assert same(again, data)
    assert isinstance(again.items, np.memmap)
    assert isinstance(again.prompts, np.memmap)
    assert not again.items.flags.writeable
    assert all(getattr(again, name).flags.writeable for name in ("first", "user", "label", "group"))
    assert again.source == str(folder)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["store"]  # nothing left behind


def test_ready_made_embeddings_and_subsets(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((6, 3)).astype(np.float32)
    frame = pl.DataFrame({"user_id": [1, 2, 2], "first": [0, 1, 2], "second": [1, 2, 4], "label": [0.1, 1.0, 0.0]})
    data = read(frame, embeddings=vectors)
    for part in (data, data.take([2]), data.take([])):
        again = Comparisons.load(part.save(tmp_path / "store"))
        assert same(again, part)
        assert again.texts is again.encoder is again.prompts is None
    assert len(again.items) == 6  # items of a subset are those of the whole


def test_a_changed_value_is_an_error_unless_nobody_wants_to_know(tmp_path, data):
    folder = data.save(tmp_path / "store")
    content = (folder / "embeddings.safetensors").read_bytes()
    (folder / "embeddings.safetensors").write_bytes(content[:-4] + np.float32(7).tobytes())
    with pytest.raises(InputError, match=r"embeddings\.safetensors is not what was written \(its SHA-256 differs\)"):
        store.load(folder)
    assert Comparisons.load(folder, verify=False).prompts[-1, -1] == 7


def test_blocks_of_a_large_array_are_all_written(tmp_path, monkeypatch):
    monkeypatch.setattr(tensor_files, "BLOCK_BYTES", 64)
    arrays = {"items": np.arange(70, dtype=np.float64).reshape(10, 7), "prompts": np.ones((1, 7), np.float32)}
    write_tensors(tmp_path / "e.safetensors", arrays)
    from safetensors.numpy import load_file

    for reader in (map_tensors, load_file):
        tensors = reader(tmp_path / "e.safetensors")
        assert tensors["items"].dtype == np.float32
        assert (tensors["items"] == arrays["items"]).all()
        assert (tensors["prompts"] == 1).all()


def test_the_same_data_have_the_same_content_hash(tmp_path, data):
    def content_hash(folder: Path) -> str:
        return json.loads((folder / "meta.json").read_text())["content_hash"]

    one, two = data.save(tmp_path / "one"), data.save(tmp_path / "two")
    assert content_hash(one) == content_hash(two)
    assert content_hash(data.swapped().save(tmp_path / "three")) != content_hash(one)
    store.load(one, verify=True)


def test_the_encoder_comes_back_when_a_text_must_be_embedded(tmp_path):
    frame = pl.DataFrame({"user_id": [1, 2], "prompt": ["p", "q"], "chosen": ["a b", "c"], "rejected": ["c b", "a"]})
    data = read(frame, encoder=LsaSpec(dim=2, min_df=1, max_ngram=1))
    folder = data.save(tmp_path / "store")
    kept = Comparisons.load(folder).encoder
    assert isinstance(kept, Encoder)
    assert (kept.describe(), kept.dim) == (data.encoder.describe(), 2)
    assert kept.fingerprint == data.encoder.fingerprint
    assert (read(frame, encoder=kept).items == data.items).all()
    assert (kept.encode_prompts(["a c"]) == data.encoder.encode_prompts(["a c"])).all()
    moved = Comparisons.load(Comparisons.load(folder).save(tmp_path / "copy"))
    shutil.rmtree(folder)
    assert (moved.encoder.encode(["p"], ["a b"]) == data.encoder.encode(["p"], ["a b"])).all()


def test_a_store_opens_without_its_model(tmp_path, data):
    """A model may be gone, or take minutes to load; only embedding asks for it."""
    again = Comparisons.load(data.save(tmp_path / "store"))
    assert again.encoder.describe()["kind"] == "letters"
    with pytest.raises(InputError, match="encoder"):
        again.encoder.encode(["p"], ["a"])


@pytest.mark.parametrize("name", ["embeddings.safetensors", "comparisons.parquet", "items.parquet"])
@pytest.mark.parametrize("left", [0, 1, 7, 8, 50, -8, -1])
def test_truncated_files(tmp_path, data, name, left):
    folder = data.save(tmp_path / "store")
    path = folder / name
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(InputError, match=rf"{name} is truncated \(.* were written\); copy the store again, or embed"):
        store.load(folder)


@pytest.mark.parametrize("left", [0, 1, 7, 8, 50, -8, -1])
def test_a_truncated_tensor_file_is_known_by_its_header(tmp_path, left):
    path = tmp_path / "e.safetensors"
    write_tensors(path, {"items": np.ones((4, 2))})
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(InputError, match=r"is truncated after .* bytes; copy it again or embed the texts again"):
        map_tensors(path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"not json", "is not a safetensors file"),
        (b"[1, 2]", "is damaged"),
        (b'{"x": {"dtype": "F32", "shape": [2, 2]}}', "is damaged"),
        (b'{"x": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 12]}}', "its header contradicts itself"),
        (b'{"x": {"dtype": "F32", "shape": [2, 2], "data_offsets": [-8, 8]}}', "its header contradicts itself"),
        (b'{"x": {"dtype": "F32", "shape": [-2, -2], "data_offsets": [0, 16]}}', "its header contradicts itself"),
        (b'{"x": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]}}', "overlap or leave gaps"),
        (b'{"x": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}', "8 bytes belong to no tensor"),
        (b'{"x": {"dtype": "F32", "shape": [1e9], "data_offsets": [0, 16]}}', "its header contradicts itself"),
        (b"[" * 100_000, "is not a safetensors file"),
        (b'{"x": {"dtype": "F8_E4M3", "shape": [2, 2], "data_offsets": [0, 8]}}', "holds F8_E4M3 values; save them as"),
    ],
)
def test_tensor_files_that_make_no_sense(tmp_path, header, message):
    path = tmp_path / "e.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(16))
    with pytest.raises(InputError, match=message):
        map_tensors(path)


def test_missing_files(tmp_path, data):
    folder = data.save(tmp_path / "store")
    (folder / "users.parquet").unlink()
    with pytest.raises(InputError, match=r"users\.parquet is missing; copy the store again"):
        store.load(folder)
    (folder / "meta.json").unlink()
    for place in (folder, tmp_path / "absent"):
        with pytest.raises(InputError, match=r"is not a store, it has no meta\.json; give a folder that was saved"):
            store.load(place)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, r"was written by a newer plurality \(schema 2\); upgrade plurality"),
        ({"schema_version": "x"}, "is damaged or not a store's record"),
        ({"files": {}}, "is damaged, it does not list the files"),
        ({"counts": {}}, "is damaged, its files are of different lengths"),
        ({"encoder": {}}, r"is damaged \('dim'\)"),
    ],
)
def test_records_that_cannot_be_followed(tmp_path, data, change, message):
    path = data.save(tmp_path / "store") / "meta.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match="upgrade" if "upgrade" in message else "again"):
        store.load(path.parent)
    if "files" not in change:
        seal(path.parent, "meta.json")
    with pytest.raises(InputError, match=message):
        store.load(path.parent)


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("step", ["data.store.write_tensors", "io.sealed.sha256"])
def test_a_save_that_fails_leaves_the_old_store_as_it_was(tmp_path, data, monkeypatch, error, step):
    folder = data.save(tmp_path / "store")
    before = {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(f"plurality.{step}", fail)
    with pytest.raises((InputError, KeyboardInterrupt)):
        data.swapped().save(folder)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_store_is_replaced_even_by_what_is_mapped_from_it(tmp_path, data):
    folder = data.save(tmp_path / "store")
    mapped = Comparisons.load(folder)
    mapped.take([1]).save(folder)
    again = Comparisons.load(folder)
    assert same(again, data.take([1]))
    assert (mapped.items == data.items).all()
    assert [path.name for path in tmp_path.iterdir()] == ["store"]


def test_other_folders_and_files_are_left_alone(tmp_path, data):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("1")
    (tmp_path / "file").write_text("1")
    for name in ("thesis", "file", "file/store"):
        with pytest.raises(InputError, match=f"{name}") as caught:
            data.save(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert (tmp_path / "thesis" / "chapter.txt").read_text() == "1"
    (tmp_path / "empty").mkdir()
    assert same(Comparisons.load(data.save(tmp_path / "empty")), data)
