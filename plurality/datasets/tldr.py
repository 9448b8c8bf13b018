"""TL;DR comparisons: labellers choose the better of two summaries of a Reddit post or a news article.

Read are the JSON lines of the authors' archive (`comparisons/*.json`), or the hub's conversion to parquet. Source: the
repository's README; arXiv 2009.01325.
"""

from pathlib import Path
from typing import Literal, get_args

import polars as pl

from plurality.datasets._tools.about import open_table
from plurality.datasets._tools.conversion import one_of
from plurality.datasets._tools.frames import About, Checked, Frames, sieve, some
from plurality.datasets._tools.schema import ID, NUMBER, TEXT, raise_at_first

ABOUT = About(
    hub="openai/summarize_from_feedback",
    licence="modified MIT, for the comparisons; the Reddit posts have a licence of their own",
    files=("comparisons/*.json", "comparisons/*/*.parquet"),
    checked=Checked.SCHEMA,
)
PLACES = (*ABOUT.files, "comparisons/*.parquet", "comparisons/*.jsonl", "batch*.json", "comparisons")
Documents = Literal["all", "posts", "articles"]
Split = Literal["all", "train", "valid1", "valid2"]
Ties = Literal["drop", "keep"]

SUMMARY = {"text": TEXT, "policy": TEXT}
COLUMNS = {"info": {"id": TEXT, "title": TEXT}, "summaries": [SUMMARY], "choice": NUMBER, "worker": ID}
OPTIONAL = {"extra": {}, "batch": TEXT, "split": TEXT}
SURE = 4.0  # confidence runs from 1, the first summary for sure, over 5 to 9, the second for sure


def frames(
    source: str | Path,
    *,
    documents: Documents = "all",
    split: Split = "all",
    policies: str = "",
    strength: bool = True,
    ties: Ties = "drop",
) -> Frames:
    """The summary a labeller chose with the other, under the post or article.

    `split` is the column of that name; `policies` keeps pairs whose two policies both begin so ("sup": supervised
    ones and what was trained from them). With `strength`, |confidence − 5| / 4 where there is one, else 1; a confidence
    of 5 is then a tie. `group_id` is the document. Raises InputError for bad files.
    """
    for name, value, choices in (("documents", documents, Documents), ("split", split, Split), ("ties", ties, Ties)):
        one_of(name, value, get_args(choices))
    table = open_table(source, PLACES, COLUMNS, optional=OPTIONAL)
    summaries, choice = pl.col("summaries"), pl.col("choice")
    for bad, cause in (
        (summaries.list.len() != 2, "summaries are not two"),
        (~choice.is_in([0.0, 1.0]), "choice is neither 0 nor 1"),
    ):
        raise_at_first(table.frame, bad, table.place, cause, "correct the row or leave it out")
    schema = table.frame.collect_schema()
    told = _field(schema, "extra", "confidence")
    confidence = told.cast(pl.Float64, strict=False)
    bad = ~confidence.is_between(1, 9).fill_null(told.is_null())
    raise_at_first(
        table.frame, bad, table.place, "extra.confidence is not within 1 to 9", "correct the row or leave it out"
    )
    sides = {"chosen": choice, "rejected": 1 - choice}
    of_side = {side: summaries.list.get(place.cast(pl.Int64)).struct for side, place in sides.items()}
    parts = {name: _field(schema, "info", name) for name in ("title", "subreddit", "post", "article")}
    rows = table.frame.select(
        user_id="worker",
        prompt=pl.coalesce(
            pl.format(
                "SUBREDDIT: r/{}\nTITLE: {}\nPOST: {}\nTL;DR:", parts["subreddit"], parts["title"], parts["post"]
            ),
            pl.format("TITLE: {}\nARTICLE: {}\nTL;DR:", parts["title"], parts["article"]),
        ),
        **{side: of.field("text") for side, of in of_side.items()},
        strength=((confidence - 5).abs() / SURE).fill_null(1.0),
        group_id=pl.col("info").struct.field("id"),
        **{f"{side}_policy": of.field("policy") for side, of in of_side.items()},
        batch="batch",
        split="split",
        document=pl.when(parts["post"].is_not_null()).then(pl.lit("posts")).otherwise(pl.lit("articles")),
    )
    wanted = [pl.col(f"{side}_policy").str.starts_with(policies) for side in sides]
    rows, dropped = sieve(
        rows,
        {
            "comparisons of other documents": pl.lit(documents != "all") & (pl.col("document") != documents),
            "comparisons of other splits": pl.lit(split != "all") & pl.col("split").ne_missing(split),
            "comparisons of other policies": pl.lit(bool(policies)) & ~pl.all_horizontal(wanted).fill_null(False),
            "comparisons of documents without a text": pl.col("prompt").is_null(),
            "comparisons with a blank summary": pl.any_horizontal(
                ~pl.col(side).str.contains(r"\S").fill_null(False) for side in sides
            ),
            "comparisons of equal texts": pl.col("chosen").str.strip_chars() == pl.col("rejected").str.strip_chars(),
            "ties": pl.lit(strength and ties == "drop") & (pl.col("strength") == 0),
        },
    )
    tie = pl.col("strength") == 0
    made = rows.with_columns(
        label=pl.when(tie).then(0.5).otherwise(1.0), strength=pl.when(tie).then(1.0).otherwise("strength")
    )
    if not strength:
        made = made.drop("label", "strength")
    users = made.select("user_id").unique(maintain_order=True).collect(engine="streaming")
    return some(Frames("tldr", made, users, {**table.dropped, **dropped}), source)


def _field(schema: pl.Schema, column: str, name: str) -> pl.Expr:
    """A field of an object, null where no row of the file has it."""
    kind = schema[column]
    there = isinstance(kind, pl.Struct) and name in {field.name for field in kind.fields}
    return pl.col(column).struct.field(name) if there else pl.lit(None, dtype=pl.String)
