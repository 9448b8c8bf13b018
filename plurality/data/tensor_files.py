"""Safetensors files larger than memory: written block by block, mapped back without being read.

Layout: header length (8 bytes, little endian), JSON header, data; see the safetensors format.
"""

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from plurality.arrays import Array
from plurality.errors import InputError

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
    except FileNotFoundError:
        raise InputError(f"{path} is missing; embed the texts again") from None
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); give a file you may read") from None
    except InputError:
        raise
    except ValueError:
        raise InputError(f"{path} is not a safetensors file; embed the texts again") from None
    try:
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        return {name: _map(path, size, 8 + length, entry) for name, entry in entries.items()}
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{path} is damaged (its header makes no sense); embed the texts again") from None


def _map(path: Path, size: int, start: int, entry: Mapping[str, Any]) -> Array:
    shape, (begin, end) = tuple(entry["shape"]), entry["data_offsets"]
    dtype = DTYPES.get(entry["dtype"])
    if dtype is None:
        raise InputError(f"{path} holds {entry['dtype']} values; save them as float32")
    if start + end > size:
        raise _truncated(path, size)
    if end - begin != dtype.itemsize * math.prod(shape):
        raise InputError(f"{path} is damaged (its header contradicts itself); embed the texts again")
    if end == begin:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype=dtype, mode="r", offset=start + begin, shape=shape)


def _truncated(path: Path, size: int) -> InputError:
    return InputError(f"{path} is truncated after {size:,} bytes; copy it again or embed the texts again")
