"""Groups against one group, or against each other: differences, and intervals that hold for all of them at once."""

from collections.abc import Mapping
from itertools import combinations

import numpy as np
import polars as pl
from scipy.stats import norm
from scipy.stats import t as student

from plurality.analyses.audit.estimates import Plan
from plurality.analyses.audit.metrics import MEANS, METRICS, UTILITY
from plurality.analyses.audit.power import detectable_gap
from plurality.analyses.audit.sections import Section
from plurality.analyses.audit.slices import SHOWN, Slices, State
from plurality.analyses.audit.user_sums import Material
from plurality.analyses.audit.verdict import signed
from plurality.analyses.inference.bootstrap import Floats, interval, ratio_draws, standard_error
from plurality.analyses.inference.resampling import count_parts
from plurality.analyses.inputs import listed
from plurality.analyses.wording import ALPHA
from plurality.arrays import floats
from plurality.errors import InputError

Reference = str | Mapping[str, str]
COLUMNS = (
    "estimate",
    "reference_estimate",
    "difference",
    "se",
    "lo",
    "hi",
    "lo_all",
    "hi_all",
    "p",
    "p_holm",
    "detectable",
)
Pairs = list[tuple[int, int]]


def holm(p: Floats) -> Floats:
    """p-values (K,) corrected for all of them: max_{j ≤ i} (K − j + 1) p_(j), at most 1; NaN stays. Holm (1979).

    p    (K,) p-values

    >>> from plurality.analyses.audit.contrasts import holm
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [0.03, 0.06, 0.06]
    """
    values = floats(p).copy()
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known], kind="stable")]
    scaled = values[order] * np.arange(len(order), 0, -1)
    values[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return values


def references(groups: Slices, reference: Reference | None) -> dict[str, str]:
    """The reference level of each attribute that has one. Raises InputError for one that is not there, or is in two.

    groups       slices of users
    reference    a level of one attribute, or {attribute: level}
    """
    if reference is None:
        return {}
    of = {(a, b) for a, b in zip(groups.attribute[1:], groups.level[1:], strict=True)}
    if isinstance(reference, str):
        found = [a for a in dict.fromkeys(groups.attribute[1:]) if (a, reference) in of]
        if len(found) != 1:
            where = f"a level of {listed(found)}; say {{attribute: level}}" if found else "no level of any attribute"
            raise InputError(f"reference: {reference!r} is {where}; there are {listed(groups.level[1:20])}")
        return {found[0]: reference}
    for attribute, level in reference.items():
        if (attribute, level) not in of:
            there = [b for a, b in sorted(of) if a == attribute] or list(dict.fromkeys(groups.attribute[1:]))
            what = (
                f"no level of {attribute!r}" if attribute in groups.attribute else "of no attribute that is sliced by"
            )
            raise InputError(f"reference: {level!r} is {what}; there are {listed(there)}")
    return dict(reference)


def contrasts(
    base: Material, groups: Slices, state: State, plan: Plan, reference: Reference | None, pairs: bool
) -> Section | None:
    """Differences of shown groups from a reference group, or between all pairs of an attribute's; None without any.

    d = x̄_g − x̄_r with SE² = SE_g² + SE_r² over disjoint users, and Welch's degrees of freedom. `lo_all` and `hi_all`
    hold for all contrasts of an attribute and metric at once: d ± c·SE, c the quantile over bootstrap draws of the
    largest |d* − d| / SE (max-t; Dunnett's for one reference, Tukey's for all pairs), widened for few users. `p_holm`
    is corrected for the same contrasts. Raises InputError for a reference that is withheld or not there.

    base         what the audit makes of the comparisons
    groups       slices of users
    state        (S,) which are withheld
    plan         of the audit
    reference    a level of one attribute, or {attribute: level}
    pairs        whether all pairs of the other attributes are compared too
    """
    named = references(groups, reference)
    rows: list[dict[str, object]] = []
    for attribute in dict.fromkeys(groups.attribute[1:]):
        member = [s for s in range(len(groups.level)) if groups.attribute[s] == attribute and state[s] == SHOWN]
        chosen: Pairs = []
        if attribute in named:
            at = next((s for s in member if groups.level[s] == named[attribute]), None)
            if at is None:
                raise InputError(
                    f"reference: {attribute} {named[attribute]} is withheld or left out; choose another group"
                )
            chosen = [(s, at) for s in member if s != at]
        elif pairs and all(groups.order[s] == 1 for s in member):
            chosen = [(b, a) for a, b in combinations(member, 2)]
        if chosen:
            rows += _rows(base, groups, chosen, plan)
    if not rows:
        return None
    text = ("metric", "provenance", "attribute", "level", "reference")
    schema = {
        **dict.fromkeys(text, pl.String),
        "n_users": pl.Int64,
        "n_reference": pl.Int64,
        **dict.fromkeys(COLUMNS, pl.Float64),
    }
    frame = pl.DataFrame(rows, schema=schema).with_columns(pl.col(COLUMNS).fill_nan(None))
    return Section(
        "contrasts",
        "Groups against each other",
        _said(frame),
        "Differences between groups of different people. One interval is for one difference, the other holds for "
        "all of an attribute at once.",
        frame,
        None,
    )


def _rows(base: Material, groups: Slices, chosen: Pairs, plan: Plan) -> list[dict[str, object]]:
    used = sorted({s for pair in chosen for s in pair})
    people = base.people[:, None]
    draws, value, error, n = {}, {}, {}, {}
    for s in used:
        users = groups.users(s)
        top = people[users] * base.sums.means[users]
        parts = count_parts(base.counts[users])
        draws[s] = np.concatenate([ratio_draws(part, top, people[users]) for part in parts])
        value[s], n[s] = top.sum(axis=0) / people[users].sum(), len(users)
        error[s] = standard_error(draws[s], n[s])
    a, b = (np.array([pair[k] for pair in chosen]) for k in (0, 1))
    x, y = (np.stack([value[s] for s in side]) for side in (a, b))  # (K, M)
    v, w = (np.stack([error[s] for s in side]) ** 2 for side in (a, b))
    size, other = (np.array([n[s] for s in side])[:, None] for side in (a, b))
    difference, se = x - y, np.sqrt(v + w)
    drawn = np.stack([draws[i] - draws[j] for i, j in chosen], axis=1)  # (B, K, M)
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom = (v + w) ** 2 / (v**2 / (size - 1) + w**2 / (other - 1))
        t = np.where(se > 0, difference / se, np.nan)
        p = 2 * student.sf(np.abs(t), freedom)
        far = np.abs(drawn - difference) / np.where(se > 0, se, np.nan)
    lo, hi = interval(drawn, plan.level, n_users=freedom + 1)
    known = np.isfinite(far)
    largest = np.where(known, far, 0).max(axis=1)  # (B, M)
    wide = student.isf((1 - plan.level) / 2, np.where(freedom > 0, freedom, np.nan)) / norm.isf((1 - plan.level) / 2)
    half = (np.quantile(largest, plan.level, axis=0) if len(largest) else np.nan) * wide * se
    corrected = np.stack([holm(column) for column in p.T], axis=1)
    least = detectable_gap(se, freedom + 1, tests=len(chosen))
    numbers = (x, y, difference, se, lo, hi, difference - half, difference + half, p, corrected, least)
    return [
        {"metric": METRICS[m].name, "provenance": METRICS[m].provenance, "attribute": groups.attribute[i],
         "level": groups.level[i], "reference": groups.level[j], "n_users": n[i], "n_reference": n[j]}
        | {name: float(of[k, m]) for name, of in zip(COLUMNS, numbers, strict=True)}
        for m in range(MEANS.start, MEANS.stop)
        for k, (i, j) in enumerate(chosen)
    ]  # fmt: skip


def _said(frame: pl.DataFrame) -> tuple[str, ...]:
    metric = METRICS[UTILITY]
    rows = frame.filter(pl.col("metric") == metric.name, pl.col("provenance") == metric.provenance)
    tested = rows.filter(pl.col("p_holm").is_not_null())
    off = tested.filter(pl.col("p_holm") < ALPHA).sort("p_holm")
    if tested.is_empty():
        return ()
    if off.is_empty():
        least = tested["detectable"].to_numpy()
        low, high = 100 * float(np.nanmin(least)), 100 * float(np.nanmax(least))
        return (
            f"Of {tested.height} differences between groups none is shown (Holm, within an attribute); gaps from "
            f"{low:.1f} to {high:.1f} points would have been, four times in five.",
        )
    named = [
        f"{r['attribute']} {r['level']} − {r['reference']} {signed(100 * r['difference'])}"
        for r in off.head(5).iter_rows(named=True)
    ]
    more = f" and {off.height - 5} more" if off.height > 5 else ""
    return (
        f"Of {tested.height} differences between groups {off.height} "
        f"{'is' if off.height == 1 else 'are'} shown (Holm, within an attribute), in points: {'; '.join(named)}{more}.",
    )
