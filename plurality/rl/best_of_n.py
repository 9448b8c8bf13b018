"""Choosing among candidates: the completion that a user, or a population under a welfare rule, would like best."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from plurality.data.read import Completions, read_completions
from plurality.errors import InputError
from plurality.io.visible import THOUGHT_TAGS, Tags
from plurality.reward.links import win
from plurality.reward.reward_model import RewardModel
from plurality.reward.scoring import Unknown
from plurality.rl.people import UserPopulation
from plurality.rl.rules.registry import ExponentiatedGradient, GroupMaxMin, Rule, people_rule
from plurality.rl.rules.welfare import Float, Int

if TYPE_CHECKING:
    from plurality.encoders import Encoder
    from plurality.encoders.protocol import Prompt

__all__ = ["Best", "best_of_n", "judge", "ranks"]


@dataclass(frozen=True, eq=False)
class Best:
    """The best candidate of each of P prompts.

    index     (P,) its place among the prompt's candidates, from 0; of equal ones the first
    reward    P arrays, the reward of each candidate looked at: log-odds, or what the rule makes of win probabilities;
              −∞ where nothing can be seen of it
    margin    (P,) by how much it beats the next best; infinite where there is no other
    """

    index: Int
    reward: tuple[Float, ...]
    margin: Float


def best_of_n(  # noqa: PLR0913
    reward: RewardModel,
    prompts: "Sequence[Prompt]",
    candidates: Sequence[Sequence[str]],
    user_ids: Sequence[str] | None,
    *,
    encoder: "Encoder | None" = None,
    unknown: Unknown = "error",
    n: int | None = None,
    rule: str | Rule | None = None,
    population: pl.DataFrame | None = None,
    thought_tags: Tags = THOUGHT_TAGS,
) -> Best:
    """The candidate with the highest reward for each prompt: to its user, or to a population under a welfare rule.

    With a `rule` (see `rule_of`), user_ids is None, and the people are those of `population`, a frame of user_id with
    optional `weight` and `group`, or all that the model knows. A person's utility of a candidate is then the mean
    probability that they prefer it to another candidate of the prompt, which has one scale for all users; the rule
    sees one prompt after another. Over the candidates that mean is ½ for every user, so rules that look for who is
    worst off over a batch cannot choose here; "pointwise_min" and "rmod" can.
    `n` looks at the first n candidates only. Each text is embedded once, by the model's own encoder unless another copy
    of it is given. Raises InputError for such a rule, unknown users, lengths that differ, a prompt with fewer than n
    candidates, a prompt whose candidates are all blank, or an encoder that is not the model's.

    reward        fitted model
    prompts       (P,) strings or message lists
    candidates    (P,) lists of completions
    user_ids      (P,) whose reward; None with a rule
    encoder       another copy of the model's encoder
    unknown       what a user that the model does not know gets: "error" raises InputError, "population" the
                  population's code
    thought_tags  (opening, closing) of thoughts, which nobody sees and which are not judged; a candidate of which
                  nothing else is there, or that is blank, is never the best
    """
    flat = _flat(prompts, candidates, user_ids, n, rule is not None, thought_tags)
    if rule is None:
        if population is not None:
            raise InputError("a population chooses by a rule; give rule=, such as 'mean', or leave out population")
        reward.codes(flat.user_ids, unknown)  # raises for unknown users before any text is embedded
    else:
        chooser, people = _chooser(rule), UserPopulation.of(reward, population, unknown=unknown)
    items, of_prompt = _embedded(reward, flat.candidates, encoder)
    if rule is None:
        values = reward.score(items, flat.candidates.item, flat.user_ids, prompts=of_prompt, unknown=unknown)
    else:
        features = reward.features(items, of_prompt)
        values = np.empty(len(flat.prompt))
        for rows in np.split(np.arange(len(values)), flat.starts[1:]):
            seen = rows[flat.candidates.item[rows] >= 0]
            wins = _wins(reward, people, features[flat.candidates.item[seen]])
            values[seen] = chooser(wins, people.weights, people.groups)
    values[flat.candidates.item < 0] = -np.inf
    return _best(values, flat)


def judge(
    reward: RewardModel,
    prompts: "Sequence[Prompt]",
    pairs: Sequence[tuple[str, str]],
    user_ids: Sequence[str],
    *,
    encoder: "Encoder | None" = None,
    unknown: Unknown = "error",
) -> list[int]:
    """Which of two completions each prompt's user prefers: 0 or 1, and −1 where the rewards are equal.

    What a pairwise judge of a trainer or an arena returns. Raises InputError as `best_of_n` does.

    reward      fitted model
    prompts     (P,) strings or message lists
    pairs       (P,) two completions each
    user_ids    (P,) whose reward
    encoder     another copy of the model's encoder
    unknown     what a user that the model does not know gets: "error" raises InputError, "population" the population's
                code
    """
    odd = next((i for i, pair in enumerate(pairs) if len(pair) != 2), None)
    if odd is not None:
        raise InputError(f"pair {odd} (from 0) has not two completions; for more of them use best_of_n")
    found = best_of_n(reward, prompts, pairs, user_ids, encoder=encoder, unknown=unknown)
    return np.where(found.margin > 0, found.index, -1).tolist()


def ranks(group: Int, reward: Float) -> Int:
    """Rank of each row's reward within its group, 1 the best, of equal ones the earlier first: (n,).

    group     (n,) code of the prompt of each
    reward    (n,) rewards
    """
    order = np.lexsort((-reward, group))  # stable
    ordered = group[order]
    first = np.searchsorted(ordered, ordered)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - first + 1
    return rank


def _chooser(rule: str | Rule) -> Rule:
    chooser = people_rule(rule, one_prompt=True)
    if isinstance(chooser, GroupMaxMin | ExponentiatedGradient):
        raise InputError(
            f"rule {chooser.name} looks for who fares worst over a batch, and over one prompt's candidates "
            "every user's candidates win half of the time; choose by pointwise_min or rmod"
        )
    return chooser


@dataclass(frozen=True)
class _Flat:
    """All candidates in one table: of which prompt each is (C,), and where each prompt's begin (P,)."""

    candidates: Completions
    user_ids: list[str]
    prompt: Int
    starts: Int


