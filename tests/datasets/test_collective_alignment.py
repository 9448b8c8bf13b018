"""Collective Alignment from small files in the published format, against pairs worked out by hand."""

import json

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plurality.datasets import load
from plurality.datasets.collective_alignment import frames
from plurality.errors import InputError


def reply(letter, text):
    return {"response_index": letter, "messages": [{"role": "assistant", "content": text}]}


def assessment(annotator, world, personal=None):
    """An assessment; a question that was not asked is an empty list."""
    blocks = {
        "personal": [{"ranking": personal, "rationale": "me"}] if personal else [],
        "world": [{"ranking": world, "rationale": "all"}] if world else [],
        "unacceptable": [{"rating": ["D ..."], "rationale": "rude"}] if personal else [],
    }
    return {
        "annotator_id": annotator, "ranking_blocks": blocks, "importance": "Very important",
        "representativeness": "Not at all", "subjectivity": "Value-dependent",
    }  # fmt: skip


def row(prompt_id, prompt, replies, *assessments):
    return {
        "prompt_id": prompt_id,
        "prompt": {"id": prompt_id, "messages": [{"role": "user", "content": prompt}]},
        "responses": [reply(letter, text) for letter, text in zip("ABCD", replies, strict=False)],
        "metadata": {"assessments": list(assessments)},
    }


ROWS = [
    row("p1", "茶?", ["a", "b", "c", "d"], assessment("ann", "B>A=C=D", "D>B > A >C"), assessment("bob", "A=B=C=D")),
    row("p2", "war?", ["x", "y", "x", ""], assessment("bob", "C>B>A>D")),  # a text twice, and an empty one
    row("p3", "sea?", ["s", "t"], assessment("cyd", "A>B"), assessment("cyd", "B>A")),  # asked twice
    row("p4", "none?", ["u", "v"], assessment("dan", None), assessment("dan", " ")),
]
PEOPLE = [
    {"annotator_id": "ann", "demographics": {"age": "25-34", "country": "Kenya", "uses": ["work", "fun"]},
     "assessments": []},
    {"annotator_id": "bob", "demographics": {"age": "55+", "country": None, "uses": []}, "assessments": []},
    {"annotator_id": "zoe", "demographics": {"age": "18-24", "country": "Peru", "uses": None}, "assessments": []},
]  # fmt: skip


def write(folder, rows=ROWS, people=PEOPLE):
    for name, table in (("comparisons", rows), ("annotators", people)):
        lines = (json.dumps(line, ensure_ascii=False) + "\n" for line in table)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path)


def told(made):
    return sorted(made.collect().select("user_id", "objective", "group_id", "chosen", "rejected", "label").rows())


WORLD = [("ann", "world", "p1", "b", r, 1.0) for r in "acd"]
WORLD += [("bob", "world", "p2", "x", "y", 1.0), ("bob", "world", "p2", "y", "x", 1.0)]  # C>B and B>A, A and C alike
WORLD += [("cyd", "world", "p3", "s", "t", 1.0), ("cyd", "world", "p3", "t", "s", 1.0)]
PERSONAL = [("ann", "personal", "p1", a, b, 1.0) for a, b in ("db", "da", "dc", "ba", "bc", "ac")]


