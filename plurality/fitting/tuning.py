"""Choosing candidate, weight decay and spread of the code prior on items that were never trained on.

Held-out items, not held-out pairs of the same items: where items recur, pairs of known items make validation lie.
A small set gives few held-out comparisons, so it is split several times and every choice is made on all splits.
"""

import copy
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from plurality.data.comparisons import Comparisons
from plurality.data.keys import uniform
from plurality.data.splits import NewItemsFor, folds_apart
from plurality.deprecation import renamed
from plurality.fitting.objective import FIRST, LATER, Joint, Plan
from plurality.io.progress import Bar
from plurality.reward.fitted import Trace
from plurality.reward.heads import Head, Pooled
from plurality.reward.tensors import Tensors

Build = Callable[[torch.Generator], Head]

CLEARLY = 0.93  # a head this share of the pooled head's nats needs no further candidates
ENOUGH = 30  # comparisons on each side, below which holding items out says nothing
ENOUGH_POOLED = 40_000  # comparisons that fix one direction well enough for a mark
MIDDLING = 20.0  # a decay that serves a pooled head on most embeddings
SPREADS = (1.0, 0.3, 0.1, 0.03, 0.01, 1e-4)  # shares of the empirical variance of codes


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


@renamed(new_to="new_items_for")
@dataclass(frozen=True)
class Run:
    """The arguments of `fit` that every family shares.

    seed            of every random start and inner split
    new_items_for   whom the items are new to on which settings are chosen: "anybody" (default) asks how the reward does
                    on responses never seen, "user" how it does on items this user has not compared but others have
    device          "cpu" (default) or a torch device such as "cuda"
    progress        whether to show a progress bar
    """

    seed: int = 0
    new_items_for: NewItemsFor = "anybody"
    device: str = "cpu"
    progress: bool = False

    @property
    def new_to(self) -> NewItemsFor:
        """Former name of `new_items_for`."""
        warnings.warn("Run.new_to is now Run.new_items_for; the old name goes in 0.3", DeprecationWarning, stacklevel=2)
        return self.new_items_for


@dataclass(frozen=True)
class Choice:
    """Where the last fit starts: a warm head with codes, its decay, and the share of the codes' variance to allow."""

    warm: Joint
    decay: float
    spread: float


@dataclass(frozen=True)
class Split:
    """One inner split, and what one linear reward for everybody does on it: its weights (d,) and held-out nats."""

    inner: Comparisons
    outer: Comparisons
    weights: Tensor
    pooled: float


class Trial:
    """One candidate from one random start, on every inner split at once; held-out nats are means over all of them."""

    def __init__(
        self, candidate: Candidate, data: Comparisons, splits: Sequence[Split], plan: Plan, run: Run, restart: int
    ) -> None:
        self.candidate, self.decay, self.value = candidate, candidate.decay, math.inf
        heads = [started(candidate, data, run.seed + restart, run.device, s.weights) for s in splits]
        self.joints = [Joint(h, s.inner, plan, candidate.code_sd) for h, s in zip(heads, splits, strict=True)]
        self.others = [Tensors.of(s.outer, h) for h, s in zip(heads, splits, strict=True)]

    def minimise(self, decay: float, stage: int) -> float:
        """Fit every split on; the mean training loss."""
        return float(np.mean([joint.minimise(decay, stage) for joint in self.joints]))

    def held_out(self, codes: Sequence[Tensor | None] | None = None) -> float:
        """Mean nats of the held-out comparisons, under present or given codes."""
        given = codes or [None] * len(self.joints)
        nats = sum(j.held_out(o, z) for j, o, z in zip(self.joints, self.others, given, strict=True))
        return nats / sum(float(o.weight.sum()) for o in self.others)

    def state(self) -> list[tuple[dict[str, Tensor], Tensor]]:
        """A copy of all heads and codes."""
        return [(copy.deepcopy(joint.head.state_dict()), joint.codes) for joint in self.joints]

    def restore(self, state: list[tuple[dict[str, Tensor], Tensor]]) -> None:
        """Go back to a copy."""
        for joint, (weights, codes) in zip(self.joints, state, strict=True):
            joint.head.load_state_dict(weights)
            joint.codes = codes


def choose(candidates: Sequence[Candidate], data: Comparisons, plan: Plan, run: Run, trace: Trace, bar: Bar) -> Choice:
    """The candidate, decay and spread that predict held-out items best."""
    splits = _splits(data, plan, run, trace)
    if not splits:
        default = candidates[-1]  # the stiffest: with little to go by, stay close to one reward for everybody
        bar("first stage")
        trace.add("too few comparisons to hold items out: the default decay is used", default.decay, math.nan)
        weights, _ = pooled(data, None, run)
        joint = Joint(started(default, data, run.seed, run.device, weights), data, plan, default.code_sd)
        joint.minimise(default.decay, FIRST)
        return Choice(joint, default.decay, 1.0)
    mark = CLEARLY * float(np.average([s.pooled for s in splits], weights=[s.outer.weight.sum() for s in splits]))
    best: Trial | None = None
    for candidate in candidates:
        if best is not None and best.value < mark:
            break
        for restart in range(plan.n_init):
            bar(f"{candidate.label}, start {restart + 1} of {plan.n_init}")
            trial = Trial(candidate, data, splits, plan, run, restart)
            loss = trial.minimise(candidate.decay, FIRST)
            trial.value = trial.held_out()
            trace.add(candidate.label, candidate.decay, loss, trial.value)
            if best is None or trial.value < best.value:
                best = trial
    assert best is not None  # there is always a candidate
    bar("weight decay")
    decay = walk_decays(best, plan, trace)
    bar("prior of users")
    return Choice(best.joints[0], decay, choose_spread(best, decay, trace))


