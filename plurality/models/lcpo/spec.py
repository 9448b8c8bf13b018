"""LCPO (RE-PO): one reward for all users, and for each person how often their label is what they preferred."""

import math
import warnings
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from plurality.data.comparisons import Comparisons
from plurality.data.keys import combine, uniform
from plurality.data.splits import folds_apart
from plurality.errors import InputError, InputWarning
from plurality.fitting.em import EMResult
from plurality.fitting.fit import fit
from plurality.fitting.objective import MAX_DOUBLE, FitPlan
from plurality.fitting.optimisers import threads_for
from plurality.fitting.search import descend
from plurality.fitting.tuning import POOLED_DECAY, SPLIT_SEED, Candidate, FitOptions, inner_parts, pooled, standardise
from plurality.io.progress import stages
from plurality.models.family import Spec
from plurality.models.lcpo.diagnostics import profile, unreliable_users
from plurality.models.lcpo.fit import FlipEM, FlipParameters, anchored, best_stretch, given_gaps
from plurality.models.lcpo.head import BetaPrior, FlipMixture, fisher_error
from plurality.models.lcpo.online import one_pass
from plurality.models.lcpo.preference_losses import smoothed_label, unbiased_label
from plurality.reward.fitted import Fitted, Trace
from plurality.reward.links import prob
from plurality.reward.posterior import Posterior, Prior
from plurality.reward.tensors import Tensors

NOISES = ("mixture", "smoothing", "unbiased")
UNSURE = 0.05  # standard error of a reliability from which on it is reported
APART = 0.02  # how far ends of starts that explain labels equally well may lie apart, for want of convergence
FLAT = 1.92  # nats by which a 95 % likelihood interval ends
CROSS = 3  # parts whose gaps are predicted by the others


