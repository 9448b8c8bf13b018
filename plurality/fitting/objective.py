"""A head and its users' codes, fitted together on one set of comparisons.

The objective is a sum, never a mean of means:
    Σ_i w_i nll(gap_i, y_i) + penalty(shared weights; decay) + Σ_u ½‖z_u‖² / sd².
It is computed in full at every step while that is cheap: features once an item, then one gather a comparison, so
that weights are exactly repetitions and row order is irrelevant. Large sets go in batches, as fast as many steps.
"""

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from plurality.data.comparisons import Comparisons
from plurality.errors import InputError
from plurality.fitting.data_parallel import current
from plurality.fitting.optimisers import adam, lbfgs
from plurality.reward.heads import Head, Projector
from plurality.reward.posterior import Posterior, Prior
from plurality.reward.tensors import Tensors

MAX_FULL_BATCH = 65_536  # items or comparisons, below which every step looks at all of them
FIRST, LATER, LAST = range(3)  # stages of a fit: from a random start, along the decays, on everything
MAX_DOUBLE = 1 << 24  # embedding values up to which an optimum is sought in double precision, 128 MB of them
MAX_CURVED = 1_024  # weights up to which the curvature between all of them is looked at,
CURVED_ROWS = 8  # from so many comparisons a weight
CHOOSING, FINAL = 1e-6, 1e-9  # gradient at which a convex fit ends, while settings are chosen and at the end


@dataclass(frozen=True)
class FitPlan:
    """How a fit goes about it; the defaults are the product's one setting.

    decays       grid of weight decays, weak to strong: prior precision of the weights over their fan-in
    n_init       random starts, the best on held-out items is kept
    convex       the objective is convex in the shared weights: L-BFGS to the optimum
    steps        optimiser steps of a first stage, of each later stage, and of the last fit on everything
    rate         learning rate of codes, prototypes and hidden layers; linear maps take ten times that
    holdout      share of items held out on each inner split
    held_rows    held-out comparisons to choose settings by; inner splits are added, at most `splits`, to reach them
    batch        comparisons a step where looking at all of them would be dear, with steps and rate to go with it
    """

    decays: tuple[float, ...] = (0.06, 0.2, 0.6, 2.0, 6.0, 20.0, 60.0, 200.0, 600.0, 2e3, 6e3, 2e4)
    n_init: int = 1
    convex: bool = False
    steps: tuple[int, int, int] = (70, 25, 50)
    batched_steps: tuple[int, int, int] = (300, 50, 120)
    rate: float = 0.15
    batched_rate: float = 0.05
    holdout: float = 0.25
    held_rows: int = 5_000
    splits: int = 3
    batch: int = 8_192


def _is_cheap(rows: Tensors, plan: FitPlan) -> bool:
    """Whether to look at everything in every step: few items or comparisons, or a line search that needs it."""
    return plan.convex or len(rows.items) <= MAX_FULL_BATCH or len(rows.first) <= MAX_FULL_BATCH


def _batches(count: int, size: int) -> Callable[[int], Tensor]:
    """Rows (B,) of a batch, by step, from a fresh shuffle each epoch."""
    per_epoch = math.ceil(count / size)

    def batch(step: int) -> Tensor:
        epoch, place = divmod(step, per_epoch)
        order = torch.randperm(count, generator=torch.Generator().manual_seed(epoch))
        return order[place * size : (place + 1) * size]

    return batch


