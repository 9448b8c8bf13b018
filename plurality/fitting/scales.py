"""A scale of ratings and how each person uses it, by maximum marginal likelihood.

    P(y ≤ k) = σ((c_k − b_u) / e^{t_u} − a s),  b_u ~ N(0, τ²),  t_u ~ N(0, ω²),
c_k cut points that all share, b_u the person's shift, e^{t_u} the person's scale, s a utility where one is given. What
a person thinks of things and how that person uses the scale are two matters: neither shift nor scale is in any reward,
since ratings are learned from by comparing those of one person. They are for a reader of the data, and for the
log-loss of a rating. Sources: Rossi, Gilula & Allenby 2001 (scale usage); McCullagh 1980; quadrature around each
person's own posterior, Naylor & Smith 1982.
"""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from torch import Tensor

from plurality.arrays import Float, Int
from plurality.data.keys import mix
from plurality.fitting.optimisers import lbfgs
from plurality.reward.responses import cumulative_logit

MOST_LEVELS = 10  # of ratings; more are put together in as many groups of like size
NODES = (5, 3)  # of shift and of log scale, a person
ROUNDS = 30  # of EM at most,
SETTLED = 1e-2  # or until both spreads move by less, relatively or absolutely
MOVES = 4  # of every person's nodes when only that person is looked for
NARROWEST = 0.4  # share of their spread that nodes keep in one move, so that none jumps past its aim
ENOUGH = 4_000  # ratings, of whole people, that what is shared is learned from
BLOCK = 4_000_000  # entries of (ratings, nodes) at once
START = (1.0, 0.3)  # sd of shifts and of log scales
LEAST = 1e-3
FAR = 1e6  # beyond all cut points, and still with a gradient
WIDER = 1.3  # nodes that serve several slopes, beside those of one


@dataclass(frozen=True, eq=False)
class Scale:
    """What all share, and what is believed of every person: what `fit_scale` finds.

    cuts              (K − 1,) cut points, log-odds
    slope             a, 0 without utilities
    factor            of cut points and shifts beside utilities, which take noise away
    shift_sd, log_scale_sd    τ and ω
    mean, sd          (U, 2) of each person's shift and log scale
    nats              (U,) −log P of all ratings of each person, shift and scale averaged out
    """

    cuts: Float
    slope: float
    shift_sd: float
    log_scale_sd: float
    mean: Float
    sd: Float
    nats: Float
    factor: float = 1.0

    def with_utility(self, level: Int, user: Int, utility: Float) -> "Scale":
        """The same scale beside utilities: their slope a ≥ 0, and a factor of cut points, shifts and their spread.

        level      (n,) from 0 to K − 1
        user       (n,) person, from 0
        utility    (n,) s, of mean 0 for each person
        """
        n_users = int(user.max()) + 1
        mean, sd, _ = _placed(_Model.of(self), level, user, 0 * utility, n_users)
        at, prior = _nodes(_Model.of(self), mean, WIDER * sd)
        y, own, s = (torch.as_tensor(column) for column in (level, user, utility))
        there = torch.bincount(own) > 0
        logs = torch.tensor([0.0, 0.0], dtype=torch.float64, requires_grad=True)

        def loss(_: int) -> Tensor:
            slope, factor = logs.exp()
            each = _each(torch.as_tensor(self.cuts), slope, at[own], y, s, factor)
            return -prior.index_add(0, own, each).logsumexp(1)[there].sum() / len(y) + logs.square().sum() / (
                2 * len(y)
            )

        lbfgs(loss, [logs], steps=15, tol=1e-6)
        slope, factor = (float(value) for value in logs.detach().exp())
        return replace(self, slope=slope, factor=factor)

    def judge(self, level: Int, user: Int, utility: Float, n_users: int) -> Float:
        """−log P of all ratings of each person, shift and scale averaged out: (U,) nats.

        By the chain rule it is the log-loss of the person's ratings one by one, each told those before it.

        level      (n,) from 0 to K − 1
        user       (n,) person
        utility    (n,) s, of mean 0 for each person
        n_users    U
        """
        return _placed(_Model.of(self), level, user, utility, n_users)[2]


