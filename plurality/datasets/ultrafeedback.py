"""UltraFeedback: replies rated by GPT-4 on four aspects; each aspect is a user, as in UF-P-2 and UF-P-4."""

from collections import Counter
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl
import pyarrow as pa

from plurality.datasets._tools.about import Table, folder_of, open_table, parts_there
from plurality.datasets._tools.conversion import Weights, one_of, ordered_pairs, weigh
from plurality.datasets._tools.frames import About, Checked, Frames, sieve, some
from plurality.datasets._tools.nested import MESSAGES, each, plain, raise_for_value, silent
from plurality.datasets._tools.schema import NUMBER, TEXT, numbered, raise_at_first
from plurality.datasets._tools.usable import Ties, blank, unusable
from plurality.errors import InputError

PARTS = ("evol_instruct", "false_qa", "flan", "sharegpt", "truthful_qa", "ultrachat")
ABOUT = About(
    hub="openbmb/UltraFeedback", licence="MIT", files=tuple(f"{part}.jsonl" for part in PARTS), checked=Checked.READERS
)
Users = Literal["p4", "p2"]
Pairs = Literal["best", "all"]
Binarized = Literal["no", "train", "test"]

ASPECTS = ("helpfulness", "honesty", "instruction_following", "truthfulness")
USERS = {"p4": ASPECTS, "p2": ASPECTS[:2]}
HIGHEST, RANGE = 5, 4.0  # ratings run from 1 to 5
UNRATED = "N/A"
COMPLETION = {"response": TEXT, "model": TEXT, "annotations": {aspect: {"Rating": TEXT} for aspect in ASPECTS}}
COLUMNS = {"instruction": TEXT, "completions": [COMPLETION]}
BINARIZED = {"chosen": MESSAGES, "rejected": MESSAGES, "score_chosen": NUMBER, "score_rejected": NUMBER}
TURN = ["aspect", "row"]
TOLD = (
    "prompt",
    "chosen",
    "rejected",
    "label",
    "strength",
    "weight",
    "chosen_model",
    "rejected_model",
    "part",
    "aspect",
)


def frames(
    source: str | Path,
    *,
    users: Users = "p4",
    pairs: Pairs = "best",
    disagreement: bool = True,
    people: int = 1,
    ties: Ties = "drop",
    weights: Weights = "answer",
    binarized: Binarized = "no",
    seed: int = 0,
) -> Frames:
    """Comparisons of each aspect, which prefers what it is rated higher on; `strength` is the gap over 4.

    users          p4: all four aspects; p2: helpfulness and honesty
    pairs          best: the reply with the highest mean rating and one with a lower, drawn by `seed`; all: all six
    disagreement   only pairs of which some aspects prefer the one and some the other; a tie is no preference
    people         so many users an aspect, who share its prompts out by `seed`, so that there are unseen users
    binarized      the train or test part of a binarised set (ultrafeedback_binarized), whose one user is GPT-4's
                   overall score: no other option than `ties` is its

    Users have their `aspect`. Source of users and names: VPL, arXiv 2408.10075. Raises InputError for bad files.
    """
    choices = (("users", users, Users), ("pairs", pairs, Pairs), ("binarized", binarized, Binarized))
    for name, value, known in choices:
        one_of(name, value, get_args(known))
    if people < 1:
        raise InputError(f"people={people} is not a number of users; give 1 or more")
    if binarized != "no":
        if (users, pairs, disagreement, people, weights) != ("p4", "best", True, 1, "answer"):
            raise InputError("ultrafeedback: a binarised set has no other option than ties; leave out the others")
        return _binarized(source, binarized, ties)
    said, without = _responses(source)
    good, dropped = sieve(
        said.lazy(), {"blank replies": blank("response"), "replies to a blank prompt": blank("prompt")}
    )
    rng = np.random.default_rng(seed)
    replies = good.collect()
    replies = replies.with_columns(draw=rng.random(replies.height))
    made, more = _judged(replies.lazy(), USERS[users], pairs, disagreement)
    made, last = sieve(_with_texts(made, replies.lazy()), unusable(ties))
    number = pl.Series(rng.integers(people, size=1 + int(replies["row"].max() or 0)))  # type: ignore[arg-type]
    user = pl.col("aspect") if people == 1 else pl.format("{}/{}", "aspect", pl.lit(number).gather(pl.col("row")))
    finished = weigh(made, TURN, weights).select(user.alias("user_id"), *TOLD).collect()
    who = finished.select("user_id", "aspect").unique().sort("user_id")
    return some(Frames("ultrafeedback", finished.drop("aspect"), who, {**without, **dropped, **more, **last}), source)


def _responses(source: str | Path) -> tuple[pl.DataFrame, dict[str, int]]:
    """A row for every reply: its prompt's `row` over all files, `place`, texts, model, ratings; and what is lost."""
    folder = folder_of(source, ABOUT.files)
    parts: list[pl.DataFrame] = []
    offset, without = 0, Counter[str]()
    names = parts_there(folder, {part: part for part in PARTS}) if folder.is_dir() else [folder.stem]
    for part in names:  # one after the other: their rationales are long
        table = open_table(folder, part, COLUMNS)
        without.update(table.dropped)
        replies, prompts = _replies(table)
        parts.append(replies.with_columns(pl.col("row") + offset, part=pl.lit(part)))
        offset += prompts
        pa.default_memory_pool().release_unused()
    return pl.concat(parts), dict(without)


