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
from plurality.fitting.objective import Plan
from plurality.fitting.tuning import Run, inner_parts, standardise, vertex
from plurality.io.progress import Bar, stages
from plurality.models.vpl.episodes import Rows, merged
from plurality.models.vpl.head import Amortised
from plurality.models.vpl.init import Sight, begin, choose_curved
from plurality.models.vpl.train import FIRST, LAST, LATER, PRECISE, Recipe, minimise, standard
from plurality.reward.fitted import Trace
from plurality.reward.links import log_prob
from plurality.reward.posterior import Posterior, Prior

Build = Callable[[int], Amortised]
"""A head with so many features of the trunk."""
DECAYS = (1.0, 2.5, 6.0, 15.0, 40.0, 100.0, 250.0, 600.0, 1500.0)
DECAY, STIFF = 15.0, 100.0  # where the walk begins; and what is taken where nothing can be held out
BETAS = (0.01, 0.1, 1.0)
BETA = 0.1
SIZES = (0, 2, 8, None)  # contexts that settings are judged by; None is all a user has
BLOCK = 4_096  # comparisons scored at once


@dataclass(frozen=True)
class Part:
    """One inner split: a head, comparisons it is trained on and takes contexts from, and held-out queries."""

    head: Amortised
    inner: Rows
    outer: Rows


def beliefs(head: Amortised, rows: Rows, size: int | None = None) -> Posterior:
    """What `size` of each user's comparisons say, or all: a row a user."""
    context = torch.as_tensor(rows.some(size), device=rows.label.device)
    with torch.no_grad():
        f = head.features(rows.items, None)
        difference = f[rows.first[context]] - f[rows.second[context]]
        prior = standard(head, rows.n_users)
        return head.encoder(difference, rows.user[context], rows.label[context], rows.weight[context], prior)


def log_odds(head: Amortised, rows: Rows, posterior: Posterior) -> Tensor:
    """Predictive log-odds of every row, codes averaged out: (N,)."""
    points, mass = head.points(posterior)
    out = []
    with torch.no_grad():
        f = head.features(rows.items, None)
        for i in range(0, len(rows.user), BLOCK):
            part = slice(i, i + BLOCK)
            each = head.log_odds(f[rows.first[part], None], f[rows.second[part], None], points[rows.user[part]])
            out.append((log_prob(each) + mass).logsumexp(1) - (log_prob(-each) + mass).logsumexp(1))
    return torch.cat(out) if out else rows.label


def nats(odds: Tensor, rows: Rows) -> Tensor:
    """Weighted nats of every row: (N,)."""
    return -rows.weight * (rows.label * log_prob(odds) + (1 - rows.label) * log_prob(-odds))


def held_out(parts: Sequence[Part]) -> float:
    """Nats a held-out comparison, over parts and sizes of context alike."""
    total = len(SIZES) * sum(float(p.outer.weight.sum()) for p in parts)
    return sum(float(nats(log_odds(p.head, p.outer, beliefs(p.head, p.inner, s)), p.outer).sum())
               for p in parts for s in SIZES) / total  # fmt: skip


class Trial:
    """Heads on every inner split, trained alike; `value` is held-out nats where it stands."""

    def __init__(self, parts: list[Part], recipe: Recipe, trace: Trace) -> None:
        self.parts, self.recipe, self.trace, self.value = parts, recipe, trace, math.inf

    def train(self, recipe: Recipe, stage: int, label: str) -> float:
        """Train every head on; held-out nats."""
        loss = float(np.mean([minimise(p.head, p.inner, recipe, stage) for p in self.parts]))
        value = held_out(self.parts)
        self.trace.add(label, recipe.decay, loss, value)
        return value

    def walk(self, recipes: Sequence[Recipe], label: str) -> dict[Recipe, float]:
        """Train on along the recipes while held-out items are predicted better, and stay where it was best."""
        tried = {}
        for recipe in recipes:
            before = [copy.deepcopy(p.head.state_dict()) for p in self.parts]
            tried[recipe] = value = self.train(recipe, LATER, label)
            if value >= self.value:
                for part, state in zip(self.parts, before, strict=True):
                    part.head.load_state_dict(state)
                break
            self.value, self.recipe = value, recipe
        return tried

    def choose_decay(self) -> float:
        """Weaker, and if that does not help stronger; the vertex between the best and its neighbours."""
        start = self.recipe
        tried = {start.decay: self.value}
        for grid in ([d for d in DECAYS[::-1] if d < start.decay], [d for d in DECAYS if d > start.decay]):
            found = self.walk([replace(start, decay=d) for d in grid], "decay")
            tried |= {recipe.decay: value for recipe, value in found.items()}
            if self.recipe.decay != start.decay:
                break
        return vertex(tried, self.recipe.decay)

    def choose_beta(self) -> None:
        """More weight on the KL, and if that does not help less."""
        start = self.recipe
        for grid in ([b for b in BETAS if b > start.beta], [b for b in BETAS[::-1] if b < start.beta]):
            self.walk([replace(start, beta=b) for b in grid], "beta")
            if self.recipe.beta != start.beta:
                break