def test_rankings_by_hand(folder):
    made = frames(folder)
    assert told(made) == sorted(PERSONAL + WORLD)
    assert made.dropped == {
        "assessments without a personal ranking": 6,
        "assessments without a world ranking": 2,
        "pairs with a blank text": 3,
        "pairs of equal texts": 1,
        "ties": 3 + 6,
    }
    weights = made.collect().group_by("assessment", "objective").agg(pl.col("weight").sum())
    # a choice of four is three pairs of 2/4, a ranking of four is six of 3/5
    assert weights["weight"].sort().to_list() == pytest.approx([1, 1, 1, 1.5, 3.6])


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.permutations("ABCD"), st.lists(st.sampled_from(">="), min_size=3, max_size=3))
def test_any_ranking(tmp_path, letters, signs):
    ranking = letters[0] + "".join(map(str.__add__, signs, letters[1:]))
    level = {letter: signs[:i].count(">") for i, letter in enumerate(letters)}
    expected = {(a, b, 1.0) for a in level for b in level if level[a] < level[b]}
    tied = {frozenset((a, b)) for a in level for b in level if a < b and level[a] == level[b]}
    made = frames(write(tmp_path, [row("p", "?", "ABCD", assessment("ann", ranking))]), ties="keep")
    rows = made.collect().select("chosen", "rejected", "label").rows()
    assert {r for r in rows if r[2] == 1} == expected
    assert {frozenset(r[:2]) for r in rows if r[2] == 0.5} == tied
    assert len(rows) == 6


def test_targets_ties_and_weights(folder):
    assert told(frames(folder, targets="personal")) == sorted(PERSONAL)
    world = frames(folder, targets="world", ties="keep")
    assert sorted(r for r in told(world) if r[5] == 1) == sorted(WORLD)
    assert len([r for r in told(world) if r[0] == "bob" and r[2] == "p1"]) == 6  # all equal
    rows = frames(folder, targets="personal", weights="choice").collect()
    by_chosen = {c: sorted(w) for c, w in rows.group_by("chosen").agg("weight").iter_rows()}
    assert by_chosen == {"d": [1 / 9] * 3, "b": [1 / 6] * 2, "a": [1 / 3]}  # three choices, of four, three and two


def test_people(folder):
    users = frames(folder).users
    assert users.rows() == [("ann", "25-34", "Kenya", "work; fun"), ("bob", "55+", None, ""), ("cyd", None, None, None)]
    assert users.columns == ["user_id", "age", "country", "uses"]


def test_to_comparisons(folder, letters, facts):
    data = load("collective_alignment", folder, encoder=letters, targets="personal")
    found = {(u, frozenset(s.items())) for u, _, s, _ in facts(data)}
    assert found == {(u, frozenset({(c, 1), (r, 0)})) for u, _, _, c, r, _ in PERSONAL}
    assert data.objectives == ("personal",)
    assert data.users["age"].to_list() == ["25-34"]


@pytest.mark.parametrize(
    ("ranking", "message"),
    [
        ("A>>B", "row 5: ranking is 'A>>B' where a ranking such as B>A=C=D belongs"),
        ("A>E", "row 5: ranking is 'A>E' where a ranking of the responses of its row, each once"),
        ("A>B=A", "row 5: ranking is 'A>B=A' where a ranking of the responses of its row, each once"),
    ],
)
def test_rankings_that_are_none(tmp_path, ranking, message):
    bad = row("p5", "bad?", ["a", "b"], assessment("ann", "A>B"))
    bad["metadata"]["assessments"][0]["ranking_blocks"]["world"][0]["ranking"] = ranking
    with pytest.raises(InputError, match=rf"comparisons\.jsonl: {message}"):
        frames(write(tmp_path, [*ROWS, bad]))


def test_what_is_wrong_is_named(tmp_path):
    nobody = frames(write(tmp_path, [ROWS[0], row("p2", "?", ["a", "b"], assessment(None, "A>B"))]))
    assert nobody.dropped["assessments without an annotator"] == 1
    listed = row("p6", "?", ["a", ["b", "c"]], assessment("ann", "A>B"))
    with pytest.raises(
        InputError, match=r"jsonl: row 2: responses is .* where a list of an object with response_index"
    ):
        frames(write(tmp_path, [ROWS[0], listed]))
    with pytest.raises(InputError, match=r"comparisons\.jsonl: column metadata is missing, the columns are prompt"):
        frames(write(tmp_path, [{k: v for k, v in ROWS[0].items() if k != "metadata"}]))
    with pytest.raises(InputError, match="column annotator_id is missing"):
        frames(write(tmp_path, people=[{"who": "ann"}]))
