"""VPL: a latent taste for every user, read off their comparisons by one pass of an encoder."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch

from plurality.data.comparisons import Comparisons
from plurality.errors import InputError
from plurality.fitting.optimisers import threads_for
from plurality.fitting.tuning import FitOptions
from plurality.models.family import Spec
from plurality.models.vpl.diagnostics import diagnose
from plurality.models.vpl.fit import learn
from plurality.models.vpl.head import AGGREGATIONS, VPLHead
from plurality.models.vpl.train import TrainingSettings
from plurality.reward.fitted import Fitted


@dataclass(frozen=True)
class VPL(Spec):
    """Variational preference learning: z ~ q(z | comparisons of u), P(first ≻ second) = E_z σ(r(x₁, z) − r(x₂, z)).

    n_codes      latent dimensions
    n_features   directions of the embedding that encoder and reward look at; None has them chosen
    hidden       units of an MLP over features and code together, beside the part that is linear in features
    aggregation  of a context's evidence: "product" (of experts; certainty grows with every comparison), "attention"
                 or "mean" (it saturates)
    beta         weight of the KL, free_bits nats a dimension has for nothing; decay of the map of embeddings;
                 None has beta and decay chosen on held-out items, queries apart from contexts, contexts few and many
    draws        of z for each user in a training step; max_context: comparisons of a training context at most
    centred      evidence is measured from what is expected of any user, rather than from indifference
    floor        share of the prior's variance that the posterior's never falls below, in (0, 1)
    max_context  comparisons of a training context at most
    free_bits    nats a dimension has for nothing
    decay        weight decay of the map of embeddings; None has it chosen on held-out items

    Source: VPL, arXiv 2408.10075, eqs 4 and 5; `RewardModel.win_probability` is its VPL-SPO reward.
    """

    n_codes: int = 4
    n_features: int | None = None
    hidden: int = 0
    aggregation: str = "product"
    centred: bool = True
    floor: float = 1e-3
    draws: int = 8
    max_context: int = 64
    beta: float | None = None
    free_bits: float = 0.05
    decay: float | None = None

    name: ClassVar[str] = "vpl"

    def __post_init__(self) -> None:
        if self.aggregation not in AGGREGATIONS:
            raise InputError(
                f"vpl: aggregation {self.aggregation!r} is unknown; choose one of {', '.join(AGGREGATIONS)}"
            )
        if min(self.n_codes, self.draws, self.max_context) < 1 or self.hidden < 0:
            raise InputError("vpl: n_codes, draws and max_context must be 1 or more, hidden 0 or more")
        if self.n_features is not None and self.n_features < 1:
            raise InputError("vpl: n_features must be 1 or more; leave it out to have it chosen")
        if not 0 < self.floor < 1 or self.free_bits < 0 or (self.beta is not None and self.beta < 0):
            raise InputError("vpl: floor lies between 0 and 1, beta and free_bits are 0 or more")
        if self.decay is not None and not self.decay > 0:
            raise InputError(f"vpl: decay {self.decay} is not positive; leave it out to have it chosen")

    def head(self, width: int, generator: torch.Generator) -> VPLHead:
        return VPLHead(
            width,
            n_codes=self.n_codes,
            n_features=self.n_features or 1 + self.n_codes,
            hidden=self.hidden,
            aggregation=self.aggregation,
            centred=self.centred,
            floor=self.floor,
            generator=generator,
        )

    def check(self, data: Comparisons) -> None:
        most = int(np.bincount(data.user).max(initial=0))
        if most < 2:
            raise InputError(
                f"{data.source}: no user has two comparisons, and VPL learns to predict one from the others; "
                "give users several comparisons each, or fit bradley_terry"
            )

    def for_a_part(self, report: Mapping[str, Any]) -> "VPL":
        return replace(self, decay=report["decay"], beta=report["beta"])

    def learn(self, data: Comparisons, run: FitOptions) -> Fitted:
        def build(n_features: int) -> VPLHead:
            spec = replace(self, n_features=n_features)
            return spec.head(data.dim, torch.Generator().manual_seed(run.seed)).to(run.device)

        given = TrainingSettings(0.0, 0.0, self.free_bits, self.draws, self.max_context, run.seed)
        with threads_for(len(data.items) * data.dim * 16.0):
            done = learn(data, build, self.n_features, self.decay, self.beta, given, run)
        report = diagnose(done.head, done.posterior, torch.as_tensor(data.present), done.parts)
        chosen = {"n_features": done.head.projector.linear.shape[0]}
        report |= {"decay": done.settings.decay, "beta": done.settings.beta}
        return Fitted(done.head, done.prior, done.posterior, done.trace, chosen, report)
