"""Fitting shared weights and users' codes together, with the weight decay chosen on items never trained on.

The objective is a sum, never a mean of means:
    Σ_i w_i nll(gap_i, y_i) + penalty(shared weights; decay) + Σ_u ½‖z_u‖² / sd².
It is computed in full at every step while that is cheap: features once an item, then one gather a comparison, so
that weights are exactly repetitions and row order is irrelevant. Large sets go in batches, as fast as many steps.
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
from plurality.embeddings import check_finite
from plurality.errors import InputError
from plurality.heads import Head, Pooled, Projector
from plurality.keys import uniform
from plurality.optimisers import adam, lbfgs, threads_for
from plurality.progress import Bar, stages
from plurality.splits import folds_apart
from plurality.tensors import Tensors

Build = Callable[[torch.Generator], Head]
NewTo = Literal["anybody", "user"]

CLEARLY = 0.93  # a head this share of the pooled head's nats needs no further candidates
CHEAP = 65_536  # items or comparisons, below which every step looks at all of them
FIRST, LATER, LAST = range(3)  # stages of a fit: from a random start, along the decays, on everything
ENOUGH_POOLED = 40_000  # comparisons that fix one direction well enough for a mark
MIDDLING = 20.0  # a decay that serves a pooled head on most embeddings
PRECISE = 1 << 24  # embedding values up to which an optimum is sought in double precision, 128 MB of them
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
    """A head to try, and where its walk begins.

    decay       prior precision of the maps' weights
    code_sd     prior sd of codes while shared weights are learned: small keeps everybody near the population
    take_over   what it takes over from the pooled head's weights (d,)
    """

    label: str
    build: Build
    decay: float
    code_sd: float = 1.0
    take_over: Callable[[Head, Tensor], None] | None = None


@dataclass(frozen=True)
class Plan:
    """How a fit goes about it; the defaults are the product's one setting.

    decays       grid of weight decays, weak to strong: prior precision of the weights over their fan-in
    n_init       random starts, the best on held-out items is kept
    convex       the objective is convex in the shared weights: L-BFGS to the optimum
    steps        optimiser steps of a first stage, of each later stage, and of the last fit on everything
    rate         learning rate of codes and prototypes; maps, a sum over many inputs each, take ten times that
    batch        comparisons a step where looking at all of them would be dear, and `batched_steps` to go with it
    """

    decays: tuple[float, ...] = (0.06, 0.2, 0.6, 2.0, 6.0, 20.0, 60.0, 200.0, 600.0, 2e3, 6e3, 2e4)
    n_init: int = 1
    convex: bool = False
    steps: tuple[int, int, int] = (70, 25, 50)
    batched_steps: tuple[int, int, int] = (400, 60, 150)
    rate: float = 0.15
    holdout: float = 0.25
    batch: int = 8_192


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

    Raises InputError when there is nothing to fit on, an embedding is not finite, or a head needs prompts that are
    not embedded.
    """
    if not len(data):
        raise InputError(f"{data.source}: no comparison to fit on")
    check_finite(data.items, data.source)
    data, trace = data.in_key_order(), Trace()
    items = len(data.items) if len(data.items) <= CHEAP else 2 * plan.batch  # looked at in a step
    total = len(candidates) * plan.n_init + 4
    with threads_for(items * data.dim * 16.0), stages("fit", total, show=run.progress) as bar:
        chosen, decay, spread = _choose(candidates, data, plan, run, trace, bar)
        bar("all comparisons")
        joint = Joint(chosen.head, data, plan, chosen.sd * math.sqrt(spread))
        joint.codes = chosen.codes
        trace.add("refit", decay, joint.minimise(decay, LAST))
        bar("codes of users")
        prior, posterior = joint.infer(spread)
    return Fitted(joint.head.cpu().float().requires_grad_(False).eval(), prior, posterior, trace)


def _is_cheap(rows: Tensors, plan: Plan) -> bool:
    """Whether to look at everything in every step: few items or comparisons, or a line search that needs it."""
    return plan.convex or len(rows.items) <= CHEAP or len(rows.first) <= CHEAP


def _batches(rows: Tensors, size: int) -> Callable[[int], Tensors]:
    """Batches by step, from a fresh shuffle each epoch."""
    per_epoch = math.ceil(len(rows.first) / size)

    def batch(step: int) -> Tensors:
        epoch, place = divmod(step, per_epoch)
        order = torch.randperm(len(rows.first), generator=torch.Generator().manual_seed(epoch))
        return rows.batch(order[place * size : (place + 1) * size].to(rows.first.device))

    return batch