def _flat(
    prompts: "Sequence[Prompt]",
    candidates: Sequence[Sequence[str]],
    user_ids: Sequence[str] | None,
    n: int | None,
    by_rule: bool,
    tags: Tags,
) -> _Flat:
    if by_rule and user_ids is not None:
        raise InputError("a rule chooses for a population, not for user_ids; give None for them, or no rule")
    if not by_rule and user_ids is None:
        raise InputError("whose preference is it? give a user a prompt as user_ids, or a rule for a population")
    lengths = {"prompts": len(prompts), "lists of candidates": len(candidates)}
    if user_ids is not None:
        lengths["user_ids"] = len(user_ids)
    if len(set(lengths.values())) > 1:
        raise InputError(f"there are {', '.join(f'{v} {k}' for k, v in lengths.items())}; give one of each a prompt")
    least = 1 if n is None else n
    if least < 1:
        raise InputError(f"the best of {n} candidates cannot be; give n of 1 or more, or none to look at all")
    if any(isinstance(some, str) for some in candidates):
        raise InputError("candidates are lists of completions, one list a prompt, and one of them is a string")
    short = next((i for i, some in enumerate(candidates) if len(some) < least), None)
    if short is not None:
        raise InputError(
            f"prompt {short} (from 0) has {len(candidates[short])} candidates, fewer than {least}; give more"
        )
    counts = np.array([len(some) if n is None else n for some in candidates], dtype=np.int64)
    prompt = np.repeat(np.arange(len(counts)), counts)
    rows: dict[str, list[Any]] = {
        "user_id": ["population"] * len(prompt) if user_ids is None else [str(user_ids[i]) for i in prompt.tolist()],
        "prompt": [prompts[i] for i in prompt.tolist()],
        "completion": [text for some in candidates for text in some[: n or len(some)]],
    }
    try:
        frame = pl.DataFrame(rows)
    except (TypeError, pl.exceptions.PolarsError):
        raise InputError("prompts are all strings or all message lists, and completions strings") from None
    read, starts = read_completions(frame, tags), np.cumsum(counts) - counts
    silent = np.logical_and.reduceat(read.item < 0, starts)
    if silent.any():
        row = int(silent.argmax())
        raise InputError(f"prompt {row} (from 0): nothing can be seen of any candidate, all are empty or thoughts")
    return _Flat(read, rows["user_id"], prompt, starts)


def _wins(reward: RewardModel, people: UserPopulation, features: Tensor) -> Float:
    """Mean probability that each person prefers each candidate to another one, ½ where there is none: (P, n)."""
    with torch.no_grad():
        u = reward.head.population(features, people.codes.to(features.dtype)).double()
        others = u.shape[1] - 1
        if not others:
            return np.full(u.shape, 0.5)
        # a candidate against itself is taken out again
        return ((win(u, u) * u.shape[1] - 0.5) / others).numpy()


def _embedded(reward: RewardModel, candidates: Completions, encoder: "Encoder | None") -> tuple[Any, Any]:
    """Embeddings of the items, and of each item's prompt where the head looks at it."""
    if encoder is None:
        encoder = reward.text_encoder()
    elif reward.encoder is not None and encoder.fingerprint != reward.encoder.fingerprint:
        raise InputError(
            f"the encoder given ({encoder.fingerprint[:8]}) is not the one the model was fitted with "
            f"({reward.encoder.fingerprint[:8]}); leave it out to use the model's own"
        )
    items = candidates.items.embed(encoder)
    if not reward.head.uses_prompts:
        return items, None
    return items, candidates.items.embed_prompts(encoder)[candidates.items.prompt]


def _best(values: Float, flat: _Flat) -> Best:
    rank = ranks(flat.prompt, values)
    top = np.flatnonzero(rank == 1)
    next_best = np.full(len(flat.starts), -np.inf)
    next_best[flat.prompt[rank == 2]] = values[rank == 2]
    return Best(top - flat.starts, tuple(np.split(values, flat.starts[1:])), values[top] - next_best)
