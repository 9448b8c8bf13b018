"""A store: comparisons and their embeddings in a folder, embeddings mapped back and not read.

comparisons.parquet   user, first, second (row numbers), label, weight, group
answers.parquet, silent.parquet   what people said other than pairs, where they did
users.parquet         user_id and what is known of the user
items.parquet         key, prompt (row number), base scores and texts where there are any
prompts.parquet       key
embeddings.safetensors   items (M, d), and prompts (Q, d) where they are embedded
encoder/              the encoder, where there is one
meta.json             schema version, encoder, counts, and what `plurality.io.sealed` adds: hashes of all files
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import polars as pl

from plurality.arrays import Array
from plurality.data.comparisons import Comparisons
from plurality.data.embeddings import check_finite
from plurality.data.pending import PendingEmbeddings
from plurality.data.rows import check_rows
from plurality.data.tensor_files import StoreDtype, map_tensors, write_tensors
from plurality.encoders.stored import StoredEncoder
from plurality.errors import InputError
from plurality.io.atomic import whole_folder
from plurality.io.causes import system_error, unreadable
from plurality.io.engines import LOCAL, Engine
from plurality.io.paths import expanded
from plurality.io.plain import read_json
from plurality.io.sealed import check
from plurality.io.staging import sweep
from plurality.io.verified import once

SCHEMA = 1
META, EMBEDDINGS, ENCODER = "meta.json", "embeddings.safetensors", "encoder"
SHARD = "shard.json"  # in place of META where there is a part of the embeddings: `plurality.data.shards`
TABLES = ("comparisons", "users", "items", "prompts")
ATTRIBUTES = "attributes.parquet"  # only where rows have any
OTHERS = ("answers", "silent")  # tables that are there only where people said other things than pairs
AGAIN = "copy the store again, or embed the texts again"
Part = Callable[[int], tuple[int, int]]


def is_store(source: object) -> bool:
    """Whether `source` is the path of a folder with a store's meta.json."""
    return isinstance(source, str | Path) and (expanded(source) / META).is_file()


def save(data: Comparisons, folder: str | Path, *, dtype: StoreDtype = "float32", engine: Engine = LOCAL) -> Path:
    """Write `data` to a folder, which holds the old store until the new one is whole.

    A subset keeps every item and user of the data that it was taken from, as it does in memory. Raises
    InputError for a folder that cannot be written or that holds something else, and for another dtype.

    data      comparisons
    folder    store to write
    dtype     of the embeddings in the file: "float32", or half of its size in "float16" or "bfloat16"
    engine    where texts of `read(pending=True)` are embedded
    """
    with whole_folder(expanded(folder).resolve(), marker=META) as new:
        write_record(new / META, write_files(data, new, dtype, engine=engine))
    return expanded(folder)