def _replies(table: Table) -> tuple[pl.DataFrame, int]:
    """The replies of one file, and a number above those of its rows."""
    rows = each(table.frame.select(pl.col("instruction").alias("prompt"), "completions"), "completions")
    given = [pl.col("annotations").struct.field(a).struct.field("Rating").alias(a) for a in ASPECTS]
    long = rows.select(pl.col("row").cast(pl.Int64), "prompt", "response", "model", *given)
    known = [str(rating) for rating in range(1, HIGHEST + 1)]
    for aspect in ASPECTS:
        raise_for_value(
            long, ~pl.col(aspect).is_in([*known, UNRATED]), aspect, table.place, f"1 to {HIGHEST} or {UNRATED}"
        )
    place = pl.int_range(pl.len()).over("row").alias("place")
    numbers = [pl.col(aspect).replace(UNRATED, None).cast(pl.Float64) for aspect in ASPECTS]
    prompts = 1 + int(numbered(table.frame).select(pl.col("row").max()).collect().item())
    replies = long.with_columns(place, *numbers).collect()
    # copied once more, since polars' texts are views that would keep the whole file with its rationales in memory
    return pl.DataFrame(replies.to_arrow(compat_level=pl.CompatLevel.oldest())), prompts


def _judged(
    replies: pl.LazyFrame, aspects: tuple[str, ...], pairs: Pairs, disagreement: bool
) -> tuple[pl.LazyFrame, dict[str, int]]:
    """The wanted pairs of places in a row, by the aspects."""
    long = replies.unpivot(aspects, index=["row", "place"], variable_name="aspect", value_name="rating")
    rated, dropped = sieve(long, {"ratings that are missing": pl.col("rating").is_null()})
    made = ordered_pairs(rated, TURN, response="place", score="rating", span=RANGE).drop("gap")
    low, high = pl.min_horizontal("chosen", "rejected"), pl.max_horizontal("chosen", "rejected")
    made = made.with_columns(low=low, high=high)
    if pairs == "best":
        made = made.join(_best(replies), on=["row", "low", "high"], how="semi", maintain_order="left")
    ways = (pl.col("chosen") < pl.col("rejected")).filter(pl.col("label") == 1).n_unique()
    agreed = (ways.over("row", "low", "high") < 2) & pl.lit(disagreement)
    made, more = sieve(made, {"comparisons of pairs on which no aspects disagree": agreed})
    return made.drop("low", "high"), dropped | more


def _best(replies: pl.LazyFrame) -> pl.LazyFrame:
    """One pair a row: the first of the highest mean rating, and of those with a lower the one of lowest draw."""
    ranked = replies.select("row", "place", "draw", mean=pl.mean_horizontal(ASPECTS)).drop_nulls("mean")
    highest = pl.col("mean") == pl.col("mean").max().over("row")
    best = ranked.filter(highest).group_by("row").agg(best=pl.col("place").min())
    other = ranked.filter(~highest).group_by("row").agg(other=pl.col("place").sort_by("draw").first())
    both = best.join(other, on="row")
    return both.select("row", low=pl.min_horizontal("best", "other"), high=pl.max_horizontal("best", "other"))


def _with_texts(made: pl.LazyFrame, replies: pl.LazyFrame) -> pl.LazyFrame:
    """The pairs with texts in place of places."""
    for side in ("chosen", "rejected"):
        texts = replies.select("row", pl.col("place").alias(side), text="response", **{f"{side}_model": "model"})
        made = made.join(texts, on=["row", side], how="left", maintain_order="left")
        made = made.drop(side).rename({"text": side})
    prompts = replies.select("row", "prompt", "part").unique("row")
    return made.join(prompts, on="row", how="left", maintain_order="left")


def _binarized(source: str | Path, split: str, ties: Ties) -> Frames:
    table = open_table(source, (f"{split}_prefs-*.parquet", f"{split}-*.parquet"), BINARIZED)
    higher, lower = pl.col("score_chosen"), pl.col("score_rejected")
    raise_at_first(table.frame, higher < lower, table.place, "score_chosen is below score_rejected", "swap the sides")
    chosen, rejected = plain(pl.col("chosen")), plain(pl.col("rejected"))
    before = {name: side.list.head(side.list.len() - 1) for name, side in (("prompt", chosen), ("other", rejected))}
    last = {
        name: side.list.last().struct.field("content") for name, side in (("chosen", chosen), ("rejected", rejected))
    }
    sides = table.frame.select(
        pl.lit("gpt-4").alias("user_id"),
        **before,
        **last,
        label=pl.when(higher == lower).then(0.5).otherwise(1.0),
    )
    kept, dropped = sieve(
        sides,
        {
            "pairs under a prompt with a message without text": silent(pl.col("prompt")),
            "pairs whose sides differ before the last message": pl.col("prompt") != pl.col("other"),
        },
    )
    made, more = sieve(kept.drop("other"), unusable(ties))
    who = pl.DataFrame({"user_id": ["gpt-4"], "aspect": ["overall"]})
    return some(Frames("ultrafeedback", made, who, {**table.dropped, **dropped, **more}), source)
