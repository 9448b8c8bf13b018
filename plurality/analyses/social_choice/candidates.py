"""Responses to choose from, as every user values them: who decides, by which rule, who gains from choosing among more.

A table of candidates has a row for each user, prompt and candidate: user_id, prompt, candidate, reward (the user's
own, in log-odds) and optionally deciding, the reward that choices go by where it is another than that they are judged
by.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from plurality.analyses.audit.sections import Section
from plurality.analyses.calibration.binning import Floats
from plurality.analyses.inputs import Table, numbers, read_table, user_column
from plurality.analyses.social_choice.aggregation_rules import column_means
from plurality.analyses.social_choice.best_of_n_policies import best_of_n_welfare
from plurality.analyses.social_choice.selectors import (
    aggregation_front,
    negotiation_report,
    rule_choices,
    who_decides,
)
from plurality.analyses.welfare.normalisations import normalise_sets, sensitivity
from plurality.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS = ("user_id", "prompt", "candidate", "reward")
MOST = 400_000_000  # users × prompts × candidates held at once
NORMALISATION = "win_probability"


@dataclass(frozen=True)
class Candidates:
    """Rewards (U, P, K), NaN where there is none, of the users `ids` (U,); `deciding` as `reward`, or None.

    ids         (U,) user ids, ascending
    reward      (U, P, K) each user's own rewards in log-odds, NaN where there is none
    deciding    (U, P, K) rewards that choices go by, or None where these are the same
    """

    ids: tuple[str, ...]
    reward: Floats
    deciding: Floats | None


def read_candidates(table: Table) -> Candidates:
    """Rewards of a table of candidates as an array over users, prompts and candidates.

    Raises InputError for missing columns, rewards that are no finite numbers, a row twice, no rows, or too many to
    hold.

    table    a row for each user, prompt and candidate: user_id, prompt, candidate, reward and optionally deciding, both
             in log-odds
    """
    frame = user_column(read_table(table, "candidates"), "candidates")
    missing = [c for c in COLUMNS if c not in frame.columns]
    if missing:
        raise InputError(f"candidates: no column {', '.join(missing)}; give {', '.join(COLUMNS)}")
    values = {c: _finite(frame, c) for c in ("reward", "deciding") if c in frame.columns}
    for name in ("prompt", "candidate"):
        if frame[name].dtype.is_nested():
            raise InputError(f"candidates: {name} is {frame[name].dtype}; name each by one text or number")
        if frame[name].null_count():
            row = int(frame[name].is_null().arg_max() or 0)
            raise InputError(f"candidates: {name} is missing in row {row} (first row is 0); name it, or drop the row")
    ranks = pl.col("user_id", "prompt").cast(pl.String).rank("dense")
    within = pl.col("candidate").cast(pl.String).rank("dense").over("prompt")
    user, prompt, place = (frame.select(ranks, within).cast(pl.Int64).to_numpy() - 1).T
    shape = (int(user.max(initial=-1)) + 1, int(prompt.max(initial=-1)) + 1, int(place.max(initial=-1)) + 1)
    if not frame.height or np.prod(shape) > MOST:
        raise InputError(
            f"candidates: {shape[0]} users × {shape[1]} prompts × {shape[2]} candidates; give fewer, not none"
        )
    cubes = {name: np.full(shape, np.nan) for name in values}
    twice = frame.select("user_id", "prompt", "candidate").is_duplicated().to_numpy()
    if twice.any():
        raise InputError(f"candidates: row {twice.argmax()} stands twice; give a user one reward of a candidate")
    for name, column in values.items():
        cubes[name][user, prompt, place] = column
    ids = frame["user_id"].unique().sort().to_list()
    return Candidates(tuple(ids), cubes["reward"], cubes.get("deciding"))


def _finite(frame: pl.DataFrame, column: str) -> Floats:
    values = numbers(frame, column, "candidates", "give log-odds")
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise InputError(f"candidates: {column} is {values[bad[0]]} in row {bad[0]}; give finite log-odds")
    return values


def choosing(
    candidates: Candidates, groups: pl.Series, attribute: str, *, level: float, draws: int, seed: int
) -> list[Section]:
    """Sections of an audit by one attribute: who decides, rules of aggregation, best of N, and normalisations.

    Best of N is left out where a prompt has a single candidate.

    candidates    rewards of U users, as from `read_candidates`
    groups        (U,) label of each user's group; those of an Enum stand in its order
    attribute     what groups are levels of, for titles
    level         coverage of the intervals, in (0, 1)
    draws         resamples of users behind the intervals; 0 gives none
    seed          of the resamples
    """
    u, deciding = candidates.reward, candidates.deciding
    flattered = (
        "" if deciding is not None else " Choices go by the rewards they are judged by, which flatters the chooser."
    )
    matrix = who_decides(u, groups, deciding=deciding, level=level, n_bootstrap=draws, seed=seed)
    front = aggregation_front(u, groups, deciding=deciding, level=level, n_bootstrap=draws, seed=seed)
    policies = rule_choices(u if deciding is None else deciding, groups)
    report = negotiation_report(u, policies, groups).rename({"policy": "rule"}).drop("normalisation", strict=False)
    rules = front.rename({"lo": "mean_lo", "hi": "mean_hi"}).join(report.drop("worst_group"), on="rule", how="left")
    several = int((~np.isnan(u)).any(axis=0).sum(axis=1).min())
    sections = [
        Section(
            "who_decides",
            f"Who decides, who benefits, by {attribute}",
            _said_of(matrix),
            "Mean win probability of each group (columns) when each selector (rows) chooses one response a "
            f"prompt.{flattered}",
            matrix,
            _heat,
        ),
        Section(
            "aggregation",
            f"The mean against the worst group, by {attribute}",
            (),
            "Rules of choice by the mean utility they give and what they leave to the group that is worst off, "
            "with intervals over "
            f"users.{flattered}",
            rules,
            _front,
        ),
    ]
    if several > 1:
        steps = [n for n in (1, 2, 4, 8, 16, 32, 64, 128) if n < several] + [several]
        value = normalise_sets(u, NORMALISATION).value
        chooses = value if deciding is None else normalise_sets(deciding, NORMALISATION).value
        score = column_means(chooses, np.ones((len(chooses), 1)))[0]  # of those who have the candidate
        grown = best_of_n_welfare(score, value, groups, steps, level=level, n_bootstrap=draws, seed=seed)
        sections.append(
            Section(
                "best_of_n",
                f"Best of N for everybody, by {attribute}",
                (),
                "Utility of each group when the best of N candidates by everybody's mean is served: lines that "
                "part are people left "
                f"behind by choosing harder.{flattered}",
                grown.rename({"mean": "estimate"}),
                _growth,
            )
        )
    sections.append(_sensitivity(u, policies["mean"], groups, attribute))
    return sections


def _sensitivity(u: Floats, served: Floats, groups: pl.Series, attribute: str) -> Section:
    there = np.nonzero(~np.isnan(u))
    table = sensitivity(u[there], there[0], there[1], np.nan_to_num(served[there[1:]]), groups[there[0]])
    worst = table.filter("worst").group_by("normalisation", maintain_order=True).agg(pl.col("group").first())
    same = worst["group"].n_unique() == 1
    verdict = (
        f"Whoever is estimated to be worst off by {attribute}, {worst['group'][0]}, is so under every normalisation."
        if same
        else f"Who is worst off by {attribute} depends on how utilities are made comparable: "
        + "; ".join(f"{g} by {n.replace('_', ' ')}" for n, g in worst.iter_rows())
        + "."
    )
    return Section(
        "normalisations",
        f"Does it depend on the normalisation, by {attribute}",
        (verdict,),
        "Rank of each group's utility, 1 the worst off, under each way of making utilities comparable, when "
        "everybody gets what the "
        "mean prefers. Lines that cross are findings that depend on that choice.",
        table,
        _bump,
    )


def _said_of(matrix: pl.DataFrame) -> tuple[str, ...]:
    own = matrix.filter((pl.col("kind") == "group") & (pl.col("selector") == pl.col("group")))
    everybody = matrix.filter(pl.col("kind") == "everybody").select("group", all="mean")
    gain = (
        own.join(everybody, on="group").with_columns(gain=pl.col("mean") - pl.col("all")).sort("gain", descending=True)
    )
    if gain.is_empty():
        return ()
    row = gain.row(0, named=True)
    return (
        f"Deciding alone is estimated to be worth most to {row['group']}: {100 * row['gain']:+.1f} points of win "
        "probability over everybody's "
        "mean deciding.",
    )


def _heat(frame: pl.DataFrame, width: float) -> "Figure":
    from plurality.analyses.figures import heat

    return heat(frame, "selector", "group", "mean", row_title="who decides", column_title="who benefits",
                value_title="Mean win probability", width=width)  # fmt: skip


def _front(frame: pl.DataFrame, width: float) -> "Figure":
    from plurality.analyses.figures import front

    return front(frame, normalisation="win probability", width=width)


def _growth(frame: pl.DataFrame, width: float) -> "Figure":
    from plurality.analyses.figures import growth

    return growth(
        frame,
        "n",
        "group",
        x_title="candidates N that the best is chosen from",
        y_title="mean win probability",
        width=width,
    )


def _bump(frame: pl.DataFrame, width: float) -> "Figure":
    from plurality.analyses.figures import bump

    words = frame.with_columns(pl.col("normalisation").str.replace_all("_", " "))
    return bump(
        words,
        "normalisation",
        "group",
        "rank",
        column_title="normalisation",
        rank_title="rank (1 = worst off)",
        width=width,
    )
