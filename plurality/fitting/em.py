"""Expectation–maximisation, once: a bound that never falls, restarts, and an E-step at the end."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from torch import Tensor

Params = TypeVar("Params")
Soft = TypeVar("Soft")


@dataclass(frozen=True)
class EMResult(Generic[Params, Soft]):
    """What EM ended on.

    responsibilities   of the last E-step, so they belong to `params`
    bounds             log-likelihood (nats), penalties included, after every E-step; it never falls
    converged          whether the last step gained less than the tolerance
    rejected            how much the last M-step would have lost (nats); it was not taken. 0 if none was rejected
    """

    params: Params
    responsibilities: Soft
    bounds: list[float]
    converged: bool
    rejected: float = 0.0

    @property
    def bound(self) -> float:
        """The last bound, in nats."""
        return self.bounds[-1]


def em(
    start: Params,
    e_step: Callable[[Params], tuple[Soft, float]],
    m_step: Callable[[Soft, Params], Params],
    *,
    max_iter: int = 200,
    tol: float = 1e-8,
) -> EMResult[Params, Soft]:
    """Alternate responsibilities and parameters from `start` until the bound gains less than `tol` of its size.

    e_step(params) returns responsibilities and the bound there, which the right responsibilities make equal to
    log p(data | params) + log p(params); m_step(responsibilities, params) returns parameters that raise it, from
    where they stand. A step that loses, as inexact M-steps may by rounding, is rejected and ends the walk.
    Source: Dempster, Laird & Rubin 1977; the bound, Neal & Hinton 1998, theorem 1.
    """
    params = start
    soft, bound = e_step(params)
    bounds = [bound]
    for _ in range(max_iter):
        trial = m_step(soft, params)
        trial_soft, trial_bound = e_step(trial)
        gain = trial_bound - bound
        if not gain >= 0:  # NaN too
            return EMResult(params, soft, bounds, -gain <= tol * (1 + abs(bound)), -gain)
        params, soft, bound = trial, trial_soft, trial_bound
        bounds.append(bound)
        if gain <= tol * (1 + abs(bound)):
            return EMResult(params, soft, bounds, True)
    return EMResult(params, soft, bounds, False)


def squared(
    e_step: Callable[[Params], tuple[Soft, float]],
    m_step: Callable[[Soft, Params], Params],
    to_vector: Callable[[Params], Tensor],
    from_vector: Callable[[Tensor], Params],
) -> Callable[[Soft, Params], Params]:
    """An M-step for slow problems: two steps of EM, then a leap along them, taken only where the bound is higher.

    Source: Varadhan & Roland 2008, scheme S3 of SQUAREM.
    """

    def step(soft: Soft, params: Params) -> Params:
        once = m_step(soft, params)
        soft_once, _ = e_step(once)
        twice = m_step(soft_once, once)
        start, first, second = map(to_vector, (params, once, twice))
        change, bend = first - start, second - 2 * first + start
        if not (length := float(bend.norm())) > 0:
            return twice
        stride = max(1.0, float(change.norm()) / length)
        leap = from_vector(start + 2 * stride * change + stride**2 * bend)
        return leap if e_step(leap)[1] > e_step(twice)[1] else twice

    return step


def best_of(
    starts: Iterable[Params], run: Callable[[Params], EMResult[Params, Soft]]
) -> tuple[EMResult[Params, Soft], list[float]]:
    """EM from every start: the end with the highest bound, and the bounds of all of them in nats."""
    ends = [run(start) for start in starts]
    return max(ends, key=lambda end: end.bound), [end.bound for end in ends]
