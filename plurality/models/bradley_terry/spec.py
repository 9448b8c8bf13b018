"""Bradley–Terry: one reward for all users, and the baseline every other family has to beat."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from plurality.data.comparisons import Comparisons
from plurality.errors import InputError
from plurality.fitting.fit import fit
from plurality.fitting.objective import FitPlan
from plurality.fitting.tuning import Candidate, FitOptions
from plurality.models.family import Spec
from plurality.reward.fitted import Fitted
from plurality.reward.heads import PooledHead


@dataclass(frozen=True)
class BradleyTerry(Spec):
    """P(first ≻ second) = σ(r(x₁) − r(x₂)), r linear in the embedding, or an MLP with `hidden` units.

    With `temperature`, P = σ(e^{z_u}(r(x₁) − r(x₂))), z_u ~ N(0, s²): people differ in care before they differ in
    taste, and this control credits that. `decay` is the prior precision of the weights over their fan-in, on inputs
    scaled so that a difference of two items has mean square 2 a dimension; None chooses it on held-out items.
    Source: Bradley & Terry 1952, eq. 1; the MLP form is the usual reward head.

    n_init    random starts, of which the best is kept
    """

    hidden: int = 0
    temperature: bool = False
    decay: float | None = None
    n_init: int = 1

    name: ClassVar[str] = "bradley_terry"

    def __post_init__(self) -> None:
        if self.hidden < 0 or self.n_init < 1:
            raise InputError("bradley_terry: hidden must be 0 or more and n_init 1 or more")
        if self.decay is not None and not self.decay > 0:
            raise InputError(f"bradley_terry: decay {self.decay} is not positive; leave it out to have it chosen")

    def head(self, width: int, generator: torch.Generator) -> PooledHead:
        """The torch module for embeddings of this width."""
        return PooledHead(width, hidden=self.hidden, temperature=self.temperature, generator=generator)

    def learn(self, data: Comparisons, run: FitOptions) -> Fitted:
        convex = self.hidden == 0 and not self.temperature
        grid = FitPlan.decays if self.decay is None else (self.decay,)
        plan = FitPlan(n_init=self.n_init, convex=convex, decays=grid)
        start = self.decay if self.decay is not None else 2.0 if self.hidden else 20.0
        return fit([Candidate(self.name, lambda g: self.head(data.dim, g), start, code_sd=0.5)], data, plan, run)
