"""Abstention by group: what is gained, and by whom, where only what the model is surest of is answered."""

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from plurality.analyses.audit.estimates import Plan
from plurality.analyses.audit.labels import with_group_names
from plurality.analyses.audit.sections import Section
from plurality.analyses.audit.slices import OVERALL, SHOWN, Slices, State
from plurality.analyses.audit.user_sums import Material
from plurality.analyses.audit.verdict import name, percent
from plurality.analyses.inference.bootstrap import interval, ratio_draws
from plurality.analyses.inference.resampling import count_parts

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def abstention(base: Material, groups: Slices, by_bin: State, plan: Plan) -> Section | None:
    """Coverage and risk of everybody and of every group where the surest sixths of all rows are answered.

    Thresholds are those of the reliability diagram's bins of confidence, the same for all. Of a group, coverage is the
    share of its rows whose confidence reaches the threshold, risk the share of these in which the model's pick is not
    the preferred one; rows are pooled, intervals resample people. As these are sums of the diagram's bins, groups are
    shown where their bins are, and nothing is told beyond them. None where everybody's bins are withheld or are one.
    Source: Chow 1970; by group Jones et al. 2021.

    base      what the audit makes of the comparisons
    groups    slices of users
    by_bin    (S,) which slices are withheld by bins, as from `withheld_bins`
    plan      of the audit
    """
    weight, outcome = (base.sums.mass[:, k, ::-1] for k in (0, 2))  # (U, B), the surest first
    bins = np.flatnonzero(weight.sum(axis=0) > 0)
    if by_bin[0] != SHOWN or len(bins) < 2:
        return None
    answered = weight[:, bins].cumsum(axis=1)
    mistakes = (weight - outcome)[:, bins].cumsum(axis=1)
    shares_of_all = answered.sum(axis=0) / answered[:, -1].sum()
    rows: list[dict[str, object]] = []
    for s in np.flatnonzero((by_bin == SHOWN) & (groups.order <= 1)).tolist():
        who = groups.users(s)
        top, bottom, whole = mistakes[who], answered[who], answered[who][:, -1:]
        parts = list(count_parts(base.counts[who]))
        risks = np.concatenate([ratio_draws(part, top, bottom) for part in parts])
        shares = np.concatenate([ratio_draws(part, bottom, whole) for part in parts])
        ends = [interval(draws, plan.level, n_users=len(who)) for draws in (shares, risks)]
        held = bottom.sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            risk = top.sum(axis=0) / np.where(held > 0, held, np.nan)
        for k, of_all in enumerate(shares_of_all):
            rows.append(
                {"attribute": groups.attribute[s], "level": groups.level[s], "n_users": len(who),
                 "of_all": float(of_all),
                 "coverage": float(held[k] / whole.sum()), "coverage_lo": float(ends[0][0][k]),
                 "coverage_hi": float(ends[0][1][k]), "risk": float(risk[k]),
                 "lo": float(ends[1][0][k]), "hi": float(ends[1][1][k])}
            )  # fmt: skip
    frame = pl.DataFrame(rows)
    return Section(
        "abstention",
        "Answering only what is sure",
        _said(frame),
        "Risk: how often the model's pick is wrong where it answers the share of all comparisons that stands above the "
        "column, those it is surest of, by one threshold for everybody.",
        frame,
        _draw,
    )


def _said(frame: pl.DataFrame) -> tuple[str, ...]:
    everybody = frame.filter(attribute=OVERALL[0])
    whole = everybody.row(-1, named=True)
    near = everybody.row(int((everybody["of_all"] - 0.5).abs().arg_min() or 0), named=True)
    said = (
        f"Answering the surest {percent(near['of_all'])} alone, the model's pick is wrong in {percent(near['risk'])} "
        f"instead of {percent(whole['risk'])}"
    )
    groups = frame.filter(pl.col("attribute") != OVERALL[0], pl.col("of_all") == near["of_all"]).sort("coverage")
    if groups.height < 2:
        return (f"{said}.",)
    low, high, worst = groups.row(0, named=True), groups.row(-1, named=True), groups.sort("risk").row(-1, named=True)
    return (
        f"{said}; it then answers {percent(low['coverage'])} of {name(low)} and {percent(high['coverage'])} of "
        f"{name(high)}, and is wrong most for {name(worst)}, {percent(worst['risk'])}.",
    )


def _draw(frame: pl.DataFrame, width: float) -> "Figure":
    from plurality.analyses.figures import heat

    named = with_group_names(frame).with_columns(
        share=pl.format("{} %", (100 * pl.col("of_all")).round(0).cast(pl.Int64))
    )
    return heat(named, "name", "share", "risk", row_title="", column_title="share of all comparisons answered",
                value_title="Risk of a wrong pick", places=2, width=width)  # fmt: skip
