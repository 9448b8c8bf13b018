"""What changed between two audits that were saved: rows of both tables side by side."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import norm

from plurality.analyses.audit.metrics import MEANS, METRICS
from plurality.analyses.audit.readout import Grid, Readable, Readout
from plurality.analyses.audit.slices import CROSS, OVERALL, sums_by_name
from plurality.analyses.audit.verdict import across_all, count, percent, signed
from plurality.analyses.inference.bootstrap import Floats
from plurality.analyses.inputs import read_table
from plurality.analyses.wording import ALPHA, p_value
from plurality.errors import InputError
from plurality.io.atomic import whole_file
from plurality.io.paths import expanded

__all__ = ["AuditDifference", "audit_difference"]

KEY = ("metric", "provenance", "attribute", "level")
HEAD = ("Group", "old", "new", "change", "p")


@dataclass(frozen=True, repr=False, eq=False)
class AuditDifference(Readable):
    """Changes of the means of every slice that both audits show.

    table    metric, provenance, attribute, level, n_users_old, n_users_new, old, new, change, lo, hi, p
    notes    sentences that a reader should see
    """

    table: pl.DataFrame
    notes: tuple[str, ...]

    def readout(self) -> Readout:
        """What a person is shown of it."""
        rows = self.table.filter(metric="utility", provenance="observed")
        said = []
        for row in rows.filter(attribute=OVERALL[0]).iter_rows(named=True):
            ends = f"from {percent(row['old'])} to {percent(row['new'])} ({signed(100 * row['change'])} points)"
            said.append(f"Observed utility of all users went {ends}.")
        groups = rows.filter(pl.col("attribute") != OVERALL[0])
        tested = across_all(groups)
        moved = tested.filter(pl.col("q") < ALPHA).height if tested.height else 0
        there = count(groups.height, "group")
        said.append(f"Of {there} shown in both, {moved or 'none'} changed beyond chance (q over all).")
        single = groups.filter(~pl.col("attribute").str.contains(CROSS, literal=True))
        lines = [
            (
                f"{r['attribute']} {r['level']}",
                percent(r["old"]),
                percent(r["new"]),
                signed(100 * r["change"]),
                p_value(r["p"], ""),
            )
            for r in single.iter_rows(named=True)
        ]
        return Readout("Audits", "old beside new", said, (Grid(HEAD, lines, (0,)),), self.notes)

    def __repr__(self) -> str:
        return f"<AuditDifference of {self.table.height} rows; print it, or see .table>"

    def save(self, path: str | Path) -> Path:
        """Write the table as a file of parquet.

        path    file to write
        """
        path = expanded(path)
        with whole_file(path) as new:
            self.table.write_parquet(new)
        return path


def audit_difference(old: str | Path, new: str | Path) -> AuditDifference:
    """Changes from one saved audit to another, of means, in the slices that both show.

    The people of saved audits are not known, so both are taken as independent samples: SE² = SE_old² + SE_new², each
    from its interval's half-width over z; where the same people stand in both, the true interval is narrower, and
    `audit(models=)` gives it. Slices whose numbers of users differ by fewer people than a slice needs are left out, as
    both audits together would tell of those few, and so are slices from which theirs would follow. Raises InputError
    for a folder that holds no audit.

    old    folder of the audit to compare with
    new    folder of the audit that is compared
    """
    (first, meta), (second, later) = (read_saved(folder) for folder in (old, new))
    least = max(m["disclosure"]["min_users_show"] for m in (meta, later))
    wanted = pl.DataFrame([m.key for m in METRICS[MEANS]], schema=["metric", "provenance"], orient="row")
    shown = [frame.filter(~pl.col("suppressed")).join(wanted, on=["metric", "provenance"]) for frame in (first, second)]
    both = shown[0].join(shown[1], on=KEY, suffix="_new", maintain_order="left")
    if both.is_empty():
        raise InputError(f"{new}: no slice is shown in both; audit by the same attributes")
    near = ~_tellable(both, first, second, least)
    if near.all():
        raise InputError(
            f"{new}: the two audits differ by fewer than {least} people, of whom their difference would tell"
        )
    z = [norm.ppf(0.5 + m["level"] / 2) for m in (meta, later)]
    kept = both.filter(pl.Series(~near))
    width = [(kept[f"hi{s}"] - kept[f"lo{s}"]).to_numpy() / 2 / k for s, k in zip(("", "_new"), z, strict=True)]
    error: Floats = np.hypot(*width)
    change = (kept["estimate_new"] - kept["estimate"]).to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        p = 2 * norm.sf(np.abs(change) / np.where(error > 0, error, np.nan))
    half = norm.ppf(0.5 + meta["level"] / 2) * error
    table = kept.select(
        *KEY, pl.col("n_users").alias("n_users_old"), "n_users_new", pl.col("estimate").alias("old"),
        pl.col("estimate_new").alias("new"), change=pl.Series(change), lo=pl.Series(change - half),
        hi=pl.Series(change + half), p=pl.Series(p),
    ).with_columns(pl.col("lo", "hi", "p").fill_nan(None))  # fmt: skip
    notes = [
        "Both audits are taken as of different people; of the same people, audit(models=) gives narrower intervals."
    ]
    if near.any():
        slices = both.filter(pl.Series(near)).select("attribute", "level").n_unique()
        notes.append(
            f"{count(slices, 'slice')} left out: fewer than {least} people by whom they differ could be told apart."
        )
    return AuditDifference(table, tuple(notes))


def _tellable(both: pl.DataFrame, first: pl.DataFrame, second: pl.DataFrame, least: int) -> NDArray[np.bool_]:
    """Which rows say nothing, nor all together by sums, of fewer people than `least` by whom two audits differ.

    both      rows shown in both
    first     the old table
    second    the new one
    least     users that a slice needs
    """
    named = pl.concat([first, second]).select("attribute", "level").unique(maintain_order=True)
    users = both.select("attribute", "level", change=pl.col("n_users_new") - pl.col("n_users")).unique()
    joined = named.join(users, on=["attribute", "level"], how="left", maintain_order="left")
    shown, change = joined["change"].is_not_null().to_numpy(), joined["change"].fill_null(0).to_numpy()
    size = np.abs(change)
    shown &= (size == 0) | (size >= least)
    sums = sums_by_name(named["attribute"].to_list(), named["level"].to_list())
    found = True
    while found:
        found = False
        for whole, parts in sums:
            listed = np.array(parts)
            told = listed[shown[listed]]
            left = abs(int(change[whole] - change[told].sum()))
            if shown[whole] and len(told) < len(listed) and 0 < left < least:
                moving = told[size[told] > 0]
                shown[moving[np.argmin(size[moving])] if len(moving) else whole] = False
                found = True
    safe = joined.filter(pl.Series(shown)).select("attribute", "level", safe=pl.lit(True))
    kept = both.select("attribute", "level").join(safe, on=["attribute", "level"], how="left", maintain_order="left")
    return kept["safe"].fill_null(False).to_numpy()


def read_saved(folder: str | Path) -> tuple[pl.DataFrame, dict[str, Any]]:
    """The table of a saved audit and what is told about it. Raises InputError where there is none.

    folder    that `audit --out` or Audit.save wrote
    """
    place = expanded(folder)
    about = place / "audit.json"
    if not about.is_file() or not (place / "audit.parquet").is_file():
        raise InputError(f"{folder}: no audit is there; give a folder that `audit --out` or Audit.save wrote")
    try:
        content: dict[str, Any] = json.loads(about.read_text("utf-8"))
    except ValueError as error:
        raise InputError(f"{about}: no JSON ({error}); save the audit again") from None
    return read_table(place / "audit.parquet", "audit"), content
