"""Choosing candidate, weight decay and spread of the code prior on items that were never trained on.

Held-out items, not held-out pairs of the same items: where items recur, pairs of known items make validation lie.
A small set gives few held-out comparisons, so it is split several times and every choice is made on all splits.
"""

import copy
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plurality.arrays import Float
from plurality.data.comparisons import Comparisons
from plurality.data.keys import Keys, mix, uniform
from plurality.data.splits import NewItemsFor, folds_apart
from plurality.deprecation import renamed
from plurality.errors import InputWarning
from plurality.fitting.objective import FIRST, LATER, FitPlan, Objective
from plurality.fitting.search import vertex, walk, weaker_then_stronger
from plurality.io.progress import Bar
from plurality.reward.fitted import Trace
from plurality.reward.heads import Head, PooledHead
from plurality.reward.tensors import Tensors

Build = Callable[[torch.Generator], Head]

POOLED_RATIO = 0.93  # a head this share of the pooled head's nats needs no further candidates
MIN_INNER_ROWS = 30  # comparisons held out in all, below which they say nothing
MIN_SPLIT_ROWS = 10  # comparisons on each side of a split
SMALL_HELD_ROWS = 60  # comparisons held out in all by the splits of a small set: more splits gain nothing; at most
SMALL_SPLITS = 8
SPLIT_SEED = 7_919  # of all inner splits; not 0, or they would hold out again what a caller's split has held out
RANKED = 8  # dimensions whose ranks tell items apart
MAX_POOLED_ROWS = 40_000  # comparisons that fix one direction well enough for a mark
SCALE_ROWS = 20_000  # comparisons that the scale of inputs is learned from,
SCALE_VALUES, LEAST_SCALE_ROWS = 2_000_000, 1_000  # or as many of wide embeddings as make so many values, or these
POOLED_DECAY = 20.0  # a decay that serves a pooled head on most embeddings
SPREADS = (1.0, 0.3, 0.1, 0.03, 0.01, 1e-4)  # shares of the empirical variance of codes


@dataclass(frozen=True)
class Candidate:
    """A head to try, and where its walk begins.

    decay       prior precision of the maps' weights
    code_sd     prior sd of codes while shared weights are learned: small keeps users near the population
    take_over   what it takes over from the pooled head's weights (d,)
    """

    label: str
    build: Build
    decay: float
    code_sd: float = 1.0
    take_over: Callable[[Head, Comparisons, Tensor], None] | None = None


@renamed(new_to="new_items_for")
@dataclass(frozen=True)
class FitOptions:
    """The arguments of `fit` that every family shares.

    seed            of every random start
    new_items_for   whom the items are new to on which settings are chosen: "anybody" (default) asks how the reward does
                    on responses never seen, "user" how it does on items this user has not compared but others have
    device          "cpu" (default) or a torch device such as "cuda"
    progress        whether to show a progress bar
    diagnostics     whether to answer questions beside the fit, such as whether demographics help
    """

    seed: int = 0
    new_items_for: NewItemsFor = "anybody"
    device: str = "cpu"
    progress: bool = False
    diagnostics: bool = True

    @property
    def new_to(self) -> NewItemsFor:
        """Former name of `new_items_for`."""
        warnings.warn(
            "FitOptions.new_to is now new_items_for; the old name goes in 0.3", DeprecationWarning, stacklevel=2
        )
        return self.new_items_for


@dataclass(frozen=True)
class WarmStart:
    """Where the last fit starts: a warm head, codes (U, C) with their prior sd, decay, share of their variance."""

    head: Head
    codes: Tensor
    code_sd: float
    decay: float
    spread: float = 1.0

    @staticmethod
    def of(objective: Objective, decay: float, spread: float = 1.0) -> "WarmStart":
        """Where an objective stands."""
        return WarmStart(objective.head, objective.codes, objective.sd, decay, spread)


