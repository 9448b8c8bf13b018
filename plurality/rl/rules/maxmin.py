"""Rules for the worst-off group. Which group that is depends on what is compared: a batch, a history, a completion."""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from plurality.errors import InputError
from plurality.rl.rules.rows import Batch
from plurality.rl.rules.welfare import Float, Int, group_means


@dataclass(frozen=True)
class GroupMaxMin:
    """Rewards of the batch are those of the group whose mean over the *batch* is lowest; of equal ones the first.

    r_i = x̄_{g*, i} with g* = argmin_g mean_i x̄_{g, i}, x̄ the group's weighted mean utility: a subgradient step on
    min_g E x̄_g. Source: MaxMin-RLHF, arXiv 2402.08925, Algorithm 1.
    """

    batch: ClassVar[Batch] = "whole"

    @property
    def name(self) -> str:
        return "maxmin"

    def __call__(self, utilities: Float, weights: Float, groups: Int) -> Float:
        _, means = group_means(utilities, weights, groups)
        return means[means.sum(1).argmin()]


@dataclass(frozen=True)
class PointwiseMin:
    """For each *completion* the group it serves worst: r_i = min_g x̄_{g, i}.

    It maximises E min_g, not min_g E as `GroupMaxMin` does: a middling completion beats any mixture of good ones for
    different groups. It is what implementations of MaxMin-RLHF are often found to compute.
    """

    @property
    def name(self) -> str:
        return "pointwise_min"

    def __call__(self, utilities: Float, weights: Float, groups: Int) -> Float:
        return group_means(utilities, weights, groups)[1].min(0)


@dataclass
class ExponentiatedGradient:
    """Weights on groups that grow where a group fares badly: λ_g ∝ λ_g exp(−step · mean_i x̄_{g, i}), r = Σ_g λ_g x̄_g.

    λ starts uniform, is updated by each batch before it is used, and is kept between calls (`state`); a group that a
    batch lacks keeps its own. Averaged over T batches, a learner that answers it is within log(G)/(step · T) +
    step · range²/8 of max min_g E x̄_g; with a large step it is `GroupMaxMin` on all batches so far.
    Source: the multiplicative weights of Freund & Schapire 1999 (Adaptive game playing), in MaxMin-RLHF's objective.

    step          step size, > 0
    log_weight    log λ of the groups seen so far
    """

    step: float = 0.1
    log_weight: dict[int, float] = field(default_factory=dict)  # of each group seen, up to a constant

    batch: ClassVar[Batch] = "whole"

    def __post_init__(self) -> None:
        if not (np.isfinite(self.step) and self.step > 0):
            raise InputError(f"eg: a step of {self.step:g} is not positive and finite; 0.1 suits utilities in [0, 1]")

    @property
    def name(self) -> str:
        return f"eg:{self.step:g}"

    @property
    def shares(self) -> dict[int, float]:
        """λ of the groups seen so far; they sum to 1."""
        codes = sorted(self.log_weight)
        return dict(zip(codes, _softmax(np.array([self.log_weight[g] for g in codes])).tolist(), strict=True))

    def __call__(self, utilities: Float, weights: Float, groups: Int) -> Float:
        codes, means = group_means(utilities, weights, groups)
        if not means.shape[1]:
            return np.zeros(0)
        level = _log_mean_exp(np.array(list(self.log_weight.values())))  # a newcomer enters with the mean weight
        log_weight = np.array([self.log_weight.get(g, level) for g in codes.tolist()]) - self.step * means.mean(1)
        self.log_weight.update(zip(codes.tolist(), log_weight.tolist(), strict=True))
        return _softmax(log_weight) @ means

    def state(self) -> dict[str, Any]:
        """What must be saved with a checkpoint, ready for JSON: log-weights, which unlike shares never round to 0."""
        return {"log_weight": {str(g): value for g, value in self.log_weight.items()}}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from a state. Raises InputError for what `state` did not write."""
        try:
            found = {int(g): float(value) for g, value in state["log_weight"].items()}
            if not np.isfinite(list(found.values())).all():
                raise ValueError
        except (AttributeError, KeyError, TypeError, ValueError):
            raise InputError(f"eg: {state} is not a state of this rule; give what `state()` returned") from None
        self.log_weight = found


def _softmax(logs: Float) -> Float:
    weight = np.exp(logs - logs.max(initial=-np.inf))
    return weight / weight.sum() if len(logs) else weight


def _log_mean_exp(logs: Float) -> float:
    return float(logs.max() + np.log(np.exp(logs - logs.max()).mean())) if len(logs) else 0.0
