"""HelpSteer2 and 3: several anonymous annotators a pair say which of two replies helps more, and how much."""

from pathlib import Path
from typing import Literal, get_args

import polars as pl

from plurality.datasets._tools.about import Table, folder_of, open_table
from plurality.datasets._tools.conversion import Weights, one_of, weigh
from plurality.datasets._tools.frames import About, Checked, Frames, sieve, some
from plurality.datasets._tools.loose_files import open_loose
from plurality.datasets._tools.nested import MESSAGES, each, plain, raise_for_value, silent
from plurality.datasets._tools.schema import NUMBER, TEXT, numbered
from plurality.datasets._tools.usable import Ties, unusable

ABOUT = About(
    hub="nvidia/HelpSteer3",
    licence="CC-BY-4.0",
    files=(
        "preference/train.jsonl.gz",
        "preference/validation.jsonl.gz",
        "preference/preference.jsonl.gz",
        "disagreements/disagreements.jsonl.gz",
    ),
    checked=Checked.SCHEMA,
)
Part = Literal["helpsteer3", "helpsteer2", "disagreements"]
Split = Literal["train", "validation"]
Annotations = Literal["all", "similar"]

NEITHER = -100  # what HelpSteer2 says where an annotator found neither reply valid
STRONGEST = 3.0
TURN = "<extra_id_1>"  # stands between the turns of a conversation in a prompt of HelpSteer2
LISTS = {"all": "all_preferences_unprocessed", "similar": "three_most_similar_preferences"}
RATED = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
HELPSTEER3 = {"domain": TEXT, "language": TEXT, "context": MESSAGES, "response1": TEXT, "response2": TEXT}
HELPSTEER3 |= {"individual_preference": [{"score": NUMBER}]}
HELPSTEER2 = {"split": TEXT, "prompt": TEXT, "response_1": TEXT, "response_2": TEXT}
DISAGREEMENTS = {"prompt": TEXT, "response": TEXT} | {name: [NUMBER] for name in RATED}
KNOWN = ["user_id", "domain", "language"]


def frames(
    source: str | Path,
    *,
    part: Part = "helpsteer3",
    split: Split = "train",
    annotations: Annotations = "all",
    ties: Ties = "drop",
    weights: Weights = "turn",
) -> Frames:
    """Comparisons by annotators whose order within a row means nothing, so that no one is followed across rows.

    helpsteer3      a comparison for each annotation of a pair
    helpsteer2      the same; `annotations` are all, or the three most similar, which hide disagreement
    disagreements   of HelpSteer2, ratings from 0 to 4 of two replies to a prompt by some annotators each: label =
                    P(a rating of chosen is above one of rejected) + P(equal) / 2 over all pairs of ratings (the
                    Mann–Whitney statistic); `objective` is the attribute. There are no splits, and weights are 1

    A user is the pool that worked on one domain in one language, the finest that is published. `strength` is
    |score| / 3; `annotation` tells an annotation from others of its pair, and with weights="turn" all of a
    pair count as one comparison. Raises InputError for bad files.
    """
    for name, value, choices in (
        ("part", part, Part),
        ("split", split, Split),
        ("annotations", annotations, Annotations),
    ):
        one_of(name, value, get_args(choices))
    if part == "disagreements":
        made, dropped = _disagreements(source, ties)
    else:
        rows, table = (
            _helpsteer3(source, split) if part == "helpsteer3" else _helpsteer2(source, split, LISTS[annotations])
        )
        made, dropped = _annotated(rows, table.place, ties)
        dropped = {**table.dropped, **dropped}
        made = weigh(made, ["row"], weights).drop("row")
    made = made.collect(engine="streaming").lazy()
    return some(Frames("helpsteer", made, made.select(KNOWN).unique().sort("user_id").collect(), dropped), source)


def _helpsteer3(source: str | Path, split: Split) -> tuple[pl.LazyFrame, Table]:
    folder = folder_of(source, [f"preference/{split}"])
    table = open_table(folder, [f"preference/{split}", split], HELPSTEER3)
    rows = numbered(table.frame).select(
        "row",
        "domain",
        "language",
        prompt=plain(pl.col("context")),
        first="response1",
        second="response2",
        annotations=pl.col("individual_preference").list.eval(_score("score")),
    )
    return rows, table