def load(folder: str | Path, *, verify: bool = True) -> Comparisons:
    """Open a store, embeddings memory-mapped and read-only; `verify` compares every file with its SHA-256.

    A large file is read through once and remembered: see `plurality.io.verified`. Raises InputError when the folder is
    not a store, a newer plurality wrote it, a file is missing, a link, cut short or (with `verify`) changed, and for
    rows that make no sense.
    """
    folder = expanded(folder)
    meta = _read_meta(folder)
    others = [f"{name}.parquet" for name in ("attributes", *OTHERS) if meta.get(name)]
    needed = (EMBEDDINGS, *(f"{name}.parquet" for name in TABLES), *others)
    check(folder, META, meta, needed=needed, again=AGAIN, verify=verify)
    try:
        tables = {name: pl.read_parquet(folder / f"{name}.parquet") for name in TABLES}
        data = _restore(folder, meta, tables, map_tensors(folder / EMBEDDINGS))
        check_rows(data, AGAIN)
    except OSError as error:
        raise unreadable(folder, error, AGAIN) from None
    except InputError:
        raise
    except (pl.exceptions.PolarsError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        cause = str(error).split("\n")[0]
        raise InputError(f"{folder} is damaged ({cause}); {AGAIN}") from None
    once(folder / EMBEDDINGS, "finite", lambda: _check_finite(data))
    return data


def write_files(
    data: Comparisons, folder: Path, dtype: StoreDtype, part: Part | None = None, engine: Engine = LOCAL
) -> dict[str, Any]:
    """Write all files of a store but its record, which is returned. Raises InputError as `save` does.

    data      comparisons
    folder    where they are written
    dtype     of the embeddings
    part      first row, and the row after the last, of the embeddings that are written among so many; None: all
    engine    where texts are embedded
    """
    if dtype not in get_args(StoreDtype):
        raise InputError(f"dtype={dtype!r} is unknown; choose one of {', '.join(get_args(StoreDtype))}")
    check_rows(data, "mend the comparisons before they are saved")
    _check_finite(data)
    try:
        return _write(data, folder, dtype, part or (lambda count: (0, count)), engine)
    except pl.exceptions.PolarsError as error:
        if system_error(error) is not None:  # a full disk, say: `whole_folder` tells the cause
            raise
        cause = str(error).split("\n")[0]
        raise InputError(f"{folder} cannot be written ({cause}); choose another folder") from None


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a record, which `whole_folder` completes.

    path      file
    record    what it holds, JSON-able
    """
    path.write_text(json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8")


def _write(data: Comparisons, folder: Path, dtype: StoreDtype, part: Part, engine: Engine) -> dict[str, Any]:
    from plurality import __version__  # here, since the package itself imports this module

    rows: dict[str, Array] = {"user": data.user, "first": data.first, "second": data.second}
    rows |= {"label": data.label, "weight": data.weight, "group": data.group}
    for name, column in (("objective", data.objective), ("grade", data.grade)):
        if column is not None:
            rows[name] = column
    items = pl.DataFrame({"key": data.item_keys, "prompt_row": data.prompt})
    if data.base is not None:
        items = items.with_columns(base=data.base)
    if data.texts is not None:
        items = pl.concat([items, data.texts], how="horizontal")
    frames = (pl.DataFrame(rows), data.users, items, pl.DataFrame({"key": data.prompt_keys}))
    for name, frame in zip(TABLES, frames, strict=True):
        frame.write_parquet(folder / f"{name}.parquet")
    if data.attributes is not None:
        data.attributes.write_parquet(folder / ATTRIBUTES)
    for name, table in zip(OTHERS, (data.answers, data.silent), strict=True):
        if table is not None:
            table.write_parquet(folder / f"{name}.parquet")
    tensors: dict[str, Array | PendingEmbeddings] = {"items": data.items}
    if data.prompts is not None:
        tensors["prompts"] = data.prompts
    written = {name: array[slice(*part(len(array)))] for name, array in tensors.items()}
    for name, array in written.items():
        if isinstance(array, PendingEmbeddings):
            written[name] = array.by(engine)
    write_tensors(folder / EMBEDDINGS, written, dtype)
    described = None
    if data.encoder is not None:
        data.encoder.save(folder / ENCODER)
        facts = {"dim": data.encoder.dim, "fingerprint": data.encoder.fingerprint}
        described = {**data.encoder.describe(), **facts}
    return {
        "schema_version": SCHEMA,
        "plurality": __version__,
        "source": data.source,
        "duplicates": data.duplicates,
        "objectives": list(data.objectives),
        "unread": list(data.unread),
        "attributes": data.attributes is not None,
        "answers": data.answers is not None,
        "silent": data.silent is not None,
        "encoder": described,
        "counts": _counts(data),
    }


def _counts(data: Comparisons) -> dict[str, int]:
    return {
        "comparisons": len(data),
        "users": data.users.height,
        "items": len(data.items),
        "prompts": len(data.prompt_keys),
        "dim": data.dim,
    }


def _read_meta(folder: Path) -> dict[str, Any]:
    if not os.path.lexists(folder / META):
        sweep(folder)  # a write that was killed may have set the store aside
        if os.path.lexists(folder / SHARD):
            raise InputError(f"{folder} is a shard of a store; make the store of all of them: plurality data merge")
        if not os.path.lexists(folder / META):
            raise InputError(f"{folder} is not a store, it has no {META}; give a folder that was saved")
    damaged = f"is damaged or not a store's record; {AGAIN}"
    meta = read_json(folder, META, "give a folder that was saved", damaged)
    version = meta.get("schema_version")
    if not isinstance(version, int):
        raise InputError(f"{folder / META} {damaged}")
    if version > SCHEMA:
        raise InputError(f"{folder} was written by a newer plurality (schema {version}); upgrade plurality")
    return meta


def _check_finite(data: Comparisons) -> None:
    for name, array in (("items", data.items), ("prompts", data.prompts)):
        if isinstance(array, np.ndarray):  # what is made as it is written is checked then
            check_finite(array, f"{data.source}, {name}")


def _restore(
    folder: Path, meta: dict[str, Any], tables: dict[str, pl.DataFrame], tensors: dict[str, Any]
) -> Comparisons:
    # writable, since torch shares memory and warns of what it may not write to
    rows = {name: values.to_numpy(writable=True) for name, values in tables["comparisons"].to_dict().items()}
    items = tables["items"]
    base = items["base"].to_numpy(writable=True) if "base" in items.columns else None
    texts = items.drop("key", "prompt_row", "base", strict=False) if "completion" in items.columns else None
    encoder = None if meta["encoder"] is None else StoredEncoder(folder / ENCODER, meta["encoder"])
    data = Comparisons(
        items=tensors["items"],
        first=rows["first"],
        second=rows["second"],
        user=rows["user"],
        label=rows["label"],
        weight=rows["weight"],
        group=rows["group"],
        prompt=items["prompt_row"].to_numpy(writable=True),
        users=tables["users"],
        item_keys=items["key"].to_numpy(writable=True),
        prompt_keys=tables["prompts"]["key"].to_numpy(writable=True),
        texts=texts,
        prompts=tensors.get("prompts"),
        encoder=encoder,
        source=str(folder),
        duplicates=meta["duplicates"],
        objective=rows.get("objective"),
        objectives=tuple(meta.get("objectives", ())),
        unread=tuple(meta.get("unread", ())),
        attributes=pl.read_parquet(folder / ATTRIBUTES) if meta.get("attributes") else None,
        answers=pl.read_parquet(folder / "answers.parquet") if meta.get("answers") else None,
        silent=pl.read_parquet(folder / "silent.parquet") if meta.get("silent") else None,
        grade=rows.get("grade"),
        base=base,
    )
    beside = (data.attributes, data.answers)
    if any(frame is not None and frame.height != len(data) for frame in beside):
        raise InputError(f"{folder} is damaged, its files are of different lengths; {AGAIN}")
    if _counts(data) != meta["counts"] or len(data.items) != items.height:
        raise InputError(f"{folder} is damaged, its files are of different lengths; {AGAIN}")
    return data
