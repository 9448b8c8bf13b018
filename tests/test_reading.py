"""Reading: every format gives the same comparisons, and bad input gives one line that says where and what."""

import json
from collections import Counter
from pathlib import Path

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from plurality.comparisons import Comparisons
from plurality.encoders import LsaSpec
from plurality.errors import InputError, InputWarning
from plurality.keys import combine, mix, text_keys
from plurality.reading import read, read_candidates

# three people, two prompts, five items
ROWS = {
    "user_id": ["ann", "bob", "ann", "cyd"],
    "prompt": ["tea?", "tea?", "sea?", "sea?"],
    "chosen": ["green", "black", "calm", "wild"],
    "rejected": ["black", "mint", "wild", "calm"],
}


def facts(data: Comparisons) -> list[tuple]:
    """(user, prompt, {completion: P(preferred)}, weight) of each row, as a person would write it down."""
    completion, prompt = data.texts["completion"], data.texts["prompt"]
    ids = data.users["user_id"]
    rows = zip(data.user, data.first, data.second, data.label, data.weight, strict=True)
    return [
        (ids[int(u)], prompt[int(a)], {completion[int(a)]: p, completion[int(b)]: 1 - p}, w) for u, a, b, p, w in rows
    ]


EXPECTED = [
    ("ann", "tea?", {"green": 1, "black": 0}, 1),
    ("bob", "tea?", {"black": 1, "mint": 0}, 1),
    ("ann", "sea?", {"calm": 1, "wild": 0}, 1),
    ("cyd", "sea?", {"wild": 1, "calm": 0}, 1),
]


def write(frame: pl.DataFrame, path: Path) -> Path:
    import gzip

    match path.suffixes:
        case [".parquet"]:
            frame.write_parquet(path)
        case [".jsonl"] | [".json"]:
            frame.write_ndjson(path)
        case [".csv"]:
            frame.write_csv(path)
        case [".jsonl", ".gz"]:
            path.write_bytes(gzip.compress(frame.write_ndjson().encode()))
        case [".csv", ".gz"]:
            path.write_bytes(gzip.compress(frame.write_csv().encode()))
    return path


@pytest.mark.parametrize("name", ["c.parquet", "c.jsonl", "c.json", "c.csv", "c.jsonl.gz", "c.csv.gz"])
def test_every_file_format_gives_the_same(tmp_path, letters, name):
    path = write(pl.DataFrame(ROWS), tmp_path / name)
    data = read(path, encoder=letters)
    assert facts(data) == EXPECTED
    assert data.source == str(path)
    assert len(letters.seen) == len(set(letters.seen)) == 5  # each item is embedded once


@pytest.mark.parametrize(
    "source",
    [
        pl.DataFrame(ROWS),
        pl.LazyFrame(ROWS),
        pl.DataFrame(ROWS).cast({"user_id": pl.Categorical, "prompt": pl.Categorical}),
        pl.DataFrame(ROWS).with_columns(chosen=pl.Series(ROWS["chosen"], dtype=pl.Object), x=pl.lit(1)),
        pd.DataFrame(ROWS),
        datasets.Dataset.from_dict(ROWS),
        datasets.Dataset.from_dict({k: v[::-1] for k, v in ROWS.items()}).select([3, 2, 1, 0]),
    ],
    ids=["polars", "lazy", "categories", "objects", "pandas", "dataset", "selected dataset"],
)
def test_every_frame_gives_the_same(letters, source):
    assert facts(read(source, encoder=letters)) == EXPECTED


def test_keys_order_and_embeddings_by_hand(letters):
    data = read(pl.DataFrame(ROWS), encoder=letters, prompts=True)
    pairs = [("tea?", "green"), ("tea?", "black"), ("tea?", "mint"), ("sea?", "calm"), ("sea?", "wild")]
    keys = [combine(text_keys([p]), text_keys([c]))[0] for p, c in pairs]
    assert data.item_keys.tolist() == sorted(keys)
    assert list(zip(data.texts["prompt"], data.texts["completion"], strict=True)) == [
        pairs[i] for i in np.argsort(keys)
    ]
    assert data.prompt_keys.tolist() == sorted(text_keys(["tea?", "sea?"]).tolist())
    assert (data.first < data.second).all()  # by key, since items stand in the order of their keys
    green = data.texts["completion"].index_of("green")
    assert data.items[green, ord("e") - ord("a")] == 2
    assert data.items.dtype == data.prompts.dtype == np.float32
    tea = int(np.flatnonzero(data.prompt_keys == text_keys(["tea?"])[0])[0])
    assert data.prompt[green] == tea
    assert data.prompts[tea, ord("t") - ord("a")] == 1
    assert (data.group == data.prompt_keys[data.prompt[data.first]]).all()
    assert data.users["user_id"].to_list() == ["ann", "bob", "cyd"]
    assert data.user.tolist() == [0, 1, 0, 2]
    assert data.encoder is letters


