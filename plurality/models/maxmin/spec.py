"""MaxMin: people come in a few kinds, each with a reward of its own, and one infers who is of which."""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from plurality.data.comparisons import Comparisons
from plurality.errors import InputError
from plurality.fitting.em import EMResult
from plurality.fitting.objective import MAX_DOUBLE, FitPlan
from plurality.fitting.optimisers import threads_for
from plurality.fitting.search import descend
from plurality.fitting.tuning import POOLED_DECAY, FitOptions, inner_parts
from plurality.io.progress import Bar, stages
from plurality.models.family import Spec
from plurality.models.maxmin.fit import MixtureEM, MixtureParameters
from plurality.models.maxmin.head import Mixture
from plurality.reward.fitted import Fitted, Trace
from plurality.reward.posterior import Posterior, Prior
from plurality.reward.tensors import Tensors

INITS = ("spectral", "round_robin", "random")
MOST_GROUPS = 6  # tried while held-out evidence grows
WORTH = 1e-3  # nats a held-out comparison that another group has to bring, and a standard error over users


@dataclass(frozen=True)
class MaxMin(Spec):
    """Mixture of K rewards over users: P(comparisons of u) = Σ_k π_k Π_i σ(±(r_k(x_i1) − r_k(x_i2))).

    Soft EM with mixing weights π; `hard` is the paper's assignment to the likeliest group without them. `n_groups`
    None has the number chosen by the evidence of held-out items. `init`: "spectral" clusters users' directions,
    "round_robin" is the authors' start, "random" any; of `n_init` starts the highest bound is kept, the first as asked,
    the others random. `decay` as in BradleyTerry, for each group's reward; None chooses it on held-out items.
    Source: MaxMin-RLHF, arXiv 2402.08925, Algorithm 2. The welfare rule over the groups is not part of this model.
    """

    n_groups: int | None = None
    hard: bool = False
    init: str = "spectral"
    n_init: int = 3
    decay: float | None = None

    name: ClassVar[str] = "maxmin"

    def __post_init__(self) -> None:
        if self.init not in INITS:
            raise InputError(f"maxmin: init {self.init!r} is unknown; choose one of {', '.join(INITS)}")
        if self.n_init < 1 or (self.n_groups is not None and self.n_groups < 1):
            raise InputError("maxmin: n_init and n_groups must be 1 or more; leave n_groups out to have it chosen")
        if self.decay is not None and not self.decay > 0:
            raise InputError(f"maxmin: decay {self.decay} is not positive; leave it out to have it chosen")

    def head(self, width: int, generator: torch.Generator) -> Mixture:
        return Mixture(width, groups=self.n_groups or 1, hard=self.hard, generator=generator)

    def check(self, data: Comparisons) -> None:
        people = len(data.present)
        if self.n_groups is not None and self.n_groups > people:
            raise InputError(
                f"{data.source}: {self.n_groups} groups of {people} users cannot be told apart; "
                "give a smaller n_groups, or none to have it chosen"
            )

    def learn(self, data: Comparisons, run: FitOptions) -> Fitted:
        trace, most = Trace(), min(MOST_GROUPS, len(data.present))
        with (
            threads_for(len(data.items) * data.dim * 16.0),
            stages("fit", (1 if self.n_groups else most) + 1, show=run.progress) as bar,
        ):
            groups, decay = self._choose(data, run, trace, bar, most)
            bar(f"all comparisons, {groups} groups")
            fit = MixtureEM(
                replace(self, n_groups=groups).built(data, run, precise=data.items.size <= MAX_DOUBLE), data
            )
            starts = fit.starts(self.init, decay, run.seed, self.n_init)
            end, bounds = fit.best(decay, starts, max_iter=300, tol=1e-9)
        trace.add("refit", decay, -end.bound / float(data.weight.sum()))
        head, prior, posterior = _by_share(fit.head, end, data)
        report = _report(end, bounds, prior)
        return Fitted(head, prior, posterior, trace, {"n_groups": groups}, report)

    def built(self, data: Comparisons, run: FitOptions, *, precise: bool) -> Mixture:
        """A head to fit, in double precision where an optimum is sought that data in memory allow for.

        data       comparisons
        run        seed and device
        precise    whether in double precision
        """
        head = self.head(data.dim, torch.Generator().manual_seed(run.seed)).to(run.device).requires_grad_(False)
        return head.double() if precise and run.device != "mps" else head

    def _choose(self, data: Comparisons, run: FitOptions, trace: Trace, bar: Bar, most: int) -> tuple[int, float]:
        """Number of groups and decay by the evidence of held-out items."""
        plan = FitPlan(decays=FitPlan.decays if self.decay is None else (self.decay,))
        start = self.decay or POOLED_DECAY
        if self.n_groups is not None and self.decay is not None:
            bar(f"{self.n_groups} groups")
            return self.n_groups, self.decay
        parts = inner_parts(data, plan, run)
        if not parts:
            trace.add("too few comparisons to hold items out: defaults are used", start, math.nan)
            return self.n_groups or 1, start
        best: _HeldOutFit | None = None
        for groups in range(1, most + 1) if self.n_groups is None else (self.n_groups,):
            bar(f"{groups} groups")
            trial = _GroupCountTrial(replace(self, n_groups=groups), parts, run, trace)
            found = trial.walk(best.decay if best else start, plan.decays)
            if best is not None and not found.clearly_better(best):
                break
            best = found
        assert best is not None  # one number of groups at least was tried
        return best.groups, best.decay