def fit_scale(level: Int, user: Int, n_users: int, utility: Float | None = None, levels: int | None = None) -> Scale:
    """The model above by maximum marginal likelihood, a ≥ 0.

    level      (n,) ordered levels, integers from 0
    user       (n,) who gave each
    n_users    U
    utility    (n,) s in log-odds up to a factor; None: everything is alike to people
    levels     K; None: as many as there are. Of two, scales are all 1
    """
    count = int(level.max()) + 1 if levels is None else levels
    s = np.zeros(len(level)) if utility is None else utility
    ids = np.unique(user)
    order = ids[np.argsort(mix(ids), kind="stable")]
    whole = np.cumsum(np.bincount(user, minlength=n_users)[order]) <= max(ENOUGH, np.bincount(user)[order[0]])
    some = np.isin(user, order[whole])
    who, place = np.unique(user[some], return_inverse=True)
    model = _learned(level[some], place, s[some], len(who), count, utility is not None)
    mean, sd, nats = _placed(model, level, user, s, n_users)
    return Scale(model.cuts, model.slope, *model.spread, mean, sd, nats)


@dataclass(frozen=True)
class _Model:
    """What all share; of two levels scales are all 1."""

    cuts: Float
    slope: float
    spread: tuple[float, float]
    scaled: bool
    factor: float = 1.0

    @staticmethod
    def of(scale: Scale) -> "_Model":
        spread = scale.shift_sd, scale.log_scale_sd
        return _Model(scale.cuts, scale.slope, spread, len(scale.cuts) > 1, scale.factor)

    @property
    def points(self) -> tuple[Tensor, Tensor]:
        """Standard nodes (S, 2) and logarithms of their mass (S,)."""
        axes = [np.polynomial.hermite_e.hermegauss(n if self.scaled or not axis else 1) for axis, n in enumerate(NODES)]
        mass = np.array([a * b for a, b in product(axes[0][1], axes[1][1])])
        places = np.array(list(product(axes[0][0], axes[1][0])))
        return torch.as_tensor(places), torch.as_tensor(np.log(mass / mass.sum()))


def _nodes(model: _Model, mean: Float, sd: Float) -> tuple[Tensor, Tensor]:
    """Nodes (U, S, 2) around what is believed of each person, and log prior over proposal with their mass (U, S)."""
    points, log_mass = model.points
    at = torch.as_tensor(mean)[:, None] + torch.as_tensor(sd)[:, None] * points
    unit = torch.as_tensor(np.maximum(model.spread, LEAST))
    ratio = -(at / unit).square() / 2 - unit.log() + points.square() / 2 + torch.as_tensor(np.log(sd))[:, None]
    return at, (ratio if model.scaled else ratio[..., :1]).sum(2) + log_mass


def _each(
    cuts: Tensor, slope: Tensor | float, at: Tensor, level: Tensor, s: Tensor, factor: Tensor | float = 1.0
) -> Tensor:
    """log-likelihood of ratings at nodes of who gave them: (n, S, 2) -> (n, S)."""
    end = cuts.new_full((1,), FAR)
    bounds = torch.cat([-end, cuts, end])
    below, above = (factor * (bounds[level + side][:, None] - at[..., 0]) / at[..., 1].exp() for side in (0, 1))
    return -cumulative_logit(slope * s[:, None], below, above)


