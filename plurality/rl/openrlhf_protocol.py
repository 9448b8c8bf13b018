"""OpenRLHF's rows of query, prompt and label, from its reward file and over HTTP: who is asked, for what, after what.

`query` is the prompt followed by the completion, special tokens and all. Only the label travels with a sample, so it
says whose reward is wanted and may carry the prompt as it was before the policy's chat template.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, NoReturn

from plurality.encoders.protocol import Prompt
from plurality.errors import InputError
from plurality.io.visible import THOUGHT_TAGS, Tags
from plurality.rl.messages import chat
from plurality.rl.replies import END_TOKENS, reply, without_end

OPENING = re.compile(r"\s*<[^<>\s]{1,40}>\s?")  # a beginning-of-text token


@dataclass(frozen=True, slots=True)
class Row:
    """A completion to reward: for whom, as the reply to what, and its score by a base reward, if it has one."""

    prompt: Prompt
    completion: str
    user_id: str
    base: float | None = None


@dataclass(frozen=True)
class OpenRLHFProtocol:
    """How rows are read.

    user_key       what labels call the user, besides "user_id"
    needs_user     rows without a user are an error; else, as under a rule for all users, their user_id is ""
    reads_prompts  the reward depends on the prompt: one that went through a chat template is an error, unless the label
                   has the prompt itself
    end_tokens     cut off a completion's end, however many there are, with the white space around them
    thought_tags   (opening, closing) of thoughts, cut out of completions, as nobody sees them; where the prompt ends
                   with an opening one, the completion begins within a thought
    """

    user_key: str = "user_id"
    needs_user: bool = True
    reads_prompts: bool = False
    end_tokens: tuple[str, ...] = END_TOKENS
    thought_tags: Tags = THOUGHT_TAGS

    def rows(self, query: Sequence[Any], prompts: Sequence[Any], labels: Sequence[Any]) -> list[Row]:
        """The rows (n,) of n queries, prompts and labels. Raises InputError that names the row (from 0) it cannot use.

        A label is a user's id, an object with it under `user_key` or "user_id", or such an object as JSON; its
        "prompt", text or messages, takes the place of the templated one.
        """
        if not len(query) == len(prompts) == len(labels):
            raise InputError(
                f"query, prompts and labels have {len(query)}, {len(prompts)} and {len(labels)} entries; "
                "send one of each per completion"
            )
        return [self._row(i, *triple) for i, triple in enumerate(zip(query, prompts, labels, strict=True))]

    def _row(self, i: int, query: Any, prompt: Any, label: Any) -> Row:
        query, prompt = _text(i, "query", query), _text(i, "prompts", prompt)
        return self.row(i, prompt, completion_of(query, prompt, (), i), label)

    def row(self, i: int, prompt: Any, written: str, label: Any) -> Row:
        """The row of a prompt, what was written after it, and a label.

        i          of which row messages speak
        prompt     text or messages
        written    text, end tokens and thoughts and all
        label      as in `rows`
        """
        user, own = self._asked(i, label)
        try:
            shown, completion = reply(
                prompt,
                written,
                own,
                ends=self.end_tokens,
                tags=self.thought_tags,
                reads_prompts=self.reads_prompts,
                remedy="put the prompt itself into the label, as label_of(user_id, prompt) does",
            )
        except InputError as error:
            raise InputError(f"row {i}: {error}") from None
        return Row(shown, completion, self._user(i, user))

    def _asked(self, i: int, label: Any) -> tuple[Any, Prompt | None]:
        """The user a label names; and the prompt as the model's encoder knows it, where the label has one."""
        if isinstance(label, str) and label.lstrip().startswith("{"):
            label = strict_json(label, f"row {i}: the label starts as an object but")
        if not isinstance(label, dict):
            return label, None
        keys = dict.fromkeys((self.user_key, "user_id"))
        found = [label[key] for key in keys if key in label]
        if self.needs_user and not found:
            wanted, present = " or ".join(f'"{key}"' for key in keys), ascii(list(label))
            raise InputError(
                f'row {i}: the label has no {wanted}, only {present:.80}; send {{"user_id": ...}} or the id'
            )
        return found[0] if found else None, _prompt(i, label.get("prompt"))

    def _user(self, i: int, user: Any) -> str:
        if user is None and not self.needs_user:
            return ""
        if isinstance(user, Integral) and not isinstance(user, bool):
            return str(int(user))
        user = _text(i, "the user of labels", user)
        if self.needs_user and not user.strip():
            raise InputError(f"row {i}: the label names no user; let the trainer send one (OpenRLHF: --data.label_key)")
        return user


Contract = OpenRLHFProtocol  # its name until 0.3, as `plurality.rl.contract` has it


def label_of(user_id: str | int | None, prompt: Any = None) -> str:
    """The label of a sample of this user: JSON with user_id and, for reward models that read prompts, the prompt.

    The prompt is a string or a list of messages, before any chat template. The user may be None where a rule serves
    all users.

    user_id    whose reward
    prompt     string or message list
    """
    return json.dumps({"user_id": user_id} | ({} if prompt is None else {"prompt": prompt}), ensure_ascii=False)


def completion_of(query: str, prompt: str, end_tokens: tuple[str, ...] = END_TOKENS, row: int = 0) -> str:
    """What the policy wrote: the query without its prompt, and without any end tokens after it.

    Raises InputError when the query does not start with the prompt, up to one beginning-of-text token.
    """
    start = 0
    if not query.startswith(prompt):
        opening = OPENING.match(query)
        if opening is None or not query.startswith(prompt, start := opening.end()):
            raise InputError(
                f"row {row}: query does not start with its prompt ({prompt[:60]!r}), so the completion cannot be told; "
                "send as prompts the very text that the completion was added to"
            )
    return without_end(query[start + len(prompt) :], end_tokens)


def strict_json(text: bytes | str, what: str) -> Any:
    """JSON as the standard has it. Raises InputError for malformed text, NaN, infinities and too deep a nest."""

    def no_number(word: str) -> NoReturn:
        raise InputError(f"{what} holds {word}, which is not JSON; send finite numbers")

    try:
        return json.loads(text, parse_constant=no_number)
    except InputError:
        raise
    except (ValueError, RecursionError) as error:  # malformed, not UTF-8, a number of 5,000 digits, or a deep nest
        raise InputError(f"{what} is not valid JSON ({error}); send one JSON object") from None


def kind(value: Any) -> str:
    """What a value of JSON is, in words."""
    if type(value) in (int, float):
        return f"the number {value!r:.20}"
    names = {type(None): "null", bool: "true or false", dict: "an object", list: "a list", str: "text"}
    return names.get(type(value), f"of type {type(value).__name__}")


def _prompt(i: int, prompt: Any) -> Prompt | None:
    what = "the label's prompt"
    if prompt is None:
        return None
    if isinstance(prompt, str):
        return _text(i, what, prompt)
    messages = chat(prompt, f"row {i}: {what}")
    if not messages:
        raise InputError(f"row {i}: {what} is not a chat; send text or a list of {{role, content}}")
    return [{key: _text(i, f"{key} in {what}", text) for key, text in message.items()} for message in messages]


def _text(i: int, what: str, value: Any) -> str:
    if not isinstance(value, str):
        raise InputError(f"row {i}: {what} is {kind(value)}, not text")
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair is JSON, but no text
        raise InputError(f"row {i}: {what} is not valid Unicode (a lone surrogate); send whole characters") from None
    return value