@dataclass(frozen=True)
class InnerSplit:
    """One inner split, and what one linear reward for all users does on it: its weights (d,) and held-out nats.

    Neither is there where nothing starts from it or is compared with it.
    """

    inner: Comparisons
    outer: Comparisons
    weights: Tensor | None = None
    pooled: float = math.nan


class CandidateFit:
    """One candidate from one random start, on every inner split at once; held-out nats are means over all of them."""

    def __init__(
        self,
        candidate: Candidate,
        data: Comparisons,
        splits: Sequence[InnerSplit],
        plan: FitPlan,
        run: FitOptions,
        restart: int,
    ) -> None:
        self.candidate, self.decay, self.value = candidate, candidate.decay, math.inf
        heads = [started(candidate, data, run.seed + restart, run.device, s.weights) for s in splits]
        self.objectives = [Objective(h, s.inner, plan, candidate.code_sd) for h, s in zip(heads, splits, strict=True)]
        self.others = [Tensors.of(s.outer, h) for h, s in zip(heads, splits, strict=True)]

    def minimise(self, decay: float, stage: int) -> float:
        """Fit every split on; the mean training loss."""
        return float(np.mean([objective.minimise(decay, stage) for objective in self.objectives]))

    def held_out(self, codes: Sequence[Tensor | None] | None = None) -> float:
        """Mean nats of the held-out comparisons, under present or given codes."""
        given = codes or [None] * len(self.objectives)
        nats = sum(j.held_out(o, z) for j, o, z in zip(self.objectives, self.others, given, strict=True))
        return nats / sum(float(o.weight.sum()) for o in self.others)

    def state(self) -> list[tuple[dict[str, Tensor], Tensor]]:
        """A copy of all heads and codes."""
        return [(copy.deepcopy(objective.head.state_dict()), objective.codes) for objective in self.objectives]

    def restore(self, state: list[tuple[dict[str, Tensor], Tensor]]) -> None:
        """Go back to a copy."""
        for objective, (weights, codes) in zip(self.objectives, state, strict=True):
            objective.head.load_state_dict(weights)
            objective.codes = codes


def choose(
    candidates: Sequence[Candidate], data: Comparisons, plan: FitPlan, run: FitOptions, trace: Trace, bar: Bar
) -> WarmStart:
    """The candidate, decay and spread that predict held-out items best."""
    if _is_given(candidates, data, plan):
        head = started(candidates[0], data, run.seed, run.device)
        return WarmStart(head, torch.zeros(data.users.height, 0), 1.0, candidates[0].decay)
    splits = _splits(candidates, data, plan, run, trace)
    if not splits:
        default = candidates[-1]  # the stiffest: with little to go by, stay close to one reward for all users
        bar("first stage")
        trace.add("too few comparisons to hold items out: the default decay is used", default.decay, math.nan)
        weights, _ = pooled(data, None, run)
        objective = Objective(started(default, data, run.seed, run.device, weights), data, plan, default.code_sd)
        objective.minimise(default.decay, FIRST)
        return WarmStart.of(objective, default.decay)
    mark = POOLED_RATIO * float(np.average([s.pooled for s in splits], weights=[s.outer.weight.sum() for s in splits]))
    best: CandidateFit | None = None
    for candidate in candidates:
        if best is not None and best.value < mark:
            break
        for restart in range(plan.n_init):
            bar(f"{candidate.label}, start {restart + 1} of {plan.n_init}")
            trial = CandidateFit(candidate, data, splits, plan, run, restart)
            loss = trial.minimise(candidate.decay, FIRST)
            trial.value = trial.held_out()
            trace.add(candidate.label, candidate.decay, loss, trial.value)
            if best is None or trial.value < best.value:
                best = trial
    assert best is not None  # there is always a candidate
    bar("weight decay")
    decay = walk_decays(best, plan, trace)
    bar("prior of users")
    return WarmStart.of(best.objectives[0], decay, choose_spread(best, decay, trace))


