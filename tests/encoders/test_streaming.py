"""Embedding as the store is written: the same bytes, in little memory, and nothing embedded twice after a kill."""

import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

import plurality as pl8
from plurality.cli import main
from plurality.data import pending, tensor_files
from plurality.data.store import EMBEDDINGS
from plurality.errors import InputError

SPEC = importlib.util.spec_from_file_location("embedding_server", Path(__file__).with_name("embedding_server.py"))
fake = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(fake)


@pytest.fixture
def rows():
    said = [f"{'red blue green ' * 300}{i}" for i in range(160)]
    return pl.DataFrame(
        {"user_id": ["u"] * 80, "prompt": ["Why?"] * 40 + ["How?"] * 40, "chosen": said[:80], "rejected": said[80:]}
    )


def test_blocks_change_no_byte(rows, tmp_path, monkeypatch):
    encoder = pl8.encoders.LsaSpec(dim=4, min_df=1).fit(
        (["a"] * 4, ["red blue", "blue", "red green", "why how"]), seed=0
    )
    pl8.read(rows, encoder=encoder, prompts=True).save(tmp_path / "whole")
    monkeypatch.setattr(pending, "BLOCK", 7)
    pl8.read(rows, encoder=encoder, prompts=True, pending=True).save(tmp_path / "blocks")
    assert (tmp_path / "whole" / EMBEDDINGS).read_bytes() == (tmp_path / "blocks" / EMBEDDINGS).read_bytes()


def test_a_killed_run_goes_on_where_it_was(rows, tmp_path, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "*")
    server = fake.Server()
    rows.write_parquet(tmp_path / "rows.parquet")

    def command(name, cache):
        where = ["--out", str(tmp_path / name), "--encoder", server.url, "--cache", str(tmp_path / cache)]
        return ["embed", str(tmp_path / "rows.parquet"), "--store-dtype", "bfloat16", *where]

    assert main(command("whole", "other")) == 0
    server.asked.clear()
    running = subprocess.Popen([sys.executable, "-m", "plurality", *command("store", "cache")])
    answer = server.answer
    server.answer = lambda asked: os.kill(running.pid, signal.SIGKILL) if len(server.texts) > 120 else answer(asked)
    server.fails, reply = [], server.reply
    server.reply = lambda handler, status, body, headers=(): body is None or reply(handler, status, body, headers)
    assert running.wait() == -signal.SIGKILL
    server.answer, server.reply = answer, reply
    kept = len(list((tmp_path / "cache").glob("*/*.safetensors")))
    assert kept
    server.asked.clear()
    assert main(command("store", "cache")) == 0
    assert len(server.texts) == 8 + 160 - 55 * kept  # the probe, and what no block of 250,000 characters had
    assert (tmp_path / "store" / EMBEDDINGS).read_bytes() == (tmp_path / "whole" / EMBEDDINGS).read_bytes()
    server.stop()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_halves_are_rounded_as_torch_rounds(dtype, tmp_path):
    x = np.random.default_rng(0).normal(size=(50, 8)).astype(np.float32)
    tensor_files.write_tensors(tmp_path / "x.safetensors", {"items": x}, dtype)
    found = tensor_files.map_tensors(tmp_path / "x.safetensors")["items"]
    want = torch.as_tensor(x).to(getattr(torch, dtype)).float().numpy()
    np.testing.assert_array_equal(np.asarray(found, dtype=np.float32), want)
    big = np.full((1, 2), 3.4e38, dtype=np.float32)
    with pytest.raises(InputError, match="too large"):
        tensor_files.write_tensors(tmp_path / "y.safetensors", {"items": big}, dtype)


