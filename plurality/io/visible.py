"""What a person sees of a message: its text, in parts or not, without the thoughts that a policy writes before it."""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from plurality.errors import InputError

Tags = tuple[tuple[str, str], ...]

THOUGHT_TAGS: Tags = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
    ("[THINK]", "[/THINK]"),
    ("<seed:think>", "</seed:think>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
)
"""What the usual reasoning models write before and after a thought."""

THOUGHTS = ("thinking", "redacted_thinking", "reasoning", "reasoning_text")  # types of parts that hold no reply


def visible(text: str, tags: Tags = THOUGHT_TAGS, *, opened: bool = False) -> str:
    """The text without its thoughts, and without white space where they stood before it; without any as it is.

    A thought ends at the first closing tag. One that was opened before the text, in the prompt, hides all up to its
    closing tag; one that is never closed hides the rest, since the reply has not begun.

    text      what a policy wrote
    tags      (opening, closing) of a thought; none keep everything
    opened    whether the text begins within a thought
    """
    if not tags:
        return text
    shown: list[str] = []
    thinking, start, cut = opened, 0, opened
    for tag in _either(tags).finditer(text):
        cut = True
        if tag.lastgroup == "opening":
            if not thinking:
                shown.append(text[start : tag.start()])
            thinking = True
        else:
            if not thinking:
                shown.clear()
            thinking, start = False, tag.end()
    if not thinking:
        shown.append(text[start:])
    return "".join(shown).lstrip() if cut else text


def without_opening(prompt: Any, tags: Tags = THOUGHT_TAGS) -> tuple[Any, bool]:
    """The prompt, text or messages, without an opening tag at its end; and whether it has one.

    Chat templates write it there, so that what comes after the prompt begins within a thought.
    """
    if isinstance(prompt, str):
        end = prompt.rstrip()
        tag = next((opening for opening, _ in tags if end.endswith(opening)), None)
        return (prompt, False) if tag is None else (end.removesuffix(tag), True)
    last = prompt[-1] if isinstance(prompt, list | tuple) and prompt else None
    if not isinstance(last, dict) or not isinstance(last.get("content"), str):
        return prompt, False
    content, opened = without_opening(last["content"], tags)
    if not opened:
        return prompt, False
    return [*prompt[:-1], *([{**last, "content": content}] if content.strip() else [])], True


def text_of(content: Any) -> str | None:
    """The text of a message's content: a string, or parts such as {"type": "text", "text": ...}, joined.

    Parts that are thoughts are left out. None for anything else, such as images.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list | tuple):
        return None
    parts = [p.get("text") if isinstance(p, dict) else None for p in content if not _is_thought(p)]
    return "".join(parts) if all(isinstance(part, str) for part in parts) else None  # type: ignore[arg-type]


def is_tool_turn(message: Any) -> bool:
    """Whether a message is a call of a tool without a word to the person, or a tool's answer."""
    if not isinstance(message, dict):
        return False
    if message.get("role") in ("tool", "function", "ipython"):
        return True
    called = message.get("tool_calls") or message.get("function_call")
    return message.get("role") == "assistant" and bool(called) and not message.get("content")


def tags_of(words: Iterable[str], place: str) -> Tags:
    """Pairs of tags from a list of them, opening and closing in turn. Raises InputError that begins with `place`."""
    listed = list(words)
    if len(listed) % 2 or not all(listed) or len(set(listed)) < len(listed):
        raise InputError(f"{place}: {' '.join(listed)!r} are not pairs of an opening and a closing tag; give both")
    return tuple(zip(listed[::2], listed[1::2], strict=True))


def _is_thought(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") in THOUGHTS


@lru_cache(maxsize=8)
def _either(tags: Tags) -> re.Pattern[str]:
    opening, closing = ("|".join(re.escape(pair[k]) for pair in tags) for k in (0, 1))
    return re.compile(f"(?P<opening>{opening})|(?P<closing>{closing})")
