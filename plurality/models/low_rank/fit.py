"""Rank, weights, decay and spread of a low-rank fit, chosen on held-out items; then the fit on everything."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from plurality.data.comparisons import Comparisons
from plurality.data.splits import folds_apart
from plurality.fitting.objective import Plan
from plurality.fitting.spectral import Spectrum, spectrum
from plurality.fitting.tuning import ENOUGH, MIDDLING, SPREADS, Run, vertex
from plurality.io.progress import Bar, stages
from plurality.models.low_rank.em import Decays, Rows, Stand, em, held_out, infer, m_step
from plurality.models.low_rank.head import LowRankHead
from plurality.reward.fitted import Fitted, Trace
from plurality.reward.posterior import Posterior, Prior

PLAN = Plan()
START = 2.0  # decay of the rewards users differ in, where its walk begins
MOST = 12  # ranks tried
PATIENCE = 2  # ranks that may predict worse before larger ones are given up
STEPS, CONVEX = 8, 200  # steps of an M-step, and of the convex fit of one reward for everybody
CORNER, LOG_WEIGHT_SD = 2.5, 1.5  # a simplex starts so far outside the middles of clusters; prior sd of its codes
HOPELESS = 1.03  # a simplex that begins with so many times the nats is not fitted


@dataclass(frozen=True)
class Open:
    """What the caller fixes, or leaves (None) to be chosen."""

    weights: str | None
    rank: int | None
    decay: float | None

    @property
    def linear(self) -> str:
        """The weights that a fit begins with: a simplex is drawn around users' deviations."""
        return "signed" if self.weights == "signed" else "deviations"


@dataclass(frozen=True)
class Fold:
    """One inner split: what is fitted, what it is judged on, and where users of the first part differ."""

    train: Rows
    valid: Rows
    spectrum: Spectrum


@dataclass(frozen=True)
class Way:
    """A head, its decays, a stand a fold, held-out nats a comparison, and the share of codes' variance to allow."""

    head: LowRankHead
    decays: Decays
    stands: list[Stand]
    value: float = math.inf
    spread: float = 1.0


def learn(data: Comparisons, pooled: LowRankHead, given: Open, run: Run) -> Fitted:
    """Choose what is open on held-out items, fit everything, infer every user's code.

    `pooled` is the head of one reward for everybody, with the scale of inputs.
    """
    trace = Trace()
    with stages("fit", 6, show=run.progress) as bar:
        bar("where users differ")
        folds = _folds(data, pooled, given, run)
        way = _choose(folds, pooled, given, trace, bar) if folds else _usual(data, pooled, given, trace)
        bar("all comparisons")
        del folds  # their differences are as large as those of everything
        rows = Rows.of(data, pooled, run.device)
        stand = _settle(rows, way)
    loss = float(held_out(way.head, rows, stand).sum() / rows.weight.sum())
    trace.add("refit", way.decays[way.head.n_codes > 0], loss)
    with torch.no_grad():
        way.head.projector.linear.copy_(stand.rewards)
    head = way.head.requires_grad_(False).eval()
    return Fitted(head, stand.prior, stand.posterior, trace, report={"rank": head.n_codes, "spread": way.spread})


def _folds(data: Comparisons, pooled: LowRankHead, given: Open, run: Run) -> list[Fold]:
    """Inner splits until there are enough held-out comparisons, or none if there are too few of them."""
    folds: list[Fold] = []
    for i in range(PLAN.splits):
        train, valid = folds_apart(data, PLAN.holdout, run.seed, i, new_items_for=run.new_items_for)
        if min(train.sum(), valid.sum()) < ENOUGH:
            continue
        inner, outer = data.take(train), data.take(valid)
        found = spectrum(inner, given.rank or MOST, centred=given.linear != "signed")
        folds.append(Fold(Rows.of(inner, pooled, run.device), Rows.of(outer, pooled), found))
        if sum(len(f.valid.label) for f in folds) >= PLAN.held_rows:
            break
    return folds


def _usual(data: Comparisons, pooled: LowRankHead, given: Open, trace: Trace) -> Way:
    """With too little to hold anything out: one reward for everybody, or what was asked for."""
    trace.add("too few comparisons to hold items out: defaults are used", given.decay or MIDDLING, math.nan)
    decays = (given.decay or MIDDLING,) * 2
    rows = Rows.of(data, pooled)
    shared = Way(pooled, decays, [m_step(pooled, rows, _nobody(pooled, rows), decays, steps=CONVEX)])
    if not given.rank:
        return shared
    fold = Fold(rows, rows, spectrum(data, given.rank, centred=given.linear != "signed"))
    own = _begun([fold], shared, given.rank - (given.weights == "simplex"), given.linear)
    return _cornered([fold], own) if given.weights == "simplex" else own


