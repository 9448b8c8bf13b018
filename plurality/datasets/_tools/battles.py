"""Votes on two models' conversations with one person, as arenas publish them."""

import polars as pl

from plurality.datasets._tools.nested import CONTENT, ROLE, silent

USERS, ASSISTANTS = "user", "assistant"


def unfit(turns: str) -> dict[str, pl.Expr]:
    """The reasons for `sieve` to leave out a vote on `conversation_a` and `conversation_b`.

    turns    "all", or "single" to leave out conversations of several turns
    """
    a, b = pl.col("conversation_a"), pl.col("conversation_b")
    asked = [_said(side, USERS) for side in (a, b)]
    return {
        "conversations with a message without text": silent(a) | silent(b),
        "conversations that are not user and assistant in turn": ~(_alternates(a) & _alternates(b)),
        "conversations whose user turns differ": asked[0] != asked[1],
        "conversations of several turns": pl.lit(turns == "single") & (a.list.len() > 2),
    }


def compared(a_won: pl.Expr, tie: pl.Expr) -> list[pl.Expr]:
    """`prompt`, `chosen`, `rejected`, `label`, the sides' models and `turns` of votes that are fit.

    The prompt is the first message; a side is what followed it, as text.

    a_won    whether the first conversation was voted for; of ties either
    tie      whether the vote is a tie
    """
    a = pl.col("conversation_a")
    said = {"a": _rest(a), "b": _rest(pl.col("conversation_b"))}
    sides = (("chosen", "a", "b"), ("rejected", "b", "a"))
    return [
        a.list.eval(CONTENT).list.first().alias("prompt"),
        *(pl.when(a_won).then(said[x]).otherwise(said[y]).alias(name) for name, x, y in sides),
        pl.when(tie).then(0.5).otherwise(1.0).alias("label"),
        *(pl.when(a_won).then(f"model_{x}").otherwise(f"model_{y}").alias(f"{name}_model") for name, x, y in sides),
        (a.list.len() // 2).alias("turns"),
    ]


def _said(conversation: pl.Expr, role: str) -> pl.Expr:
    """What one role said, as one text that can be compared."""
    return conversation.list.eval(CONTENT.filter(ROLE.eq(role))).list.join("\x1e")


def _alternates(conversation: pl.Expr) -> pl.Expr:
    roles = conversation.list.eval(ROLE).list.join(",")
    return roles.str.contains(r"^user,assistant(,user,assistant)*$").fill_null(False)


def _rest(conversation: pl.Expr) -> pl.Expr:
    """What followed the first message, the first answer without the name of its role."""
    told = conversation.list.slice(1).list.eval(
        pl.when(ROLE == USERS).then(pl.lit("User: ")).otherwise(pl.lit("Assistant: ")) + CONTENT
    )
    return told.list.join("\n\n").str.strip_prefix("Assistant: ")
