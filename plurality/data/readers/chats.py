"""Chat message lists as in TRL, turned into strings that can be compared, hashed and stored.

Content in parts, {"type": "text", "text": ...}, is joined. A list prompt becomes canonical JSON (role and content
only, keys sorted), so that the same conversation is the same prompt however a file spells it; `messages` gives it
back. A list completion is one assistant message and becomes its content.
"""

import json

import polars as pl

from plurality.data.readers import columns
from plurality.data.readers.columns import raise_where
from plurality.errors import InputError
from plurality.io.visible import text_of

ROLE = pl.element().struct.field("role")
CONTENT = pl.element().struct.field("content")


def is_chat(values: pl.Series) -> bool:
    """Whether the values are lists of messages, not strings."""
    return isinstance(values.dtype, pl.List) and isinstance(values.dtype.inner, pl.Struct)


def prompts(values: pl.Series, place: str, *, blank_too: bool = False) -> pl.Series:
    """Prompts as strings, message lists as canonical JSON. Raises InputError where there is no text.

    With `blank_too` text of white space only is taken, and so are messages of nothing else.
    """
    if not is_chat(values):
        return columns.texts(values, place, blank_too=blank_too)
    values = _checked(values, place)
    silent = ~values.list.eval(CONTENT.str.contains(r"\S")).list.any()
    if not blank_too:
        raise_where(silent, place, f"{values.name} is empty", "give its messages or drop the row")
    return _as_json(values)


def completions(values: pl.Series, place: str, *, blank_too: bool = False) -> pl.Series:
    """Completions as strings, of a message list its one assistant message. Raises InputError for others."""
    if not is_chat(values):
        return columns.texts(values, place, blank_too=blank_too)
    values = _checked(values, place)
    name = values.name
    raise_where(
        values.list.len() != 1,
        place,
        f"{name} is not one message",
        "a completion is one assistant message, without tool calls; the turns before it are the prompt "
        "(where chosen and rejected are whole conversations, leave out the column prompt)",
    )
    role = values.list.eval(ROLE).list.first()
    raise_where(role != "assistant", place, f"{name} is not an assistant message", "give the assistant's reply")
    return columns.texts(values.list.eval(CONTENT).list.first().alias(name), place, blank_too=blank_too)


def silent(prompt: pl.Series, chat: bool) -> pl.Series:
    """Whether each prompt that `prompts` gave, `chat` or text, holds nothing but white space."""
    if not chat:
        return columns.blank(prompt)
    return pl.Series([not any(m["content"].strip() for m in messages(text)) for text in prompt], dtype=pl.Boolean)


def whole_conversations(
    chosen: pl.Series, rejected: pl.Series, place: str, *, blank_too: bool = False
) -> tuple[pl.Series, pl.Series, pl.Series]:
    """(prompt, chosen, rejected) of conversations with a common beginning, TRL's implicit prompt."""
    chosen, rejected = (_checked(values, place) for values in (chosen, rejected))
    prompt = _without_last(chosen).alias("prompt")
    raise_where(
        _as_json(prompt) != _as_json(_without_last(rejected)),
        place,
        "chosen and rejected differ before their last message",
        "the conversations must agree up to one last assistant message",
    )
    raise_where(
        chosen.list.len() == 1,
        place,
        "chosen is a lone message, so there is no prompt",
        "put the turns before it into the conversations or into a column prompt",
    )
    replies = [completions(values.list.tail(1), place, blank_too=blank_too) for values in (chosen, rejected)]
    return prompts(prompt, place, blank_too=blank_too), replies[0], replies[1]


def messages(text: str) -> list[dict[str, str]]:
    """The message list that canonical JSON stands for."""
    return list(json.loads(text))


def _checked(values: pl.Series, place: str) -> pl.Series:
    """The messages, content in parts joined. Raises InputError unless each has a role and a content that are text."""
    fields = _fields(values)
    if isinstance(fields.get("content"), pl.List) and isinstance(fields["content"].inner, pl.Struct):  # type: ignore[attr-defined]
        values = _joined(values, place)
        fields = _fields(values)
    for name, part in (("role", ROLE), ("content", CONTENT)):
        if not isinstance(fields.get(name, pl.Null()), pl.String | pl.Null):
            raise InputError(
                f"{place}: row 1: {values.name} has messages whose {name} is not text; "
                "only text can be embedded: give each message a role and a content that are strings"
            )
        absent = values.list.len() > 0 if name not in fields else values.list.eval(part.is_null()).list.any()
        raise_where(
            absent,
            place,
            f"{values.name} has a message without {name}",
            "each message needs a role and a content that are text; leave out turns that only call a tool",
        )
    raise_where(values.list.len() == 0, place, f"{values.name} is empty", "give its messages or drop the row")
    return values


def _fields(values: pl.Series) -> dict[str, pl.DataType]:
    return {field.name: field.dtype for field in values.dtype.inner.fields}  # type: ignore[attr-defined]


def _joined(values: pl.Series, place: str) -> pl.Series:
    """Messages whose content is in parts, with role and text alone."""
    chats = [
        [(message.get("role"), text_of(_parts(message["content"]))) for message in chat] for chat in values.to_list()
    ]
    raise_where(
        pl.Series([any(text is None for _, text in chat) for chat in chats]),
        place,
        f"{values.name} has a message with a part that is not text",
        "only text can be embedded: leave out images, or drop the row",
    )
    spelled = [[{"role": role, "content": text} for role, text in chat] for chat in chats]
    return pl.Series(values.name, spelled, dtype=pl.List(pl.Struct({"role": pl.String, "content": pl.String})))


def _parts(content: list[dict[str, object]] | None) -> object:
    """Parts as they were before a column made each have the keys of all."""
    return None if content is None else [{k: v for k, v in part.items() if v is not None} for part in content]


def _without_last(values: pl.Series) -> pl.Series:
    each = pl.col(values.name)
    return values.to_frame().select(each.list.head(each.list.len() - 1)).to_series()


def _as_json(values: pl.Series) -> pl.Series:
    """Canonical JSON of checked message lists; each distinct one is parsed once."""
    plain = values.list.eval(pl.struct(content=CONTENT, role=ROLE)).alias("messages")
    spelled = plain.to_frame().select(pl.struct("messages").struct.json_encode()).to_series()
    unique = spelled.unique()
    canonical = [json.dumps(json.loads(text)["messages"], sort_keys=True, ensure_ascii=False) for text in unique]
    return spelled.replace_strict(unique, pl.Series(canonical, dtype=pl.String)).alias(values.name)
