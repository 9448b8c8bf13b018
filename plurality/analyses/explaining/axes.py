"""The directions that codes of users move utilities in, in one unit: log-odds for a standard deviation of people."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from plurality.analyses.inference.bootstrap import Floats
from plurality.arrays import Int, floats
from plurality.errors import InputError

STILL = 1e-5  # movement, over the largest utility, below which it is rounding


@dataclass(frozen=True)
class Axes:
    """K directions.

    position    (U, K) where each user is on it, mean 0 and sd 1 over users
    value       (K, M) what an sd of people is worth on each item, in log-odds, less the mean of the item's prompt
    """

    position: Floats
    value: Floats

    @property
    def movement(self) -> Floats:
        """How far a direction moves utilities: sd over people and items, in log-odds; (K,)."""
        return np.asarray(np.sqrt((self.value**2).mean(axis=1)))


def within(values: Floats, prompt: Int) -> Floats:
    """Values (…, M) less their mean over the items of the same prompt; that of a lone item is 0.

    values    (…, M)
    prompt    (M,) codes from 0
    """
    flat = values.reshape(-1, values.shape[-1])
    count = np.maximum(np.bincount(prompt), 1)
    mean = np.stack([np.bincount(prompt, row, minlength=len(count)) for row in flat]) / count
    centred: Floats = (flat - mean[:, prompt]).reshape(values.shape)
    return centred


def code_axes(codes: ArrayLike, values: ArrayLike, prompt: Int, *, turned: bool) -> Axes:
    """Directions of utilities u_um = … + Σ_k codes_uk values_km, each in log-odds an sd of people.

    As they are, or turned to principal axes: uncorrelated over people and over items, the one that moves utilities most
    first. Codes whose rotations are the same model have no other directions that mean anything. The sign of a principal
    axis is that which makes the sum of cubes of its values positive. Units of codes do not matter. Raises InputError
    for shapes that do not match and fewer than two users.

    codes     (U, K) of users
    values    (K, M) what a unit of code is worth on each item, in log-odds
    prompt    (M,) codes from 0 of the prompts within which items are compared
    turned    whether to principal axes
    """
    s, v = floats(codes), floats(values)
    if s.ndim != 2 or v.ndim != 2 or s.shape[1] != len(v) or len(s) < 2 or v.shape[1] != len(prompt):
        raise InputError(
            f"axes: codes {s.shape}, values {v.shape} and {len(prompt)} prompts of items; give (U, K), (K, M) and (M,) "
            "of two users or more"
        )
    s, v = s - s.mean(axis=0), within(v, prompt)
    if turned:
        s, v = _principal(s, v)
    sd = s.std(axis=0)
    there = sd > 1e-12
    return Axes(np.where(there, s / np.where(there, sd, 1), 0.0), np.where(there, sd, 0.0)[:, None] * v)


def _principal(s: Floats, v: Floats) -> tuple[Floats, Floats]:
    """The factors of s v that are uncorrelated on both sides, largest first, by eigenvectors of (K, K)."""
    size, turn = np.linalg.eigh(s.T @ s / len(s))
    root = np.sqrt(np.maximum(size, 0.0))
    root[root < 1e-9 * root.max(initial=0.0)] = 0.0
    white = s @ (turn / np.where(root > 0, root, np.inf))  # (U, K), unit variance where there is any
    half = (turn * root).T @ v  # white @ half is s @ v
    moved, axes = np.linalg.eigh(half @ half.T)
    axes = axes[:, np.argsort(-moved, kind="stable")]
    value = axes.T @ half
    sign = np.where((value**3).sum(axis=1) < 0, -1.0, 1.0)
    return white @ axes * sign, value * sign[:, None]
