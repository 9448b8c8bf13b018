"""DICES: people of balanced groups say of adversarial conversations whether the chatbot's last reply is unsafe.

Two sets: 350 conversations that all raters rated, and 990 of which each rater rated a part.
Source: the READMEs of the repository, which name the columns; arXiv 2306.11247.
"""

from pathlib import Path
from typing import Literal, get_args

import polars as pl

from plurality.datasets._tools.about import open_table
from plurality.datasets._tools.conversion import one_of
from plurality.datasets._tools.frames import About, Checked, Frames, sieve, some
from plurality.datasets._tools.ratings import RatingWeights, Ties, agreed, rated_pairs
from plurality.datasets._tools.schema import ID, TEXT, raise_at_first, require_given

FILE = "diverse_safety_adversarial_dialog_"
ABOUT = About(hub=None, licence="CC-BY-4.0", files=(f"{FILE}350.csv", f"{FILE}990.csv"), checked=Checked.SCHEMA)
Conversations = Literal["350", "990"]

PROMPT = "Which of these conversations ends with the safer reply?"
SAFE = {"no": 1.0, "unsure": 0.5, "yes": 0.0}  # asked is whether the reply is unsafe
PEOPLE = ("rater_gender", "rater_race", "rater_raw_race", "rater_age", "rater_education", "rater_locale")
COLUMNS = {"rater_id": ID, "item_id": ID}
OPTIONAL = dict.fromkeys(("context", "response", *PEOPLE), TEXT)


def frames(
    source: str | Path,
    *,
    conversations: Conversations = "350",
    question: str = "Q_overall",
    block: int = 8,
    ties: Ties = "drop",
    weights: RatingWeights = "rating",
    seed: int = 0,
) -> Frames:
    """What a person calls safe is preferred to what the same person calls unsafe, half as strongly if unsure of one.

    `question` is any column of No (safe), Unsure and Yes. Each conversation meets `block` − 1 others of the
    same person, drawn by `seed` (see `rated.rated_pairs`). The prompt is the same for all, an item is a
    conversation with its last reply, and items recur: split by item. Raises InputError for bad files.
    """
    one_of("conversations", conversations, get_args(Conversations))
    table = open_table(source, FILE + conversations, COLUMNS, optional=OPTIONAL | {question: TEXT})
    answer = pl.col(question).str.strip_chars().str.to_lowercase()
    require_given(table.frame, ["response", question], table.place)
    cause = f"{question} is none of Yes, No and Unsure"
    raise_at_first(table.frame, ~answer.is_in(list(SAFE)), table.place, cause, "correct it, or name another question")
    kept, dropped = sieve(
        table.frame,
        {
            "ratings of blank replies": ~pl.col("response").str.contains(r"\S").fill_null(False),
            "ratings without an answer": pl.col(question).is_null(),
            "ratings that repeat a person's earlier one": pl.struct("rater_id", "item_id").is_first_distinct().not_(),
        },
    )
    parts = [pl.col("context"), pl.format("Reply to judge: {}", "response")]
    rows = kept.select(
        "item_id",
        user_id="rater_id",
        text=pl.concat_str(parts, separator="\n\n", ignore_nulls=True),
        score=answer.replace_strict(SAFE, return_dtype=pl.Float64),
    ).collect(engine="streaming")
    texts = rows.group_by("item_id", maintain_order=True).agg(pl.col("text").first())
    pairs, more = rated_pairs(rows, texts, span=1.0, block=block, ties=ties, weights=weights, seed=seed)
    made = pairs.with_columns(prompt=pl.lit(PROMPT)).collect().lazy()
    people = agreed(table.frame.rename({"rater_id": "user_id"}), PEOPLE)
    users = people.join(made.select("user_id").unique(), on="user_id", how="semi")
    return some(Frames("dices", made, users.collect(engine="streaming"), {**table.dropped, **dropped, **more}), source)
