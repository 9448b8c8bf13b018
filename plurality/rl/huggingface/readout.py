"""A head as plain numbers: what of a user's utility is linear, and what is a square, found by asking the head."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from plurality.errors import InputError
from plurality.reward.heads import Head, Projected, Projector

EXACT = 1e-8  # of the largest utility: what rounding in double precision stays far below, and a curve does not
SPREAD = 3.0  # of the embeddings asked about, in the scale that the head standardises to
SPARE = 32  # embeddings more than unknowns, so that a wrong form cannot fit


@dataclass(frozen=True)
class FeatureReadout:
    """u(x, z) = ⟨row_z, φ(x)⟩, φ = [1, f] or [1, f, f²], f (p,) the head's map of the embedding x (d,).

    projector   f, in double precision: linear, or with a hidden layer
    rows        (U, 1 + p) or (U, 1 + 2p), float64, in log-odds
    """

    projector: Projector
    rows: Tensor

    @staticmethod
    def of(head: Head, codes: Tensor) -> "FeatureReadout":
        """The rows of these codes (U, C), solved for on random embeddings and checked on others.

        Nothing here knows a family: any head whose utility has the form is found out, linear before squared.
        Raises InputError for a head that looks at prompts, or whose utility is of another form.
        """
        remedy = "score with `plurality score`, or give a trainer the reward as a Python function"
        if head.uses_prompts:
            raise InputError(f"this reward embeds the prompt by itself, which no checkpoint of one text can; {remedy}")
        if not isinstance(head, Projected):
            raise InputError(f"{type(head).__name__} makes no features that a checkpoint could hold; {remedy}")
        double = head.doubled()
        x = _embeddings(double.projector)
        with torch.no_grad():
            f, u = double.projector(x), double.population(double.features(x, None), codes.double()).T  # (n, p), (n, U)
        for basis in (_with_one(f), _with_one(torch.cat([f, f.square()], 1))):
            half = len(basis) - SPARE
            rows = torch.linalg.lstsq(basis[:half], u[:half], driver="gelsd").solution
            if ((basis @ rows - u).abs().amax(0) <= EXACT * u.abs().amax(0).clamp_min(1e-30)).all():
                return FeatureReadout(double.projector, rows.T.contiguous())
        raise InputError(f"this reward is neither linear nor square in its features: no checkpoint holds it; {remedy}")

    @property
    def squared(self) -> bool:
        """Whether φ has squares."""
        return self.rows.shape[1] > 1 + self.projector.linear.shape[0]

    @property
    def mean(self) -> "FeatureReadout":
        """The mean utility of these users, which is a readout of one row."""
        return replace(self, rows=self.rows.mean(0, keepdim=True))

    def weights(self) -> Tensor:
        """Weights of the embedding itself: (U, d), log-odds a unit of x.

        The scale of standardisation is in them. Its mean is not: a shift that is the same for all completions.
        Raises InputError where utility is not linear in the embedding.
        """
        if self.squared or self.projector.hidden:
            curve = "has squares" if self.squared else "has a hidden layer"
            raise InputError(f"this reward {curve}, and a score head is one linear map; choose kind custom")
        with torch.no_grad():
            return self.rows[:, 1:] @ self.projector.raw(self.projector.linear)[0]


def _embeddings(projector: Projector) -> Tensor:
    """Random embeddings (n, d) on the projector's scale, enough to solve for [1, f, f²] and check it."""
    width = projector.linear.shape[1]
    count = 4 * projector.linear.shape[0] + 2 * SPARE
    generator = torch.Generator().manual_seed(0)
    draws = torch.randn(count, width, generator=generator, dtype=torch.float64)
    return projector.mean + SPREAD * projector.scale * draws


def _with_one(features: Tensor) -> Tensor:
    return torch.cat([features.new_ones(len(features), 1), features], 1)
