"""Ready-made embeddings: an array or a file of one, mapped where it can be and checked without a copy."""

from pathlib import Path
from tokenize import TokenError

import numpy as np

from plurality.arrays import Array, as_array
from plurality.data.tensor_files import blocks, map_tensors
from plurality.errors import InputError
from plurality.io.causes import unreadable
from plurality.io.paths import expanded

HEADERS = (ValueError, TypeError, EOFError, ArithmeticError, SyntaxError, TokenError, RecursionError, MemoryError)
"""What NumPy raises for the headers of .npy files that make no sense."""


def open_embeddings(source: Array | str | Path, what: str) -> Array:
    """Checked embeddings (n, d) float32 from an array, a .npy file or the tensor `embeddings` of a .safetensors.

    float32 is kept as it is, mapped if from a file; other floats are converted. Raises InputError for another
    shape or type and for NaN or infinity, naming the first such row (from 0).
    """
    place = str(source) if isinstance(source, str | Path) else what
    array = _map(expanded(source)) if isinstance(source, str | Path) else as_array(source)
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"{place}: embeddings of shape {array.shape} are not a matrix; give (items, dimensions)")
    if array.dtype.kind != "f":
        raise InputError(f"{place}: embeddings of type {array.dtype} are not floats; give float32")
    if array.dtype != np.float32:
        with np.errstate(over="ignore"):  # what overflows is infinite, and raises below
            array = array.astype(np.float32)
    check_finite(array, place)
    return array


def check_finite(array: Array, place: str) -> None:
    """Raise InputError naming the first row (from 0) with NaN or infinity; (n, d), block by block."""
    for start, part in blocks(array):
        finite = np.isfinite(part)
        if not finite.all():
            row = start + int(np.argmin(finite.all(axis=1)))
            raise InputError(f"{place}: embedding {row} (from 0) holds NaN or infinite values; embed its text again")


def _map(path: Path) -> Array:
    if path.suffix == ".safetensors":
        tensors = map_tensors(path)
        if "embeddings" not in tensors:
            names = ", ".join(tensors) or "none"
            raise InputError(f"{path} has the tensors {names}; name the one to use `embeddings`")
        return tensors["embeddings"]
    if path.suffix != ".npy":
        raise InputError(f"{path}: embeddings in {path.suffix or 'such a file'} are unknown; give .npy or .safetensors")
    try:
        with np.errstate(over="raise"):  # a shape whose product overflows
            mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(mapped, np.memmap) and (rest := path.stat().st_size - mapped.offset - mapped.nbytes):
            raise ValueError(f"{rest:,} bytes belong to no row")
        return np.asarray(mapped)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; give the file of the embeddings") from None
    except OSError as error:
        raise unreadable(path, error) from None
    except HEADERS as error:
        cause = str(error).split("\n")[0]
        raise InputError(f"{path} cannot be read ({cause}); save the embeddings again") from None
