"""DPL: a distribution of rewards for each item, the baseline that sees disagreement but not whose it is."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from plurality.data.comparisons import Comparisons
from plurality.errors import InputError
from plurality.fitting.fit import fit
from plurality.fitting.objective import FitPlan
from plurality.fitting.tuning import Candidate, FitOptions
from plurality.models.dpl.head import Categorical, MeanVariance
from plurality.models.family import Spec
from plurality.reward.fitted import Fitted
from plurality.reward.tensors import Tensors

KINDS = ("mean_variance", "categorical")


@dataclass(frozen=True)
class DPL(Spec):
    """Reward distributions without users: N(m, s²) with an exact probit, or a categorical over 10 atoms in [0, 1].

    r² = Var(m) / (Var(m) + E s²) over items, in the report, is the share of reward variance that is not disagreement.
    `quantile` α makes utility the α-quantile of the reward instead of its mean: risk-averse for small α.
    `decay` as in BradleyTerry; None chooses it on held-out items.
    Source: Distributional Preference Learning, arXiv 2312.08358, §4.

    kind      "mean_variance" or "categorical"
    hidden    units of a hidden layer; 0 is linear
    """

    kind: str = "mean_variance"
    quantile: float | None = None
    hidden: int = 0
    decay: float | None = None

    name: ClassVar[str] = "dpl"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"dpl: kind {self.kind!r} is unknown; choose one of {', '.join(KINDS)}")
        if self.quantile is not None and not 0 < self.quantile < 1:
            raise InputError(f"dpl: quantile {self.quantile} must lie between 0 and 1; .01 is the cautious end")
        if self.hidden < 0 or (self.decay is not None and not self.decay > 0):
            raise InputError("dpl: hidden must be 0 or more, decay positive or left out")

    def head(self, width: int, generator: torch.Generator) -> MeanVariance | Categorical:
        kind = MeanVariance if self.kind == "mean_variance" else Categorical
        return kind(width, hidden=self.hidden, quantile=self.quantile, generator=generator)

    def learns_grades(self) -> bool:
        return False

    def learn(self, data: Comparisons, run: FitOptions) -> Fitted:
        plan = FitPlan(decays=FitPlan.decays if self.decay is None else (self.decay,))
        start = 6.0 if self.decay is None else self.decay
        done = fit([Candidate(self.name, lambda g: self.head(data.dim, g), start)], data, plan, run)
        assert isinstance(done.head, MeanVariance | Categorical)
        with torch.no_grad():
            mean, variance = done.head.moments(done.head.features(Tensors.of(data, done.head).items, None))
        between, within = float(mean.double().var()), float(variance.double().mean())
        return replace(done, report={"r2": between / max(between + within, 1e-300)})
