"""MultiPref: crowd workers and experts judge two replies overall and on helpfulness, truthfulness and harmlessness."""

from pathlib import Path
from typing import Literal, get_args

import polars as pl

from plurality.datasets._tools.about import folder_of, open_table
from plurality.datasets._tools.conversion import one_of
from plurality.datasets._tools.frames import About, Checked, Frames, sieve, some
from plurality.datasets._tools.nested import each, raise_for_value
from plurality.datasets._tools.schema import ID, TEXT, Columns, numbered
from plurality.datasets._tools.usable import Ties, unusable

ABOUT = About(
    hub="allenai/multipref",
    licence="ODC-BY",
    files=("data/train-*.parquet", "MultiPref-Train.jsonl"),
    checked=Checked.SCHEMA,
)
Workers = Literal["all", "normal", "expert"]
Objectives = Literal["all", "overall", "helpful", "truthful", "harmless"]

ASPECTS = ("overall", "helpful", "truthful", "harmless")
KINDS = ("normal", "expert")
WORDS = {
    "A-is-clearly-better": 1.0,
    "A-is-slightly-better": 0.5,
    "Tie": 0.0,
    "B-is-slightly-better": -0.5,
    "B-is-clearly-better": -1.0,
}
JUDGEMENTS = [{"evaluator": ID} | {f"{aspect}_pref": TEXT for aspect in ASPECTS}]
COLUMNS: Columns = {
    **dict.fromkeys(("comparison_id", "prompt_id"), ID),
    **dict.fromkeys(("text", "completion_a", "completion_b"), TEXT),
    **{f"{kind}_worker_annotations": JUDGEMENTS for kind in KINDS},
}
OPTIONAL = {"model_a": TEXT, "model_b": TEXT, "source": TEXT, "category": TEXT}


def frames(
    source: str | Path, *, workers: Workers = "all", objectives: Objectives = "all", ties: Ties = "drop"
) -> Frames:
    """One comparison for every judgement of a worker; `objective` says on what, `strength` is 1 (clearly) or 1/2.

    `group_id` is the prompt, which stands in several comparisons. Users are the evaluators, of whom only is known
    whether they are normal or expert workers (null: both). Raises InputError for bad files.
    """
    one_of("workers", workers, get_args(Workers))
    one_of("objectives", objectives, get_args(Objectives))
    # configurations with one label a pair have files of the same name in folders of their own
    folder = folder_of(source, ABOUT.files)
    table = open_table(folder, (*ABOUT.files, "train-*.parquet", "train"), COLUMNS, optional=OPTIONAL)
    wanted = ASPECTS if objectives == "all" else (objectives,)
    judged = pl.concat([_judged(table.frame, kind) for kind in KINDS if workers in ("all", kind)])
    long = judged.unpivot(
        [f"{aspect}_pref" for aspect in wanted],
        index=["row", "evaluator", "worker"],
        variable_name="objective",
        value_name="preference",
    ).with_columns(pl.col("objective").str.strip_suffix("_pref"))
    known = pl.col("preference").is_in(list(WORDS))
    raise_for_value(long, ~known, "preference", table.place, f"one of {', '.join(WORDS)}")
    given, dropped = sieve(
        long,
        {
            "judgements without an evaluator": pl.col("evaluator").is_null(),
            "judgements without a preference": pl.col("preference").is_null(),
        },
    )
    texts = numbered(table.frame).drop(f"{kind}_worker_annotations" for kind in KINDS)
    value = pl.col("preference").replace_strict(WORDS, return_dtype=pl.Float64)
    rows = given.with_columns(value=value).join(texts, on="row", how="left", maintain_order="left")
    made, more = sieve(rows.select(*_sides()), unusable(ties))
    users = given.group_by(user_id="evaluator").agg(
        worker=pl.when(pl.col("worker").n_unique() == 1).then(pl.col("worker").first())
    )
    there = users.join(made.select("user_id").unique(), on="user_id", how="semi").sort("user_id")
    return some(
        Frames("multipref", made, there.collect(engine="streaming"), {**table.dropped, **dropped, **more}), source
    )


def _judged(frame: pl.LazyFrame, kind: str) -> pl.LazyFrame:
    rows = each(frame.select(pl.col(f"{kind}_worker_annotations").alias("judgement")), "judgement")
    prefs = [pl.col(f"{aspect}_pref") for aspect in ASPECTS]
    return rows.select("row", pl.col("evaluator").cast(pl.String), pl.lit(kind).alias("worker"), *prefs)


def _sides() -> list[pl.Expr]:
    a_won = pl.col("value") >= 0
    sides = [
        pl.when(a_won).then(f"{column}_{a}").otherwise(f"{column}_{b}").alias(name)
        for name, column, a, b in (
            ("chosen", "completion", "a", "b"),
            ("rejected", "completion", "b", "a"),
            ("chosen_model", "model", "a", "b"),
            ("rejected_model", "model", "b", "a"),
        )
    ]
    tie = pl.col("value") == 0
    return [
        pl.col("evaluator").alias("user_id"),
        pl.col("text").alias("prompt"),
        *sides,
        pl.when(tie).then(0.5).otherwise(1.0).alias("label"),
        pl.when(tie).then(1.0).otherwise(pl.col("value").abs()).alias("strength"),
        pl.col("objective"),
        pl.col("prompt_id").alias("group_id"),
        pl.col("comparison_id"),
        pl.col("worker"),
        pl.col("category"),
        pl.col("source"),
    ]
