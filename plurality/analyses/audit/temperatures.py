"""The temperature of every group: by how much stated log-odds are too steep for whom."""

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.special import logit
from scipy.stats import false_discovery_control

from plurality.analyses.audit.metrics import TEMPERATURE
from plurality.analyses.audit.sections import Section
from plurality.analyses.audit.slices import LEFT_OUT, SHOWN, Disclosure, Slices, State
from plurality.analyses.audit.tables import TABLE, families, hidden, start_of_row
from plurality.analyses.calibration.slopes import slopes_by_group
from plurality.analyses.inference.bootstrap import two_sided_p
from plurality.analyses.inputs import Predictions
from plurality.analyses.wording import ALPHA

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def temperatures(
    data: Predictions, groups: Slices, state: State, disclosure: Disclosure, level: float
) -> Section | None:
    """Temperatures of everybody and of every level of a single attribute; None where some probability is 0 or 1.

    T_g = 1/b_g of logit P(first preferred) = b_g · gap, with intervals that are robust to what a user's rows share;
    `shrunk` is the empirical-Bayes log T_g within an attribute. p tests T = 1.
    """
    gap = logit(data.p) if data.gap is None else data.gap
    if not np.isfinite(gap).all():
        return None
    found: dict[int, dict[str, object]] = {}
    levels = [shown.tolist() for shown, _ in families(groups, state).values()]
    for members in ([0], *levels):
        singles = [s for s in members if groups.order[s] <= 1 and state[s] == SHOWN]
        if singles:
            found |= _of_levels(data, gap, groups, singles, level)
    rows = []
    for s in np.flatnonzero((groups.order <= 1) & (state != LEFT_OUT)).tolist():
        row = start_of_row(TEMPERATURE, groups.attribute[s], groups.level[s])
        rows.append(row | (found[s] if s in found else hidden(disclosure)))
    table = pl.DataFrame(rows, schema=TABLE)
    return Section(
        "temperature",
        "Temperature of groups",
        _said(table),
        "By how much log-odds must be divided to be true of a group: above 1 the model claims too much of what they "
        "prefer, below 1 too little. Intervals are robust to what a user's comparisons share; diamonds are "
        "shrunk towards the "
        "attribute's mean.",
        table,
        _draw,
        table,
    )


def _draw(table: pl.DataFrame, width: float) -> "Figure":
    from plurality.analyses.figures import forest

    return forest(table, metric="temperature", width=width)


def _of_levels(
    data: Predictions, gap: np.ndarray, groups: Slices, members: list[int], level: float
) -> dict[int, dict[str, object]]:
    """Numbers of slices that share no user."""
    place = np.full(len(data.ids), -1)
    for s in members:
        place[groups.users(s)] = s
    rows = place[data.user] >= 0
    table = slopes_by_group(
        gap[rows], data.y[rows], place[data.user][rows], users=data.user[rows], weights=data.pooled[rows], level=level
    )
    p = two_sided_p(table["slope"].to_numpy() - 1, table["se"].to_numpy(), table["n_users"].to_numpy())
    known, q = np.isfinite(p), np.full(len(p), np.nan)
    if len(members) > 1 and known.any():
        q[known] = false_discovery_control(p[known])
    return {
        int(row["group"]): {
            "n_users": row["n_users"],
            "n_comparisons": row["n"],
            "estimate": row["temperature"],
            "lo": row["temperature_lo"],
            "hi": row["temperature_hi"],
            "shrunk": _known(row["temperature_shrunk"]) if len(members) > 1 else None,
            "null_expectation": 1.0,
            "p": _known(p[k]),
            "q": _known(q[k]),
            "flag": row["flag"] or None,
        }
        for k, row in enumerate(table.iter_rows(named=True))
    }


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None


def _said(table: pl.DataFrame) -> tuple[str, ...]:
    everybody = table.row(0, named=True)
    if not np.isfinite(everybody["estimate"]):
        return ()
    spread = f" [{everybody['lo']:.2f}, {everybody['hi']:.2f}]" if np.isfinite(everybody["lo"]) else ""
    said = f"Temperature {everybody['estimate']:.2f}{spread}; 1 is calibrated, above it the model claims too much"
    off = table.slice(1).filter(pl.col("q") < ALPHA)
    groups = table.slice(1).filter(~pl.col("suppressed")).height
    return (f"{said}; it is shown to differ from 1 in {off.height} of {groups} groups.",)
