"""Chatbot Arena: visitors of a public site vote on two anonymous models' answers to conversations of their own."""

from pathlib import Path
from typing import Literal, get_args

import polars as pl

from plurality.datasets._tools.about import open_table
from plurality.datasets._tools.battles import compared, unfit
from plurality.datasets._tools.conversion import one_of
from plurality.datasets._tools.frames import About, Checked, Frames, sieve, some
from plurality.datasets._tools.nested import MESSAGES
from plurality.datasets._tools.schema import FLAG, ID, TEXT, Columns, raise_at_first
from plurality.datasets._tools.usable import Ties, unusable

ABOUT = About(
    hub="lmsys/chatbot_arena_conversations",
    licence="prompts CC-BY-4.0, model outputs CC-BY-NC-4.0; terms to be accepted on the hub",
    files=("train-*.parquet",),
    checked=Checked.SCHEMA,
)
Turns = Literal["all", "single"]
Flagged = Literal["keep", "drop"]

WINNERS = ("model_a", "model_b", "tie", "tie (bothbad)")
COLUMNS: Columns = {"judge": ID, "winner": TEXT, "conversation_a": MESSAGES, "conversation_b": MESSAGES}
OPTIONAL: Columns = {
    "question_id": ID,
    **dict.fromkeys(("model_a", "model_b", "language"), TEXT),
    "anony": FLAG,
    "openai_moderation": {"flagged": FLAG},
}


def frames(
    source: str | Path,
    *,
    turns: Turns = "all",
    ties: Ties = "drop",
    flagged: Flagged = "keep",
    language: str | None = None,
) -> Frames:
    """One comparison a vote, under the visitor's first message; with ties="keep" both kinds of tie have label 1/2.

    The vote is on the conversation as a whole. Of one with several turns each side is what followed the first
    message, as text: the answer, then "User: …" and "Assistant: …" in turn; turns="single" leaves these out.
    flagged="drop" leaves out what the moderation of the set flagged. `language` keeps one detected language, such
    as "English". Raises InputError for bad files.
    """
    for name, value, choices in (("turns", turns, Turns), ("flagged", flagged, Flagged)):
        one_of(name, value, get_args(choices))
    table = open_table(source, ("train-*.parquet", "train"), COLUMNS, optional=OPTIONAL)
    winner = pl.col("winner")
    raise_at_first(
        table.frame,
        ~winner.is_in(WINNERS),
        table.place,
        f"winner is none of {', '.join(WINNERS)}",
        "correct the row or leave it out",
    )
    battles, dropped = sieve(
        table.frame,
        {
            "votes in other languages": pl.lit(language is not None) & pl.col("language").ne_missing(language),
            "votes with the models' names in sight": ~pl.col("anony"),
            "votes on flagged conversations": pl.lit(flagged == "drop")
            & pl.col("openai_moderation").struct.field("flagged"),
            **unfit(turns),
        },
    )
    told = compared(winner != "model_b", winner.str.starts_with("tie"))
    rows = battles.select(pl.col("judge").alias("user_id"), *told, "question_id", "language")
    made, more = sieve(rows, unusable(ties))
    users = made.select("user_id").unique().sort("user_id").collect(engine="streaming")
    return some(Frames("chatbot_arena", made, users, {**table.dropped, **dropped, **more}), source)
