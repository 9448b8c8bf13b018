"""What a fit returns and what a `RewardModel` is made of, without what is done with it."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plurality.encoders.protocol import Encoder
from plurality.io.experiment_log import note
from plurality.reward.heads import Head
from plurality.reward.posterior import Posterior, Prior
from plurality.reward.settings import Settings

DIRECTIONS = "principal_directions"  # entry of a report: in how many a wide embedding was fitted, where not in all


GRADES = "graded"  # entry of a report: levels of strengths and their cut points, where a fit learned from them


@dataclass(frozen=True)
class Trace:
    """What happened in a fit: a row a stage with its decay, training loss and held-out nats a comparison."""

    rows: list[dict[str, float | str]] = field(default_factory=list)

    def add(self, stage: str, decay: float, loss: float, held_out: float = math.nan) -> None:
        """Append one stage, and report it to an experiment log that listens."""
        row: dict[str, float | str] = {"stage": stage, "decay": decay, "loss": loss, "held_out": held_out}
        self.rows.append(row)
        note(row)


@dataclass(frozen=True)
class Fitted:
    """What a fit returns.

    posterior   a row a user of the fitted data's users table
    chosen      settings the fit chose, by name, with which the spec builds this very head
    report      what the family found out, ready for JSON: shares, reliabilities, diagnostics
    base_worth  what the base reward is worth beside the head, for what it was taken to be worth
    """

    head: Head
    prior: Prior
    posterior: Posterior
    trace: Trace
    chosen: Mapping[str, Any] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)
    base_worth: float = 1.0


@dataclass(frozen=True, eq=False, repr=False)
class Parts:
    """What a reward model is made of, and its folder holds.

    spec             the settings, with what the fit chose filled in
    head             the utility, a torch module
    user_ids         the users it knows, row i of codes (U, C) and of covariance (U, C, C)
    posterior        beliefs about their codes
    prior            the population of codes, which is all that is believed of a user nothing is known of
    n_comparisons    (U,) comparisons of each user
    trace            how the fit went
    encoder          what made the embeddings; None for ready-made ones
    report           what the family found out: shares, reliabilities, diagnostics
    item_correlation    what a user's comparisons that share an item have in common beside the code, which is inferred
                        from them with so much less weight (`plurality.reward.repeated_items`); 0: in full
    base             log-odds that a unit of the base reward's score is worth, on top of which utilities come
                     (`plurality.reward.base`); None: the model starts from nothing
    """

    spec: Settings
    head: Head
    user_ids: tuple[str, ...]
    posterior: Posterior
    prior: Prior
    n_comparisons: NDArray[np.int64]
    trace: Trace
    encoder: Encoder | None = None
    report: dict[str, Any] = field(default_factory=dict)
    item_correlation: float = 0.0
    base: float | None = None

    @property
    def directions(self) -> str:
        """In how many directions of the embedding it was fitted: "256 of 4,096 directions", or "" where in all."""
        kept, width = self.report.get(DIRECTIONS), self.head.n_embedding
        return "" if kept is None else f"{kept:,} of {width:,} directions"
