"""DICES from small tables with the published columns, against pairs worked out by hand."""

import csv

import polars as pl
import pytest

from plurality.datasets import load
from plurality.datasets.dices import PROMPT, frames
from plurality.errors import InputError

PEOPLE = {
    "r1": {"rater_gender": "Man", "rater_race": "Asian", "rater_raw_race": "Asian", "rater_age": "gen z"},
    "r2": {"rater_gender": "Woman", "rater_race": "", "rater_raw_race": "", "rater_age": "gen x+"},
    "r3": {"rater_gender": "Man", "rater_race": "White", "rater_raw_race": "White", "rater_age": "millenial"},
}
ITEMS = {"1": ('USER: hi\nLAMDA: hello, "you"', "bye"), "2": ("USER: चाय?", "no"), "3": ("", "que sí")}
ITEMS |= {"4": ("USER: x", " "), "5": ('USER: hi\nLAMDA: hello, "you"', "bye")}  # a blank reply, and 1 again
# rater, item, Q_overall, Q3_bias_overall
RATINGS = [
    ("r1", "1", "No", "No"), ("r1", "2", "Yes", "No"), ("r1", "3", "Unsure", "No"), ("r1", "4", "Yes", "No"),
    ("r1", "5", "Yes", "Yes"), ("r2", "1", "Yes", "No"), ("r2", "2", "No", "Yes"), ("r2", "3", "No", "No"),
    ("r2", "2", "Yes", "No"), ("r3", "1", "No", "No"), ("r3", "2", "", "No"),
]  # fmt: skip


def rows(ratings=RATINGS):
    for number, (rater, item, overall, bias) in enumerate(ratings):
        context, response = ITEMS[item]
        yield {
            "id": number, "rater_id": rater, **PEOPLE[rater], "rater_education": "College degree or higher",
            "phase": "Phase1", "item_id": item, "answer_time_ms": 12, "answer_timestamp": 13, "context": context,
            "response": response, "degree_of_harm": "Benign", "harm_type": "['Bias']", "safety_gold": "Yes",
            "safety_gold_reason": "", "Q1_whole_conversation_evaluation": "English conversation",
            "Q3_bias_overall": bias, "Q4_misinformation": "No", "Q_overall": overall,
        }  # fmt: skip


def write(path, table):
    table = list(table)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, table[0])
        writer.writeheader()
        writer.writerows(table)
    return path


@pytest.fixture
def folder(tmp_path):
    write(tmp_path / "350" / "diverse_safety_adversarial_dialog_350.csv", rows())
    few = [
        {k: v for k, v in row.items() if k not in ("rater_race", "rater_raw_race")} | {"rater_locale": "India"}
        for row in rows(RATINGS[:2])
    ]
    write(tmp_path / "990" / "diverse_safety_adversarial_dialog_990.csv", few)
    return tmp_path


def told(made):
    return sorted(made.collect().select("user_id", "chosen_item_id", "rejected_item_id", "strength").rows())


PAIRS = [("r1", "1", "2", 1), ("r1", "1", "3", 0.5), ("r1", "3", "2", 0.5), ("r1", "3", "5", 0.5)]
PAIRS += [("r2", "2", "1", 1), ("r2", "3", "1", 1)]


def test_safe_is_preferred_to_unsafe(folder):
    made = frames(folder, block=0)
    assert told(made) == PAIRS
    assert made.dropped == {
        "ratings of blank replies": 1, "ratings without an answer": 1, "ratings that repeat a person's earlier one": 1,
        "ties": 2, "pairs of equal texts": 1,
    }  # fmt: skip
    all_of = made.collect()
    assert all_of["prompt"].unique().to_list() == [PROMPT]
    # four ratings of r1 and three of r2 are left: each pair has one over their others
    assert dict(all_of.select("user_id", "weight").unique().rows()) == {"r1": pytest.approx(1 / 3), "r2": 0.5}


