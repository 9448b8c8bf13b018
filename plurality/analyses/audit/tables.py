"""From estimates of slices to the tidy frames of an audit."""

from collections.abc import Callable, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from plurality.analyses.audit.estimates import Estimate
from plurality.analyses.audit.metrics import LOG_LOSS, METRICS, TAIL, Metric
from plurality.analyses.audit.power import MARGIN, detectable_gap, finding
from plurality.analyses.audit.slices import LEFT_OUT, OVERALL, SHOWN, Disclosure, Slices
from plurality.analyses.calibration.binning import Floats
from plurality.analyses.welfare.welfare import shrink, worst_group

TABLE = {
    "metric": pl.String,
    "normalisation": pl.String,
    "provenance": pl.String,
    "slice": pl.String,
    "attribute": pl.String,
    "level": pl.String,
    "n_users": pl.Int64,
    "n_comparisons": pl.Int64,
    "n_eff": pl.Float64,
    "estimate": pl.Float64,
    "lo": pl.Float64,
    "hi": pl.Float64,
    "shrunk": pl.Float64,
    "null_expectation": pl.Float64,
    "p": pl.Float64,
    "q": pl.Float64,
    "diff_vs_ref": pl.Float64,
    "diff_lo": pl.Float64,
    "diff_hi": pl.Float64,
    "detectable": pl.Float64,
    "finding": pl.String,
    "flag": pl.String,
    "suppressed": pl.Boolean,
}

WORST = {
    "metric": pl.String,
    "provenance": pl.String,
    "attribute": pl.String,
    "level": pl.String,
    "n_users": pl.Int64,
    "estimate": pl.Float64,
    "lo": pl.Float64,
    "hi": pl.Float64,
    "shrunk": pl.Float64,
    "shrunk_level": pl.String,
    "probability": pl.Float64,
    "detectable": pl.Float64,
    "n_groups": pl.Int64,
    "n_withheld": pl.Int64,
}

RELIABILITY = {
    "attribute": pl.String,
    "level": pl.String,
    "n_users": pl.Int64,
    "n_comparisons": pl.Int64,
    "bin": pl.Int64,
    **dict.fromkeys(("weight", "predicted", "observed", "lo", "hi", "null_lo", "null_hi"), pl.Float64),
}

State = NDArray[np.int8]
MATTERS = ("accuracy", "utility")  # shares, in which a gap that matters is one number
Done = Mapping[int, Estimate]
FamilyFunction = Callable[[list[Estimate], int], Floats]


