"""AReaL: `reward_fn="plurality.rl.areal.reward_fn"` of its RLVR workflows; the columns of a row come as they are."""

from typing import Any

from plurality.rl.one_by_one import OneByOne

__all__ = ["reward_fn"]


def reward_fn(prompt: str, completions: Any, prompt_ids: Any, completion_ids: Any, **row: Any) -> float:
    """The reward of one completion by the environment variables of `EnvironmentSettings`.

    A function of a module, which AReaL hands to its pool of processes. The prompt comes as the chat template wrote it;
    the row's `messages` take its place. Raises InputError for a row without user, or where PLURALITY_BLANK is not set.

    prompt            decoded prompt
    completions       decoded completion, end tokens and all
    prompt_ids        not looked at
    completion_ids    not looked at
    row               columns of the data set: the user's and, for models that read prompts, `messages`
    """
    asked = OneByOne.of(None, "AReaL")
    return asked.now(asked.sample(prompt, str(completions), row, row.get("messages")))
