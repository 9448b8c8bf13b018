"""Where VPL begins: the directions in which users differ, and those in which the shared reward is curved.

Both are read off moments of the labels, without any fit. For a reward that is the same for all, differences of squares
signed by the label have the mean E[s (y₁y₁ᵀ − y₂y₂ᵀ)], s = 2y − 1 and y whitened items, proportional to the reward's
mean Hessian for normal items (Stein's lemma, second order): its strongest eigenvectors are where the reward is curved.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from plurality.arrays import Array
from plurality.data.comparisons import Comparisons
from plurality.data.keys import combine, uniform
from plurality.fitting.optimisers import lbfgs
from plurality.fitting.spectral import Spectrum, spectrum, surprise
from plurality.models.vpl.head import VPLHead
from plurality.reward.links import nll

SAMPLE = 50_000  # comparisons that moments are taken of; more change them little
SCALE_SAMPLE = 5_000  # comparisons that a direction's scale is taken of
BLOCK = 16_384  # embeddings held at once in double precision
MAX_PRINCIPAL = 384  # principal directions curvature is looked for in
CURVED_COUNTS = (0, 4, 8, 16)  # numbers of curved directions tried
SPANNED = 1e-5  # share of the most that items differ along a direction, below which it is rounding
MIN_TASTE_SD = 0.05  # standard deviation of tastes, along directions where there seems to be none


@dataclass(frozen=True)
class LabelMoments:
    """What moments show: where users differ, and curved directions (d, k), strongest first; centre (d,) of items."""

    data: Comparisons
    centre: Array
    spectrum: Spectrum
    curved: Tensor

    @staticmethod
    def of(data: Comparisons, n_codes: int, centre: Tensor) -> "LabelMoments":
        """Look at these comparisons, items centred at (d,)."""
        middle = centre.double().cpu().numpy()
        return LabelMoments(data, middle, spectrum(data, n_codes), curved_directions(data, CURVED_COUNTS[-1], middle))

    def pooled(self, n_curved: int, data: Comparisons | None = None) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Differences (n, 1 + k) in the shared direction and in squares of curved ones; labels, weights, base gaps."""
        data = self.data if data is None else data
        directions = self.unit(torch.cat([self.spectrum.population[:, None], self.curved[:, :n_curved]], 1))
        both = [self.project(data, side, directions) for side in (data.first, data.second)]
        for f in both:
            f[:, 1:] = f[:, 1:].square()
        label, weight, base = (torch.as_tensor(column) for column in (data.label, data.weight, data.base_gap))
        return both[0] - both[1], label, weight, base

    def project(self, data: Comparisons, rows: Array, directions: Tensor) -> Tensor:
        """Centred items along directions (d, k): (n, k), never more than a block of embeddings in double precision."""
        maps = directions.numpy()
        blocks = [data.items[rows[i : i + BLOCK]].astype(np.float64) @ maps for i in range(0, len(rows), BLOCK)]
        return torch.as_tensor(np.concatenate([np.zeros((0, maps.shape[1])), *blocks]) - self.centre @ maps)

    def unit(self, directions: Tensor) -> Tensor:
        """Directions (d, k) scaled so that a difference of two compared items has mean square 2 along each.

        0 where items do not differ along it, as few items do in few directions.
        """
        data, some = self.data, np.linspace(0, len(self.data) - 1, min(len(self.data), SCALE_SAMPLE)).astype(np.int64)
        gap = self.project(data, data.first[some], directions) - self.project(data, data.second[some], directions)
        weight = torch.as_tensor(data.weight[some])
        size = (weight @ gap.square() / (2 * weight.sum())).sqrt()
        span = size / directions.norm(dim=0).clamp_min(1e-300)
        return directions / torch.where(span > SPANNED * span.max(), size, math.inf)


