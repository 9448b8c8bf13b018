"""PAL: a user is a mixture of a few prototype ideal points (form A) or prompt-dependent directions (form B)."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from plurality.data.comparisons import Comparisons
from plurality.errors import InputError
from plurality.fitting.fit import fit
from plurality.fitting.objective import FitPlan
from plurality.fitting.tuning import Candidate, FitOptions
from plurality.models.family import Spec
from plurality.models.pal.head import IdealPoint, PromptDirection
from plurality.models.pal.start import start_at_tastes
from plurality.reward.fitted import Fitted
from plurality.reward.heads import Head

UTILITIES = {"A": ("squared", "norm"), "B": ("inner", "angle")}


@dataclass(frozen=True)
class PAL(Spec):
    """Pluralistic alignment by a mixture of K prototypes, user weights w_u = softmax(z_u) on the simplex.

    form A: u = −‖f(x) − P w_u‖² (utility="squared", default) or −s‖f(x) − P w_u‖ ("norm"); x is prompt and response.
    form B: u = ⟨f(x), Σ_k w_uk g_k(q)⟩ ("inner", default) or its cosine times s ("angle"); q is the prompt, whose
    embedding is needed (`read(..., prompts=True)`).
    f and g are linear maps into a preference space of `preference` dimensions, or two layers with a linear skip
    where `hidden` > 0. `decay` as in BradleyTerry; None chooses it on held-out items.
    Source: PAL, arXiv 2406.08469, §3. Squared distance and inner product are bilinear, so new users are small
    problems and a population is scored by one matrix product; norm and angle, which the authors' code runs, are not.

    n_prototypes    K
    form            "A" or "B"
    n_init          random starts, of which the best is kept
    """

    n_prototypes: int = 4
    preference: int = 16
    form: str = "A"
    utility: str | None = None
    hidden: int = 0
    decay: float | None = None
    n_init: int = 1

    name: ClassVar[str] = "pal"

    def __post_init__(self) -> None:
        if self.form not in UTILITIES:
            raise InputError(f"pal: form {self.form!r} is unknown; choose A (ideal point) or B (prompt direction)")
        if self.utility not in (None, *UTILITIES[self.form]):
            raise InputError(
                f"pal: utility {self.utility!r} does not belong to form {self.form}; "
                f"choose one of {', '.join(UTILITIES[self.form])}"
            )
        if min(self.n_prototypes, self.preference, self.n_init) < 1 or self.hidden < 0:
            raise InputError("pal: n_prototypes, preference and n_init must be 1 or more, hidden 0 or more")
        if self.decay is not None and not self.decay > 0:
            raise InputError(f"pal: decay {self.decay} is not positive; leave it out to have it chosen")

    def head(self, width: int, generator: torch.Generator) -> IdealPoint | PromptDirection:
        """The torch module for embeddings of this width."""
        utility = self.utility or UTILITIES[self.form][0]
        if self.form == "A":
            return IdealPoint(
                width,
                prototypes=self.n_prototypes,
                preference=self.preference,
                hidden=self.hidden,
                distance=utility,
                generator=generator,
            )
        return PromptDirection(
            width,
            prototypes=self.n_prototypes,
            preference=self.preference,
            hidden=self.hidden,
            angle=utility == "angle",
            generator=generator,
        )

    def learn(self, data: Comparisons, run: FitOptions) -> Fitted:
        plan = FitPlan(n_init=self.n_init, decays=FitPlan.decays if self.decay is None else (self.decay,))
        if self.utility == "angle":  # its steep scale makes large steps chaotic
            plan = replace(plan, rate=plan.rate / 10, steps=(200, 60, 120))
        return fit(self._candidates(data.dim), data, plan, run)

    def _candidates(self, width: int) -> list[Candidate]:
        """Distinct users first; where that does not clearly beat one reward for all, users alike, and far ideals."""

        def build(generator: torch.Generator) -> Head:
            return self.head(width, generator)

        def tastes(head: Head, data: Comparisons, weights: Tensor) -> None:
            assert isinstance(head, IdealPoint)
            start_at_tastes(head, data)

        def far(head: Head, data: Comparisons, weights: Tensor) -> None:
            assert isinstance(head, IdealPoint)
            head.start_far(weights)

        squared = self.form == "A" and self.utility in (None, "squared")
        start = tastes if squared else None
        if self.decay is not None:
            return [Candidate("pal", build, self.decay, take_over=start)]
        candidates = [
            Candidate("pal", build, 6.0, take_over=start),
            Candidate("pal, alike", build, 20.0, code_sd=0.1),
        ]
        return [*candidates, Candidate("pal, far", build, 200.0, code_sd=0.3, take_over=far)] if squared else candidates