def test_first_second_and_label_say_the_same_as_chosen_and_rejected(letters):
    sides = {"user_id": ["u"] * 4, "prompt": ["p"] * 4, "first": ["a", "b", "a", "c"], "second": ["b", "a", "c", "d"]}
    data = read(pl.DataFrame({**sides, "label": [1, 0, 0.5, 0.25]}), encoder=letters, repeats="keep")
    assert facts(data) == [
        ("u", "p", {"a": 1, "b": 0}, 1),
        ("u", "p", {"a": 1, "b": 0}, 1),
        ("u", "p", {"a": 0.5, "c": 0.5}, 1),
        ("u", "p", {"c": 0.25, "d": 0.75}, 1),
    ]
    booleans = read(pl.DataFrame({**sides, "label": [True, False, True, True]}), encoder=letters)
    assert facts(booleans)[1] == ("u", "p", {"a": 1, "b": 0}, 1)


def test_ties_strength_weight_and_group(letters):
    extra = {"label": [0.5, 1, 1, 1], "strength": [1, 0.5, 0.2, 1], "weight": [1, 2, 5, 3], "group_id": [7, 7, 8, 8]}
    frame = pl.DataFrame({**ROWS, **extra})
    by_weight = facts(read(frame, encoder=letters))
    assert [p for _, _, sides, _ in by_weight for p in sides.values()][:2] == [0.5, 0.5]
    assert [w for *_, w in by_weight] == pytest.approx([1, 1, 1, 3])
    by_label = read(frame, encoder=letters, strength_as="label")
    assert [sides[c] for (_, _, sides, _), c in zip(facts(by_label), ROWS["chosen"], strict=True)] == pytest.approx(
        [0.5, 0.75, 0.6, 1]
    )
    assert by_label.weight.tolist() == [1, 2, 5, 3]
    assert by_label.group.tolist() == text_keys(["7", "7", "8", "8"]).tolist()


def test_optional_columns_that_are_null_throughout_are_absent(letters):
    frame = pl.DataFrame(ROWS).with_columns(strength=None, weight=None, group_id=None, label=None, objective=None)
    assert facts(read(frame, encoder=letters)) == EXPECTED


def test_numbers_as_ids_and_leading_zeros_in_csv(tmp_path, letters):
    (tmp_path / "c.csv").write_text('user_id,prompt,chosen,rejected\n007,p,1,"2, or\n3"\n7,p,1,4\n')
    (tmp_path / "u.csv").write_text("user_id,age\n7,30\n007,40\n")
    data = read(tmp_path / "c.csv", users=tmp_path / "u.csv", encoder=letters)
    assert facts(data) == [("007", "p", {"1": 1, "2, or\n3": 0}, 1), ("7", "p", {"1": 1, "4": 0}, 1)]
    assert data.users.rows() == [("7", 30), ("007", 40)]
    whole = read(
        pl.DataFrame({**ROWS, "user_id": [1, 2, 1, 3]}),
        users=pl.DataFrame({"user_id": ["3", "2", "1"]}),
        encoder=letters,
    )
    assert whole.user.tolist() == [2, 1, 2, 0]


def test_users_table_keeps_its_order_columns_and_people_without_comparisons(letters, tmp_path):
    table = pl.DataFrame({"age": [3, 1, 2, 9], "user_id": ["cyd", "ann", "bob", "dan"]})
    table.write_ndjson(tmp_path / "u.jsonl")
    for users in (table, tmp_path / "u.jsonl", table.to_pandas()):
        data = read(pl.DataFrame(ROWS), users=users, encoder=letters)
        assert data.users.rows() == [("cyd", 3), ("ann", 1), ("bob", 2), ("dan", 9)]
        assert data.user.tolist() == [1, 2, 1, 0]
        assert data.user_ids == ["cyd", "ann", "bob"]


