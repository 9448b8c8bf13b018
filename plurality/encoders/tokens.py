"""Conversations to texts by a tokenizer's chat template, and texts to token ids that keep their ends."""

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plurality.encoders.text import Conversation
from plurality.errors import InputError

SHORTEST, LONGEST = 8, 4096  # tokens; the longest only where nothing else sets a limit

# Some templates print today's date; the same text must give the same vector tomorrow.
DATE = "{% macro strftime_now(format) %}01 Jan 2025{% endmacro %}{{ '' }}"


def choose_chat_template(asked: bool | None, tokenizer: Any) -> str | None:
    """The tokenizer's default chat template, made independent of the date; None to go without."""
    if asked is False:
        return None
    if not tokenizer.chat_template:
        if asked:
            raise InputError("chat_template=True, but this model's tokenizer has none: leave it out")
        return None
    template: str = tokenizer.get_chat_template()
    return DATE + template if "strftime_now" in template else template


def choose_max_length(asked: int | None, configured: int | None, config: Any, tokenizer: Any) -> int:
    """The limit in tokens: as asked, else the smallest of what model, tokenizer and LONGEST allow."""
    positions = getattr(config.get_text_config(), "max_position_embeddings", None) or sys.maxsize
    if asked is None:
        return int(min(configured or LONGEST, positions, tokenizer.model_max_length))
    if asked > positions:
        raise InputError(f"max_length={asked}, but the model has {positions} positions: lower it")
    return asked


def render(tokenizer: Any, template: str, conversations: Sequence[Conversation], what: str) -> list[str]:
    """Each conversation written out; InputError names the row that the template raises for."""
    from jinja2 import TemplateError

    texts = []
    for row, conversation in enumerate(conversations):
        try:
            texts.append(tokenizer.apply_chat_template(conversation, chat_template=template, tokenize=False))
        except TemplateError as error:
            raise InputError(
                f"{what}[{row}]: the chat template does not accept the conversation ({error}): "
                "correct its messages or set chat_template=False"
            ) from None
    return texts


def tokenise(
    tokenizer: Any, texts: Sequence[str], max_length: int, *, special: bool
) -> tuple[list[list[int]], NDArray[np.int32]]:
    """Token ids of each text, cut on the left to `max_length`, and the counts before the cut, (n,).

    `special` adds the tokenizer's own first and last tokens, which a chat template writes itself. A cut
    text keeps its beginning-of-text token: models are at a loss without it.
    """
    tokenizer.truncation_side = "left"
    ids = tokenizer(list(texts), add_special_tokens=special, verbose=False)["input_ids"]
    counts = np.array([len(row) for row in ids], dtype=np.int32)
    long = np.flatnonzero(counts > max_length)
    if len(long):
        cut = tokenizer(
            [texts[int(row)] for row in long],
            add_special_tokens=special,
            truncation=True,
            max_length=max_length,
        )["input_ids"]
        for row, short in zip(long, cut, strict=True):
            starts = ids[row][0] == tokenizer.bos_token_id
            ids[row] = [ids[row][0], *short[1:]] if starts else short
    return ids, counts
