"""Fitting shared weights and users' codes together, with the weight decay chosen on items never trained on.

The objective is a sum, never a mean of means:
    Σ_i w_i nll(gap_i, y_i) + penalty(shared weights; decay) + Σ_u ½‖z_u‖² / sd².
It is computed in full at every step: features once an item, then one gather a comparison, so that weights are
exactly repetitions, row order is irrelevant, and a mapped embedding is read front to back.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from plurality.codes import Posterior, Prior, laplace
from plurality.comparisons import Comparisons
from plurality.errors import InputError
from plurality.heads import Head, Pooled
from plurality.keys import uniform
from plurality.links import nll
from plurality.optimisers import adam, lbfgs
from plurality.progress import Bar, stages
from plurality.splits import folds_apart
from plurality.tensors import Tensors, to_tensor

Build = Callable[[torch.Generator], Head]
NewTo = Literal["anybody", "user"]

CLEARLY = 0.97  # a head this share of the pooled head's nats needs no further candidates
MIDDLING = 30.0  # a decay that serves a pooled head on most embeddings
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
class Candidate:
    """A head to try, the weight decay its walk begins at, and what it takes over from the pooled head's weights."""

    label: str
    build: Build
    decay: float
    take_over: Callable[[Head, Tensor], None] | None = None


@dataclass(frozen=True)
class Plan:
    """How a fit goes about it; the defaults are the product's one setting.

    decays       grid of weight decays, weak to strong: prior precision of the weights over their fan-in
    code_sd      prior sd of codes (log-odds of weights) while shared weights are learned
    n_init       random starts, the best on held-out items is kept
    convex       the objective is convex in the shared weights: L-BFGS to the optimum
    steps        optimiser steps of a first stage, of each later stage, and of the last fit on everything
    select       comparisons that settings are chosen on, at the most; users beyond are left to the last fit
    """

    decays: tuple[float, ...] = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4)
    code_sd: float = 1.0
    n_init: int = 1
    convex: bool = False
    steps: tuple[int, int, int] = (70, 25, 50)
    rate: float = 0.1
    holdout: float = 0.25
    select: int = 60_000


@dataclass(frozen=True)
class Run:
    """The arguments of `fit` that every family shares.

    new_to       whom the items are new to on which settings are chosen: "anybody" asks how the reward does on
                 responses never seen, "user" how it does on items this user has not compared but others have
    """

    seed: int = 0
    new_to: NewTo = "anybody"
    device: str = "cpu"
    progress: bool = False


@dataclass(frozen=True)
class Fitted:
    """What a fit returns: the head, the prior over codes, the posterior of the users in `data`, the trace."""

    head: Head
    prior: Prior
    posterior: Posterior
    trace: Trace


