"""`RewardFunction`: a fitted model as the reward that RL trainers call, for each row's user or by a rule for many."""

import copy
from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from plurality.arrays import Array
from plurality.io.visible import THOUGHT_TAGS, Tags
from plurality.reward.encoding import chosen_encoder
from plurality.reward.reward_model import RewardModel
from plurality.rl.base_scores import BaseReward
from plurality.rl.embedding import embed, uncached
from plurality.rl.memo import Memo
from plurality.rl.messages import Pairs
from plurality.rl.people import Unknown
from plurality.rl.rewards import Rewards
from plurality.rl.rules.asked import Weights, rule_for
from plurality.rl.rules.rows import Rule
from plurality.rl.scales import Normalise

if TYPE_CHECKING:
    from plurality.encoders import EmbeddingServer, Encoder

__all__ = ["AsyncRewardFunction", "RewardFunction"]


class RewardFunction(Rewards):
    """The reward of completions for each row's user, or by a welfare rule over a population; TRL calls it as it is.

    reward       a fitted model, or the folder of one
    encoder      the model's own unless given; another one is an error. The address of a server or an `EmbeddingServer`
                 stands in for the model's own, if it gives the same vectors
    user_column  column with the user's id; the model's unit unless given, which is "user_id" for most
    unknown      users the model does not know: "population" scores them with the population's code, "error" raises
                 InputError, "none" gives them no reward (None)
    normalise    "raw" log-odds, up to a shift a user and prompt; "win" the mean probability to beat a reference
                 completion, in [0, 1]; "z" standardised by the user's mean and sd over the reference completions
    reference    (prompts, completions), embeddings (R, d), (embeddings, prompts' embeddings), or for "win" the name of
                 a column with one completion to each row's prompt
    rule         a rule or its name, such as "mean" or "maxmin" (see `rl.rules`): rewards are the rule's, of the
                 normalised utilities of all users in `population`, and the user column is not looked at; or of the
                 members of an `Ensemble` ("brme"), by each row's user; or of a model's objectives ("pareto"). A rule
                 that compares one prompt's candidates sees those of a call, a prompt at a time
    objective    name of the one objective that is rewarded, of a model that has some
    direction    objective -> weight, put on the unit sphere: the rule "direction:", as "simplex:" is for shares
    population   a table of user_id and optionally weight and group; all the model knows unless given
    lower        κ ≥ 0: rewards are κ standard deviations below what is expected, u − κ sd, each person's before a rule;
                 of raw utilities the sd of the gap to the mean item of the fit, else that of the normalised utility
    base         the reward that the model starts from, where it starts from one: a function that is called as TRL calls
                 it, with prompts, completions and the columns, or the name of a column of its scores
    groups       name of a column with the group of each row's user: its mean reward is logged, whatever the rule
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
        encoder: "str | Path | EmbeddingServer | Encoder | None" = None,
        *,
        user_column: str | None = None,
        unknown: Unknown = "population",
        normalise: Normalise = "raw",
        reference: Any = None,
        rule: str | Rule | None = None,
        objective: str | None = None,
        direction: Weights | None = None,
        population: Any = None,
        lower: float = 0.0,
        base: BaseReward | None = None,
        groups: str | None = None,
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
            objective=objective,
            direction=direction,
            population=population,
            lower=lower,
            base=base,
            groups=groups,
            blank=blank,
            thought_tags=thought_tags,
            name=name,
        )
        self.encoder = chosen_encoder(self.reward.encoder, self.reward.head.n_embedding, encoder)
        self._working: Encoder | None = None
        self._memo: Memo | None = None  # of functions that a trainer calls with the same texts
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

    def per_objective(self) -> "list[RewardFunction]":
        """A reward function for each objective of the model, in its order, named by it; texts are embedded once.

        For TRL: `reward_funcs=reward.per_objective()`, with `reward_weights` in its config. Raises InputError for a
        model without objectives.
        """
        memo, made = Memo(self._embed), []
        for name in self.reward.objectives or ("of any name",):
            one = copy.copy(self)
            one._ask(rule_for(self.reward.head, None, objective=name, lower=self.lower), None)
            one._memo, one.__name__ = memo, name
            made.append(one)
        return made

    def _embed(self, texts: Pairs) -> tuple[Array, Array | None]:
        return self._embedded(texts) if self._memo is None else self._memo(texts)

    def _embedded(self, texts: Pairs) -> tuple[Array, Array | None]:
        with self._one_at_a_time:  # trainers call from several threads, which tokenizers do not bear
            if self._working is None:
                self._working = uncached(self.encoder)
            return embed(self._working, texts, with_prompts=self.reward.head.uses_prompts)

    def __getstate__(self) -> dict[str, Any]:
        """Loaded weights of an encoder that lies on disk are left behind."""
        return {**self.__dict__, "_working": None, "_one_at_a_time": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _one_at_a_time=Lock())


class AsyncRewardFunction(Rewards):
    """A `RewardFunction` whose embeddings come from a server that speaks OpenAI's /v1/embeddings; await its calls.

    The server must embed as the model's encoder did: vectors of a few fixed texts are compared before the first call.

    reward         fitted model, or its folder
    server         where embeddings come from, or the address alone; None: the server that the model was fitted with
    user_column    as in `RewardFunction`, and so are the arguments below
    unknown        "population", "error" or "none"
    normalise      "raw", "win" or "z"
    reference      completions to compare with
    rule           a welfare rule or its name
    objective      the one that is rewarded
    direction      objective -> weight
    population     people that the rule is over
    lower          standard deviations below what is expected
    base           the reward that the model starts from
    groups         name of the column of groups whose mean rewards are logged
    blank          reward of a completion of which nothing can be seen
    thought_tags   (opening, closing) of thoughts, which are not scored
    name           what metrics are called by
    """

    def __init__(  # noqa: PLR0913
        self,
        reward: RewardModel | str | Path,
        server: "EmbeddingServer | str | None" = None,
        *,
        user_column: str | None = None,
        unknown: Unknown = "population",
        normalise: Normalise = "raw",
        reference: Any = None,
        rule: str | Rule | None = None,
        objective: str | None = None,
        direction: Weights | None = None,
        population: Any = None,
        lower: float = 0.0,
        base: BaseReward | None = None,
        groups: str | None = None,
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
            objective=objective,
            direction=direction,
            population=population,
            lower=lower,
            base=base,
            groups=groups,
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