def families(groups: Slices, state: State) -> dict[str, tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Per attribute the indices of its slices that are shown and of those that are withheld; everybody left
    out.
    """
    names = np.array(groups.attribute)
    result = {}
    for name in dict.fromkeys(groups.attribute[1:]):
        member = np.flatnonzero(names == name)
        result[name] = member[state[member] == SHOWN], member[(state[member] != SHOWN) & (state[member] != LEFT_OUT)]
    return result


def table(groups: Slices, state: State, done: Done, disclosure: Disclosure, margin: float = MARGIN) -> pl.DataFrame:
    """The tidy table: a row for each metric and slice, the columns of TABLE; numbers of withheld slices are
    null.

    groups        slices of users
    state         (S,) which are withheld; those of LEFT_OUT have no row
    done          estimates of the shown slices
    disclosure    how many users a slice needs
    margin        gap in a share that matters, which `finding` is about
    """
    shrunk = _by_family(groups, state, done, _shrunk)
    shrunk[0] = done[0].shrunk
    q = _by_family(groups, state, done, _adjusted)
    rows = []
    for k, metric in enumerate(METRICS):
        for s in np.flatnonzero(state != LEFT_OUT).tolist():
            row = start_of_row(metric, groups.attribute[s], groups.level[s])
            if s in done and not done[s].tail and metric in METRICS[TAIL]:
                row |= hidden(disclosure, "so few as a fifth of these")
            elif s in done:
                row |= _numbers(done[s], k) | {"shrunk": shrunk[s, k], "q": q[s, k]}
                row["flag"] = _flag(done[s], k, disclosure)
                row["finding"] = _finding(done[s], k, q[s, k], margin)
            else:
                row |= hidden(disclosure)
            rows.append(row)
    # NaN is an estimate that is undefined; what does not apply to a row is null
    applies = [c for c, kind in TABLE.items() if kind == pl.Float64 and c not in ("estimate", "lo", "hi")]
    return pl.DataFrame(rows, schema=TABLE).with_columns(pl.col(applies).fill_nan(None))


def hidden(disclosure: Disclosure, what: str = "such a slice") -> dict[str, object]:
    """What a withheld slice shows: nothing, nor which of the two reasons it has, since that would bound its size."""
    return {"flag": f"withheld: n_users < {disclosure.min_users_show}, or would reveal {what}", "suppressed": True}


def start_of_row(metric: Metric, attribute: str, level: str) -> dict[str, object]:
    return {
        "metric": metric.name,
        "normalisation": metric.normalisation,
        "provenance": metric.provenance,
        "slice": level if attribute == OVERALL[0] else f"{attribute}: {level}",
        "attribute": attribute,
        "level": level,
        "suppressed": False,
    }


def _numbers(found: Estimate, k: int) -> dict[str, object]:
    chance = METRICS[k].null == "chance"
    return {
        "n_users": found.n_users,
        "n_comparisons": found.n_rows,
        "n_eff": found.n_eff[k],
        "estimate": found.value[k],
        "lo": found.lo[k],
        "hi": found.hi[k],
        "null_expectation": found.null[k] if chance else None,
        "p": found.p[k],
        "diff_vs_ref": found.diff[k],
        "diff_lo": found.diff_lo[k],
        "diff_hi": found.diff_hi[k],
        "detectable": detectable_gap(found.diff_error[k], found.n_users),
    }


def _finding(found: Estimate, k: int, q: float, margin: float) -> str | None:
    if METRICS[k].name not in MATTERS:
        return None
    error, n = float(found.diff_error[k]), found.n_users
    return finding(float(found.diff[k]), error, n, q, float(detectable_gap(error, n)), margin)


def _flag(found: Estimate, k: int, disclosure: Disclosure) -> str | None:
    """Everything a reader should know before trusting the row."""
    pooled = METRICS[k].kind == "pooled"
    said = {
        "one user": found.n_users == 1,
        f"n_users < {disclosure.min_users_flag}": 1 < found.n_users < disclosure.min_users_flag,
        "only ties": pooled and found.all_ties,
        "infinite: prob_first of 0 or 1, give gap": k == LOG_LOSS and found.infinite > 0,
        f"absent in {found.dropped} draws": found.dropped > 0,
        "undefined": bool(np.isnan(found.value[k])),
    }
    return "; ".join(text for text, holds in said.items() if holds) or None


def _by_family(groups: Slices, state: State, done: Done, function: FamilyFunction) -> Floats:
    """An array (S, 10) of what `function` makes of each metric over the shown slices of each attribute."""
    result = np.full((len(groups.level), len(METRICS)), np.nan)
    for shown, _ in families(groups, state).values():
        for k in range(len(METRICS)):
            if len(shown):
                result[shown, k] = function([done[int(s)] for s in shown], k)
    return result


def _shrunk(found: list[Estimate], k: int) -> Floats:
    """Shrunk towards the attribute's mean where differences mean something; the Gini has shrinkage of its
    own.
    """
    if METRICS[k].kind == "mean" or METRICS[k].name == "l2_debiased":
        return shrink([e.value[k] for e in found], [e.error[k] for e in found]).value
    return np.array([e.shrunk[k] for e in found])


def _adjusted(found: list[Estimate], k: int) -> Floats:
    """Benjamini–Hochberg over the p-values there are."""
    p = np.array([e.p[k] for e in found])
    known = np.isfinite(p)
    if known.any():
        p[known] = false_discovery_control(p[known])
    return p


def worst(groups: Slices, state: State, done: Done, level: float, seed: int) -> pl.DataFrame:
    """The worst shown group of every attribute with at least two, for each metric that has a better direction.

    `detectable` is the smallest gap from everybody that would have been shown of that group, with all of the
    attribute's searched (Bonferroni).

    groups    slices of users
    state     (S,) which are withheld
    done      estimates of the shown slices
    level     coverage of the intervals
    seed      of the posterior draws
    """
    rows = []
    for k, metric in enumerate(METRICS):
        if metric.kind != "mean" or metric.better == "zero":
            continue
        for attribute, (shown, hidden) in families(groups, state).items():
            if len(shown) < 2:
                continue
            found = [done[int(s)] for s in shown]
            value, error = [e.value[k] for e in found], [e.error[k] for e in found]
            people = [e.n_users for e in found]
            higher = metric.better == "higher"
            bad = worst_group(value, error, n_users=people, level=level, higher_is_better=higher, seed=seed)
            if bad.index < 0:
                continue
            posterior = shrink(value, error).value
            lowest = int(np.nanargmin(posterior if higher else -posterior))
            rows.append(
                {
                    "metric": metric.name,
                    "provenance": metric.provenance,
                    "attribute": attribute,
                    "level": groups.level[shown[bad.index]],
                    "n_users": people[bad.index],
                    "estimate": bad.plug_in,
                    "lo": bad.lo,
                    "hi": bad.hi,
                    "shrunk": bad.shrunk,
                    "shrunk_level": groups.level[shown[lowest]],
                    "probability": float(bad.probability[bad.index]),
                    "detectable": _least(found[bad.index], k, len(shown)),
                    "n_groups": len(shown),
                    "n_withheld": len(hidden),
                }
            )
    return pl.DataFrame(rows, schema=WORST)


def _least(found: Estimate, k: int, groups: int) -> float | None:
    gap = float(detectable_gap(found.diff_error[k], found.n_users, tests=groups))
    return gap if np.isfinite(gap) else None


def reliability(groups: Slices, by_bin: State, done: Done) -> pl.DataFrame:
    """Reliability diagrams of slices shown by bins: a row for each bin, of equal mass over everybody, that holds data.

    groups    slices of users
    by_bin    (S,) whether bins of each slice are shown, as from `withheld_bins`
    done      estimates of the shown slices
    """
    frames = [
        pl.DataFrame(found.diagram).select(
            pl.lit(groups.attribute[s]).alias("attribute"),
            pl.lit(groups.level[s]).alias("level"),
            pl.lit(found.n_users).cast(pl.Int64).alias("n_users"),
            pl.lit(found.n_rows).cast(pl.Int64).alias("n_comparisons"),
            pl.int_range(pl.len()).alias("bin"),
            pl.all(),
        )
        for s, found in done.items()
        if found.diagram is not None and by_bin[s] == SHOWN
    ]
    return pl.concat([pl.DataFrame(schema=RELIABILITY), *frames]).filter(pl.col("weight") > 0)