# message lists


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


CHATS = [[user("tea? ü")], [user("hi"), assistant("hello"), user("sea?")]]
CANONICAL = [json.dumps(chat, sort_keys=True, ensure_ascii=False) for chat in CHATS]


@pytest.mark.parametrize("completions", ["strings", "messages"])
@pytest.mark.parametrize("form", ["polars", "pandas", "dataset", "jsonl"])
def test_message_lists(tmp_path, letters, completions, form):
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
        "jsonl": lambda: write(pl.DataFrame(rows), tmp_path / "c.jsonl"),
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


def test_implicit_prompts_are_the_common_beginning(letters):
    explicit = {"user_id": [1, 2], "prompt": CHATS, "chosen": ["green", "calm"], "rejected": ["black", "wild"]}
    implicit = {
        "user_id": [1, 2],
        "chosen": [[*CHATS[0], assistant("green")], [*CHATS[1], assistant("calm")]],
        "rejected": [[*CHATS[0], assistant("black")], [*CHATS[1], assistant("wild")]],
    }
    one, other = (read(pl.DataFrame(rows), encoder=letters) for rows in (explicit, implicit))
    assert facts(one) == facts(other)
    assert one.item_keys.tolist() == other.item_keys.tolist()


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
        ({**TWO, "prompt": [[user(["x"])]] * 2}, "row 1: prompt has messages whose content is no text; only text"),
        ({**WHOLE, "rejected": WHOLE["chosen"]}, r"row 1: chosen and rejected are the same \(2 rows in all\)"),
        ({**WHOLE, "rejected": [WHOLE["rejected"][0], [user("q"), assistant("b")]]}, "row 2: .* before their last"),
        ({**WHOLE, "chosen": [[assistant("a")]] * 2, "rejected": [[assistant("b")]] * 2}, "row 1: .* lone message"),
    ],
)
def test_bad_message_lists(letters, rows, message):
    with pytest.raises(InputError, match=message):
        read(pl.DataFrame(rows), encoder=letters)


# properties

TABLES = st.lists(
    st.tuples(
        st.sampled_from("uvwxyz"),
        st.sampled_from(["p", "q", "r"]),
        st.permutations(["a", "b", "cc", "dd", "eee"]),
        st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    ),
    min_size=1,
    max_size=12,
)
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def sides_frame(rows: list) -> pl.DataFrame:
    columns = {"user_id": [r[0] for r in rows], "prompt": [r[1] for r in rows]}
    columns |= {"first": [r[2][0] for r in rows], "second": [r[2][1] for r in rows]}
    return pl.DataFrame({**columns, "label": [r[3] for r in rows]})


