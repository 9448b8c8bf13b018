"""Ratings and thumbs: who says the same of everything, how people use the scale, whether they contradict themselves."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from plurality.analyses.inference.bootstrap import cluster_draws, interval
from plurality.arrays import Float, Int
from plurality.data.answered_things import answered_things
from plurality.data.answers import LEVELS
from plurality.data.comparisons import Comparisons
from plurality.fitting.scale_use import scale_use

__all__ = ["RatingsCheck", "check_ratings"]

LEAST = 30  # answers below which no rate is said
ALIKE = "people who rate everything alike"
TOP = "people who give the top rating alone"
CONTRADICT = "own choices that own ratings contradict"
OTHERS = "own choices that other people's ratings contradict"
MANY, WORSE = 0.1, 0.8  # shares of people, and of the rate by chance, from which something is said to be wrong


@dataclass(frozen=True, eq=False)
class RatingsCheck:
    """What `check_ratings` found.

    table        what, estimate, lo, hi, n, chance: a row a measure
    people       kind, and how each person uses the scale: `ScaleUse.users`
    sentences    what it says, in words
    """

    table: pl.DataFrame
    people: pl.DataFrame
    sentences: tuple[str, ...]


def check_ratings(
    data: Comparisons, *, n_bootstrap: int = 200, level: float = 0.95, seed: int = 0
) -> RatingsCheck | None:
    """People's ratings, looked at alone and against what the same people prefer in pairs, choices, rankings and thumbs.

    A preference contradicts ratings where one item was rated higher and the other is preferred; items rated alike say
    nothing. By chance (coin flips) half do; and as often as other people's mean ratings contradict it, a person's own
    ratings are no more personal than anybody's. None where nobody rates or gives thumbs.

    data           comparisons
    n_bootstrap    resamples of users behind the intervals
    level          coverage of the intervals, in (0, 1)
    seed           of the resamples
    """
    quiet = set() if data.silent is None else set(data.silent["answer_kind"])
    kinds = [k for k in ("rating", "thumbs") if k in quiet or answered_things(data, k).height]
    if not kinds:
        return None
    used = [scale_use(data, kind) for kind in kinds]
    people = pl.concat(u.users.select(pl.lit(k).alias("kind"), pl.all()) for k, u in zip(kinds, used, strict=True))
    rows: list[tuple[str, float, float | None, float | None, int, float | None]] = []
    said = [sentence for u in used for sentence in u.sentences]
    several = people.filter((pl.col("kind") == "rating") & (pl.col("n") > 2))
    if several.height:
        alike = several["share_of_commonest"] == 1
        top = several["lowest"] == several["highest"].max()
        for what, those in ((ALIKE, alike), (TOP, alike & top)):
            rows.append((what, float(those.to_numpy().mean()), None, None, several.height, None))
        if alike.to_numpy().mean() > MANY:
            said.append(
                f"{100 * alike.to_numpy().mean():.0f} % of people with three ratings or more rate everything alike: "
                "nothing is learned from them."
            )
    own, others = _contradictions(data)
    if own.n >= LEAST:
        rate, chance = own.rate, others.rate if others.n >= LEAST else 0.5
        drawn = cluster_draws(own.wrong, own.count, draws=n_bootstrap, seed=seed)
        lo, hi = (float(end[0]) for end in interval(drawn, level, n_users=int((own.count > 0).sum())))
        rows.append((CONTRADICT, rate, lo, hi, own.n, 0.5))
        if others.n >= LEAST:
            rows.append((OTHERS, others.rate, None, None, others.n, 0.5))
        verdict = "; ratings and preferences hardly belong together" if lo > WORSE * min(chance, 0.5) else ""
        elsewhere = f", other people's mean ratings {100 * others.rate:.0f} %" if others.n >= LEAST else ""
        share = f"{100 * rate:.0f} % [{100 * lo:.0f}, {100 * hi:.0f}] of {own.n:,}"
        said.append(
            f"People's own ratings contradict {share} of their "
            f"preferences between items they rated apart (coin flips: 50 %{elsewhere}){verdict}."
        )
    schema = dict.fromkeys(("estimate", "lo", "hi"), pl.Float64)
    table = pl.DataFrame(rows, schema={"what": pl.String, **schema, "n": pl.Int64, "chance": pl.Float64}, orient="row")
    return RatingsCheck(table, people, tuple(said))


@dataclass(frozen=True, eq=False)
class _Rate:
    """Contradicted preferences and all that could be, of each user: (U,), (U,)."""

    wrong: Float
    count: Float

    @property
    def n(self) -> int:
        return int(self.count.sum())

    @property
    def rate(self) -> float:
        return float(self.wrong.sum() / self.count.sum())

    @staticmethod
    def of(user: Int, difference: Float, label: Float, n_users: int) -> "_Rate":
        told = np.isfinite(difference) & (difference != 0) & (label != 0.5)
        wrong = told & ((difference > 0) != (label > 0.5))
        return _Rate(*(np.bincount(user, part, minlength=n_users).astype(float) for part in (wrong, told)))


def _contradictions(data: Comparisons) -> tuple[_Rate, _Rate]:
    """What own ratings, and other people's mean ratings, say against preferences that are none of ratings."""
    none = np.zeros(data.users.height)
    if data.answers is None:
        return _Rate(none, none), _Rate(none, none)
    of_rating = (data.answers["answer_kind"] == "rating").to_numpy()
    asked = np.zeros(len(data), dtype=np.int64) if data.objective is None else data.objective
    who = data.user * (int(asked.max(initial=0)) + 1) + asked
    m = len(data.items)
    sides = data.first, data.second
    keys = np.concatenate([(who * m + side)[of_rating] for side in sides])
    given = np.concatenate([data.answers[name].to_numpy()[of_rating] for name in LEVELS])
    rated, place = np.unique(keys, return_inverse=True)
    if not len(rated) or of_rating.all():
        return _Rate(none, none), _Rate(none, none)
    rating = np.bincount(place, given) / np.bincount(place)
    owner = np.unique(rated // m, return_inverse=True)[1]
    centred = rating - (np.bincount(owner, rating) / np.bincount(owner))[owner]
    item = rated % m
    total, count = np.bincount(item, centred, minlength=m), np.bincount(item, minlength=m)
    rest = ~of_rating

    def found(side: Int) -> tuple[Float, Float]:
        """The rating that a person gives an item, and the mean of those of others; NaN for none."""
        key = (who * m + side)[rest]
        at = np.searchsorted(rated, key).clip(max=len(rated) - 1)
        there = rated[at] == key
        less, fewer = np.where(there, centred[at], 0.0), there.astype(int)
        n = count[side[rest]] - fewer
        mean = np.divide(total[side[rest]] - less, n, out=np.full(len(n), np.nan), where=n > 0)
        return np.where(there, rating[at], np.nan), np.where(there, mean, np.nan)

    first, second = found(sides[0]), found(sides[1])
    user, label = data.user[rest], data.label[rest]
    own, others = (_Rate.of(user, first[k] - second[k], label, len(none)) for k in (0, 1))
    return own, others
