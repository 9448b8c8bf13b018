"""Community Alignment from a small CSV in the published format, against pairs worked out by hand."""

import csv

import polars as pl
import pytest

from plurality.datasets import load
from plurality.datasets.community_alignment import frames
from plurality.errors import InputError

ORDINALS = ("first", "second", "third", "fourth")
HEADER = ["conversation_id", "wave", "assigned_lang", "annotator_id"]
for ordinal in ORDINALS:
    HEADER += [f"{ordinal}_turn_prompt", *(f"{ordinal}_turn_response_{x}" for x in "abcd")]
    HEADER += [f"{ordinal}_turn_preferred_response", f"{ordinal}_turn_feedback"]
HEADER += [f"annotator_{n}" for n in ("age", "gender", "education_level", "political", "ethnicity", "country")]
HEADER += ["is_pregenerated_first_prompt", "in_balanced_subset", "in_balanced_subset_10"]


def row(conversation, annotator, *turns, lang="en", age="18-34", balanced=True):
    """A row of the CSV; a turn is (prompt, replies, preferred letter)."""
    values = dict.fromkeys(HEADER, "") | {
        "conversation_id": conversation, "wave": "1", "assigned_lang": lang, "annotator_id": annotator,
        "annotator_age": age, "annotator_gender": "female", "annotator_country": "india",
        "is_pregenerated_first_prompt": "True", "in_balanced_subset": str(balanced), "in_balanced_subset_10": "False",
    }  # fmt: skip
    for ordinal, (prompt, replies, preferred) in zip(ORDINALS, turns, strict=False):
        values[f"{ordinal}_turn_prompt"] = prompt
        values |= {f"{ordinal}_turn_response_{x}": reply for x, reply in zip("abcd", replies, strict=False)}
        values[f"{ordinal}_turn_preferred_response"] = preferred and f"response_{preferred}"
    return values


ROWS = [
    row("10", "p1", ("चाय?", ["हाँ", "no,\nnever", "c<|end_of_text|>", "d"], "c"), ("why?", ["e", "f", "g", "h"], "a")),
    row("11", "p2", ("चाय?", ["1", "2", "2", "3"], "a"), ("next?", ["i", "j", "k", "l"], "d"), age="55+"),  # 2 twice
    row("12", "p2", ("sea?", ["m", "n", "o", ""], "b"), ("so?", ["q", "r", "s", "t"], ""), ("well?", list("uvwx"), "a"),
        lang="it", age="46-54", balanced=False),  # no fourth reply; nothing preferred in the second turn
    row("13", "p3", ("lost?", ["", "y", "z", "w"], "a")),  # the preferred one is not there
]  # fmt: skip


def write(folder, rows=ROWS):
    with (folder / "community_alignment.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEADER)
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path)


def told(made):
    return sorted(made.collect().select("conversation_id", "turn", "chosen", "rejected").rows())


PAIRS = [("10", 1, "c", r) for r in ("d", "no,\nnever", "हाँ")] + [("10", 2, "e", r) for r in "fgh"]
PAIRS += [("11", 2, "l", r) for r in "ijk"] + [("12", 1, "n", r) for r in "mo"]


@pytest.mark.parametrize("name", ["full_v1.csv", "filtered_v1.csv"])
def test_other_revisions_have_other_names(tmp_path, name):
    write(tmp_path).joinpath("community_alignment.csv").rename(tmp_path / name)
    assert told(frames(tmp_path)) == sorted(PAIRS)


def test_a_row_that_lacks_its_annotator_is_left_out_and_counted(tmp_path):
    made = frames(write(tmp_path, [*ROWS, ROWS[0] | {"annotator_id": ""}]))
    assert made.dropped["rows without annotator_id"] == 1
    assert told(made) == sorted(PAIRS)


def test_the_preferred_with_the_others(folder):
    made = frames(folder)
    assert told(made) == sorted(PAIRS)
    assert made.dropped == {
        "turns without a preference": 1,
        "turns whose preferred reply is missing": 1,
        "turns with equal candidates": 1,
        "turns after one without a preference": 1,
    }
    weights = made.collect().group_by("conversation_id", "turn").agg(pl.col("weight").sum(), pl.len()).sort(pl.all())
    assert weights.rows() == [("10", 1, 1.5, 3), ("10", 2, 1.5, 3), ("11", 2, 1.5, 3), ("12", 1, 4 / 3, 2)]


def test_the_prompt_is_the_conversation_as_it_went_on(folder):
    rows = frames(folder).collect().filter(pl.col("conversation_id") == "10").sort("turn")
    user = {"role": "user", "content": "चाय?"}
    assert rows["prompt"][0].to_list() == [user]
    assert rows["prompt"][-1].to_list() == [
        user, {"role": "assistant", "content": "c"}, {"role": "user", "content": "why?"}
    ]  # fmt: skip


def test_groups(folder):
    def groups(group):
        rows = frames(folder, group=group).collect().select("conversation_id", "turn", "group_id").unique()
        return sorted(rows.rows())

    assert groups("opening") == [("10", 1, "10"), ("10", 2, "10"), ("11", 2, "10"), ("12", 1, "12")]
    assert groups("conversation") == [("10", 1, "10"), ("10", 2, "10"), ("11", 2, "11"), ("12", 1, "12")]
    assert groups("turn") == [("10", 1, "10/1"), ("10", 2, "10/2"), ("11", 2, "11/2"), ("12", 1, "12/1")]


def test_subsets_languages_and_turns(folder):
    assert {p[0] for p in told(frames(folder, subset="balanced"))} == {"10", "11"}
    assert {p[0] for p in told(frames(folder, language="it"))} == {"12"}
    assert told(frames(folder, turns="first")) == sorted(p for p in PAIRS if p[1] == 1)
    with pytest.raises(InputError, match=r"no comparison is left .*conversations outside the subset 4"):
        frames(folder, subset="balanced_10")
    with pytest.raises(InputError, match="group='user' is unknown; choose opening, conversation, turn"):
        frames(folder, group="user")


def test_contradictory_answers_become_null(folder):
    users = frames(folder).users
    assert users.select("user_id", "age", "gender", "country").rows() == [
        ("p1", "18-34", "female", "india"),
        ("p2", None, "female", "india"),
    ]
    assert users.columns == ["user_id", "age", "gender", "education_level", "political", "ethnicity", "country"]


def test_to_comparisons(folder, letters, facts):
    data = load("community_alignment", folder, encoder=letters)
    assert len(data) == len(PAIRS)
    labels = {(u, frozenset(sides.items())) for u, _, sides, _ in facts(data)}
    assert ("p1", frozenset({("e", 1), ("f", 0)})) in labels


def test_a_preference_that_is_none(tmp_path):
    bad = row("14", "p3", ("a?", ["a", "b", "c", "d"], "e"))
    with pytest.raises(InputError, match=r"\.csv: row 5: first_turn_preferred_response is none of response_a to"):
        frames(write(tmp_path, [*ROWS, bad]))
    with pytest.raises(InputError, match=r"\.csv: row 1: annotator_id is null where an id"):
        frames(write(tmp_path, [bad | {"annotator_id": ""}]))
