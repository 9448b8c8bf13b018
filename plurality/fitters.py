"""Fitting shared weights and users' codes together, with the weight decay chosen on items never trained on.

The objective is a sum, never a mean of means:
    Σ_i w_i nll(gap_i, y_i) + penalty(shared weights; decay) + Σ_u ½‖z_u‖² / sd².
It is computed in full at every step: features once an item, then one gather a comparison, so that weights are
exactly repetitions, row order is irrelevant, and a mapped embedding is read front to back.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from plurality.codes import Posterior, Prior, laplace
from plurality.comparisons import Comparisons
from plurality.errors import InputError
from plurality.heads import Head
from plurality.keys import uniform
from plurality.links import nll
from plurality.optimisers import adam, lbfgs
from plurality.progress import Bar, stages
from plurality.splits import folds_apart
from plurality.tensors import Tensors, to_tensor

Build = Callable[[torch.Generator], Head]

ENOUGH = 30  # comparisons on each side, below which holding items out says nothing
SPREADS = (1.0, 0.3, 0.1, 0.03, 0.01, 1e-4)  # shares of the empirical variance of codes


@dataclass(frozen=True)
class Trace:
    """What happened in a fit: a row a stage with its decay, training loss and held-out nats a comparison."""

    rows: list[dict[str, float | str]] = field(default_factory=list)

    def add(self, stage: str, decay: float, loss: float, held_out: float = math.nan) -> None:
        """Append one stage."""
        self.rows.append({"stage": stage, "decay": decay, "loss": loss, "held_out": held_out})


@dataclass(frozen=True)
class Plan:
    """How a fit is run; the defaults are the product's one setting.

    decays       grid of weight decays, weak to strong: prior precision of the weights over their fan-in
    code_sd      prior sd of codes (log-odds of weights) while shared weights are learned
    n_init       random starts, the best on held-out items is kept
    start        where the walk over decays begins
    convex       the objective is convex in the shared weights: L-BFGS to the optimum, no restarts
    steps        optimiser steps of the first stage, of each later stage, and of the last fit on everything
    select       comparisons that settings are chosen on, at the most; users beyond are left to the last fit
    """

    decays: tuple[float, ...] = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
    start: float = 3.0
    code_sd: float = 1.0
    n_init: int = 1
    convex: bool = False
    steps: tuple[int, int, int] = (70, 25, 50)
    rate: float = 0.1
    holdout: float = 0.25
    select: int = 60_000

    def fixed(self, decay: float | None) -> "Plan":
        """The same plan at one given decay; None leaves the choice to held-out items."""
        return self if decay is None else replace(self, decays=(decay,), start=decay)


@dataclass(frozen=True)
class Fitted:
    """What a fit returns: the head, the prior over codes, the posterior of the users in `data`, the trace."""

    head: Head
    prior: Prior
    posterior: Posterior
    trace: Trace


def fit(
    build: Build, data: Comparisons, plan: Plan, *, seed: int, device: str = "cpu", progress: bool = False
) -> Fitted:
    """Choose decay and code prior on held-out items, refit on everything, infer every user's code.

    Raises InputError when there is nothing to fit on or a head needs prompts that are not embedded.
    """
    if not len(data):
        raise InputError(f"{data.source}: no comparison to fit on")
    trace = Trace()
    with stages("fit", plan.n_init + 5, show=progress) as bar:
        head, decay, spread = _choose(build, data, plan, seed, device, trace, bar)
        bar("all comparisons")
        joint = Joint(head, data, plan, spread)
        trace.add("refit", decay, joint.minimise(decay, plan.steps[2], plan.rate / 2))
        bar("codes of users")
        prior, posterior = joint.infer(spread)
    return Fitted(head.cpu().requires_grad_(False).eval(), prior, posterior, trace)


class Joint:
    """A head and its users' codes on one set of comparisons, fitted together."""

    def __init__(self, head: Head, data: Comparisons, plan: Plan, spread: float = 1.0) -> None:
        self.head, self.plan = head, plan
        self.rows = Tensors.of(data, head)
        self.present = torch.as_tensor(data.present)
        self.codes = next(head.parameters()).new_zeros(data.users.height, head.n_codes)
        self.sd = plan.code_sd * math.sqrt(spread)

    def minimise(self, decay: float, steps: int, rate: float) -> float:
        """Lower the joint objective from where head and codes stand; returns nats a comparison."""
        rows, head = self.rows, self.head
        total = float(rows.weight.sum())
        free = head.n_codes > 0 and self.sd > 0
        codes = self.codes.requires_grad_(free)

        def loss() -> Tensor:
            data = (rows.weight * nll(rows.gap(head, codes), rows.label)).sum()
            penalty = head.penalty(decay)
            if free:
                penalty = penalty + codes.square().sum() / (2 * self.sd**2)
            return (data + penalty) / total

        parameters = [*head.parameters(), codes] if free else list(head.parameters())
        if self.plan.convex:
            value = lbfgs(loss, parameters, steps=5 * steps)
        else:
            value = adam(loss, parameters, steps=steps, rate=rate)
        self.codes = codes.detach()
        if not math.isfinite(value):
            raise InputError("the fit diverged: look for embeddings of very unequal size, or standardise them")
        return value

    def infer(self, spread: float = 1.0) -> tuple[Prior, Posterior]:
        """Empirical-Bayes prior over codes, its covariance times `spread`, and every user's posterior under it."""
        prior, posterior = self.empirical_prior()
        if spread != 1.0:
            prior = prior.scaled(max(spread, 1e-6))
        return prior, self.posterior(prior, start=posterior.codes)

    def empirical_prior(self, rounds: int = 2) -> tuple[Prior, Posterior]:
        """A Gaussian population fitted to the users by a few EM rounds, started from the training prior."""
        head, seen = self.head, self.present
        codes = self.codes.double().cpu()
        prior = Prior(head.mean_code(codes[seen]), Prior.isotropic(head.n_codes, self.plan.code_sd).precision)
        for _ in range(rounds):
            posterior = self.posterior(prior, start=codes, tol=1e-2)
            codes = posterior.codes
            prior = prior.updated(codes[seen], posterior.covariance[seen], head.mean_code(codes[seen]))
        return prior, posterior

    def posterior(self, prior: Prior, *, start: Tensor, tol: float = 1e-6) -> Posterior:
        """Laplace posterior of every user's code on these comparisons."""
        head = self.head
        evidence = self.rows.evidence(head)
        return laplace(double_utility(head), evidence, prior, len(self.codes), start=start, tol=tol)

    def held_out(self, other: Tensors, codes: Tensor | None = None) -> float:
        """Mean nats of other comparisons by the same users, under their present or the given codes."""
        codes = self.codes if codes is None else codes.to(self.codes)
        with torch.no_grad():
            loss = other.weight * nll(other.gap(self.head, codes), other.label)
            return float(loss.double().sum() / other.weight.double().sum())


