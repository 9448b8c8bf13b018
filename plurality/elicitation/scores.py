"""What an answer would be worth: the score of a question, given what is believed of the user or was asked before."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import entr

from plurality.reward.links import prob

Float = NDArray[np.float64]


def information_gain(p: Float, weight: Float | None = None) -> Float:
    """Mutual information (nats) of an answer and the code, H(E p) − E H(p) with H the entropy of one bit: (..., N).

    p (S, ..., N) is P(first preferred) at S draws of the code, `weight` (S,) or (S, ..., 1) their shares, equal by
    default. It is between 0, where draws agree, and log 2, where half of them are sure of either answer.
    Source: Houlsby et al. 2011 (BALD), arXiv 1112.5745, eq. 2.
    """
    share = np.full(len(p), 1 / len(p)) if weight is None else weight / weight.sum(0)
    share = share.reshape(share.shape + (1,) * (p.ndim - share.ndim))
    mean = (share * p).sum(0)
    return np.maximum(entr(mean) + entr(1 - mean) - (share * (entr(p) + entr(1 - p))).sum(0), 0)


def d_optimal(gap: Float, slope: Float, covariance: Float) -> Float:
    """Fall in entropy of a Gaussian belief (nats), ½ log(1 + σ'(g) vᵀCv): gap (..., N), v (..., N, C), C (..., C, C).

    v = ∂gap/∂z; σ'(g) vvᵀ is what the answer adds to the information matrix C⁻¹, so the gain is ½ log of the ratio
    of determinants.

    slope         (..., N, C) v, of the gap in the code
    covariance    (..., C, C) C, of the belief
    """
    return 0.5 * np.log1p(_bernoulli(gap) * _quadratic(slope, covariance))


def max_distance(gap: Float, slope: Float, covariance: Float) -> Float:
    """Variance of the predicted probability to first order, σ'(g)² vᵀCv: gap (..., N), v (..., N, C), C (..., C, C).

    Source: PReF, arXiv 2503.06358, whose Σ is the information matrix, so that its vᵀΣ⁻¹v is vᵀCv with the covariance C
    of the Laplace posterior.

    slope         (..., N, C) v, of the gap in the code
    covariance    (..., C, C) C, of the belief
    """
    return np.square(_bernoulli(gap)) * _quadratic(slope, covariance)


def unlikeness(differences: Float, asked: Float) -> Float:
    """1 − the largest |cos| between what a question compares and what was asked: (N, F), (..., k, F) -> (..., N).

    Rows are directions, such as ∂gap/∂z. It is 0 for a question asked already, either way round, and 1 for one at
    right angles to all of them.

    differences    (N, F) directions of questions
    asked          (..., k, F) directions of those asked
    """
    cosine = np.abs(_unit(asked) @ _unit(differences).T)  # (..., k, N)
    return 1 - np.minimum(cosine.max(-2), 1)


def sides_apart(first: Float, second: Float) -> Float:
    """1 − cos of a pair's two sides, which is large where they say different things: (N, d), (N, d) -> (N,).

    Source: REAL, arXiv 2409.17169, which labels the half of the pairs whose responses' embeddings are least alike.

    first     (N, d) embeddings
    second    (N, d) embeddings
    """
    return 1 - (_unit(first) * _unit(second)).sum(-1)


def _unit(rows: Float) -> Float:
    rows = np.asarray(rows, float)
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


def _bernoulli(gap: Float) -> Float:
    """σ'(g), the variance of an answer."""
    g = torch.as_tensor(gap)
    return (prob(g) * prob(-g)).numpy()


def _quadratic(slope: Float, covariance: Float) -> Float:
    return np.einsum("...nc,...cd,...nd->...n", slope, covariance, slope)