@dataclass(frozen=True)
class Learned:
    """A fitted head, what its users are believed to be, the settings chosen, and the parts they were chosen on."""

    head: Amortised
    prior: Prior
    posterior: Posterior
    recipe: Recipe
    parts: list[Part]
    trace: Trace


def learn(
    data: Comparisons,
    build: Build,
    n_features: int | None,
    decay: float | None,
    beta: float | None,
    given: Recipe,
    run: Run,
) -> Learned:
    """Choose what is None on held-out items, and train on everything from where the first inner fit stood."""
    data, trace = merged(data), Trace()
    plan = Plan(splits=1 if decay and beta and n_features else Plan.splits)
    recipe = replace(given, decay=decay or DECAY, beta=BETA if beta is None else beta)
    with stages("fit", 6, show=run.progress) as bar:
        bar("where users differ")
        splits = inner_parts(data, plan, run)
        whole = Sight.of(data, build(1).n_codes, _centre(data, build(1)))
        sights = [Sight.of(inner, build(1).n_codes, torch.as_tensor(whole.centre)) for inner, _ in splits]
        curved = _curved(n_features, build(1).n_codes, sights, [o for _, o in splits], trace)
        width = n_features or 1 + build(1).n_codes + curved
        heads = [_begun(build(width), data, sight, curved, run) for sight in sights]
        if not splits:
            trace.add("too few comparisons to hold items out: defaults are used", recipe.decay, math.nan)
            recipe = replace(recipe, decay=decay or STIFF)
            head = _begun(build(width), data, whole, curved, run)
            parts: list[Part] = []
            stage = FIRST
        else:
            parts = [_part(h, i, o) for h, (i, o) in zip(heads, splits, strict=True)]
            recipe = _chosen(parts, recipe, decay, beta, trace, bar)
            head, stage = copy.deepcopy(parts[0].head), LAST
        bar("all comparisons")
        rows = Rows.of(data, head.shared)
        trace.add("refit", recipe.decay, minimise(head, rows, recipe, stage))
    head = head.cpu().float().requires_grad_(False).eval()
    prior = Prior.isotropic(head.n_codes, 1.0)
    wide = head.doubled()
    posterior = beliefs(wide, Rows.of(data, wide.shared))
    return Learned(head, prior, posterior, recipe, parts, trace)


def _chosen(
    parts: list[Part], recipe: Recipe, decay: float | None, beta: float | None, trace: Trace, bar: Bar
) -> Recipe:
    """The recipe chosen on held-out items; the parts' heads are left trained by it."""
    trial = Trial(parts, recipe, trace)
    bar("first stage")
    trial.value = trial.train(recipe, FIRST, "start")
    bar("weight decay")
    best = recipe.decay if decay else trial.choose_decay()
    bar("weight of the KL")
    if beta is None:
        trial.choose_beta()
    return replace(trial.recipe, decay=best)


def _curved(n_features: int | None, n_codes: int, sights: list[Sight], held: list[Comparisons], trace: Trace) -> int:
    """How many features of the trunk begin as curved directions."""
    if n_features is not None:
        return max(0, n_features - 1 - n_codes)
    if not sights:
        return 0
    best, tried = choose_curved(sights, held)
    for count, value in tried.items():
        trace.add(f"{count} curved directions, pooled", math.nan, math.nan, value)
    return best


def _centre(data: Comparisons, head: Amortised) -> Tensor:
    standardise(head, data)
    return head.projector.mean


def _begun(head: Amortised, data: Comparisons, sight: Sight, curved: int, run: Run) -> Amortised:
    """A head at its start, in double precision where the data are small."""
    standardise(head, data)
    begin(head, sight, curved)
    precise = data.items.size <= PRECISE and torch.device(run.device).type != "mps"
    return (head.double() if precise else head).to(run.device)


def _part(head: Amortised, inner: Comparisons, outer: Comparisons) -> Part:
    return Part(head, Rows.of(inner, head.shared), Rows.of(outer, head.shared))
