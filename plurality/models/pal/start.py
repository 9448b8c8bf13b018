"""Where a fit of ideal points begins: at the tastes that one pass over the comparisons finds.

From a random start, prototypes are found among few dimensions and missed among many. One pass tells users apart by the
linear part of their utility, 2⟨f(x), p⟩; how far its ideal points are from curving is then a fit of two numbers.
"""

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit, log_expit
from sklearn.cluster import KMeans
from torch import Tensor

from plurality.arrays import Float, Int
from plurality.data.comparisons import Comparisons
from plurality.fitting.spectral import shrinking, spectrum
from plurality.models.pal.head import IdealPoint

ROWS = 50_000  # comparisons that fix two numbers well enough
LEAST_CURVED = 0.01  # squared length of a direction in preference space from which a fit finds more curvature by itself
OTHERS = 0.1  # share of their random start that the other dimensions of preference space keep


@torch.no_grad()
def start_at_tastes(head: IdealPoint, data: Comparisons) -> None:
    """Begin with a prototype for every group of users with like tastes, in the preference space that these span.

    A group's reward is ⟨g_k, x⟩ by the method of moments. With G = USVᵀ, f takes the rows of √q Vᵀ and P is chosen so
    that 2⟨f(x), p_k⟩ = s⟨g_k, x⟩; size s and curvature q predict the users' comparisons best, q not below a little.

    head    standardised, otherwise as it was drawn
    data    comparisons to begin from
    """
    rewards, group = _tastes(data, head.n_codes)
    left, size, right = torch.linalg.svd(rewards, full_matrices=False)
    kept = min(int((size > 1e-6 * size[0]).sum()), head.projector.linear.shape[0])
    tastes, axes = left[:, :kept] * size[:kept], right[:kept]
    stretch, curvature = _size_and_curvature(data, axes, tastes[group], head.projector.mean.double() @ axes.T)
    unit = max(curvature, LEAST_CURVED) ** 0.5
    linear, prototypes = head.projector.linear, head.prototypes
    linear.mul_(OTHERS)
    linear[:kept] = (unit * axes * head.projector.scale.double() * linear.shape[1] ** 0.5).to(linear)
    prototypes.mul_(OTHERS)
    prototypes[: len(tastes), :kept] = (stretch / (2 * unit) * tastes).to(prototypes)


def _tastes(data: Comparisons, groups: int) -> tuple[Tensor, Int]:
    """Rewards (K, d) of at most `groups` groups of users, and every user's group: (U,)."""
    found = spectrum(data, max(1, groups - 1), ridge=shrinking(data))
    people = found.coordinates.numpy()[data.present]
    distinct = min(groups, len(np.unique(people.round(12), axis=0)))
    means = KMeans(distinct, n_init=4, random_state=0).fit(people)
    group = np.zeros(data.users.height, dtype=np.int64)
    group[data.present] = means.labels_
    return found.population + torch.as_tensor(means.cluster_centers_) @ found.basis.T, group


def _size_and_curvature(data: Comparisons, axes: Tensor, tastes: Tensor, middle: Tensor) -> tuple[float, float]:
    """s ≥ 0 and q ≥ 0 of u = s⟨taste of the user, x @ axes⟩ − q‖(x − mean) @ axes‖² that predict best.

    axes      (kept, d) directions of preference space
    tastes    (U, kept) every user's
    middle    (kept,) of items
    """
    part = data.take(np.arange(0, len(data), -(-len(data) // ROWS)))
    a, b = (
        torch.as_tensor(np.asarray(part.items[side], dtype=np.float64)) @ axes.T - middle
        for side in (part.first, part.second)
    )
    linear = ((a - b) * tastes[part.user]).sum(1)
    gaps: Float = torch.stack([linear, b.square().sum(1) - a.square().sum(1)], 1).numpy()
    label, weight = part.label, part.weight / part.weight.sum()

    def nats(factors: Float) -> tuple[float, Float]:
        gap = part.base_gap + gaps @ factors
        value = -(weight * (label * log_expit(gap) + (1 - label) * log_expit(-gap))).sum()
        return float(value), gaps.T @ (weight * (expit(gap) - label))

    stretch, curvature = minimize(nats, np.array([1.0, 0.1]), jac=True, method="L-BFGS-B", bounds=[(0, None)] * 2).x
    return float(stretch), float(curvature)
