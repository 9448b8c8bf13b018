"""Personalized-RewardBench: two answers to a question of somebody with a history, one written for their own rubric.

Every row is somebody of their own. The pairs are made by models, not chosen by people. Source: public readers.
"""

from pathlib import Path

import polars as pl

from plurality.datasets._tools.about import open_table
from plurality.datasets._tools.frames import About, Checked, Frames, sieve, some
from plurality.datasets._tools.nested import kind_of_reply, reply
from plurality.datasets._tools.schema import ANY, ID, TEXT, raise_at_first, require
from plurality.datasets._tools.usable import blank, unusable

ABOUT = About(
    hub="QiyaoMa/Personalized-RewardBench",
    licence="not verified; check the hub's card",
    files=("test-*.parquet",),
    checked=Checked.READERS,
)

SIDES = ("chosen", "rejected")
COLUMNS = {"id": ID, "question": TEXT} | dict.fromkeys(SIDES, ANY)


def frames(source: str | Path) -> Frames:
    """The answer for the person's rubric with the other, under the question; the user is the row's `id`.

    Profiles, rubrics and narratives are not read: who uses them as context gives away what is asked. A folder holds one
    subset or several. Raises InputError for bad files.
    """
    table = open_table(source, ("test-*.parquet", "*.parquet", "test"), COLUMNS)
    schema = table.frame.collect_schema()
    kinds = {side: kind_of_reply(schema.get(side)) for side in SIDES}
    frame, without = require(table.frame, kinds, table.place)
    again = ~pl.col("id").is_first_distinct()
    raise_at_first(frame, again, table.place, "id is that of an earlier row", "keep one of them")
    rows = frame.select(
        pl.col("id").alias("user_id"),
        pl.col("question").alias("prompt"),
        *(reply(side, kinds[side]).alias(side) for side in SIDES),
    )
    made, dropped = sieve(rows, {"pairs under a blank question": blank("prompt")} | unusable())
    made = made.collect(engine="streaming").lazy()
    users = made.select("user_id").sort("user_id").collect()
    return some(Frames("personalized_rewardbench", made, users, {**table.dropped, **without, **dropped}), source)
