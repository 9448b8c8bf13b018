"""The commands of the page on big jobs, all of them, at small size; vLLM and the GPUs have stand-ins."""

import importlib.util
import json
import os
import re
import shlex
import shutil
import subprocess
import warnings
from itertools import chain

import pytest

from plurality.data import pending
from plurality.errors import InputWarning
from tests.docs.blocks import ROOT, blocks

PAGE = (ROOT / "docs/pages/howto/big_job.md").read_text(encoding="utf-8")
LOOP = re.compile(r"for k in ([\d ]+); do (.*?) & done; wait")
SPEC = importlib.util.spec_from_file_location("embedding_server", ROOT / "tests/encoders/embedding_server.py")
fake = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(fake)


def commands():
    """Each command of the page, those of loops one by one, without the variables before them."""
    lines = chain.from_iterable(block.splitlines() for _, block in blocks(PAGE, "text"))
    for line in lines:
        loop = LOOP.fullmatch(line)
        for once in [line] if loop is None else [loop[2].replace("$k", k) for k in loop[1].split()]:
            yield [word for word in shlex.split(re.sub(r"\$\(\(.*?\)\)", "0", once)) if "CUDA_VISIBLE" not in word]


def run_batch(server, words):
    """What `vllm run-batch` does."""
    given = dict(zip(words[2::2], words[3::2], strict=False))
    with open(given["-i"], encoding="utf-8") as requests, open(given["-o"], "w", encoding="utf-8") as answers:
        for line in map(json.loads, requests):
            response = {"status_code": 200, "body": json.loads(server.answer(line["body"]))}
            answers.write(json.dumps({"custom_id": line["custom_id"], "response": response}) + "\n")


def here(words, url):
    """A command as it can run here: vectors from the small server, and Ray only where it is installed."""
    for name in ("--device", "--engine"):
        if name in words and (name == "--device" or importlib.util.find_spec("ray") is None):
            del words[words.index(name) : words.index(name) + 2]
    if "--encoder" in words:
        words[words.index("--encoder") + 1] = url
        words += ["--max-length", "512"] if words[1] == "embed" else []
        words += ["--encoder-model", "Qwen/Qwen3-Embedding-0.6B"]
    return words


@pytest.mark.slow
def test_every_command_runs(town, tmp_path, monkeypatch, command):
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("PLURALITY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(pending, "BLOCK", 16)
    shutil.copytree(town, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    server = fake.Server()
    ran = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        for words in commands():
            ran.append(words[0])
            if words[0] == "split":
                subprocess.run(words, check=True)
            elif words[0] == "vllm":
                run_batch(server, words)
            else:
                done = command(*here(words, server.url)[1:])
                assert done.code == 0, f"{shlex.join(words)}: {done.err}"
    server.stop()
    assert ran.count("vllm") == 8
    assert ran.count("plurality") == len(ran) - 9 == 18
    vectors = {name: (tmp_path / name / "embeddings.safetensors").read_bytes() for name in ("store", "merged", "again")}
    assert len(set(vectors.values())) == 1
    assert len(os.listdir("audit")) > 3
