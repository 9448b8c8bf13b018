import hashlib
from pathlib import Path

import numpy as np
import pytest

from plurality.encoders.cache import EmbeddingCache, default_folder, text_keys
from plurality.errors import InputError, InputWarning

DIM = 3
TEXTS = [f"text {i}" for i in range(10)]


def keys(texts):
    return text_keys(texts, "texts")


def planted(texts):
    """Vectors and token counts that can be told from the text."""
    rows = np.array([[len(text), sum(map(ord, text)) / 7, 1.0] for text in texts], dtype=np.float32)
    return rows, np.array([len(text) for text in texts], dtype=np.int32)


def filled(folder, texts=TEXTS, parts=3):
    store = EmbeddingCache(folder, DIM)
    for part in range(parts):
        some = texts[part::parts]
        store.write(keys(some), *planted(some))
    return store


def test_what_was_written_is_read_in_any_order_and_by_anyone(tmp_path):
    writer = filled(tmp_path)
    wanted = ["unknown", *TEXTS[::-1]]
    for store in (writer, EmbeddingCache(tmp_path, DIM)):
        vectors, tokens, found = store.read(keys(wanted))
        assert found.tolist() == [False] + [True] * 10
        np.testing.assert_array_equal(vectors[1:], planted(TEXTS[::-1])[0])
        np.testing.assert_array_equal(tokens[1:], planted(TEXTS[::-1])[1])
        assert not vectors[0].any()


def test_an_empty_or_absent_folder_holds_nothing(tmp_path):
    assert not EmbeddingCache(tmp_path / "none", DIM).read(keys(TEXTS))[2].any()
    assert not filled(tmp_path).read(keys([]))[2].any()


def test_shards_of_others_are_seen_at_the_next_read(tmp_path):
    store = EmbeddingCache(tmp_path, DIM)
    assert not store.read(keys(TEXTS))[2].any()
    filled(tmp_path)
    assert store.read(keys(TEXTS))[2].all()


def test_the_same_work_writes_the_same_files(tmp_path):
    filled(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    filled(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_only_shards_that_hold_something_wanted_are_read(tmp_path, monkeypatch):
    filled(tmp_path)
    store = EmbeddingCache(tmp_path, DIM)
    loaded = []
    real = EmbeddingCache._load
    monkeypatch.setattr(EmbeddingCache, "_load", lambda self, path: loaded.append(path) or real(self, path))
    store.read(keys(TEXTS[:1]))
    assert len(loaded) == 1


def cut(path):
    path.write_bytes(path.read_bytes()[:-5])


def flip_key(path):
    flip(path, path.read_bytes().index(keys(TEXTS[:1]).tobytes()))


def flip_vector(path):
    flip(path, path.read_bytes().index(planted(TEXTS[:1])[0].tobytes()))


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))


def empty(path):
    path.write_bytes(b"")


def widen(path):
    wider = EmbeddingCache(path.parent, DIM + 1)
    some = TEXTS[::3]
    wider.write(keys(some), np.ones((len(some), DIM + 1), np.float32), np.ones(len(some), np.int32))


@pytest.mark.parametrize("damage", [cut, flip_key, flip_vector, empty, widen])
def test_a_damaged_shard_is_named_once_and_replaced(tmp_path, damage):
    filled(tmp_path, parts=3)
    lost = TEXTS[::3]
    shard = tmp_path / f"{hashlib.sha256(keys(lost).tobytes()).hexdigest()[:32]}.safetensors"
    damage(shard)
    store = EmbeddingCache(tmp_path, DIM)
    with pytest.warns(InputWarning, match=rf"{shard.name} is damaged .* delete the file"):
        found = store.read(keys(TEXTS))[2]
    store.read(keys(TEXTS))  # a second warning would be an error
    assert [text for text, there in zip(TEXTS, found, strict=True) if not there] == lost
    store.write(keys(lost), *planted(lost))
    for reader in (store, EmbeddingCache(tmp_path, DIM)):
        vectors, _, found = reader.read(keys(TEXTS))
        assert found.all()
        np.testing.assert_array_equal(vectors, planted(TEXTS)[0])


def test_a_shard_removed_between_two_reads_is_no_longer_found(tmp_path):
    store = filled(tmp_path)
    for path in tmp_path.iterdir():
        path.unlink()
    assert not store.read(keys(TEXTS))[2].any()


def test_keys_that_end_in_zero_bytes_are_told_apart(tmp_path):
    raw = np.zeros((3, 16), dtype=np.uint8)
    raw[1, 3], raw[2, 15] = 1, 1
    odd = raw.view("S16").ravel()
    store = EmbeddingCache(tmp_path, 1)
    store.write(odd, np.array([[0.0], [1.0], [2.0]], np.float32), np.zeros(3, np.int32))
    vectors, _, found = EmbeddingCache(tmp_path, 1).read(odd[::-1])
    assert found.all()
    assert vectors.ravel().tolist() == [2, 1, 0]


def test_keys_are_the_head_of_sha256():
    [key] = text_keys(["naïve"], "texts").view(np.uint8).reshape(1, -1)
    assert key.tobytes() == hashlib.sha256("naïve".encode()).digest()[:16]


def test_half_a_surrogate_is_named():
    with pytest.raises(InputError, match=r"completions\[1\] holds half a surrogate pair"):
        text_keys(["a", "b\ud800"], "completions")


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(InputError, match=r"cannot be written .* PLURALITY_CACHE"):
        filled(tmp_path / "file" / "cache")


def test_the_default_folder_follows_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("PLURALITY_CACHE", str(tmp_path))
    assert default_folder() == tmp_path
    monkeypatch.delenv("PLURALITY_CACHE")
    assert default_folder() == Path.home() / ".cache" / "plurality"
