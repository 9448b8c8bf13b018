"""How utilities of different people are made comparable, and what that does to their slopes in the code.

Shapes: P people, M items, R reference items, C code width.
"""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from plurality.errors import InputError
from plurality.reward.links import prob, win

Normalise = Literal["raw", "win", "z"]


@dataclass(frozen=True, eq=False)
class Scale:
    """How utilities of P people are made comparable; raw ones are log-odds up to a shift a person and prompt.

    win   mean probability to beat a reference item, in [0, 1]; source: VPL-SPO, arXiv 2408.10075, §4.3
    z     (u − mean) / sd over the reference items, each person's own

    against   (P, R) utilities of the reference items; None for raw
    slopes    (P, R, C) of these in the code, where standard deviations are asked for
    """

    how: Normalise
    against: Tensor | None
    slopes: Tensor | None = None

    @staticmethod
    def of(how: Normalise, against: Tensor | None, slopes: Tensor | None = None) -> "Scale":
        """The scale that reference utilities (P, R) set. Raises InputError where they do not vary, for z."""
        scale = Scale("raw" if against is None else how, against, slopes)
        if scale.how == "z":
            mean, sd = scale._moments()
            if not (sd > 1e-6 * mean.abs()).all():
                raise InputError(
                    'normalise="z": somebody\'s utility is the same for all reference items, so there is no scale to '
                    "be had from them; give more and more varied reference items"
                )
        return scale

    def __call__(self, utilities: Tensor) -> Tensor:
        """(P, M) -> (P, M)."""
        if self.against is None or self.how == "raw":
            return utilities
        if self.how == "win":
            return win(utilities, self.against)
        mean, sd = self._moments()
        return (utilities - mean) / sd

    def slope(self, utilities: Tensor, slopes: Tensor) -> Tensor:
        """What utilities (P, M) of these slopes in the code (P, M, C) become has those: (P, M, C)."""
        if self.against is None or self.slopes is None or self.how == "raw":
            return slopes
        if self.how == "win":
            total = slopes * 0
            for against, own in zip(self.against.unbind(1), self.slopes.unbind(1), strict=True):
                p = prob(utilities - against[:, None])
                total += (p * (1 - p))[..., None] * (slopes - own[:, None])
            return total / self.against.shape[1]
        mean, sd = self._moments()
        of_mean = self.slopes.mean(1, keepdim=True)
        of_sd = ((self.against - mean)[..., None] * (self.slopes - of_mean)).mean(1, keepdim=True) / sd[..., None]
        return (slopes - of_mean - ((utilities - mean) / sd)[..., None] * of_sd) / sd[..., None]

    def of_people(self, rows: slice) -> "Scale":
        """Of some people only."""
        against, slopes = (None if t is None else t[rows] for t in (self.against, self.slopes))
        return Scale(self.how, against, slopes)

    def _moments(self) -> tuple[Tensor, Tensor]:
        assert self.against is not None
        return self.against.mean(1, keepdim=True), self.against.std(1, correction=0, keepdim=True)
