"""The findings of an audit in plain sentences, and its numbers as text."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import false_discovery_control

from plurality.analyses.audit.findings import Findings
from plurality.analyses.audit.labels import number, single_attributes
from plurality.analyses.audit.metrics import METRICS
from plurality.analyses.audit.power import ALIKE, BLIND, DIFFERS, NONE_FOUND
from plurality.analyses.audit.slices import OVERALL
from plurality.analyses.wording import ALPHA, beyond_chance, leaning, p_value

Row = dict[str, Any]


def verdict(audit: Findings) -> tuple[str, ...]:
    """Who is served how well, which groups differ beyond chance, calibration, inequality, what is withheld."""
    said = [_service(audit), *_groups(audit), _calibration(audit), *_calibration_of_groups(audit), _inequality(audit)]
    said += [sentence for section in audit.sections.values() for sentence in section.said]
    hidden = withheld_slices(audit).height
    if hidden:
        slices = audit.table.select("attribute", "level").n_unique() - 1
        said.append(
            f"Withheld are {hidden} of {slices} slices: those of too few users, and those from which they could be "
            "computed by subtraction."
        )
    return tuple(said)


def withheld_slices(audit: Findings) -> pl.DataFrame:
    """Attribute and level of the slices that are withheld, whatever the metric."""
    of_all = (pl.col("metric") == METRICS[0].name) & pl.col("suppressed")
    return audit.table.filter(of_all).select("attribute", "level")


def overall_row(audit: Findings, metric: str, provenance: str = "observed") -> Row:
    """The row of one metric over all users."""
    rows = audit.table.filter(attribute=OVERALL[0], metric=metric, provenance=provenance)
    return rows.row(0, named=True)


def group_rows(audit: Findings, metric: str, provenance: str = "observed") -> pl.DataFrame:
    """The rows of one metric over the groups that are shown."""
    wanted = (pl.col("metric") == metric) & (pl.col("provenance") == provenance) & ~pl.col("suppressed")
    return audit.table.filter(wanted & (pl.col("attribute") != OVERALL[0]))


def _service(audit: Findings) -> str:
    row = overall_row(audit, "utility")
    return (
        f"The served response is the preferred one in {percent(row['estimate'])} of comparisons"
        f"{interval(row, percent, ' ')}, averaged over {count(row['n_users'], 'user')} "
        f"({count(row['n_comparisons'], 'comparison')})."
    )


def _groups(audit: Findings) -> list[str]:
    groups = group_rows(audit, "utility").filter(pl.col("estimate").is_not_nan())
    if groups.is_empty():
        return []
    low = groups.sort("estimate").row(0, named=True)
    spread = interval({"lo": low["diff_lo"], "hi": low["diff_hi"]}, lambda v: signed(100 * v), " ")
    alone = ", an interval for this group alone" if spread and groups.height > 1 else ""
    shrunk = "" if low["shrunk"] is None else f"; {percent(low['shrunk'])} after shrinkage"
    said = [
        f"Lowest estimate: {name(low)} ({count(low['n_users'], 'user')}), {percent(low['estimate'])}, "
        f"{signed(100 * low['diff_vs_ref'])} points from everybody{spread}{alone}{shrunk}."
    ]
    tested = across_all(groups)
    differing = tested.filter(pl.col("q") < ALPHA).sort("q")
    if differing.is_empty():
        least = f" (smallest {p_value(tested['q'].to_numpy().min(), 'q = ')} over all)" if tested.height else ""
        said.append(
            f"Of the {groups.height} groups shown, none is shown to differ from everybody once all are searched{least}."
        )
        said += _could(groups, audit.meta["margin"])
    else:
        names = [f"{name(row)} {signed(100 * row['diff_vs_ref'])}" for row in differing.iter_rows(named=True)]
        more = f" and {len(names) - 5} more" if len(names) > 5 else ""
        said.append(
            f"Of the {groups.height} groups shown, {len(names)} differ from everybody beyond chance (q < {ALPHA} over "
            f"all of them), in points: {'; '.join(names[:5])}{more}."
        )
    return said


def _could(groups: pl.DataFrame, margin: float) -> list[str]:
    """What could have been shown: that nothing is found says little where nothing could be."""
    known = groups.filter(pl.col("finding").is_not_null()).sort("detectable")
    if known.is_empty():
        return []
    count = dict(known["finding"].value_counts().iter_rows())
    blind = count.get(BLIND, 0)
    low, high = known.row(0, named=True), known.row(-1, named=True)
    points = f"{100 * margin:g} points"
    parts = [f"{count[ALIKE]} are shown to be within {points}"] if ALIKE in count else []
    parts += [f"in {count[NONE_FOUND]} a gap of {points} would have been found"] if NONE_FOUND in count else []
    parts += [f"{count[DIFFERS]} differ within their attribute alone"] if DIFFERS in count else []
    parts += [f"in {blind} the audit could not have found one"] if blind else []
    return [
        f"Of gaps of {points}, four times in five: {'; '.join(parts)}. The smallest gap that would be shown is "
        f"{100 * low['detectable']:.1f} points in {name(low)} and {100 * high['detectable']:.1f} in {name(high)}."
    ]


def across_all(groups: pl.DataFrame) -> pl.DataFrame:
    """The groups that have a p-value, with q over all of them instead of within their attribute."""
    tested = groups.filter(pl.col("p").is_not_null())
    if tested.is_empty():
        return tested
    return tested.with_columns(q=pl.Series(false_discovery_control(tested["p"].to_numpy())))


def _calibration(audit: Findings) -> str:
    gap, ece, kuiper = (overall_row(audit, m) for m in ("confidence_gap", "ece", "kuiper"))
    if np.isnan(ece["estimate"]):
        return "Calibration is undefined: every comparison is a tie."
    tests = [
        f"folded ECE {ece['estimate']:.3f} where a calibrated model shows {ece['null_expectation']:.3f}, "
        f"{beyond_chance(ece['p'])} ({p_value(ece['p'])})"
    ]
    if not np.isnan(kuiper["estimate"]):  # no Kuiper where every confidence is 1
        tests.append(
            f"Kuiper {number(kuiper['estimate'], 1)} sigma, by chance {number(kuiper['null_expectation'], 1)}, "
            f"{beyond_chance(kuiper['p'])} ({p_value(kuiper['p'])})"
        )
    lean = leaning(
        gap["lo"], gap["hi"],
        "on average the model claims less than it keeps",
        "on average the model claims more than it keeps",
        "that it claims more or less than it keeps is not shown",
    )  # fmt: skip
    spread = interval(gap, lambda v: signed(100 * v), " ")
    points = f"accuracy less confidence {signed(100 * gap['estimate'])} points{spread}"
    return f"Calibration: {'; '.join(tests)}; {lean}, {points}."


def _calibration_of_groups(audit: Findings) -> list[str]:
    tested = across_all(group_rows(audit, "kuiper"))
    if tested.is_empty():
        return []
    off = tested.filter(pl.col("q") < ALPHA).height
    return [
        f"Calibration is shown to be off in {off} of the {tested.height} groups shown (Kuiper, q < {ALPHA} over all)."
    ]


def _inequality(audit: Findings) -> str:
    row = overall_row(audit, "gini")
    if np.isnan(row["estimate"]):
        return "Inequality between users is undefined: one user, or no utility at all."
    left = f"; {row['shrunk']:.3f} is left once that is taken out" if row["shrunk"] is not None else ""
    return (
        f"Gini of utility over users {row['estimate']:.3f}; equal users seen through as few comparisons would show "
        f"{number(row['null_expectation'], 3)}, and more than that is "
        f"{beyond_chance(row['p'])} ({p_value(row['p'])}){left}."
    )


def overall_lines(audit: Findings) -> list[tuple[str, str, str, str, str]]:
    """Title with unit, estimate, interval, what chance gives, p: a line for each metric over all users."""
    lines = []
    for metric in METRICS:
        row = overall_row(audit, *metric.key)
        places = 1 if metric.name == "kuiper" else 4 if metric.name == "l2_debiased" else 3
        chance = "" if row["null_expectation"] is None else number(row["null_expectation"], places)
        spread = interval(row, partial(number, places=places))
        lines.append((f"{metric.title}", number(row["estimate"], places), spread, chance, p_value(row["p"], "")))
    return lines


def worst_lines(audit: Findings) -> list[tuple[str, str, str, str, str, str, str]]:
    """Attribute, worst group, users, utility, interval, shrunk, chance of being the worst: a line an
    attribute.
    """
    rows = audit.worst.filter(pl.col("metric") == "utility", pl.col("provenance") == "observed")
    return [
        (
            row["attribute"],
            row["level"],
            f"{row['n_users']:,}",
            number(row["estimate"], 3),
            interval(row, lambda v: number(v, 3)),
            number(row["shrunk"], 3),
            f"{row['probability']:.0%}",
        )
        for row in single_attributes(rows).iter_rows(named=True)
    ]


def heading(audit: Findings) -> str:
    """Model, cell and size in one line."""
    meta = audit.meta
    parts = [f"{what} {meta[what]}" for what in ("model", "cell") if meta[what] is not None]
    return " · ".join([*parts, count(meta["n_users"], "user"), count(meta["n_comparisons"], "comparison")])


def name(row: Row) -> str:
    """A group by attribute and level."""
    return f"{row['attribute']} {row['level']}"


def percent(value: float | None) -> str:
    return "–" if value is None or np.isnan(value) else f"{100 * value:.1f}%"


def signed(value: float | None) -> str:
    return "–" if value is None or np.isnan(value) else f"{value:+.1f}".replace("-", "−")


def interval(row: Row, form: Callable[[float], str], before: str = "") -> str:
    """[lo, hi] after the text `before`, or nothing where there is no interval."""
    if row["lo"] is None or np.isnan(row["lo"]):
        return ""
    return f"{before}[{form(row['lo'])}, {form(row['hi'])}]"


def count(n: int, what: str) -> str:
    return f"{n:,} {what}{'' if n == 1 else 's'}"
