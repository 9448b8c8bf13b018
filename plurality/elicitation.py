"""Which comparison to ask a user next: the one whose answer would say most about their code."""

from dataclasses import replace
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import entr

from plurality.comparisons import Comparisons
from plurality.errors import InputError
from plurality.links import prob
from plurality.reward import RewardModel
from plurality.tensors import Tensors

Float = NDArray[np.float64]
How = Literal["information", "d_optimal", "max_distance"]


def information_gain(p: Float, weight: Float | None = None) -> Float:
    """Mutual information (nats) of an answer and the code, H(E p) − E H(p) with H the entropy of one bit: (N,).

    p (S, N) is P(first preferred) at S draws of the code, `weight` (S,) their shares, equal by default. It is between
    0, where draws agree, and log 2, where half of them are sure of either answer.
    Source: Houlsby et al. 2011 (BALD), arXiv 1112.5745, eq. 2.
    """
    share = np.full(len(p), 1 / len(p)) if weight is None else weight / weight.sum()
    mean = share @ p
    return np.maximum(entr(mean) + entr(1 - mean) - share @ (entr(p) + entr(1 - p)), 0)


def d_optimal(gap: Float, slope: Float, covariance: Float) -> Float:
    """Fall in entropy of a Gaussian belief (nats), ½ log(1 + σ'(g) vᵀCv): gap (N,), v (N, C), C (C, C) -> (N,).

    v = ∂gap/∂z; σ'(g) vvᵀ is what the answer adds to the information matrix C⁻¹, so the gain is ½ log of the ratio
    of determinants.
    """
    return 0.5 * np.log1p(_bernoulli(gap) * _quadratic(slope, covariance))


def max_distance(gap: Float, slope: Float, covariance: Float) -> Float:
    """Variance of the predicted probability to first order, σ'(g)² vᵀCv: gap (N,), v (N, C), C (C, C) -> (N,).

    Source: PReF, arXiv 2503.06358, whose Σ is the information matrix, so that its vᵀΣ⁻¹v is vᵀCv with the covariance C
    of the Laplace posterior.
    """
    return np.square(_bernoulli(gap)) * _quadratic(slope, covariance)


def next_questions(
    reward: RewardModel, user_id: str, candidates: Comparisons, *, how: How = "information", n: int = 1
) -> NDArray[np.int64]:
    """Rows of the n candidates that say most of a user's code, best first; labels and users of them are not looked at.

    how = "information" averages over the beliefs of any family; "d_optimal" and "max_distance" take them as Gaussian,
    and the log-odds as linear around their middle. A user the model does not know has the population's beliefs. Each
    question is judged alone: ask one, `adapt`, ask again. Raises InputError for another way, too few candidates, or a
    family without codes.
    """
    if how not in get_args(How):
        raise InputError(f"how={how!r} is no way to choose questions; give one of {', '.join(get_args(How))}")
    if not 1 <= n <= len(candidates):
        raise InputError(f"{candidates.source}: {n} questions cannot be chosen from {len(candidates)} candidates")
    if reward.head.n_codes == 0:
        raise InputError(f"{reward.spec.name}: users have no code to ask about; fit a family that tells users apart")
    reward.check(candidates)
    score = (
        _information(reward, user_id, candidates) if how == "information" else _local(reward, user_id, candidates, how)
    )
    return np.argsort(-score, kind="stable")[:n]


def _information(reward: RewardModel, user_id: str, candidates: Comparisons) -> Float:
    points, weight = reward.head.points(reward.beliefs([user_id], "population"))  # (1, S, C), (S,) or (1, S)
    rows = Tensors.of(candidates, reward.head)
    with torch.no_grad():
        each = replace(rows, user=torch.zeros_like(rows.user)).log_odds(reward.head, points.to(rows.items.dtype))
    return information_gain(prob(each.double()).T.numpy(), weight.expand(1, -1)[0].exp().numpy())


def _local(reward: RewardModel, user_id: str, candidates: Comparisons, how: How) -> Float:
    belief = reward.beliefs([user_id], "population")
    rows = Tensors.of(candidates, reward.head)
    codes = belief.codes.to(rows.items.dtype).repeat(len(candidates), 1).requires_grad_()  # one a row, to take ∂gap/∂z
    gap = replace(rows, user=torch.arange(len(candidates))).log_odds(reward.head, codes)
    (slope,) = torch.autograd.grad(gap.sum(), codes)
    score = d_optimal if how == "d_optimal" else max_distance
    return score(gap.detach().double().numpy(), slope.double().numpy(), belief.covariance[0].numpy())


def _bernoulli(gap: Float) -> Float:
    """σ'(g), the variance of an answer."""
    g = torch.as_tensor(gap)
    return (prob(g) * prob(-g)).numpy()


def _quadratic(slope: Float, covariance: Float) -> Float:
    return np.einsum("nc,cd,nd->n", slope, covariance, slope)
