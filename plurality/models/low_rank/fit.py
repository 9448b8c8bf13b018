"""Rank, weights, decay and spread of a low-rank fit, chosen on held-out items; then the fit on everything."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from plurality.data.comparisons import Comparisons
from plurality.fitting.objective import FitPlan
from plurality.fitting.search import vertex, walk, weaker_then_stronger
from plurality.fitting.spectral import Spectrum, shrinking, spectrum
from plurality.fitting.tuning import POOLED_DECAY, SPREADS, FitOptions, inner_parts
from plurality.io.progress import Bar, stages
from plurality.models.low_rank.head import LowRankHead
from plurality.models.low_rank.laplace_em import Decays, EMState, LowRankRows, em, held_out, infer, m_step
from plurality.reward.fitted import Fitted, Trace
from plurality.reward.posterior import Posterior, Prior

PLAN = FitPlan()
DECAY_INIT = 2.0  # decay of the rewards users differ in at which its walk begins: POOLED_DECAY is for what all share
MAX_RANK = 12  # ranks tried
RANK_PATIENCE = 2  # ranks that may predict worse before larger ones are given up
M_STEPS, POOLED_STEPS = 8, 200  # steps of an M-step, and of the convex fit of one reward for all users
SIMPLEX_SCALE = 2.5  # how far outside the middles of clusters the vertices of a simplex start, in their distance
LOG_WEIGHT_SD = 1.5  # prior standard deviation of a simplex's codes, in log-weights
MAX_INIT_RATIO = 1.03  # initial held-out nats of a simplex over those of deviations, above which it is not fitted


@dataclass(frozen=True)
class FixedSettings:
    """What the caller fixes, or leaves (None) to be chosen."""

    weights: str | None
    rank: int | None
    decay: float | None

    @property
    def linear(self) -> str:
        """The weights that a fit begins with: a simplex is drawn around users' deviations."""
        return "signed" if self.weights == "signed" else "deviations"


@dataclass(frozen=True)
class LowRankSplit:
    """One inner split: what is fitted, what it is judged on, and where users of the first part differ."""

    train: LowRankRows
    valid: LowRankRows
    spectrum: Spectrum


@dataclass(frozen=True)
class LowRankCandidate:
    """A head, its decays, a state a split, held-out nats a comparison, and the share of codes' variance to allow."""

    head: LowRankHead
    decays: Decays
    states: list[EMState]
    value: float = math.inf
    spread: float = 1.0

    def at(self, place: int, decay: float) -> "LowRankCandidate":
        """The same with another decay of what is shared (place 0) or of how users differ (1)."""
        return replace(self, decays=(self.decays[0], decay) if place else (decay, self.decays[1]))


def learn(data: Comparisons, pooled: LowRankHead, given: FixedSettings, run: FitOptions) -> Fitted:
    """Choose what is open on held-out items, fit everything, infer every user's code.

    `pooled` is the head of one reward for all users, with the scale of inputs.
    """
    trace = Trace()
    with stages("fit", 6, show=run.progress) as bar:
        bar("where users differ")
        splits = _inner_splits(data, pooled, given, run)
        candidate = _choose(splits, pooled, given, trace, bar) if splits else _default_fit(data, pooled, given, trace)
        bar("all comparisons")
        del splits  # their differences are as large as those of everything
        rows = LowRankRows.of(data, pooled, run.device)
        state = _refit(rows, candidate)
    loss = float(held_out(candidate.head, rows, state).sum() / rows.weight.sum())
    trace.add("refit", candidate.decays[candidate.head.n_codes > 0], loss)
    with torch.no_grad():
        candidate.head.projector.linear.copy_(state.rewards)
    head = candidate.head.requires_grad_(False).eval()
    return Fitted(head, state.prior, state.posterior, trace, report={"rank": head.n_codes, "spread": candidate.spread})


def _inner_splits(data: Comparisons, pooled: LowRankHead, given: FixedSettings, run: FitOptions) -> list[LowRankSplit]:
    """Inner splits until there are enough held-out comparisons, or none if there are too few of them."""
    n_directions, centred = given.rank or MAX_RANK, given.linear != "signed"
    return [
        LowRankSplit(
            LowRankRows.of(inner, pooled, run.device),
            LowRankRows.of(outer, pooled),
            spectrum(inner, n_directions, centred=centred, ridge=shrinking(inner)),
        )
        for inner, outer in inner_parts(data, PLAN, run)
    ]


def _default_fit(data: Comparisons, pooled: LowRankHead, given: FixedSettings, trace: Trace) -> LowRankCandidate:
    """With too little to hold anything out: one reward for all users, or what was asked for."""
    trace.add("too few comparisons to hold items out: defaults are used", given.decay or POOLED_DECAY, math.nan)
    decays = (given.decay or POOLED_DECAY,) * 2
    rows = LowRankRows.of(data, pooled)
    shared = LowRankCandidate(
        pooled, decays, [m_step(pooled, rows, _pooled_init(pooled, rows), decays, steps=POOLED_STEPS)]
    )
    if not given.rank:
        return shared
    split = LowRankSplit(
        rows, rows, spectrum(data, given.rank, centred=given.linear != "signed", ridge=shrinking(data))
    )
    own = _spectral_init([split], shared, given.rank - (given.weights == "simplex"), given.linear)
    return _simplex_around([split], own) if given.weights == "simplex" else own


