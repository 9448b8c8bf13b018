"""What a VPL fit chooses on held-out items: curved directions, decay of the map, weight of the KL; then all data.

Queries are held-out comparisons, on items in no context; contexts are the user's other comparisons, few or all.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from plurality.data.comparisons import Comparisons
from plurality.fitting.objective import FitPlan
from plurality.fitting.search import vertex, walk, weaker_then_stronger
from plurality.fitting.tuning import FitOptions, inner_parts, standardise
from plurality.io.progress import Bar, stages
from plurality.models.vpl.episodes import UserSortedRows, merged
from plurality.models.vpl.head import VPLHead
from plurality.models.vpl.init import LabelMoments, choose_curved, initialise
from plurality.models.vpl.train import FIRST, LAST, LATER, MAX_DOUBLE, TrainingSettings, minimise, standard
from plurality.reward.fitted import Trace
from plurality.reward.links import log_predictive, nll
from plurality.reward.posterior import Posterior, Prior

Build = Callable[[int], VPLHead]
"""A head with so many features of the trunk."""
DECAYS = (1.0, 2.5, 6.0, 15.0, 40.0, 100.0, 250.0, 600.0, 1500.0)
DECAY_INIT, DEFAULT_DECAY = 15.0, 100.0  # where the walk begins; and what is taken where nothing can be held out
BETAS = (0.01, 0.1, 1.0)
BETA_INIT = 0.1
CONTEXT_SIZES = (0, 2, 8, None)  # contexts that settings are judged by; None is all a user has
BLOCK = 4_096  # comparisons scored at once


@dataclass(frozen=True)
class InnerFit:
    """One inner split: a head, comparisons it is trained on and takes contexts from, and held-out queries."""

    head: VPLHead
    inner: UserSortedRows
    outer: UserSortedRows


def beliefs(head: VPLHead, rows: UserSortedRows, size: int | None = None) -> Posterior:
    """What `size` of each user's comparisons say, or all: a row a user."""
    context = torch.as_tensor(rows.some(size), device=rows.label.device)
    with torch.no_grad():
        f = head.features(rows.items, None)
        difference = f[rows.first[context]] - f[rows.second[context]]
        prior = standard(head, rows.n_users)
        columns = (column[context] for column in (rows.user, rows.label, rows.weight, rows.base))
        found: Posterior = head.encoder(difference, *columns, prior)
    return found


def log_odds(head: VPLHead, rows: UserSortedRows, posterior: Posterior) -> Tensor:
    """Predictive log-odds of every row, codes averaged out: (N,)."""
    points, mass = head.points(posterior)
    out = []
    with torch.no_grad():
        f = head.features(rows.items, None)
        for i in range(0, len(rows.user), BLOCK):
            part = slice(i, i + BLOCK)
            sides = f[rows.first[part], None], f[rows.second[part], None]
            each = head.log_odds(*sides, points[rows.user[part]], rows.base[part, None])
            log_first, log_second = log_predictive(each, mass)
            out.append(log_first - log_second)
    return torch.cat(out) if out else rows.label


def nats(odds: Tensor, rows: UserSortedRows) -> Tensor:
    """Weighted nats of every row: (N,)."""
    return rows.weight * nll(odds, rows.label)


def held_out(parts: Sequence[InnerFit]) -> float:
    """Nats a held-out comparison, over parts and sizes of context alike."""
    total = len(CONTEXT_SIZES) * sum(float(p.outer.weight.sum()) for p in parts)
    return sum(float(nats(log_odds(p.head, p.outer, beliefs(p.head, p.inner, s)), p.outer).sum())
               for p in parts for s in CONTEXT_SIZES) / total  # fmt: skip


class SettingsSearch:
    """Heads on every inner split, trained alike; `value` is held-out nats where it stands."""

    def __init__(self, parts: list[InnerFit], settings: TrainingSettings, trace: Trace) -> None:
        self.parts, self.settings, self.trace, self.value = parts, settings, trace, math.inf

    def train(self, settings: TrainingSettings, stage: int, label: str) -> float:
        """Train every head on; held-out nats."""
        loss = float(np.mean([minimise(p.head, p.inner, settings, stage) for p in self.parts]))
        value = held_out(self.parts)
        self.trace.add(label, settings.decay, loss, value)
        return value

    def _walk(
        self, label: str, start: float, paths: Sequence[Sequence[float]], at: Callable[[float], TrainingSettings]
    ) -> tuple[float, dict[float, float]]:
        """Train on along the values of a setting while held-out items are predicted better; stay where it was best."""
        best = self._state()

        def keep() -> None:
            nonlocal best
            best = self._state()

        found, tried = walk(
            lambda value: self.train(at(value), LATER, label),
            start,
            paths,
            start_value=self.value,
            keep=keep,
            restore=lambda: self._restore(best),
        )
        self.settings, self.value = at(found), tried[found]
        return found, tried

    def _state(self) -> list[dict[str, Tensor]]:
        return [copy.deepcopy(part.head.state_dict()) for part in self.parts]

    def _restore(self, states: list[dict[str, Tensor]]) -> None:
        for part, state in zip(self.parts, states, strict=True):
            part.head.load_state_dict(state)

    def choose_decay(self) -> float:
        """Weaker, and if that does not help stronger; the vertex between the best and its neighbours."""
        start = self.settings
        paths = weaker_then_stronger(DECAYS, start.decay)
        best, tried = self._walk("decay", start.decay, paths, lambda decay: replace(start, decay=decay))
        return vertex(tried, best)

    def choose_beta(self) -> None:
        """More weight on the KL, and if that does not help less."""
        start = self.settings
        less, more = weaker_then_stronger(BETAS, start.beta)
        self._walk("beta", start.beta, (more, less), lambda beta: replace(start, beta=beta))