def _choose(folds: Sequence[Fold], pooled: LowRankHead, given: Open, trace: Trace, bar: Bar) -> Way:
    """One reward for everybody, the rank of what users differ in, its decay, their weights, how far they may differ."""
    bar("one reward for everybody")
    nobody = [_nobody(pooled, fold.train) for fold in folds]
    shared = _walk(folds, Way(pooled, (given.decay or MIDDLING, 0.0), nobody), 0, given.decay, trace)
    bar("rank")
    rank = _choose_rank(folds, shared, given, trace) if given.rank is None else given.rank
    if given.rank is not None and given.weights == "simplex":
        rank -= 1
    if rank < 1:
        return shared
    bar("weight decay")
    own = _begun(folds, shared, rank, given.linear)
    own = _walk(folds, replace(own, decays=(shared.decays[0], given.decay or START)), 1, given.decay, trace)
    bar("weights")
    if given.weights == "simplex" or (given.weights is None and given.rank is None):
        own = _choose_weights(folds, own, given, trace)
    own = _choose_spread(folds, own, trace)
    return own if given.rank is not None or _clearly_better(folds, own, shared) else shared


def _walk(folds: Sequence[Fold], way: Way, place: int, fixed: float | None, trace: Trace) -> Way:
    """Fit, then go weaker, and if that does not help stronger, as long as held-out items are predicted better.

    It is the decay at `place` that changes, unless it is fixed; the one returned is the vertex of the parabola
    through the best and its neighbours.
    """
    best = _fitted(folds, way, trace, rounds=2)
    start = best.decays[place]
    tried = {start: best.value}
    weaker = [] if fixed else [d for d in PLAN.decays[::-1] if d < start]
    stronger = [] if fixed else [d for d in PLAN.decays if d > start]
    for path in (weaker, stronger):
        for decay in path:
            decays = (best.decays[0], decay) if place else (decay, best.decays[1])
            trial = _fitted(folds, replace(best, decays=decays), trace, rounds=1)
            tried[decay] = trial.value
            if trial.value >= best.value:
                break
            best = trial
        if best.decays[place] != start:
            break
    at = vertex(tried, best.decays[place])
    return replace(best, decays=(best.decays[0], at) if place else (at, best.decays[1]))


def _fitted(folds: Sequence[Fold], way: Way, trace: Trace, *, rounds: int) -> Way:
    """The way fitted on in every fold, and its held-out nats."""
    head, decays = way.head, way.decays
    rounds, steps = (rounds, STEPS) if head.n_codes else (1, CONVEX)
    stands = [em(head, f.train, s, decays, rounds=rounds, steps=steps) for f, s in zip(folds, way.stands, strict=True)]
    way = replace(way, stands=stands, value=_value(folds, head, stands))
    name = f"rank {head.n_codes}, {head.weights}" if head.n_codes else "one reward for everybody"
    trace.add(name, decays[head.n_codes > 0], math.nan, way.value)
    return way


def _value(folds: Sequence[Fold], head: LowRankHead, stands: Sequence[Stand]) -> float:
    """Held-out nats a comparison, over all folds."""
    nats = sum(float(held_out(head, f.valid, s).sum()) for f, s in zip(folds, stands, strict=True))
    return nats / sum(float(f.valid.weight.sum()) for f in folds)


def _clearly_better(folds: Sequence[Fold], own: Way, shared: Way) -> bool:
    """Whether what users differ in lowers held-out nats by more than two standard errors over users."""
    gain = torch.zeros(folds[0].valid.n_users, dtype=torch.float64)
    for fold, mine, pooled in zip(folds, own.stands, shared.stands, strict=True):
        less = held_out(shared.head, fold.valid, pooled) - held_out(own.head, fold.valid, mine)
        gain.index_add_(0, fold.valid.user, less)
    return float(gain.sum()) > 2 * float((gain - gain.mean()).square().sum().sqrt())


def _choose_rank(folds: Sequence[Fold], shared: Way, given: Open, trace: Trace) -> int:
    """The number of spectral directions in which users' places predict held-out items best, one at least."""
    best, value = 1, math.inf
    for rank in range(1, min(MOST, shared.head.n_embedding) + 1):
        here = _begun(folds, shared, rank, given.linear).value
        trace.add(f"rank {rank}, spectral", math.nan, math.nan, here)
        if here < value:
            best, value = rank, here
        elif rank - best >= PATIENCE:
            break
    return best


