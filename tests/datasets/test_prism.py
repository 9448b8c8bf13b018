"""PRISM from a small survey and table of utterances in the published format, against pairs worked out by hand."""

import json

import numpy as np
import polars as pl
import pytest

from plurality.datasets import load
from plurality.datasets.prism import frames
from plurality.errors import InputError

SIMPLE = {"self_described": "x", "categorised": "y", "simplified": "z"}
DISPLAYED = {"values": 3, "creativity": 1, "fluency": 2}  # where a slider stood on the page


def person(user_id, **changed):
    """A row of the survey."""
    return {
        "user_id": user_id, "survey_only": False, "num_completed_conversations": 2, "consent": "Yes",
        "lm_familiarity": "Very familiar", "lm_frequency_use": "Once per month", "lm_usecases": {"other_text": None},
        "stated_prefs": {"values": 54, "creativity": 70, "fluency": 100, "factuality": 90, "diversity": 51,
                         "safety": 20, "personalisation": 49, "helpfulness": 91, "other": None},
        "order_stated_prefs": DISPLAYED, "self_description": "I …", "system_string": "You …",
        "age": "18-24 years old", "education": "University Bachelors Degree", "employment_status": "Working",
        "marital_status": "Never been married", "english_proficiency": "Fluent", "gender": "Female",
        "religion": SIMPLE | {"simplified": "No Affiliation"}, "ethnicity": SIMPLE | {"simplified": "White"},
        "location": {"birth_country": "Kenya", "birth_region": "Africa", "reside_country": "Italy",
                     "reside_region": "Europe", "same_birth_reside_country": "No", "special_region": None},
        "study_id": "s", "study_locale": "uk", "generated_datetime": "2023-11-22 16:42:29",
        "included_in_UK_REP": False, "included_in_US_REP": False, "included_in_balanced_subset": True,
    } | changed  # fmt: skip


SURVEY = [
    person("user0", included_in_UK_REP=True),
    person("user1", age=None, gender="Prefer not to say", religion=None, included_in_US_REP=True),
    person("user2", survey_only=True),
]
# (conversation, user, turn, prompt, [(reply, score, chosen)])
TURNS = [
    (
        "c0",
        "user0",
        0,
        "Is tea good?",
        [("yes", 90, True), ("no", 10, False), ("EMPTY STRING", 1, False), ("maybe", 60, False)],
    ),
    ("c0", "user0", 1, "And très chaud 茶?", [("oui", 70, False), ("non", 100, True)]),
    ("c1", "user1", 0, "God?", [("a", 50, True), ("a", 50, True), ("b", 50, False)]),  # one text twice, both flagged
    ("c2", "user1", 0, "War?", [("x", 30, False), ("y", 80, False)]),  # nothing chosen
    ("c2", "user1", 1, "Why?", [("p", 20, False), ("q", 40, True)]),
]


def utterances():
    rows, number = [], 0
    for interaction, (conversation, user, turn, prompt, replies) in enumerate(TURNS):
        for place, (reply, score, chosen) in enumerate(replies):
            rows.append(
                {
                    "utterance_id": f"ut{number}", "interaction_id": f"int{interaction}",
                    "conversation_id": conversation, "user_id": user, "turn": turn, "within_turn_id": place,
                    "included_in_balanced_subset": conversation != "c0", "conversation_type": "unguided",
                    "user_prompt": prompt, "model_response": reply, "model_name": f"model {place}",
                    "model_provider": "openai", "score": score, "if_chosen": chosen,
                }
            )  # fmt: skip
            number += 1
    return rows


