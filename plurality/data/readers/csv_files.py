"""CSV files, which say nothing of types: which columns hold measured numbers, and which hold text such as codes.

A column is read as numbers where each of its values is written as a number is (7, -3, 0.5, .5, 1.5e-07; no leading
zero, no plus sign) and no two spellings in it mean one number. So codes keep their text: of 01, 1 and 02 none becomes
another, and neither do 1.1 and 1.10. Whole numbers printed again are the text that was read. Columns of texts and ids
are text whatever they look like. A column that somebody needs as numbers (labels, weights, probabilities) is parsed
as such where it is needed, by `columns.as_numbers`.
"""

import re
from pathlib import Path

import polars as pl

from plurality.data.readers.columns import TYPED
from plurality.errors import InputError

NAMES = (*TYPED, "objective", "group", "pair", "candidate", "model", "cell", "attribute", "level")  # never numbers
WHOLE = r"^(?:0|-?[1-9][0-9]*)$"
DECIMAL = r"^(?:-?(?:0|[1-9][0-9]*)?\.[0-9]+(?:[eE][-+]?[0-9]+)?|-?[1-9][0-9]*[eE][-+][0-9]+|NaN|nan)$"
RENAMED = re.compile(r"(.*)_duplicated_\d+")  # what polars makes of a column's second appearance


def read(path: Path) -> pl.DataFrame:
    """The frame of a .csv file, gzipped or not. Raises InputError for a column that appears twice."""
    frame = pl.read_csv(path, infer_schema=False)
    _check_header(frame.columns, path)
    return frame.with_columns(_typed(frame[name]) for name in frame.columns if name not in NAMES)


def _check_header(names: list[str], path: Path) -> None:
    """Raise InputError where polars has renamed the second of two columns of one name."""
    if any(match and match[1] in names for match in map(RENAMED.fullmatch, names)):
        header = pl.read_csv(path, has_header=False, n_rows=1, infer_schema=False).row(0)
        twice = next((name for name in header if header.count(name) > 1), None)
        if twice is not None:
            raise InputError(f"{path}: column {twice} is duplicated; rename or drop one")


def _typed(values: pl.Series) -> pl.Series:
    """The column as numbers, where that loses nothing, else as it is."""
    given = values.set(values == "", None).drop_nulls()
    if not given.len() or not _is_number(given[:1]):  # most columns of text are told by their first value
        return values
    if given.str.contains(WHOLE).all():
        whole = values.set(values == "", None).cast(pl.Int64, strict=False)
        return values if whole.null_count() > values.len() - given.len() else whole  # an id longer than 64 bits
    if not _is_number(given):
        return values
    numbers = given.cast(pl.Float64)
    if numbers.is_nan().all() or numbers.n_unique() < given.n_unique():
        return values
    return values.set(values == "", None).cast(pl.Float64)


def _is_number(values: pl.Series) -> bool:
    return bool((values.str.contains(WHOLE) | values.str.contains(DECIMAL)).all())