def _choose_weights(folds: Sequence[Fold], own: Way, given: Open, trace: Trace) -> Way:
    """Deviations, or weights on a simplex drawn around them if held-out items are predicted better by these."""
    mixed = _cornered(folds, own)
    trace.add(f"rank {mixed.head.n_codes}, simplex around deviations", own.decays[1], math.nan, mixed.value)
    if given.weights is None and mixed.value > HOPELESS * own.value:
        return own
    mixed = _fitted(folds, mixed, trace, rounds=2)
    return mixed if given.weights == "simplex" or mixed.value < own.value else own


def _choose_spread(folds: Sequence[Fold], way: Way, trace: Trace) -> Way:
    """How far codes may lie from the population's: a share of the empirical variance, down to not at all."""
    for spread in SPREADS[1:]:
        stands = [infer(way.head, f.train, s.scaled(spread / way.spread), tol=1e-3)
                  for f, s in zip(folds, way.stands, strict=True)]  # fmt: skip
        value = _value(folds, way.head, stands)
        trace.add(f"spread {spread:g}", way.decays[1], math.nan, value)
        if value >= way.value:
            break
        way = replace(way, stands=stands, value=value, spread=spread)
    return way


def _settle(rows: Rows, way: Way) -> Stand:
    """The fit on everything, from where the first inner one stands."""
    head, decays, stand = way.head, way.decays, way.stands[0]
    if head.n_codes == 0:
        return m_step(head, rows, stand, decays, steps=CONVEX)
    stand = em(head, rows, stand.scaled(1 / way.spread), decays, rounds=2, steps=STEPS)
    if way.spread != 1.0:
        stand = m_step(head, rows, infer(head, rows, stand.scaled(way.spread)), decays, steps=STEPS)
    return infer(head, rows, stand)


def _nobody(pooled: LowRankHead, rows: Rows) -> Stand:
    """Where one reward for everybody begins."""
    prior = Prior.isotropic(0, 1.0)
    rewards = torch.zeros(1, pooled.n_embedding, dtype=torch.float64)
    return Stand(rewards, prior, Posterior.of_strangers(prior, rows.n_users))


def _begun(folds: Sequence[Fold], shared: Way, rank: int, weights: str) -> Way:
    """Spectral directions, beside the pooled reward or alone, users' variance along them as the prior of codes."""
    head, stands = shared.head.like(rank, weights), []
    for fold, pooled in zip(folds, shared.stands, strict=True):
        found = fold.spectrum
        own = fold.train.size * found.basis[:, :rank].T
        rewards = torch.cat([pooled.rewards, own]) if head.shared else own
        floor = max(1e-3 * float(found.variance[0]), 1e-6)
        prior = Prior(Prior.isotropic(rank, 1.0).mean, torch.diag(1 / found.variance[:rank].clamp_min(floor)))
        stands.append(_placed(head, fold.train, rewards, prior))
    return Way(head, shared.decays, stands, _value(folds, head, stands))


def _cornered(folds: Sequence[Fold], own: Way) -> Way:
    """The simplex of one more reward than users' deviations have, its corners around where they lie."""
    count = own.head.n_codes + 1
    head, prior = own.head.like(count, "simplex"), Prior.isotropic(count, LOG_WEIGHT_SD)
    stands = []
    for fold, stand in zip(folds, own.stands, strict=True):
        corners = _corners(stand.posterior.codes[fold.train.seen], count)
        stands.append(_placed(head, fold.train, stand.rewards[:1] + corners @ stand.rewards[1:], prior))
    return replace(own, head=head, stands=stands, value=_value(folds, head, stands))


def _placed(head: LowRankHead, rows: Rows, rewards: Tensor, prior: Prior) -> Stand:
    """Users' places among these rewards, from no idea of them."""
    return infer(head, rows, Stand(rewards, prior, Posterior.of_strangers(prior, rows.n_users)), tol=1e-2)


def _corners(places: Tensor, count: int) -> Tensor:
    """Corners (count, B) around users' places (U, B): the middles of clusters begun at far users, moved outwards."""
    far = places.norm(dim=1).argmax()[None]
    while len(far) < count:
        far = torch.cat([far, torch.cdist(places, places[far]).amin(1).argmax()[None]])
    middles = places[far]
    for _ in range(20):  # k-means, in which the order of users has no say
        nearest = torch.cdist(places, middles).argmin(1)
        size = torch.bincount(nearest, minlength=count)[:, None]
        sums = torch.zeros_like(middles).index_add_(0, nearest, places)
        middles = torch.where(size > 0, sums / size.clamp_min(1), middles)
    return CORNER * middles
