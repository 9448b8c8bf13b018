"""The directions of a wide embedding that are worth fitting: its first principal ones, as many as held-out items want.

A language model's hidden states have thousands of dimensions and a spectrum that falls like a power. One ridge over
all of them drowns what users share and, sooner, what they differ in. In the first principal directions both are found,
and in a fraction of the time. Too few leave out what matters, so held-out items choose, by what the method of moments
makes of users' tastes. An embedding without leading directions is fitted whole.
"""

from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import log_expit
from sklearn.utils.extmath import randomized_svd

from plurality.arrays import Float
from plurality.data.comparisons import Comparisons
from plurality.fitting.spectral import spectrum
from plurality.reward.inputs import Inputs

WIDE = 512  # dimensions up to which all are fitted
COUNTS = (128, 256, 512)  # directions that are tried
SAMPLE = 12_000  # items that directions are learned from
FEW, QUICK = 256, 4_000  # directions and items that do for a choice among scalings
LEADING = 0.5  # share of what variance others would hold, were all alike, that the first have beside their own
TASTES = 8  # directions in which users are let differ


def principal(data: Comparisons, inputs: Inputs, *, quick: bool = False) -> Inputs:
    """The inputs, reduced to the first principal directions of compared items; unreduced where none of them leads.

    By randomised projections, Halko, Martinsson & Tropp 2011 (SIAM Review 53:217), algorithm 4.4.

    data      comparisons, items as they come
    inputs    what else is done to them
    quick     fewer directions from fewer items
    """
    most, rows = (FEW, QUICK) if quick else (COUNTS[-1], SAMPLE)
    used = np.unique(np.concatenate([data.first, data.second]))
    sample = inputs.apply(data.items[used[:: -(-len(used) // rows)]])
    sample -= sample.mean(axis=0)
    _, size, directions = randomized_svd(sample, min(most, *sample.shape), n_iter=2, random_state=0)
    whole = float(np.einsum("nd,nd->", sample, sample, dtype=np.float64))
    alike = len(size) / data.dim
    if float(np.square(size).sum()) < (alike + LEADING * (1 - alike)) * whole:
        return inputs
    return replace(inputs, directions=np.ascontiguousarray(directions.T, dtype=np.float32))


def leading(data: Comparisons, count: int) -> Comparisons:
    """The comparisons with the first `count` dimensions of their items.

    data     comparisons
    count    dimensions to keep
    """
    return replace(data, items=np.ascontiguousarray(data.items[:, :count]))


def nats_by_count(inner: Comparisons, outer: Comparisons) -> dict[int, float]:
    """Held-out nats of comparisons whose items are in principal directions, by how many of these are kept.

    The rewards are the population's and users' own by `spectrum`, each weighed as the held-out comparisons want it.

    inner, outer    comparisons to learn from and to predict, their items (M, K) in falling order of variance
    """
    counts = sorted({min(count, inner.dim) for count in COUNTS})
    return {count: _nats(leading(inner, count), leading(outer, count)) for count in counts}


def _nats(inner: Comparisons, outer: Comparisons) -> float:
    found = spectrum(inner, TASTES)
    rewards = torch.cat([found.population[:, None], found.basis], dim=1).numpy()
    worth = outer.items.astype(np.float64) @ rewards  # of an item, along each
    gap = worth[outer.first] - worth[outer.second]
    own = (gap[:, 1:] * found.coordinates.numpy()[outer.user]).sum(axis=1)
    return _best_nats(np.stack([gap[:, 0], own], axis=1), outer.label, outer.weight)


def _best_nats(gaps: Float, label: Float, weight: Float) -> float:
    """Mean nats under the best non-negative weights of two gaps (N, 2)."""

    def nats(scale: Float) -> tuple[float, Float]:
        gap = gaps @ scale
        value = -(weight * (label * log_expit(gap) + (1 - label) * log_expit(-gap))).sum()
        slope = gaps.T @ (weight * (1 / (1 + np.exp(-gap)) - label))
        return value / weight.sum(), slope / weight.sum()

    return float(minimize(nats, np.ones(2), jac=True, method="L-BFGS-B", bounds=[(0, None)] * 2).fun)
