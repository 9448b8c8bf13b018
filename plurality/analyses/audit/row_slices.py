"""Slices of rows, by topic or language or time, crossed with people's attributes; people stay the unit."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import logit
from scipy.stats import f as fisher

from plurality.analyses.audit.estimates import Estimate, Plan, estimate
from plurality.analyses.audit.labels import with_group_names
from plurality.analyses.audit.metrics import TEMPERATURE
from plurality.analyses.audit.row_levels import RowAttribute, coded, row_levels
from plurality.analyses.audit.sections import Section
from plurality.analyses.audit.slices import LEFT_OUT, OVERALL, SHOWN, TOO_FEW, Disclosure, Slices, State, slices
from plurality.analyses.audit.tables import TABLE, start_of_row, table
from plurality.analyses.audit.user_sums import DIAGRAM_BINS, Material, material_of
from plurality.analyses.audit.verdict import across_all, percent, signed
from plurality.analyses.audit.withholding import determined, sums_of, withheld_bins
from plurality.analyses.calibration.binning import bin_points
from plurality.analyses.factors.logistic import FITTED, fit_groups
from plurality.analyses.inputs import Predictions
from plurality.analyses.wording import ALPHA, beyond_chance, p_value

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ROWS = {"rows": pl.String, "rows_level": pl.String}  # the columns that stand before those of the audit's table
TOGETHER = "(other rows, for groups)"
Ints = NDArray[np.intp]


def subset(data: Predictions, keep: NDArray[np.bool_]) -> tuple[Predictions, Ints]:
    """Some rows, of the users who have any, and the place of these users among all (U',).

    data    comparisons
    keep    (n,) which of them
    """
    present, user = np.unique(data.user[keep], return_inverse=True)

    def of(values: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
        return None if values is None else values[keep]

    return replace(
        data, ids=tuple(data.ids[u] for u in present), user=user, p=data.p[keep], y=data.y[keep],
        weight=data.weight[keep], people=data.people[present], served=data.served[keep], gap=of(data.gap),
        shown=of(data.shown), pair=None,
    ), present  # fmt: skip


def row_slices(
    frame: pl.DataFrame,
    wanted: Sequence[RowAttribute],
    data: Predictions,
    base: Material,
    attributes: pl.DataFrame,
    state: State,
    by_bin: State,
    plan: Plan,
    disclosure: Disclosure,
) -> tuple[list[Section], list[str]]:
    """A section for each attribute of rows, and notes of what is left out.

    In each level of rows every estimate is that of the audit on those rows alone, with the audit's own draws of users;
    differences are from everybody on the same rows and, for everybody, from everybody on all rows. Row levels stand for
    one of a person's bins, so that a group of people is shown by all levels of rows or by none, as bins are
    (`withheld_bins`), and by none where they would give a cell of few people away together with the attributes of rows
    before, of which the bins of confidence are the first; where that holds for everybody, the attribute is left out.

    frame         rows of the predictions that were kept, in the order of `data`
    wanted        attributes of rows
    data          comparisons
    base          what the audit makes of them
    attributes    levels of each user
    state         (S,) which slices of the audit are withheld
    by_bin        (S,) which of them are withheld by bins of confidence
    plan          of the audit
    disclosure    how many users a slice needs
    """
    singles = slices(attributes, len(data.ids), ways=1)
    state, by_bin = state[: len(singles.level)], by_bin[: len(singles.level)]
    bins = bin_points(data.p, data.y, data.pooled, "folded", DIAGRAM_BINS, "equal").index
    sections, notes, before = [], list[str](), [("the bins of confidence", bins, bins, by_bin)]
    for one in [wanted] if isinstance(wanted, str) else wanted:
        name, levels = row_levels(frame, one)
        names, code = coded(levels, data.user, disclosure.min_users_show)
        if len(names) == 1:
            notes.append(f"Rows are not sliced by {name}: it has one level, {names[0]!r}.")
            continue
        if (_people(code, len(names), data.user, singles)[0] < disclosure.min_users_show).any():
            notes.append(f"Rows are not sliced by {name}: some level of it has too few people to be shown.")
            continue
        wide_names, wide = _widened(names, code, data.user, singles, state, disclosure)
        told = {
            other: [s for s in np.flatnonzero((state == SHOWN) & (beside == SHOWN)).tolist()
                    if _tells(c[s > 0], (code, wide)[s > 0], data.user, singles.users(s), disclosure)]
            for other, *c, beside in before
        }  # fmt: skip
        clash = next((other for other, slices_told in told.items() if 0 in slices_told), None)
        if clash is not None:
            notes.append(f"Rows are not sliced by {name}: beside {clash} it would give cells of few people away.")
            continue
        safe = state.copy()
        safe[[s for slices_told in told.values() for s in slices_told]] = TOO_FEW
        people = _people(wide, len(wide_names), data.user, singles)
        shown = _shown(attributes, singles, safe, people, disclosure)
        shown[0] = SHOWN
        before.append((name, code, wide, shown))
        parts = [(level, code == k, level in wide_names) for k, level in enumerate(names)]
        parts += [(level, wide == k, True) for k, level in enumerate(wide_names) if level not in names]
        sections.append(_section(name, parts, data, base, singles, shown, plan, disclosure, (names, code)))
    return sections, notes


def _people(code: Ints, levels: int, user: NDArray[np.int64], groups: Slices) -> NDArray[np.int64]:
    """How many users (S, L) of each slice have rows of each level."""
    has = np.zeros((groups.membership.shape[0], levels), np.int64)
    has[user, code] = 1
    return np.asarray(groups.membership.T.astype(np.int64) @ has)


def _shown(
    attributes: pl.DataFrame, singles: Slices, state: State, people: NDArray[np.int64], disclosure: Disclosure
) -> State:
    """Which slices are shown by levels of rows; those that give a small combination of two attributes away are not."""
    shown = withheld_bins(singles, state, people, disclosure)
    if not disclosure.complementary or attributes.width < 2:
        return shown
    pairs = slices(attributes, singles.membership.shape[0], ways=2)
    sums, few = sums_of(pairs), pairs.n_users < disclosure.min_users_show
    while True:
        seen = np.full(len(pairs.level), TOO_FEW, np.int8)
        seen[: len(shown)] = shown
        told = [s for s in determined(sums, seen).tolist() if pairs.order[s] == 2 and few[s]]
        wholes = [w for w, parts in pairs.sums if set(told) & set(parts) and w < len(shown) and shown[w] == SHOWN]
        if not wholes:
            return shown
        least = min(wholes, key=lambda w: int(pairs.n_users[w]))
        marked = np.where(np.arange(len(shown)) == least, TOO_FEW, shown).astype(np.int8)
        shown = withheld_bins(singles, marked, people, disclosure)


def _tells(one: Ints, other: Ints, user: NDArray[np.int64], users: NDArray[np.int32], disclosure: Disclosure) -> bool:
    """Whether totals by two attributes of rows give a cell of both away that few people of some users have."""
    mine = np.isin(user, users)
    triples = np.unique(np.stack([one[mine], other[mine], user[mine]]), axis=1)
    cells, people = np.unique(triples[:2], axis=1, return_counts=True)
    if (people >= disclosure.min_users_show).all():
        return False
    frame = pl.DataFrame({"a": cells[0].astype(str), "b": cells[1].astype(str)})
    crossed = slices(frame, len(people), ways=2)
    hidden = np.where(crossed.order == 2, TOO_FEW, SHOWN).astype(np.int8)
    return any(
        people[crossed.users(cell)].sum() < disclosure.min_users_show
        for cell in determined(sums_of(crossed), hidden).tolist()
    )


def _widened(
    names: tuple[str, ...], code: Ints, user: NDArray[np.int64], groups: Slices, state: State, disclosure: Disclosure
) -> tuple[tuple[str, ...], Ints]:
    """Levels of rows for groups of people, in which those that most groups have too few people in are one."""
    shown = np.flatnonzero(state == SHOWN)[1:]
    if not len(shown):
        return names, code
    people = _people(code, len(names), user, groups)
    few = (people[shown] < disclosure.min_users_show).mean(axis=0) > 0.5
    while few.any():
        place = np.where(few, (~few).sum(), np.cumsum(~few) - 1)[code]
        rest = _people(place, int((~few).sum()) + 1, user, groups)[shown, -1]
        if few.all() or (rest < disclosure.min_users_show).mean() <= 0.5:
            return (*(name for name, thin in zip(names, few, strict=True) if not thin), TOGETHER), place
        few[np.where(few, np.inf, people[0]).argmin()] = True
    return names, code


def _section(
    name: str, wanted: Sequence[tuple[str, NDArray[np.bool_], bool]], data: Predictions, base: Material,
    groups: Slices, shown: State, plan: Plan, disclosure: Disclosure, levels: tuple[tuple[str, ...], Ints],
) -> Section:  # fmt: skip
    parts = []
    _, everybody = estimate(base, groups.users(0), plan)
    alone = np.where(np.arange(len(shown)) > 0, LEFT_OUT, SHOWN).astype(np.int8)
    for _, keep, crossed in wanted:
        rows, present = subset(data, keep)
        mine = material_of(rows, base.counts[present], plan.seed)
        place = np.full(len(data.ids), -1)
        place[present] = np.arange(len(present))
        done: dict[int, Estimate] = {}
        done[0], here = estimate(mine, np.arange(len(present)), plan, everybody)
        for s in np.flatnonzero(shown == SHOWN)[1:].tolist() if crossed else ():
            users = place[groups.users(s)]
            if (users >= 0).any():
                done[s], _ = estimate(mine, users[users >= 0], plan, here)
        nobody = np.array([s not in done for s in range(len(groups.level))])
        told = np.where(nobody & (shown == SHOWN), TOO_FEW, shown).astype(np.int8) if crossed else alone
        parts.append(table(groups, told, done, disclosure, plan.margin))
    heads = [
        pl.DataFrame({"rows": name, "rows_level": [n] * p.height}) for (n, _, _), p in zip(wanted, parts, strict=True)
    ]
    frame = pl.concat([pl.concat([head, part], how="horizontal") for head, part in zip(heads, parts, strict=True)])
    slope, said = moderation(name, *levels, data, plan.level)
    frame = pl.concat([frame, slope]) if slope is not None else frame
    return Section(
        "rows_" + re.sub(r"\W+", "_", name),
        f"By {name} of the comparison",
        (*_said(name, frame), *said),
        "Observed utility by what comparisons are about and by who made them; people are the unit of every interval. A "
        "group is shown in all of its columns or in none; levels that few people of most groups are in stand together.",
        frame,
        _draw,
    )  # fmt: skip


def moderation(
    name: str, names: tuple[str, ...], code: Ints, data: Predictions, level: float
) -> tuple[pl.DataFrame | None, tuple[str, ...]]:
    """Temperature of everybody by level of rows, and a test that one serves all; None where a probability is 0 or 1.

    One regression logit P(first preferred) = Σ_l b_l · 1[row is of level l] · gap, without intercept, with the joint
    covariance V of b robust to what a person's rows share, across levels too. The Wald test of equal b is F =
    (Cb)ᵀ(CVCᵀ)⁻¹(Cb)/(L − 1) with (L − 1, users − 1) degrees of freedom.

    name     of the attribute of rows
    names    (L,) of its levels
    code     (n,) level of each row
    data     comparisons
    level    coverage of the intervals
    """
    gap = logit(data.p) if data.gap is None else data.gap
    if not np.isfinite(gap).all() or len(names) < 2:
        return None, ()
    x = np.zeros((len(gap), len(names)))
    x[np.arange(len(gap)), code] = gap
    fits = fit_groups(x, data.y, data.user, weights=data.pooled)
    if fits.why[0] != FITTED or not np.isfinite(fits.covariance[0]).all():
        return None, ()
    b, v, users = fits.coefficient[0], fits.covariance[0], int(fits.n_users[0])
    freedom = len(b) - 1
    contrast = np.hstack([np.ones((freedom, 1)), -np.eye(freedom)])
    off, spread = contrast @ b, contrast @ v @ contrast.T
    tested = np.linalg.matrix_rank(spread, hermitian=True) == freedom  # else every person is alike in some levels
    wald = float(off @ np.linalg.solve(spread, off)) / freedom if tested else np.nan
    p = float(fisher.sf(wald, freedom, users - 1))
    half = fisher.isf(1 - level, 1, users - 1) ** 0.5 * np.sqrt(np.diag(v))
    rows = []
    for k, one in enumerate(names):
        mine = code == k
        lo, hi = b[k] - half[k], b[k] + half[k]
        row = start_of_row(TEMPERATURE, *OVERALL) | {
            "n_users": len(np.unique(data.user[mine])), "n_comparisons": int(mine.sum()), "null_expectation": 1.0,
            "estimate": 1 / b[k] if b[k] else np.inf,
            "lo": 1 / hi if hi > 0 else np.nan, "hi": 1 / lo if lo > 0 else np.inf,
        }  # fmt: skip
        rows.append({"rows": name, "rows_level": one} | row)
    said = f"That one temperature does not serve all levels of {name} is {beyond_chance(p)} ({p_value(p)})."
    return pl.DataFrame(rows, schema={**ROWS, **TABLE}), (said,)


def _said(name: str, frame: pl.DataFrame) -> tuple[str, ...]:
    utility = frame.filter(
        (pl.col("metric") == "utility") & (pl.col("provenance") == "observed") & ~pl.col("suppressed"),
        pl.col("estimate").is_finite(),
    )
    of_all = utility.filter(pl.col("attribute") == OVERALL[0])
    low = of_all.sort("estimate").row(0, named=True)
    said = [
        f"By {name}, everybody is served least in {low['rows_level']}, {percent(low['estimate'])} "
        f"({signed(100 * low['diff_vs_ref'])} points from all rows)."
    ]
    tested = across_all(utility.filter(pl.col("attribute") != OVERALL[0]))
    off = tested.filter(pl.col("q") < ALPHA).sort("q") if tested.height else tested
    if tested.height:
        names = [f"{r['attribute']} {r['level']} in {r['rows_level']} {signed(100 * r['diff_vs_ref'])}"
                 for r in off.head(5).iter_rows(named=True)]  # fmt: skip
        listing = f", in points: {'; '.join(names)}" + (f" and {off.height - 5} more" if off.height > 5 else "")
        how = f"{off.height} are" if off.height > 1 else "one is" if off.height else "none is"
        said.append(
            f"Of {tested.height} cells of group and {name}, {how} shown to differ from everybody on the same rows"
            f"{listing if names else ''}."
        )
    return tuple(said)


def _draw(frame: pl.DataFrame, width: float) -> "Figure":
    from plurality.analyses.figures import heat

    shown = frame.filter((pl.col("metric") == "utility") & (pl.col("provenance") == "observed") & ~pl.col("suppressed"))
    return heat(
        with_group_names(shown), "name", "rows_level", "estimate", row_title="",
        column_title=str(frame["rows"][0]), value_title="Observed utility", places=2, width=width,
    )  # fmt: skip
