"""Several people label the same comparison: Dawid–Skene with one reliability each, and a prior from a reward.

Here one clean preference a comparison is shared by all who labelled it, which the flip mixture, a clean label
drawn anew for each, does not know. With one label a comparison the two are the same.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, log_expit, logit

from plurality.arrays import Float, Int
from plurality.fitting.em import em


@dataclass(frozen=True, eq=False)
class DawidSkeneEstimate:
    """P(first is truly preferred) by comparison (J,), reliability by annotator (K,), the bound by iteration."""

    truth: Float
    reliability: Float
    bounds: list[float]


def dawid_skene(
    comparison: Int,
    annotator: Int,
    label: Float,
    *,
    margin: NDArray[np.float64] | None = None,
    prior: tuple[float, float] = (1.0, 1.0),
    start: float = 0.75,
    max_iter: int = 1000,
    tol: float = 1e-10,
) -> DawidSkeneEstimate:
    """Truth of comparisons and reliability of annotators from labels (N,) in [0, 1] by EM.

    τ_j = σ(s_j + Σ_i (2y_i − 1) logit η_k(i)), η_k = (Σ_i P(label i right) + a − 1) / (n_k + a + b − 2), with s_j
    the `margin` of comparison j in log-odds (0 without a reward) and Beta(a, b) the `prior` of reliabilities.
    Source: Dawid & Skene 1979, with one reliability an annotator and a Bradley–Terry prior for the truth.
    """
    n_comparisons, n_annotators = int(comparison.max()) + 1, int(annotator.max()) + 1
    s = np.zeros(n_comparisons) if margin is None else margin
    a, b = prior
    sign, count = 2 * label - 1, np.bincount(annotator, minlength=n_annotators)

    def e_step(eta: Float) -> tuple[Float, float]:
        votes = np.bincount(comparison, sign * logit(eta)[annotator], n_comparisons)
        odds = s + votes
        log_first = log_expit(s) + np.bincount(comparison, _label_log_prob(label, eta[annotator]), n_comparisons)
        log_second = log_expit(-s) + np.bincount(comparison, _label_log_prob(1 - label, eta[annotator]), n_comparisons)
        bound = np.logaddexp(log_first, log_second).sum()
        return expit(odds), float(bound + ((a - 1) * np.log(eta) + (b - 1) * np.log(1 - eta)).sum())

    def m_step(truth: Float, _: Float) -> Float:
        agrees = label * truth[comparison] + (1 - label) * (1 - truth[comparison])
        right = np.bincount(annotator, agrees, n_annotators) + a - 1
        return np.clip(right / np.maximum(count + a + b - 2, 1e-300), 1e-9, 1 - 1e-9)

    end = em(np.full(n_annotators, start), e_step, m_step, max_iter=max_iter, tol=tol)
    return DawidSkeneEstimate(end.responsibilities, end.params, end.bounds)


def _label_log_prob(label: Float, eta: Float) -> Float:
    """Log-probability of a soft label when first is truly preferred: y log η + (1 − y) log(1 − η)."""
    return label * np.log(eta) + (1 - label) * np.log(1 - eta)
