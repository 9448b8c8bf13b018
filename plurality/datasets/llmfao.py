"""LLMFAO: crowd workers choose between two answers of language models to the same prompt.

Two tables: the judgements, and the pairs of answers that they are about. Source: the files of the repository.
"""

from pathlib import Path

import polars as pl

from plurality.datasets._tools import external
from plurality.datasets._tools.about import folder_of, open_table
from plurality.datasets._tools.conversion import one_of
from plurality.datasets._tools.frames import About, Checked, Frames, sieve, some
from plurality.datasets._tools.schema import ID, TEXT, raise_at_first
from plurality.datasets._tools.usable import Ties, unusable

ABOUT = About(
    hub=None,
    licence="CC BY 4.0 (dustalov/llmfao)",
    files=("crowd-comparisons.csv", "pairs-crowd.jsonl", *external.FILES),
    checked=Checked.FILE,
)

WINNERS = ("left", "right", "tie")
JUDGEMENTS = {"id": ID, "worker": ID, "winner": TEXT, "model_x": ID, "model_y": ID}
PAIRS = {"id": ID, "prompt": ID, "text": TEXT, "model_x": ID, "model_y": ID}
ANSWERS = {"result_x": TEXT, "result_y": TEXT}


def frames(source: str | Path, *, ties: Ties = "drop") -> Frames:
    """The answer a worker chose with the other; answers that are blank are left out and counted.

    Left is the model x of the tables, right is y. `group_id` is the prompt. A folder of comparisons.parquet and
    users.parquet, a conversion in which ties had been dropped, is read too. Raises InputError for bad files.
    """
    one_of("ties", ties, ("drop", "keep"))
    folder = folder_of(source, ABOUT.files)
    if external.is_there(folder):
        return external.external("llmfao", folder)
    table = open_table(folder, "crowd-comparisons", JUDGEMENTS)
    shown = open_table(folder, "pairs-crowd", PAIRS, optional=ANSWERS)
    winner = pl.col("winner")
    cause = f"winner is none of {', '.join(WINNERS)}"
    raise_at_first(table.frame, ~winner.is_in(WINNERS), table.place, cause, "correct the row or leave it out")
    twice, remedy = ~pl.col("id").is_first_distinct(), "keep one of them"
    raise_at_first(shown.frame, twice, shown.place, "id is that of an earlier row", remedy)
    sides = shown.frame.select("id", *ANSWERS, "prompt", "text", x="model_x", y="model_y")
    joined = table.frame.drop("prompt", strict=False).join(sides, on="id", how="left", maintain_order="left")
    other = (pl.col("x") != pl.col("model_x")) | (pl.col("y") != pl.col("model_y"))
    remedy = "give the two files of one release"
    raise_at_first(joined, pl.col("x").is_null(), table.place, f"id is not in {shown.place}", remedy)
    raise_at_first(joined, other, table.place, f"the models are others than in {shown.place}", remedy)
    left = winner != "right"
    rows = joined.select(
        pl.format("w{}", "worker").alias("user_id"),
        pl.col("text").alias("prompt"),
        pl.when(left).then("result_x").otherwise("result_y").alias("chosen"),
        pl.when(left).then("result_y").otherwise("result_x").alias("rejected"),
        pl.when(winner == "tie").then(0.5).otherwise(1.0).alias("label"),
        pl.col("prompt").alias("group_id"),
        pl.when(left).then("x").otherwise("y").alias("chosen_model"),
        pl.when(left).then("y").otherwise("x").alias("rejected_model"),
    )
    made, dropped = sieve(rows, unusable(ties))
    made = made.collect(engine="streaming").lazy()
    users = made.select("user_id").unique().sort("user_id").collect()
    return some(Frames("llmfao", made, users, {**table.dropped, **shown.dropped, **dropped}), source)
