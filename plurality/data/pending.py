"""Embeddings that are made as they are written: texts go in by blocks, vectors straight to the file."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from plurality.arrays import Array
from plurality.data.items import Items
from plurality.encoders.progress import meter
from plurality.io.engines import LOCAL, Engine, in_order

if TYPE_CHECKING:
    from plurality.encoders import Encoder

BLOCK = 8192  # texts embedded at a time


class PendingEmbeddings:
    """Vectors (n, d) of items or prompts that nobody has embedded yet; `blocks` embeds them, in order, once.

    items       whose texts
    encoder     what embeds them; where it keeps a cache, a run that was killed goes on where it was
    what        "items" (M, d) or "prompts" (Q, d)
    progress    show a progress bar
    """

    def __init__(
        self, items: Items, encoder: "Encoder", what: Literal["items", "prompts"] = "items", *, progress: bool = False
    ) -> None:
        self.items, self.encoder, self.what, self.progress = items, encoder, what, progress
        self.engine = LOCAL
        self._rows = range(len(items.keys if what == "items" else items.prompt_keys))

    @property
    def shape(self) -> tuple[int, int]:
        """(n, d)."""
        return len(self._rows), self.encoder.dim

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, rows: slice) -> "PendingEmbeddings":
        """Some of the rows, in order; as they are embedded by blocks, from the first of a block."""
        part = copy.copy(self)
        part._rows = self._rows[rows]
        return part

    def by(self, engine: Engine) -> "PendingEmbeddings":
        """The same, embedded elsewhere."""
        other = copy.copy(self)
        other.engine = engine
        return other

    def blocks(self) -> Iterator[Array]:
        """The vectors (b, d), some thousand at a time. Raises InputError as an encoder does."""
        here = self.engine.kind == "local"  # where the encoder shows its own progress
        work = _Embed(self.encoder, self.what, self.progress and here)
        with meter(f"embedding {self.what}", len(self), len(self), self.progress and not here) as advance:
            for block in in_order(work, self._parts(), self.engine):
                yield block
                advance(len(block), len(block))

    def _parts(self) -> Iterator[Items]:
        for start in self._rows[::BLOCK]:
            stop = min(start + BLOCK, self._rows.stop)
            yield self.items.part(start, stop) if self.what == "items" else self.items.prompt_part(start, stop)


@dataclass(frozen=True)
class _Embed:
    """Vectors of some items or prompts."""

    encoder: "Encoder"
    what: Literal["items", "prompts"]
    progress: bool

    def __call__(self, part: Items) -> Array:
        if self.what == "items":
            return part.embed(self.encoder, progress=self.progress)
        return part.embed_prompts(self.encoder, progress=self.progress)