@dataclass(frozen=True)
class _HeldOutFit:
    """How a number of groups does at a decay: minus log-evidence of each user's held-out items (nats), (U,)."""

    groups: int
    decay: float
    loss: Tensor
    weight: float

    @property
    def nats(self) -> float:
        """A comparison."""
        return float(self.loss.sum()) / self.weight

    def clearly_better(self, other: "_HeldOutFit") -> bool:
        """Whether the gain is worth a group, and more than a standard error over users."""
        gain = other.loss - self.loss
        error = float(gain.std()) * math.sqrt(len(gain))
        return float(gain.sum()) > max(error, WORTH * self.weight)


class _GroupCountTrial:
    """One number of groups on the inner splits, along the decays."""

    def __init__(
        self, spec: MaxMin, parts: list[tuple[Comparisons, Comparisons]], run: FitOptions, trace: Trace
    ) -> None:
        self.spec, self.run, self.trace = spec, run, trace
        self.fits = [MixtureEM(spec.built(inner, run, precise=False), inner) for inner, _ in parts]
        self.others = [Tensors.of(outer, fit.head) for (_, outer), fit in zip(parts, self.fits, strict=True)]
        self.present = [torch.as_tensor(outer.present) for _, outer in parts]
        self.warm: list[MixtureParameters] = []

    def walk(self, start: float, decays: tuple[float, ...]) -> _HeldOutFit:
        """The best decay: weaker ones, and if that does not help stronger ones, while held-out evidence grows."""
        tried: dict[float, _HeldOutFit] = {}

        def nats(decay: float) -> float:
            tried[decay] = self.held_out(decay)
            return tried[decay].nats

        return tried[descend(nats, decays, start)]

    def held_out(self, decay: float) -> _HeldOutFit:
        """The evidence of held-out items at this decay, users of every split."""
        if not self.warm:
            self.warm = [next(fit.starts(self.spec.init, decay, self.run.seed, 1)) for fit in self.fits]
        losses, weight = [], 0.0
        for i, (fit, other, present) in enumerate(zip(self.fits, self.others, self.present, strict=True)):
            end, _ = fit.best(decay, [self.warm[i]], max_iter=20, tol=1e-5)
            self.warm[i] = end.params
            losses.append(-fit.evidence(end.responsibilities, end.params.log_shares, other)[present])
            weight += float(other.weight.sum())
        held = _HeldOutFit(self.spec.n_groups or 1, decay, torch.cat(losses), weight)
        self.trace.add(f"{held.groups} groups", decay, math.nan, held.nats)
        return held


def _by_share(
    head: Mixture, end: EMResult[MixtureParameters, Tensor], data: Comparisons
) -> tuple[Mixture, Prior, Posterior]:
    """The largest group first, and every user's responsibilities."""
    shares = end.responsibilities.mean(0).cpu() if head.hard else end.params.log_shares.exp().cpu()
    order = torch.argsort(-shares, stable=True)
    with torch.no_grad():
        head.projector.linear.copy_(head.projector.linear[order.to(head.projector.linear.device)])
    prior = Prior(shares[order], torch.eye(len(order), dtype=torch.float64))
    codes = prior.mean.repeat(data.users.height, 1)
    codes[torch.as_tensor(data.present)] = end.responsibilities.cpu()[:, order]
    spread = torch.diag_embed(codes) - codes[:, :, None] * codes[:, None, :]
    return head.cpu().float().requires_grad_(False).eval(), prior, Posterior(codes, spread)


def _report(end: EMResult[MixtureParameters, Tensor], bounds: list[float], prior: Prior) -> dict[str, Any]:
    """What EM did, ready for JSON."""
    return {
        "shares": prior.mean.tolist(),
        "bounds": end.bounds,
        "bounds_of_starts": bounds,
        "converged": end.converged,
        "verdict": "one group: this is Bradley–Terry"
        if len(prior.mean) == 1
        else f"{len(prior.mean)} groups, shares {', '.join(f'{s:.2f}' for s in prior.mean)}",
    }
