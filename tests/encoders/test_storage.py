import json

import numpy as np
import pytest

from plurality.encoders import storage
from plurality.errors import InputError


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    storage.write_bytes(path, b"old")

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(InputError, match=r"a\.json: cannot be written \(disk full\)"):
        storage.write_bytes(path, b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    assert path.read_bytes() == b"old"


def test_a_record_comes_back(tmp_path):
    storage.write_record(tmp_path / "new" / "folder", {"kind": "x", "words": ["naïve", "日本", "\ud800"]})
    record = storage.read_record(tmp_path / "new" / "folder")
    assert record == {"schema_version": storage.SCHEMA, "kind": "x", "words": ["naïve", "日本", "\ud800"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "encoder.json is missing"),
        (b'{"schema_version": 1, "ki', "encoder.json: is not an encoder's record: .* save the encoder again"),
        (b"\xff\xfe", "encoder.json: is not an encoder's record: .* save the encoder again"),
        (b"[1, 2]", "is not an encoder's record"),
        (b'{"kind": "lsa"}', "is not an encoder's record"),
        (json.dumps({"schema_version": storage.SCHEMA + 1}).encode(), "upgrade plurality"),
    ],
)
def test_a_bad_record_is_named(tmp_path, content, message):
    if content is not None:
        (tmp_path / "encoder.json").write_bytes(content)
    with pytest.raises(InputError, match=message) as error:
        storage.read_record(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_tensors_come_back_and_damage_is_named(tmp_path):
    path = tmp_path / "x.safetensors"
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3).T, "b": np.array([1, 2], dtype=np.uint8)}
    storage.write_tensors(path, arrays)
    read = storage.read_tensors(path)
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)
        assert read[name].dtype == array.dtype
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(InputError, match=r"x\.safetensors is damaged"):
        storage.read_tensors(path)
    path.unlink()
    with pytest.raises(InputError, match=r"x\.safetensors is missing"):
        storage.read_tensors(path)


def test_a_fingerprint_sees_values_shapes_types_and_names():
    base = np.arange(4, dtype=np.float32)
    seen = [
        storage.fingerprint({"a": 1}),
        storage.fingerprint({"a": 2}),
        storage.fingerprint({"a": 1}, {"x": base}),
        storage.fingerprint({"a": 1}, {"y": base}),
        storage.fingerprint({"a": 1}, {"x": base.reshape(2, 2)}),
        storage.fingerprint({"a": 1}, {"x": base.astype(np.int32)}),
        storage.fingerprint({"a": 1}, {"x": base + 1}),
    ]
    assert len(set(seen)) == len(seen)
    assert storage.fingerprint({"b": 1, "a": 2}) == storage.fingerprint({"a": 2, "b": 1})
