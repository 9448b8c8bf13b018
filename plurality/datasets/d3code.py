"""D3CODE: people of 21 countries rate how offensive comments are, and answer what is moral to them.

Three tables: items, raters and ratings. Source: the repository's README; arXiv 2404.10857.
"""

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from plurality.datasets._tools.about import folder_of, open_table
from plurality.datasets._tools.frames import About, Checked, Frames, sieve, some
from plurality.datasets._tools.ratings import RatingWeights, Ties, rated_pairs
from plurality.datasets._tools.schema import ID, NUMBER, TEXT, Columns, raise_at_first, require_given
from plurality.datasets._tools.usable import blank

ABOUT = About(
    hub=None, licence="CC-BY-4.0", files=("d3-items.csv", "d3-raters.csv", "d3-ratings.csv"), checked=Checked.FILE
)

PROMPT = "Which of these comments is less offensive?"
NOT_UNDERSTOOD = -1
EXTREMELY = 4.0  # the scale is 0, not offensive at all, to 4
MORAL = ("care", "equality", "proportionality", "authority", "loyalty", "purity")
RATINGS = {"rater_id": ID, "item_id": ID, "rating_raw": NUMBER}
RATERS = {"Age": TEXT, "Gender": TEXT, "Region": TEXT, "Country": TEXT, "SES": NUMBER} | dict.fromkeys(MORAL, NUMBER)


def frames(
    source: str | Path,
    *,
    block: int = 8,
    ties: Ties = "drop",
    weights: RatingWeights = "rating",
    seed: int = 0,
) -> Frames:
    """The comment a person finds less offensive is preferred; `strength` is the gap over the 4 points of the scale.

    Each comment meets `block` − 1 others of the same person, drawn by `seed` (see `ratings.rated_pairs`). The prompt is
    the same for all, and items recur: split by item. Users have age, gender, region, country, SES and six moral
    foundations. Raises InputError for bad files and for ratings of unknown raters or items.
    """
    folder = folder_of(source, ABOUT.files)
    items = open_table(folder, "d3-items", {"item_id": ID}, optional={"text": TEXT})
    raters = open_table(folder, "d3-raters", {"rater_id": ID}, optional=RATERS)
    table = open_table(folder, "d3-ratings", RATINGS)
    require_given(items.frame, ["text"], items.place)
    comments = _once(items.frame, "item_id", ["text"], items.place)
    people = _once(raters.frame, "rater_id", RATERS, raters.place)
    for known, column in ((comments, "item_id"), (people, "rater_id")):
        _check_known(table.frame, column, known, table.place)
    raw = pl.col("rating_raw")
    outside = ~raw.is_in([float(NOT_UNDERSTOOD), 0.0, 1.0, 2.0, 3.0, EXTREMELY])
    raise_at_first(table.frame, outside, table.place, "rating_raw is none of -1, 0, 1, 2, 3, 4", "correct the row")
    joined = table.frame.join(comments, on="item_id", how="left", maintain_order="left")
    kept, dropped = sieve(
        joined,
        {
            "ratings of comments that were not understood": raw == NOT_UNDERSTOOD,
            "ratings of blank comments": blank("text"),
            "ratings that repeat a person's earlier one": pl.struct("rater_id", "item_id").is_first_distinct().not_(),
        },
    )
    rows = kept.select("item_id", user_id="rater_id", score=-raw).collect(engine="streaming")
    texts = comments.collect(engine="streaming")
    pairs, more = rated_pairs(rows, texts, span=EXTREMELY, block=block, ties=ties, weights=weights, seed=seed)
    left_out = {**items.dropped, **raters.dropped, **table.dropped, **dropped, **more}
    made = pairs.with_columns(prompt=pl.lit(PROMPT)).collect().lazy()
    known = people.select(pl.col("rater_id").alias("user_id"), *(pl.col(n).alias(n.lower()) for n in RATERS))
    users = known.join(made.select("user_id").unique(), on="user_id", how="semi", maintain_order="left")
    return some(Frames("d3code", made, users.collect(engine="streaming"), left_out), source)


def _once(table: pl.LazyFrame, column: str, said: Sequence[str] | Columns, place: str) -> pl.LazyFrame:
    """A row an id with what is said of it, since some ids recur. Raises InputError where their rows contradict."""
    facts = pl.struct(*said)
    other = facts.ne_missing(facts.first().over(column))
    cause = f"{column} is that of an earlier row that says something else"
    raise_at_first(table, other, place, cause, "keep one of them")
    return table.unique(column, keep="first", maintain_order=True).select(column, *said)


def _check_known(frame: pl.LazyFrame, column: str, known: pl.LazyFrame, place: str) -> None:
    """Raise InputError for the first id that the other table does not hold."""
    ids = known.select(column).collect()[column]
    unknown = ~pl.col(column).is_in(ids.implode())
    raise_at_first(
        frame, unknown, place, f"{column} is not in the table of its kind", "give the three files of one release"
    )
