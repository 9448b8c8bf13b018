import os
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plurality.encoders import embedding
from plurality.encoders.cache import EmbeddingCache
from plurality.encoders.embedding import BLOCK_CHARACTERS, BLOCK_TEXTS, blocks, embed

DIM = 2


def planted(text):
    return [len(text), sum(map(ord, text))]


class Stub:
    """Counts every text it embeds, and stops working after `limit` texts."""

    def __init__(self, texts, limit=None):
        self.texts, self.limit, self.seen = texts, limit, Counter()

    def __call__(self, rows):
        wanted = [self.texts[row] for row in rows]
        if self.limit is not None and self.seen.total() + len(wanted) > self.limit:
            raise RuntimeError("power cut")
        self.seen.update(wanted)
        vectors = np.array([planted(text) for text in wanted], dtype=np.float32)
        return vectors, np.array([len(text) for text in wanted], dtype=np.int32)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(embedding, "BLOCK_TEXTS", 4)


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=3), max_size=30))
@settings(max_examples=60, deadline=None)
def test_every_row_gets_its_vector_and_every_text_is_computed_once(texts):
    stub = Stub(texts)
    vectors, tokens = embed(texts, stub, DIM, None)
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [planted(text) for text in texts]
    assert tokens.tolist() == [len(text) for text in texts]
    assert stub.seen == Counter(set(texts))


@given(st.lists(st.integers(0, 3 * BLOCK_CHARACTERS), max_size=40), st.integers(1, 7))
@settings(max_examples=60, deadline=None)
def test_blocks_hold_every_row_once_longest_first_within_bounds(lengths, most):
    characters = np.array(lengths, dtype=np.int64)
    original, embedding.BLOCK_TEXTS = embedding.BLOCK_TEXTS, most
    try:
        parts = list(blocks(characters))
    finally:
        embedding.BLOCK_TEXTS = original
    rows = np.concatenate([*parts, np.empty(0, dtype=np.int64)]).astype(np.int64)
    assert sorted(rows.tolist()) == list(range(len(lengths)))
    assert (np.diff(characters[rows]) <= 0).all()
    for part in parts:
        assert 1 <= len(part) <= most
        assert len(part) == 1 or characters[part].sum() <= BLOCK_CHARACTERS


def test_blocks_are_not_smaller_than_they_must_be():
    assert [len(part) for part in blocks(np.ones(2 * BLOCK_TEXTS + 1, dtype=np.int64))] == [
        BLOCK_TEXTS,
        BLOCK_TEXTS,
        1,
    ]


def test_a_broken_run_goes_on_where_it_stopped(tmp_path, small_blocks):
    texts = [f"{'x' * (i % 5)}{i}" for i in range(22)] * 2
    first = Stub(texts, limit=10)
    with pytest.raises(RuntimeError, match="power cut"):
        embed(texts, first, DIM, EmbeddingCache(tmp_path, DIM))
    second = Stub(texts)
    vectors, _ = embed(texts, second, DIM, EmbeddingCache(tmp_path, DIM))
    assert first.seen.total() == 8
    assert first.seen + second.seen == Counter(set(texts))
    assert vectors.tolist() == [planted(text) for text in texts]
    third = Stub(texts, limit=0)
    again, tokens = embed(texts, third, DIM, EmbeddingCache(tmp_path, DIM))
    np.testing.assert_array_equal(again, vectors)
    assert tokens.tolist() == [len(text) for text in texts]


KILLED = """
import os, signal, sys
from pathlib import Path
import numpy as np
from plurality.encoders import embedding
from plurality.encoders.cache import EmbeddingCache

embedding.BLOCK_TEXTS = 4
texts = [f"text {i}" for i in range(20)]
log = Path(sys.argv[2]).open("a", buffering=1)

def compute(rows):
    if rows.min() <= 9 <= rows.max():
        os.kill(os.getpid(), signal.SIGKILL)
    for row in rows:
        log.write(f"{row}\\n")
    return np.ones((len(rows), 2), np.float32), np.ones(len(rows), np.int32)

embedding.embed(texts, compute, 2, EmbeddingCache(Path(sys.argv[1]), 2))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_killed_process_keeps_what_it_had_done(tmp_path, small_blocks):
    log = tmp_path / "log"
    command = [sys.executable, "-c", KILLED, str(tmp_path / "cache"), str(log)]
    killed = subprocess.run(command, check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert killed.returncode == -signal.SIGKILL
    done = [int(line) for line in log.read_text().split()]
    assert 0 < len(done) < 20
    texts = [f"text {i}" for i in range(20)]
    stub = Stub(texts)
    embed(texts, stub, DIM, EmbeddingCache(tmp_path / "cache", DIM))
    assert stub.seen == Counter(texts) - Counter(texts[row] for row in done)


def test_writers_side_by_side_do_no_harm(tmp_path, small_blocks):
    texts = [f"text {i}" for i in range(60)]

    def work(start):
        mine = texts[start:] + texts[:start]
        return embed(mine, Stub(mine), DIM, EmbeddingCache(tmp_path, DIM))[0].tolist()

    starts = [0, 0, 7, 30]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(work, starts))
    for start, result in zip(starts, results, strict=True):
        assert result == [planted(text) for text in texts[start:] + texts[:start]]
    assert all(path.suffix == ".safetensors" for path in tmp_path.iterdir())
    vectors, _ = embed(texts, Stub(texts, limit=0), DIM, EmbeddingCache(tmp_path, DIM))
    assert vectors.tolist() == [planted(text) for text in texts]


def test_progress_counts_what_is_computed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    embed(["a", "bb", "a"], Stub(["a", "bb", "a"]), DIM, None, progress=True)
    assert "2/2 texts" in capsys.readouterr().err
