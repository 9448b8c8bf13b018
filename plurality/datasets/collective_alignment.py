"""Collective Alignment 1 (CoVal): people rank four replies, once for themselves and once for the world."""

from pathlib import Path
from typing import Literal, get_args

import polars as pl

from plurality.datasets._tools.about import folder_of, open_table
from plurality.datasets._tools.conversion import Weights, one_of, ordered_pairs, weigh
from plurality.datasets._tools.frames import About, Checked, Frames, sieve, some
from plurality.datasets._tools.nested import CONTENT, MESSAGES, each, plain, raise_for_value, silent
from plurality.datasets._tools.schema import ID, TEXT, numbered
from plurality.datasets._tools.usable import Ties, unusable

ABOUT = About(
    hub="openai/collective-alignment-1",
    licence="CC-BY-4.0 (second-hand; check the hub's card)",
    files=("comparisons.jsonl", "annotators.jsonl"),
    checked=Checked.READERS,
)
Targets = Literal["both", "personal", "world"]

TARGETS = ("personal", "world")
ASSESSMENTS = [{"annotator_id": ID, "ranking_blocks": {target: [{"ranking": TEXT}] for target in TARGETS}}]
COLUMNS = {
    "prompt_id": ID,
    "prompt": {"messages": MESSAGES},
    "responses": [{"response_index": TEXT, "messages": MESSAGES}],
    "metadata": {"assessments": ASSESSMENTS},
}
ASSESSMENT = ["assessment", "objective"]


def frames(
    source: str | Path, *, targets: Targets = "both", ties: Ties = "drop", weights: Weights = "answer"
) -> Frames:
    """Rankings such as "B>A=C=D" as comparisons; `objective` says whether personal or world; = is a tie.

    `group_id` is the prompt, whose four replies recur with every person who ranked them: split by prompt or item.
    Users have every answer of the annotators' demographics. An assessment of the same prompt by the same person a
    second time counts for itself. Raises InputError for bad files and for rankings that are none.
    """
    one_of("targets", targets, get_args(Targets))
    folder = folder_of(source, ABOUT.files)
    table = open_table(folder, "comparisons", COLUMNS)
    people = open_table(folder, "annotators", {"annotator_id": ID}, optional={"demographics": {}})
    prompts = numbered(table.frame)
    assessed = each(prompts.select("row", pl.col("metadata").struct.field("assessments")), "assessments")
    assessed = assessed.with_columns(pl.col("annotator_id").cast(pl.String)).with_row_index("assessment")
    assessed, without = sieve(assessed, {"assessments without an annotator": pl.col("annotator_id").is_null()})
    ranks, dropped = _ranks(assessed, table.place, TARGETS if targets == "both" else (targets,))
    replies = each(prompts.select("row", "responses"), "responses").select(
        "row",
        pl.col("response_index").alias("reply"),
        pl.col("messages").list.eval(CONTENT).list.join("\n\n").alias("text"),
    )
    shown = ranks.join(replies, on=["row", "reply"], how="left", maintain_order="left")
    told = "a ranking of the responses of its row, each once, such as B>A=C=D,"
    again = pl.struct(*ASSESSMENT, "reply").is_duplicated()
    raise_for_value(
        shown.with_columns(again=again), pl.col("text").is_null() | pl.col("again"), "ranking", table.place, told
    )
    pairs = ordered_pairs(shown, ["row", "annotator_id", *ASSESSMENT], response="text", score="rank", descending=True)
    asked = prompts.select(
        "row",
        pl.col("prompt_id").alias("group_id"),
        plain(pl.col("prompt").struct.field("messages")).alias("prompt"),
    )
    pairs = pairs.join(asked, on="row", how="left", maintain_order="left")
    reasons = {"pairs under a prompt with a message without text": silent(pl.col("prompt"))}
    made, more = sieve(pairs, reasons | unusable(ties))
    made = weigh(made, ASSESSMENT, weights).select(
        pl.col("annotator_id").alias("user_id"),
        "prompt",
        "chosen",
        "rejected",
        "label",
        "weight",
        "objective",
        "group_id",
        "assessment",
    )
    made = made.collect(engine="streaming").lazy()
    users = made.select("user_id").unique().join(_users(people.frame), on="user_id", how="left")
    return some(
        Frames(
            "collective_alignment",
            made,
            users.sort("user_id").collect(),
            {**table.dropped, **without, **dropped, **more},
        ),
        source,
    )


def _ranks(assessed: pl.LazyFrame, place: str, targets: tuple[str, ...]) -> tuple[pl.LazyFrame, dict[str, int]]:
    """A row for every reply that a person ranked for a target, and its `rank` from 0; and what was not ranked."""
    blocks = pl.col("ranking_blocks").struct
    long = pl.concat(
        assessed.select(
            "row",
            "assessment",
            "annotator_id",
            pl.lit(target).alias("objective"),
            blocks.field(target).list.first().struct.field("ranking").alias("ranking"),
        )
        for target in targets
    ).with_columns(pl.col("ranking").str.replace_all(r"\s", "").replace("", None))
    rows, dropped = sieve(
        long,
        {
            f"assessments without a {t} ranking": pl.col("ranking").is_null() & (pl.col("objective") == t)
            for t in targets
        },
    )
    wrong = ~pl.col("ranking").str.contains(r"^[^>=]+([>=][^>=]+)*$")
    raise_for_value(rows, wrong, "ranking", place, "a ranking such as B>A=C=D")
    levels = rows.with_columns(pl.col("ranking").str.split(">").alias("reply"))
    levels = levels.with_columns(pl.int_ranges(pl.col("reply").list.len()).alias("rank"))
    levels = levels.explode("reply", "rank", empty_as_null=False, keep_nulls=False)
    letters = levels.with_columns(pl.col("reply").str.split("=")).explode(
        "reply", empty_as_null=False, keep_nulls=False
    )
    return letters, dropped


def _users(people: pl.LazyFrame) -> pl.LazyFrame:
    """A row a person; several answers to one question are joined by semicolons."""
    answers = people.select(pl.col("annotator_id").alias("user_id"), "demographics").unnest("demographics")
    schema = answers.collect_schema()
    texts = [
        pl.col(name).cast(pl.List(pl.String)).list.join("; ")
        if isinstance(dtype, pl.List)
        else pl.col(name).cast(pl.String)
        for name, dtype in schema.items()
        if not isinstance(dtype, pl.Struct)
    ]
    return answers.select(texts).unique("user_id", keep="first", maintain_order=True)
