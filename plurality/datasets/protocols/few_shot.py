"""How fast a model gets to know people: accuracy on what they have not shown, by how much they have.

Every user's code is inferred from nested random supports of growing size, all users of a draw and size at once; the
shared weights never move. Size 0 is the population's prior (with demographics where the model uses them).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np
import polars as pl
import torch
from scipy.special import expit

from plurality.analyses.calibration.calibration import log_loss_rows
from plurality.analyses.inference.bootstrap import Floats, cluster_draws, interval, per_user_sums
from plurality.arrays import Int
from plurality.data.comparisons import Comparisons
from plurality.data.keys import combine, uniform
from plurality.data.splits import Cells, rank_within
from plurality.deprecation import renamed
from plurality.errors import InputError
from plurality.evaluation import controls
from plurality.reward.reward_model import RewardModel

__all__ = ["FewShot", "few_shot", "few_shot_of_cells"]

SIZES = (0, 1, 2, 5, 10, 20, 50)
METRICS = ("accuracy", "log_loss")


@dataclass(frozen=True, eq=False, repr=False)
class FewShot:
    """table: users (seen, unseen), model, control, metric, size, estimate, lo, hi, sd_draws, n_users, n_comparisons,
    draws.

    Estimates are means over users of each user's mean over draws; intervals resample users; `sd_draws` is how far one
    draw of supports lies from their mean. Accuracy counts a tie half, log-loss is in nats.

    table    the curve, a row a point
    """

    table: pl.DataFrame

    def figure(self, metric: str = "accuracy") -> Any:
        """Curves by size, a line a model and a panel for seen and unseen users: a matplotlib Figure.

        metric    "accuracy" or "log_loss"
        """
        titles = {"accuracy": "Accuracy, mean over users", "log_loss": "Log-loss (nats), mean over users"}
        frame = self.table.filter(pl.col("metric") == metric)
        if frame.is_empty():
            raise InputError(f"few_shot: metric {metric!r} is unknown; choose {' or '.join(METRICS)}")
        grow = import_module("plurality.analyses.figures").growth  # matplotlib, not before somebody looks
        panel = "users" if frame["users"].n_unique() > 1 else None
        return grow(frame, "size", "model", panel=panel, x_title="comparisons known", y_title=titles[metric])

    def __repr__(self) -> str:
        shown = self.table.filter(pl.col("metric") == "accuracy")
        return repr(shown.pivot("size", index=["users", "model"], values="estimate"))


@renamed(resamples="n_bootstrap")
def few_shot(
    models: Mapping[str, RewardModel],
    support: Comparisons,
    test: Comparisons,
    *,
    sizes: Sequence[int] = SIZES,
    draws: int = 20,
    n_bootstrap: int = 1000,
    users: str = "unseen",
    seed: int = 0,
) -> FewShot:
    """Curve of every model over sizes of support, on the users who have that many and are in `test`.

    A user's support of a draw is the beginning of one random order of their comparisons in `support`, so that supports
    are nested. The same users stand at every size: those with at least max(sizes) comparisons. A model with codes has
    a control, another user's code; one without is flat. Raises InputError for bad sizes, or where no user has enough.

    models         name -> fitted model
    sizes          numbers of support comparisons
    draws          random orders of the supports
    n_bootstrap    resamples of users behind the intervals
    users          what these users are called in the table
    seed           of orders and resamples
    """
    order = sorted(set(sizes))
    if not order or order[0] < 0 or draws < 1:
        raise InputError(f"few_shot: sizes {list(sizes)}, draws {draws}; give sizes of 0 or more and at least one draw")
    frames = []
    for name, model in models.items():
        pool, asked = _eligible(model, support, test, order[-1])
        lines = _lines(name, model, pool, asked, order, draws, seed)
        about = {"users": users, "n_users": len(asked.present), "n_comparisons": len(asked), "draws": draws}
        frames += [_summary(line, size, about, asked, drawn, n_bootstrap, seed) for line, size, drawn in lines]
    table = pl.concat(frames).with_columns(control=~pl.col("model").is_in(list(models)))
    first = ["users", "model", "control", "metric", "size", "estimate", "lo", "hi", "sd_draws"]
    return FewShot(table.select(*first, pl.all().exclude(first)))


@renamed(resamples="n_bootstrap")
def few_shot_of_cells(
    models: Mapping[str, RewardModel],
    cells: Cells,
    *,
    sizes: Sequence[int] = SIZES,
    draws: int = 20,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> FewShot:
    """`few_shot` of seen users, re-inferred from their part of the training data, and of unseen users.

    Ask for `cells(support=...)` of at least max(sizes). A kind of user without tests or supports is left out. Raises
    InputError as `few_shot` does.

    models         name -> fitted model
    sizes          numbers of support comparisons
    draws          random orders of the supports
    n_bootstrap    resamples of users behind the intervals
    seed           of orders and resamples
    """
    tables = []
    for users, support in (("seen", cells.train), ("unseen", cells.support)):
        test = cells.tests.get(f"{users} user, unseen {cells.unit}")
        if test is not None and len(test) and len(support):
            found = few_shot(
                models, support, test, sizes=sizes, draws=draws, n_bootstrap=n_bootstrap, users=users, seed=seed
            )
            tables.append(found.table)
    if not tables:
        raise InputError("few_shot: no user has a support and a test; give larger shares of both")
    return FewShot(pl.concat(tables))


def forgotten(model: RewardModel) -> RewardModel:
    """The model with its shared weights and prior, and no users known to it."""
    none = model.posterior.of(torch.zeros(0, dtype=torch.int64))
    return replace(model, user_ids=(), posterior=none, n_comparisons=np.zeros(0, dtype=np.int64))


def _eligible(
    model: RewardModel, support: Comparisons, test: Comparisons, most: int
) -> tuple[Comparisons, Comparisons]:
    """Support and test by the model's unit, of users with `most` supports or more and a test comparison."""
    pool, asked = (data.by_unit(model.spec.unit) for data in (support, test))
    if pool.users["user_id"].to_list() != asked.users["user_id"].to_list():
        raise InputError("few_shot: support and test are of different users tables; take both from the same data")
    have = np.bincount(pool.user, minlength=pool.users.height)
    tested = np.bincount(asked.user, minlength=pool.users.height) > 0
    keep = (have >= most) & tested
    if not keep.any():
        best = int(have[tested].max(initial=0))
        raise InputError(
            f"few_shot: no user with a test comparison has {most} of support, the most is {best}; give less"
        )
    return pool.take(keep[pool.user]), asked.take(keep[asked.user])


