"""JSON lines whose columns keep one type each, whichever row a key or a type first appears in.

Polars would write a number or a list among texts as text, and the mistake would be embedded; Arrow raises. Among what
is no text to embed and no id, numbers between texts ("65+") are right, and all of the column is text then.
"""

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from numbers import Number
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.json as pj

from plurality.data.readers.columns import TYPED
from plurality.errors import InputError
from plurality.io.causes import system_error, unreadable
from plurality.io.visible import text_of

BLOCK_BYTES = 1 << 26  # parsed in parallel; no line may be longer
DEEPEST = 100  # lists and objects within one another; Arrow's reader runs out of stack at several hundred
TEXTS_AND_NESTS = re.compile(rb'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)
MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
NUMBERS_AND_TEXT = {"a number", "text"}


def read(path: Path) -> pl.DataFrame:
    """The frame of a .jsonl file, gzipped or not. Raises InputError naming the first row that breaks it."""
    try:
        _check_depth(path)
        return _parsed(lambda: _open(path), _types(path))
    except InputError:
        raise
    except (ValueError, EOFError, OSError, zlib.error) as error:  # Arrow's own errors are ValueErrors
        if isinstance(error, OSError) and system_error(error) is not None:
            raise unreadable(path, error) from None
        mixed = _explain(path)
        if mixed:
            return _with_text(path, mixed)
        cause = re.sub(r" in row \d+$", "", " ".join(str(error).split()))  # Arrow counts within a block
        raise InputError(f"{path} cannot be read as JSON lines ({cause}); write one object a line") from None


def _check_depth(path: Path) -> None:
    """Raise InputError for the first row that is nested deeper than parsers bear, which would end the process."""
    number = 0
    with _open(path) as file:
        for line in file:
            number += bool(line.strip())
            if line.count(b"[") + line.count(b"{") > DEEPEST and _depth(line) > DEEPEST:
                raise InputError(
                    f"{path}: row {number}: lists or objects are nested more than {DEEPEST} deep; write plain values"
                )


def _depth(line: bytes) -> int:
    """How deep a line of JSON is nested, brackets in texts not counted."""
    depth = most = 0
    for found in TEXTS_AND_NESTS.finditer(line):
        mark = found[0]
        depth += (mark in b"[{") - (mark in b"]}")
        most = max(most, depth)
    return most


def explain_mixture(rows: Iterable[Mapping[str, Any]], place: str, *, spelled: bool = False) -> list[str]:
    """Raise InputError for the first row where a column changes its type, if there is one.

    Where numbers are as somebody has `spelled` them, they may stand among texts; the columns of both are returned, and
    those of messages whose content is in parts.
    """
    first: dict[str, str] = {}
    mixed: dict[str, None] = {}
    for number, row in enumerate(rows, 1):
        for name, value in row.items():
            kind = _kind(value)
            if kind == "null":
                continue
            if kind != first.setdefault(name, kind):
                if name in TYPED or not spelled or {kind, first[name]} != NUMBERS_AND_TEXT:
                    raise InputError(
                        f"{place}: row {number}: {name} is {kind}, in the rows before it is {first[name]}; "
                        "make it one or the other throughout"
                    )
                mixed[name] = None
            if name in TYPED and kind == "a list" and _in_parts(value, f"{place}: row {number}: {name}"):
                mixed[name] = None
            if kind == "text" and not value.isascii():
                _explain_text(value, f"{place}: row {number}: {name}")
    return list(mixed)


def _parsed(opened: Any, types: dict[str, pa.DataType]) -> pl.DataFrame:
    """The frame of what `opened()` reads; columns without a type in `types` get the one of their values."""
    with opened() as file:
        table = pj.read_json(
            file,
            read_options=pj.ReadOptions(block_size=BLOCK_BYTES),
            parse_options=pj.ParseOptions(
                explicit_schema=pa.schema(list(types.items())), unexpected_field_behavior="infer"
            ),
        )
    dates = {field.name: pa.string() for field in table.schema if pa.types.is_temporal(field.type)}
    if dates:  # Arrow takes texts such as "2020-01-01" for dates, unless told that they are texts
        return _parsed(opened, types | dates)
    table.validate(full=True)  # Arrow's reader does not look whether strings are UTF-8
    return pl.DataFrame(pl.from_arrow(table))


def _types(path: Path) -> dict[str, pa.DataType]:
    """The types of the columns that hold text or ids, as the first row has them."""
    with _open(path) as file:
        line = next((line for line in file if line.strip()), b"{}")
    row = json.loads(line)
    kinds = {str: pa.string(), list: MESSAGES, int: pa.int64()}
    if not isinstance(row, dict):
        raise ValueError("the first line is not an object")
    return {name: kinds[type(row[name])] for name in TYPED if type(row.get(name)) in kinds}


def _with_text(path: Path, mixed: list[str]) -> pl.DataFrame:
    """The frame of a file where some columns mix: numbers and texts as texts, content in parts joined."""
    lines = []
    for row in _rows(path):
        for name in mixed:
            if _kind(row.get(name)) == "a number":
                row[name] = json.dumps(row[name])
            elif _kind(row.get(name)) == "a list":
                row[name] = joined(row[name])
        lines.append(json.dumps(row))
    content = "\n".join(lines).encode()
    types = _types(path)
    texts = {name: pa.string() for name in mixed if types.get(name) != MESSAGES}
    return _parsed(lambda: io.BytesIO(content), types | texts)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    """Every object of the file. Raises InputError for the first line that is none."""
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
                    f"{path}: row {number}: the line is not JSON ({cause}); write one object a line"
                ) from None
            except UnicodeDecodeError:
                raise InputError(f"{path}: row {number}: the line is not UTF-8; write the file so") from None
            if not isinstance(row, dict):
                raise InputError(f"{path}: row {number}: the line is {_kind(row)}; write one object a line")
            yield row
    if not number:
        raise InputError(f"{path} has no rows; give a table with at least one")