def double_utility(head: Head) -> Callable[[Tensor, Tensor], Tensor]:
    """The head's utility with its parameters in double precision on the CPU, where codes are inferred."""
    return copy.deepcopy(head).cpu().double().requires_grad_(False).utility


def _choose(
    build: Build, data: Comparisons, plan: Plan, seed: int, device: str, trace: Trace, bar: Bar
) -> tuple[Head, float, float]:
    """A warm head, the decay and the spread of the code prior that predict held-out items best."""
    part = _users_up_to(data, plan.select, seed)
    train, valid = folds_apart(part, plan.holdout, seed)
    if min(train.sum(), valid.sum()) < ENOUGH:
        bar("first stage")
        trace.add("too few comparisons to hold items out: the default decay is used", plan.start, math.nan)
        head = _started(build, data, seed, device)
        Joint(head, data, plan).minimise(plan.start, plan.steps[0], plan.rate)
        return head, plan.start, 1.0
    joints: list[tuple[float, Joint]] = []
    for start in range(plan.n_init):
        bar(f"start {start + 1} of {plan.n_init}")
        joint = Joint(_started(build, part, seed + start, device), part.take(train), plan)
        other = Tensors.of(part.take(valid), joint.head)
        loss = joint.minimise(plan.start, plan.steps[0], plan.rate)
        value = joint.held_out(other)
        trace.add(f"start {start + 1}", plan.start, loss, value)
        joints.append((value, joint))
    value, best = min(joints, key=lambda pair: pair[0])
    bar("weight decay")
    decay = _walk_decays(best, other, value, plan, trace)
    bar("prior of users")
    return best.head, decay, _choose_spread(best, other, trace, decay)


