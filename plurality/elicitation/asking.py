"""Which comparison to ask a user next: the one whose answer would say most about their code."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plurality.arrays import Int
from plurality.data.comparisons import Comparisons
from plurality.data.keys import combine, mix, text_keys, uniform
from plurality.elicitation.scores import d_optimal, information_gain, max_distance, sides_apart, unlikeness
from plurality.errors import InputError, check_whole
from plurality.reward.links import prob
from plurality.reward.posterior import Posterior
from plurality.reward.reward_model import RewardModel

Float = NDArray[np.float64]
How = Literal["information", "d_optimal", "max_distance", "dissimilar", "random"]
BLOCK = 4_000_000  # features held at once: rows of people × candidates × draws × F


def next_questions(
    reward: RewardModel,
    user_id: str,
    candidates: Comparisons,
    *,
    how: How = "information",
    n: int = 1,
    asked: Comparisons | None = None,
    seed: int = 0,
) -> Int:
    """Rows of the n candidates that say most of a user's code, best first; labels and users of them are not looked at.

    how = "information" averages over the beliefs of any family; "d_optimal" and "max_distance" take them as Gaussian,
    and the log-odds as linear around their middle. "dissimilar" takes the question whose direction in code space
    is least like any in `asked`, which it needs (empty at the start: then the pair whose embeddings are least alike),
    and like those it just took; it looks at no answers and no stakes, and asks much that tells little where few
    directions matter. "random" draws by `seed` and user. An unknown user has the population's beliefs.
    But for "dissimilar" each question is judged alone: ask one, `adapt`, ask again.
    Raises InputError for another way, too few candidates, or a family without codes.

    reward        fitted model
    user_id       whom to ask
    candidates    comparisons that could be asked
    how           measure of what an answer tells
    n             number of questions
    """
    _check(reward, candidates, how)
    check_whole("n", n)
    if not 1 <= n <= len(candidates):
        raise InputError(f"{candidates.source}: {n} questions cannot be chosen from {len(candidates)} candidates")
    if how == "dissimilar":
        if asked is None:
            raise InputError(
                'how="dissimilar" needs asked=, the comparisons asked so far; take(...) none of them at first'
            )
        reward.check(asked)
        return _furthest_first(reward, candidates, asked, n)
    if not isinstance(user_id, str):
        raise InputError(
            f"user_id={user_id!r:.40} is no text; ids are texts, also where they were numbers in the table"
        )
    score = _scores(reward, [user_id], candidates, how, seed)[0]
    return np.argsort(-score, kind="stable")[:n]


def next_question_each(
    reward: RewardModel,
    user_ids: Sequence[str],
    candidates: Comparisons,
    asked: Int,
    *,
    how: How = "information",
    seed: int = 0,
) -> Int:
    """Row of the candidate to ask each of U users next, all users at once, none that they were asked before: (U,).

    `asked` (U, k) are rows of the candidates that each user was asked, k = 0 at the start. Ways as in
    `next_questions`; each round ask each user one question, then `adapt` once. Raises InputError as it does, and
    where a user was asked all candidates.

    reward        fitted model
    user_ids      whom to ask
    candidates    comparisons that could be asked
    how           measure of what an answer tells; see `next_questions`
    seed          of random questions and draws
    """
    _check(reward, candidates, how)
    asked = np.asarray(asked, dtype=np.int64).reshape(len(user_ids), -1)
    if asked.size and not (asked.min() >= 0 and asked.max() < len(candidates)):
        raise InputError(
            f"{candidates.source}: what was asked must be rows of the {len(candidates)} candidates, from 0"
        )
    left = np.ones((len(user_ids), len(candidates)), dtype=bool)
    left[np.arange(len(user_ids))[:, None], asked] = False
    if not left.any(1).all():
        who = user_ids[int(left.any(1).argmin())]
        raise InputError(f"{candidates.source}: user {who!r} was asked all {len(candidates)} candidates; give more")
    if how != "dissimilar":
        score = _scores(reward, user_ids, candidates, how, seed)
    elif asked.shape[1]:
        directions = _directions(reward, candidates)
        step = max(1, BLOCK // (asked.shape[1] * len(candidates)))
        blocks = [asked[i : i + step] for i in range(0, len(asked), step)]
        score = np.concatenate([unlikeness(directions, directions[rows]) for rows in blocks])
    else:
        score = np.tile(_apart(candidates), (len(user_ids), 1))
    return np.where(left, score, -np.inf).argmax(1)


def _check(reward: RewardModel, candidates: Comparisons, how: str) -> None:
    if how not in get_args(How):
        raise InputError(f"how={how!r} is not a valid option; give one of {', '.join(get_args(How))}")
    if reward.head.n_codes == 0:
        raise InputError(f"{reward.spec.name}: users have no code to ask about; fit a family that tells users apart")
    reward.check(candidates)


def _scores(reward: RewardModel, user_ids: Sequence[str], candidates: Comparisons, how: str, seed: int) -> Float:
    """What each candidate's answer says of each user: (U, N)."""
    if how == "random":
        keys = combine(text_keys(user_ids)[:, None], mix(np.arange(len(candidates)))[None])
        return uniform(keys, seed)
    belief, (first, second) = reward.beliefs(user_ids, "population"), batch_sides(reward, candidates)
    points = reward.head.points(belief)[0].shape[1] if how == "information" else 1
    step = max(1, BLOCK // (len(candidates) * points * first.shape[1]))
    score = _information if how == "information" else _local
    rows = torch.arange(len(user_ids)).split(step)
    return np.concatenate([score(reward, belief.of(some), first, second, how) for some in rows])


def _information(reward: RewardModel, belief: Posterior, first: Tensor, second: Tensor, how: str) -> Float:
    points, weight = reward.head.points(belief)  # (U, S, C), (S,) or (U, S)
    with torch.no_grad():  # (N, 1, F) a side and (U, 1, S, C): c(z) is computed once a person and draw
        odds = reward.whole_head.log_odds(first[:, None], second[:, None], points.to(first.dtype)[:, None])
    p = prob(odds.double())  # (U, N, S)
    share = weight.expand(points.shape[:2]).exp().T[:, :, None]
    return information_gain(p.permute(2, 0, 1).numpy(), share.numpy())


def _local(reward: RewardModel, belief: Posterior, first: Tensor, second: Tensor, how: str) -> Float:
    gap, slope = _linear(reward, belief.codes, first, second)
    return (d_optimal if how == "d_optimal" else max_distance)(gap, slope, belief.covariance.numpy())


def _linear(reward: RewardModel, codes: Tensor, first: Tensor, second: Tensor) -> tuple[Float, Float]:
    """Log-odds at each code (U, C) and their slope there, ∂gap/∂z: (U, N), (U, N, C)."""
    people, width = codes.shape
    each = codes.to(first.dtype).repeat_interleave(len(first), 0).requires_grad_()  # a row a person and candidate
    gap = reward.whole_head.log_odds(first.repeat(people, 1), second.repeat(people, 1), each)
    (slope,) = torch.autograd.grad(gap.sum(), each)
    shape = (people, len(first))
    return gap.detach().double().view(shape).numpy(), slope.double().view(*shape, width).numpy()


def _furthest_first(reward: RewardModel, candidates: Comparisons, asked: Comparisons, n: int) -> Int:
    """Each next question is the least like those asked, the ones just taken among them: (n,)."""
    directions = _directions(reward, candidates)
    score = unlikeness(directions, _directions(reward, asked)) if len(asked) else _apart(candidates)
    taken: list[int] = []
    for _ in range(n):
        score[taken] = -np.inf
        taken.append(int(score.argmax()))
        alike = unlikeness(directions, directions[taken[-1:]])
        score = alike if len(taken) == 1 and not len(asked) else np.minimum(score, alike)
    return np.array(taken, dtype=np.int64)


def _directions(reward: RewardModel, data: Comparisons) -> Float:
    """What each comparison asks about: ∂gap/∂z at the population's code, in units of its spread; (N, C)."""
    population = Posterior.of_prior(reward.prior, 1)
    _, slope = _linear(reward, population.codes, *batch_sides(reward, data))
    return slope[0] @ torch.linalg.cholesky(population.covariance[0]).numpy()


def _apart(candidates: Comparisons) -> Float:
    return sides_apart(candidates.items[candidates.first], candidates.items[candidates.second])


def batch_sides(reward: RewardModel, data: Comparisons) -> tuple[Tensor, Tensor]:
    """Features of both sides of every comparison, each item's computed once: (N, F), (N, F).

    reward    fitted model
    data      comparisons
    """
    used, inverse = np.unique(np.concatenate([data.first, data.second]), return_inverse=True)
    prompts = None
    if reward.head.uses_prompts:
        if data.prompts is None:
            raise InputError(
                f"{data.source}: this model looks at prompts, but they are not embedded; read with prompts=True"
            )
        prompts = data.prompts[data.prompt[used]]
    base = data.base[used] if data.base is not None and reward.base is not None else None
    features = reward.features(data.items[used], prompts, base)
    place = torch.as_tensor(inverse)
    return features[place[: len(data)]], features[place[len(data) :]]
