"""Arena 140k: visitors of a public site vote on two anonymous models' answers, some turns of a session each by itself.

Nobody is named: a user is a session. Source: public readers of the set, and the hub's card as they quote it.
"""

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
    hub="lmarena-ai/arena-human-preference-140k",
    licence="prompts CC-BY-4.0, model outputs under their providers' terms (second-hand; check the hub's card)",
    files=("train-*.parquet",),
    checked=Checked.READERS,
)
Turns = Literal["all", "single"]
Code = Literal["keep", "drop"]

WINNERS = ("model_a", "model_b", "tie", "both_bad")
COLUMNS: Columns = {
    "evaluation_session_id": ID,
    "winner": TEXT,
    "conversation_a": MESSAGES,
    "conversation_b": MESSAGES,
}
OPTIONAL: Columns = {"id": ID, "model_a": TEXT, "model_b": TEXT, "language": TEXT, "is_code": FLAG}


def frames(
    source: str | Path,
    *,
    turns: Turns = "all",
    ties: Ties = "drop",
    code: Code = "keep",
    language: str | None = None,
) -> Frames:
    """One comparison a vote, as of `chatbot_arena`: under the first message, of what followed it, as text.

    With ties="keep" ties and votes that both are bad have label 1/2. code="drop" leaves out what the set marks as code;
    `language` keeps one detected language, such as "en". `group_id` is the session, whose later votes continue earlier
    ones. Messages with an image are left out and counted. Raises InputError for bad files.
    """
    for name, value, choices in (("turns", turns, Turns), ("code", code, Code)):
        one_of(name, value, get_args(choices))
    table = open_table(source, ("train-*.parquet", "train"), COLUMNS, optional=OPTIONAL)
    winner = pl.col("winner")
    cause = f"winner is none of {', '.join(WINNERS)}"
    raise_at_first(table.frame, ~winner.is_in(WINNERS), table.place, cause, "correct the row or leave it out")
    votes, dropped = sieve(
        table.frame,
        {
            "votes in other languages": pl.lit(language is not None) & pl.col("language").ne_missing(language),
            "votes on code": pl.lit(code == "drop") & pl.col("is_code"),
            **unfit(turns),
        },
    )
    told = compared(winner != "model_b", ~winner.str.starts_with("model"))
    session = pl.col("evaluation_session_id")
    rows = votes.select(
        session.alias("user_id"), *told, session.alias("group_id"), "language", pl.col("id").alias("vote_id")
    )
    made, more = sieve(rows, unusable(ties))
    users = made.select("user_id").unique().sort("user_id").collect(engine="streaming")
    return some(Frames("arena_140k", made, users, {**table.dropped, **dropped, **more}), source)
