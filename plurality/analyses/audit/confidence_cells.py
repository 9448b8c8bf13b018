"""Where in confidence, and for whom, stated probabilities are wrong: every shown slice by bins of confidence."""

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.stats import false_discovery_control

from plurality.analyses.audit.labels import with_group_names
from plurality.analyses.audit.sections import Section
from plurality.analyses.audit.slices import SHOWN, Disclosure, Slices, State
from plurality.analyses.audit.user_sums import Material
from plurality.analyses.audit.verdict import signed
from plurality.analyses.calibration.binning import Floats
from plurality.analyses.inference.bootstrap import two_sided_p
from plurality.analyses.wording import ALPHA

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_SLICES = 20  # in the figure
MOST_PLACES = 4  # decimals of a confidence
FEWEST = 5  # users in a cell, below which nothing is said of it


def confidence_cells(base: Material, groups: Slices, by_bin: State, disclosure: Disclosure) -> Section | None:
    """Gap Ȳ − P̄ of every slice shown by bins and bin of folded confidence, in units of its error over users.

    Bins are those of the reliability diagrams, of equal mass over everybody: cells of two different binnings could be
    subtracted from one another. None where no slice is shown by bins.

    The error is what it would be were there no gap, √(Σ_u e_u²) / Σ w_u with e_u the user's sum of w(z − c),
    so that a few people who all agree give no certainty about a small gap; q corrects for all cells
    (Benjamini–Hochberg). `mass` is P(slice, bin), so that mass·|gap| is the mass-weighted multicalibration error and
    |gap| the conditional one (Hébert-Johnson et al. 2018).
    """
    weight, gap = base.sums.mass[:, 0], base.sums.mass[:, 1]  # (U, B)
    total = weight.sum()
    shown = np.flatnonzero(by_bin == SHOWN)
    if not len(shown):
        return None
    parts = []
    for s in shown.tolist():
        users = groups.users(s)
        w, e = weight[users], gap[users]
        n, mass = (w > 0).sum(0), w.sum(0)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = e.sum(0) / mass
            error = np.where(n >= FEWEST, np.sqrt((e**2).sum(0)) / mass, np.nan)
        parts.append(np.stack([n, mass / total, ratio, error, two_sided_p(ratio, error, n)], 1))
    table = np.concatenate(parts)
    p = table[:, 4]
    q, known = np.full(len(p), np.nan), np.isfinite(p)
    q[known] = false_discovery_control(p[known]) if known.any() else []
    bins = _names(base.mass_edges)
    with np.errstate(divide="ignore", invalid="ignore"):
        in_error = np.where(table[:, 3] > 0, table[:, 2] / table[:, 3], np.nan)
    frame = pl.DataFrame(
        {
            "slice": [_name(groups, s) for s in shown.tolist() for _ in bins],
            "attribute": [groups.attribute[s] for s in shown for _ in bins],
            "level": [groups.level[s] for s in shown for _ in bins],
            "confidence": bins * len(shown),
            "n_users": table[:, 0].astype(np.int64),
            "mass": table[:, 1],
            "gap": table[:, 2],
            "error": table[:, 3],
            "in_error": in_error,
            "p": p,
            "q": q,
        }
    )
    return Section(
        "multicalibration",
        "Calibration of every group at every confidence",
        _said(frame),
        "How far frequency lies from stated confidence, in standard errors over users: minus, the model claims "
        "more than it "
        f"keeps. Everybody, and the {MOST_SLICES - 1} slices with the largest of these; the file has all that have "
        f"{disclosure.min_users_show} users or more in every bin.",
        frame,
        _draw,
    )


def _names(edges: Floats) -> list[str]:
    """Bins by their ends, with two to MOST_PLACES decimals; numbered where these do not tell them apart."""
    for places in range(2, MOST_PLACES + 1):
        found = [f"{a:.{places}f}–{b:.{places}f}" for a, b in pairwise(edges)]
        if len(set(found)) == len(found):
            return found
    return [f"{name} ({k})" for k, name in enumerate(found, 1)]


def _name(groups: Slices, s: int) -> str:
    return groups.level[s] if groups.order[s] == 0 else f"{groups.attribute[s]}: {groups.level[s]}"


def _said(frame: pl.DataFrame) -> tuple[str, ...]:
    tested = frame.filter(pl.col("q").is_finite())
    off = tested.filter(pl.col("q") < ALPHA).sort("q", pl.col("in_error").abs(), descending=[False, True])
    if off.is_empty():
        return (f"In none of {tested.height} cells of slice and confidence is calibration shown to be off.",)
    worst = off.row(0, named=True)
    return (
        f"Calibration is shown to be off in {off.height} of {tested.height} cells of slice and confidence, "
        "most surely "
        f"for {worst['slice']} at {worst['confidence']}: {signed(100 * worst['gap'])} points.",
    )


def _draw(frame: pl.DataFrame, width: float) -> "Figure":
    from plurality.analyses.figures import heat

    size = pl.col("in_error").abs().fill_nan(0).max().over("slice")
    order = frame.select("slice", size=size).unique(maintain_order=True)
    rest = order.slice(1).sort("size", descending=True).head(MOST_SLICES - 1)
    names = [order["slice"][0], *rest["slice"]]
    chosen = with_group_names(pl.concat([frame.filter(pl.col("slice") == name) for name in names]))
    return heat(
        chosen, "name", "confidence", "in_error", row_title="", column_title="stated confidence in the model's pick",
        value_title="Frequency less confidence, in standard errors", places=1, signed=True, width=width,
    )  # fmt: skip