def curved_directions(data: Comparisons, count: int, centre: Array) -> Tensor:
    """The strongest directions of curvature in the shared reward: (d, k), strongest first."""
    key = uniform(combine(data.item_keys[data.first], data.item_keys[data.second]), 0)
    some = np.argsort(key, kind="stable")[:SAMPLE]
    a, b = (data.items[side[some]].astype(np.float64) for side in (data.first, data.second))
    a, b, weight = a - centre, b - centre, data.weight[some]
    values, vectors = _principal(np.concatenate([a, b]), np.concatenate([weight, weight]))
    white = vectors / np.sqrt(values)
    a, b, signed = a @ white, b @ white, weight * surprise(data)[some]
    moment = (a * signed[:, None]).T @ a - (b * signed[:, None]).T @ b
    strength, turned = np.linalg.eigh(moment)
    strongest = np.argsort(-np.abs(strength), kind="stable")[:count]
    found = white @ turned[:, strongest]
    largest = np.take_along_axis(found, np.abs(found).argmax(0)[None], 0)
    return torch.as_tensor(found * np.where(largest < 0, -1.0, 1.0))


def _principal(x: Array, weight: Array) -> tuple[Array, Array]:
    """Variances and directions of centred items (n, d), at most MAX_PRINCIPAL; too thin to be whitened are left out."""
    total, width = weight.sum(), x.shape[1]
    if width <= 2 * MAX_PRINCIPAL:
        values, vectors = np.linalg.eigh((x * weight[:, None]).T @ x / total)
    else:
        times = LinearOperator((width, width), matvec=lambda v: x.T @ (weight * (x @ v.ravel())) / total, dtype=x.dtype)
        values, vectors = eigsh(times, MAX_PRINCIPAL, v0=np.ones(width))
    keep = np.flatnonzero(values > 1e-3 * max(values.max(), 1e-300))[-MAX_PRINCIPAL:]
    values, vectors = values[keep], vectors[:, keep]
    return values + width / total * values.mean(), vectors  # a little ridge: few rows make thin directions look thinner


def pooled_fit(moment: LabelMoments, n_curved: int) -> Tensor:
    """One reward for all users on the shared direction and squares of curved ones: coefficients (1 + k,), log-odds."""
    features, label, weight, base = moment.pooled(n_curved)
    coefficients = torch.zeros(features.shape[1], dtype=torch.float64, requires_grad=True)

    def loss(step: int) -> Tensor:
        return (weight * nll(base + features @ coefficients, label)).sum() + coefficients.square().sum() / 2

    lbfgs(loss, [coefficients], steps=50)
    return coefficients.detach()


def choose_curved(moments: list[LabelMoments], held: list[Comparisons]) -> tuple[int, dict[int, float]]:
    """The number of curved directions that predicts held-out items best, and nats a comparison of all tried."""
    tried: dict[int, float] = {}
    for count in CURVED_COUNTS:
        if count > min(s.curved.shape[1] for s in moments):
            break
        nats = total = 0.0
        for moment, other in zip(moments, held, strict=True):
            coefficients = pooled_fit(moment, count)
            features, label, weight, base = moment.pooled(count, other)
            nats += float((weight * nll(base + features @ coefficients, label)).sum())
            total += float(weight.sum())
        tried[count] = nats / total
    return min(tried, key=lambda count: tried[count]), tried


@torch.no_grad()
def initialise(head: VPLHead, moment: LabelMoments, n_curved: int) -> None:
    """Set the head where the moments point: a linear random-effects model, its encoder one step of variational Bayes.

    Feature 0 is the shared direction, then one a latent dimension, then the curved ones; what is left stays random.
    """
    found, maps = moment.spectrum, head.projector.linear
    n_taste = min(found.basis.shape[1], head.n_codes)
    n_curved = min(n_curved, moment.curved.shape[1])  # few items span few
    directions = torch.cat([found.population[:, None], found.basis[:, :n_taste], moment.curved[:, :n_curved]], 1)
    directions = moment.unit(directions)[:, : maps.shape[0]]
    k = directions.shape[1]
    maps[:k] = (directions * head.projector.scale.double()[:, None] * maps.shape[1] ** 0.5).T.to(maps)
    shared = pooled_fit(moment, n_curved).to(maps)
    head.shared[0] = shared[0]
    curved = slice(len(maps) + 1 + n_taste, len(maps) + 1 + n_taste + n_curved)
    head.shared[curved] = shared[1:]
    variance = found.variance[:n_taste].clamp_min(0)
    sd = variance.sqrt().clamp_min(MIN_TASTE_SD) / 2**0.5  # of one side, not of a difference
    for j in range(min(n_taste, k - 1)):
        head.straight[j, 1 + j] = sd[j]
    head.encoder.evidence.copy_(head.straight)
    head.encoder.expected.copy_(head.shared)
