"""`check_data`: leaks, counts, consistency, and room for personalisation, in one report."""

from dataclasses import dataclass
from textwrap import fill
from typing import Literal, get_args

import polars as pl

from plurality.data.comparisons import Comparisons
from plurality.data_checks.consistency import Consistency, consistency
from plurality.data_checks.counts import Counts, count
from plurality.data_checks.format_leak import FormatLeak, format_leak
from plurality.data_checks.headroom import Room, room
from plurality.data_checks.ratings import RatingsCheck, check_ratings
from plurality.deprecation import renamed
from plurality.errors import InputError
from plurality.escaping import markup
from plurality.io.progress import stages

__all__ = ["DataCheck", "check_data"]

Split = Literal["group", "prompt", "item"]
MOST_FOLDS = 5  # disjoint test parts, each a fifth
MOST_ROWS = 24  # of a table in a notebook; all of them are in `frames`


@dataclass(frozen=True, eq=False, repr=False)
class DataCheck:
    """What `check_data` found: each part has tidy frames and sentences; `format` is None where items have no texts.

    source         name of the data
    counts         how much there is of what
    consistency    agreement of people with each other and themselves
    room           room for personalisation; None where it was not estimated
    ratings        how people use their scale, and against what else they say; None where nobody rates
    """

    source: str
    counts: Counts
    format: FormatLeak | None
    consistency: Consistency
    room: Room | None
    ratings: RatingsCheck | None = None

    @property
    def suspicious(self) -> bool:
        """Whether the look of texts gives labels away."""
        return self.format is not None and self.format.verdict == "suspicious"

    @property
    def sentences(self) -> tuple[str, ...]:
        """What was found, the worst first."""
        looks = ("Format: items have no texts to look at.",) if self.format is None else self.format.sentences
        rated = self.ratings.sentences if self.ratings else ()
        rest = (*self.consistency.sentences, *rated, *(self.room.sentences if self.room else ()))
        return (*looks, *self.counts.sentences, *rest)

    def frames(self) -> dict[str, pl.DataFrame]:
        """The tidy tables by name; those that are empty are left out."""
        tables = {"counts": self.counts.table, "consistency": self.consistency.table}
        if self.format is not None:
            tables |= {"format": self.format.table, "features": self.format.features, "examples": self.format.examples}
        if self.room is not None:
            tables["room"] = self.room.table
        if self.ratings is not None:
            tables |= {"ratings": self.ratings.table, "scale_use": self.ratings.people}
        return {name: table for name, table in tables.items() if table.width}

    def summary(self) -> str:
        """The sentences as text of at most 80 columns."""
        head = f"Check of {self.source}"
        lines = [fill(s, 80, initial_indent="  ", subsequent_indent="    ") for s in self.sentences]
        return "\n".join([head if len(head) <= 80 else f"{head[:79]}…", *lines, *self._examples()])

    def _examples(self) -> list[str]:
        """Rows that show what gives the label away."""
        if self.format is None or self.format.examples.is_empty():
            return []
        lines = ["  For example:"]
        for row in self.format.examples.unique("feature", keep="first", maintain_order=True).iter_rows(named=True):
            lines.append(_cut(f"    {row['feature']}, user {row['user_id']}"))
            lines += [_cut(f"      {side:8} {row[side]}") for side in ("chosen", "rejected")]
        return lines

    def __repr__(self) -> str:
        return self.summary()

    def _repr_html_(self) -> str:
        items = "".join(f"<li>{markup(s)}</li>" for s in self.sentences)
        with pl.Config(
            tbl_hide_dataframe_shape=True,
            tbl_hide_column_data_types=True,
            tbl_rows=MOST_ROWS,
            fmt_str_lengths=80,
            float_precision=3,
        ):
            tables = "".join(f"<p><b>{markup(k)}</b></p>{v._repr_html_()}" for k, v in self.frames().items())
        return f"<p><b>Check of {markup(self.source)}</b></p><ul>{items}</ul>{tables}"


@renamed(draws="n_bootstrap")
def check_data(
    data: Comparisons,
    texts: pl.DataFrame | None = None,
    *,
    split: Split | None = None,
    folds: int = 2,
    n_bootstrap: int = 1000,
    estimate_room: bool = True,
    seed: int = 0,
    progress: bool = False,
) -> DataCheck:
    """Look at comparisons before a model does: format leaks, counts, consistency of users, use of
    rating scales, room for personalisation.

    `texts` has a row an item and a column `completion`, what the encoder was given; default the data's own. `split` is
    the unit held out to estimate the room, by default items where they recur, else groups of siblings. Intervals
    resample users. Raises InputError for no comparisons, or texts that do not fit.

    data             comparisons with their texts
    folds            parts that probes are cross-validated on
    n_bootstrap      resamples of users behind the intervals
    estimate_room    fit models to look for room for personalisation, which takes longest
    seed             of folds and resamples
    progress         show a progress bar; off by default
    """
    if not len(data):
        raise InputError(f"{data.source}: no comparison to check")
    if split is not None and split not in get_args(Split):
        raise InputError(f"split={split!r} is unknown; choose {', '.join(get_args(Split))}, or leave it out")
    if not isinstance(folds, int) or not 1 <= folds <= MOST_FOLDS:
        raise InputError(f"folds={folds!r} is no whole number from 1 to {MOST_FOLDS}; give one")
    with stages("check", 4, show=progress) as bar:
        bar("counts")
        counts = count(data)
        bar("format")
        looks = (
            None
            if data.texts is None and texts is None
            else format_leak(data, texts, n_bootstrap=n_bootstrap, seed=seed)
        )
        bar("consistency")
        agreement = consistency(data, n_bootstrap=min(n_bootstrap, 200), seed=seed)
        rated = check_ratings(data, n_bootstrap=min(n_bootstrap, 200), seed=seed)
        bar("room for personalisation")
        unit = split or ("item" if counts.recur else "group")
        found = room(data, split=unit, folds=folds, n_bootstrap=n_bootstrap, seed=seed) if estimate_room else None
    return DataCheck(data.source, counts, looks, agreement, found, rated)


def _cut(line: str, width: int = 80) -> str:
    return line if len(line) <= width else f"{line[: width - 1]}…"
