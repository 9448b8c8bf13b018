"""One completion and its row at a time: what the adapters share of trainers that ask for rewards so.

An adapter says what its trainer calls a prompt, a completion and a row; whose reward it is, what a person sees of it
and which columns the reward needs are found here, alike for all.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from plurality.errors import InputError
from plurality.rl.batching import MicroBatcher
from plurality.rl.environment import EnvironmentSettings, function_of, settings_here
from plurality.rl.openrlhf_protocol import strict_json
from plurality.rl.replies import END_TOKENS, reply
from plurality.rl.reward_function import RewardFunction
from plurality.rl.rules.rows import check_alone


class Sample(NamedTuple):
    """A completion to reward: as the reply to what, and the columns of its row that the reward needs."""

    prompt: Any
    completion: Any
    columns: dict[str, Any]


Outcome = float | None | InputError


@dataclass(frozen=True, eq=False)
class OneByOne:
    """A reward function, asked for one completion and its row after another.

    function   which
    trainer    what asks, for messages
    row        what the trainer calls a row, for messages
    remedy     how a row comes to have what it lacks, for messages
    ends       tokens that may end a completion, cut off
    """

    function: RewardFunction
    trainer: str
    row: str
    remedy: str
    ends: tuple[str, ...] = END_TOKENS

    @staticmethod
    def of(
        function: RewardFunction | None,
        trainer: str,
        *,
        row: str = "the row",
        remedy: str = "add it to the training set",
        settings: EnvironmentSettings | None = None,
        numbers: bool = True,
    ) -> "OneByOne":
        """Of a function, or without one that of some settings or else of the environment's.

        Raises InputError for a rule that compares the candidates of a prompt, and where completions may have no reward.

        numbers    whether the trainer takes a number for every completion
        """
        ends: tuple[str, ...] = END_TOKENS
        if function is None:
            settings = settings or settings_here()
            function, ends = function_of(settings), tuple(settings.ends.split())
        if function.rule is not None:
            check_alone(function.rule, trainer)
        if numbers:
            check_numbers(function, trainer)
        return OneByOne(function, trainer, row, remedy, ends)

    def sample(self, prompt: Any, completion: Any, row: Any, own: Any = None) -> Sample:
        """What is asked of the reward function for a completion of a row.

        Raises InputError for a row without the user or another column that the reward needs, and without a prompt that
        the model reads.

        prompt       text, perhaps as a chat template wrote it, or messages; None where the trainer hands none over
        completion   text, end tokens and all, or messages
        row          what else the trainer knows, by name
        own          the prompt before any chat template; the row's "prompt" unless given
        """
        function, known = self.function, row if isinstance(row, Mapping) else {}
        columns = {}
        for name in function.row_columns:
            value = known.get(name, known.get("user_id") if name == function.user_column else None)
            if value is None:
                raise InputError(
                    f"{self.row} has no {name} (it has {', '.join(map(str, known)) or 'nothing'}); {self.remedy}"
                )
            columns[name] = value
        own = known.get("prompt") if own is None else own
        if prompt is None and own is None and function.reads_prompts:
            raise InputError(f"{self.row} has no prompt, which this reward model reads; {self.remedy}")
        shown = reply(
            "" if prompt is None else prompt,
            completion,
            own,
            ends=self.ends,
            tags=function.thought_tags,
            reads_prompts=function.reads_prompts,
            remedy=f"let {self.row} have the prompt itself, as prompt",
        )
        return Sample(*shown, columns)

    def now(self, sample: Sample) -> float:
        """The reward of one sample. Raises InputError where it has none.

        sample    what `sample` made
        """
        return number(rewards_of(self.function, [sample])[0])

    async def soon(self, sample: Sample) -> float:
        """As `now`, with concurrent calls gathered into one pass of the encoder.

        sample    what `sample` made
        """
        return number(await _batcher(self.function, asyncio.get_running_loop()).submit(sample))


def rewards_of(function: RewardFunction, samples: Sequence[Sample]) -> list[Outcome]:
    """Rewards (n,) in one pass of the encoder; a sample that cannot be scored spoils no other's.

    function    of rewards
    samples     (n,) what `OneByOne.sample` made
    """
    columns = {name: [s.columns[name] for s in samples] for name in function.row_columns}
    try:
        return list(function([s.prompt for s in samples], [s.completion for s in samples], **columns))
    except InputError as error:
        return [error] if len(samples) == 1 else [rewards_of(function, [sample])[0] for sample in samples]


def number(outcome: Outcome) -> float:
    """The reward; raises the InputError that stands in its place, or one where there is none.

    outcome    of one sample
    """
    if isinstance(outcome, InputError):
        raise outcome
    if outcome is None:
        raise InputError("there is no reward for this completion; set blank= and unknown= so that each has one")
    return outcome


def labelled(label: Any) -> dict[str, Any]:
    """A label as a row: an object, one as JSON, or the user's id.

    label    what stands beside a sample
    """
    if isinstance(label, str) and label.lstrip().startswith("{"):
        label = strict_json(label, "the label starts as an object but")
    if isinstance(label, Mapping):
        return dict(label)
    return {} if label is None else {"user_id": label}


def check_numbers(function: RewardFunction, trainer: str) -> None:
    """Raise InputError where a completion may have no reward: for trainers that must have a number for each.

    function    of rewards
    trainer     for the message
    """
    if function.unknown == "none":
        raise InputError(
            f'unknown="none" gives some completions no reward, which {trainer} cannot take; set it (PLURALITY_UNKNOWN) '
            "to population or error"
        )
    if function.blank is None:
        raise InputError(
            f"{trainer} takes a number for every completion; set blank= (PLURALITY_BLANK) to the reward of one of "
            "which nothing can be seen, empty or a thought that never ended: a number below what others get"
        )


@lru_cache(maxsize=8)
def _batcher(function: RewardFunction, loop: asyncio.AbstractEventLoop) -> MicroBatcher[Sample, Outcome]:
    return MicroBatcher(lambda samples: rewards_of(function, samples))