def _helpsteer2(source: str | Path, split: Split, column: str) -> tuple[pl.LazyFrame, Table]:
    names = ["preference/preference", "preference"]
    table = open_loose(source, names, HELPSTEER2, loose=column, number="strength")
    rows = numbered(table.frame).filter(pl.col("split").str.starts_with(split[:3]))  # it says "val"
    rows = rows.select(
        "row",
        domain=pl.lit("general"),
        language=pl.lit("english"),
        prompt=_turns(pl.col("prompt")),
        first="response_1",
        second="response_2",
        annotations=pl.col(column).list.eval(_score("strength")),
    )
    return rows, table


def _score(field: str) -> pl.Expr:
    return pl.struct(pl.element().struct.field(field).cast(pl.Float64).alias("score"))


def _annotated(rows: pl.LazyFrame, place: str, ties: Ties) -> tuple[pl.LazyFrame, dict[str, int]]:
    """A pair for every annotation; a score above 0 says that the second reply helps more."""
    scored, score = each(rows, "annotations").with_row_index("annotation"), pl.col("score")
    whole = score.is_between(-STRONGEST, STRONGEST) & (score == score.round())
    raise_for_value(scored, ~(whole | (score == NEITHER)), "score", place, "a whole number from -3 to 3")
    given, dropped = sieve(
        scored,
        {
            "annotations without a score": score.is_null(),
            "annotations that find neither reply valid": score == NEITHER,
            "annotations under a prompt with a message without text": silent(pl.col("prompt")),
        },
    )
    pairs = given.select(
        pl.format("{}/{}", "domain", "language").alias("user_id"),
        "prompt",
        pl.when(score > 0).then("second").otherwise("first").alias("chosen"),
        pl.when(score > 0).then("first").otherwise("second").alias("rejected"),
        pl.when(score == 0).then(0.5).otherwise(1.0).alias("label"),
        pl.when(score == 0).then(1.0).otherwise(score.abs() / STRONGEST).alias("strength"),
        "domain",
        "language",
        "row",
        "annotation",
    )
    made, more = sieve(pairs, unusable(ties))
    return made, dropped | more


def _disagreements(source: str | Path, ties: Ties) -> tuple[pl.LazyFrame, dict[str, int]]:
    folder = folder_of(source, ["disagreements/disagreements"])
    table = open_table(folder, ["disagreements/disagreements", "disagreements"], DISAGREEMENTS)
    rows = numbered(table.frame).select("row", *DISAGREEMENTS)
    long = rows.unpivot(RATED, index=["row", "prompt"], variable_name="objective", value_name="rating")
    long = long.explode("rating", empty_as_null=False, keep_nulls=False)
    long = long.with_columns(pl.col("rating").cast(pl.Float64))
    raise_for_value(long, ~pl.col("rating").is_between(0, 4), "rating", table.place, "a number from 0 to 4")
    both = long.join(long, on=["prompt", "objective"], suffix="_other").filter(pl.col("row") < pl.col("row_other"))
    above = (pl.col("rating") - pl.col("rating_other")).sign() / 2 + 0.5
    shares = both.group_by("row", "row_other", "prompt", "objective").agg(share=above.mean())
    texts = rows.select("row", "response")
    sides = shares.join(texts, on="row").join(texts, left_on="row_other", right_on="row", suffix="_other")
    first = pl.col("share") >= 0.5
    pairs = sides.sort("row", "row_other", "objective").select(
        pl.lit("general/english").alias("user_id"),
        _turns(pl.col("prompt")).alias("prompt"),
        pl.when(first).then("response").otherwise("response_other").alias("chosen"),
        pl.when(first).then("response_other").otherwise("response").alias("rejected"),
        pl.max_horizontal("share", 1 - pl.col("share")).alias("label"),
        "objective",
        pl.lit("general").alias("domain"),
        pl.lit("english").alias("language"),
    )
    asked, dropped = sieve(pairs, {"pairs under a prompt with a message without text": silent(pl.col("prompt"))})
    made, more = sieve(asked, unusable(ties))
    return made, {**table.dropped, **dropped, **more}


def _turns(prompt: pl.Expr) -> pl.Expr:
    """A prompt of HelpSteer2 as messages: the first is the user's, each other begins with the name of its role."""
    turn = pl.element().str.strip_chars_end("\n")
    model = turn.str.starts_with("Assistant\n")
    content = turn.str.replace(r"^(Assistant|User)\n", "")
    role = pl.when(model).then(pl.lit("assistant")).otherwise(pl.lit("user"))
    return prompt.str.split(TURN).list.eval(pl.struct(role.alias("role"), content.alias("content")))
