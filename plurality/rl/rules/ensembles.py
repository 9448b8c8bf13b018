"""Rules that guard against the worst of several rewards: members of an ensemble, or groups under a KL budget."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from plurality.errors import InputError
from plurality.rl.rules.rows import Batch, Rows
from plurality.rl.rules.welfare import Float, Int, checked, group_means

MOST_STEPS = 50  # of Newton's method at one height of the barrier; a handful are the rule
PRECISION = 1e-11  # of the range of the values


@dataclass(frozen=True)
class BRME:
    """Nominal and worst-case reward mixed: r = α r_nominal + (1 − α) r_m*, m* = argmin_m mean over the batch of r_m.

    Rows of the utilities (M, n) are members of an ensemble of reward models. The nominal reward is that of the member
    `nominal`, by default the weighted mean of all; the worst member is chosen for the batch, not for each completion.
    α = 1 is the nominal reward, α = 0 the worst case alone. Source: Reward-robust RLHF, arXiv 2409.15360, whose
    nominal member is the one that is surest of itself: name it here.

    alpha    α in [0, 1], weight of the nominal reward
    """

    alpha: float = 0.3
    nominal: int | None = None

    rows: ClassVar[Rows] = "members"
    batch: ClassVar[Batch] = "whole"

    def __post_init__(self) -> None:
        if not 0 <= self.alpha <= 1:
            raise InputError(f"brme: alpha {self.alpha:g} is outside [0, 1]; 1 is the nominal reward, 0 the worst case")

    @property
    def name(self) -> str:
        return f"brme:{self.alpha:g}"

    def __call__(self, utilities: Float, weights: Float, groups: Int) -> Float:
        members, share, _ = checked(utilities, weights, groups)
        if self.nominal is not None and not 0 <= self.nominal < len(utilities):
            raise InputError(f"brme: there is no member {self.nominal} among {len(utilities)}; count from 0")
        nominal = share @ members if self.nominal is None else np.asarray(utilities, float)[self.nominal]
        return self.alpha * nominal + (1 - self.alpha) * members[members.sum(1).argmin()]


@dataclass(frozen=True)
class RMOD:
    """Reward under the weights on groups that are worst for the best policy near the candidates' own distribution.

    r_i = Σ_g w*_g x̄_{g, i}, w* as in `rmod_weights`; the batch are candidates for *one* prompt, equally likely. Its
    argmax is best-of-n for the worst mixture of groups. strength → 0 gives `GroupMaxMin`, large ones the weights of
    the matrix game. Source: RMOD, arXiv 2503.08796.

    strength    inverse of the KL penalty, > 0
    """

    strength: float = 1.0

    batch: ClassVar[Batch] = "prompt"

    def __post_init__(self) -> None:
        if not (np.isfinite(self.strength) and self.strength > 0):
            raise InputError(f"rmod: a strength of {self.strength:g} is not positive and finite; 1 is a start")

    @property
    def name(self) -> str:
        return f"rmod:{self.strength:g}"

    def __call__(self, utilities: Float, weights: Float, groups: Int) -> Float:
        _, means = group_means(utilities, weights, groups)
        return rmod_weights(means, self.strength) @ means if means.shape[1] else np.zeros(0)


def rmod_weights(values: Float, strength: float = 1.0, reference: Float | None = None) -> Float:
    """w* = argmin over the simplex of log Σ_i ρ_i exp(strength · Σ_g w_g V_gi): values (G, n) -> (G,), convex.

    It solves max_π min_w strength · Σ_g w_g E_π V_g − KL(π‖ρ), with π* ∝ ρ exp(strength · w*V). `reference` ρ (n,) is
    uniform by default. Solved by an interior-point method to 1e-11 of strength × the range of values. Raises
    InputError for values that are not finite, or a reference that is no distribution.

    strength    inverse of the KL penalty, > 0
    """
    values = np.asarray(values, float)
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise InputError(f"rmod: values must be finite, (groups, candidates), not of shape {values.shape}")
    reference = np.full(values.shape[1], 1 / values.shape[1]) if reference is None else np.asarray(reference, float)
    if reference.shape != values.shape[1:] or (reference < 0).any() or not np.isclose(reference.sum(), 1):
        raise InputError("rmod: the reference must be a probability a candidate, and sum to 1")
    with np.errstate(divide="ignore"):
        log_reference = np.log(reference)
    # a shift of all values changes nothing, and their range goes into the strength
    reach = max(float(np.ptp(values)), np.finfo(float).tiny)
    return _barrier((values - values.min()) / reach, strength * reach, log_reference)


def _barrier(values: Float, strength: float, log_reference: Float) -> Float:
    """Newton steps on f(w) − μ Σ log w along μ → 0, f = log Σ ρ exp(strength · wV) / strength, values in [0, 1].

    At each μ's optimum f is at most G μ above its least, so the last μ certifies the weights.
    """
    size = len(values)
    weight, mu = np.full(size, 1 / size), 1.0

    while mu * size > PRECISION:
        mu *= 0.2
        for _ in range(MOST_STEPS):
            score = log_reference + strength * (weight @ values)
            policy = np.exp(score - _log_sum_exp(score))
            mean = values @ policy
            centred = values - mean[:, None]
            gradient = mean - mu / weight
            hessian = strength * (centred * policy) @ centred.T + np.diag(mu / weight**2)
            # in units of each weight the system is well conditioned however small some of them are
            system = np.zeros((size + 1, size + 1))
            system[:size, :size] = weight[:, None] * hessian * weight
            system[:size, size] = system[size, :size] = weight
            step = weight * np.linalg.solve(system, np.append(-weight * gradient, 0.0))[:size]
            decrement = float(step @ hessian @ step)
            close = decrement < 0.01 * mu
            length = min(1.0, 0.95 / float((-step / weight).max(initial=0.5)))
            rise, ratio = strength * (step @ values), step / weight
            while not close and length > 1e-9:
                change = _growth(score, length * rise) / strength - mu * float(np.log1p(length * ratio).sum())
                if change <= -0.1 * length * decrement:
                    break
                length *= 0.5
            weight = weight + length * step
            weight /= weight.sum()
            if close:  # where Newton's steps converge quadratically, and the last was one more
                break
    return weight


def _growth(score: Float, rise: Float) -> float:
    """By how much log Σ exp(score) grows as scores rise, exact where that is tiny."""
    before = _log_sum_exp(score)
    if np.abs(rise).max() < 1:
        return float(np.log1p(np.exp(score - before) @ np.expm1(rise)))
    return _log_sum_exp(score + rise) - before


def _log_sum_exp(score: Float) -> float:
    """scipy's, without the tenth of a millisecond that its generality costs a call."""
    most = score.max()
    return float(most + np.log(np.exp(score - most).sum()))