def _is_given(candidates: Sequence[Candidate], data: Comparisons, plan: FitPlan) -> bool:
    """Whether there is nothing to choose: one decay of a convex reward without codes, the same from every start."""
    if not plan.convex or len(candidates) > 1 or len(plan.decays) > 1:
        return False
    return candidates[0].build(torch.Generator()).n_codes == 0


def _splits(
    candidates: Sequence[Candidate], data: Comparisons, plan: FitPlan, run: FitOptions, trace: Trace
) -> list[InnerSplit]:
    """The inner splits, with what a pooled head does on each where candidates begin with it or have to be better."""
    if len(candidates) == 1 and candidates[0].take_over is None:
        return [InnerSplit(inner, outer) for inner, outer in inner_parts(data, plan, run)]
    splits = []
    for inner, outer in inner_parts(data, plan, run):
        splits.append(InnerSplit(inner, outer, *pooled(inner, outer, run)))
        trace.add("pooled", POOLED_DECAY, math.nan, splits[-1].pooled)
    return splits


def inner_parts(data: Comparisons, plan: FitPlan, run: FitOptions) -> list[tuple[Comparisons, Comparisons]]:
    """Parts to fit on and to choose by, items apart, until `plan.held_rows` are held out; none if there are too few.

    The splits are the same whatever the seed, and for few comparisons whatever number an item has: these are split
    more often, until SMALL_HELD_ROWS are held out in all. Warns (InputWarning) where even so there are too few.
    """
    small = len(data) <= plan.held_rows
    keyed = replace(data, item_keys=content_keys(data)) if small else data
    folds = round(1 / plan.holdout)
    most = min(plan.splits, folds) if len(plan.decays) > 1 else 1
    enough = SMALL_HELD_ROWS if small else plan.held_rows
    parts: list[tuple[Comparisons, Comparisons]] = []
    for turn in range(SMALL_SPLITS if small and len(plan.decays) > 1 else most):
        again, fold = divmod(turn, folds)
        train, valid = folds_apart(keyed, plan.holdout, SPLIT_SEED + again, fold, new_items_for=run.new_items_for)
        if min(train.sum(), valid.sum()) >= MIN_SPLIT_ROWS:
            parts.append((data.take(train), data.take(valid)))
        held = sum(len(outer) for _, outer in parts)
        if held >= plan.held_rows or (len(parts) >= most and held >= enough):
            break
    if sum(len(outer) for _, outer in parts) >= MIN_INNER_ROWS:
        return parts
    if len(plan.decays) > 1:
        warnings.warn(
            f"{data.source}: {len(data):,} comparisons are too few to hold items out, so settings are not chosen but "
            "defaults; give more comparisons, or the settings",
            InputWarning,
            stacklevel=2,
        )
    return []


def content_keys(data: Comparisons) -> Keys:
    """A key (M,) of where an item lies among those compared, by its ranks: no number, unit or shift of items counts.

    Items that occur in no comparison, and those that lie at one place, share one.
    """
    used = np.unique(np.concatenate([data.first, data.second]))
    keys = np.zeros(len(data.items), dtype=np.uint64)
    for column in data.items[used].T[:RANKED]:
        ranks = np.unique(column, return_inverse=True)[1]
        keys[used] = mix(keys[used] ^ mix(ranks))
    return keys


def pooled(inner: Comparisons, outer: Comparisons | None, run: FitOptions) -> tuple[Tensor, float]:
    """Weights (d,) and held-out nats of one linear reward for all users, at a moderate decay: the baseline."""
    objective = _pooled(inner, run)
    head = objective.head
    assert isinstance(head, PooledHead)
    value = math.nan if outer is None else objective.held_out(Tensors.of(outer, head)) / float(outer.weight.sum())
    return head.projector.direction(), value


def pooled_rows(inner: Comparisons, outer: Comparisons, run: FitOptions) -> Float:
    """Weighted nats of every held-out comparison (N,) under the same baseline."""
    objective = _pooled(inner, run)
    with torch.no_grad():
        return Tensors.of(outer, objective.head).nll(objective.head, objective.codes).double().cpu().numpy()