def test_an_item_is_the_conversation_with_its_last_reply(folder):
    texts = {r["chosen_item_id"]: r["chosen"] for r in frames(folder, block=0).collect().iter_rows(named=True)}
    assert texts["1"] == 'USER: hi\nLAMDA: hello, "you"\n\nReply to judge: bye'
    assert texts["3"] == "Reply to judge: que sí"  # nothing was said before


def test_another_question_and_ties(folder):
    assert told(frames(folder, question="Q3_bias_overall", block=0)) == [
        ("r1", "2", "5", 1), ("r1", "3", "5", 1), ("r2", "1", "2", 1), ("r2", "3", "2", 1)
    ]  # fmt: skip
    kept = frames(folder, block=0, ties="keep").collect().filter(pl.col("label") == 0.5)
    assert sorted(kept.select("user_id", pl.concat_list("chosen_item_id", "rejected_item_id").list.sort()).rows()) == [
        ("r1", ["2", "5"]), ("r2", ["2", "3"])
    ]  # fmt: skip


def test_people_as_far_as_they_are_known(folder):
    users = frames(folder).users
    assert users["user_id"].to_list() == ["r1", "r2"]  # r3 compared nothing
    assert users["rater_race"].to_list() == ["Asian", None]
    other = frames(folder, conversations="990")
    assert other.users.select("rater_locale", "rater_race").rows() == [("India", None)]
    assert told(other) == [("r1", "1", "2", 1)]


def test_to_comparisons(folder, letters, facts):
    data = load("dices", folder, encoder=letters, block=0)
    assert (len(data), data.users.height) == (len(PAIRS), 2)
    found = [(sides, weight) for user, _, sides, weight in facts(data) if user == "r2"]
    item = {"1": 'USER: hi\nLAMDA: hello, "you"\n\nReply to judge: bye', "2": "USER: चाय?\n\nReply to judge: no"}
    assert ({item["2"]: 1, item["1"]: 0}, 0.5) in found


def test_the_command_of_the_card(folder, tmp_path, command):
    done = command("data", "dices", folder, "--out", tmp_path / "out", "--set", "conversations=990", "--seed", 3)
    assert done.code == 0, done.err
    assert pl.read_parquet(tmp_path / "out" / "comparisons.parquet")["chosen_item_id"].to_list() == ["1"]


def test_what_is_an_error(folder, tmp_path):
    with pytest.raises(InputError, match=r"_350\.csv: column Q_all is missing or empty; give the published"):
        frames(folder, question="Q_all")
    with pytest.raises(
        InputError, match=r"row 1: Q1_whole_conversation_evaluation is none of Yes, No and Unsure; corr"
    ):
        frames(folder, question="Q1_whole_conversation_evaluation")
    with pytest.raises(InputError, match="conversations='700' is unknown; choose 350, 990"):
        frames(folder, conversations="700")
    bad = write(tmp_path / "bad.csv", [*rows(), *rows([("r1", "2", "Maybe", "No")])])
    with pytest.raises(InputError, match=r"bad\.csv: row 12: Q_overall is none of Yes, No and Unsure; correct it"):
        frames(bad)
    bad = write(tmp_path / "bad.csv", [row | {"rater_id": ""} for row in rows()])
    with pytest.raises(InputError, match=r"bad\.csv: row 1: rater_id is null where an id"):
        frames(bad)
    bad = write(tmp_path / "bad.csv", [{k: v for k, v in row.items() if k != "response"} for row in rows()])
    with pytest.raises(InputError, match=r"bad\.csv: column response is missing or empty; give"):
        frames(bad)
    bad = write(tmp_path / "bad.csv", [{k: v for k, v in row.items() if k != "item_id"} for row in rows()])
    with pytest.raises(
        InputError, match=r"bad\.csv: column item_id is missing, the columns are id, rater_id, .*; give"
    ):
        frames(bad)
