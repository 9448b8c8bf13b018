"""What a trainer hands over, strings or chat messages, as the prompts and completions that encoders take."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plurality.encoders.protocol import Prompt
from plurality.errors import InputError

Rows = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Pairs:
    """n completions as m unique pairs of prompt and completion under q unique prompts, so that each is embedded once.

    row      (n,) the pair of each completion, −1 where it is blank
    prompt   (m,) the prompt of each pair
    """

    prompts: list[Prompt]  # (q,)
    completions: list[str]  # (m,)
    row: Rows
    prompt: Rows

    @staticmethod
    def of(prompts: Sequence[Any], completions: Sequence[Any]) -> "Pairs":
        """Strings, or lists of messages as TRL has them. Raises InputError for what is not text."""
        check_lists(prompts, completions)
        row, prompt = np.full(len(completions), -1, dtype=np.int64), []
        pairs: dict[tuple[int, str], int] = {}
        seen: dict[Any, tuple[int, Prompt]] = {}
        for i, (asked, said) in enumerate(zip(prompts, completions, strict=True)):
            if not isinstance(said, str):
                asked, said = _reply(asked, said, i)
            if not said.strip():
                continue
            key = asked if isinstance(asked, str) else _key(asked, i)
            if key not in seen:
                seen[key] = len(seen), _prompt(asked, i)
            pair = seen[key][0], said
            if pair not in pairs:
                pairs[pair] = len(pairs)
                prompt.append(pair[0])
            row[i] = pairs[pair]
        return Pairs([p for _, p in seen.values()], [said for _, said in pairs], row, np.array(prompt, dtype=np.int64))

    def prompt_of_each(self) -> list[Prompt]:
        """The prompt of every pair: m."""
        return [self.prompts[p] for p in self.prompt]


def check_lists(prompts: Sequence[Any], completions: Sequence[Any]) -> None:
    """Raise InputError unless there is a list of prompts and one of as many completions."""
    for name, given in (("prompts", prompts), ("completions", completions)):
        if isinstance(given, str | bytes):
            raise InputError(f"{name} is one string; give a list of them, one a completion")
    if len(prompts) != len(completions):
        raise InputError(f"{len(prompts)} prompts for {len(completions)} completions; give one prompt a completion")


def _reply(prompt: Any, messages: Any, i: int) -> tuple[Any, str]:
    """Prompt and text of a completion that is a list of messages; turns before the last one belong to the prompt."""
    place = f"completions[{i}]"
    if not isinstance(messages, list | tuple) or not messages:
        raise InputError(f"{place} is neither a string nor a list of messages; give the assistant's reply")
    last = _message(messages[-1], place)
    if last["role"] != "assistant":
        raise InputError(
            f"{place} ends with a message of role {last['role']!a:.40}; it must end with the assistant's reply"
        )
    if len(messages) == 1:
        return prompt, last["content"]
    before = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(_prompt(prompt, i))
    return [*before, *(_message(m, place) for m in messages[:-1])], last["content"]


def chat(messages: Any, place: str) -> list[dict[str, str]]:
    """Messages of role and text, whatever else they had. Raises InputError that begins with `place`."""
    return [_message(m, place) for m in _listed(messages, place)]


def _prompt(prompt: Any, i: int) -> Prompt:
    return prompt if isinstance(prompt, str) else chat(prompt, f"prompts[{i}]")


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
    content = message.get("content")
    if isinstance(content, list | tuple) and all(
        isinstance(p, dict) and isinstance(p.get("text"), str) for p in content
    ):
        content = "".join(part["text"] for part in content)
    if not isinstance(content, str):
        raise InputError(
            f"{place} holds a {message['role']!a:.40} message whose content is not text; only text can be embedded, "
            "not images or tool calls"
        )
    return {"role": message["role"], "content": content}
