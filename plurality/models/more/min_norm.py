"""The shortest vector in the convex hull of gradients: weights of objectives that all descend together.

Only the Gram matrix G_ij = ⟨g_i, g_j⟩ of the K gradients is needed. d = Σ λ_i g_i with least ‖d‖ has ⟨g_i, d⟩ ≥ ‖d‖²
for all i (KKT), so a step along −d raises no objective.
Source: Sener & Koltun 2018 (MGDA-UB), Algorithm 2 by Frank–Wolfe; used for rewards by MORE, arXiv 2312.07401, eq. 7.
"""

import torch
from torch import Tensor

NORMALISE = ("none", "l2", "loss", "loss+")


def min_norm(gram: Tensor, *, tol: float = 1e-7, max_iter: int = 1000) -> Tensor:
    """λ ∈ Δ_K that minimises λᵀGλ: (K, K) -> (K,), float64; closed form for two, exact Frank–Wolfe steps beyond."""
    gram = gram.double()
    if len(gram) == 1:
        return torch.ones(1, dtype=torch.float64)
    first, second, share = _best_pair(gram)
    weights = torch.zeros(len(gram), dtype=torch.float64)
    weights[first], weights[second] = share, 1 - share
    if len(gram) == 2:
        return weights
    for _ in range(max_iter):
        product = gram @ weights
        value, corner = weights @ product, int(product.argmin())
        away = int(torch.where(weights > 0, product, -torch.inf).argmax())  # away steps: no zigzag at a face
        if float(product[away] - product[corner]) <= tol * float(gram.diagonal().max()):
            break
        step = torch.zeros_like(weights)
        step[corner], step[away] = 1.0, -1.0
        slope, bend = float(product[corner] - product[away]), float(step @ gram @ step)
        length = min(float(weights[away]), -slope / bend) if bend > 0 else float(weights[away])
        weights = weights + length * step
        assert float(weights @ gram @ weights) <= float(value) * (1 + 1e-9) + 1e-12
    return weights.clamp_min(0) / weights.clamp_min(0).sum()


def two_weights(aa: Tensor, ab: Tensor, bb: Tensor) -> Tensor:
    """Share of the first of two: clip(⟨b − a, b⟩ / ‖a − b‖², 0, 1), from ‖a‖², ⟨a, b⟩ and ‖b‖²; any shape."""
    length = aa + bb - 2 * ab
    return torch.where(length > 0, (bb - ab) / length.clamp_min(1e-300), 0.5).clamp(0, 1)


def _best_pair(gram: Tensor) -> tuple[int, int, float]:
    """The two whose hull comes nearest to 0, all pairs at once."""
    i, j = torch.triu_indices(len(gram), len(gram), 1)
    aa, ab, bb = gram[i, i], gram[i, j], gram[j, j]
    share = two_weights(aa, ab, bb)
    best = int((share**2 * aa + 2 * share * (1 - share) * ab + (1 - share) ** 2 * bb).argmin())
    return int(i[best]), int(j[best]), float(share[best])


def normalised(gram: Tensor, losses: Tensor, how: str) -> Tensor:
    """Gram matrix after scaling gradients: by 1 (none), ‖g‖ (l2), the loss, or both (loss+).

    With l2 and two sources λ is ½, ½ whatever the gradients: the plain mixture exactly.
    """
    length = gram.diagonal().clamp_min(1e-300).sqrt()
    scale = {"none": torch.ones_like(length), "l2": length, "loss": losses, "loss+": losses * length}[how]
    return gram / (scale[:, None] * scale[None, :])
