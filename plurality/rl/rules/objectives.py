"""Rules over a model's objectives: weighed on the sphere or on the simplex, or only by who is better in none."""

from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np

from plurality.errors import InputError
from plurality.rl.rules.rows import Batch, Rows
from plurality.rl.rules.welfare import Float, Int, checked


def unit(direction: Float) -> Float:
    """A direction on the sphere, v / ‖v‖: (..., K). Raises InputError for one without length."""
    direction = np.asarray(direction, float)
    length = np.linalg.norm(direction, axis=-1, keepdims=True)
    if not (np.isfinite(length) & (length > 0)).all():
        raise InputError("a direction must be finite and not all 0; give a weight to some objective")
    return direction / length


@dataclass(frozen=True)
class Weighed:
    """A number for each objective, in the order of the rows, or by name where `names` are given.

    direction    (K,) of the user; its length says nothing
    names        (K,) of the objectives they are for; a model's other objectives have weight 0. (): in its order
    """

    direction: tuple[float, ...]
    names: tuple[str, ...] = field(default=(), kw_only=True)

    kind: ClassVar[str]
    rows: ClassVar[Rows] = "objectives"

    def __post_init__(self) -> None:
        if self.names and (len(self.names) != len(self.direction) or len(set(self.names)) < len(self.names)):
            raise InputError(f"{self.kind}: give one weight for each name, and each objective once: {self.names}")
        unit(np.array(self.direction))

    @property
    def name(self) -> str:
        names = [f"{name}=" for name in self.names] or [""] * len(self.direction)
        return f"{self.kind}:" + ",".join(f"{n}{v:g}" for n, v in zip(names, self.direction, strict=True))

    def over(self, names: tuple[str, ...]) -> Self:
        """The same for the objectives of a model, in their order. Raises InputError for one that it does not have.

        names    of the model's objectives
        """
        if not self.names:
            if len(self.direction) != len(names):
                raise InputError(
                    f"rule {self.name!r} has {len(self.direction)} weights, and the model {len(names)} objectives; "
                    f"give one each to {', '.join(names)}"
                )
            return replace(self, names=names)
        if strange := [name for name in self.names if name not in names]:
            raise InputError(f"there is no objective {strange[0]!r}; the model has {', '.join(names)}")
        given = dict(zip(self.names, self.direction, strict=True))
        return replace(self, names=names, direction=tuple(given.get(name, 0.0) for name in names))


@dataclass(frozen=True)
class Directional(Weighed):
    """r = vᵀ x of objectives x (K, n) under a user's direction v (K,), put on the unit sphere.

    Objectives are to be on one scale: those of `MORE` are, others standardise (normalise="z"), or the larger one turns
    v towards itself. Population weights and groups say nothing here. Source: DPA, arXiv 2402.18571.
    """

    kind: ClassVar[str] = "direction"

    def __call__(self, utilities: Float, weights: Float, groups: Int) -> Float:
        return unit(np.array(self.direction)) @ objectives(utilities, len(self.direction))


@dataclass(frozen=True)
class Simplex(Weighed):
    """r = wᵀ x of objectives x (K, n) under shares w ≥ 0 (K,), divided by their sum: a weighted mean of objectives.

    Raises InputError for a negative share; a direction may have one.
    """

    kind: ClassVar[str] = "simplex"

    def __post_init__(self) -> None:
        super().__post_init__()
        if min(self.direction) < 0:
            raise InputError(f"rule {self.name!r}: a share is negative; give 0 or more, or direction: with any sign")

    def __call__(self, utilities: Float, weights: Float, groups: Int) -> Float:
        share = np.array(self.direction)
        return share / share.sum() @ objectives(utilities, len(share))


@dataclass(frozen=True)
class Pareto:
    """Minus how many fronts of a prompt's candidates come before a completion's own: 0, −1, −2 …

    The first front are those than which no candidate is at least as good in every objective and better in one; the next
    are those of which this holds once the first are gone. No objective is weighed against another, and units do not
    matter. Source: non-dominated sorting, Deb et al. 2002 (NSGA-II), §III-A.
    """

    rows: ClassVar[Rows] = "objectives"
    batch: ClassVar[Batch] = "prompt"

    @property
    def name(self) -> str:
        return "pareto"

    def __call__(self, utilities: Float, weights: Float, groups: Int) -> Float:
        x = objectives(utilities, len(utilities))
        no_worse = np.asarray((x[:, :, None] >= x[:, None, :]).all(0))
        dominates = no_worse & ~no_worse.T  # (n, n)
        front, left = np.zeros(x.shape[1]), np.ones(x.shape[1], dtype=bool)
        while left.any():
            first = left & ~dominates[left].any(0)
            left &= ~first
            front[left] -= 1
        return front


def objectives(utilities: Float, count: int) -> Float:
    """Rewards by `count` objectives (K, n). Raises InputError for another number of rows, or odd values.

    utilities    (K, n) a row an objective
    """
    utilities = np.asarray(utilities, float)
    if len(utilities) != count:
        raise InputError(f"a direction of {count} weights needs {count} objectives, one a row, not {len(utilities)}")
    return checked(utilities, np.ones(count), np.arange(count))[0]