def _choose(
    splits: Sequence[LowRankSplit], pooled: LowRankHead, given: FixedSettings, trace: Trace, bar: Bar
) -> LowRankCandidate:
    """One reward for all users, the rank of what users differ in, its decay, their weights, how far they may differ."""
    bar("one reward for all users")
    inits = [_pooled_init(pooled, split.train) for split in splits]
    shared = _walk(splits, LowRankCandidate(pooled, (given.decay or POOLED_DECAY, 0.0), inits), 0, given.decay, trace)
    bar("rank")
    rank = _choose_rank(splits, shared, given, trace) if given.rank is None else given.rank
    if given.rank is not None and given.weights == "simplex":
        rank -= 1
    if rank < 1:
        return shared
    bar("weight decay")
    own = _spectral_init(splits, shared, rank, given.linear)
    own = _walk(splits, replace(own, decays=(shared.decays[0], given.decay or DECAY_INIT)), 1, given.decay, trace)
    bar("weights")
    if given.weights == "simplex" or (given.weights is None and given.rank is None):
        own = _choose_weights(splits, own, given, trace)
    own = _choose_spread(splits, own, trace)
    return own if given.rank is not None or _clearly_better(splits, own, shared) else shared


def _walk(
    splits: Sequence[LowRankSplit], candidate: LowRankCandidate, place: int, fixed: float | None, trace: Trace
) -> LowRankCandidate:
    """Fit, then go weaker, and if that does not help stronger, as long as held-out items are predicted better.

    It is the decay at `place` that changes, unless it is fixed; the one returned is the vertex of the parabola
    through the best and its neighbours.
    """
    best = latest = _fitted(splits, candidate, trace, rounds=2)

    def value_at(decay: float) -> float:
        nonlocal latest
        latest = _fitted(splits, best.at(place, decay), trace, rounds=1)
        return latest.value

    def keep() -> None:
        nonlocal best
        best = latest

    start = best.decays[place]
    paths = [] if fixed else weaker_then_stronger(PLAN.decays, start)
    decay, tried = walk(value_at, start, paths, start_value=best.value, keep=keep)
    return best.at(place, vertex(tried, decay))


def _fitted(
    splits: Sequence[LowRankSplit], candidate: LowRankCandidate, trace: Trace, *, rounds: int
) -> LowRankCandidate:
    """The candidate fitted on in every split, and its held-out nats."""
    head, decays = candidate.head, candidate.decays
    rounds, steps = (rounds, M_STEPS) if head.n_codes else (1, POOLED_STEPS)
    states = [
        em(head, f.train, s, decays, rounds=rounds, steps=steps) for f, s in zip(splits, candidate.states, strict=True)
    ]
    candidate = replace(candidate, states=states, value=_value(splits, head, states))
    name = f"rank {head.n_codes}, {head.weights}" if head.n_codes else "one reward for all users"
    trace.add(name, decays[head.n_codes > 0], math.nan, candidate.value)
    return candidate


def _value(splits: Sequence[LowRankSplit], head: LowRankHead, states: Sequence[EMState]) -> float:
    """Held-out nats a comparison, over all splits."""
    nats = sum(float(held_out(head, f.valid, s).sum()) for f, s in zip(splits, states, strict=True))
    return nats / sum(float(f.valid.weight.sum()) for f in splits)


def _clearly_better(splits: Sequence[LowRankSplit], own: LowRankCandidate, shared: LowRankCandidate) -> bool:
    """Whether what users differ in lowers held-out nats by more than two standard errors over users."""
    gain = torch.zeros(splits[0].valid.n_users, dtype=torch.float64)
    for split, mine, pooled in zip(splits, own.states, shared.states, strict=True):
        less = held_out(shared.head, split.valid, pooled) - held_out(own.head, split.valid, mine)
        gain.index_add_(0, split.valid.user, less)
    return float(gain.sum()) > 2 * float((gain - gain.mean()).square().sum().sqrt())


def _choose_rank(splits: Sequence[LowRankSplit], shared: LowRankCandidate, given: FixedSettings, trace: Trace) -> int:
    """The number of spectral directions in which users' places predict held-out items best, one at least."""
    best, value = 1, math.inf
    for rank in range(1, min(MAX_RANK, shared.head.n_embedding) + 1):
        here = _spectral_init(splits, shared, rank, given.linear).value
        trace.add(f"rank {rank}, spectral", math.nan, math.nan, here)
        if here < value:
            best, value = rank, here
        elif rank - best >= RANK_PATIENCE:
            break
    return best


