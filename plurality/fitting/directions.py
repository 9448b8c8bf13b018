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
from scipy.special import expit, log_expit

from plurality.arrays import Float, Float32, Int
from plurality.data.comparisons import Comparisons
from plurality.data.keys import uniform
from plurality.fitting.spectral import SHRUNK, spectrum
from plurality.reward.inputs import Inputs

WIDE = 512  # dimensions up to which all are fitted
COUNTS = (128, 256, 512)  # directions that are tried
ROWS = 100  # comparisons that a direction beyond the first of COUNTS takes: it costs a shared reward half a nat
FEW, QUICK = COUNTS[0], 3_000  # directions and items that do for a choice among scalings
SAMPLE = 16_000  # items that the directions kept are learned from
BESIDE = 64  # directions found beside those asked for, so that the last of these are true after few rounds
LEADING = 0.5  # share of what variance others would hold, were all alike, that the first have beside their own
TASTES = 8  # directions in which users are let differ


def principal(data: Comparisons, inputs: Inputs, *, quick: bool = False) -> Inputs:
    """The inputs, reduced to as many principal directions as may be fitted; unreduced where the first do not lead.

    data      comparisons, items as they come
    inputs    what else is done to them
    quick     the first few, from fewer items
    """
    most = FEW if quick else max(count for count in COUNTS if count == FEW or count <= len(data) / ROWS)
    sample = inputs.apply(data.items, _compared(data, QUICK if quick else SAMPLE))
    sample -= sample.mean(axis=0)
    start = np.random.default_rng(0).standard_normal((data.dim, most + BESIDE), dtype=np.float32)
    directions, size = _iterate(sample[:QUICK], start, 2)
    whole = float(np.einsum("nd,nd->", sample[:QUICK], sample[:QUICK], dtype=np.float64))
    alike = FEW / data.dim
    if size[:FEW].sum() < (alike + LEADING * (1 - alike)) * whole:
        return inputs
    if not quick:
        directions, _ = _iterate(sample, directions, 1)
    return replace(inputs, directions=np.ascontiguousarray(directions[:, :most]))


def _compared(data: Comparisons, most: int) -> Int:
    """An even sample of compared items, at most `most`, whatever their numbers; a smaller one is its beginning."""
    used: Int = np.unique(np.concatenate([data.first, data.second]))
    return used[np.argsort(uniform(data.item_keys[used], 0), kind="stable")[:most]]


def _iterate(sample: Float32, start: Float32, rounds: int) -> tuple[Float32, Float]:
    """Principal directions (d, K) of rows (n, d) around 0, by subspace iteration, and sums of squares along each.

    These, by which directions are ordered, are of the first QUICK rows.

    Source: Halko, Martinsson & Tropp 2011 (SIAM Review 53:217), algorithm 4.4.
    """
    directions = start
    for _ in range(rounds):
        directions = np.linalg.qr(sample.T @ (sample @ directions))[0]
    along = sample[:QUICK] @ directions
    size, turned = np.linalg.eigh(along.T @ along)  # of these few: a decomposition of all dimensions takes far longer
    return directions @ turned[:, ::-1], size[::-1].astype(np.float64)


def leading(data: Comparisons, count: int) -> Comparisons:
    """The comparisons with the first `count` dimensions of their items.

    data     comparisons
    count    dimensions to keep
    """
    return replace(data, items=np.ascontiguousarray(data.items[:, :count]))


def nats_by_count(inner: Comparisons, outer: Comparisons) -> dict[int, Float]:
    """Weighted held-out nats (N,) of comparisons with items in principal directions, by how many of these are kept.

    The rewards are the population's and users' own by `spectrum`, each weighed as the held-out comparisons want it.

    inner, outer    comparisons to learn from and to predict, their items (M, K) in falling order of variance
    """
    counts = sorted({min(count, inner.dim) for count in COUNTS})
    return {count: _nats(leading(inner, count), leading(outer, count)) for count in counts}


def _nats(inner: Comparisons, outer: Comparisons) -> Float:
    found = spectrum(inner, TASTES, ridge=SHRUNK)
    rewards = torch.cat([found.population[:, None], found.basis], dim=1).numpy()
    worth = outer.items.astype(np.float64) @ rewards  # of an item, along each
    gap = worth[outer.first] - worth[outer.second]
    own = (gap[:, 1:] * found.coordinates.numpy()[outer.user]).sum(axis=1)
    return _best_nats(np.stack([gap[:, 0], own], axis=1), outer)


def _best_nats(gaps: Float, data: Comparisons) -> Float:
    """Weighted nats (N,) under the best non-negative weights of two gaps (N, 2), on top of the base reward."""
    label, weight, base = data.label, data.weight, data.base_gap

    def nats(scale: Float) -> Float:
        gap = base + gaps @ scale
        each: Float = -weight * (label * log_expit(gap) + (1 - label) * log_expit(-gap))
        return each

    def slope(scale: Float) -> Float:
        mean: Float = gaps.T @ (weight * (expit(base + gaps @ scale) - label)) / weight.sum()
        return mean

    def value(scale: Float) -> float:
        return float(nats(scale).sum() / weight.sum())

    return nats(minimize(value, np.ones(2), jac=slope, method="L-BFGS-B", bounds=[(0, None)] * 2).x)


def enough(nats: dict[int, Float]) -> int:
    """The most directions not worse than the best by more than two standard errors: fits shrink what says little.

    nats    of the same held-out comparisons (N,), by number of directions
    """
    best = min(nats, key=lambda count: nats[count].sum())
    more = {count: value - nats[best] for count, value in nats.items()}
    return max(count for count, each in more.items() if each.sum() <= 2 * each.std() * len(each) ** 0.5)
