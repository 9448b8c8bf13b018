"""What a trainer hands over, strings or chat messages, as the prompts and completions that encoders take."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plurality.encoders.protocol import Prompt
from plurality.encoders.text import check_unicode
from plurality.errors import InputError
from plurality.io.visible import THOUGHT_TAGS, Tags, is_tool_turn, text_of, visible, without_opening

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pairs:
    """n completions as m unique pairs of prompt and completion under q unique prompts, so that each is embedded once.

    row      (n,) the pair of each completion, −1 where nothing can be seen of it: blank, a thought that has not ended,
             a tool's turn, or no text at all
    prompt   (m,) the prompt of each pair
    odd      why a row is no text, for those that are not
    """

    prompts: list[Prompt]  # (q,)
    completions: list[str]  # (m,)
    row: Rows
    prompt: Rows
    odd: dict[int, str] = field(default_factory=dict)

    @staticmethod
    def of(prompts: Sequence[Any], completions: Sequence[Any], tags: Tags = THOUGHT_TAGS) -> "Pairs":
        """Strings, or lists of messages as TRL has them, without thoughts. Raises InputError for what is no list.

        prompts        (n,) strings or message lists
        completions    (n,) one to each prompt
        tags           (opening, closing) of thoughts; none keep everything
        """
        check_lists(prompts, completions)
        row, prompt = np.full(len(completions), -1, dtype=np.int64), []
        pairs: dict[tuple[int, str], int] = {}
        seen: dict[Any, tuple[int, Prompt]] = {}
        odd: dict[int, str] = {}
        for i, (asked, said) in enumerate(zip(prompts, completions, strict=True)):
            try:
                asked, said = _turn(asked, said, i, tags)
                check_unicode(said, f"completions[{i}]")
                if not said.strip():
                    continue
                key = asked if isinstance(asked, str) else _key(asked, i)
                if key not in seen:
                    seen[key] = len(seen), _prompt(asked, i)
            except InputError as error:
                odd[i] = str(error)
                continue
            pair = seen[key][0], said
            if pair not in pairs:
                pairs[pair] = len(pairs)
                prompt.append(pair[0])
            row[i] = pairs[pair]
        asked_once, said_once = [p for _, p in seen.values()], [said for _, said in pairs]
        return Pairs(asked_once, said_once, row, np.array(prompt, dtype=np.int64), odd)

    def prompt_of_each(self) -> list[Prompt]:
        """The prompt of every pair: m."""
        return [self.prompts[p] for p in self.prompt]


def prompt_codes(prompts: Sequence[Any]) -> Rows:
    """Which completions answer the same prompt: a code each, (n,); turns of a completion do not count.

    prompts    (n,) strings or message lists
    """
    codes: dict[Any, int] = {}
    return np.array(
        [codes.setdefault(_same(prompt, i), len(codes)) for i, prompt in enumerate(prompts)], dtype=np.int64
    )


def _same(prompt: Any, i: int) -> Any:
    try:
        return prompt if isinstance(prompt, str) else _key(prompt, i)
    except InputError:  # no text, and of no reward
        return None


def check_lists(prompts: Sequence[Any], completions: Sequence[Any]) -> None:
    """Raise InputError unless there is a list of prompts and one of as many completions."""
    for name, given in (("prompts", prompts), ("completions", completions)):
        if isinstance(given, str | bytes):
            raise InputError(f"{name} is one string; give a list of them, one a completion")
    if len(prompts) != len(completions):
        raise InputError(f"{len(prompts)} prompts for {len(completions)} completions; give one prompt a completion")


def _turn(prompt: Any, completion: Any, i: int, tags: Tags) -> tuple[Any, str]:
    """Prompt, and what can be seen of a completion; turns before the last one belong to the prompt."""
    place = f"completions[{i}]"
    prompt, opened = without_opening(prompt, tags)
    if isinstance(completion, str):
        return prompt, visible(completion, tags, opened=opened)
    if not isinstance(completion, list | tuple | np.ndarray) or not len(completion):
        raise InputError(f"{place} is neither a string nor a list of messages; give the assistant's reply")
    if is_tool_turn(completion[-1]):
        return prompt, ""
    turns = chat(completion, place)
    if turns[-1]["role"] != "assistant":
        raise InputError(
            f"{place} ends with a message of role {turns[-1]['role']!a:.40}; it must end with the assistant's reply"
        )
    for number, turn in enumerate(turns):
        if turn["role"] == "assistant":
            turn["content"] = visible(turn["content"], tags, opened=opened and number == 0)
    *before, last = turns
    before = [turn for turn in before if turn["content"].strip()]
    if not before:
        return prompt, last["content"]
    asked = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(_prompt(prompt, i))
    return [*asked, *before], last["content"]


def chat(messages: Any, place: str) -> list[dict[str, str]]:
    """Messages of role and text, whatever else they had, without those of tools that have no text.

    Raises InputError that begins with `place`.
    """
    return [_message(m, place) for m in _listed(messages, place) if not (is_tool_turn(m) and not m.get("content"))]


def _prompt(prompt: Any, i: int) -> Prompt:
    place = f"prompts[{i}]"
    asked: Prompt = prompt if isinstance(prompt, str) else chat(prompt, place)
    for text in [asked] if isinstance(asked, str) else [message["content"] for message in asked]:
        check_unicode(text, place)
    return asked


def _key(prompt: Any, i: int) -> Any:
    """Something hashable that tells conversations apart, cheap as it is made for every completion."""
    try:
        key = tuple([(m["role"], m["content"]) for m in _listed(prompt, f"prompts[{i}]")])
        hash(key)
        return key
    except (TypeError, KeyError):  # text in parts; or no message, which the next line says
        return _key(_prompt(prompt, i), i)


def _listed(prompt: Any, place: str) -> Sequence[Any]:
    if isinstance(prompt, np.ndarray):  # lists of a parquet file may come as arrays
        return list(prompt)
    if not isinstance(prompt, list | tuple):
        raise InputError(
            f"{place} is of type {type(prompt).__name__}; give a string or a list of "
            '{"role": ..., "content": ...} messages'
        )
    return prompt


def _message(message: Any, place: str) -> dict[str, str]:
    """Role and text of a message; the text may be in parts."""
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        raise InputError(f'{place} holds a message that is no {{"role": ..., "content": ...}}; give each both')
    content = text_of(message.get("content"))
    if content is None:
        raise InputError(
            f"{place} holds a {message['role']!a:.40} message whose content is not text; only text can be embedded, "
            "not images or tool calls"
        )
    return {"role": message["role"], "content": content}
