"""MORE: one reward from several sources, weighed in each step so that no source's drift carries it away."""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import polars as pl
import torch
from torch import Tensor

from plurality.arrays import Int
from plurality.data.comparisons import Comparisons
from plurality.errors import InputError
from plurality.fitting.objective import FitPlan, Objective
from plurality.fitting.optimisers import threads_for
from plurality.fitting.search import descend
from plurality.fitting.tuning import POOLED_DECAY, FitOptions, inner_parts
from plurality.io.progress import stages
from plurality.models.family import Spec
from plurality.models.more.fit import MultiSourceFit, SourceWeighting
from plurality.models.more.head import Objectives
from plurality.models.more.min_norm import NORMALISE
from plurality.reward.fitted import Fitted, Trace
from plurality.reward.heads import Head, PooledHead
from plurality.reward.posterior import Posterior, Prior
from plurality.reward.tensors import Tensors

CHOOSING = 0.5  # share of the steps that a decay is tried for


@dataclass(frozen=True)
class MORE(Spec):
    """One reward (or one a source) from K sources by Σ_k λ_k L_k, λ of the shortest combination of head gradients.

    source      the `objective` column of comparisons, or any column of the users table, whose values are sources
    balance     "min_norm", or "plain": 1/K with the same batches, the control
    normalise   gradients by "l2" (as the authors ran it), "none", "loss" or "loss+"; l2 with two sources is plain
    multi_head  a reward a source; a user is a direction over them, R = vᵀr(x) (DPA)
    batch, steps  expected pairs of each source in a step, and steps of the last fit
    `decay` as in BradleyTerry; None chooses it on held-out items.
    Source: MORE, arXiv 2312.07401, eq. 7; DPA, arXiv 2402.18571, eq. 2.

    hidden       units of a hidden layer; 0 is linear
    n_sources    number of sources; None takes it from the data
    names        of the sources, by which a multi-head reward is asked for one; the fit takes them from the data
    """

    source: str = "objective"
    balance: str = "min_norm"
    normalise: str = "l2"
    multi_head: bool = False
    hidden: int = 0
    batch: int = 64
    steps: int = 300
    decay: float | None = None
    n_sources: int | None = None
    names: tuple[str, ...] = ()

    name: ClassVar[str] = "more"

    def __post_init__(self) -> None:
        if self.balance not in ("min_norm", "plain") or self.normalise not in NORMALISE:
            raise InputError(f"more: balance is min_norm or plain, normalise one of {', '.join(NORMALISE)}")
        if self.multi_head and self.hidden:
            raise InputError("more: multi_head has linear rewards; leave hidden out")
        if min(self.batch, self.steps) < 1 or self.hidden < 0:
            raise InputError("more: batch and steps must be 1 or more, hidden 0 or more")
        if self.decay is not None and not self.decay > 0:
            raise InputError(f"more: decay {self.decay} is not positive; leave it out to have it chosen")

    def head(self, width: int, generator: torch.Generator) -> Head:
        if self.multi_head:
            return Objectives(width, objectives=self._objectives, generator=generator)
        return PooledHead(width, hidden=self.hidden, temperature=False, generator=generator)

    @property
    def _objectives(self) -> tuple[str, ...]:
        """Names of the rewards; numbers in a model of before names were kept."""
        count = self.n_sources or 1
        return self.names if len(self.names) == count else tuple(f"objective_{k}" for k in range(count))

    def check(self, data: Comparisons) -> None:
        names, source = self._sources(data)
        if len(np.unique(source)) < 2:
            raise InputError(
                f"{data.source}: MORE balances sources, and {self.source!r} has but one ({names[int(source[0])]!r}); "
                "name another column as source=, or fit bradley_terry"
            )

    def _sources(self, data: Comparisons) -> tuple[list[str], Int]:
        """Names of sources, and the source of every comparison (N,)."""
        if self.source == "objective" and data.objective is not None:
            return list(data.objectives), data.objective
        if self.source not in data.users.columns:
            columns = [c for c in data.users.columns if c != "user_id"]
            there = f"the users table has {', '.join(columns)}" if columns else "the users table has no column"
            raise InputError(
                f"{data.source}: MORE needs several objectives or sources, and there is no column {self.source!r}; "
                f"{there}: name one as source=, give comparisons an objective column, or fit bradley_terry"
            )
        value = data.users[self.source].cast(pl.String).fill_null("not known")
        names = value.gather(data.present).unique().sort()
        place = np.full(data.users.height, -1, dtype=np.int64)
        place[data.present] = names.search_sorted(value.gather(data.present)).to_numpy()
        return names.to_list(), place[data.user]

    def learn(self, data: Comparisons, run: FitOptions) -> Fitted:
        names, source = self._sources(data)
        names, source = [names[k] for k in np.unique(source)], np.unique(source, return_inverse=True)[1]
        spec, trace = replace(self, n_sources=len(names), names=tuple(names)), Trace()
        with threads_for(2 * self.batch * len(names) * data.dim * 8.0), stages("fit", 3, show=run.progress) as bar:
            bar("weight decay")
            decay = spec._decay(data, source, run, trace)
            bar("all comparisons")
            fit = spec._fit_on(data, source, run)
            taken = fit.minimise(decay, self.steps, run.seed)
            with torch.no_grad():
                losses = fit.source_losses(fit.rows, fit.source)
            trace.add("refit", decay, float(losses.mean()))
            bar("codes of users")
            report = _report(names, taken, losses)
            return spec._finished(fit, data, trace, report)

    def _fit_on(self, data: Comparisons, source: Int, run: FitOptions) -> MultiSourceFit:
        head = self.head(data.dim, torch.Generator().manual_seed(run.seed)).to(run.device)
        return MultiSourceFit(head, data, source, SourceWeighting(self.balance, self.normalise, self.batch))

    def _decay(self, data: Comparisons, source: Int, run: FitOptions, trace: Trace) -> float:
        """The decay at which held-out items of all sources are predicted best, sources alike."""
        parts = []
        for inner, outer in inner_parts(replace(data, objective=source), FitPlan(), run) if self.decay is None else []:
            inside, outside = inner.objective, outer.objective
            if inside is not None and outside is not None and len(np.unique(inside)) == self.n_sources:
                parts.append((inner, inside, outer, outside))
        if not parts:
            return self.decay or POOLED_DECAY

        def nats(decay: float) -> float:
            values = []
            for inner, inside, outer, outside in parts:
                fit = self._fit_on(inner, inside, run)
                fit.minimise(decay, max(1, int(CHOOSING * self.steps)), run.seed)
                place = torch.as_tensor(outside, device=fit.source.device)
                with torch.no_grad():
                    losses = fit.source_losses(fit.held_out(outer, place), place)
                values.append(float(losses[place.unique()].mean()))
            trace.add("decay", decay, math.nan, float(np.mean(values)))
            return float(np.mean(values))

        return descend(nats, FitPlan.decays, POOLED_DECAY)

    def _finished(self, fit: MultiSourceFit, data: Comparisons, trace: Trace, report: dict[str, Any]) -> Fitted:
        head = fit.head.cpu().float().requires_grad_(False).eval()
        chosen = {"n_sources": self.n_sources, "names": self.names}
        if not isinstance(head, Objectives):
            prior = Prior.isotropic(0, 1.0)
            unseen = Posterior.of_prior(prior, data.users.height)
            return Fitted(head, prior, unseen, trace, chosen, report)
        with torch.no_grad():
            rows = Tensors.of(data, head)
            features = head.features(rows.items, None)
            head.scale.mul_((features[rows.first] - features[rows.second]).std(0).clamp_min(1e-6))
        joint = Objective(head, data, FitPlan())
        joint.codes = torch.full_like(joint.codes, 1 / head.n_codes)
        prior, _ = joint.empirical_prior(rounds=4)
        return Fitted(head, prior, joint.posterior(prior, start=joint.codes.double().cpu()), trace, chosen, report)


def _report(names: list[str], taken: Tensor, losses: Tensor) -> dict[str, Any]:
    """The weights that sources had in the steps, and how well each ended up, in nats a comparison."""
    return {
        "weights": dict(zip(names, taken.mean(0).tolist(), strict=True)),
        "weights_sd": dict(zip(names, taken.std(0, unbiased=False).tolist(), strict=True)),
        "last_weights": dict(zip(names, taken[-max(1, len(taken) // 10) :].mean(0).tolist(), strict=True)),
        "losses": dict(zip(names, losses.tolist(), strict=True)),
    }
