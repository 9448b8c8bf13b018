"""Safetensors files larger than memory: written block by block, mapped back without being read.

Layout: header length (8 bytes, little endian), JSON header, data; see the safetensors format.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from plurality.arrays import Array
from plurality.errors import InputError
from plurality.io.causes import unreadable

if TYPE_CHECKING:
    from plurality.data.pending import PendingEmbeddings

DTYPES: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4"), "F64": np.dtype("<f8")}
StoreDtype = Literal["float32", "float16", "bfloat16"]
STORED: dict[StoreDtype, tuple[str, int]] = {"float32": ("F32", 4), "float16": ("F16", 2), "bfloat16": ("BF16", 2)}
BFLOAT16 = "BF16"  # the upper half of a float32, which NumPy does not have
BLOCK_BYTES = 1 << 25
HEADER_LIMIT = 100_000_000  # the format's own


def blocks(array: Array) -> Iterator[tuple[int, Array]]:
    """(first row, rows) of an array (n, d), some 32 MB at a time."""
    step = max(1, BLOCK_BYTES // max(1, array.itemsize * array.shape[1]))
    for start in range(0, len(array), step):
        yield start, array[start : start + step]


def write_tensors(path: Path, arrays: "Mapping[str, Array | PendingEmbeddings]", dtype: StoreDtype = "float32") -> None:
    """Write matrices. The caller renames: what is written here is not yet whole.

    path      file
    arrays    matrices by name, which may be made as they are written
    dtype     "float32", "float16" or "bfloat16", to which values are rounded

    Raises InputError for values that are not finite in this type.
    """
    tag, width = STORED[dtype]
    with path.open("wb") as file:
        file.write(_head({name: array.shape for name, array in arrays.items()}, tag, width))
        for array in arrays.values():
            for part in _parts(array):
                file.write(_rounded(part, dtype).data)


def join_tensors(parts: Sequence[Path], path: Path) -> None:
    """Write the matrices of several files as one, rows of the first file first; bytes are copied as they are.

    parts    files with matrices of the same names, widths and type
    path     file to write; the caller renames

    Raises InputError for parts that do not fit together, and as `map_tensors` does.
    """
    opened = [_spans(part) for part in parts]
    first = opened[0][1]
    shapes: dict[str, tuple[int, ...]] = {}
    for name, span in first.items():
        for part, (_, spans) in zip(parts, opened, strict=True):
            other = spans.get(name)
            if other is None or (other.tag, other.shape[1:]) != (span.tag, span.shape[1:]):
                raise InputError(f"{part} and {parts[0]} hold embeddings of different widths or types; embed one again")
        shapes[name] = (sum(spans[name].shape[0] for _, spans in opened), *span.shape[1:])
    one = next(iter(first.values()))
    with path.open("wb") as file:
        file.write(_head(shapes, one.tag, one.dtype.itemsize))
        for name in shapes:
            for part, (start, spans) in zip(parts, opened, strict=True):
                with part.open("rb") as source:
                    source.seek(start + spans[name].begin)
                    left = spans[name].end - spans[name].begin
                    while left and (block := source.read(min(left, BLOCK_BYTES))):
                        file.write(block)
                        left -= len(block)


def _head(shapes: Mapping[str, tuple[int, ...]], tag: str, width: int) -> bytes:
    """Header of a file with matrices of these shapes, one after the other, `width` bytes a value."""
    header, offset = {}, 0
    for name, shape in shapes.items():
        end = offset + width * math.prod(shape)
        header[name] = {"dtype": tag, "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-(8 + len(text)) % 64)  # mapped rows lie as fresh ones do, so that sums round alike
    return len(text).to_bytes(8, "little") + text


def _parts(array: "Array | PendingEmbeddings") -> Iterator[Array]:
    made = (array,) if isinstance(array, np.ndarray) else array.blocks()
    return (part for block in made for _, part in blocks(block))


def _rounded(part: Array, dtype: StoreDtype) -> Array:
    """Values in the type that they are stored in, to nearest, ties to even: as torch rounds."""
    if dtype == "float32":
        return np.ascontiguousarray(part, dtype="<f4")
    single = np.ascontiguousarray(part, dtype=np.float32)
    if dtype == "float16":
        with np.errstate(over="ignore"):
            made = single.astype("<f2")
        if not np.isfinite(made).all():
            raise InputError(
                f"an embedding has the value {np.abs(single).max():g}, too large for float16; store it as bfloat16"
            )
        return made
    bits = single.view(np.uint32)
    made = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    if not (((made >> 7) & 0xFF) < 0xFF).all():
        raise InputError(f"an embedding has the value {np.abs(single).max():g}, too large for bfloat16; use float32")
    return made


def widened(halves: Array) -> Array:
    """float32 of the bits of bfloat16, in blocks: (n, ...) uint16 -> the same shape."""
    out = np.empty(halves.shape, dtype=np.float32)
    bits, step = out.view(np.uint32), max(1, BLOCK_BYTES // max(1, 4 * math.prod(halves.shape[1:])))
    for start in range(0, len(halves), step):
        bits[start : start + step] = halves[start : start + step].astype(np.uint32) << 16
    return out


def map_tensors(path: Path, *, only: str | None = None) -> dict[str, Array]:
    """Every tensor of the file, memory-mapped and read-only: a page is read when it is used; bfloat16 as float32.

    Raises InputError when the file is missing, cut short, or no safetensors file of floats.

    path    file
    only    the one tensor that is wanted; it must be there
    """
    start, spans = _spans(path)
    if only is not None and only not in spans:
        raise InputError(f"{path} has the tensors {', '.join(spans) or 'none'}; name the one to use `{only}`")
    wanted = spans if only is None else {only: spans[only]}
    try:
        return {name: span.map(path, start) for name, span in wanted.items()}
    except (ValueError, OverflowError):
        raise InputError(f"{path} is damaged (its header makes no sense); embed the texts again") from None


def _spans(path: Path) -> "tuple[int, dict[str, _Span]]":
    """Where the data of a file begin, and its tensors. Raises InputError as `map_tensors` does."""
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
        return 8 + length, spans
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
    tag: str

    @staticmethod
    def of(path: Path, entry: Mapping[str, Any]) -> "_Span":
        shape, (begin, end) = tuple(entry["shape"]), entry["data_offsets"]
        tag = entry["dtype"]
        dtype = np.dtype("<u2") if tag == BFLOAT16 else DTYPES.get(tag)
        if dtype is None:
            raise InputError(f"{path} holds {tag} values; save them as float32")
        whole = all(isinstance(n, int) and n >= 0 for n in (*shape, begin, end))
        if not whole or end - begin != dtype.itemsize * math.prod(shape):
            raise InputError(f"{path} is damaged (its header contradicts itself); embed the texts again")
        return _Span(dtype, shape, begin, end, tag)

    def map(self, path: Path, start: int) -> Array:
        narrow = self.tag == BFLOAT16
        if self.end == self.begin:
            return np.empty(self.shape, np.float32 if narrow else self.dtype)
        mapped = np.memmap(path, dtype=self.dtype, mode="r", offset=start + self.begin, shape=self.shape)
        return widened(mapped) if narrow else mapped


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
