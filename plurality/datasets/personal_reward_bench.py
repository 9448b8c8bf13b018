"""PersonalRewardBench: PRISM and Chatbot Arena pairs on which judges disagree, split train/val/test for every user."""

from pathlib import Path
from typing import Literal, get_args

import polars as pl

from plurality.datasets._tools.about import open_table
from plurality.datasets._tools.conversion import one_of
from plurality.datasets._tools.frames import About, Checked, Frames, sieve, some
from plurality.datasets._tools.nested import MESSAGES, kind_of_reply, plain, reply, silent
from plurality.datasets._tools.schema import ANY, ID, TEXT, raise_at_first, require
from plurality.datasets._tools.usable import unusable

ABOUT = About(
    hub="MichaelR207/prism_personalized_0125",
    licence="that of the sources: PRISM and Chatbot Arena, model outputs CC-BY-NC-4.0",
    files=("*.parquet",),
    checked=Checked.FILE,
)
Split = Literal["all", "train", "val", "test"]

SPLITS = get_args(Split)[1:]
SIDES = ("chosen", "rejected")
COLUMNS = {"user_id": ID, "split": TEXT, "context": MESSAGES} | dict.fromkeys(SIDES, ANY)


def frames(source: str | Path, *, split: Split = "all") -> Frames:
    """The pairs with their `split`, which is of pairs within a user: no user is unseen in test.

    `objective` repeats it, since comparisons carry that: `datasets.protocols.personal_reward_bench` splits by it.

    Each side may be a text, a message or a list of one, whatever the other is. `group_id` is the conversation where
    the set names it. Users are known by id, of PRISM or of Chatbot Arena. Raises InputError for bad files.
    """
    one_of("split", split, get_args(Split))
    table = open_table(source, ("*.parquet", "train"), COLUMNS, optional={"conversation_id": ID})
    schema = table.frame.collect_schema()
    kinds = {side: kind_of_reply(schema.get(side)) for side in SIDES}
    frame, without = require(table.frame, kinds, table.place)
    raise_at_first(
        frame,
        ~pl.col("split").is_in(SPLITS),
        table.place,
        f"split is none of {', '.join(SPLITS)}",
        "correct the row or leave it out",
    )
    context = plain(pl.col("context"))
    last = context.list.last().struct.field("role")
    longer = [pl.col(side).list.len() != 1 for side in SIDES if isinstance(kinds[side], list)]
    rows, dropped = sieve(
        frame,
        {
            "pairs of other splits": pl.lit(split != "all") & (pl.col("split") != split),
            "pairs with a message without text": silent(context),
            "pairs whose context does not end with the user": last.ne_missing("user"),
            "pairs with a side of several messages": pl.any_horizontal(longer) if longer else pl.lit(False),
        },
    )
    sides = [reply(side, kinds[side]).alias(side) for side in SIDES]
    made, more = sieve(
        rows.select("user_id", context.alias("prompt"), *sides, "split", pl.col("conversation_id").alias("group_id")),
        unusable(),
    )
    made = made.with_columns(objective="split")
    users = made.select("user_id").unique().sort("user_id").collect(engine="streaming")
    return some(Frames("personal_reward_bench", made, users, {**table.dropped, **without, **dropped, **more}), source)
