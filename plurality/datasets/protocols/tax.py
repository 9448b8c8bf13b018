"""The personalisation tax: what rewards of single people lose on a benchmark that is the same for all."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from plurality.analyses.inference.bootstrap import Floats, ratio_draws, resample_counts
from plurality.analyses.inference.bootstrap import interval as percentile
from plurality.datasets.protocols.bench_files import Bench
from plurality.datasets.protocols.few_shot import forgotten
from plurality.datasets.protocols.reward_bench import TOTAL
from plurality.deprecation import renamed
from plurality.errors import InputError
from plurality.evaluation.comparison_table import worst_share
from plurality.reward.reward_model import RewardModel

__all__ = ["Tax", "personalisation_tax"]

BASE, POPULATION, MEAN, TENTH, WORST = "base", "population", "users, mean", "users, worst tenth", "users, worst"
BLOCK = 256  # users scored at once


@dataclass(frozen=True, eq=False, repr=False)
class Tax:
    """table: who (base, population, users), section, score, lo, hi, drop, drop_lo, drop_hi; users: user_id and a score
    a section.

    `drop` is the base's score less this one, positive where personalisation costs. Intervals resample users, with the
    benchmark's questions as they are; one reward, and the worst user, have none.

    table    a row a section
    users    a row a user
    """

    table: pl.DataFrame
    users: pl.DataFrame

    def __str__(self) -> str:
        """The totals in a sentence."""
        rows = {row["who"]: row for row in self.table.filter(pl.col("section") == TOTAL).iter_rows(named=True)}
        mean, worst = rows[MEAN], rows[WORST]
        start = f"The base reward scores {rows[BASE]['score']:.3f}, the population's {rows[POPULATION]['score']:.3f}, "
        return (
            f"{start}users' own {mean['score']:.3f} on average, a drop of {mean['drop']:+.3f} "
            f"[{mean['drop_lo']:+.3f}, {mean['drop_hi']:+.3f}], and {worst['score']:.3f} at worst."
        )

    def __repr__(self) -> str:
        return str(self)


@renamed(draws="n_bootstrap")
def personalisation_tax(
    model: RewardModel,
    bench: Bench,
    base: "RewardModel | ArrayLike",
    *,
    n_bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> Tax:
    """Score the base reward, the population's and every known user's reward on a RewardBench.

    `base` is a model without codes, such as Bradley–Terry, or the rewards (M,) of the bench's items that a base reward
    model gives. A user's reward is a utility at their code (`RewardModel.utility`). Raises InputError for a base with
    codes, rewards of another length, a model without users, or embeddings that do not fit.

    model          fitted model
    bench          benchmark as read by `read_bench`
    n_bootstrap    resamples of users behind the intervals
    level          coverage of the intervals, in (0, 1); default 0.95
    seed           of the resamples
    """
    if not model.user_ids:
        raise InputError("personalisation_tax: the model knows no users; fit or adapt it first")
    if isinstance(base, RewardModel):
        if base.head.n_codes:
            raise InputError("personalisation_tax: the base has codes; give one reward for all users, or its numbers")
        of_base = forgotten(base).utility(bench.items, [""], unknown="population")[0].astype(float)
    else:
        of_base = np.asarray(base, dtype=float)
    if of_base.shape != (len(bench.items),):
        raise InputError(
            f"personalisation_tax: base {of_base.shape} for {len(bench.items)} items; give one reward each"
        )
    scored = bench.score(of_base)
    population = bench.score(forgotten(model).utility(bench.items, [""], unknown="population")[0].astype(float))
    ids = list(model.user_ids)
    blocks = [
        bench.score(model.utility(bench.items, ids[at : at + BLOCK]).astype(float)).values
        for at in range(0, len(ids), BLOCK)
    ]
    own = np.concatenate(blocks)
    users = pl.DataFrame({"user_id": ids, **dict(zip(scored.names, own.T, strict=True))})
    return Tax(_table(scored.names, scored.values, population.values, own, n_bootstrap, level, seed), users)


def _table(
    names: tuple[str, ...], base: Floats, population: Floats, own: Floats, n_bootstrap: int, level: float, seed: int
) -> pl.DataFrame:
    counts = resample_counts(len(own), n_bootstrap, seed)
    all_users = np.ones((1, len(own)), dtype=np.float32)
    tenth = worst_share(own, all_users)[0]
    drawn = {MEAN: ratio_draws(counts, own, np.ones(len(own))), TENTH: worst_share(own, counts)}
    scores = {BASE: base, POPULATION: population, MEAN: own.mean(axis=0), TENTH: tenth, WORST: own.min(axis=0)}
    frames = []
    for who, score in scores.items():
        nothing = np.full(len(names), np.nan)
        ends = percentile(drawn[who], level, n_users=len(own)) if who in drawn else (nothing, nothing)
        frames.append(
            pl.DataFrame(
                {
                    "who": [who] * len(names),
                    "section": list(names),
                    "score": score,
                    "lo": ends[0],
                    "hi": ends[1],
                    "drop": base - score,
                    "drop_lo": base - ends[1],
                    "drop_hi": base - ends[0],
                }
            )
        )
    return pl.concat(frames)
