"""A study: what people are asked on the page `/ask`, from a TOML file."""

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from pathlib import Path
from typing import Any, Literal, get_args

from plurality.data.readers import chats, columns
from plurality.data.readers.tables import open_frame
from plurality.encoders.protocol import Prompt
from plurality.errors import InputError
from plurality.io.paths import expanded
from plurality.serving.questions import Question

__all__ = ["About", "Study", "read_study"]

MOST_QUESTIONS = 4096
How = Literal["information", "random"]
TEXTS = ("title", "intro", "consent", "thanks", "ask")
KEYS = {*TEXTS, "questions", "shown", "answers", "how", "scale", "about", "question"}


@dataclass(frozen=True)
class About:
    """A question about the person.

    name      in tables
    ask       its text
    options   to choose from; none: free text
    """

    name: str
    ask: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Study:
    """What is asked.

    questions   what could be asked
    title       of the page
    intro       what the page says first
    consent     what people agree to before the first question; "": nothing
    thanks      what it says at the end
    ask         what stands above every question; "": which reply is preferred, or how good it is
    answers     questions that each person is asked at most
    how         "information": what is expected to tell most; "random"
    scale       lowest and highest rating, of questions with one completion
    about       what people are asked about themselves
    """

    questions: tuple[Question, ...]
    title: str = "Which do you prefer?"
    intro: str = ""
    consent: str = ""
    thanks: str = "Thank you. Your answers are stored."
    ask: str = ""
    answers: int = 20
    how: How = "information"
    scale: tuple[int, int] = (1, 5)
    about: tuple[About, ...] = ()


def read_study(source: str | Path) -> Study:
    """A study from a TOML file; its questions stand there as [[question]], or in a table of prompt and completion.

    The keys are those of `Study`, but for `questions`, a table beside the file (parquet, JSON lines or CSV), and
    `shown`, how many completions of one prompt are shown together, all such sets being questions: 2, or 1 to rate.

    source    the file

    Raises InputError for other keys and for what cannot be asked.
    """
    path = expanded(source)
    try:
        said: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path}: cannot be read as TOML ({error}); see howto/serving for one that can") from None
    odd = sorted(set(said) - KEYS)
    if odd:
        raise InputError(f"{path}: {odd[0]!r} is not a key of a study; it has {', '.join(sorted(KEYS))}")
    for name, kind in {**dict.fromkeys(TEXTS, str), "answers": int, "shown": int}.items():
        if not isinstance(said.get(name, kind()), kind) or (kind is int and said.get(name, 1) < 1):
            raise InputError(f"{path}: {name} is not {'text' if kind is str else 'a number of 1 or more'}")
    how, scale = said.get("how", "information"), said.get("scale", [1, 5])
    if how not in get_args(How):
        raise InputError(f"{path}: how = {how!r} is not a valid option; give one of {', '.join(get_args(How))}")
    if not (isinstance(scale, list) and len(scale) == 2 and all(type(n) is int for n in scale) and scale[0] < scale[1]):
        raise InputError(f"{path}: scale is not two whole numbers, lowest and highest")
    questions = [*_inline(said.get("question", []), path)]
    if "questions" in said:
        questions += _of_table(path.parent / str(said["questions"]), said.get("shown", 2))
    if not questions:
        raise InputError(f"{path}: there is no question; name a table as questions, or add [[question]]")
    if len({len(q.completions) > 1 for q in questions}) > 1:
        raise InputError(f"{path}: some questions have one completion and some several; make two studies of it")
    text = {name: said[name] for name in TEXTS if name in said}
    return Study(
        tuple({q.key: q for q in questions}.values()),
        **text,
        answers=said.get("answers", 20),
        how=how,
        scale=(scale[0], scale[1]),
        about=tuple(_about(said.get("about", []), path)),
    )


def _about(tables: Any, path: Path) -> list[About]:
    found = []
    for table in tables if isinstance(tables, list) else [tables]:
        try:
            found.append(About(str(table["name"]), str(table["ask"]), tuple(map(str, table.get("options", ())))))
        except (KeyError, TypeError, AttributeError):
            raise InputError(f"{path}: [[about]] needs name and ask, and may have options") from None
    return found


def _inline(tables: Any, path: Path) -> list[Question]:
    found = []
    for number, table in enumerate(tables if isinstance(tables, list) else [tables], 1):
        prompt, texts = (table.get("prompt"), table.get("completions")) if isinstance(table, dict) else (None, None)
        texts = texts if isinstance(texts, list) and all(isinstance(t, str) and t.strip() for t in texts) else []
        if not isinstance(prompt, str) or not texts or len(set(texts)) < len(texts):
            raise InputError(f"{path}: [[question]] {number} needs a prompt and different completions")
        found.append(Question(prompt, tuple(texts)))
    return found


def _of_table(path: Path, shown: int) -> list[Question]:
    frame, place = open_frame(path, "questions")
    asked = columns.column(frame, "prompt", place)
    texts = chats.completions(columns.column(frame, "completion", place), place).to_list()
    prompts: Sequence[str] = chats.prompts(asked, place).to_list()
    of_prompt: dict[str, list[str]] = {}
    for prompt, text in zip(prompts, texts, strict=True):
        if text not in of_prompt.setdefault(prompt, []):
            of_prompt[prompt].append(text)
    chat = chats.is_chat(asked)
    sets = (
        Question(_prompt(prompt, chat), some)
        for prompt, each in of_prompt.items()
        for some in combinations(each, shown)
    )
    found = list(islice(sets, MOST_QUESTIONS + 1))
    if len(found) > MOST_QUESTIONS:
        raise InputError(f"{place}: makes more than {MOST_QUESTIONS:,} questions of {shown}; give fewer completions")
    if not found:
        raise InputError(f"{place}: no prompt has {shown} completions or more to show together; give more of them")
    return found


def _prompt(text: str, chat: bool) -> Prompt:
    return [dict(message) for message in chats.messages(text)] if chat else text