@QUICK
@given(TABLES, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing_but_the_order_of_rows(letters, rows, random):
    order = list(range(len(rows)))
    random.shuffle(order)
    frame = sides_frame(rows)
    data = read(frame, encoder=letters, repeats="keep")
    moved = read(frame[order], encoder=letters, repeats="keep")
    assert (moved.items == data.items).all()
    assert moved.texts.equals(data.texts)
    assert moved.users.equals(data.users)
    for name in ("item_keys", "prompt_keys", "prompt"):
        assert (getattr(moved, name) == getattr(data, name)).all()
    for name in ("first", "second", "user", "label", "weight", "group"):
        assert (getattr(moved, name) == getattr(data, name)[order]).all()


@QUICK
@given(TABLES)
def test_the_order_of_sides_changes_nothing(letters, rows):
    frame = sides_frame(rows)
    data = read(frame, encoder=letters, repeats="keep")
    turned = read(
        frame.rename({"first": "second", "second": "first"}).with_columns(label=1 - pl.col("label")),
        encoder=letters,
        repeats="keep",
    )
    for name in ("first", "second", "label"):
        assert (getattr(turned, name) == getattr(data, name)).all()
    assert (data.item_keys[data.first] < data.item_keys[data.second]).all()


@QUICK
@given(TABLES)
def test_repeats_are_dropped_once_counted_and_announced(letters, rows):
    frame = sides_frame(rows)
    distinct = frame.unique().height
    everything = read(frame, encoder=letters, repeats="keep")
    assert len(everything) == frame.height
    assert everything.duplicates == 0
    if distinct == frame.height:
        assert len(read(frame, encoder=letters)) == distinct
        return
    with pytest.warns(InputWarning, match=f'{frame.height - distinct:,} rows repeat .*repeats="keep"'):
        data = read(frame, encoder=letters)
    assert (len(data), data.duplicates) == (distinct, frame.height - distinct)
    assert (data.items == everything.items).all()


def test_rows_that_differ_in_any_column_are_no_repeats(letters):
    frame = pl.DataFrame({**ROWS, "asked_at": [1, 2, 3, 4]})
    assert len(read(pl.concat([frame, frame.with_columns(asked_at=9)]), encoder=letters)) == 8


def test_winners_stand_first_as_often_as_second(letters):
    """Of 4,000 fair coins the share of heads has a standard deviation of 0.008."""
    n = 4000
    frame = pl.DataFrame({"user_id": ["u"] * n, "prompt": ["p"] * n}).with_columns(
        chosen=pl.format("good {}", pl.int_range(n)), rejected=pl.format("bad {}", pl.int_range(n))
    )
    assert abs(read(frame, encoder=letters).label.mean() - 0.5) < 4 * 0.008


# bad input


def changed(**columns: list) -> pl.DataFrame:
    return pl.DataFrame({**ROWS, **columns}, strict=False)


SIDES = {"user_id": ["u"], "prompt": ["p"], "first": ["a"], "second": ["b"]}


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (changed().drop("chosen"), "column chosen is missing, the columns are user_id, prompt, rejected; add"),
        (
            changed().drop("chosen", "rejected"),
            "columns chosen and rejected .* missing, the columns are user_id, prompt;",
        ),
        (changed().drop("user_id"), "column user_id is missing, the columns are prompt, chosen, rejected; add"),
        (changed().drop("prompt"), "column prompt is missing, .*; add it"),
        (pl.DataFrame(SIDES), "column label is missing, the columns are user_id, prompt, first, second; add"),
        (changed(first=["a"] * 4, second=["b"] * 4), "columns of both kinds, .*; drop those of one kind"),
        (changed(user_id=["u", None, "u", None]), r"row 2: user_id is null \(2 rows in all\); fill it in or drop"),
        (changed(user_id=["u", " ", "u", "v"]), "row 2: user_id is empty; fill it in"),
        (changed(user_id=[1.5, 2, 3, 4]), r"user_id is a number \(Float64\); give text or whole numbers"),
        (changed(chosen=["a", None, "b", "c"]), "row 2: chosen is null; fill it in or drop"),
        (changed(rejected=[None] * 4), r"row 1: rejected is null \(4 rows in all\)"),
        (changed(prompt=["p", "q", "", "r"]), "row 3: prompt is empty; give its text or drop"),
        (changed(rejected=["a", " \n\t", "b", "c"]), "row 2: rejected is empty; give its text or drop"),
        (changed(chosen=[1, 2, 3, 4]), r"row 1: chosen is a number \(Int64\) where text belongs; give strings"),
        (changed(chosen=[["a"]] * 4), "row 1: chosen is a list where text belongs; give strings, or chat"),
        (changed(chosen=["mint", "mint", "calm", "wild"]), "row 2: chosen and rejected are the same; drop"),
        (changed(label=[1, 1, 0, 1]), r"row 3: label lies outside \[0.5, 1\]; 1/2 is a tie"),
        (changed(label=[1, 1, None, 1]), "row 3: label is null"),
        (pl.DataFrame({**SIDES, "label": [1.01]}), r"row 1: label lies outside \[0, 1\]; give P\(first preferred\)"),
        (pl.DataFrame({**SIDES, "label": [-0.01]}), "row 1: label lies outside"),
        (pl.DataFrame({**SIDES, "label": [float("nan")]}), "row 1: label is NaN or infinite; give a number"),
        (pl.DataFrame({**SIDES, "label": ["yes"]}), "row 1: label is no number; give a number"),
        (pl.DataFrame({**SIDES, "label": [["yes"]]}), "row 1: label is a list where a number belongs"),
        (changed(strength=[1, 0.5, 0, 1]), r"row 3: strength lies outside \(0, 1\]; rescale it"),
        (changed(strength=[1, 1.5, 1, 1]), "row 2: strength lies outside"),
        (changed(strength=[1, None, 1, 1]), "row 2: strength is null"),
        (changed(weight=[1, 1, 1, 0]), "row 4: weight is not positive; give a positive weight"),
        (changed(weight=[1, 1, 1, float("nan")]), "row 4: weight is NaN or infinite"),
        (changed(weight=[1, float("inf"), 1, 1]), "row 2: weight is NaN or infinite"),
        (changed(group_id=[1, None, 1, 1]), "row 2: group_id is null"),
        (changed().clear(), "comparisons has no rows; give"),
    ],
)
def test_bad_frames(letters, frame, message):
    with pytest.raises(InputError, match=f"^comparisons:? {message}|^comparisons: {message}") as caught:
        read(frame, encoder=letters)
    assert "\n" not in str(caught.value)


