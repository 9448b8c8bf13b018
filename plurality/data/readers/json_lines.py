"""JSON lines whose columns keep one type each.

Polars would write a number or a list among texts as text, and the mistake would be embedded; Arrow refuses.
"""

import gzip
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.json as pj

from plurality.errors import InputError

BLOCK_BYTES = 1 << 26  # parsed in parallel; no line may be longer
TYPED = ("prompt", "chosen", "rejected", "first", "second", "completion", "user_id", "group_id")
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
    except (ValueError, EOFError, OSError, zlib.error) as error:  # Arrow's own errors are ValueErrors
        _explain(path)
        cause = re.sub(r" in row \d+$", "", " ".join(str(error).split()))  # Arrow counts within a block
        raise InputError(f"{path} cannot be read as JSON lines ({cause}); write one object a line") from None
    return pl.DataFrame(pl.from_arrow(table))


def explain_mixture(rows: Iterable[Mapping[str, Any]], place: str) -> None:
    """Raise InputError for the first row where a column of texts or ids changes its type, if there is one."""
    first: dict[str, str] = {}
    for number, row in enumerate(rows, 1):
        for name in TYPED:
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
            if kind == "text" and not row[name].isascii():
                _explain_text(row[name], f"{place}: row {number}: {name}")


def _types(path: Path) -> pa.Schema:
    """The types of the columns that hold text or ids, as the first row has them."""
    with _open(path) as file:
        line = next((line for line in file if line.strip()), b"{}")
    row = json.loads(line)
    kinds = {str: pa.string(), list: MESSAGES, int: pa.int64()}
    if not isinstance(row, dict):
        raise ValueError("the first line is no object")
    return pa.schema([(name, kinds[type(row[name])]) for name in TYPED if type(row.get(name)) in kinds])


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
                except json.JSONDecodeError as error:
                    cause = f"{error.msg} at character {error.pos}"
                    raise InputError(
                        f"{path}: row {number}: the line is no JSON ({cause}); write one object a line"
                    ) from None
                except UnicodeDecodeError:
                    raise InputError(f"{path}: row {number}: the line is not UTF-8; write the file so") from None
                if not isinstance(row, dict):
                    raise InputError(f"{path}: row {number}: the line is {_kind(row)}; write one object a line")
                yield row
        if not number:
            raise InputError(f"{path} has no rows; give a file with comparisons")

    try:
        explain_mixture(rows(), str(path))
    except (OSError, EOFError, zlib.error) as error:  # a damaged gzip file
        raise InputError(f"{path} cannot be read ({error}); write the file again") from None


def _explain_messages(value: list[Any], place: str) -> None:
    for message in value:
        if not isinstance(message, dict):
            raise InputError(f"{place} is a list, but not of messages; give text or messages")
        for key in ("role", "content"):
            kind = _kind(message.get(key))
            if kind != "text":
                raise InputError(
                    f"{place} has a message whose {key} is {kind}; only text can be embedded: "
                    "give each message a role and a content that are strings"
                )


def _explain_text(text: str, place: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{place} holds half a surrogate pair, which is no text; write the file again") from None


def _kind(value: object) -> str:
    names = {str: "text", bool: "true or false", int: "a number", float: "a number"}
    names |= {list: "a list", dict: "an object", type(None): "null"}
    return names.get(type(value), f"of type {type(value).__name__}")


def _open(path: Path) -> Any:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
