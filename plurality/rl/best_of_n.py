"""Choosing among candidates: the completion that a user, or a population under a welfare rule, would like best."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from plurality.arrays import Array
from plurality.data.read import Completions, read_completions
from plurality.errors import InputError
from plurality.io.visible import THOUGHT_TAGS, Tags
from plurality.reward.links import win
from plurality.reward.reward_model import RewardModel
from plurality.reward.scoring import Unknown
from plurality.rl.people import UserPopulation
from plurality.rl.rules.asked import Weights, rule_for
from plurality.rl.rules.rows import Rule, batch_of, by_prompt, rows_of
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
    objective: str | None = None,
    direction: Weights | None = None,
    population: pl.DataFrame | None = None,
    base: Sequence[Sequence[float]] | None = None,
    thought_tags: Tags = THOUGHT_TAGS,
) -> Best:
    """The candidate with the highest reward for each prompt: to its user, or to a population under a welfare rule.

    With a `rule` (see `rule_of`), which sees one prompt after another, user_ids is None but for a rule of an ensemble's
    members, which is each user's. The people are those of `population`, a frame of user_id with optional `weight` and
    `group`, or all that the model knows. A person's utility of a candidate is then the mean probability that they
    prefer it to another candidate of the prompt, which has one scale for all users. Over the candidates that mean is ½
    for every user, so rules that look for who is worst off over a batch cannot choose here; "pointwise_min" and "rmod"
    can. A rule of members or of objectives has their own rewards, of members as a gap to the mean item of the fit.
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
    objective     name of the one objective to choose by, of a model that has some
    direction     objective -> weight, put on the unit sphere
    base          (P,) lists of the base reward's scores, one a candidate, for a model that starts from one
    thought_tags  (opening, closing) of thoughts, which nobody sees and which are not judged; a candidate of which
                  nothing else is there, or that is blank, is never the best
    """
    chooser = rule_for(reward.head, rule, objective=objective, direction=direction)
    kind = "nobody" if chooser is None else rows_of(chooser)
    flat = _flat(prompts, candidates, user_ids, n, kind not in ("nobody", "members"), thought_tags, base)
    people = None
    if kind == "people":
        people = UserPopulation.of(reward, population, unknown=unknown)
    elif population is not None:
        raise InputError("a population chooses by a rule of people; give rule=, such as 'mean', or leave it out")
    if chooser is not None:
        _check_chooser(chooser)
    if kind in ("nobody", "members"):
        reward.codes(flat.user_ids, unknown)  # raises for unknown users before any text is embedded
    items, of_prompt = _embedded(reward, flat.candidates, encoder)
    scores = _base_scores(reward, flat.candidates, base is not None, kind)
    if chooser is None:
        some = np.maximum(flat.candidates.item, 0)  # of what cannot be seen any item's, and then none
        values = reward.score(items, some, flat.user_ids, prompts=of_prompt, base=scores, unknown=unknown)
    else:
        seen = np.flatnonzero(flat.candidates.item >= 0)
        values = np.empty(len(flat.prompt))
        values[seen] = _chosen(reward, chooser, people, flat, seen, items, of_prompt, scores, unknown)
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
    base: Sequence[Sequence[float]] | None = None,
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
    base        (P,) two scores each of the base reward, for a model that starts from one
    """
    odd = next((i for i, pair in enumerate(pairs) if len(pair) != 2), None)
    if odd is not None:
        raise InputError(f"pair {odd} (from 0) has not two completions; for more of them use best_of_n")
    found = best_of_n(reward, prompts, pairs, user_ids, encoder=encoder, unknown=unknown, base=base)
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


def _check_chooser(chooser: Rule) -> None:
    if rows_of(chooser) == "people" and batch_of(chooser) == "whole":
        raise InputError(
            f"rule {chooser.name} looks for who fares worst over a batch, and over one prompt's candidates "
            "every user's candidates win half of the time; choose by pointwise_min or rmod"
        )


def _chosen(
    reward: RewardModel,
    chooser: Rule,
    people: UserPopulation | None,
    flat: "_Flat",
    seen: Int,
    items: Array,
    of_prompt: Array | None,
    scores: Float | None,
    unknown: Unknown,
) -> Float:
    """What a rule gives the candidates at these rows, one prompt after another."""
    place = torch.as_tensor(flat.candidates.item[seen])
    features = reward.features(items, of_prompt, scores)[place]
    if people is not None:
        whole, weights, groups = people, people.weights, people.groups
        return by_prompt(
            lambda rows: chooser(_wins(reward, whole, features[torch.as_tensor(rows)]), weights, groups),
            flat.prompt[seen],
        )
    with torch.no_grad():
        if rows_of(chooser) == "objectives":
            each = reward.whole_head.by_objective(features).T
        else:
            centre = reward.centre(of_prompt)
            centre = centre[place] if reward.head.uses_prompts else centre.expand(len(place), -1)
            codes = reward.codes([flat.user_ids[i] for i in seen.tolist()], unknown).to(features.dtype)
            each = reward.whole_head.by_member(features, codes) - reward.whole_head.by_member(centre, codes)
    utilities, k = each.double().numpy(), len(each)
    return by_prompt(lambda rows: chooser(utilities[:, rows], np.ones(k), np.arange(k)), flat.prompt[seen])


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
    base: Sequence[Sequence[float]] | None,
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
    if base is not None:
        try:
            scored = [len(some) for some in base]
            rows["score"] = [float(score) for some in base for score in some[: n or len(some)]]
        except (TypeError, ValueError):
            raise InputError("base must be a list of scores a prompt, a number for each of its candidates") from None
        if scored != [len(some) for some in candidates]:
            raise InputError("base has another number of scores than there are candidates; give one each")
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
        u = reward.whole_head.population(features, people.codes.to(features.dtype)).double()
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


def _base_scores(reward: RewardModel, candidates: Completions, given: bool, kind: str) -> Float | None:
    """Scores of the items, zeros where objectives are chosen by, which are beside the base."""
    if given and reward.base is None:
        raise InputError("this model starts from no base reward; leave base out")
    if reward.base is None:
        return None
    if kind == "objectives":
        return np.zeros(len(candidates.items.keys))
    if not given:
        raise InputError("this model starts from a base reward: give the score of each candidate as base=")
    return candidates.base()


def _best(values: Float, flat: _Flat) -> Best:
    rank = ranks(flat.prompt, values)
    top = np.flatnonzero(rank == 1)
    next_best = np.full(len(flat.starts), -np.inf)
    next_best[flat.prompt[rank == 2]] = values[rank == 2]
    return Best(top - flat.starts, tuple(np.split(values, flat.starts[1:])), values[top] - next_best)