@dataclass(frozen=True)
class VPLFit:
    """A fitted head, what its users are believed to be, the settings chosen, and the parts they were chosen on."""

    head: VPLHead
    prior: Prior
    posterior: Posterior
    settings: TrainingSettings
    parts: list[InnerFit]
    trace: Trace


def learn(
    data: Comparisons,
    build: Build,
    n_features: int | None,
    decay: float | None,
    beta: float | None,
    given: TrainingSettings,
    run: FitOptions,
) -> VPLFit:
    """Choose what is None on held-out items, and train on everything from where the first inner fit stood."""
    data, trace = merged(data), Trace()
    settled = decay is not None and beta is not None and n_features is not None
    plan = FitPlan(splits=1 if settled else FitPlan.splits)
    settings = replace(given, decay=decay or DECAY_INIT, beta=BETA_INIT if beta is None else beta)
    with stages("fit", 6, show=run.progress) as bar:
        bar("where users differ")
        splits = [] if settled and not run.diagnostics else inner_parts(data, plan, run)
        whole = LabelMoments.of(data, build(1).n_codes, _centre(data, build(1)))
        moments = [LabelMoments.of(inner, build(1).n_codes, torch.as_tensor(whole.centre)) for inner, _ in splits]
        curved = _curved(n_features, build(1).n_codes, moments, [o for _, o in splits], trace)
        width = n_features or 1 + build(1).n_codes + curved
        heads = [_initialised(build(width), data, moment, curved, run) for moment in moments]
        parts = [_part(h, i, o) for h, (i, o) in zip(heads, splits, strict=True)]
        if parts:
            settings = _chosen(parts, settings, decay, beta, trace, bar)
        elif not settled:
            trace.add("too few comparisons to hold items out: defaults are used", settings.decay, math.nan)
        settings = replace(settings, decay=settings.decay if parts else decay or DEFAULT_DECAY)
        if settled or not parts:  # the same head whether or not anything is asked beside the fit
            head, stage = _initialised(build(width), data, whole, curved, run), FIRST
        else:
            head, stage = copy.deepcopy(parts[0].head), LAST
        bar("all comparisons")
        rows = UserSortedRows.of(data, head.shared)
        trace.add("refit", settings.decay, minimise(head, rows, settings, stage))
    head = head.cpu().float().requires_grad_(False).eval()
    prior = Prior.isotropic(head.n_codes, 1.0)
    wide = head.doubled()
    posterior = beliefs(wide, UserSortedRows.of(data, wide.shared))
    return VPLFit(head, prior, posterior, settings, parts, trace)


def _chosen(
    parts: list[InnerFit], settings: TrainingSettings, decay: float | None, beta: float | None, trace: Trace, bar: Bar
) -> TrainingSettings:
    """The settings chosen on held-out items; the parts' heads are left trained by it."""
    search = SettingsSearch(parts, settings, trace)
    bar("first stage")
    search.value = search.train(settings, FIRST, "start")
    bar("weight decay")
    best = settings.decay if decay else search.choose_decay()
    bar("weight of the KL")
    if beta is None:
        search.choose_beta()
    return replace(search.settings, decay=best)


def _curved(
    n_features: int | None, n_codes: int, moments: list[LabelMoments], held: list[Comparisons], trace: Trace
) -> int:
    """How many features of the trunk begin as curved directions."""
    if n_features is not None:
        return max(0, n_features - 1 - n_codes)
    if not moments:
        return 0
    best, tried = choose_curved(moments, held)
    for count, value in tried.items():
        trace.add(f"{count} curved directions, pooled", math.nan, math.nan, value)
    return best


def _centre(data: Comparisons, head: VPLHead) -> Tensor:
    standardise(head, data)
    return head.projector.mean


def _initialised(head: VPLHead, data: Comparisons, moment: LabelMoments, curved: int, run: FitOptions) -> VPLHead:
    """A head at its start, in double precision where the data are small."""
    standardise(head, data)
    initialise(head, moment, curved)
    precise = data.items.size <= MAX_DOUBLE and torch.device(run.device).type != "mps"
    return (head.double() if precise else head).to(run.device)


def _part(head: VPLHead, inner: Comparisons, outer: Comparisons) -> InnerFit:
    return InnerFit(head, UserSortedRows.of(inner, head.shared), UserSortedRows.of(outer, head.shared))