def _believed(
    model: _Model, mean: Float, sd: Float, level: Int, user: Int, s: Float
) -> tuple[Float, Float, Float, Tensor, Tensor]:
    """Mean and sd (U, 2) of each person's shift and log scale, nats (U,), nodes (U, S, 2) and their weights (U, S)."""
    at, total = _nodes(model, mean, sd)
    size = max(1, BLOCK // at.shape[1])
    for start in range(0, len(level), size):
        own, y, u = (torch.as_tensor(column[start : start + size]) for column in (user, level, s))
        total = total.index_add(0, own, _each(torch.as_tensor(model.cuts), model.slope, at[own], y, u, model.factor))
    log_p = total.logsumexp(1)
    weight = (total - log_p[:, None]).exp()
    found = (weight[..., None] * at).sum(1)
    spread = (weight[..., None] * (at - found[:, None]).square()).sum(1).sqrt().numpy()
    return found.numpy(), np.maximum(spread, NARROWEST * sd), -log_p.numpy(), at, weight


def _placed(model: _Model, level: Int, user: Int, s: Float, n_users: int) -> tuple[Float, Float, Float]:
    """Mean and sd (U, 2) of each person's shift and log scale, and nats (U,)."""
    mean, sd = np.zeros((n_users, 2)), np.tile(np.maximum(model.spread, LEAST), (n_users, 1))
    for _ in range(MOVES):
        mean, sd, nats, _, _ = _believed(model, mean, sd, level, user, s)
    return mean, sd, nats


def _learned(level: Int, user: Int, s: Float, n_users: int, count: int, sloped: bool) -> _Model:
    """EM: what is believed of every person, then what all share."""
    below = np.clip(np.bincount(level, minlength=count).cumsum()[:-1] / len(level), LEAST, 1 - LEAST)
    cuts = np.log(below / (1 - below))
    first = torch.tensor(cuts[0], dtype=torch.float64, requires_grad=True)
    steps = torch.tensor(np.log(np.maximum(np.diff(cuts), 1e-2)), dtype=torch.float64, requires_grad=True)
    log_slope = torch.zeros((), dtype=torch.float64, requires_grad=True)
    slope = log_slope.exp() if sloped else torch.zeros((), dtype=torch.float64)
    scaled = count > 2
    model = _Model(cuts, float(slope.detach()), (START[0], START[1] if scaled else 0.0), scaled)
    mean, sd = np.zeros((n_users, 2)), np.tile(np.maximum(model.spread, LEAST), (n_users, 1))
    y, own, u = (torch.as_tensor(column) for column in (level, user, s))
    for _ in range(ROUNDS):
        mean, sd, _, at, weight = _believed(model, mean, sd, level, user, s)

        def loss(_: int, at: Tensor = at, weight: Tensor = weight) -> Tensor:
            bounds = torch.cat([first[None], first + steps.exp().cumsum(0)])
            a = log_slope.exp() if sloped else 0.0
            nats = -(weight[own] * _each(bounds, a, at[own], y, u)).sum()
            return (nats + 1e-3 * steps.square().sum()) / len(y)

        lbfgs(loss, [first, steps, *([log_slope] if sloped else [])], steps=4, tol=1e-7)
        spread = np.sqrt((np.square(mean) + np.square(sd)).mean(0))
        with torch.no_grad():
            cuts = torch.cat([first[None], first + steps.exp().cumsum(0)]).numpy()
            slope = log_slope.exp() if sloped else torch.zeros(())
        before = model.spread
        model = _Model(cuts, float(slope), (float(spread[0]), float(spread[1]) if scaled else 0.0), scaled)
        if np.all(np.abs(np.subtract(model.spread, before)) <= SETTLED * np.clip(before, 0.3, 1)):
            break
    return model


def grouped_levels(rating: Float) -> tuple[Float, Int]:
    """The lowest rating of each of at most MOST_LEVELS levels (K,), and the level of every rating (n,) from 0.

    rating    (n,) numbers
    """
    values = np.unique(rating)
    if len(values) > MOST_LEVELS:
        values = np.unique(np.quantile(rating, np.linspace(0, 1, MOST_LEVELS + 1)[:-1], method="higher"))
    return values, (np.searchsorted(values, rating, side="right") - 1).clip(0)
