"""Embeddings that are made as they are written: texts go in by blocks, vectors straight to the file."""

import copy
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from plurality.arrays import Array
from plurality.data.items import Items

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

    def blocks(self) -> Iterator[Array]:
        """The vectors (b, d), some thousand at a time. Raises InputError as an encoder does."""
        for start in self._rows[::BLOCK]:
            stop = min(start + BLOCK, self._rows.stop)
            if self.what == "items":
                yield self.items.part(start, stop).embed(self.encoder, progress=self.progress)
            else:
                yield self.items.prompt_part(start, stop).embed_prompts(self.encoder, progress=self.progress)