def write(folder, survey=SURVEY, rows=None):
    for name, table in (("survey", survey), ("utterances", utterances() if rows is None else rows)):
        lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in table)
        (folder / f"{name}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path)


def told(made):
    """(user, what was last asked, chosen, rejected) of every comparison, in order."""
    last = pl.col("prompt").list.last().struct.field("content")
    return sorted(made.collect().select("user_id", last, "chosen", "rejected").rows())


CHOSEN = [
    ("user0", "And très chaud 茶?", "non", "oui"),
    ("user0", "Is tea good?", "yes", "maybe"),
    ("user0", "Is tea good?", "yes", "no"),
    ("user1", "God?", "a", "b"),
    ("user1", "God?", "a", "b"),
]


def test_chosen_with_the_rest(folder):
    made = frames(folder)
    assert told(made) == CHOSEN
    assert made.dropped == {"empty replies": 1, "pairs after a turn that is missing or has no choice": 1}
    rows = made.collect()
    sums = rows.group_by("interaction_id").agg(pl.col("weight").sum()).sort("interaction_id")["weight"]
    assert sums.to_list() == pytest.approx([4 / 3, 1, 1])  # one of three, one of two, one of two that is there twice
    first = rows.filter(pl.col("interaction_id") == "int0").sort("rejected")
    assert first["group_id"].unique().to_list() == ["c0"]
    assert first["rejected_model_name"].to_list() == ["model 3", "model 1"]
    assert first["weight"].to_list() == pytest.approx([2 / 3, 2 / 3])
    assert first["objective"].to_list() == ["unguided"] * 2


def test_the_prompt_is_the_conversation_as_it_went_on(folder):
    later = frames(folder).collect().filter(pl.col("interaction_id") == "int1")
    assert later["prompt"].to_list() == [
        [
            {"role": "user", "content": "Is tea good?"},
            {"role": "assistant", "content": "yes"},
            {"role": "user", "content": "And très chaud 茶?"},
        ]
    ]


def test_score_gaps_by_hand(folder):
    made = frames(folder, pairs="score_gap", standardise=False)
    assert made.dropped["ties"] == 2  # a and b both have 50
    assert made.dropped["pairs of equal texts"] == 1
    rows = made.collect()
    found = {(c, r): (gap, s) for c, r, gap, s in rows.select("chosen", "rejected", "gap", "strength").iter_rows()}
    assert found == {
        ("yes", "no"): (80, pytest.approx(80 / 99)),
        ("yes", "maybe"): (30, pytest.approx(30 / 99)),
        ("maybe", "no"): (50, pytest.approx(50 / 99)),
        ("non", "oui"): (30, pytest.approx(30 / 99)),
        ("y", "x"): (50, pytest.approx(50 / 99)),
    }
    kept = frames(folder, pairs="score_gap", standardise=False, min_gap=40, ties="keep").collect()
    assert sorted(kept.filter(pl.col("label") == 1)["gap"]) == [50, 50, 80]
    assert sorted(kept.filter(pl.col("label") == 0.5)["gap"]) == [0, 0, 30, 30]


def test_scores_are_standardised_within_the_person(folder):
    rows = frames(folder, pairs="score_gap").collect()
    scores = np.array([90, 10, 60, 70, 100])  # those of user0 that are no empty reply
    gap = rows.filter((pl.col("chosen") == "yes") & (pl.col("rejected") == "no"))
    assert gap["gap"].item() == pytest.approx(80 / scores.std())
    assert gap["strength"].item() == pytest.approx(80 / scores.std() / 4)


@pytest.mark.parametrize(
    ("subset", "users", "count"), [("UK", ["user0"], 3), ("US", ["user1"], 2), ("balanced", ["user1"], 2)]
)
def test_subsets(folder, subset, users, count):
    made = frames(folder, subset=subset)
    assert (made.users["user_id"].to_list(), made.collect().height) == (users, count)


def test_people_as_the_codebook_simplifies_them(folder):
    users = frames(folder).users
    assert users["user_id"].to_list() == ["user0", "user1"]  # user2 only filled in the survey
    row = users.row(0, named=True)
    expected = {"gender": "Female", "religion": "No Affiliation", "ethnicity": "White", "birth_region": "Africa"}
    assert row.items() >= (expected | {"reside_country": "Italy", "stated_fluency": 100.0}).items()
    assert users["age"].to_list() == ["18-24 years old", None]
    assert users["religion"].to_list() == ["No Affiliation", None]
    assert not [name for name in users.columns if "order" in name]  # display order is no ranking


def test_to_comparisons(folder, letters, facts):
    data = load("prism", folder, encoder=letters)
    found = [(user, frozenset(sides.items()), weight) for user, _, sides, weight in facts(data)]
    expected = [
        (user, frozenset({(chosen, 1), (rejected, 0)}), w)
        for (user, _, chosen, rejected), w in zip(CHOSEN, [1, 2 / 3, 2 / 3, 0.5, 0.5], strict=True)
    ]
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert data.objectives == ("unguided",)
    assert len(set(data.group.tolist())) == 2


def test_a_list_in_place_of_a_text_is_an_error(tmp_path):
    rows = utterances()
    rows[1]["model_response"] = ["no", "never"]
    with pytest.raises(InputError, match=r"utterances\.jsonl: row 2: model_response is \['no', 'never'\] where text"):
        frames(write(tmp_path, rows=rows))


def test_what_is_missing_or_unknown(folder, tmp_path):
    with pytest.raises(InputError, match="pairs='all' is unknown; choose chosen_vs_rest, score_gap"):
        frames(folder, pairs="all")
    with pytest.raises(InputError, match='are of scores; give them with pairs="score_gap"'):
        frames(folder, min_gap=3)
    write(folder, survey=[person("user9", included_in_UK_REP=True)])
    with pytest.raises(InputError, match="no comparison is left for prism"):
        frames(folder, subset="UK")
    (folder / "survey.jsonl").unlink()
    with pytest.raises(InputError, match=r"holds no survey .* but utterances\.jsonl"):
        frames(folder)
