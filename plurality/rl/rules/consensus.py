"""A user who is a direction over objectives: what directions near it agree on."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from plurality.errors import InputError
from plurality.rl.rules.objectives import Weighed, objectives, unit
from plurality.rl.rules.rows import Batch
from plurality.rl.rules.welfare import Float, Int


@dataclass(frozen=True)
class Consensus(Weighed):
    """Mean rank in [0, 1] that `size` directions within `degrees` of the user's give each completion (Borda count).

    A completion that wins in one direction only loses to one that is good in all near it. Ties share their rank. RPS
    (arXiv 2510.20498) has neighbours' directions *write* the candidates and judges them by the user's own, which is
    `Directional` over the candidates of `neighbourhood`; the vote over given candidates is ours.

    size         directions that vote, the user's own among them
    degrees      how far they are from it at most
    seed         of the neighbours' directions
    """

    size: int = 5
    degrees: float = 30.0
    seed: int = 0

    kind: ClassVar[str] = "consensus"
    batch: ClassVar[Batch] = "prompt"

    def __post_init__(self) -> None:
        super().__post_init__()
        neighbourhood(np.array(self.direction), self.size, self.degrees, seed=self.seed)

    def __call__(self, utilities: Float, weights: Float, groups: Int) -> Float:
        near = neighbourhood(np.array(self.direction), self.size, self.degrees, seed=self.seed)
        return borda(near @ objectives(utilities, len(self.direction)))


def neighbourhood(direction: Float, size: int = 5, degrees: float = 30.0, *, seed: int = 0) -> Float:
    """`size` unit vectors at most `degrees` from a direction (K,), itself first: (size, K).

    Each lies on the arc towards a random direction at right angles, at an angle uniform up to `degrees`.

    seed    of the random directions
    """
    if size < 1 or not 0 <= degrees <= 90:
        raise InputError(f"there is no neighbourhood of {size} within {degrees:g}°; give 1 or more within 0° to 90°")
    centre, rng = unit(direction), np.random.default_rng(seed)
    aside = rng.normal(size=(size, len(centre)))
    aside -= (aside @ centre)[:, None] * centre
    length = np.linalg.norm(aside, axis=1, keepdims=True)
    aside = np.divide(aside, length, out=np.zeros_like(aside), where=length > 1e-9)  # on a line there is no aside
    angle = np.radians(rng.uniform(0, degrees, size))[:, None]
    angle[0] = 0
    return unit(np.cos(angle) * centre + np.sin(angle) * aside)


def nearest(directions: Float, target: Float, size: int) -> Int:
    """Rows of the `size` directions (U, K), say of users, at the smallest angle to a target (K,), nearest first."""
    if not 1 <= size <= len(directions):
        raise InputError(f"{size} neighbours cannot be chosen from {len(directions)} directions")
    return np.argsort(-(unit(directions) @ unit(target)), kind="stable")[:size]


def borda(scores: Float) -> Float:
    """Mean over voters of the share of other completions that each beats, a tie being half: (V, n) -> (n,).

    scores    (V, n) of voters and completions
    """
    ordered = np.sort(scores, axis=1)
    below, upto = (
        np.stack([np.searchsorted(row, own, side) for row, own in zip(ordered, scores, strict=True)])
        for side in ("left", "right")
    )
    others = max(scores.shape[1] - 1, 1)
    return ((below + upto - 1) / 2 / others).mean(0)