def _splits(data: Comparisons, plan: Plan, run: Run, trace: Trace) -> list[Split]:
    """The inner splits, with what a pooled head does on each."""
    splits = []
    for inner, outer in inner_parts(data, plan, run):
        splits.append(Split(inner, outer, *pooled(inner, outer, run)))
        trace.add("pooled", MIDDLING, math.nan, splits[-1].pooled)
    return splits


def inner_parts(data: Comparisons, plan: Plan, run: Run) -> list[tuple[Comparisons, Comparisons]]:
    """Parts to fit on and to choose by, items apart, until `plan.held_rows` are held out; none if there are too few."""
    parts: list[tuple[Comparisons, Comparisons]] = []
    most = min(plan.splits, round(1 / plan.holdout)) if len(plan.decays) > 1 else 1
    for fold in range(most):
        train, valid = folds_apart(data, plan.holdout, run.seed, fold, new_items_for=run.new_items_for)
        if min(train.sum(), valid.sum()) < ENOUGH:
            continue
        parts.append((data.take(train), data.take(valid)))
        if sum(len(outer) for _, outer in parts) >= plan.held_rows:
            break
    return parts


def pooled(inner: Comparisons, outer: Comparisons | None, run: Run) -> tuple[Tensor, float]:
    """Weights (d,) and held-out nats of one linear reward for everybody, at a middling decay: the mark to beat."""
    head = Pooled(inner.dim, hidden=0, temperature=False, generator=torch.Generator())
    standardise(head, inner)
    some = np.arange(len(inner)) % math.ceil(len(inner) / ENOUGH_POOLED) == 0
    joint = Joint(head.to(run.device), inner.take(some), Plan(convex=True, steps=(10, 10, 10)))
    joint.minimise(MIDDLING, FIRST)
    value = math.nan if outer is None else joint.held_out(Tensors.of(outer, head)) / float(outer.weight.sum())
    return head.projector.direction(), value


def walk_decays(trial: Trial, plan: Plan, trace: Trace) -> float:
    """Go weaker, and if that does not help stronger, as long as held-out items are predicted better.

    The decay returned is the minimum of the parabola through the best point and its neighbours in log decay,
    which the last fit is then run at. The trial is left where it was best.
    """
    start = trial.decay
    if len(plan.decays) < 2:
        return start
    tried = {start: trial.value}
    best = trial.state()
    weaker = [d for d in plan.decays[::-1] if d < start]
    stronger = [d for d in plan.decays if d > start]
    for path in (weaker, stronger):
        for decay in path:
            loss = trial.minimise(decay, LATER)
            tried[decay] = value = trial.held_out()
            trace.add("decay", decay, loss, value)
            if value >= trial.value:
                break
            trial.value, trial.decay, best = value, decay, trial.state()
        trial.restore(best)
        if trial.decay != start:
            break
    return vertex(tried, trial.decay)


def descend(nats: Callable[[float], float], decays: Sequence[float], start: float) -> float:
    """The decay at which held-out nats stop falling: weaker ones first, and if that does not help stronger ones."""
    best = (nats(start), start)
    for path in ([d for d in decays[::-1] if d < start], [d for d in decays if d > start]):
        for decay in path:
            value = nats(decay)
            if value >= best[0]:
                break
            best = (value, decay)
        if best[1] != start:
            break
    return best[1]


def vertex(tried: dict[float, float], best: float) -> float:
    """Vertex, in log decay, of the parabola through the best decay and its tried neighbours; or the best itself."""
    grid = sorted(tried)
    i = grid.index(best)
    if not 0 < i < len(grid) - 1:
        return best
    x = np.log(grid[i - 1 : i + 2])
    curve, slope, _ = np.polyfit(x, [tried[d] for d in grid[i - 1 : i + 2]], 2)
    return float(np.exp(np.clip(-slope / (2 * curve), x[0], x[2]))) if curve > 0 else best


def choose_spread(trial: Trial, decay: float, trace: Trace) -> float:
    """How far codes may lie from the population's: a share of the empirical variance, down to not at all."""
    if not trial.joints[0].head.n_codes:
        return 1.0
    priors, posteriors = zip(*(joint.empirical_prior() for joint in trial.joints), strict=True)
    codes, best = [posterior.codes for posterior in posteriors], (math.inf, 1.0)
    for spread in SPREADS:
        codes = [
            joint.posterior(prior.scaled(spread), start=start, tol=1e-3).codes
            for joint, prior, start in zip(trial.joints, priors, codes, strict=True)
        ]
        value = trial.held_out(codes)
        trace.add(f"spread {spread:g}", decay, math.nan, value)
        if value >= best[0]:
            break
        best = (value, spread)
    return best[1]


def started(candidate: Candidate, data: Comparisons, seed: int, device: str, weights: Tensor | None = None) -> Head:
    """A head at its random start, with its input scale and what it takes over from the pooled head."""
    head = candidate.build(torch.Generator().manual_seed(seed))
    standardise(head, data)
    if candidate.take_over is not None and weights is not None:
        candidate.take_over(head, weights.cpu())
    return head.to(device)


def standardise(head: Head, data: Comparisons) -> None:
    """Give the head its input scale, learned from an even sample of comparisons."""
    sample = Tensors.of(data, head, np.argsort(uniform(data.item_keys[data.first], 0))[:20_000])
    prompts = None if sample.prompts is None else sample.prompts[sample.first]
    head.standardise(sample.items[sample.first], sample.items[sample.second], prompts, sample.weight)