GOOD = {"user_id": 1, "prompt": "p", "chosen": "2020-01-01", "rejected": "b"}


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"chosen": 5}, "row 2: chosen is a number, in the rows before it is text; make"),
        ({"chosen": True}, "row 2: chosen is true or false, in the rows before"),
        ({"rejected": ["b"]}, "row 2: rejected is a list, in the rows before it is text"),
        ({"chosen": {"a": 1}}, "row 2: chosen is an object, in the rows before it is text"),
        ({"prompt": CHATS[0]}, "row 2: prompt is a list, in the rows before it is text"),
        ({"user_id": "x"}, "row 2: user_id is text, in the rows before it is a number"),
        ({"chosen": "\ud800"}, "row 2: chosen holds half a surrogate pair"),
        ({"chosen": None}, "row 2: chosen is null; fill it in"),
    ],
)
def test_a_row_of_another_type_among_json_lines_is_not_made_text(tmp_path, letters, second, message):
    path = tmp_path / "c.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in (GOOD, {**GOOD, **second})))
    with pytest.raises(InputError, match=f"c.jsonl: {message}"):
        read(path, encoder=letters)


def test_dates_in_json_lines_stay_text_and_ids_may_be_numbers(tmp_path, letters):
    path = tmp_path / "c.jsonl"
    path.write_text(json.dumps(GOOD) + "\n\n" + json.dumps({**GOOD, "user_id": 2, "label": 0.5}) + "\n")
    with pytest.raises(InputError, match="row 1: label is null"):
        read(path, encoder=letters)
    path.write_text(json.dumps({**GOOD, "label": 1}) + "\r\n" + json.dumps({**GOOD, "user_id": 2, "label": 0.5}))
    sides = facts(read(path, encoder=letters))
    assert sides == [("1", "p", {"2020-01-01": 1, "b": 0}, 1), ("2", "p", {"2020-01-01": 0.5, "b": 0.5}, 1)]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.jsonl", b'{"a": 1}\n{"a":\n', "row 2: the line is no JSON .*; write one object a line"),
        ("c.jsonl", b'{"prompt": "\xe9"}\n', "row 1: the line is not UTF-8; write"),
        ("c.jsonl", b'[{"a": 1}]', "row 1: the line is a list; write one object a line"),
        ("c.jsonl", b"", "has no rows; give"),
        ("c.jsonl.gz", b"\x1f\x8b\x08\x00", r"cannot be read \(.*; write the file again"),
        ("c.csv", b"", "has no rows; give"),
        ("c.csv", b"user_id,prompt,chosen,rejected\n", "has no rows; give"),
        ("c.csv", b"user_id,prompt,chosen,rejected\nu,p,,a\n", "row 1: chosen is null; fill"),
        ("c.csv", b"user_id,prompt,chosen,rejected,label\nu,p,b,a,x\n", "row 1: label is no number; give"),
        ("c.csv", b"user_id,prompt\nu,\xe9,c\n", r"cannot be read \(.*; write the file again"),
        ("c.parquet", b"PAR1", r"cannot be read \(.*; write the file again"),
        ("c.xlsx", b"", "the format .xlsx is unknown; give .parquet, .jsonl, .csv"),
    ],
)
def test_bad_files(tmp_path, letters, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}:? {message}") as caught:
        read(tmp_path / name, encoder=letters)
    assert "\n" not in str(caught.value)


