"""How many of what there is, and what of it forbids which split."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from plurality.data.comparisons import Comparisons
from plurality.data.splits import items_recur

QUANTILES = {"least": 0.0, "lower quartile": 0.25, "median": 0.5, "upper quartile": 0.75, "most": 1.0}
FEW = 10  # comparisons, below which a user's own taste is hardly seen


@dataclass(frozen=True, eq=False)
class Counts:
    """table: quantity, value; sentences: what they mean for splits; recur: whether items do."""

    table: pl.DataFrame
    sentences: tuple[str, ...]
    recur: bool


def count(data: Comparisons) -> Counts:
    """Users, comparisons a user, prompts, items, siblings, ties and weights of comparisons, and warnings of leaks."""
    per_user = np.bincount(data.user)[data.present]
    sides = np.concatenate([data.first, data.second])
    times = np.bincount(sides)
    times = times[times > 0]
    group_size = np.unique(data.group, return_counts=True)[1]
    prompt = data.prompt[data.first]
    asked = _users_of(prompt, data.user)
    recur = items_recur(data)
    ties = float(np.mean(data.label == 0.5))
    spread = float(data.weight.max() / data.weight.min())
    values = {
        "comparisons": len(data),
        "users": len(per_user),
        **{f"comparisons a user, {name}": np.quantile(per_user, q) for name, q in QUANTILES.items()},
        f"users with fewer than {FEW} comparisons": (per_user < FEW).sum(),
        "prompts": len(asked),
        "prompts of two users or more": (asked > 1).sum(),
        "items": len(times),
        "items in several comparisons": (times > 1).sum(),
        "groups": len(group_size),
        "comparisons with siblings": group_size[group_size > 1].sum(),
        "share of ties": ties,
        "share of soft labels": float(np.mean(~np.isin(data.label, (0, 0.5, 1)))),
        "first preferred": float(np.average(data.label, weights=data.weight)),
        "largest weight over smallest": spread,
        "effective share of comparisons by weight": data.weight.sum() ** 2 / np.square(data.weight).sum() / len(data),
        "exact repeats dropped": data.duplicates,
    }
    table = pl.DataFrame({"quantity": list(values), "value": [float(v) for v in values.values()]})
    said = [
        f"{len(data):,} comparisons by {len(per_user):,} users, median {np.median(per_user):,.0f} each; "
        f"{len(times):,} items under {len(asked):,} prompts."
    ]
    if recur:
        said.append("Items recur: split by item; rows, groups or prompts let an item's fame pass for taste.")
    elif group_size.max() > 1:
        share = group_size[group_size > 1].sum() / len(data)
        said.append(f"{100 * share:.0f} % of comparisons have siblings: split by group or prompt, never by row.")
    if (few := float((per_user < FEW).mean())) > 0.25:
        said.append(f"{100 * few:.0f} % of users have fewer than {FEW} comparisons: little can be known of them.")
    if ties > 0:
        said.append(f"{100 * ties:.1f} % of comparisons are ties.")
    if data.unread:
        said.append(f"Columns that no model looks at: {', '.join(data.unread)}.")
    return Counts(table, tuple(said), recur)


def _users_of(prompt: NDArray[np.int64], user: NDArray[np.int64]) -> NDArray[np.intp]:
    """How many users each prompt has."""
    cells = np.unique(np.stack([prompt, user]), axis=1)
    return np.unique(cells[0], return_counts=True)[1]
