"""What the machine lacks is one line."""

import subprocess
import sys

import pytest

from plurality import cli

NO_MATPLOTLIB = """
import sys
sys.modules["matplotlib"] = None
import plurality
from plurality.errors import InputError
try:
    import plurality.analyses.figures
except InputError as error:
    print(error)
"""


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:130] . DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    ],
    ids=["NumPy", "torch", "CUDA"],
)
def test_memory_that_is_not_there(error, command, monkeypatch, tmp_path):
    def fail(args):
        raise error

    monkeypatch.setattr(cli, "run", fail)
    done = command("score", "reward", "rows.parquet", "--out", tmp_path / "x.parquet")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "not enough memory" in done.err


def test_other_errors_are_not_hidden(command, monkeypatch, tmp_path):
    def fail(args):
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(cli, "run", fail)
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        command("score", "reward", "rows.parquet", "--out", tmp_path / "x.parquet")


def test_a_missing_matplotlib_is_said_in_python_too():
    done = subprocess.run([sys.executable, "-c", NO_MATPLOTLIB], capture_output=True, text=True, check=False)
    assert "matplotlib is not installed; pip install 'plurality-rm[plot]'" in done.stdout, done.stderr