def _pooled(inner: Comparisons, run: FitOptions) -> Objective:
    head = PooledHead(inner.dim, hidden=0, temperature=False, generator=torch.Generator())
    standardise(head, inner)
    some = np.arange(len(inner)) % math.ceil(len(inner) / MAX_POOLED_ROWS) == 0
    objective = Objective(head.to(run.device), inner.take(some), FitPlan(convex=True, steps=(10, 10, 10)))
    objective.minimise(POOLED_DECAY, FIRST)
    return objective


def walk_decays(candidate_fit: CandidateFit, plan: FitPlan, trace: Trace) -> float:
    """Go weaker, and if that does not help stronger, as long as held-out items are predicted better.

    The decay returned is the minimum of the parabola through the best point and its neighbours in log decay,
    which the last fit is then run at. The candidate's fit is left where it was best.

    candidate_fit  fitted at its first decay, with `value` there
    plan           its `decays` are tried in turn; fewer than two are kept as they are
    trace          gets a row a decay
    """
    if len(plan.decays) < 2:
        return candidate_fit.decay
    best = candidate_fit.state()

    def value_at(decay: float) -> float:
        loss = candidate_fit.minimise(decay, LATER)
        value = candidate_fit.held_out()
        trace.add("decay", decay, loss, value)
        return value

    def keep() -> None:
        nonlocal best
        best = candidate_fit.state()

    start = candidate_fit.decay
    decay, tried = walk(
        value_at,
        start,
        weaker_then_stronger(plan.decays, start),
        start_value=candidate_fit.value,
        keep=keep,
        restore=lambda: candidate_fit.restore(best),
    )
    candidate_fit.decay, candidate_fit.value = decay, tried[decay]
    return vertex(tried, decay)


def choose_spread(candidate_fit: CandidateFit, decay: float, trace: Trace) -> float:
    """How far codes may lie from the population's: a share of the empirical variance, down to not at all.

    candidate_fit  whose codes are inferred anew under every share
    decay          it is fitted at, for the trace
    trace          gets a row a share
    """
    if not candidate_fit.objectives[0].head.n_codes:
        return 1.0
    priors, posteriors = zip(*(objective.empirical_prior() for objective in candidate_fit.objectives), strict=True)
    codes = [posterior.codes for posterior in posteriors]

    def value_at(spread: float) -> float:
        nonlocal codes
        codes = [
            objective.posterior(prior.scaled(spread), start=start, tol=1e-3).codes
            for objective, prior, start in zip(candidate_fit.objectives, priors, codes, strict=True)
        ]
        value = candidate_fit.held_out(codes)
        trace.add(f"spread {spread:g}", decay, math.nan, value)
        return value

    return walk(value_at, SPREADS[0], [SPREADS[1:]])[0]


def started(candidate: Candidate, data: Comparisons, seed: int, device: str, weights: Tensor | None = None) -> Head:
    """A head at its random start, with its input scale and what it takes over from the pooled head."""
    head = candidate.build(torch.Generator().manual_seed(seed))
    standardise(head, data)
    if candidate.take_over is not None and weights is not None:
        candidate.take_over(head, data, weights.cpu())
    return head.to(device)


def standardise(head: Head, data: Comparisons) -> None:
    """Give the head its input scale, learned from an even sample of comparisons."""
    most = min(SCALE_ROWS, max(SCALE_VALUES // data.dim, LEAST_SCALE_ROWS))
    sample = Tensors.of(data, head, np.argsort(uniform(data.item_keys[data.first], 0))[:most])
    prompts = None if sample.prompts is None else sample.prompts[sample.first]
    head.standardise(sample.items[sample.first], sample.items[sample.second], prompts, sample.weight)


def __getattr__(name: str) -> Any:
    """`Run` is the name that `FitOptions` had before 0.2."""
    if name == "Run":
        warnings.warn("Run is now FitOptions; the old name goes in 0.3", DeprecationWarning, stacklevel=2)
        return FitOptions
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
