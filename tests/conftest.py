"""Every test: one thread, and no global state left changed; and what several rooms of the tests share."""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch or a BLAS is imported
os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # which numba makes OpenMP's number at its first parallel loop

import numpy as np
import polars as pl
import pytest

from plurality.data.comparisons import Comparisons

Fact = tuple[str, str, dict[str, float], float]
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def _global_state() -> dict[str, object]:
    legacy = np.random.get_state()  # noqa: NPY002 - looked at, to see that nobody uses it
    state: dict[str, object] = {"numpy's generator": (legacy[1].tobytes(), legacy[2])}
    torch = sys.modules.get("torch")  # a test that needs no torch must not import it
    if torch is not None:
        state["torch's generator"] = torch.get_rng_state().numpy().tobytes()
        state["torch's default dtype"] = torch.get_default_dtype()
        state["torch's threads"] = torch.get_num_threads()
    return state


@pytest.fixture(autouse=True)
def global_state_is_left_alone() -> Iterator[None]:
    before = _global_state()
    yield
    after = _global_state()
    changed = [name for name, value in before.items() if after[name] != value]
    assert not changed, f"this test changed {', '.join(changed)}; pass a seed or a generator"


class Letters:
    """A toy encoder: how often each of a to z occurs in the completion, and the number of prompt messages."""

    dim = 27
    fingerprint = "letters"

    def __init__(self) -> None:
        self.seen: list[tuple[Any, str]] = []

    def describe(self) -> dict[str, Any]:
        return {"kind": "letters", "name": "letters"}

    def encode(self, prompts: Sequence[Any], completions: Sequence[str], progress: bool = False) -> np.ndarray:
        self.seen += list(zip(prompts, completions, strict=True))
        return self._count(prompts, completions)

    def encode_prompts(self, prompts: Sequence[Any], progress: bool = False) -> np.ndarray:
        contents = [p if isinstance(p, str) else " ".join(m["content"] for m in p) for p in prompts]
        return self._count(prompts, contents)

    def save(self, folder: Path) -> None:
        folder.mkdir()
        (folder / "letters.txt").write_text("abc")

    def _count(self, prompts: Sequence[Any], texts: Sequence[str]) -> np.ndarray:
        turns = [1 if isinstance(p, str) else len(p) for p in prompts]
        rows = [[text.count(letter) for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts]
        return np.column_stack([np.array(rows, dtype=np.float32), turns]).astype(np.float32)


@pytest.fixture
def letters() -> Letters:
    return Letters()


@pytest.fixture(scope="session")
def facts() -> Callable[[Comparisons], list[Fact]]:
    """(user, prompt, {completion: P(preferred)}, weight) of each row, as a person would write it down."""

    def rows_of(data: Comparisons) -> list[Fact]:
        assert data.texts is not None
        completion, prompt, ids = data.texts["completion"], data.texts["prompt"], data.users["user_id"]
        rows = zip(data.user, data.first, data.second, data.label, data.weight, strict=True)
        return [
            (ids[int(u)], prompt[int(a)], {completion[int(a)]: p, completion[int(b)]: 1 - p}, w)
            for u, a, b, p, w in rows
        ]

    return rows_of


@pytest.fixture(scope="session")
def real_data() -> Callable[[str], Path]:
    """Where the comparisons and users of a real data set lie; skips the test where they are not."""

    def folder(name: str) -> Path:
        if not (DATA / name).is_dir():
            pytest.skip(f"the real data set {name} is not at {DATA}")
        return DATA / name

    return folder


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files a reader of the README has, small: comparisons and users, and six new users with candidates."""
    from plurality.datasets.simulated import text as planted_text

    folder = tmp_path_factory.mktemp("town")
    people = planted_text.simulate(n_users=30, n_comparisons=12, n_prompts=20, seed=0)
    users = people.users.with_columns(conversation=pl.Series(["news", "home", "work"] * 10))
    new = pl.col("user_id").is_in(users["user_id"].tail(6).implode())
    comparisons = people.comparisons
    comparisons.filter(~new).write_parquet(folder / "comparisons.parquet")
    users.head(24).write_parquet(folder / "users.parquet")
    comparisons.filter(new).write_parquet(folder / "new_users.parquet")
    sides = [comparisons.filter(new).select("user_id", "prompt", completion=side) for side in ("chosen", "rejected")]
    pl.concat(sides).write_parquet(folder / "candidates.parquet")
    return folder


class Done(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def command() -> Callable[..., Done]:
    """Run a command of the command line in this process."""
    from plurality.cli import main

    def run(*arguments: object) -> Done:
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main([str(argument) for argument in arguments])
        return Done(code, out.getvalue(), err.getvalue())

    return run
