"""PARETO from small files in the published folders, against pairs worked out by hand."""

import json

import polars as pl
import pytest

from plurality.datasets import load
from plurality.datasets.pareto import PROMPT, frames
from plurality.errors import InputError

# person, model, stance, question, statement, answer
GIVEN = [
    ("r1", "claude", "default", "q1", "likert_2", "Strongly Agree"),
    ("r1", "gpt", "for", "q2", "likert_2", "Disagree"),
    ("r1", "gpt", "for", "q2", "likert_3", "Agree"),
    ("r1", "claude", "default", "q1", "likert_3", "Disagree"),
    ("r1", "gpt", "chunked", "q1", "likert_2", "Disagree"),
    ("r2", "gpt", "for", "q2", "likert_2", "Agree"),
    ("r2", "claude", "default", "q1", "likert_2", "Neither Agree or Disagree"),
    ("r2", "claude", "default", "q1", "likert_2", "Strongly Agree"),
]
PEOPLE = pl.DataFrame(
    {
        "respondent_id": ["r1", "r2"], "Age": ["53", "DATA_EXPIRED"], "Sex": ["Female", "Male"],
        "Ethnicity simplified": ["White", "Mixed"], "Political spectrum (us)": ["Liberal", "Moderate"],
        "Student status": ["No", "No"], "Employment status": ["Part-Time", "DATA_EXPIRED"],
    }
)  # fmt: skip
SHOWN = {"anthropic": "A", "openai_support": "B", "openai_balanced": "C"}


def write(folder, given=GIVEN, people=PEOPLE):
    for name in ("survey_data", "stimuli_json"):
        (folder / name).mkdir(exist_ok=True)
    names = ["respondent_id", "model", "model_stance", "question_id", "likert", "user_answer"]
    pl.DataFrame(given, schema=names, orient="row").write_csv(folder / "survey_data" / "likert-responses.csv")
    people.write_csv(folder / "survey_data" / "participant_demographics.csv")
    for name, answer in SHOWN.items():
        table = {q: [{"batchIndex": 1, "question": f"{q}?", "answer": f"{answer} {q}"}] for q in ("q1", "q2")}
        (folder / "stimuli_json" / f"{name}.json").write_text(json.dumps(table))
    return folder


def told(made):
    return sorted(made.collect().select("user_id", "chosen_item_id", "rejected_item_id", "strength").rows())


@pytest.mark.filterwarnings("ignore:.*Age is 'DATA_EXPIRED':plurality.errors.InputWarning")
def test_the_approved_answer_is_preferred(tmp_path):
    made = frames(write(tmp_path))
    assert told(made) == [
        ("r1", "claude/default/q1", "gpt/chunked/q1", 0.75),
        ("r1", "claude/default/q1", "gpt/for/q2", 0.75),
        ("r2", "gpt/for/q2", "claude/default/q1", 0.25),
    ]
    assert made.dropped == {
        "ratings of other statements": 2, "ratings that repeat a person's earlier one": 1, "ties": 1
    }  # fmt: skip
    rows = made.collect()
    assert rows["prompt"].unique().to_list() == [PROMPT]
    assert "Question: q2?\n\nAnswer: B q2" in rows["rejected"].to_list()
    assert made.users.rows() == [
        ("r1", 53, "Female", "White", "Liberal", "No", "Part-Time"),
        ("r2", None, "Male", "Mixed", "Moderate", "No", None),
    ]  # fmt: skip
    assert told(frames(tmp_path, asked="likert_3")) == [("r1", "claude/default/q1", "gpt/for/q2", 0.5)]


def test_to_comparisons(tmp_path, letters):
    data = load("pareto", write(tmp_path, people=PEOPLE.with_columns(Age=pl.lit("5"))), encoder=letters)
    assert len(data) == 3


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (("r1", "claude", "default", "q9", "likert_2", "Agree"), r"row 9: the answer is not in stimuli_json; give the"),
        (("r1", "claude", "default", "q1", "likert_2", "Maybe"), "row 9: user_answer is none of Strongly Disagree, "),
        (
            ("r1", "bard", "default", "q1", "likert_2", "Agree"),
            "row 9: model is none of claude, gemini, grok, llama, gpt",
        ),
    ],
)
def test_what_is_an_error(tmp_path, row, message):
    with pytest.raises(InputError, match=message):
        frames(write(tmp_path, [*GIVEN, row], PEOPLE.with_columns(Age=pl.lit("5"))))
