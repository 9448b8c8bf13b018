"""Tinker's cookbook: the preference model of its pairwise RL, of one user or of a rule for all.

PairwisePreferenceRLDatasetBuilder(preference_model_builder=plurality.rl.tinker.builder(user="ada"), ...)
"""

from math import tanh
from typing import TYPE_CHECKING, Any

from plurality.errors import InputError
from plurality.rl.one_by_one import OneByOne, Outcome, rewards_of

if TYPE_CHECKING:
    from plurality.rl.reward_function import RewardFunction

__all__ = ["builder", "preference_model"]


def preference_model(function: "RewardFunction | None" = None, *, user: str | None = None) -> Any:
    """A PreferenceModel: 2σ(u_B − u_A) − 1 of a comparison, −1 where A is preferred for sure and 1 where B is.

    Of rewards in log-odds, so that it is the chance that this user prefers B, brought to [−1, 1]. A completion of which
    nothing can be seen loses to any other, unless `blank` gives it a reward; two of them tie. Raises InputError without
    tinker-cookbook, for a reward that is no log-odds (normalise), for one that needs a user and has none, and for base
    scores by a column, as a comparison has no columns.

    function    of rewards; that of the environment variables of `EnvironmentSettings` unless given
    user        whose preference, as a comparison names nobody; not needed under a rule for all users
    """
    try:
        from tinker_cookbook.preference.types import PreferenceModel
    except ImportError:
        raise InputError("plurality.rl.tinker needs tinker-cookbook; install it") from None
    asked = OneByOne.of(function, "Tinker", row="preference_model", remedy="say user=", numbers=False)
    if asked.function.normalise != "raw":
        raise InputError('Tinker compares rewards as log-odds; leave normalise="raw"')
    row = {} if user is None else {asked.function.user_column: user}
    asked.sample([], "", row, [])  # what is missing is said now

    class UserPreference(PreferenceModel):
        async def __call__(self, comparison: Any) -> float:
            prompt = comparison.prompt_conversation
            both = [asked.sample(prompt, said, row) for said in (comparison.completion_A, comparison.completion_B)]
            return preference(*rewards_of(asked.function, both))

    return UserPreference()


def builder(function: "RewardFunction | None" = None, *, user: str | None = None) -> Any:
    """A PreferenceModelBuilder that gives `preference_model`.

    function    as there
    user        as there
    """
    try:
        from tinker_cookbook.preference.types import PreferenceModelBuilder
    except ImportError:
        raise InputError("plurality.rl.tinker needs tinker-cookbook; install it") from None

    class UserPreferenceBuilder(PreferenceModelBuilder):
        def __call__(self) -> Any:
            return preference_model(function, user=user)

    return UserPreferenceBuilder()


def preference(first: Outcome, second: Outcome) -> float:
    """2σ(second − first) − 1 in [−1, 1]; one without a reward loses.

    first     log-odds, or None
    second    log-odds, or None
    """
    for outcome in (first, second):
        if isinstance(outcome, InputError):
            raise outcome
    if first is None or second is None:
        return float(second is not None) - float(first is not None)
    return tanh((second - first) / 2)  # type: ignore[operator]
