"""What reward functions share: from the texts of a call to its rewards, all but where embeddings come from."""

import copy
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plurality.arrays import Array, Float
from plurality.errors import InputError
from plurality.io.visible import Tags
from plurality.reward.base import base_column
from plurality.reward.item_features import item_features
from plurality.reward.reward_model import RewardModel, load
from plurality.rl.base_scores import BaseReward, BaseScores
from plurality.rl.messages import Pairs, check_lists, prompt_codes
from plurality.rl.people import KnownUsers, Unknown, UserPopulation
from plurality.rl.reference import Reference, column
from plurality.rl.rules.asked import Weights, rule_for
from plurality.rl.rules.rows import Rule, batch_of, rows_of
from plurality.rl.scales import Normalise
from plurality.rl.scoring import Embedded, Personal, Scorer, scorer_of

log = logging.getLogger("plurality.rl.reward_function")


@dataclass(frozen=True, eq=False)
class _Call:
    """One call: the texts to embed, of completions and then of their opponents, and whose rewards they are."""

    texts: Pairs
    row: NDArray[np.int64]  # (n,) pair of each completion, −1 where nothing can be seen of it, or of its opponent
    opponent: NDArray[np.int64] | None  # (n,)
    who: NDArray[np.int64] | None  # (n,) row in KnownUsers.codes, −1 for unknown users
    n_unknown: int
    prompt: NDArray[np.int64] | None  # (n,) code of the prompt of each, for rules that compare its candidates
    base: Float | None  # score of the base reward of each completion, and after them of each opponent


