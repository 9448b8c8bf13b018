"""Low rank: a user is a few weights on shared rewards, around what all users want."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch

from plurality.data.comparisons import Comparisons
from plurality.errors import InputError
from plurality.fitting.optimisers import threads_for
from plurality.fitting.tuning import POOLED_DECAY, Candidate, FitOptions, started
from plurality.models.family import Spec
from plurality.models.low_rank.fit import FixedSettings, learn
from plurality.models.low_rank.head import WEIGHTS, LowRankHead
from plurality.reward.fitted import Fitted


@dataclass(frozen=True)
class LowRank(Spec):
    """P(first ≻ second) = σ(⟨x₁ − x₂, r_u⟩), users' rewards r_u in the span of a few shared ones.

    weights = "deviations": r_u = m + V z_u, around a mean m; "signed": r_u = V z_u; "simplex": r_u = V softmax(z_u);
    None chooses deviations or simplex on held-out items (deviations where `rank` is given). `rank` is the number of
    columns of V; None chooses it on held-out items, and 0 is one reward for all users. `decay` is the prior precision
    of rewards as functions, on inputs scaled as in BradleyTerry; None chooses it on held-out items.
    Sources: RFM, arXiv 2503.17338, and PReF, arXiv 2503.06358 (signed); LoRe, arXiv 2504.14439 (simplex).

    weights    "deviations", "signed" or "simplex", as above; None has it chosen
    """

    rank: int | None = None
    weights: str | None = None
    decay: float | None = None

    name: ClassVar[str] = "low_rank"

    def __post_init__(self) -> None:
        if self.weights not in (None, *WEIGHTS):
            raise InputError(f"low_rank: weights {self.weights!r} are unknown; choose one of {', '.join(WEIGHTS)}")
        if self.rank is not None and self.rank < 0:
            raise InputError(f"low_rank: rank {self.rank} is negative; give 0 or more, or leave it out")
        if self.rank == 1 and self.weights == "simplex":
            raise InputError("low_rank: a simplex of rank 1 has one weight, 1; give rank 2 or more, or 0")
        if self.decay is not None and not self.decay > 0:
            raise InputError(f"low_rank: decay {self.decay} is not positive; leave it out to have it chosen")

    def head(self, width: int, generator: torch.Generator) -> LowRankHead:
        """The torch module for embeddings of this width; of rank 0 while the rank is not chosen."""
        return LowRankHead(width, rank=self.rank or 0, weights=self.weights or "deviations", generator=generator)

    def check(self, data: Comparisons) -> None:
        if (self.rank or 0) > data.dim:
            raise InputError(
                f"low_rank: rank {self.rank} is more than the {data.dim} dimensions of the embeddings; give less"
            )

    def learn(self, data: Comparisons, run: FitOptions) -> Fitted:
        candidate = Candidate(self.name, lambda g: replace(self, rank=0).head(data.dim, g), POOLED_DECAY)
        pooled = started(candidate, data, run.seed, "cpu")
        assert isinstance(pooled, LowRankHead)
        with threads_for(len(data) * data.dim * 16.0):
            fitted = learn(data, pooled, FixedSettings(self.weights, self.rank, self.decay), run)
        assert isinstance(fitted.head, LowRankHead)
        return replace(fitted, chosen={"rank": fitted.head.n_codes, "weights": fitted.head.weights})