def test_sources_that_are_none(tmp_path, letters):
    with pytest.raises(InputError, match="absent.csv does not exist; give the path of the comparisons"):
        read(tmp_path / "absent.csv", encoder=letters)
    with pytest.raises(InputError, match="is a folder without meta.json, so no store; give a file"):
        read(tmp_path, encoder=letters)
    with pytest.raises(InputError, match="comparisons of type dict cannot be read; give a file"):
        read(ROWS, encoder=letters)
    with pytest.raises(InputError, match="comparisons is a DatasetDict; give one Dataset"):
        read(datasets.DatasetDict({"train": datasets.Dataset.from_dict(ROWS)}), encoder=letters)
    with pytest.raises(InputError, match="the lazy frame cannot be collected"):
        read(pl.LazyFrame(ROWS).select("absent"), encoder=letters)
    with pytest.raises(InputError, match="row 2: chosen is a number, in the rows before it is text"):
        read(pd.DataFrame({**ROWS, "chosen": ["a", 5, "b", "c"]}), encoder=letters)
    with pytest.raises(InputError, match="row 2: chosen is a list, in the rows before it is text"):
        objects = pl.Series("chosen", ["a", ["x"], "b", "c"], dtype=pl.Object)
        read(pl.DataFrame(ROWS).with_columns(objects), encoder=letters)


@pytest.mark.parametrize(
    ("users", "message"),
    [
        ({"user_id": ["ann", "cyd", "ann"]}, "^users: row 3: user_id 'ann' is there twice; keep one row a user"),
        ({"user_id": ["ann", "cyd"]}, "^comparisons: row 2: user 'bob' is not in users; add every user"),
        ({"user_id": ["ann"]}, r"row 2: user 'bob' is not in users, like 1 others \(2 rows in all\); add"),
        ({"user_id": ["ann", None]}, "^users: row 2: user_id is null"),
        ({"id": ["ann"]}, "^users: column user_id is missing, the columns are id; add or rename it"),
    ],
)
def test_bad_users(letters, users, message):
    with pytest.raises(InputError, match=message):
        read(pl.DataFrame(ROWS), users=pl.DataFrame(users), encoder=letters)


def test_arguments_that_contradict(letters, tmp_path):
    frame = pl.DataFrame(ROWS)
    with pytest.raises(InputError, match="repeats='no' is unknown; choose 'drop' or 'keep'"):
        read(frame, encoder=letters, repeats="no")
    with pytest.raises(InputError, match="strength_as='x' is unknown; choose 'weight' or 'label'"):
        read(frame, encoder=letters, strength_as="x")
    with pytest.raises(InputError, match="prompt_embeddings go with ready-made embeddings; for texts"):
        read(frame, prompt_embeddings=np.ones((2, 2)))
    with pytest.raises(InputError, match="ready-made embeddings need no encoder"):
        read(frame, embeddings=np.ones((2, 2)), encoder=letters)
    store = read(frame, encoder=letters).save(tmp_path / "store")
    assert facts(read(store)) == EXPECTED
    with pytest.raises(InputError, match="is a store, with its own users and embeddings; give nothing else"):
        read(store, encoder=letters)


def test_an_encoder_that_breaks_its_word_is_caught(letters):
    class Bad(type(letters)):
        def encode(self, prompts, completions, progress=False):
            return self.answer

    bad = Bad()
    bad.answer = np.ones((3, 27))
    with pytest.raises(InputError, match=r"embeddings of shape \(3, 27\) for 5 texts, not \(5, 27\)"):
        read(pl.DataFrame(ROWS), encoder=bad)
    bad.answer = np.where(np.arange(5)[:, None] == 3, np.nan, np.ones((5, 27)))
    with pytest.raises(InputError, match="NaN or infinite values for text 3"):
        read(pl.DataFrame(ROWS), encoder=bad)


# ready-made embeddings

RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal((5, 3)).astype(np.float32)
NUMBERS = {"user_id": ["ann", "bob", "ann"], "chosen": [0, 1, 4], "rejected": [1, 3, 3]}


