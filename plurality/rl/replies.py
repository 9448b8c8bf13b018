"""A prompt and its reply as a person has them, of texts that went through a policy's chat template and tokenizer."""

import re
from functools import lru_cache
from typing import Any

from plurality.errors import InputError
from plurality.io.visible import Tags, visible, without_opening

END_TOKENS = (
    "<|endoftext|>",
    "<|im_end|>",
    "<|eot_id|>",
    "<|end_of_text|>",
    "<|end|>",
    "<|eom_id|>",
    "<end_of_turn>",
    "<eos>",
    "<pad>",
    "</s>",
    "<\uff5cend\u2581of\u2581sentence\uff5c>",
)
"""What the usual tokenizers write after the last word; a completion is embedded without them."""

TEMPLATE = re.compile(r"<([|\uff5c])[^|\uff5c<>]+\1>|\[/?INST\]|<start_of_turn>|<end_of_turn>")  # what templates write


def reply(
    prompt: Any,
    written: Any,
    own: Any = None,
    *,
    ends: tuple[str, ...],
    tags: Tags,
    reads_prompts: bool,
    remedy: str,
) -> tuple[Any, Any]:
    """The prompt, and the completion without end tokens and thoughts: text where it was text, else as it was.

    prompt         text or messages; where it ends with an opening tag, the completion begins within a thought
    written        text or messages
    own            the prompt before any chat template, which takes the other's place
    ends           tokens that may end a completion
    tags           (opening, closing) of thoughts
    reads_prompts  the reward depends on the prompt, so that one of a chat template is an error
    remedy         what to do about that, for the message

    Raises InputError for a prompt that went through a chat template, and whose reward depends on it.
    """
    if isinstance(written, str):
        (prompt, opened), (own, too) = without_opening(prompt, tags), without_opening(own, tags)
        written = visible(without_end(written, ends), tags, opened=opened or too)
    if own is None and reads_prompts and isinstance(prompt, str) and TEMPLATE.search(prompt):
        raise InputError(
            "the prompt went through the policy's chat template, which the reward model would read as a person's "
            f"words; {remedy}"
        )
    return prompt if own is None else own, written


def without_end(text: str, end_tokens: tuple[str, ...] = END_TOKENS) -> str:
    """The text without the end tokens at its end and the white space around them; without any the text as it is."""
    end = _backwards(end_tokens).match(text[::-1])
    return text[: len(text) - end.end()] if end else text


@lru_cache(maxsize=8)
def _backwards(end_tokens: tuple[str, ...]) -> re.Pattern[str]:
    """Matches the ends at the beginning of a reversed text: in one pass, as there may be a million paddings."""
    tokens = sorted({re.escape(token[::-1]) for token in end_tokens if token}, key=len, reverse=True)
    return re.compile(rf"(?:\s*+(?:{'|'.join(tokens)}))++\s*+" if tokens else r"(?!)")