def _walk_decays(joint: Joint, other: Tensors, value: float, plan: Plan, trace: Trace) -> float:
    """Go weaker, and if that does not help stronger, as long as held-out items are predicted better.

    The decay returned is the minimum of the parabola through the best point and its neighbours in log decay,
    which the last fit is then run at.
    """
    tried = {plan.start: value}
    best = (value, plan.start, copy.deepcopy(joint.head.state_dict()), joint.codes)
    weaker = [d for d in plan.decays[::-1] if d < plan.start]
    stronger = [d for d in plan.decays if d > plan.start]
    for path in (weaker, stronger):
        for decay in path:
            loss = joint.minimise(decay, plan.steps[1], plan.rate / 2)
            tried[decay] = value = joint.held_out(other)
            trace.add("decay", decay, loss, value)
            if value >= best[0]:
                break
            best = (value, decay, copy.deepcopy(joint.head.state_dict()), joint.codes)
        joint.head.load_state_dict(best[2])
        joint.codes = best[3]
        if best[1] != plan.start:
            break
    return _vertex(tried, best[1])


def _vertex(tried: dict[float, float], best: float) -> float:
    """Vertex, in log decay, of the parabola through the best decay and its tried neighbours; or the best itself."""
    grid = sorted(tried)
    i = grid.index(best)
    if not 0 < i < len(grid) - 1:
        return best
    x = np.log(grid[i - 1 : i + 2])
    curve, slope, _ = np.polyfit(x, [tried[d] for d in grid[i - 1 : i + 2]], 2)
    return float(np.exp(np.clip(-slope / (2 * curve), x[0], x[2]))) if curve > 0 else best


def _choose_spread(joint: Joint, other: Tensors, trace: Trace, decay: float) -> float:
    """How far codes may lie from the population's: a share of the empirical variance, down to not at all."""
    if not joint.head.n_codes:
        return 1.0
    prior, posterior = joint.empirical_prior()
    codes, values = posterior.codes, {}
    for spread in SPREADS:
        codes = joint.posterior(prior.scaled(spread), start=codes, tol=1e-3).codes
        values[spread] = joint.held_out(other, codes)
        trace.add(f"spread {spread:g}", decay, math.nan, values[spread])
    return min(values, key=lambda s: values[s])


def _started(build: Build, data: Comparisons, seed: int, device: str) -> Head:
    """A head at its random start, its input scale learned from an even sample of comparisons."""
    head = build(torch.Generator().manual_seed(seed))
    like = next(head.parameters())
    rows = np.argsort(uniform(data.item_keys[data.first], 0))[:20_000]
    a, b = data.first[rows], data.second[rows]
    prompts = to_tensor(data.prompts[data.prompt[a]], like) if head.uses_prompts and data.prompts is not None else None
    head.standardise(to_tensor(data.items[a], like), to_tensor(data.items[b], like), prompts)
    return head.to(device)


def _users_up_to(data: Comparisons, limit: int, seed: int) -> Comparisons:
    """Whole users, in a random order that rows do not change, until `limit` comparisons are reached."""
    if len(data) <= limit:
        return data
    order = np.argsort(uniform(data.user_keys(), seed))
    count = np.bincount(data.user, minlength=len(order))[order]
    keep = np.zeros(len(order), dtype=bool)
    keep[order[np.cumsum(count) <= limit]] = True
    return data.take(keep[data.user])