class Joint:
    """A head and its users' codes on one set of comparisons, fitted together."""

    def __init__(self, head: Head, data: Comparisons, plan: Plan, code_sd: float = 1.0) -> None:
        self.head, self.plan, self.sd = head, plan, code_sd
        if plan.convex and data.items.size <= PRECISE and next(head.parameters()).device.type != "mps":
            head.double()
        self.rows = Tensors.of(data, head)
        self.present = torch.as_tensor(data.present)
        self.codes = next(head.parameters()).new_zeros(data.users.height, head.n_codes)

    def minimise(self, decay: float, stage: int) -> float:
        """Lower the joint objective from where head and codes stand; returns nats a comparison."""
        rows, head, plan = self.rows, self.head, self.plan
        total = float(rows.weight.sum())
        batch = None if _is_cheap(rows, plan) else _batches(rows, plan.batch)
        free = head.n_codes > 0 and self.sd > 0
        codes = self.codes.clone().requires_grad_(free)  # a copy: whoever kept the codes so far has them still

        def loss(step: int = 0) -> Tensor:
            part = rows if batch is None else batch(step)
            data = part.nll(head, codes).sum() * (total / float(part.weight.sum()))
            penalty = head.penalty(decay)
            if free:
                penalty = penalty + codes.square().sum() / (2 * self.sd**2)
            return (data + penalty) / total

        maps = [p for m in head.modules() if isinstance(m, Projector) for p in m.parameters()]
        others = [p for p in head.parameters() if all(p is not q for q in maps)] + ([codes] if free else [])
        steps = (plan.steps if batch is None else plan.batched_steps)[stage]
        if plan.convex:
            value = lbfgs(loss, [*maps, *others], steps=5 * steps)
        else:
            rate = plan.rate if stage == FIRST else plan.rate / 2
            value = adam(loss, [(maps, 10 * rate), (others, rate)], steps=steps)
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
        prior = Prior(head.mean_code(codes[seen]), Prior.isotropic(head.n_codes, self.sd).precision)
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
            return float(other.nll(self.head, codes).sum() / other.weight.sum())


def double_utility(head: Head) -> Callable[[Tensor, Tensor], Tensor]:
    """The head's utility with its parameters in double precision on the CPU, where codes are inferred."""
    return copy.deepcopy(head).cpu().double().requires_grad_(False).utility


def _choose(
    candidates: Sequence[Candidate], data: Comparisons, plan: Plan, run: Run, trace: Trace, bar: Bar
) -> tuple[Joint, float, float]:
    """A warm start, the decay and the spread of the code prior that predict held-out items best."""
    train, valid = folds_apart(data, plan.holdout, run.seed, anybody=run.new_to == "anybody")
    default = candidates[-1]  # the stiffest: with little to go by, stay close to one reward for everybody
    if min(train.sum(), valid.sum()) < ENOUGH:
        bar("first stage")
        trace.add("too few comparisons to hold items out: the default decay is used", default.decay, math.nan)
        weights, _ = _pooled(data, None, run, trace)
        head = _started(default, data, run.seed, run.device, weights)
        joint = Joint(head, data, plan, default.code_sd)
        joint.minimise(default.decay, FIRST)
        return joint, default.decay, 1.0
    inner, outer = data.take(train), data.take(valid)
    weights, nats = _pooled(inner, outer, run, trace)
    tried: list[tuple[float, float, Joint]] = []
    for candidate in candidates:
        if any(value < CLEARLY * nats for value, _, _ in tried):
            break
        for restart in range(plan.n_init):
            bar(f"{candidate.label}, start {restart + 1} of {plan.n_init}")
            head = _started(candidate, data, run.seed + restart, run.device, weights)
            joint = Joint(head, inner, plan, candidate.code_sd)
            loss = joint.minimise(candidate.decay, FIRST)
            value = joint.held_out(Tensors.of(outer, joint.head))
            trace.add(candidate.label, candidate.decay, loss, value)
            tried.append((value, candidate.decay, joint))
    value, decay, joint = min(tried, key=lambda t: t[0])
    other = Tensors.of(outer, joint.head)
    bar("weight decay")
    decay = _walk_decays(joint, other, value, decay, plan, trace)
    bar("prior of users")
    return joint, decay, _choose_spread(joint, other, trace, decay)


def _pooled(inner: Comparisons, outer: Comparisons | None, run: Run, trace: Trace) -> tuple[Tensor, float]:
    """Weights (d,) and held-out nats of one linear reward for everybody, at a middling decay: the mark to beat."""

    head = Pooled(inner.dim, hidden=0, temperature=False, generator=torch.Generator())
    _standardise(head, inner)
    some = np.arange(len(inner)) % math.ceil(len(inner) / ENOUGH_POOLED) == 0
    joint = Joint(head.to(run.device), inner.take(some), Plan(convex=True, steps=(10, 10, 10)))
    loss = joint.minimise(MIDDLING, FIRST)
    value = math.nan if outer is None else joint.held_out(Tensors.of(outer, head))
    trace.add("pooled", MIDDLING, loss, value)
    return head.projector.direction(), value


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
            loss = joint.minimise(decay, LATER)
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
    """A head at its random start, with its input scale and what it takes over from the pooled head."""
    head = candidate.build(torch.Generator().manual_seed(seed))
    _standardise(head, data)
    if candidate.take_over is not None and weights is not None:
        candidate.take_over(head, weights.cpu())
    return head.to(device)


def _standardise(head: Head, data: Comparisons) -> None:
    """Give the head its input scale, learned from an even sample of comparisons."""
    sample = Tensors.of(data, head, np.argsort(uniform(data.item_keys[data.first], 0))[:20_000])
    prompts = None if sample.prompts is None else sample.prompts[sample.first]
    head.standardise(sample.items[sample.first], sample.items[sample.second], prompts, sample.weight)
