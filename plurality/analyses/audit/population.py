"""What the means would be among a population whose margins are known, by raking weights of users."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from plurality.analyses.audit.estimates import Plan
from plurality.analyses.audit.merging import merged, small_cells
from plurality.analyses.audit.metrics import MEANS, METRICS, UTILITY
from plurality.analyses.audit.sections import Section
from plurality.analyses.audit.slices import SHOWN, Slices, State
from plurality.analyses.audit.user_sums import Material
from plurality.analyses.inference.bootstrap import interval, ratio_draws
from plurality.analyses.inference.raking import Margins, check_margins, rake
from plurality.analyses.inference.resampling import count_parts
from plurality.analyses.inputs import Table, numbers, read_table
from plurality.analyses.levels import level_name
from plurality.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("attribute", "level", "share")
CAP = 5.0  # most that a user may weigh, in mean weights


def read_margins(table: Margins | Table) -> Margins:
    """Shares by attribute and level, from nested mappings or a table of attribute, level and share."""
    if isinstance(table, Mapping):
        nested = {str(a): dict(shares) for a, shares in table.items() if isinstance(shares, Mapping)}
        if len(nested) == len(table):
            return {a: {level_name(v): _share(a, v, s) for v, s in shares.items()} for a, shares in nested.items()}
    frame = read_table(table, "margins")
    missing = [c for c in COLUMNS if c not in frame.columns]
    if missing:
        raise InputError(f"margins: no column {', '.join(missing)}; give {', '.join(COLUMNS)}")
    shares = pl.Series("share", numbers(frame, "share", "margins", "give shares between 0 and 1"), nan_to_null=True)
    for name, column in (*((name, frame[name]) for name in COLUMNS[:2]), ("share", shares)):
        if column.null_count():
            row = int(column.is_null().arg_max() or 0)
            raise InputError(f"margins: {name} is missing in row {row} (first row is 0); give a share for every level")
    if frame.select("attribute", "level").is_duplicated().any():
        row = int(frame.select("attribute", "level").is_duplicated().arg_max() or 0)
        raise InputError(f"margins: the level of row {row} stands twice; give each one share")
    found: dict[str, dict[str, float]] = {}
    levels = pl.Series("level", [level_name(v) for v in frame["level"]], dtype=pl.String)
    for attribute, level, share in frame.select(pl.col("attribute").cast(pl.String), levels, shares).iter_rows():
        found.setdefault(attribute, {})[level] = float(share)
    return found


def _share(attribute: str, level: object, share: object) -> float:
    if isinstance(share, bool) or not isinstance(share, int | float | np.number):
        raise InputError(f"margins: {attribute}: level {level!r} has the share {share!r}; give a number from 0 to 1")
    return float(share)


def population(
    base: Material, attributes: pl.DataFrame, margins: Margins, groups: Slices, state: State, plan: Plan
) -> Section | None:
    """Means over users under raked weights w, Σ w_u x_u / Σ w_u, beside the sample's; intervals resample users.

    Weights are capped at CAP and taken as given by the intervals. Withheld levels are raked as one, by the sum of their
    shares: with weights of their own, the raked mean would be a further equation for what is withheld. For the same
    reason there is no section, None, where margins of several attributes have cells of few users. Raises InputError
    where margins and users do not fit, as `rake` does.
    """
    check_margins(attributes, margins)
    together = merged(attributes, groups, state)
    if small_cells(together, list(margins), groups, state, plan.least):
        return None
    margins = {name: _merged_shares(attributes[name], together[name], shares) for name, shares in margins.items()}
    people = base.people
    raked = rake(together, margins, weights=people, trim=CAP)
    means = base.sums.means  # (U, M)
    weights = raked.weights[:, None]
    draws = np.concatenate([ratio_draws(part, weights * means, weights) for part in count_parts(base.counts)])
    estimate = raked.weights @ means / raked.weights.sum()
    lo, hi = interval(draws, plan.level, n_users=max(int(raked.ess), 2))
    names = [f"{m.title.lower()}" for m in METRICS[MEANS]]
    sample = people @ means / people.sum()
    rows = pl.DataFrame({"kind": "mean", "attribute": names, "level": "(raked to margins)", "n_users": len(means),
                         "sample": sample, "population": estimate, "lo": lo, "hi": hi})  # fmt: skip
    shown = {(groups.attribute[s], groups.level[s]): int(groups.n_users[s]) for s in np.flatnonzero(state == SHOWN)}
    levels = [
        ("share", a, name, shown.get((a, name)), shown[a, name] / len(means) if (a, name) in shown else None, share)
        for a, shares in margins.items()
        for name, share in shares.items()
    ]
    after = {
        (a, name): float(raked.weights[(together[a].cast(pl.String) == name).to_numpy()].sum() / raked.weights.sum())
        for a, shares in margins.items()
        for name in shares
    }
    off = [(asmd(row[4], row[5]), asmd(after[row[1], row[2]], row[5])) for row in levels]
    columns = {"kind": pl.String, "attribute": pl.String, "level": pl.String, "n_users": pl.Int64,
               **dict.fromkeys(("sample", "population", "asmd", "asmd_raked"), pl.Float64)}  # fmt: skip
    frame = pl.concat(
        [
            rows,
            pl.DataFrame([(*row, *far) for row, far in zip(levels, off, strict=True)], schema=columns, orient="row"),
        ],
        how="diagonal_relaxed",
    )
    utility = rows.row(UTILITY, named=True)
    ends = f" [{100 * utility['lo']:.1f}, {100 * utility['hi']:.1f}]" if np.isfinite(utility["lo"]) else ""
    said = (
        f"Raked to the population's {', '.join(margins)}, observed utility is {100 * utility['population']:.1f} %"
        f"{ends} instead of {100 * utility['sample']:.1f} %; the "
        f"weights leave the information of {raked.ess:.0f} of {len(means)} users."
    )
    before, after_all = ([x for far in off if (x := far[k]) is not None] for k in (0, 1))
    if before and after_all:
        worst, left = max(before), max(after_all)
        said += f" Levels are off their shares by up to {worst:.2f} standard deviations before and {left:.2f} after."
    doubt = () if raked.converged else ("The margins cannot all be met, so these weights only come near them.",)
    return Section(
        "population",
        "The sample beside the population",
        (said, *doubt),
        "Share of each level among the users audited (dots) and in the population (lines). Weighting mends what these "
        "margins explain and nothing else.",
        frame,
        _draw,
    )


def asmd(share: float | None, target: float) -> float | None:
    """Absolute standardised mean difference |p − t| / √(t(1 − t)) of a level's share from the population's.

    share     of the level among people; None of a level that is withheld
    target    its share in the population; the difference is None where that is 0 or 1
    """
    spread = (target * (1 - target)) ** 0.5
    return None if share is None or spread == 0 else abs(share - target) / spread


def _merged_shares(level: pl.Series, together: pl.Series, shares: Mapping[str, float]) -> dict[str, float]:
    """Shares of the levels that are left; those of merged levels are added up."""
    now = dict(zip(level.cast(pl.String), together.cast(pl.String), strict=True))
    result: dict[str, float] = {}
    for name, share in shares.items():
        result[now.get(name, name)] = result.get(now.get(name, name), 0.0) + share
    return result


def _draw(frame: pl.DataFrame, width: float) -> "Figure":
    from plurality.analyses.figures import margins

    return margins(frame.filter(pl.col("kind") == "share"), width=width)
