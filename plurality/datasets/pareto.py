"""PARETO: a sample of the United States rates answers of language models to political questions, four answers a person.

Tables of ratings and people, and a file of answers a model. Source: the repository's README, tables and analysis code.
"""

import json
from pathlib import Path
from typing import Any, Literal, get_args

import polars as pl

from plurality.datasets._tools.about import folder_of, open_table
from plurality.datasets._tools.conversion import one_of
from plurality.datasets._tools.frames import About, Checked, Frames, sieve, some
from plurality.datasets._tools.ratings import RatingWeights, Ties, rated_pairs
from plurality.datasets._tools.schema import ID, NUMBER, TEXT, raise_at_first
from plurality.errors import InputError

ABOUT = About(
    hub=None,
    licence="not stated in the repository (HumanCompatibleAI/PARETO)",
    files=("survey_data/likert-responses.csv", "survey_data/participant_demographics.csv", "stimuli_json/*.json"),
    checked=Checked.SCHEMA,
)
Asked = Literal["likert_1", "likert_2", "likert_3", "likert_4", "likert_5", "trust_1", "trust_2"]

PROMPT = "Which of these answers to a political question do you approve of more?"
MAKERS = {"claude": "anthropic", "gemini": "gemini", "grok": "grok", "llama": "llama", "gpt": "openai"}
STANCES = {"default": "default", "for": "support", "against": "oppose", "chunked": "balanced"}
ANSWERS = ("Strongly Disagree", "Disagree", "Neither Agree or Disagree", "Agree", "Strongly Agree")
AGAINST = ("likert_3",)  # asks whether an answer is biased: more is worse
RATINGS = {"respondent_id": ID, "question_id": ID, "model": TEXT, "model_stance": TEXT, "likert": TEXT}
RATINGS |= {"user_answer": TEXT}
STANCE = {"issue": TEXT, "user_stance_side": TEXT}
PEOPLE = {
    "Age": NUMBER, "Sex": TEXT, "Ethnicity simplified": TEXT, "Political spectrum (us)": TEXT,
    "Student status": TEXT, "Employment status": TEXT,
}  # fmt: skip
NAMES = ("age", "sex", "ethnicity", "politics", "student", "employment")
EXPIRED = ("DATA_EXPIRED", "CONSENT_REVOKED")


def frames(
    source: str | Path,
    *,
    asked: Asked = "likert_2",
    ties: Ties = "drop",
    weights: RatingWeights = "rating",
) -> Frames:
    """The answer that a person rates higher is preferred; `strength` is the gap over the 4 steps up to agreement.

    `asked` is the statement that was rated: likert_2 is "I approve of this AI response." (likert_questions.csv has all;
    likert_3, which says that an answer is biased, counts the other way). An item is a question with an answer to it. A
    person's four answers are to different questions, so the prompt is the same for all, and items recur: split by item.
    Raises InputError for bad files.
    """
    one_of("asked", asked, get_args(Asked))
    folder = folder_of(source, ABOUT.files)
    table = open_table(folder, "likert-responses", RATINGS, optional=STANCE)
    people = open_table(folder, "participant_demographics", {"respondent_id": ID}, optional=PEOPLE)
    texts = _texts(folder)
    for column, words in (("user_answer", ANSWERS), ("model", MAKERS), ("model_stance", STANCES)):
        cause = f"{column} is none of {', '.join(words)}"
        raise_at_first(table.frame, ~pl.col(column).is_in(list(words)), table.place, cause, "correct the row")
    item = pl.format("{}/{}/{}", "model", "model_stance", "question_id")
    given = table.frame.with_columns(item_id=item).join(texts.lazy(), on="item_id", how="left", maintain_order="left")
    remedy = "give the stimuli_json folder of the same release"
    raise_at_first(given, pl.col("text").is_null(), table.place, "the answer is not in stimuli_json", remedy)
    kept, dropped = sieve(
        given,
        {
            "ratings of other statements": pl.col("likert") != asked,
            "ratings that repeat a person's earlier one": ~pl.struct(
                "respondent_id", "item_id", "likert"
            ).is_first_distinct(),
        },
    )
    score = pl.col("user_answer").replace_strict({a: float(i) for i, a in enumerate(ANSWERS)}, return_dtype=pl.Float64)
    rows = kept.select("item_id", user_id="respondent_id", score=-score if asked in AGAINST else score)
    ratings = rows.collect(engine="streaming")
    pairs, more = rated_pairs(ratings, texts, span=4.0, block=0, ties=ties, weights=weights, seed=0)
    made = pairs.with_columns(prompt=pl.lit(PROMPT)).collect().lazy()
    named = [pl.col(name).alias(short) for name, short in zip(PEOPLE, NAMES, strict=True)]
    told = [
        pl.when(~pl.col(name).is_in(EXPIRED)).then(name).alias(name) for name, kind in PEOPLE.items() if kind is TEXT
    ]
    known = people.frame.unique("respondent_id", keep="first", maintain_order=True)
    known = known.with_columns(told).select(pl.col("respondent_id").alias("user_id"), *named)
    users = made.select("user_id").unique().join(known, on="user_id", how="left").sort("user_id")
    left_out = {**table.dropped, **people.dropped, **dropped, **more}
    return some(Frames("pareto", made, users.collect(), left_out), source)


def _texts(folder: Path) -> pl.DataFrame:
    """`item_id` (model/stance/question) and `text`, the question with its answer, of all files of answers there."""
    files = {
        (model, stance): f"{maker}_{word}" if maker == "openai" else maker
        for model, maker in MAKERS.items()
        for stance, word in STANCES.items()
        if maker == "openai" or stance == "default"
    }
    found = {key: path for key, name in files.items() for path in sorted(folder.rglob(f"stimuli_json/{name}.json"))}
    if not found:
        raise InputError(f"{folder} holds no stimuli_json/*.json; give the folder of the repository")
    rows = [
        (f"{model}/{stance}/{question}", f"Question: {shown['question']}\n\nAnswer: {shown['answer']}")
        for (model, stance), path in found.items()
        for question, shown in _stimuli(path)
    ]
    return pl.DataFrame(rows, schema=["item_id", "text"], orient="row").unique("item_id", keep="first")


def _stimuli(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """The question ids of a file and what was shown for each."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        shown = [(question, entry) for question, entries in table.items() for entry in entries[:1]]
        if all(isinstance(entry["question"], str) and isinstance(entry["answer"], str) for _, entry in shown):
            return shown
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        pass
    raise InputError(f"{path} is not an object of question ids with question and answer; fetch the file again")
