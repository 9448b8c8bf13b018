"""POPQUORN offensiveness: which of two Reddit comments the same annotator rated less offensive.

One table of ratings, with what is known of the annotator in every row. Source: the file of the repository.
"""

from pathlib import Path

import polars as pl

from plurality.datasets._tools import external
from plurality.datasets._tools.about import folder_of, open_table
from plurality.datasets._tools.frames import About, Checked, Frames, sieve, some
from plurality.datasets._tools.ratings import RatingWeights, Ties, agreed, rated_pairs
from plurality.datasets._tools.schema import ID, NUMBER, TEXT, raise_at_first, require_given
from plurality.datasets._tools.usable import blank

ABOUT = About(
    hub=None,
    licence="research use, do not redistribute (Jiaxin-Pei/Potato-Prolific-Dataset)",
    files=("offensiveness/raw_data.csv", *external.FILES),
    checked=Checked.FILE,
)

PROMPT = "Which of these comments is less offensive?"
POINTS = 4.0  # the scale is 1, not at all, to 5
PEOPLE = ("gender", "race", "age", "occupation", "education")
OPTIONAL = {"text": TEXT, "offensiveness": NUMBER} | dict.fromkeys(PEOPLE, TEXT)


def frames(
    source: str | Path,
    *,
    block: int = 8,
    ties: Ties = "drop",
    weights: RatingWeights = "rating",
    seed: int = 0,
) -> Frames:
    """The comment a person finds less offensive is preferred; `strength` is the gap over the 4 points of the scale.

    Each comment meets `block` − 1 others of the same person, drawn by `seed` (see `ratings.rated_pairs`). The prompt
    is the same for all, and items recur: split by item. The language is rough. A folder of comparisons.parquet and
    users.parquet, a conversion, is read as it stands. Raises InputError for bad files.
    """
    folder = folder_of(source, ABOUT.files)
    if external.is_there(folder):
        return external.external("popquorn", folder)
    names = ("offensiveness/raw_data", "raw_data")
    table = open_table(folder, names, {"instance_id": ID, "user_id": ID}, optional=OPTIONAL)
    require_given(table.frame, ["text", "offensiveness"], table.place)
    rating, text = pl.col("offensiveness"), pl.col("text")
    outside = ~rating.is_between(1, 1 + POINTS)
    raise_at_first(table.frame, outside, table.place, "offensiveness is not within 1 to 5", "correct the row")
    other = text.ne_missing(text.drop_nulls().first().over("instance_id")) & text.is_not_null()
    cause = "the text is not that of an earlier row with this instance_id"
    raise_at_first(table.frame, other, table.place, cause, "give the file of one release")
    kept, dropped = sieve(
        table.frame,
        {
            "ratings of blank comments": blank("text"),
            "ratings without a number": rating.is_null(),
            "ratings that repeat a person's earlier one": ~pl.struct("user_id", "instance_id").is_first_distinct(),
        },
    )
    rows = kept.select("user_id", "text", item_id="instance_id", score=-rating).collect(engine="streaming")
    texts = rows.group_by("item_id", maintain_order=True).agg(pl.col("text").first())
    pairs, more = rated_pairs(rows, texts, span=POINTS, block=block, ties=ties, weights=weights, seed=seed)
    made = pairs.with_columns(prompt=pl.lit(PROMPT)).collect().lazy()
    users = agreed(table.frame, PEOPLE).join(made.select("user_id").unique(), on="user_id", how="semi")
    left_out = {**table.dropped, **dropped, **more}
    return some(Frames("popquorn", made, users.collect(engine="streaming"), left_out), source)