def _explain(path: Path) -> list[str]:
    """Raise InputError for what is wrong with the file, if it is found; columns of numbers and texts otherwise."""
    try:
        return explain_mixture(_rows(path), str(path), spelled=True)
    except (OSError, EOFError, zlib.error) as error:  # a damaged gzip file
        raise InputError(f"{path} cannot be read ({error}); write the file again") from None


def joined(messages: list[Any]) -> list[Any]:
    """Messages whose content is text, of parts that were checked."""
    return [{"role": message["role"], "content": text_of(message["content"])} for message in messages]


def _in_parts(value: list[Any], place: str) -> bool:
    """Whether some message has its content in parts. Raises InputError where a role or a content is not text."""
    for message in value:
        if not isinstance(message, dict):
            raise InputError(f"{place} is a list, but not of messages; give text or messages")
        for key, text in (("role", message.get("role")), ("content", text_of(message.get("content")))):
            if not isinstance(text, str):
                kind = _kind(message.get(key))
                raise InputError(
                    f"{place} has a message whose {key} is {kind}; only text can be embedded: "
                    "give each message a role and a content that are strings, or a content of text parts"
                )
            _explain_text(text, place)
    return any(isinstance(message["content"], list) for message in value)


def _explain_text(text: str, place: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{place} holds half a surrogate pair, which is not text; write the file again") from None


def _kind(value: object) -> str:
    """What a person calls a value of this type; NaN is how pandas says that there is none."""
    if value is None or (isinstance(value, float) and value != value):
        return "null"
    kinds = ((str, "text"), (bool, "true or false"), (Number, "a number"), (list, "a list"), (dict, "an object"))
    return next((name for kind, name in kinds if isinstance(value, kind)), f"of type {type(value).__name__}")


def _open(path: Path) -> Any:
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")
