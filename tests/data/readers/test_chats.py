"""Message lists as in TRL are read as the conversations that they are."""

import json
from pathlib import Path

import datasets
import pandas as pd
import polars as pl
import pytest

from plurality.data.read import read
from plurality.errors import InputError


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


CHATS = [[user("tea? ü")], [user("hi"), assistant("hello"), user("sea?")]]
CANONICAL = [json.dumps(chat, sort_keys=True, ensure_ascii=False) for chat in CHATS]


@pytest.mark.parametrize("completions", ["strings", "messages"])
@pytest.mark.parametrize("form", ["polars", "pandas", "dataset", "jsonl"])
def test_message_lists(tmp_path, letters, completions, form, facts):
    wrap = (lambda c: [assistant(c)]) if completions == "messages" else (lambda c: c)
    named = [[{**m, "name": None} for m in CHATS[0]], [dict(reversed(m.items())) for m in CHATS[1]]]
    rows = {
        "user_id": ["u", "v"],
        "prompt": named,
        "chosen": [wrap("green"), wrap("calm")],
        "rejected": [wrap("black"), wrap("wild")],
    }
    source = {
        "polars": lambda: pl.DataFrame(rows),
        "pandas": lambda: pd.DataFrame(rows),
        "dataset": lambda: datasets.Dataset.from_dict({**rows, "prompt": CHATS}),
        "jsonl": lambda: _json_lines(pl.DataFrame(rows), tmp_path / "c.jsonl"),
    }[form]()
    data = read(source, encoder=letters, prompts=True)
    assert facts(data) == [
        ("u", CANONICAL[0], {"green": 1, "black": 0}, 1),
        ("v", CANONICAL[1], {"calm": 1, "wild": 0}, 1),
    ]
    assert data.texts["chat"].all()
    given_to_encoder = {completion: prompt for prompt, completion in letters.seen}
    assert given_to_encoder == {"green": CHATS[0], "black": CHATS[0], "calm": CHATS[1], "wild": CHATS[1]}
    turns = {text: data.prompts[row, 26] for text, row in zip(data.texts["prompt"], data.prompt, strict=True)}
    assert turns == {CANONICAL[0]: 1, CANONICAL[1]: 3}


def test_implicit_prompts_are_the_common_beginning(letters, facts):
    explicit = {"user_id": [1, 2], "prompt": CHATS, "chosen": ["green", "calm"], "rejected": ["black", "wild"]}
    implicit = {
        "user_id": [1, 2],
        "chosen": [[*CHATS[0], assistant("green")], [*CHATS[1], assistant("calm")]],
        "rejected": [[*CHATS[0], assistant("black")], [*CHATS[1], assistant("wild")]],
    }
    one, other = (read(pl.DataFrame(rows), encoder=letters) for rows in (explicit, implicit))
    assert facts(one) == facts(other)
    assert one.item_keys.tolist() == other.item_keys.tolist()


def parts(*texts: str) -> list[dict[str, str]]:
    return [{"type": "text", "text": text} for text in texts]


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("form", ["polars", "mapping", "dataset", "jsonl", "parquet"])
def test_content_in_text_parts_is_joined(tmp_path, letters, facts, form, mixed):
    if mixed and form in ("polars", "dataset", "parquet"):
        pytest.skip("a column of a frame has one type")
    whole = [*CHATS[1][:2], user("sea?")]
    spelled = [{**m, "content": parts(m["content"][:2], m["content"][2:])} for m in whole]
    rows = {
        "user_id": ["u", "v"],
        "prompt": [CHATS[0] if mixed else [user(parts("tea? ", "ü"))], spelled],  # type: ignore[arg-type]
        "chosen": [[assistant(parts("gre", "en"))], [assistant(parts("calm"))]],  # type: ignore[arg-type]
        "rejected": ["black", "wild"],
    }
    source = {
        "polars": lambda: pl.DataFrame(rows),
        "mapping": lambda: rows,
        "dataset": lambda: datasets.Dataset.from_dict(rows),
        "jsonl": lambda: _lines(rows, tmp_path / "c.jsonl"),
        "parquet": lambda: _parquet(pl.DataFrame(rows), tmp_path / "c.parquet"),
    }[form]()
    plain = {**rows, "prompt": CHATS, "chosen": [[assistant("green")], [assistant("calm")]]}
    assert facts(read(source, encoder=letters, prompts=True)) == facts(read(plain, encoder=letters, prompts=True))
    image = [[user([*parts("x"), {"type": "image", "text": None}])] for _ in range(2)]  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"row 1: prompt has .*only text can be embedded"):
        read({**rows, "prompt": image}, encoder=letters)


def _lines(rows: dict[str, list[object]], path: Path) -> Path:
    path.write_text(
        "\n".join(json.dumps(dict(zip(rows, row, strict=True))) for row in zip(*rows.values(), strict=True))
    )
    return path


def _parquet(frame: pl.DataFrame, path: Path) -> Path:
    frame.write_parquet(path)
    return path


TWO = {"user_id": [1, 2], "prompt": CHATS, "chosen": ["a", "b"], "rejected": ["c", "d"]}
WHOLE = {"user_id": [1, 2], "chosen": [[user("p"), assistant("a")]] * 2, "rejected": [[user("p"), assistant("b")]] * 2}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ({**TWO, "chosen": [[assistant("a")], [assistant("a")] * 2]}, "row 2: chosen is not one message; .*leave out"),
        ({**TWO, "chosen": [[assistant("a")], [user("a")]]}, "row 2: chosen is not an assistant message; give"),
        ({**TWO, "chosen": [[assistant("a")], [{"role": "assistant", "content": None}]]}, "row 2: .* without content"),
        ({**TWO, "chosen": [[assistant("a")], [assistant(" ")]]}, "row 2: chosen is empty"),
        ({**TWO, "prompt": [CHATS[0], []]}, "row 2: prompt is empty"),
        ({**TWO, "prompt": [CHATS[0], [user("\n")]]}, "row 2: prompt is empty"),
        ({**TWO, "prompt": [[{"content": "x"}]] * 2}, "row 1: prompt has a message without role"),
        ({**TWO, "prompt": [[user(["x"])]] * 2}, "row 1: prompt has messages whose content is not text; only text"),
        ({**WHOLE, "rejected": WHOLE["chosen"]}, r"row 1: chosen and rejected are the same \(2 rows in all\)"),
        ({**WHOLE, "rejected": [WHOLE["rejected"][0], [user("q"), assistant("b")]]}, "row 2: .* before their last"),
        ({**WHOLE, "chosen": [[assistant("a")]] * 2, "rejected": [[assistant("b")]] * 2}, "row 1: .* lone message"),
    ],
)
def test_bad_message_lists(letters, rows, message):
    with pytest.raises(InputError, match=message):
        read(pl.DataFrame(rows), encoder=letters)


def _json_lines(frame: pl.DataFrame, path: Path) -> Path:
    frame.write_ndjson(path)
    return path
