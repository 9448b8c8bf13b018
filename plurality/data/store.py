"""A store: comparisons and their embeddings in a folder, embeddings mapped back and not read.

comparisons.parquet   user, first, second (row numbers), label, weight, group
users.parquet         user_id and what is known of the user
items.parquet         key, prompt (row number), and the texts where there are any
prompts.parquet       key
embeddings.safetensors   items (M, d), and prompts (Q, d) where they are embedded
encoder/              the encoder, where there is one
meta.json             schema version, encoder, counts, and size and SHA-256 of every other file
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import polars as pl

from plurality.arrays import Array
from plurality.data.comparisons import Comparisons
from plurality.data.tensor_files import map_tensors, write_tensors
from plurality.encoders.stored import StoredEncoder
from plurality.errors import InputError
from plurality.io.atomic import whole_folder
from plurality.io.paths import expanded

SCHEMA = 1
META, EMBEDDINGS, ENCODER = "meta.json", "embeddings.safetensors", "encoder"
TABLES = ("comparisons", "users", "items", "prompts")
AGAIN = "copy the store again, or embed the texts again"


def is_store(source: object) -> bool:
    """Whether `source` is the path of a folder with a store's meta.json."""
    return isinstance(source, str | Path) and (expanded(source) / META).is_file()


def save(data: Comparisons, folder: str | Path) -> Path:
    """Write `data` to a folder, which holds the old store until the new one is whole.

    A subset keeps every item and user of the data that it was taken from, as it does in memory. Raises
    InputError for a folder that cannot be written or that holds something else.
    """
    with whole_folder(expanded(folder).resolve(), marker=META) as new:
        try:
            _write(data, new)
        except pl.exceptions.PolarsError as error:
            cause = str(error).split("\n")[0]
            raise InputError(f"{folder} cannot be written ({cause}); choose another folder") from None
    return expanded(folder)


def load(folder: str | Path, *, verify: bool = False) -> Comparisons:
    """Open a store, embeddings memory-mapped and read-only; `verify` reads everything to compare the SHA-256.

    Raises InputError when the folder is not a store, a newer plurality wrote it, or a file is missing, cut
    short or (with `verify`) changed.
    """
    folder = expanded(folder)
    meta = _read_meta(folder)
    _check_files(folder, meta, verify)
    try:
        tables = {name: pl.read_parquet(folder / f"{name}.parquet") for name in TABLES}
        return _restore(folder, meta, tables, map_tensors(folder / EMBEDDINGS))
    except (pl.exceptions.PolarsError, OSError, KeyError, TypeError) as error:
        cause = str(error).split("\n")[0]
        raise InputError(f"{folder} is damaged ({cause}); {AGAIN}") from None


def content_hash(files: dict[str, Any]) -> str:
    """SHA-256 over the names and hashes of the files but for meta.json: what the store holds, in one word."""
    lines = "".join(f"{name} {entry['sha256']}\n" for name, entry in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _write(data: Comparisons, folder: Path) -> None:
    from plurality import __version__  # here, since the package itself imports this module

    rows: dict[str, Array] = {"user": data.user, "first": data.first, "second": data.second}
    rows |= {"label": data.label, "weight": data.weight, "group": data.group}
    if data.objective is not None:
        rows["objective"] = data.objective
    items = pl.DataFrame({"key": data.item_keys, "prompt_row": data.prompt})
    if data.texts is not None:
        items = pl.concat([items, data.texts], how="horizontal")
    frames = (pl.DataFrame(rows), data.users, items, pl.DataFrame({"key": data.prompt_keys}))
    for name, frame in zip(TABLES, frames, strict=True):
        frame.write_parquet(folder / f"{name}.parquet")
    tensors = {"items": data.items}
    if data.prompts is not None:
        tensors["prompts"] = data.prompts
    write_tensors(folder / EMBEDDINGS, tensors)
    described = None
    if data.encoder is not None:
        data.encoder.save(folder / ENCODER)
        facts = {"dim": data.encoder.dim, "fingerprint": data.encoder.fingerprint}
        described = {**data.encoder.describe(), **facts}
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": _sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    meta = {
        "schema_version": SCHEMA,
        "plurality": __version__,
        "source": data.source,
        "duplicates": data.duplicates,
        "objectives": list(data.objectives),
        "encoder": described,
        "counts": _counts(data),
        "content_hash": content_hash(files),
        "files": files,
    }
    (folder / META).write_text(json.dumps(meta, indent=1, ensure_ascii=False), encoding="utf-8")


def _counts(data: Comparisons) -> dict[str, int]:
    return {
        "comparisons": len(data),
        "users": data.users.height,
        "items": len(data.items),
        "prompts": len(data.prompt_keys),
        "dim": data.dim,
    }


def _read_meta(folder: Path) -> dict[str, Any]:
    path = folder / META
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        version = meta["schema_version"]
        newer = version > SCHEMA
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(f"{folder} is not a store, it has no {META}; give a folder that was saved") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{path} is damaged or not a store's record; {AGAIN}") from None
    if newer:
        raise InputError(f"{folder} was written by a newer plurality (schema {version}); upgrade plurality")
    return dict(meta)


def _check_files(folder: Path, meta: dict[str, Any], verify: bool) -> None:
    files = meta.get("files")
    if not isinstance(files, dict) or not {EMBEDDINGS, *(f"{name}.parquet" for name in TABLES)} <= files.keys():
        raise InputError(f"{folder / META} is damaged, it does not list the files; {AGAIN}")
    for name, entry in files.items():
        path = folder / name
        if not path.is_file():
            raise InputError(f"{path} is missing; {AGAIN}")
        size = path.stat().st_size
        if size != entry["bytes"]:
            cause = "is truncated" if size < entry["bytes"] else "has grown"
            raise InputError(f"{path} {cause} ({size:,} bytes, {entry['bytes']:,} were written); {AGAIN}")
        if verify and _sha256(path) != entry["sha256"]:
            raise InputError(f"{path} is not what was written (its SHA-256 differs); {AGAIN}")
    if verify and content_hash(files) != meta.get("content_hash"):
        raise InputError(f"{folder / META} is damaged, its content hash is wrong; {AGAIN}")


def _restore(
    folder: Path, meta: dict[str, Any], tables: dict[str, pl.DataFrame], tensors: dict[str, Any]
) -> Comparisons:
    # writable, since torch shares memory and warns of what it may not write to
    rows = {name: values.to_numpy(writable=True) for name, values in tables["comparisons"].to_dict().items()}
    items = tables["items"]
    texts = items.drop("key", "prompt_row") if "completion" in items.columns else None
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
    )
    if _counts(data) != meta["counts"] or len(data.items) != items.height:
        raise InputError(f"{folder} is damaged, its files are of different lengths; {AGAIN}")
    return data


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
