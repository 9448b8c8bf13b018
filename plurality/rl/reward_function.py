"""`RewardFunction`: a fitted model as the reward that RL trainers call, for each row's user or by a rule for many."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plurality.arrays import Array
from plurality.errors import InputError
from plurality.io.visible import THOUGHT_TAGS, Tags
from plurality.reward.reward_model import RewardModel, load
from plurality.rl.embedding import chosen_encoder, embed, uncached
from plurality.rl.messages import Pairs, check_lists
from plurality.rl.people import KnownUsers, Unknown, UserPopulation
from plurality.rl.reference import Reference, column
from plurality.rl.rules.registry import Rule, people_rule
from plurality.rl.scoring import Normalise, PopulationScorer, UserScorer

if TYPE_CHECKING:
    from plurality.encoders import Encoder
    from plurality.rl.remote import EmbeddingServer

__all__ = ["AsyncRewardFunction", "RewardFunction"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class _Call:
    """One call: the texts to embed, of completions and then of their opponents, and whose rewards they are."""

    texts: Pairs
    row: NDArray[np.int64]  # (n,) pair of each completion, −1 where nothing can be seen of it, or of its opponent
    opponent: NDArray[np.int64] | None  # (n,)
    who: NDArray[np.int64] | None  # (n,) row in KnownUsers.codes, −1 for unknown users
    n_unknown: int


class _Rewards:
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
        population: Any,
        blank: float | None,
        thought_tags: Tags,
        name: str | None,
    ) -> None:
        self.reward = reward if isinstance(reward, RewardModel) else load(reward)
        if unknown not in get_args(Unknown):
            raise InputError(f"unknown={unknown!r} is not a valid option; give one of {', '.join(get_args(Unknown))}")
        if population is not None and rule is None:
            raise InputError("a population is for a rule; give rule=, or leave the population out")
        self.user_column = user_column or self.reward.spec.unit
        self.unknown, self.normalise, self.blank = unknown, normalise, blank
        self.rule = None if rule is None else people_rule(rule)
        self.thought_tags = thought_tags
        self.reference = Reference.of(reference, normalise, thought_tags)
        self.people = KnownUsers.of(self.reward)
        self.population = None if rule is None else UserPopulation.of(self.reward, population, unknown=unknown)
        self.__name__ = name or ("user_reward" if self.rule is None else self.rule.name)
        self.odd_rows = 0
        self._has_read = False
        self._scorer: UserScorer | PopulationScorer | None = None
        if self.reference.texts is None:
            self._set_reference(self.reference.items, self.reference.prompts)

    @property
    def reads_prompts(self) -> bool:
        """Whether a reward depends on the prompt besides the completion, as far as the encoder's record tells."""
        record = {} if self.reward.encoder is None else self.reward.encoder.describe()
        return self.reward.head.uses_prompts or record.get("template") != "completion"

    def knows(self, user: Any) -> bool:
        """Whether the model knows this user."""
        return int(self.people.rows([user], "none")[0]) >= 0

    def _set_reference(self, items: Array | None, prompts: Array | None) -> None:
        """Take the embeddings of the reference pool: ready to score."""
        pool = None if items is None else self.reward.features(items, prompts)
        head, self._scorer = self.reward.head, None
        with torch.no_grad():
            if self.rule is not None and self.population is not None:
                self._scorer = PopulationScorer(head, self.population, self.rule, self.normalise, pool)
            else:
                self._scorer = UserScorer(head, self.people.codes, self.normalise, pool)

    def _read(self, prompts: Sequence[Any], completions: Sequence[Any], columns: dict[str, Any]) -> _Call:
        check_lists(prompts, completions)
        count = len(completions)
        who, n_unknown = None, 0
        if self.rule is None:  # unknown users raise before any text is embedded
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
        return _Call(texts, row, opponent, who, n_unknown)

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
            features = self.reward.features(items, prompts)
            mine = features[torch.as_tensor(call.row[scored])]
            theirs = None if call.opponent is None else features[torch.as_tensor(call.opponent[scored])]
            values, groups = self._score(mine, theirs, None if call.who is None else call.who[scored])
            metrics |= groups
            for place, value in zip(np.flatnonzero(scored), values.tolist(), strict=True):
                rewards[place] = value
            metrics["mean"] = float(values.mean())
        if call.who is not None and len(call.who):
            metrics["unknown_users"] = call.n_unknown / len(call.who)
        log = columns.get("log_metric")
        if callable(log):
            for what, value in metrics.items():
                log(f"{self.__name__}/{what}", value)
        return rewards

    def _score(
        self, features: Tensor, opponents: Tensor | None, who: NDArray[np.int64] | None
    ) -> tuple[NDArray[np.float64], dict[str, float]]:
        with torch.no_grad():
            if isinstance(self._scorer, PopulationScorer):
                rewards, groups = self._scorer.rewards(features, opponents)
                return rewards, {f"group/{name}": value for name, value in groups.items()}
            assert self._scorer is not None
            assert who is not None
            return self._scorer.rewards(features, who, opponents), {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.reward!r}, normalise={self.normalise!r}, name={self.__name__!r})"