def _choose_weights(
    splits: Sequence[LowRankSplit], own: LowRankCandidate, given: FixedSettings, trace: Trace
) -> LowRankCandidate:
    """Deviations, or weights on a simplex drawn around them if held-out items are predicted better by these."""
    mixed = _simplex_around(splits, own)
    trace.add(f"rank {mixed.head.n_codes}, simplex around deviations", own.decays[1], math.nan, mixed.value)
    if given.weights is None and mixed.value > MAX_INIT_RATIO * own.value:
        return own
    mixed = _fitted(splits, mixed, trace, rounds=2)
    return mixed if given.weights == "simplex" or mixed.value < own.value else own


def _choose_spread(splits: Sequence[LowRankSplit], candidate: LowRankCandidate, trace: Trace) -> LowRankCandidate:
    """How far codes may lie from the population's: a share of the empirical variance, down to not at all."""
    best = latest = candidate

    def value_at(spread: float) -> float:
        nonlocal latest
        states = [infer(candidate.head, f.train, s.scaled(spread / best.spread), tol=1e-3)
                  for f, s in zip(splits, best.states, strict=True)]  # fmt: skip
        latest = replace(best, states=states, value=_value(splits, candidate.head, states), spread=spread)
        trace.add(f"spread {spread:g}", candidate.decays[1], math.nan, latest.value)
        return latest.value

    def keep() -> None:
        nonlocal best
        best = latest

    walk(value_at, candidate.spread, [SPREADS[1:]], start_value=candidate.value, keep=keep)
    return best


def _refit(rows: LowRankRows, candidate: LowRankCandidate) -> EMState:
    """The fit on everything, from where the first inner one states."""
    head, decays, state = candidate.head, candidate.decays, candidate.states[0]
    if head.n_codes == 0:
        return m_step(head, rows, state, decays, steps=POOLED_STEPS)
    state = em(head, rows, state.scaled(1 / candidate.spread), decays, rounds=2, steps=M_STEPS)
    if candidate.spread != 1.0:
        state = m_step(head, rows, infer(head, rows, state.scaled(candidate.spread)), decays, steps=M_STEPS)
    return infer(head, rows, state)


def _pooled_init(pooled: LowRankHead, rows: LowRankRows) -> EMState:
    """Where one reward for all users begins."""
    prior = Prior.isotropic(0, 1.0)
    rewards = torch.zeros(1, pooled.n_embedding, dtype=torch.float64)
    return EMState(rewards, prior, Posterior.of_prior(prior, rows.n_users))


def _spectral_init(
    splits: Sequence[LowRankSplit], shared: LowRankCandidate, rank: int, weights: str
) -> LowRankCandidate:
    """Spectral directions, beside the pooled reward or alone, users' variance along them as the prior of codes."""
    head, states = shared.head.like(rank, weights), []
    for split, pooled in zip(splits, shared.states, strict=True):
        found = split.spectrum
        own = split.train.size * found.basis[:, :rank].T
        rewards = torch.cat([pooled.rewards, own]) if head.shared else own
        floor = max(1e-3 * float(found.variance[0]), 1e-6)
        prior = Prior(Prior.isotropic(rank, 1.0).mean, torch.diag(1 / found.variance[:rank].clamp_min(floor)))
        states.append(_inferred_at(head, split.train, rewards, prior))
    return LowRankCandidate(head, shared.decays, states, _value(splits, head, states))


def _simplex_around(splits: Sequence[LowRankSplit], own: LowRankCandidate) -> LowRankCandidate:
    """The simplex of one more reward than users' deviations have, its corners around where they lie."""
    count = own.head.n_codes + 1
    head, prior = own.head.like(count, "simplex"), Prior.isotropic(count, LOG_WEIGHT_SD)
    states = []
    for split, state in zip(splits, own.states, strict=True):
        corners = _simplex_vertices(state.posterior.codes[split.train.seen], count)
        states.append(_inferred_at(head, split.train, state.rewards[:1] + corners @ state.rewards[1:], prior))
    return replace(own, head=head, states=states, value=_value(splits, head, states))


def _inferred_at(head: LowRankHead, rows: LowRankRows, rewards: Tensor, prior: Prior) -> EMState:
    """Users' places among these rewards, from no idea of them."""
    return infer(head, rows, EMState(rewards, prior, Posterior.of_prior(prior, rows.n_users)), tol=1e-2)


def _simplex_vertices(places: Tensor, count: int) -> Tensor:
    """Corners (count, B) around users' places (U, B): the middles of clusters started at far users, moved outwards."""
    far = places.norm(dim=1).argmax()[None]
    while len(far) < count:
        far = torch.cat([far, torch.cdist(places, places[far]).amin(1).argmax()[None]])
    middles = places[far]
    for _ in range(20):  # k-means, in which the order of users has no say
        nearest = torch.cdist(places, middles).argmin(1)
        size = torch.bincount(nearest, minlength=count)[:, None]
        sums = torch.zeros_like(middles).index_add_(0, nearest, places)
        middles = torch.where(size > 0, sums / size.clamp_min(1), middles)
    return SIMPLEX_SCALE * middles