def test_halves_fit_as_well(tmp_path):
    """Predictions of a planted taste move by less than a hundredth."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(200, 16)).astype(np.float32), rng.normal(size=16)
    one, two = rng.integers(0, 100, 600), rng.integers(100, 200, 600)
    first = rng.random(600) < 1 / (1 + np.exp((x[two] - x[one]) @ w))
    rows = {"user_id": ["u"] * 600, "chosen": np.where(first, one, two), "rejected": np.where(first, two, one)}
    data = pl8.read(rows, embeddings=x, repeats="keep")
    want = pl8.BradleyTerry(decay=1.0).fit(data).prefer(data)
    for dtype in ("float16", "bfloat16"):
        data.save(tmp_path / dtype, dtype=dtype)
        stored = pl8.Comparisons.load(tmp_path / dtype)
        got = pl8.BradleyTerry(decay=1.0).fit(stored).prefer(stored)
        assert np.abs(got - want).max() < 0.01


def answers(server, manifest, results, *, fail=()):
    """What run-batch writes, in another order; `fail` are lines that go wrong."""
    import json

    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    out = []
    for i, line in enumerate(lines):
        body = json.loads(server.answer(line["body"]))
        response = (
            {"status_code": 500, "body": {"error": "no memory"}} if i in fail else {"status_code": 200, "body": body}
        )
        out.append(json.dumps({"id": f"b{i}", "custom_id": line["custom_id"], "response": response, "error": None}))
    results.write_text("\n".join(out[::-1]) + "\n")
    return lines


def test_run_batch_and_back(rows, tmp_path, monkeypatch, capsys):
    """The store of a batch is that of the server; what failed is named and asked for again, alone."""
    monkeypatch.setenv("NO_PROXY", "*")
    server, manifest = fake.Server(), tmp_path / "manifest.jsonl"
    rows.write_parquet(tmp_path / "rows.parquet")
    source = ["embed", str(tmp_path / "rows.parquet"), "--encoder-model", "tiny", "--max-length", "100"]
    assert (
        main([*source, "--encoder", server.url, "--out", str(tmp_path / "served"), "--cache", str(tmp_path / "c")]) == 0
    )
    assert main([*source, "--manifest", str(manifest)]) == 0
    lines = answers(server, manifest, tmp_path / "one.jsonl", fail=(3, 5))
    assert len(lines) == 168
    assert lines[0]["url"] == "/v1/embeddings"
    assert lines[0]["body"]["truncate_prompt_tokens"] == 100
    assert main([*source, "--results", str(tmp_path / "one.jsonl"), "--out", str(tmp_path / "store")]) == 2
    told = capsys.readouterr().err
    assert "2 of 160 completions have no answer" in told
    assert "no memory" in told
    assert main([*source, "--manifest", str(manifest), "--results", str(tmp_path / "one.jsonl")]) == 0
    assert len(answers(server, manifest, tmp_path / "two.jsonl")) == 2
    both = ["--results", str(tmp_path / "one.jsonl"), str(tmp_path / "two.jsonl")]
    assert main([*source, *both, "--out", str(tmp_path / "store")]) == 0
    assert (tmp_path / "store" / EMBEDDINGS).read_bytes() == (tmp_path / "served" / EMBEDDINGS).read_bytes()
    one, other = (pl8.Comparisons.load(tmp_path / name).encoder.fingerprint for name in ("store", "served"))
    assert one == other
    server.stop()


def test_shards_from_servers_of_their_own(rows, tmp_path, monkeypatch, capsys):
    """Each shard has its server; one that pools otherwise made vectors that mean something else."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr(pending, "BLOCK", 50)
    servers = [fake.Server() for _ in range(3)]
    servers[2].pooling = "last"
    rows.write_parquet(tmp_path / "rows.parquet")

    def embed(name, server, *more):
        where = ["--encoder", server.url, "--cache", str(tmp_path / f"cache of {name}"), *more]
        return main(["embed", str(tmp_path / "rows.parquet"), "--out", str(tmp_path / name), *where])

    def merge(*names):
        return main(["data", "merge", *(str(tmp_path / n) for n in names), "--out", str(tmp_path / "store")])

    assert embed("whole", servers[0]) == 0
    for name, server, share in (("one", servers[0], "1/2"), ("two", servers[1], "2/2"), ("bad", servers[2], "2/2")):
        assert embed(name, server, "--shard", share) == 0
    assert sum("red blue" in text for text in servers[1].texts) == 160 - 100  # the first of two has two blocks of four
    assert merge("one", "bad") == 2
    assert "embeds the fixed texts of the probe otherwise" in capsys.readouterr().err
    assert merge("one", "two") == 0
    for file in ("embeddings.safetensors", "comparisons.parquet", "items.parquet", "users.parquet"):
        assert (tmp_path / "store" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    assert main(["fit", "bradley_terry", str(tmp_path / "one"), "--out", str(tmp_path / "reward")]) == 2
    assert "is a shard of a store; make the store of all of them: plurality data merge" in capsys.readouterr().err
    for server in servers:
        server.stop()
