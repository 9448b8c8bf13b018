"""A table in batches of some thousand rows, so that whoever goes through it needs memory for one of them.

Only parquet is read in parts: how the values of a CSV or JSON lines file are to be read is decided by all of them, so
such a file is in memory as a whole, and gives the same batches.
"""

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from plurality.data.readers.columns import Part
from plurality.data.readers.tables import open_frame
from plurality.errors import InputError
from plurality.io.paths import expanded

BATCH = 16_384  # rows
PAGES = 1 << 20  # bytes of a column that are read ahead


class Batches:
    """Frames of `step` rows, the last one of the rest; each has the name of the table and which rows it has of it.

    place    what messages call the table
    rows     how many it has
    step     rows of a batch
    """

    def __init__(self, source: Any, what: str, step: int | None = None) -> None:
        """Open a table of any kind that `open_frame` takes; errors are its.

        source    path or frame
        what      what the table is; messages call a frame by this
        step      rows of a batch; None: `BATCH`
        """
        self._file = _parquet(source)
        if self._file is None:
            self._frame, self.place = open_frame(source, what)
            self.rows = self._frame.height
        else:
            self.place, self.rows = str(source), self._file.metadata.num_rows
        self.step = BATCH if step is None else step
        self._at, self._ahead = 0, iter(self)

    def __len__(self) -> int:
        return -(-self.rows // self.step)

    def __iter__(self) -> Iterator[tuple[pl.DataFrame, Part]]:
        return self._read(0, self.rows)

    def __getitem__(self, number: int) -> tuple[pl.DataFrame, Part]:
        """One batch; who asks for one after the other reads the file once."""
        if number != self._at:
            self._at, self._ahead = number, self._read(number * self.step, self.rows)
        self._at += 1
        return next(self._ahead)

    def _read(self, start: int, stop: int) -> Iterator[tuple[pl.DataFrame, Part]]:
        ends = range(start, stop, self.step)
        for at, frame in zip(ends, self._frames(start, stop), strict=True):
            rows = np.arange(at, at + frame.height)
            yield frame, Part(self.place, rows, partial=len(self) > 1)

    def _frames(self, start: int, stop: int) -> Iterator[pl.DataFrame]:
        if self._file is None:
            return self._frame[start:stop].iter_slices(self.step)
        ends = np.cumsum([self._file.metadata.row_group(i).num_rows for i in range(self._file.num_row_groups)])
        first, last = (int(np.searchsorted(ends, row, side="right")) for row in (start, stop - 1))
        before = start - (int(ends[first - 1]) if first else 0)
        sizes = [before, *(min(self.step, stop - at) for at in range(start, stop, self.step))]
        parts = self._batches(list(range(first, last + 1)))
        return (pl.DataFrame(pl.from_arrow(table)) for table in itertools.islice(_cut(parts, sizes), 1, None))

    def _batches(self, groups: list[int]) -> Iterator[pa.RecordBatch]:
        assert self._file is not None
        try:
            yield from self._file.iter_batches(self.step, row_groups=groups)
        except (pa.ArrowException, OSError) as error:
            cause = str(error).strip().split("\n")[0]
            raise InputError(f"{self.place} cannot be read ({cause}); write the file again") from None


def _parquet(source: Any) -> pq.ParquetFile | None:
    """The file, if it is one that can be read in parts; what is wrong with others is told by who reads them whole."""
    if not isinstance(source, str | Path) or expanded(source).suffix.lower() not in (".parquet", ".pq"):
        return None
    try:
        file = pq.ParquetFile(expanded(source), buffer_size=PAGES, pre_buffer=False)
    except (pa.ArrowException, OSError, ValueError):
        return None
    names = file.schema_arrow.names
    return file if file.metadata.num_rows and len(set(names)) == len(names) else None


def _cut(batches: Iterable[pa.RecordBatch], sizes: Iterable[int]) -> Iterator[pa.Table]:
    """The rows of batches, one after the other, in tables of these sizes."""
    held: list[pa.RecordBatch] = []
    batches = iter(batches)
    for size in sizes:
        table: list[pa.RecordBatch] = []
        while size:
            batch = held.pop() if held else next(batches)
            table.append(batch.slice(0, size))
            if batch.num_rows > size:
                held.append(batch.slice(size))
            size -= table[-1].num_rows
        yield pa.Table.from_batches(table) if table else None
