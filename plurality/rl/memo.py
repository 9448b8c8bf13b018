"""The embeddings of the last call, for reward functions that a trainer calls one after another with the same texts."""

from collections.abc import Callable
from threading import Lock
from typing import Any

from plurality.arrays import Array
from plurality.rl.messages import Pairs

Embeddings = tuple[Array, Array | None]


class Memo:
    """Holds one call's embeddings, as `embed` makes them, and gives them again for the same texts, to any thread."""

    def __init__(self, embed: Callable[[Pairs], Embeddings]) -> None:
        self.embed = embed
        self._lock = Lock()
        self._last: tuple[Any, Embeddings] | None = None

    def __call__(self, texts: Pairs) -> Embeddings:
        key = texts.prompts, texts.completions, texts.prompt.tolist()
        with self._lock:
            if self._last is None or self._last[0] != key:
                self._last = key, self.embed(texts)
            return self._last[1]

    def __getstate__(self) -> dict[str, Any]:
        """Embeddings are left behind."""
        return {"embed": self.embed}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=Lock(), _last=None)
