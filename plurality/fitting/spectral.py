"""Where users differ, from one pass over their comparisons: a start for every family that models tastes.

With Δ = x₁ − x₂, s = 2y − 1 and S = E[ΔΔᵀ], the label-signed mean of a user's comparisons is E[sΔ] ≈ ½ S θ_u for a
reward ⟨θ_u, x⟩ (exact up to a factor for normal Δ, by Stein's lemma). Users' whitened means S^{−½}E[sΔ] have second
moment signal + noise; the noise is the i = i part of the double sum over a user's comparisons and is taken out.
On top of a base reward with gap b, s is 2y − 2σ(b) and S counts a comparison by 4σ(b)σ(−b), to first order in θ_u.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from scipy.sparse.linalg import eigsh
from scipy.special import expit
from torch import Tensor

from plurality.arrays import Array, Float
from plurality.data.comparisons import Comparisons
from plurality.data.keys import combine, uniform
from plurality.errors import InputError

BLOCK = 16_384  # comparisons whose differences are held at once
SAMPLE = 50_000  # comparisons that give second moments; more change them little and cost d² each
DENSE = 1_024  # width up to which all of a matrix is decomposed; beyond it Lanczos finds the top
RIDGE = 1e-4  # what is added to second moments, in mean variances of a dimension
SHRUNK = 0.3  # where dimensions are uneven, a ridge that shrinks small ones as a fit with a decay does
UNEVEN = 10.0  # times the mean that some dimension varies where they are
TASTE_VARIANCE = 0.1  # variance of tastes along one whitened direction, beside the noise 1/n of n comparisons


@dataclass(frozen=True, eq=False)
class Spectrum:
    """The directions in which users differ: user u's reward is about ⟨x, population + basis @ coordinates_u⟩.

    population    (d,) what all users share, in log-odds per unit of x for small gaps
    basis         (d, B) S-orthonormal: along each column a difference of two items has variance 1; strongest first
    coordinates   (U, B) users' places in it, around 0, shrunk by the noise of their comparisons; 0 without any
    variance      (B,) variance of users along each column, noise taken out; ≤ 0 where there is only noise
    """

    population: Tensor
    basis: Tensor
    coordinates: Tensor
    variance: Tensor


def spectrum(data: Comparisons, n_directions: int, *, centred: bool = True, ridge: float = RIDGE) -> Spectrum:
    """Population direction, the `n_directions` strongest directions of disagreement, and users' places; float64.

    Not `centred`, the directions are those of tastes whole, what is shared among them, and places are around nothing.
    `ridge`, in mean variances of a dimension, is added to second moments: much of it shrinks what is small.
    Never more than `BLOCK` differences are held, so embeddings may stay mapped; a weight of 3 is the row three times.
    Raises InputError where there are no comparisons, or less than one direction is asked for.
    Source: method of moments for the random-coefficient logit, Stein's lemma for E[sΔ].
    """
    if not len(data) or n_directions < 1:
        raise InputError(f"{data.source}: a spectrum needs comparisons and at least one direction")
    width = min(n_directions, data.dim)
    told = data.weight * openness(data)
    count = torch.as_tensor(np.bincount(data.user, told, data.users.height))
    share = (count / (1 + TASTE_VARIANCE * count)).square()  # inverse variance of a user's squared mean, times count²
    share = share / share.sum()
    signed = _signed_sums(data) / count.clamp_min(1e-300)[:, None]  # (U, d)
    moment, noise = _second_moments(data, told, (share / count.clamp_min(1e-300).square())[data.user], ridge)
    root = torch.linalg.cholesky(moment)  # S = LLᵀ; whitened: L⁻¹·
    white = torch.linalg.solve_triangular(root, signed.T, upper=False).T
    centre = share @ white
    off = torch.where(count[:, None] > 0, white - centre if centred else white, 0)
    scatter = (share[:, None] * off).T @ off
    noise = torch.linalg.solve_triangular(root, noise, upper=False)
    noise = torch.linalg.solve_triangular(root, noise.T, upper=False)
    variance, vectors = _top(scatter - noise, width)
    found = off @ vectors
    shrink = variance.clamp_min(0) * count[:, None] / (1 + variance.clamp_min(0) * count[:, None])
    unwhiten = torch.linalg.solve_triangular(root.T, torch.cat([centre[:, None], vectors], 1), upper=True)
    return Spectrum(2 * unwhiten[:, 0], unwhiten[:, 1:], 2 * shrink * found, 4 * variance)


def shrinking(data: Comparisons) -> float:
    """The ridge for rewards that a fit with a decay goes on from: more than a little where dimensions are uneven."""
    rows = np.arange(0, len(data), -(-len(data) // BLOCK))
    variance = next(_differences(data, rows))[1].square().mean(0)
    return SHRUNK if bool(variance.max() > UNEVEN * variance.mean()) else RIDGE


def surprise(data: Comparisons) -> Float:
    """2y − 2σ(b) of every comparison, b the base reward's gap: (N,); 2y − 1 without one.

    data    comparisons
    """
    surprise: Float = 2 * data.label - 2 * expit(data.base_gap)
    return surprise


def openness(data: Comparisons) -> Float:
    """4σ(b)σ(−b), how much a comparison can say beside the base reward: (N,); 1 without one.

    data    comparisons
    """
    openness: Float = 4 * expit(data.base_gap) * expit(-data.base_gap)
    return openness


def _differences(data: Comparisons, rows: Array) -> Iterator[tuple[Array, Tensor]]:
    """Rows block by block, with x₁ − x₂ in double precision."""
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        yield part, torch.as_tensor(data.items[data.first[part]].astype(np.float64) - data.items[data.second[part]])


def _signed_sums(data: Comparisons) -> Tensor:
    """Σ w (2y − 1) Δ of every user: (U, d)."""
    sums = torch.zeros(data.users.height, data.dim, dtype=torch.float64)
    signed = torch.as_tensor(data.weight * surprise(data))
    for rows, difference in _differences(data, np.arange(len(data))):
        sums.index_add_(0, torch.as_tensor(data.user[rows]), signed[rows, None] * difference)
    return sums


def _second_moments(data: Comparisons, told: Float, scale: Tensor, ridge: float) -> tuple[Tensor, Tensor]:
    """E[ΔΔᵀ] with a little ridge, and the i = i part Σ w s² scale ΔΔᵀ, from an even sample: (d, d) each."""
    key = uniform(combine(data.item_keys[data.first], data.item_keys[data.second]), 0)
    rows = np.flatnonzero(key <= SAMPLE / len(data)) if len(data) > SAMPLE else np.arange(len(data))
    weight = torch.as_tensor(told)
    noisy = scale * torch.as_tensor(data.weight * np.square(surprise(data)))
    moment, noise = torch.zeros(2, data.dim, data.dim, dtype=torch.float64)
    for part, difference in _differences(data, rows):
        moment += (weight[part, None] * difference).T @ difference
        noise += (noisy[part, None] * difference).T @ difference
    total = float(weight[rows].sum())
    moment, noise = moment / total, noise * (float(noisy.sum()) / max(float(noisy[rows].sum()), 1e-300))
    size = float(moment.diagonal().mean())
    distinct = len(np.unique(np.concatenate([data.first, data.second])))
    ridge = max(ridge, data.dim / min(total, distinct))  # few items span few directions well
    return moment + (ridge * size if size > 0 else 1.0) * torch.eye(data.dim, dtype=torch.float64), noise


def _top(matrix: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` algebraically largest eigenvalues, falling, and their vectors with a fixed sign."""
    width, array = len(matrix), ((matrix + matrix.T) / 2).numpy()
    if width <= DENSE or count > width // 4:
        values, vectors = scipy.linalg.eigh(array, subset_by_index=[width - count, width - 1])
    else:
        values, vectors = eigsh(array, count, which="LA", v0=np.ones(width))
    order = np.argsort(-values)
    values, vectors = values[order], vectors[:, order]
    largest = np.take_along_axis(vectors, np.abs(vectors).argmax(0)[None], 0)
    return torch.as_tensor(values), torch.as_tensor(vectors * np.where(largest < 0, -1.0, 1.0))
