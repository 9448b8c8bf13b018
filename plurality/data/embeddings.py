"""Ready-made embeddings: an array or a file of one, mapped where it can be and checked without a copy."""

from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
import polars as pl

from plurality.arrays import Array, as_array
from plurality.data.readers.tables import open_frame
from plurality.data.tensor_files import blocks, map_tensors, widened
from plurality.errors import InputError
from plurality.io.causes import unreadable
from plurality.io.paths import expanded

HEADERS = (ValueError, TypeError, EOFError, ArithmeticError, SyntaxError, TokenError, RecursionError, MemoryError)
"""What NumPy raises for the headers of .npy files that make no sense."""

TENSOR = "embeddings"
TABLES = (".parquet", ".pq", ".feather", ".arrow")
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle")
FORMATS = f".npy, .safetensors or a column of lists in {', '.join(TABLES)}"


def open_embeddings(source: Any, what: str) -> Array:
    """Checked embeddings (n, d) float32 from an array, an Arrow or polars column of lists of one length, or a file.

    A file is .npy, .safetensors with the tensor `embeddings`, or a table with the column `embeddings` (or `embedding`,
    or with one column of lists). float32 is kept as it is, mapped if from .npy or .safetensors; float64, float16 and
    bfloat16 are converted. Raises InputError for another shape or type, for pickles, which can run code when they are
    opened, and for NaN or infinity, naming the first such row (from 0).

    source      array, column, or path
    what        what messages call an array
    """
    place = str(source) if isinstance(source, str | Path) else what
    if isinstance(source, str | Path):
        array = _map(expanded(source))
    else:
        array = _of_lists(pl.Series(source), place) if _is_column(source) else as_array(source)
    if array.dtype == "V2":  # how NumPy writes and maps bfloat16, which it does not have
        array = widened(array.view(np.uint16))
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
    suffix = path.suffix.lower()
    if suffix == ".safetensors":
        return map_tensors(path, only=TENSOR)[TENSOR]
    if suffix in TABLES:
        return _of_table(path)
    if suffix in PICKLES:
        new = path.with_suffix(".safetensors").name
        raise InputError(
            f"{path}: embeddings in {path.suffix} are a pickle, which can run code when it is opened; convert it "
            f"where it was made, safetensors.torch.save_file({{'{TENSOR}': tensor.contiguous()}}, '{new}'), "
            f"and give {new}"
        )
    if suffix != ".npy":
        raise InputError(f"{path}: embeddings in {path.suffix or 'such a file'} are unknown; give {FORMATS}")
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


def _is_column(source: Any) -> bool:
    """Whether a source is a column of polars or Arrow, not an array."""
    return isinstance(source, pl.Series) or type(source).__module__.split(".")[0] == "pyarrow"


def _of_table(path: Path) -> Array:
    frame, place = open_frame(path, TENSOR)
    listed = [name for name, dtype in frame.schema.items() if isinstance(dtype, pl.List | pl.Array)]
    named = [name for name in (TENSOR, TENSOR.removesuffix("s")) if name in listed] or listed
    if not named or (len(named) > 1 and TENSOR not in named):
        told = ", ".join(frame.columns)
        raise InputError(f"{place} has the columns {told}; name the one with lists of numbers {TENSOR!r}")
    return _of_lists(frame[named[0]], place)


def _of_lists(column: pl.Series, place: str) -> Array:
    """A column of lists as (n, d). Raises InputError for lists of several lengths, nulls, or other than floats."""
    inner = getattr(column.dtype, "inner", None)
    if inner is None or not inner.is_numeric():
        raise InputError(f"{place}: a column of {column.dtype} holds no embeddings; give lists of floats")
    flat = column.explode(empty_as_null=False, keep_nulls=False)
    lengths = column.list.len() if isinstance(column.dtype, pl.List) else pl.Series([column.dtype.shape[0]])  # type: ignore[attr-defined]
    if column.null_count() or flat.null_count() or lengths.n_unique() > 1:
        lists = column if isinstance(column.dtype, pl.List) else column.arr.to_list()
        gaps = lists.list.eval(pl.element().is_null()).list.any().fill_null(True)
        bad = gaps | (lists.list.len() != lists.list.len().drop_nulls().first())
        row = bad.fill_null(True).arg_true()[0]
        cause = f"embedding {row} (from 0) is missing, or not as long as the first"
        raise InputError(f"{place}: {cause}; embed its text again")
    return flat.to_numpy().reshape(len(column), -1) if len(flat) else np.empty((len(column), 0), np.float32)
