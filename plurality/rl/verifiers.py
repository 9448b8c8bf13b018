"""verifiers and prime-rl: a method of a Task that rewards a trace by its own user.

    class MyTask(vf.Task[...]):
        user_reward = plurality.rl.verifiers.reward(weight=1.0)

The user, and what else the reward needs, are fields of the task's data.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from plurality.errors import InputError
from plurality.rl.one_by_one import OneByOne

if TYPE_CHECKING:
    from plurality.rl.reward_function import RewardFunction

__all__ = ["reward"]


def reward(function: "RewardFunction | None" = None, *, weight: float = 1.0) -> Callable[..., Any]:
    """A method decorated by `vf.reward`: the reward of what the person sees at the end of a trace.

    Messages that the model did not write before its first reply are the prompt, all after them the completion.
    Concurrent traces share a pass of the encoder. Raises InputError where verifiers is not there.

    function    of rewards; that of the environment variables of `EnvironmentSettings` unless given
    weight      of the reward in the trace's total
    """
    try:
        from verifiers.v1.utils.decorators import reward as mark
    except ImportError:
        raise InputError("plurality.rl.verifiers needs verifiers 0.4; install it") from None

    async def user_reward(self: Any, trace: Any) -> float:
        """The reward of the trace's user."""
        asked = OneByOne.of(function, "verifiers", row="the task's data", remedy="let its rows have it as a field")
        nodes = trace.branches[-1].nodes if trace.branches else []
        first = next((i for i, node in enumerate(nodes) if node.sampled), len(nodes))
        turns = [node.message.model_dump(exclude_none=True) for node in nodes]
        said = turns[first:]
        if trace.root_reply is not None:  # what the person is told, where others worked on it too
            said = [{"role": "assistant", "content": trace.root_reply}]
        data = trace.task.data.model_dump()
        row = {k: v for k, v in {**data, **(data.get("row") or {})}.items() if k != "prompt"}
        return await asked.soon(asked.sample(turns[:first], said or "", row))

    marked: Callable[..., Any] = mark(weight=weight)(user_reward)
    return marked
