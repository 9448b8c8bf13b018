"""Prompts and completions as conversations, and conversations as plain text.

A string prompt is one user message, so that data written as strings and data written as message
lists give the same vectors.
"""

from collections.abc import Sequence

from plurality.encoders.protocol import Prompt
from plurality.errors import InputError
from plurality.io.visible import text_of

Conversation = list[dict[str, str]]


def conversations(prompts: Sequence[Prompt], completions: Sequence[str]) -> list[Conversation]:
    """Each prompt's messages followed by its completion as the assistant's reply; a prompt may be empty."""
    check_pairs(prompts, completions)
    return [
        [*_messages(prompt, row), {"role": "assistant", "content": completion}]
        for row, (prompt, completion) in enumerate(zip(prompts, completions, strict=True))
    ]


def prompt_conversations(prompts: Sequence[Prompt]) -> list[Conversation]:
    """The messages of each prompt."""
    _check_sequence(prompts, "prompts")
    return [_messages(prompt, row) for row, prompt in enumerate(prompts)]


def contents(conversation: Conversation) -> str:
    """The messages' texts in order, a blank line between them, without roles."""
    return "\n\n".join(message["content"] for message in conversation if message["content"])


def check_pairs(prompts: Sequence[Prompt], completions: Sequence[str]) -> None:
    """Raise InputError unless there is one prompt per completion and every completion is a string."""
    _check_sequence(prompts, "prompts")
    _check_sequence(completions, "completions")
    if len(prompts) != len(completions):
        raise InputError(f"{len(prompts)} prompts for {len(completions)} completions: give one prompt per completion")
    for row, text in enumerate(completions):
        if not isinstance(text, str):
            kind = type(text).__name__
            raise InputError(f"completions[{row}] is {kind}, not a string: give its text or drop the row")
        check_unicode(text, f"completions[{row}]")


def check_unicode(text: str, place: str) -> None:
    """Raise InputError that begins with `place` for half of a surrogate pair, which JSON can write and no text is."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"{place} is not valid Unicode (a lone surrogate); write whole characters") from None


def check_not_blank(texts: Sequence[str], what: str) -> None:
    """Raise InputError, naming the row, where there is nothing to embed."""
    for row, text in enumerate(texts):
        if not text.strip():
            raise InputError(f"{what}[{row}] is empty, there is nothing to embed: drop the row or give its text")


def _messages(prompt: Prompt, row: int) -> Conversation:
    if isinstance(prompt, str):
        check_unicode(prompt, f"prompts[{row}]")
        return [{"role": "user", "content": str(prompt)}] if prompt.strip() else []
    if not isinstance(prompt, list | tuple):
        raise InputError(
            f'prompts[{row}] is {type(prompt).__name__}: give a string or a list of {{"role", "content"}} messages'
        )
    return [_message(message, f"prompts[{row}], message {turn}") for turn, message in enumerate(prompt)]


def _message(message: object, place: str) -> dict[str, str]:
    if not isinstance(message, dict) or not {"role", "content"} <= message.keys():
        raise InputError(f'{place} is not a {{"role", "content"}} dict: give each message both keys')
    role, content = message["role"], text_of(message["content"])
    if not isinstance(role, str) or content is None:
        raise InputError(f"{place} holds a role or content that is not a string: only text can be embedded")
    check_unicode(content, place)
    return {"role": role, "content": content}


def _check_sequence(texts: Sequence[object], what: str) -> None:
    if isinstance(texts, str | bytes):
        raise InputError(f"{what} is one string: give a list of them, one per row")
