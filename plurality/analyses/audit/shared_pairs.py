"""What people who judged the same two responses agree on: how much there is to personalise, and by group."""

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from plurality.analyses.agreement.agreement import Alpha, krippendorff_alpha
from plurality.analyses.agreement.item_disagreement import disagreement
from plurality.analyses.agreement.variance_components import variance_shares
from plurality.analyses.audit.sections import Section
from plurality.analyses.inputs import Predictions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NOBODY = "(none)"  # stands for the attribute where people are not grouped
COMPONENTS = ("what was compared", "× group", "× person", "noise")
LEAST = 20  # pairs judged by two people or more, below which nothing is said
MOST = 30_000  # rows that are looked at, by whole pairs: every draw of users passes over them for every attribute


def shared_pairs(data: Predictions, attributes: pl.DataFrame, *, level: float, draws: int, seed: int) -> Section | None:
    """Krippendorff's alpha, disagreement, and shares of variance by each attribute; None where few pairs are shared.

    Values are labels P(first preferred) about indifference, so what a person or group prefers is preference of pair ×
    person or pair × group; what is left when a person answers one pair twice is noise. Weights of people count, two
    people's together as their product; weights of comparisons do not, for they repeat no answer.
    """
    if data.pair is None:
        return None
    code, rows = np.unique(data.pair, return_inverse=True)
    cell = np.unique(np.stack([rows, data.user]), axis=1)
    people = np.bincount(cell[0], minlength=len(code))
    shared = people >= 2
    if shared.sum() < LEAST:
        return None
    order = np.random.default_rng(seed).permutation(np.flatnonzero(shared))
    looked_at = np.zeros(len(code), dtype=bool)
    looked_at[order[: max(LEAST, int((np.bincount(rows)[order].cumsum() <= MOST).sum()))]] = True
    keep = np.flatnonzero(looked_at[rows])
    pair, user, y = data.pair[keep], data.user[keep], data.y[keep]
    # alpha and disagreement take one answer a person and pair, the mean of theirs; of 0 and 1, interval is nominal
    (at, who), place = np.unique(np.stack([pair, user]), axis=1, return_inverse=True)
    once = np.bincount(place.ravel(), y) / np.bincount(place.ravel())
    alpha = krippendorff_alpha(
        at, who, once, metric="interval", weights=data.people[who], n_bootstrap=draws, seed=seed, level=level
    )
    codes, own = np.unique(at, return_inverse=True)[1], data.people[who]
    weight = np.bincount(codes, own)
    apart = disagreement(np.bincount(codes, own * once), weight, effective=weight**2 / np.bincount(codes, own**2))
    frames = []
    for name in ("", *attributes.columns):
        group = attributes[name].to_numpy()[user] if name else None
        found = variance_shares(
            y, pair, user, group, centre=0.5, weights=data.people[user], n_bootstrap=draws, seed=seed, level=level
        )
        numbers = {"share": found.share, "lo": found.lo, "hi": found.hi}
        about = {"n_pairs": [found.n_items] * len(COMPONENTS), "n_users": [found.n_users] * len(COMPONENTS)}
        names = {"attribute": [name or NOBODY] * len(COMPONENTS), "component": COMPONENTS}
        frames.append(pl.DataFrame(names | numbers | about))
    of_everybody = (pl.col("attribute") == NOBODY) & (pl.col("component") == COMPONENTS[1])
    frame = pl.concat(frames).filter(pl.col("share").is_finite() & ~of_everybody)
    return Section(
        "shared_pairs",
        "Where people disagree",
        (*_said(alpha, float(np.nanmean(apart.unbiased)), frame), *_unweighted(data)),
        "Shares of the variance of preferences between the same two responses: common to everybody, by person (with "
        "the noise of one answer, where nobody was asked twice), and what a group has in common, which is part of "
        "the others. Lines are intervals over users.",
        frame,
        _draw,
    )


def _said(alpha: Alpha, apart: float, frame: pl.DataFrame) -> tuple[str, ...]:
    ends = f" [{alpha.lo:.2f}, {alpha.hi:.2f}]" if np.isfinite(alpha.lo) else ""
    said = (
        f"People who judged the same pairs ({alpha.n_units:,} of them) agree by alpha {alpha.value:.2f}{ends}; a pair "
        f"splits them by {apart:.2f}, where 0 is agreement and 1 an even split."
    )
    sure = pl.col("lo").is_finite() & (pl.col("lo") > 0)
    groups = frame.filter((pl.col("component") == COMPONENTS[1]) & sure).sort("share", descending=True)
    if groups.is_empty():
        return (said,)
    row = groups.row(0, named=True)
    ends = f"[{100 * row['lo']:.0f}, {100 * row['hi']:.0f}]"
    return said, f"{row['attribute']} explains {100 * row['share']:.0f} % {ends} of the variance of preferences."


def _unweighted(data: Predictions) -> tuple[str, ...]:
    """What a column of weights is not read for."""
    if (data.weight != data.weight[0]).any():
        return ("Here the column weight is not read: every comparison counts once.",)
    return ()


def _draw(frame: pl.DataFrame, width: float) -> "Figure":
    from plurality.analyses.figures import shares

    parts = [pl.col("component") == c for c in COMPONENTS]
    everybody = pl.col("attribute") == NOBODY
    shown = pl.concat([frame.filter(parts[0] & everybody), frame.filter(parts[1]),
                       frame.filter((parts[2] | parts[3]) & everybody)])  # fmt: skip
    named = pl.when(parts[1]).then(pl.format("× {}", "attribute")).otherwise("component")
    names = shown.select(named).to_series().to_list()
    return shares(shown, title="share of variance of preferences", names=names, width=width)
