"""What a loader makes of a published data set: comparisons and users in the external format, and what was left out."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from html import escape
from pathlib import Path

import numpy as np
import polars as pl

from plurality.errors import InputError
from plurality.io.atomic import whole_folder
from plurality.io.paths import expanded

MARK = "frames.json"
"""The file that tells a folder of frames, and says what was left out."""


class Checked(Enum):
    """What somebody who wrote a loader had seen of its files; the set's card says more."""

    FILE = "a published file"
    SCHEMA = "the publisher's own description"
    READERS = "public readers' code"


@dataclass(frozen=True)
class About:
    """What a loader's file says of its set: hub id if it has one, licence, published files, and what was checked."""

    hub: str | None
    licence: str
    files: tuple[str, ...]
    checked: Checked

    @property
    def source(self) -> str:
        """What a source is; "as published" is promised only where the publisher was asked."""
        if self.checked is Checked.READERS:
            return "file or folder in the form that public readers of it take (the published one was not seen)"
        return f"file or folder as published (checked against {self.checked.value})"


@dataclass(frozen=True, eq=False, repr=False)
class Frames:
    """Comparisons and users as `plurality.read` takes them, and how many rows were left out for which reason.

    comparisons   `user_id, prompt, chosen, rejected`, optionally `label`, `strength`, `weight`, `objective`,
                  `group_id`, and columns that are passed through; lazy where the set is large
    users         `user_id` and whatever is known of people, a row each
    dropped       reason -> rows, of what was published; every row is counted under its first reason
    embeddings    writes the items' embeddings to a .npy file, where items are not texts but rows of it

    name    the data set
    """

    name: str
    comparisons: pl.LazyFrame | pl.DataFrame
    users: pl.DataFrame
    dropped: Mapping[str, int] = field(default_factory=dict)
    embeddings: Callable[[Path], Path] | None = None

    def collect(self) -> pl.DataFrame:
        """The comparisons in memory."""
        return self.comparisons.lazy().collect(engine="streaming")

    def count(self) -> int:
        """How many comparisons there are."""
        return int(self.comparisons.lazy().select(pl.len()).collect(engine="streaming").item())

    def write(self, folder: str | Path) -> Path:
        """Write comparisons.parquet (streamed), users.parquet, frames.json, and embeddings.npy if items are not texts.

        All or nothing. Raises InputError for a folder that cannot be written or that holds something else.

        folder    folder to write comparisons.parquet and users.parquet to
        """
        with whole_folder(expanded(folder).resolve(), marker=MARK) as new:
            self.comparisons.lazy().sink_parquet(new / "comparisons.parquet")
            self.users.write_parquet(new / "users.parquet")
            if self.embeddings is not None:
                self.embeddings(new / "embeddings.npy")
            about = {"name": self.name, "dropped": dict(self.dropped)}
            (new / MARK).write_text(json.dumps(about, indent=1, ensure_ascii=False), encoding="utf-8")
        return expanded(folder)

    def facts(self) -> dict[str, str]:
        """What `summary` tells, by name."""
        lazy = self.comparisons.lazy()
        per_user = lazy.group_by("user_id").len().collect(engine="streaming")["len"]
        schema = lazy.collect_schema()
        median = f", median {np.median(per_user):,.0f} each" if len(per_user) else ""
        told = {"comparisons": f"{per_user.sum():,} by {len(per_user):,} users{median}"}
        if "label" in schema:
            ties = lazy.select((pl.col("label") == 0.5).sum()).collect(engine="streaming").item()
            told["ties"] = f"{ties:,}"
        told["columns"] = ", ".join(schema.names())
        told["known of users"] = ", ".join(self.users.columns[1:]) or "nothing"
        for reason, count in self.dropped.items():
            told[f"left out: {reason}"] = f"{count:,}"
        return told

    def summary(self) -> str:
        """The facts as text of at most 80 columns."""
        from textwrap import fill

        lines = (f"{name}: {value}" for name, value in self.facts().items())
        return "\n".join(
            [self.name, *(fill(line, 80, initial_indent="  ", subsequent_indent="    ") for line in lines)]
        )

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        rows = (
            f"<tr><th style='text-align:left'>{escape(k)}</th><td>{escape(v)}</td></tr>"
            for k, v in self.facts().items()
        )
        return f"<table><caption>{escape(self.name)}</caption>{''.join(rows)}</table>"


def sieve(frame: pl.LazyFrame, reasons: Mapping[str, pl.Expr]) -> tuple[pl.LazyFrame, dict[str, int]]:
    """The rows for which no reason holds, and how many fell to each, every row counted under its first.

    A reason that is null for a row does not hold.
    """
    tests = [reason.fill_null(False) for reason in reasons.values()]
    first = pl.lit(None, dtype=pl.Int64)
    for place in reversed(range(len(tests))):
        first = pl.when(tests[place]).then(pl.lit(place, dtype=pl.Int64)).otherwise(first)
    counted = frame.select(first.alias("reason")).group_by("reason").len().collect(engine="streaming")
    by_place = dict(counted.iter_rows())
    dropped = {reason: by_place[place] for place, reason in enumerate(reasons) if by_place.get(place)}
    return frame.filter(~pl.any_horizontal(tests)), dropped


def some(frames: Frames, source: object) -> Frames:
    """The frames, if they hold a comparison. Raises InputError saying what was left out if they do not."""
    if frames.comparisons.lazy().select("user_id").head(1).collect(engine="streaming").height == 0:
        why = ", ".join(f"{reason} {count:,}" for reason, count in frames.dropped.items()) or "nothing was left out"
        raise InputError(f"{source}: no comparison is left for {frames.name} ({why}); loosen the options")
    return frames