@dataclass(frozen=True)
class LCPO(Spec):
    """Label-flip mixture: P(label first) = η_u σ(s) + (1 − η_u) σ(−s), s = r(x₁) − r(x₂), r linear.

    reliability  "unit": every user, or value of `unit`, has an η of its own; "global": one for all users
    prior        a and b of the Beta prior of reliabilities in EM; afterwards fitted to the population
    eta_starts   reliabilities that EM begins with; how far their ends lie apart tells what is known
    noise        "mixture"; or one reward with a given `flip_rate`: "smoothing" (cDPO), "unbiased" (rDPO)
    unidentified "stop": raise before fitting where flips cannot be told from weak tastes at all, warn where hardly;
                 "warn": warn in both cases; "report": only in the report
    online       Algorithm 1 as published: batches of 64, moving averages (.1) of reliabilities, one pass
    `decay` as in BradleyTerry. Reliabilities are read off gaps of a reward that was not fitted to those labels.
    Source: RE-PO, arXiv 2509.24159 (v1, v2: LCPO), eqs 3–7 and Algorithm 1.

    unidentified    "stop", "warn" or "report", as above
    """

    reliability: str = "unit"
    prior: tuple[float, float] = (9.0, 1.5)
    eta_starts: tuple[float, ...] = (0.6, 0.75, 0.9, 0.99)
    noise: str = "mixture"
    flip_rate: float | None = None
    unidentified: str = "stop"
    online: bool = False
    decay: float | None = None

    name: ClassVar[str] = "lcpo"

    def __post_init__(self) -> None:
        for value, choices in (
            (self.reliability, ("unit", "global")),
            (self.noise, NOISES),
            (self.unidentified, ("stop", "warn", "report")),
        ):
            if value not in choices:
                raise InputError(f"lcpo: {value!r} is not a valid option; give one of {', '.join(choices)}")
        if min(self.prior) <= 1 or not self.eta_starts or not all(0.5 < e < 1 for e in self.eta_starts):
            raise InputError("lcpo: prior must be two numbers above 1, eta_starts lie between ½ and 1")
        if (self.flip_rate is None) != (self.noise == "mixture"):
            raise InputError("lcpo: smoothing and unbiased need a flip_rate, which the mixture finds by itself")
        if self.flip_rate is not None:
            smoothed_label(torch.zeros(()), self.flip_rate)  # says what it must be
        if self.decay is not None and not self.decay > 0:
            raise InputError(f"lcpo: decay {self.decay} is not positive; leave it out to have it chosen")

    @property
    def personal(self) -> bool:
        """Whether users have codes."""
        return self.reliability == "unit" and self.noise == "mixture"

    def head(self, width: int, generator: torch.Generator) -> FlipMixture:
        return FlipMixture(width, personal=self.personal, generator=generator)

    def learns_grades(self) -> bool:
        return False

    def check(self, data: Comparisons) -> None:
        if self.noise != "mixture" or self.unidentified != "stop" or len(data) < 2:
            return
        likely = [row["log_likelihood"] for row in profile(*_halves(data)) if 0.6 <= row["reliability"] <= 0.99]
        if max(likely) - min(likely) < FLAT:
            raise InputError(
                f"{data.source}: flips cannot be told from weak tastes here (every reliability from .6 to .99 explains "
                f"the labels within {max(likely) - min(likely):.1f} nats); have pairs labelled repeatedly or by people "
                "known to be careful, fit bradley_terry with temperature=True, or give unidentified='warn'"
            )

    def learn(self, data: Comparisons, run: FitOptions) -> Fitted:
        if self.noise != "mixture":
            return self._with_given_rate(data, run)
        trace = Trace()
        with threads_for(len(data.items) * data.dim * 16.0), stages("fit", 4, show=run.progress) as bar:
            bar("weight decay")
            decay = self._decay(data, run, trace)
            bar("all comparisons")
            fitted = self._fit(data, run, decay, trace)
            bar("gaps out of sample")
            gap, known = self._cross_fitted(data, run, decay, fitted.end.params)
            bar("reliabilities")
            return self._finished(data, run, trace, fitted, gap, known)

    def _with_given_rate(self, data: Comparisons, run: FitOptions) -> Fitted:
        """One reward on labels moved towards or away from ½: both baselines are just that."""
        move = smoothed_label if self.noise == "smoothing" else unbiased_label
        assert self.flip_rate is not None
        moved = replace(data, label=move(torch.as_tensor(data.label), self.flip_rate).numpy())
        plan = FitPlan(convex=True, decays=FitPlan.decays if self.decay is None else (self.decay,))
        start = POOLED_DECAY if self.decay is None else self.decay
        done = fit([Candidate(self.noise, lambda g: self.head(data.dim, g), start)], moved, plan, run)
        assert isinstance(done.head, FlipMixture)
        if self.noise == "unbiased":  # its gap is the clean one, labels are flipped beside it
            done.head.log_odds_right.fill_(math.log((1 - self.flip_rate) / max(self.flip_rate, 1e-12)))
        return replace(done, report={"flip_rate": self.flip_rate})

    def _built(self, data: Comparisons, run: FitOptions) -> FlipEM:
        head = self.head(data.dim, torch.Generator()).to(run.device).requires_grad_(False)
        if data.items.size <= MAX_DOUBLE and run.device != "mps":
            head = head.double()
        return FlipEM(head, data, BetaPrior.of(*self.prior), personal=self.personal)

    def _fit(self, data: Comparisons, run: FitOptions, decay: float, trace: Trace) -> "_Ends":
        """EM from every start, at the same pooled reward."""
        made = self._built(data, run)
        weights = _pooled_init(data, run, made)
        if self.online:
            ends = [made.em(one_pass(made, weights, decay, run.seed), decay, max_iter=0, tol=1e-9)]
        else:
            ends = [made.em(made.start(weights, eta), decay, max_iter=100, tol=1e-8) for eta in self.eta_starts]
        means = [made.mean_reliability(end.params.logits) for end in ends]
        best = max(range(len(ends)), key=lambda i: ends[i].bound)
        trace.add("refit", decay, -ends[best].bound / made.total)
        flips = anchored(ends[best].params, means[best])
        with torch.no_grad():
            made.head.projector.linear.copy_(flips.weights)
        means = [max(m, 1 - m) for m in means]
        return _Ends(made, replace(ends[best], params=flips), means, [end.bound for end in ends])

    def _decay(self, data: Comparisons, run: FitOptions, trace: Trace) -> float:
        """The decay whose flip mixture predicts labels of held-out items best."""
        if self.decay is not None:
            return self.decay
        parts = inner_parts(data, FitPlan(), run)
        if not parts:
            trace.add("too few comparisons to hold items out: the default decay is used", POOLED_DECAY, math.nan)
            return POOLED_DECAY
        fits = [self._built(inner, run) for inner, _ in parts]
        warm = [f.start(_pooled_init(inner, run, f), 0.9) for f, (inner, _) in zip(fits, parts, strict=True)]
        others = [Tensors.of(outer, f.head) for f, (_, outer) in zip(fits, parts, strict=True)]

        def nats(decay: float) -> float:
            total = 0.0
            for i, (f, other) in enumerate(zip(fits, others, strict=True)):
                warm[i] = f.em(warm[i], decay, max_iter=20, tol=1e-6).params
                codes = warm[i].logits.to(other.weight) if self.personal else other.weight.new_zeros(0)
                with torch.no_grad():
                    f.head.projector.linear.copy_(warm[i].weights)
                    if not self.personal:
                        f.head.log_odds_right.copy_(warm[i].logits[0])
                    shaped = codes[:, None] if self.personal else codes.new_zeros(int(other.user.max()) + 1, 0)
                    total += float(other.nll(f.head, shaped).sum())
            value = total / sum(float(o.weight.sum()) for o in others)
            trace.add("decay", decay, math.nan, value)
            return value

        return descend(nats, FitPlan.decays, POOLED_DECAY)

    def _cross_fitted(
        self, data: Comparisons, run: FitOptions, decay: float, warm: FlipParameters
    ) -> tuple[Tensor, "np.ndarray[Any, np.dtype[np.bool_]]"]:
        """Gaps of comparisons under rewards fitted to other items, and which have one: (N,), (N,)."""
        gap, known = torch.zeros(len(data), dtype=torch.float64), np.zeros(len(data), dtype=bool)
        for fold in range(CROSS):
            train, held = folds_apart(data, 1 / CROSS, SPLIT_SEED, fold, new_items_for=run.new_items_for)
            if min(train.sum(), held.sum()) < 2:
                continue
            made = self._built(data.take(train), run)
            end = made.em(warm, decay, max_iter=100, tol=1e-8)
            flips = anchored(end.params, made.mean_reliability(end.params.logits))
            with torch.no_grad():
                made.head.projector.linear.copy_(flips.weights)
                gap[torch.as_tensor(held)] = made.gap(Tensors.of(data.take(held), made.head)).cpu()
            known |= held
        return gap, known

    def _finished(
        self,
        data: Comparisons,
        run: FitOptions,
        trace: Trace,
        ends: "_Ends",
        gap: Tensor,
        known: "np.ndarray[Any, np.dtype[np.bool_]]",
    ) -> Fitted:
        """Reliabilities from the gaps out of sample where there are enough of them, and what is known of them."""
        made, flips = ends.made, ends.end.params
        some = data.take(known) if known.sum() >= 30 else data
        rows = Tensors.of(some, made.head)
        with torch.no_grad():
            gap = gap[torch.as_tensor(known)] if len(some) < len(data) or known.all() else made.gap().cpu()
        head = made.head.cpu().float().requires_grad_(False).eval()
        stretch = best_stretch(gap, rows, BetaPrior.of(*self.prior), data.users.height if self.personal else 1)
        gap = stretch * gap
        head.projector.linear.mul_(stretch)
        posterior, population = _population(head, gap, rows, BetaPrior.of(*self.prior), data.users.height)
        if self.personal:
            prior = population.prior()
        else:
            prior = Prior.isotropic(0, 1.0)
            posterior = Posterior.of_prior(prior, data.users.height)
            head.log_odds_right.fill_(math.log(population.mode / (1 - population.mode)))
        report = self._report(data, some, ends, flips, gap, rows, population)
        if self.personal and run.diagnostics:
            report |= unreliable_users(some, gap, posterior, population, report["identified"], run.seed)
        if not report["identified"] and self.unidentified != "report":
            warnings.warn(f"lcpo: {report['verdict']}", InputWarning, stacklevel=2)
        return Fitted(head, prior, posterior, trace, report=report, base_worth=stretch)

    def _report(
        self,
        data: Comparisons,
        some: Comparisons,
        ends: "_Ends",
        flips: FlipParameters,
        gap: Tensor,
        rows: Tensors,
        population: BetaPrior,
    ) -> dict[str, Any]:
        difference = torch.as_tensor(data.items[some.first].astype(np.float64) - data.items[some.second])
        few = slice(None, None, max(1, len(some) // 20_000))
        rate = float(rows.weight.double().sum()) / float(rows.weight.double()[few].sum())
        se = fisher_error(
            gap[few], difference[few], rate * rows.weight.cpu()[few], float(np.clip(population.mode, 0.01, 0.99)), 1e-6
        )
        spread = max(ends.rivals) - min(ends.rivals)
        known = se <= UNSURE and spread <= max(se, APART)
        about = f"share of labels flipped {1 - population.mode:.3f} ± {se:.3f} (standard error)"
        verdict = about if known else (
            f"reliabilities are not identified: {about}, starts end {spread:.3f} apart; utility gaps have sd "
            f"{float(gap.std()):.2f}; trust ratios (2η − 1), not values"
        )  # fmt: skip
        return {
            "flip_rate": 1 - population.mode,
            "standard_error": se,
            "reliability_by_start": dict(zip(map(str, self.eta_starts), ends.means, strict=False)),
            "identified": known,
            "verdict": verdict,
            "bounds": ends.end.bounds,
            "profile": profile(gap, rows),
        }


@dataclass(frozen=True)
class _Ends:
    """The fit on everything, EM's best end, and the mean reliability and bound that each start ended on."""

    made: FlipEM
    end: EMResult[FlipParameters, Tensor]
    means: list[float]
    bounds: list[float]

    @property
    def rivals(self) -> list[float]:
        """Mean reliabilities of the ends that explain the labels as well as the best."""
        return [m for m, b in zip(self.means, self.bounds, strict=True) if b > max(self.bounds) - FLAT]


def _halves(data: Comparisons) -> tuple[Tensor, Tensors]:
    """Gaps of half the comparisons under one reward fitted to the other half, and those comparisons."""
    half = uniform(combine(data.item_keys[data.first], data.item_keys[data.second]), 1) < 0.5
    if half.all() or not half.any():
        half = np.arange(len(data)) % 2 == 0
    head = FlipMixture(data.dim, personal=False, generator=torch.Generator())
    weights, _ = pooled(data.take(half).in_key_order(), None, FitOptions())
    standardise(head, data.take(half))
    with torch.no_grad():
        head.projector.linear.copy_(weights[None].cpu() * data.dim**0.5)
        rows = Tensors.of(data.take(~half), head)
        return rows.gap(head, torch.zeros(data.users.height, 0)).double(), rows


def _pooled_init(data: Comparisons, run: FitOptions, made: FlipEM) -> Tensor:
    """The map of one pooled reward, where EM begins on the side of the majority."""
    weights, _ = pooled(data, None, run)
    return weights[None].to(made.head.projector.linear) * data.dim**0.5


def _population(
    head: FlipMixture, gap: Tensor, rows: Tensors, prior: BetaPrior, n_users: int
) -> tuple[Posterior, BetaPrior]:
    """Empirical Bayes: reliabilities under the prior, the population they show, and again under that."""
    one = FlipMixture(head.n_embedding, personal=True, generator=torch.Generator())
    together = replace(rows, user=torch.zeros_like(rows.user))
    mode = float(prob(given_gaps(one, gap, together, BetaPrior(0.75, 1.0), 1).codes)[0, 0])
    for _ in range(2):
        found = given_gaps(one, gap, rows, prior, n_users)
        seen = torch.bincount(rows.user.cpu(), minlength=n_users) > 0
        eta = prob(found.codes[seen, 0])
        error = found.covariance[seen, 0, 0] * (eta * (1 - eta)).square()
        spread = max(float((eta - eta.mean()).square().mean() + error.mean()), 1e-4)
        labels = float(np.clip(mode * (1 - mode) / spread - 1, 2.0, 200.0))
        prior = BetaPrior(float(np.clip(mode, 1e-3, 1 - 1e-3)), labels)
    return given_gaps(one, gap, rows, prior, n_users), prior