class Objective:
    """A head and its users' codes on one set of comparisons, fitted together.

    final   whether a convex fit goes on to the last digit, or as far as a choice of settings can tell
    """

    def __init__(
        self, head: Head, data: Comparisons, plan: FitPlan, code_sd: float = 1.0, *, final: bool = False
    ) -> None:
        self.head, self.plan, self.sd, self.final = head, plan, code_sd, final
        if final and plan.convex and data.items.size <= MAX_DOUBLE and next(head.parameters()).device.type != "mps":
            head.double()
        self.rows = Tensors.of(data, head)
        self.process = current()
        share = self.process.rows(data) if _is_cheap(self.rows, plan) else None  # batches are shared out one by one
        self.share = self.rows if share is None else Tensors.of(data, head, share)
        self.present = torch.as_tensor(data.present)
        self.codes = next(head.parameters()).new_zeros(data.users.height, head.n_codes)
        self._gram: Tensor | None = None

    def minimise(self, decay: float, stage: int) -> float:
        """Lower the joint objective from where head and codes stand; returns nats a comparison."""
        rows, head, plan = self.rows, self.head, self.plan
        total = float(rows.weight.sum())
        batch = None if _is_cheap(rows, plan) else _batches(len(rows.first), plan.batch)
        free = head.n_codes > 0 and self.sd > 0
        codes = self.codes.clone().requires_grad_(free)  # a copy: whoever kept the codes so far has them still
        parameters = [*head.parameters(), *([codes] if free else [])]
        self.process.agree([*head.parameters(), codes])

        def loss(step: int = 0) -> Tensor:
            if batch is None:
                part, scale = self.share, 1.0
            else:
                drawn = batch(step).to(rows.first.device)
                part, scale = rows.batch(self.process.part(drawn)), total / float(rows.weight[drawn].sum())
            data = self.process.summed(part.nll(head, codes).sum(), parameters) * scale
            penalty = head.penalty(decay)
            if free:
                penalty = penalty + codes.square().sum() / (2 * self.sd**2)
            return (data + penalty) / total

        maps = [m.linear for m in head.modules() if isinstance(m, Projector)]
        others = [p for p in head.parameters() if all(p is not q for q in maps)] + ([codes] if free else [])
        steps = (plan.steps if batch is None else plan.batched_steps)[stage]
        if plan.convex:
            tol = FINAL if self.final else CHOOSING
            value = lbfgs(loss, [*maps, *others], steps=5 * steps, tol=tol, root=self._curvature(decay))
        else:
            full = plan.rate if batch is None else plan.batched_rate
            rate = full if stage == FIRST else full / 2
            value = adam(loss, [(maps, 10 * rate), (others, rate)], steps=steps)
        self.codes = codes.detach()
        if not math.isfinite(value):
            raise InputError("the fit diverged: look for embeddings of very unequal size, or standardise them")
        return value

    def _curvature(self, decay: float) -> Tensor | None:
        """Cholesky factor (d, d) of the curvature at gap 0 of a linear map (1, d) and nothing else."""
        parameters = list(self.head.parameters())
        maps = [m for m in self.head.modules() if isinstance(m, Projector)]
        if len(parameters) > 1 or len(maps) != 1 or maps[0].linear.shape[1] > MAX_CURVED:
            return None
        if self._gram is None:
            self._gram = self._second_moment(maps[0])
        stiff = decay / float(self.rows.weight.sum()) * torch.eye(len(self._gram), dtype=self._gram.dtype)
        root: Tensor = torch.linalg.cholesky(self._gram / 4 + stiff)
        return root.to(parameters[0])

    @torch.no_grad()
    def _second_moment(self, projector: Projector) -> Tensor:
        """E[ΔΔᵀ] (d, d) of differences of inputs as weights see them, from an even sample of comparisons."""
        rows, linear = self.rows, projector.linear
        most = max(2_000, CURVED_ROWS * linear.shape[1])
        some = slice(None, None, math.ceil(len(rows.first) / most))
        difference = rows.items[rows.first[some]] - rows.items[rows.second[some]]
        difference = difference * projector.raw(torch.ones_like(linear))[0]
        weight = rows.weight[some]
        moment: Tensor = (weight[:, None] * difference).T @ difference / weight.sum()
        return moment.double().cpu()

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
        if not self.head.n_codes:
            return Posterior.of_prior(prior, len(self.codes))
        evidence = self.rows.evidence(self.head)
        return self.head.doubled().infer(evidence, prior, len(self.codes), start=start, tol=tol)

    def held_out(self, other: Tensors, codes: Tensor | None = None) -> float:
        """Sum of nats of other comparisons by the same users, under their present or the given codes."""
        codes = self.codes if codes is None else codes.to(self.codes)
        with torch.no_grad():
            return self.process.agreed(float(other.nll(self.head, codes).sum()))


def __getattr__(name: str) -> Any:
    """`Plan` is the name that `FitPlan` had before 0.2."""
    if name == "Plan":
        warnings.warn("Plan is now FitPlan; the old name goes in 0.3", DeprecationWarning, stacklevel=2)
        return FitPlan
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
