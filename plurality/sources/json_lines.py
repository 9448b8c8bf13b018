"""JSON lines whose columns keep one type each.

Polars would write a number or a list among texts as text, and the mistake would be embedded; Arrow refuses.
"""

import gzip
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.json as pj

from plurality.errors import InputError

BLOCK_BYTES = 1 << 26  # parsed in parallel; no line may be longer
TEXTS = ("prompt", "chosen", "rejected", "first", "second", "completion")
MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))


def read(path: Path) -> pl.DataFrame:
    """The frame of a .jsonl file, gzipped or not. Raises InputError naming the first row that breaks it."""
    try:
        table = pj.read_json(
            path,
            read_options=pj.ReadOptions(block_size=BLOCK_BYTES),
            # an explicit type also keeps Arrow from reading texts such as "2020-01-01" as dates
            parse_options=pj.ParseOptions(explicit_schema=_types(path), unexpected_field_behavior="infer"),
        )
        table.validate(full=True)  # Arrow's reader does not look whether strings are UTF-8
    except (pa.ArrowInvalid, ValueError, gzip.BadGzipFile) as error:
        _explain(path)
        cause = " ".join(str(error).split())
        raise InputError(f"{path} cannot be read as JSON lines ({cause}); write one object a line") from None
    return pl.DataFrame(pl.from_arrow(table))


def explain_mixture(rows: Iterable[Mapping[str, Any]], place: str) -> None:
    """Raise InputError for the first row where a text column changes its type, if there is one."""
    first: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        for name in TEXTS:
            kind = _kind(row.get(name))
            if kind == "null":
                continue
            if kind != first.setdefault(name, kind):
                raise InputError(
                    f"{place}: row {number}: {name} is {kind}, in the rows before it is {first[name]}; "
                    "make it one or the other throughout"
                )
            if kind == "a list":
                _explain_messages(row[name], f"{place}: row {number}: {name}")


def _types(path: Path) -> pa.Schema:
    """The types of the columns that hold text or ids, as the first row has them."""
    with _open(path) as file:
        line = next((line for line in file if line.strip()), b"{}")
    row = json.loads(line)
    kinds = {str: pa.string(), list: MESSAGES, int: pa.int64()}
    known = (*TEXTS, "user_id", "group_id")
    if not isinstance(row, dict):
        raise ValueError("the first line is no object")
    return pa.schema([(name, kinds[type(row[name])]) for name in known if type(row.get(name)) in kinds])


def _explain(path: Path) -> None:
    def rows() -> Iterable[Mapping[str, Any]]:
        number = 0
        with _open(path) as file:
            for line in file:
                if not line.strip():
                    continue
                number += 1
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise InputError(
                        f"{path}: row {number}: the line is no JSON ({error}); write one object a line, in UTF-8"
                    ) from None
                if not isinstance(row, dict):
                    raise InputError(f"{path}: row {number}: the line is {_kind(row)}; write one object a line")
                yield row
        if not number:
            raise InputError(f"{path} has no rows; give a file with comparisons")

    try:
        explain_mixture(rows(), str(path))
    except (OSError, EOFError) as error:  # a damaged gzip file
        raise InputError(f"{path} cannot be read ({error}); write the file again") from None


def _explain_messages(value: list[Any], place: str) -> None:
    for message in value:
        for key in ("role", "content"):
            kind = _kind(message.get(key)) if isinstance(message, dict) else "not there"
            if kind != "text":
                raise InputError(
                    f"{place} has a message whose {key} is {kind}; only text can be embedded: "
                    "give each message a role and a content that are strings"
                )


def _kind(value: object) -> str:
    names = {str: "text", bool: "true or false", int: "a number", float: "a number"}
    names |= {list: "a list", dict: "an object", type(None): "null"}
    return names.get(type(value), f"of type {type(value).__name__}")


def _open(path: Path) -> Any:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
