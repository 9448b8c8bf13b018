"""Few-shot curves: how well an unseen user is predicted after so many answers, over many draws of which answers.

All sizes are asked of the same people and the same held-out rows. A draw puts each person's answers in a random order,
and a size takes the first of them, so that sizes are nested in a draw. Each draw of each person is a person of its own
to `adapt`, which infers all of them at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl

from plurality.analyses.inference.bootstrap import Counts, Floats, interval, ratio_draws, resample_counts
from plurality.arrays import Bool, Float, Int
from plurality.data.comparisons import Comparisons
from plurality.data.keys import combine, uniform
from plurality.data.splits import rank_within
from plurality.errors import InputError
from plurality.evaluation.row_scores import hits, losses
from plurality.reward.reward_model import RewardModel

__all__ = ["Supports", "curve_table", "sizes_of"]

ENTRIES = 8_000_000  # entries of the rows' (C, C) matrices that `adapt` holds at once
ROUNDING = 1e-6  # differences of a user below it are those of sums in another order
METRICS = ("accuracy", "log_loss")
SEPARATOR = "\x1f"  # between an id and the number of a draw


def sizes_of(support: int | Sequence[int], draws: int) -> tuple[int, ...]:
    """The sizes of a curve, ascending, or none for one number. Raises InputError for what are no sizes.

    support    comparisons of each unseen user: one number, or the sizes of a curve
    draws      of each size
    """
    if isinstance(support, int | np.integer):
        return ()
    sizes = [size for size in support if isinstance(size, int | np.integer) and size >= 0]
    if not sizes or len(sizes) != len(support) or len(set(sizes)) != len(sizes):
        raise InputError(f"compare: support={support!r:.80} are not sizes; give different whole numbers of 0 or more")
    if draws < 1:
        raise InputError(f"compare: support_draws={draws}; give 1 or more draws of each user's answers")
    return tuple(sorted(int(size) for size in sizes))


@dataclass(frozen=True, eq=False)
class Supports:
    """Draws of what unseen users have answered, and the rows they are then predicted on.

    A user with fewer answers than a size gives all of them, and stays in the curve.

    sizes    numbers of answers, ascending
    draws    random orders of each user's answers
    pool     the unseen users' comparisons of units not held out, all of them
    test     their comparisons of held-out units
    cell     the cell that `test` is
    seed     of the draws
    """

    sizes: tuple[int, ...]
    draws: int
    pool: Comparisons
    test: Comparisons
    cell: str
    seed: int

    @cached_property
    def order(self) -> Int:
        """Place of every row of the pool among its user's, from 0, in each draw: (draws, n)."""
        pool = self.pool
        pair = combine(pool.item_keys[pool.first], pool.item_keys[pool.second])
        row = combine(combine(pool.user_keys()[pool.user], pair), pool.group)
        draws = (uniform(combine(row, row + np.uint64(d)), self.seed) for d in range(self.draws))
        return np.stack([rank_within(pool.user, drawn) for drawn in draws])

    def flat(self, log_odds: Float) -> pl.DataFrame:
        """The curve of predictions that answers do not change: the same at every size.

        log_odds    (N,) of the test rows
        """
        return pl.concat([self._scored(size, log_odds[None]) for size in self.sizes])

    def adapted(self, model: RewardModel) -> pl.DataFrame:
        """The curve of a model whose codes are inferred from each draw of each size.

        Users, or units, that the model knows keep what is believed of them.

        model    fitted on other users
        """
        pool, test = (part.by_unit(model.spec.unit) for part in (self.pool, self.test))
        there = test.present
        asked = np.isin(pool.user, there)
        pool, test = (
            replace(part, users=part.users[there], user=np.searchsorted(there, part.user))
            for part in (pool.take(asked), test)
        )
        known = pool.users["user_id"].is_in(list(model.user_ids)).to_numpy()
        order = self.order[:, asked]
        return pl.concat(
            [
                self._scored(size, self._after(model, pool, test, (order < size) & ~known[pool.user], known))
                for size in self.sizes
            ]
        )

    def _after(self, model: RewardModel, pool: Comparisons, test: Comparisons, given: Bool, known: Bool) -> Float:
        """Log-odds of the test rows after the given answers (draws, n): (draws, N), or (1, N) where draws are one."""
        if not given.any():
            return model.log_odds(test, unknown="population")[None]
        width = max(1, model.head.n_codes) ** 2
        step = max(1, ENTRIES // (width * max(int(given[0].sum()), test.users.height)))
        blocks = []
        for at in range(0, self.draws, step):
            draw, row = np.nonzero(given[at : at + step])
            n = len(given[at : at + step])
            after = model.adapt(_each_draw(pool, draw, row, n, known, model.spec.unit))
            asked = _each_draw(test, *_grid(n, len(test)), n, known, model.spec.unit)
            blocks.append(after.log_odds(asked, unknown="population").reshape(n, -1))
        return np.concatenate(blocks)

    def _scored(self, size: int, log_odds: Float) -> pl.DataFrame:
        """Per user: means over rows of the mean over draws (D, N), the weight of their rows, their answers."""
        test, label = self.test, self.test.label
        users, place = np.unique(test.user, return_inverse=True)
        weight = np.bincount(place, test.weight)
        count = np.bincount(self.pool.user, minlength=test.users.height)[users]

        def mean(values: Float) -> Float:
            return np.bincount(place, test.weight * values.mean(0)) / weight

        return pl.DataFrame(
            {
                "support": np.full(len(users), size),
                "user_id": test.users["user_id"].gather(users),
                "answers": np.minimum(count, size),
                "accuracy": mean(hits(log_odds, label)),
                "log_loss": mean(losses(log_odds, label)),
                "weight": weight,
            }
        )


def _grid(n: int, rows: int) -> tuple[Int, Int]:
    return np.repeat(np.arange(n), rows), np.tile(np.arange(rows), n)


def _each_draw(data: Comparisons, draw: Int, row: Int, draws: int, known: Bool, unit: str) -> Comparisons:
    """Rows of `data`, by unit, each under a user who is a user of its own in its draw; known users keep their ids."""
    n = data.users.height
    name = pl.Series("user_id", np.repeat(np.arange(draws), n)).cast(pl.String)
    ids = pl.concat([data.users["user_id"]] * draws)
    ids = pl.select(pl.when(pl.Series(np.tile(known, draws))).then(ids).otherwise(ids + SEPARATOR + name)).to_series()
    users = pl.concat([data.users] * draws).with_columns(**dict.fromkeys(("user_id", unit), ids))
    part = data.take(row)
    return replace(part, users=users, user=draw * n + part.user)


def curve_table(
    curves: pl.DataFrame, *, baseline: str, population: str, n_bootstrap: int, seed: int, level: float = 0.95
) -> pl.DataFrame:
    """The tidy table of curves: a row a model, size and metric, means over users with intervals that resample users.

    model, control, support, metric, n_users, n_reaching (users who have so many answers), answers (mean), estimate, lo,
    hi, diff, diff_lo, diff_hi (paired difference to the baseline), gain, gain_lo, gain_hi (to the model's own line of
    the population's code; null where there is none).

    curves        rows of all lines: model, control, fold, and those of `Supports.flat`
    baseline      line that others are compared with
    population    what a line of the population's code is called after its model, "population code"
    n_bootstrap    resamples of users behind the intervals
    seed          of the resamples
    level         coverage of the intervals, in (0, 1)
    """
    of_user = curves.group_by("model", "control", "support", "user_id", maintain_order=True).agg(
        *[((pl.col(m) * pl.col("weight")).sum() / pl.col("weight").sum()).alias(m) for m in METRICS],
        pl.col("answers").mean(),  # of folds
    )
    names = of_user["model"].unique(maintain_order=True).to_list()
    control = dict(of_user.select("model", "control").unique().iter_rows())
    users = of_user["user_id"].n_unique()
    counts, reference = resample_counts(users, n_bootstrap, seed), names.index(baseline)
    own = np.array([names.index(p) if (p := f"{m} · {population}") in names else -1 for m in names])
    rows = []
    for (size,), part in of_user.group_by("support", maintain_order=True):
        about = part.filter(pl.col("model") == names[0])["answers"]
        shared = {
            "support": size,
            "n_users": users,
            "n_reaching": int((about >= size).sum()),
            "answers": about.mean(),
        }
        for metric in METRICS:
            value = part.sort("user_id", maintain_order=True)[metric].to_numpy().reshape(users, len(names))
            found = [estimates(value, other, counts, level) for other in (None, reference, own)]
            for k, name in enumerate(names):
                row: dict[str, object] = {"model": name, "control": control[name], **shared}
                row["metric"] = metric
                for prefix, numbers, there in zip(
                    ("estimate lo hi", "diff diff_lo diff_hi", "gain gain_lo gain_hi"),
                    found,
                    (True, k != reference, own[k] >= 0),
                    strict=True,
                ):
                    row |= {c: float(n[k]) if there else None for c, n in zip(prefix.split(), numbers, strict=True)}
                rows.append(row)
    return pl.DataFrame(rows, infer_schema_length=None).cast(dict.fromkeys(("gain", "gain_lo", "gain_hi"), pl.Float64))


def estimates(value: Floats, other: int | Int | None, counts: Counts, level: float) -> tuple[Floats, Floats, Floats]:
    """Mean over users (U, K), less that of other columns, with its interval: (K,), (K,), (K,).

    value     (U, K), of models
    other     column, or a column each, that is taken off; None: nothing is
    counts    (draws, U) how often each user counts
    level     coverage of the interval
    """
    if other is not None:
        value = value - (value[:, [other]] if isinstance(other, int) else value[:, other])
        value = np.where(np.abs(value) < ROUNDING, 0.0, value)
    drawn = ratio_draws(counts, value, np.ones(len(value)))
    return value.mean(0), *interval(drawn, level, n_users=len(value))