class Rewards:
    """What the two reward functions share: all but where embeddings come from."""

    __name__: str

    def __init__(  # noqa: PLR0913
        self,
        reward: RewardModel | str | Path,
        *,
        user_column: str | None,
        unknown: Unknown,
        normalise: Normalise,
        reference: Any,
        rule: str | Rule | None,
        objective: str | None,
        direction: Weights | None,
        population: Any,
        lower: float,
        base: BaseReward | None,
        groups: str | None,
        blank: float | None,
        thought_tags: Tags,
        name: str | None,
    ) -> None:
        self.reward = reward if isinstance(reward, RewardModel) else load(reward)
        if unknown not in get_args(Unknown):
            raise InputError(f"unknown={unknown!r} is not a valid option; give one of {', '.join(get_args(Unknown))}")
        self.rule = rule_for(self.reward.head, rule, objective=objective, direction=direction, lower=lower)
        of_people = self.rule is not None and rows_of(self.rule) == "people"
        if population is not None and not of_people:
            raise InputError("a population is for a rule of people; give rule=, or leave the population out")
        self.user_column = user_column or self.reward.spec.unit
        self.unknown, self.normalise, self.blank, self.lower = unknown, normalise, blank, float(lower)
        self.thought_tags, self.groups = thought_tags, groups
        self.reference = Reference.of(reference, normalise, thought_tags)
        wanted = self.reward.base is not None
        self.base = BaseScores.of(
            base, wanted=wanted, needed=wanted and not (self.rule is not None and rows_of(self.rule) == "objectives")
        )
        self.people = KnownUsers.of(self.reward)
        self.population = UserPopulation.of(self.reward, population, unknown=unknown) if of_people else None
        self.__name__ = name or objective or ("user_reward" if self.rule is None else self.rule.name)
        self.odd_rows = 0
        self._has_read = False
        self._personal: Personal | None = None
        self._scorer: Scorer | None = None
        if self.reference.texts is None:
            if self.base.source is not None and self.reference.items is not None:
                raise InputError("reference embeddings have no base score; give the reference as texts")
            self._set_reference(self.reference.items, self.reference.prompts)

    @property
    def reads_prompts(self) -> bool:
        """Whether a reward depends on the prompt besides the completion, as far as the encoder's record tells."""
        record = {} if self.reward.encoder is None else self.reward.encoder.describe()
        return self.reward.head.uses_prompts or record.get("template") != "completion"

    def knows(self, user: Any) -> bool:
        """Whether the model knows this user."""
        return int(self.people.rows([user], "none")[0]) >= 0

    def for_people(self, reward: RewardModel) -> Self:
        """The same rewards for the users that `reward` knows: this one's model with other users or newer codes.

        reward    the model that this one was made with, adapted
        """
        one = copy.copy(self)
        one.people = KnownUsers.of(reward)
        one._ask(one.rule, one.population)
        return one

    def _set_reference(self, items: Array | None, prompts: Array | None) -> None:
        """Take the embeddings of the reference pool, a row a reference completion: ready to score."""
        pool = None
        if items is not None:
            pool = self._on_base(self._own_features(items, prompts), self._base_of_pool(len(items)))
        self._personal = Personal(self.reward.whole_head, self.normalise, pool, self.lower)
        self._ask(self.rule, self.population)

    def _base_of_pool(self, count: int) -> Float | None:
        if self.reward.base is None:
            return None
        texts = self.reference.texts
        if texts is None or self.base.source is None:
            return np.zeros(count)
        if isinstance(self.base.source, str):
            raise InputError("a column scores no reference completions; give base as a function")
        each = replace(texts, row=np.arange(len(texts.completions)))
        return self.base.of_rows(each, [(texts.prompt_of_each(), texts.completions)], {})[texts.row]

    def _own_features(self, items: Array, prompts: Array | None) -> Tensor:
        """Features of items without the base reward, which is of rows: texts seen alike may be scored apart."""
        return item_features(replace(self.reward, base=None), items, prompts, None)

    def _on_base(self, features: Tensor, base: Float | None) -> Tensor:
        """Features (n, F) with what the base reward gives each row (n,) as the last, where there is one."""
        if self.reward.base is None:
            return features
        return torch.cat([features, base_column(base, self.reward.base, len(features)).to(features)], 1)

    def _ask(self, rule: Rule | None, population: UserPopulation | None) -> None:
        """Score by this rule from now on."""
        self.rule, self.population = rule, population
        with torch.no_grad():
            ready = self._personal
            self._scorer = None if ready is None else scorer_of(ready, rule, self.people, population)

    @property
    def needs_user(self) -> bool:
        """Whether a completion's reward depends on whose it is."""
        return self.rule is None or rows_of(self.rule) == "members"

    @property
    def row_columns(self) -> tuple[str, ...]:
        """Columns that a row must have for its reward: the user's, and those of base scores and opponents."""
        base = self.base.source if isinstance(self.base.source, str) else None
        named = (self.user_column if self.needs_user else None, base, self.reference.column)
        return tuple(dict.fromkeys(name for name in named if name is not None))

    def _read(self, prompts: Sequence[Any], completions: Sequence[Any], columns: dict[str, Any]) -> _Call:
        check_lists(prompts, completions)
        count = len(completions)
        who, n_unknown = None, 0
        if self.needs_user:  # unknown users raise before any text is embedded
            ids = column(columns, self.user_column, count)
            who = self.people.rows(ids, self.unknown)
            n_unknown = int(((who < 0) | (who == len(self.people.place))).sum())
        others = self.reference.opponents(columns, count)
        texts = Pairs.of([*prompts, *(prompts if others else ())], [*completions, *others], self.thought_tags)
        row, opponent = texts.row[:count], texts.row[count:] if others else None
        self._tell(texts, count)
        if opponent is not None:
            if count and (opponent < 0).all():
                raise InputError(f"column {self.reference.column} holds an empty text; give each row a completion")
            row = np.where(opponent < 0, -1, row)
        base = None
        if self.reward.base is not None:
            asked = [(prompts, completions), *([(prompts, others)] if others else [])]
            base = self.base.of_rows(texts, asked, columns)
        of_prompt = None
        if self.rule is not None and batch_of(self.rule) == "prompt":
            of_prompt = prompt_codes(prompts)
            if count and len(np.unique(of_prompt)) == count:
                raise InputError(
                    f"rule {self.rule.name!r} compares the candidates of one prompt, and each prompt of this call has "
                    "one; hand over all completions of a prompt together"
                )
        return _Call(texts, row, opponent, who, n_unknown, of_prompt, base)

    def _tell(self, texts: Pairs, count: int) -> None:
        """Count rows that are no text, and log the first. Raises InputError if there was never anything else."""
        if not texts.odd:
            self._has_read |= count > 0
            return
        first = next(iter(texts.odd.values()))
        if not self._has_read and len(texts.odd) >= count:  # of how rewards are asked for, not of an odd row
            raise InputError(first)
        if not self.odd_rows:
            log.warning("%s: a row is not text and has no reward (%s); others are not logged", self.__name__, first)
        self._has_read, self.odd_rows = True, self.odd_rows + len(texts.odd)

    def _finish(self, call: _Call, items: Array, prompts: Array | None, columns: dict[str, Any]) -> list[float | None]:
        somebody = np.ones(len(call.row), dtype=bool) if call.who is None else call.who >= 0
        scored, blank = somebody & (call.row >= 0), somebody & (call.row < 0)
        rewards: list[float | None] = [self.blank if nothing else None for nothing in blank]
        metrics: dict[str, float] = {}
        if blank.any():
            metrics["no_text"] = float(blank.mean())
        if scored.any():
            values, means = self._score(call, scored, items, prompts)
            metrics |= means
            for place, value in zip(np.flatnonzero(scored), values.tolist(), strict=True):
                rewards[place] = value
            metrics["mean"] = float(values.mean())
        if call.who is not None and len(call.who):
            metrics["unknown_users"] = call.n_unknown / len(call.who)
        log = columns.get("log_metric")
        if callable(log) and self.groups is not None:
            metrics |= group_means(rewards, column(columns, self.groups, len(rewards)), self.groups)
        if callable(log):
            for what, value in metrics.items():
                log(f"{self.__name__}/{what}", value)
        return rewards

    def _score(
        self, call: _Call, scored: NDArray[np.bool_], items: Array, prompts: Array | None
    ) -> tuple[NDArray[np.float64], dict[str, float]]:
        assert self._scorer is not None
        features, rows = self._own_features(items, prompts), torch.as_tensor(call.row[scored])
        count = len(call.row)
        of_rows, of_opponents = (None, None) if call.base is None else (call.base[:count], call.base[count:])
        centre = None
        if self.lower or (self.rule is not None and rows_of(self.rule) == "members"):
            centre = self.reward.centre(prompts)
            centre = centre[rows] if self.reward.head.uses_prompts else centre
        batch = Embedded(
            self._on_base(features[rows], None if of_rows is None else of_rows[scored]),
            None
            if call.opponent is None
            else self._on_base(
                features[torch.as_tensor(call.opponent[scored])], None if of_opponents is None else of_opponents[scored]
            ),
            centre,
            None if call.who is None else call.who[scored],
            None if call.prompt is None else call.prompt[scored],
        )
        with torch.no_grad():
            return self._scorer.rewards(batch)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.reward!r}, normalise={self.normalise!r}, name={self.__name__!r})"


def group_means(rewards: Sequence[float | None], groups: Sequence[Any], prefix: str) -> dict[str, float]:
    """Mean reward of every group of completions that has one: "PREFIX/GROUP" -> mean.

    rewards    (n,) of completions, None for those without
    groups     (n,) the group of each; None is nobody's
    prefix     of the names
    """
    each = [(str(g), r) for g, r in zip(groups, rewards, strict=True) if r is not None and g is not None]
    names, code = np.unique([name for name, _ in each], return_inverse=True)
    if not each:
        return {}
    means = np.bincount(code, [r for _, r in each]) / np.bincount(code)
    return {f"{prefix}/{name}": mean for name, mean in zip(names.tolist(), means.tolist(), strict=True)}
