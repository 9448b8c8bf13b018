"""Chatbot Arena: visitors of a public site vote on two anonymous models' answers to conversations of their own."""

from pathlib import Path
from typing import Literal, get_args

import polars as pl

from plurality.datasets._tools.about import open_table
from plurality.datasets._tools.conversion import one_of
from plurality.datasets._tools.frames import About, Checked, Frames, sieve, some
from plurality.datasets._tools.nested import CONTENT, MESSAGES, ROLE, silent
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
    a, b = pl.col("conversation_a"), pl.col("conversation_b")
    asked = [_said(side, "user") for side in (a, b)]
    battles, dropped = sieve(
        table.frame,
        {
            "votes in other languages": pl.lit(language is not None) & pl.col("language").ne_missing(language),
            "votes with the models' names in sight": ~pl.col("anony"),
            "votes on flagged conversations": pl.lit(flagged == "drop")
            & pl.col("openai_moderation").struct.field("flagged"),
            "conversations with a message without text": silent(a) | silent(b),
            "conversations that are not user and assistant in turn": ~(_alternates(a) & _alternates(b)),
            "conversations whose user turns differ": asked[0] != asked[1],
            "conversations of several turns": pl.lit(turns == "single") & (a.list.len() > 2),
        },
    )
    tie = winner.str.starts_with("tie")
    a_won = winner != "model_b"
    said = {"a": _rest(a), "b": _rest(b)}
    sides = [
        pl.when(a_won).then(said[x]).otherwise(said[y]).alias(name)
        for name, x, y in (("chosen", "a", "b"), ("rejected", "b", "a"))
    ]
    models = [
        pl.when(a_won).then(f"model_{x}").otherwise(f"model_{y}").alias(f"{name}_model")
        for name, x, y in (("chosen", "a", "b"), ("rejected", "b", "a"))
    ]
    rows = battles.select(
        pl.col("judge").alias("user_id"),
        a.list.eval(CONTENT).list.first().alias("prompt"),
        *sides,
        pl.when(tie).then(0.5).otherwise(1.0).alias("label"),
        *models,
        pl.col("question_id"),
        pl.col("language"),
        (a.list.len() // 2).alias("turns"),
    )
    made, more = sieve(rows, unusable(ties))
    users = made.select("user_id").unique().sort("user_id").collect(engine="streaming")
    return some(Frames("chatbot_arena", made, users, {**table.dropped, **dropped, **more}), source)


def _said(conversation: pl.Expr, role: str) -> pl.Expr:
    """What one role said, as one text that can be compared."""
    return conversation.list.eval(CONTENT.filter(ROLE.eq(role))).list.join("\x1e")


def _alternates(conversation: pl.Expr) -> pl.Expr:
    roles = conversation.list.eval(ROLE).list.join(",")
    return roles.str.contains(r"^user,assistant(,user,assistant)*$").fill_null(False)


def _rest(conversation: pl.Expr) -> pl.Expr:
    """What followed the first message, the first answer without the name of its role."""
    told = conversation.list.slice(1).list.eval(
        pl.when(ROLE == "user").then(pl.lit("User: ")).otherwise(pl.lit("Assistant: ")) + CONTENT
    )
    return told.list.join("\n\n").str.strip_prefix("Assistant: ")
