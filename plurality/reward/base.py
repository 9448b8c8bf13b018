"""A reward that starts from the one you own: u(x, z) = a·b(x) + h(x, z), b its score of an item, h a family's utility.

With no evidence the reward *is* a·b; what is learned is what the base does not know. Scores are in units of their own;
a ≥ 0 has them in log-odds.
"""

from dataclasses import replace

import numpy as np
import polars as pl
import torch
from torch import Tensor

from plurality.arrays import Array
from plurality.data.comparisons import Comparisons
from plurality.errors import InputError
from plurality.reward.heads import Head
from plurality.reward.posterior import Evidence, Posterior, Prior

ADD = "score_chosen and score_rejected of a pair, score of a completion"


def on_base(data: Comparisons, scale: float | None) -> Comparisons:
    """The comparisons with base scores in log-odds, or without any for a model that starts from nothing.

    data     comparisons, base scores as they were read
    scale    a of the model; None: it has no base

    Raises InputError where the model needs scores and the comparisons have none.
    """
    if scale is None:
        return data if data.base is None else replace(data, base=None)
    if data.base is None:
        raise InputError(f"{data.source}: this model starts from a base reward, and base scores are missing; add {ADD}")
    return data.with_base(scale)


def base_column(base: Array | None, scale: float, count: int) -> Tensor:
    """a·b of items in log-odds, the feature that is added to every user's utility: (M, 1).

    base     (M,) scores as the base reward gives them
    scale    a
    count    M

    Raises InputError where scores are missing, of another length or not finite.
    """
    if base is None:
        raise InputError("this model starts from a base reward: give the base score of each item as base=")
    try:
        scores = np.asarray(base, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError("base scores are no numbers; give one number an item") from None
    if scores.shape != (count,):
        raise InputError(f"base scores have shape {scores.shape} for {count} items; give one number an item")
    if not np.isfinite(scores).all():
        row = int(np.argmin(np.isfinite(scores)))
        raise InputError(f"the base score of item {row} (from 0) is {scores[row]}; score it, a gap cannot be filled")
    return torch.as_tensor(scale * scores)[:, None]


class OnBase(Head):
    """What `head` gives, plus the last of the features, which is the base reward of an item in log-odds.

    Its features are those of `head` with `base_column` beside them; codes are those of `head`.
    """

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head, self.n_codes, self.n_embedding = head, head.n_codes, head.n_embedding
        self.uses_prompts, self.objectives, self.n_members = head.uses_prompts, head.objectives, head.n_members

    def features(self, items: Tensor, prompts: Tensor | None) -> Tensor:
        raise NotImplementedError("features of items and base scores come from RewardModel.features")

    def utility(self, features: Tensor, codes: Tensor) -> Tensor:
        return self.head.utility(features[..., :-1], codes) + features[..., -1]

    def population(self, features: Tensor, codes: Tensor) -> Tensor:
        return self.head.population(features[..., :-1], codes) + features[..., -1]

    def coefficients(self, codes: Tensor) -> Tensor:
        own = self.head.coefficients(codes)
        return torch.cat([own, torch.ones_like(own[..., :1])], -1)

    def log_odds(self, first: Tensor, second: Tensor, codes: Tensor, base: Tensor | float = 0.0) -> Tensor:
        return self.head.log_odds(first[..., :-1], second[..., :-1], codes, base + first[..., -1] - second[..., -1])

    def by_objective(self, features: Tensor) -> Tensor:
        return self.head.by_objective(features[..., :-1])  # beside the base

    def by_member(self, features: Tensor, codes: Tensor) -> Tensor:
        return self.head.by_member(features[..., :-1], codes) + features[..., -1]

    def centre(self, prompts: Tensor | None) -> Tensor | None:
        found = self.head.centre(prompts)
        return None if found is None else torch.nn.functional.pad(found, (0, 1))

    def penalty(self, decay: float) -> Tensor:
        return self.head.penalty(decay)

    def standardise(self, first: Tensor, second: Tensor, prompts: Tensor | None, weight: Tensor) -> None:
        self.head.standardise(first, second, prompts, weight)

    def show(self, codes: Tensor) -> dict[str, Tensor]:
        return self.head.show(codes)

    def mean_code(self, codes: Tensor) -> Tensor:
        return self.head.mean_code(codes)

    def infer(
        self, evidence: Evidence, prior: Prior, n_users: int, *, start: Tensor | None = None, tol: float = 1e-6
    ) -> Posterior:
        return self.head.infer(evidence, prior, n_users, start=start, tol=tol)

    def points(self, posterior: Posterior) -> tuple[Tensor, Tensor]:
        return self.head.points(posterior)

    def prior_of(self, prior: Prior, users: pl.DataFrame) -> Prior:
        return self.head.prior_of(prior, users)

    def uncertainty(self, posterior: Posterior, prior: Prior) -> Tensor:
        return self.head.uncertainty(posterior, prior)
