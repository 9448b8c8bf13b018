"""Safetensors files larger than memory: written block by block, mapped back without being read.

Layout: header length (8 bytes, little endian), JSON header, data; see the safetensors format.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plurality.arrays import Array
from plurality.errors import InputError
from plurality.io.causes import unreadable

DTYPES: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
BLOCK_BYTES = 1 << 25
HEADER_LIMIT = 100_000_000  # the format's own


def blocks(array: Array) -> Iterator[tuple[int, Array]]:
    """(first row, rows) of an array (n, d), some 32 MB at a time."""
    step = max(1, BLOCK_BYTES // max(1, array.itemsize * array.shape[1]))
    for start in range(0, len(array), step):
        yield start, array[start : start + step]


def write_tensors(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write matrices as float32. The caller renames: what is written here is not yet whole."""
    header, offset = {}, 0
    for name, array in arrays.items():
        end = offset + 4 * array.size
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)  # mapped rows lie as fresh ones do, so that sums round alike
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            for _, part in blocks(array):
                file.write(np.ascontiguousarray(part, dtype="<f4").data)


def map_tensors(path: Path) -> dict[str, Array]:
    """Every tensor of the file, memory-mapped and read-only: a page is read when it is used.

    Raises InputError when the file is missing, cut short, or no safetensors file of floats.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            length = int.from_bytes(file.read(8), "little")
            if length > HEADER_LIMIT:
                raise ValueError("no header is that long")
            if size < 8 + length:
                raise _truncated(path, size)
            header = json.loads(file.read(length))
    except OSError as error:
        raise unreadable(path, error, "embed the texts again") from None
    except InputError:
        raise
    except (ValueError, RecursionError):
        raise InputError(f"{path} is not a safetensors file; embed the texts again") from None
    try:
        spans = {name: _Span.of(path, entry) for name, entry in header.items() if name != "__metadata__"}
        _check_tiled(path, size - 8 - length, sorted((span.begin, span.end) for span in spans.values()))
        return {name: span.map(path, 8 + length) for name, span in spans.items()}
    except InputError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError):
        raise InputError(f"{path} is damaged (its header makes no sense); embed the texts again") from None


@dataclass(frozen=True)
class _Span:
    """A tensor as the header tells it, its bytes counted from the end of the header."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    begin: int
    end: int

    @staticmethod
    def of(path: Path, entry: Mapping[str, Any]) -> "_Span":
        shape, (begin, end) = tuple(entry["shape"]), entry["data_offsets"]
        dtype = DTYPES.get(entry["dtype"])
        if dtype is None:
            raise InputError(f"{path} holds {entry['dtype']} values; save them as float32")
        whole = all(isinstance(n, int) and n >= 0 for n in (*shape, begin, end))
        if not whole or end - begin != dtype.itemsize * math.prod(shape):
            raise InputError(f"{path} is damaged (its header contradicts itself); embed the texts again")
        return _Span(dtype, shape, begin, end)

    def map(self, path: Path, start: int) -> Array:
        if self.end == self.begin:
            return np.empty(self.shape, self.dtype)
        return np.memmap(path, dtype=self.dtype, mode="r", offset=start + self.begin, shape=self.shape)


def _check_tiled(path: Path, size: int, spans: list[tuple[int, int]]) -> None:
    """Raise InputError unless the tensors lie one after the other and fill the data, as the format has it."""
    at = 0
    for begin, end in spans:
        if begin != at:
            raise InputError(f"{path} is damaged (its tensors overlap or leave gaps); embed the texts again")
        at = end
    if at > size:
        raise _truncated(path, size)
    if at < size:
        raise InputError(f"{path} is damaged ({size - at:,} bytes belong to no tensor); embed the texts again")


def _truncated(path: Path, size: int) -> InputError:
    return InputError(f"{path} is truncated after {size:,} bytes; copy it again or embed the texts again")