@pytest.mark.parametrize("form", ["array", "float64", "npy", "safetensors", "csv"])
def test_ready_made_embeddings(tmp_path, form):
    frame, embeddings = pl.DataFrame(NUMBERS), VECTORS
    if form == "float64":
        embeddings = VECTORS.astype(np.float64)
    if form == "npy":
        embeddings = tmp_path / "e.npy"
        np.save(embeddings, VECTORS)
    if form == "safetensors":
        embeddings = str(tmp_path / "e.safetensors")
        save_file({"embeddings": VECTORS, "other": VECTORS}, embeddings)
    if form == "csv":
        frame.write_csv(tmp_path / "c.csv")
        frame = tmp_path / "c.csv"
    data = read(frame, embeddings=embeddings)
    assert data.items.dtype == np.float32
    assert (data.items == VECTORS).all()
    assert (form in ("array", "csv")) == np.shares_memory(data.items, VECTORS)
    assert data.item_keys.tolist() == mix(np.arange(5)).tolist()
    assert (data.item_keys[data.first] < data.item_keys[data.second]).all()
    chosen = np.where(data.label == 1, data.first, data.second)
    rejected = np.where(data.label == 1, data.second, data.first)
    assert (chosen.tolist(), rejected.tolist()) == (NUMBERS["chosen"], NUMBERS["rejected"])
    assert data.texts is data.encoder is data.prompts is None
    assert len(data.prompt_keys) == 1


def test_prompts_of_ready_made_embeddings():
    frame = pl.DataFrame({**NUMBERS, "rejected": [1, 0, 3], "prompt": ["p", "p", "q"]})
    data = read(frame, embeddings=VECTORS)
    assert data.prompt_keys[data.prompt[data.first]].tolist() == text_keys(["p", "p", "q"]).tolist()
    rows = read(frame.with_columns(prompt=pl.Series([1, 1, 0])), embeddings=VECTORS, prompt_embeddings=VECTORS[:2])
    assert rows.prompt[rows.first].tolist() == [1, 1, 0]
    assert (rows.prompts == VECTORS[:2]).all()


@pytest.mark.parametrize(
    ("frame", "embeddings", "message"),
    [
        (ROWS, VECTORS, "chosen is text, but with ready-made embeddings it is the row number .*name an encoder"),
        (
            {**NUMBERS, "chosen": [0, 5, 4]},
            VECTORS,
            r"row 2: chosen is 5, but embeddings have 5 rows \(0 to 4\); .*length",
        ),
        ({**NUMBERS, "rejected": [1, 2, -1]}, VECTORS, "row 3: rejected is -1, but embeddings have 5 rows"),
        ({**NUMBERS, "rejected": [1, 1, 3]}, VECTORS, "row 2: chosen and rejected are the same"),
        ({**NUMBERS, "chosen": [0.0, 1.0, 2.0]}, VECTORS, r"chosen is a number \(Float64\), but .* row number"),
        ({**NUMBERS, "prompt": ["p", "p", "q"]}, VECTORS, "row 2: an item of this row is also under another prompt; "),
        (NUMBERS, VECTORS[0], r"embeddings: embeddings of shape \(3,\) are no matrix"),
        (NUMBERS, VECTORS[:, :0], r"embeddings of shape \(5, 0\) are no matrix"),
        (NUMBERS, VECTORS.astype(int), "embeddings of type int64 are no floats"),
        (NUMBERS, np.full((5, 3), 1e300), r"embedding 0 \(from 0\) holds NaN or infinite values"),
        (NUMBERS, np.where(np.eye(5, 3) * [0, 0, 1] > 0, np.nan, VECTORS), r"embedding 2 \(from 0\) holds NaN"),
    ],
)
def test_bad_ready_made_embeddings(frame, embeddings, message):
    with pytest.raises(InputError, match=message):
        read(pl.DataFrame(frame), embeddings=embeddings)


def test_prompt_embeddings_need_row_numbers_of_one_prompt_an_item():
    frame = pl.DataFrame({**NUMBERS, "prompt": [0, 0, 2]})
    with pytest.raises(InputError, match=r"row 3: prompt is 2, but prompt_embeddings have 2 rows \(0 to 1\)"):
        read(frame, embeddings=VECTORS, prompt_embeddings=VECTORS[:2])
    with pytest.raises(InputError, match="row 2: an item of this row is also under another prompt"):
        read(frame, embeddings=VECTORS, prompt_embeddings=VECTORS[:3])
    with pytest.raises(InputError, match="column prompt is missing"):
        read(frame.drop("prompt"), embeddings=VECTORS, prompt_embeddings=VECTORS[:3])