class RewardFunction(_Rewards):
    """The reward of completions for each row's user, or by a welfare rule over a population; TRL calls it as it is.

    reward       a fitted model, or the folder of one
    encoder      the model's own unless given; another one is an error
    user_column  column with the user's id; the model's unit unless given, which is "user_id" for most
    unknown      users the model does not know: "population" scores them with the population's code, "error" raises
                 InputError, "none" gives them no reward (None)
    normalise    "raw" log-odds, up to a shift a user and prompt; "win" the mean probability to beat a reference
                 completion, in [0, 1]; "z" standardised by the user's mean and sd over the reference completions
    reference    (prompts, completions), embeddings (R, d), (embeddings, prompts' embeddings), or for "win" the name of
                 a column with one completion to each row's prompt
    rule         a welfare rule or its name, such as "mean" or "maxmin" (see `rl.rules`): rewards are the rule's, of the
                 normalised utilities of all users in `population`, and the user column is not looked at; rules of
                 ensembles, objectives or one prompt's candidates are an error
    population   a table of user_id and optionally weight and group; all the model knows unless given
    blank        reward of a completion of which a person sees nothing: white space, a thought that has not ended, a
                 call of a tool. None, or a number
    thought_tags  (opening, closing) of what a policy thinks, which is not scored, as nobody sees it: see
                 `plurality.io.visible`. () scores all that is written
    name         what metrics are called by

    Beside rows that are text, one that is not has the reward of a blank one; `odd_rows` counts them and the first is
    logged. A plain object that can be pickled, and that writes no embeddings to disk. Raises InputError for what it
    cannot score rightly; it never gives NaN.
    """

    def __init__(  # noqa: PLR0913
        self,
        reward: RewardModel | str | Path,
        encoder: "str | Path | Encoder | None" = None,
        *,
        user_column: str | None = None,
        unknown: Unknown = "population",
        normalise: Normalise = "raw",
        reference: Any = None,
        rule: str | Rule | None = None,
        population: Any = None,
        blank: float | None = None,
        thought_tags: Tags = THOUGHT_TAGS,
        name: str | None = None,
    ) -> None:
        super().__init__(
            reward,
            user_column=user_column,
            unknown=unknown,
            normalise=normalise,
            reference=reference,
            rule=rule,
            population=population,
            blank=blank,
            thought_tags=thought_tags,
            name=name,
        )
        self.encoder = chosen_encoder(self.reward, encoder)
        self._working: Encoder | None = None
        self._one_at_a_time = Lock()
        if self.reference.texts is not None:
            pool = self.reference.texts
            items, prompts = self._embed(pool)
            self._set_reference(items[pool.row], None if prompts is None else prompts[pool.row])

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Any = None, **columns: Any
    ) -> list[float | None]:
        """Rewards (n,) of strings or message lists; `columns` are the data set's, and what else a trainer hands over.

        Each unique pair of prompt and completion is embedded once. With `log_metric` among the columns, means of the
        call are logged. Raises InputError when the user column is missing, for unknown users under "error", and while
        no row was ever text.

        prompts           (n,) prompts, strings or message lists
        completions       (n,) completions, one to each prompt
        completion_ids    token ids, which TRL hands over; not looked at
        """
        call = self._read(prompts, completions, columns)
        items, of_prompts = self._embed(call.texts)
        return self._finish(call, items, of_prompts, columns)

    def _embed(self, texts: Pairs) -> tuple[Array, Array | None]:
        with self._one_at_a_time:  # trainers call from several threads, which tokenizers do not bear
            if self._working is None:
                self._working = uncached(self.encoder)
            return embed(self._working, texts, with_prompts=self.reward.head.uses_prompts)

    def __getstate__(self) -> dict[str, Any]:
        """Loaded weights of an encoder that lies on disk are left behind."""
        return {**self.__dict__, "_working": None, "_one_at_a_time": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _one_at_a_time=Lock())


class AsyncRewardFunction(_Rewards):
    """A `RewardFunction` whose embeddings come from a server that speaks OpenAI's /v1/embeddings; await its calls.

    The server must embed as the model's encoder did; see `EmbeddingServer` for what is checked and what cannot be.

    reward         fitted model, or its folder
    server         where embeddings come from
    user_column    as in `RewardFunction`, and so are the arguments below
    unknown        "population", "error" or "none"
    normalise      "raw", "win" or "z"
    reference      completions to compare with
    rule           a welfare rule or its name
    population     people that the rule is over
    blank          reward of a completion of which nothing can be seen
    thought_tags   (opening, closing) of thoughts, which are not scored
    name           what metrics are called by
    """

    def __init__(  # noqa: PLR0913
        self,
        reward: RewardModel | str | Path,
        server: "EmbeddingServer",
        *,
        user_column: str | None = None,
        unknown: Unknown = "population",
        normalise: Normalise = "raw",
        reference: Any = None,
        rule: str | Rule | None = None,
        population: Any = None,
        blank: float | None = None,
        thought_tags: Tags = THOUGHT_TAGS,
        name: str | None = None,
    ) -> None:
        from plurality.rl.remote import RemoteEncoder

        super().__init__(
            reward,
            user_column=user_column,
            unknown=unknown,
            normalise=normalise,
            reference=reference,
            rule=rule,
            population=population,
            blank=blank,
            thought_tags=thought_tags,
            name=name,
        )
        self.encoder = RemoteEncoder(server, self.reward)

    async def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Any = None, **columns: Any
    ) -> list[float | None]:
        """As `RewardFunction`; raises InputError also where the server cannot be had, or gives other vectors.

        prompts           (n,) prompts, strings or message lists
        completions       (n,) completions, one to each prompt
        completion_ids    token ids, which TRL hands over; not looked at
        columns           the data set's columns, the user's among them, and what else the trainer hands over
        """
        call = self._read(prompts, completions, columns)
        if self._scorer is None and self.reference.texts is not None:  # reference texts wait for the first call
            pool = self.reference.texts
            items, of_prompts = await self._embed(pool)
            self._set_reference(items[pool.row], None if of_prompts is None else of_prompts[pool.row])
        items, of_prompts = await self._embed(call.texts)
        return self._finish(call, items, of_prompts, columns)

    async def _embed(self, texts: Pairs) -> tuple[Array, Array | None]:
        return await self.encoder.embed(texts, with_prompts=self.reward.head.uses_prompts)