def fit(candidates: Sequence[Candidate], data: Comparisons, plan: Plan, run: Run) -> Fitted:
    """Choose candidate, decay and code prior on held-out items, refit on everything, infer every user's code.

    Raises InputError when there is nothing to fit on or a head needs prompts that are not embedded.
    """
    if not len(data):
        raise InputError(f"{data.source}: no comparison to fit on")
    data, trace = data.in_key_order(), Trace()
    with stages("fit", len(candidates) * plan.n_init + 4, show=run.progress) as bar:
        head, decay, spread = _choose(candidates, data, plan, run, trace, bar)
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
        weight, label = rows.weight.double(), rows.label.double()
        total = float(weight.sum())
        free = head.n_codes > 0 and self.sd > 0
        codes = self.codes.requires_grad_(free)

        def loss() -> Tensor:
            data = (weight * nll(rows.gap(head, codes).double(), label)).sum()  # a line search sees float32 sums step
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
    candidates: Sequence[Candidate], data: Comparisons, plan: Plan, run: Run, trace: Trace, bar: Bar
) -> tuple[Head, float, float]:
    """A warm head, the decay and the spread of the code prior that predict held-out items best."""
    part = _users_up_to(data, plan.select, run.seed)
    train, valid = folds_apart(part, plan.holdout, run.seed, anybody=run.new_to == "anybody")
    default = candidates[-1]  # the stiffest: with little to go by, stay close to one reward for everybody
    if min(train.sum(), valid.sum()) < ENOUGH:
        bar("first stage")
        trace.add("too few comparisons to hold items out: the default decay is used", default.decay, math.nan)
        weights, _ = _pooled(data, None, run, trace)
        head = _started(default, data, run.seed, run.device, weights)
        Joint(head, data, plan).minimise(default.decay, plan.steps[0], plan.rate)
        return head, default.decay, 1.0
    inner, outer = part.take(train), part.take(valid)
    weights, nats = _pooled(inner, outer, run, trace)
    tried: list[tuple[float, float, Joint]] = []
    for candidate in candidates:
        if any(value < CLEARLY * nats for value, _, _ in tried):
            break
        for restart in range(plan.n_init):
            bar(f"{candidate.label}, start {restart + 1} of {plan.n_init}")
            head = _started(candidate, part, run.seed + restart, run.device, weights)
            joint = Joint(head, inner, plan)
            loss = joint.minimise(candidate.decay, plan.steps[0], plan.rate)
            value = joint.held_out(Tensors.of(outer, joint.head))
            trace.add(candidate.label, candidate.decay, loss, value)
            tried.append((value, candidate.decay, joint))
    value, decay, joint = min(tried, key=lambda t: t[0])
    other = Tensors.of(outer, joint.head)
    bar("weight decay")
    decay = _walk_decays(joint, other, value, decay, plan, trace)
    bar("prior of users")
    return joint.head, decay, _choose_spread(joint, other, trace, decay)


def _pooled(inner: Comparisons, outer: Comparisons | None, run: Run, trace: Trace) -> tuple[Tensor, float]:
    """Weights (d,) and held-out nats of one linear reward for everybody, at a middling decay: the mark to beat."""

    def build(generator: torch.Generator) -> Head:
        return Pooled(inner.dim, hidden=0, temperature=False, generator=generator)

    head = _started(Candidate("pooled", build, MIDDLING), inner, 0, run.device)
    joint = Joint(head, inner, Plan(convex=True))
    loss = joint.minimise(MIDDLING, 10, 1.0)
    value = math.nan if outer is None else joint.held_out(Tensors.of(outer, head))
    trace.add("pooled", MIDDLING, loss, value)
    return next(head.parameters()).detach()[0], value


def _walk_decays(joint: Joint, other: Tensors, value: float, start: float, plan: Plan, trace: Trace) -> float:
    """Go weaker, and if that does not help stronger, as long as held-out items are predicted better.

    The decay returned is the minimum of the parabola through the best point and its neighbours in log decay,
    which the last fit is then run at.
    """
    if len(plan.decays) < 2:
        return start
    tried = {start: value}
    best = (value, start, copy.deepcopy(joint.head.state_dict()), joint.codes)
    weaker = [d for d in plan.decays[::-1] if d < start]
    stronger = [d for d in plan.decays if d > start]
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
        if best[1] != start:
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
    codes, best = posterior.codes, (math.inf, 1.0)
    for spread in SPREADS:
        codes = joint.posterior(prior.scaled(spread), start=codes, tol=1e-3).codes
        value = joint.held_out(other, codes)
        trace.add(f"spread {spread:g}", decay, math.nan, value)
        if value >= best[0]:
            break
        best = (value, spread)
    return best[1]


def _started(candidate: Candidate, data: Comparisons, seed: int, device: str, weights: Tensor | None = None) -> Head:
    """A head at its random start, its input scale learned from an even sample of comparisons."""
    head = candidate.build(torch.Generator().manual_seed(seed))
    like = next(head.parameters())
    rows = np.argsort(uniform(data.item_keys[data.first], 0))[:20_000]
    a, b = data.first[rows], data.second[rows]
    prompts = to_tensor(data.prompts[data.prompt[a]], like) if head.uses_prompts and data.prompts is not None else None
    weight = to_tensor(data.weight[rows], like)
    head.standardise(to_tensor(data.items[a], like), to_tensor(data.items[b], like), prompts, weight)
    if candidate.take_over is not None and weights is not None:
        candidate.take_over(head, weights.to(like))
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
