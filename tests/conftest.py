"""What several rooms of the tests share."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


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
def real_data() -> Callable[[str], Path]:
    """Where the comparisons and users of a real data set lie; skips the test where they are not."""

    def folder(name: str) -> Path:
        if not (DATA / name).is_dir():
            pytest.skip(f"the real data set {name} is not at {DATA}")
        return DATA / name

    return folder
