"""A store made in shards: each embeds its share of the texts, on whatever machine, and `merge_shards` makes the store.

All shards read the same table, and items stand in the order of their keys, so that a share is a run of rows that every
shard agrees on. Shares are of whole blocks of texts, as one run embeds them: the store is the same to the byte.

A shard is a folder as a store's, with `shard.json` in place of `meta.json`; tables stand in the first one alone, and
the others keep their hashes.
"""

import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plurality.data import pending
from plurality.data.comparisons import Comparisons
from plurality.data.store import AGAIN, EMBEDDINGS, ENCODER, META, SHARD, write_files, write_record
from plurality.data.tensor_files import StoreDtype, join_tensors
from plurality.data.unread import few_of
from plurality.encoders.probe import check_probe, probe_of_file
from plurality.errors import InputError
from plurality.io import sealed
from plurality.io.atomic import whole_folder
from plurality.io.engines import LOCAL, Engine
from plurality.io.paths import expanded
from plurality.io.plain import read_json

__all__ = ["Shard", "merge_shards", "save_shard"]

REMEDY = "embed that shard again, with the settings of the others"


@dataclass(frozen=True)
class Shard:
    """Share `number` of `of`, counted from 1. Raises InputError for a share that cannot be.

    number    which
    of        how many there are
    """

    number: int
    of: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.of:
            of = max(self.of, 1)
            raise InputError(f"shard {self} cannot be; give one from 1/{of} to {of}/{of}")

    @staticmethod
    def parse(text: str) -> "Shard":
        """A share as people write it, "3/16".

        text    number and how many, with a slash between
        """
        found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
        if found is None:
            raise InputError(f"shard {text!r} is no share; write the third of sixteen as 3/16")
        return Shard(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def rows(self, count: int) -> tuple[int, int]:
        """First row of the share, and the row after its last, among `count`: whole blocks, as even as these allow.

        count    rows of all shards together
        """
        blocks = -(-count // pending.BLOCK)
        start, stop = (blocks * part // self.of * pending.BLOCK for part in (self.number - 1, self.number))
        return min(start, count), min(stop, count)


def save_shard(
    data: Comparisons,
    folder: str | Path,
    shard: Shard,
    *,
    dtype: StoreDtype = "float32",
    engine: Engine = LOCAL,
) -> Path:
    """Write a share of a store: of `read(pending=True)`, only its texts are embedded.

    data      comparisons, the same for all shards
    folder    shard to write
    shard     which share
    dtype     as in `Comparisons.save`, the same for all shards
    engine    where texts are embedded

    Raises InputError as `Comparisons.save` does.
    """

    with whole_folder(expanded(folder).resolve(), marker=SHARD) as new:
        meta = write_files(data, new, dtype, shard.rows, engine)
        tables = sorted(new.glob("*.parquet"))
        hashes = {table.name: sealed.sha256(table) for table in tables}
        if shard.number > 1:
            for table in tables:
                table.unlink()
        record = {"shard": [shard.number, shard.of], "dtype": dtype, "tables": hashes, "meta": meta}
        write_record(new / SHARD, record)
    return expanded(folder)


def merge_shards(folders: Sequence[str | Path], out: str | Path) -> Path:
    """Make the store of all its shards, in any order: the bytes that one run would have written.

    Vectors are copied from file to file, in little memory. Raises InputError, naming the folder, for a shard that is
    damaged, missing, given twice, of other data or settings, or made by another encoder.

    folders    what `save_shard` or `plurality embed --shard` wrote
    out        store to write
    """
    parts = _checked([expanded(folder) for folder in folders])
    first, record = parts[0]
    with whole_folder(expanded(out).resolve(), marker=META) as new:
        for name in record[sealed.FILES].keys() - {EMBEDDINGS}:
            (new / name).parent.mkdir(exist_ok=True, parents=True)
            shutil.copyfile(first / name, new / name)
        join_tensors([folder / EMBEDDINGS for folder, _ in parts], new / EMBEDDINGS)
        write_record(new / META, record["meta"])
    return expanded(out)


def _checked(folders: Sequence[Path]) -> list[tuple[Path, dict[str, Any]]]:
    """Folders and records in the order of their shares, complete and of one job."""
    if not folders:
        raise InputError("there is no shard to merge; give the folders of all of them")
    found: dict[int, tuple[Path, dict[str, Any]]] = {}
    for folder in folders:
        record = _record(folder)
        number = record["shard"][0]
        if number in found:
            raise InputError(f"{folder}: shard {number} is given twice, also as {found[number][0]}; leave one out")
        found[number] = folder, record
    parts = [found[number] for number in sorted(found)]
    first, one = parts[0]
    for folder, record in parts[1:]:
        if other := _differs(one, record):
            raise InputError(f"{folder} and {first} differ in {other}, so they are not of one store; {REMEDY}")
        _check_probes(first, folder)
    of = one["shard"][1]
    if missing := [str(number) for number in range(1, of + 1) if number not in found]:
        few = few_of(missing)
        raise InputError(f"{len(missing)} of {of} shards are missing ({few}); give their folders too, or embed them")
    return parts


def _record(folder: Path) -> dict[str, Any]:
    """The record of a shard, whose files are what was written."""
    no_shard = "give folders that `plurality embed --shard` wrote"
    record = read_json(folder, SHARD, no_shard, f"is damaged or no shard's record; {AGAIN}")
    if not record.keys() >= {"shard", "dtype", "tables", "meta"}:
        raise InputError(f"{folder / SHARD} is damaged or no shard's record; {AGAIN}")
    sealed.check(folder, SHARD, record, needed=(EMBEDDINGS,), again=AGAIN)
    return record


def _differs(one: dict[str, Any], other: dict[str, Any]) -> str | None:
    """What two records have that shards of one store do not, in words."""
    encoders = [(record["meta"].get("encoder") or {}).get("fingerprint") for record in (one, other)]
    table = next((name for name in one["tables"] if one["tables"][name] != other["tables"].get(name)), None)
    told = (
        ("the number of shards", one["shard"][1] != other["shard"][1]),
        ("the encoder", encoders[0] != encoders[1]),
        ("the type of their embeddings (--store-dtype)", one["dtype"] != other["dtype"]),
        ("the version of plurality", one["meta"].get("plurality") != other["meta"].get("plurality")),
        (f"{table}: other rows, options of reading, or another version of polars", table is not None),
        ("what is in them", one["meta"]["counts"] != other["meta"]["counts"]),
    )
    return next((what for what, so in told if so), None)


def _check_probes(first: Path, other: Path) -> None:
    """Raise InputError where the vectors of the probe are not those of the first shard, as of another server."""
    one, two = (probe_of_file(folder / ENCODER) for folder in (first, other))
    if one is not None and two is not None:
        check_probe(two, one, str(other))