def _lines(
    name: str, model: RewardModel, pool: Comparisons, asked: Comparisons, order: list[int], draws: int, seed: int
) -> Iterator[tuple[str, int, list[Floats]]]:
    """(line, size, log-odds (N,) of every draw)."""
    blank = forgotten(model)
    prior = blank.log_odds(asked, unknown="population")
    other = f"{name} · {controls.ANOTHER}"
    coded = model.head.n_codes > 0
    ranks = [_order(pool, seed + draw) for draw in range(draws)] if coded else []
    for size in order:
        if size == 0 or not coded:
            yield name, size, [prior]
            if coded:
                yield other, size, [prior]
            continue
        own, others = [], []
        for draw, rank in enumerate(ranks):
            known = blank.adapt(pool.take(rank < size))
            own.append(known.log_odds(asked))
            if len(known.user_ids) > 1:
                beliefs = controls.another_users_beliefs(known, asked, seed + draw)
                others.append(known.log_odds(asked, beliefs=beliefs))
        yield name, size, own
        if others:
            yield other, size, others


def _order(pool: Comparisons, seed: int) -> Int:
    """Place of every comparison in a random order of its user's, whatever the order of rows: (N,)."""
    pair = combine(pool.item_keys[pool.first], pool.item_keys[pool.second])
    key = combine(combine(pool.user_keys()[pool.user], pair), pool.group)
    return rank_within(pool.user, uniform(key, seed))


def _summary(
    line: str, size: int, about: dict[str, Any], asked: Comparisons, drawn: list[Floats], n_bootstrap: int, seed: int
) -> pl.DataFrame:
    user = np.unique(asked.user, return_inverse=True)[1]
    y, rows = asked.label, []
    hit = np.stack([np.where(g == 0, 0.5, np.where(g > 0, y, 1 - y)) for g in drawn], 1)
    loss = np.stack([log_loss_rows(expit(g), y, g) for g in drawn], 1)
    for metric, values in zip(METRICS, (hit, loss), strict=True):
        sums, weight = per_user_sums(user, values, asked.weight)
        means = sums / weight[:, None]  # (users, draws)
        each = means.mean(axis=1)
        resampled = cluster_draws(each, np.ones(len(each)), draws=n_bootstrap, seed=seed)
        lo, hi = interval(resampled, n_users=len(each))
        sd = float(means.mean(axis=0).std(ddof=1)) if means.shape[1] > 1 else 0.0
        row = {"model": line, "metric": metric, "size": size, "estimate": float(each.mean()), "sd_draws": sd}
        rows.append({**row, "lo": float(lo[0]), "hi": float(hi[0]), **about})
    return pl.DataFrame(rows)
