"""OASST1: volunteers write conversations with an assistant, and rank the replies that others wrote to one message.

A row is a message of a tree. The ranks are a consensus of several people, who are not named. Source: public readers.
"""

from pathlib import Path
from typing import Literal, get_args

import polars as pl

from plurality.datasets._tools.about import open_table
from plurality.datasets._tools.conversion import Weights, one_of, ordered_pairs, weigh
from plurality.datasets._tools.frames import About, Checked, Frames, sieve, some
from plurality.datasets._tools.schema import FLAG, ID, NUMBER, TEXT, raise_at_first
from plurality.datasets._tools.usable import blank, unusable

ABOUT = About(
    hub="OpenAssistant/oasst1",
    licence="Apache-2.0 (second-hand; check the hub's card)",
    files=("train-*.parquet", "validation-*.parquet"),
    checked=Checked.READERS,
)
Split = Literal["train", "validation"]
Users = Literal["one", "language"]

ROLES = {"prompter": "user", "assistant": "assistant"}
DEEPEST = 64  # messages of a path from the root
COLUMNS = {"message_id": ID, "text": TEXT, "role": TEXT}
OPTIONAL = {"parent_id": ID, "message_tree_id": ID, "lang": TEXT, "rank": NUMBER, "deleted": FLAG}
EVERYBODY = "everybody"


def frames(source: str | Path, *, split: Split = "train", users: Users = "one", weights: Weights = "answer") -> Frames:
    """Replies to one message of which both have a rank, the better ranked chosen, under the path from the root.

    `users` gives all rows to one user, or makes one of each language: no person has ranks of their own. `group_id` is
    the tree. Raises InputError for bad files.
    """
    one_of("split", split, get_args(Split))
    one_of("users", users, get_args(Users))
    table = open_table(source, (f"{split}-*.parquet", split, "*.messages"), COLUMNS, optional=OPTIONAL)
    cause, remedy = f"role is none of {', '.join(ROLES)}", "correct the row or leave it out"
    raise_at_first(table.frame, ~pl.col("role").is_in(list(ROLES)), table.place, cause, remedy)
    again = ~pl.col("message_id").is_first_distinct()
    raise_at_first(table.frame, again, table.place, "message_id is that of an earlier row", "keep one of them")
    messages = table.frame.select(
        "message_id", "parent_id", "text", "rank", "lang", "deleted", group_id="message_tree_id",
        role=pl.col("role").replace_strict(ROLES, return_dtype=pl.String),
    ).collect(engine="streaming")  # fmt: skip
    replies, dropped = sieve(
        messages.lazy().filter(pl.col("role") == "assistant"),
        {
            "replies that were deleted": pl.col("deleted"),
            "replies without a rank": pl.col("rank").is_null(),
            "replies to no message": pl.col("parent_id").is_null(),
            "blank replies": blank("text"),
        },
    )
    pairs = ordered_pairs(replies, ["parent_id"], response="text", score="rank", descending=True)
    told = messages.lazy().select("message_id", "lang", "group_id")
    pairs = pairs.join(_paths(messages), left_on="parent_id", right_on="message_id", how="left", maintain_order="left")
    pairs = pairs.join(told, left_on="parent_id", right_on="message_id", how="left", maintain_order="left")
    made, more = sieve(
        pairs, {"pairs under a path with a message that is not there": pl.col("prompt").is_null()} | unusable("drop")
    )
    user = pl.lit(EVERYBODY) if users == "one" else pl.col("lang").fill_null("unknown")
    rows = weigh(made, ["parent_id"], weights).select(
        user.alias("user_id"), "prompt", "chosen", "rejected", "weight", "group_id", language="lang"
    )
    rows = rows.collect(engine="streaming").lazy()
    people = rows.select("user_id").unique().sort("user_id").collect()
    return some(Frames("oasst1", rows, people, {**table.dropped, **dropped, **more}), source)


def _paths(messages: pl.DataFrame) -> pl.LazyFrame:
    """Of every user's message, `prompt`: the messages from the root to it. Those without a root are not there."""
    nodes = messages.select(
        "message_id", "parent_id", said=pl.concat_list(pl.struct(role=pl.col("role"), content=pl.col("text")))
    )
    whole = nodes.filter(pl.col("parent_id").is_null()).select("message_id", prompt="said")
    found = [whole]
    for _ in range(DEEPEST):
        below = nodes.join(whole, left_on="parent_id", right_on="message_id").select(
            "message_id", prompt=pl.concat_list("prompt", "said")
        )
        if not below.height:
            break
        found.append(below)
        whole = below
    return pl.concat(found).lazy()