def test_bad_embedding_files(tmp_path):
    frame = pl.DataFrame(NUMBERS)
    whole = tmp_path / "e.npy"
    np.save(whole, VECTORS)
    (tmp_path / "cut.npy").write_bytes(whole.read_bytes()[:-4])
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    save_file({"x": VECTORS}, tmp_path / "x.safetensors")
    save_file({"embeddings": VECTORS}, tmp_path / "e.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "e.safetensors").read_bytes()[:-1])
    (tmp_path / "no.safetensors").write_bytes(b"nonsense" * 9)
    for name, message in {
        "cut.npy": "cannot be read",
        "objects.npy": "cannot be read",
        "absent.npy": "does not exist",
        "x.safetensors": "has the tensors x; name the one to use `embeddings`",
        "cut.safetensors": "is truncated after .* bytes",
        "no.safetensors": "is no safetensors file",
        "absent.safetensors": "is missing",
        "e.bin": "embeddings in .bin are unknown; give .npy or .safetensors",
    }.items():
        with pytest.raises(InputError, match=message):
            read(frame, embeddings=tmp_path / name)


# other uses


def test_new_comparisons_with_an_encoder_that_is_fitted_already():
    spec = LsaSpec(dim=2, min_df=1, max_ngram=1)
    data = read(pl.DataFrame(ROWS), encoder=spec)
    new = read(pl.DataFrame({k: v[:1] for k, v in ROWS.items()}), encoder=data.encoder)
    assert new.encoder is data.encoder
    rows = np.searchsorted(data.item_keys, new.item_keys)
    assert np.allclose(new.items, data.items[rows], atol=1e-6)


def test_candidates(letters):
    rows = {"user_id": [3, 1, 3], "prompt": [CHATS[0]] * 3, "completion": ["mint", "green", "green"]}
    candidates = read_candidates(pl.DataFrame(rows))
    assert candidates.user_ids == ["3", "1", "3"]
    assert candidates.items.texts["completion"].gather(candidates.item).to_list() == rows["completion"]
    vectors = candidates.items.embed(letters)
    assert vectors.shape == (2, 27)
    assert Counter(text for _, text in letters.seen) == {"green": 1, "mint": 1}
    assert letters.seen[0][0] == CHATS[0]
    assert candidates.items.embed_prompts(letters).shape == (1, 27)
    with pytest.raises(InputError, match="^candidates: row 2: completion is empty"):
        read_candidates(pl.DataFrame({**rows, "completion": ["a", "", "b"]}))
    with pytest.raises(InputError, match="^candidates: column completion is missing"):
        read_candidates(pl.DataFrame(rows).drop("completion"))


def test_polis_from_end_to_end(tmp_path, real_data):
    folder = real_data("polis")
    spec = LsaSpec(dim=8, max_ngram=1)
    data = read(folder / "comparisons.parquet", users=folder / "users.parquet", encoder=spec)
    frame = pl.read_parquet(folder / "comparisons.parquet")
    assert (len(data), data.users.height, len(data.prompt_keys)) == (frame.height, 3242, 13)
    pairs = pl.concat([frame.select("prompt", completion=side) for side in ("chosen", "rejected")])
    assert len(data.items) == pairs.n_unique()
    winner = np.where(data.label == 1, data.first, data.second)
    assert data.texts["completion"].gather(winner).equals(frame["chosen"], check_names=False)
    assert abs(data.label.mean() - 0.5) < 0.1
    data.save(tmp_path / "polis")
    again = Comparisons.load(tmp_path / "polis")
    assert (again.items == data.items).all()
    train, test = again.split(by="item", seed=1)
    users = np.concatenate([train.user, train.user]) * len(data.items)
    trained = set((users + np.concatenate([train.first, train.second])).tolist())
    for side in (test.first, test.second):
        assert trained.isdisjoint((test.user * len(data.items) + side).tolist())
