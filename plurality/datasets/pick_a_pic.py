"""Pick-a-Pic: users of a web app choose the better of two images generated for their caption.

An item is an image under its caption, known by uid; its embedding comes from a table that an image encoder made
elsewhere. Source: the hub's card; arXiv 2305.01569.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from plurality.datasets._tools.about import open_table
from plurality.datasets._tools.conversion import one_of
from plurality.datasets._tools.frames import About, Checked, Frames, sieve, some
from plurality.datasets._tools.schema import FLAG, ID, NUMBER, TEXT, raise_at_first
from plurality.errors import InputError
from plurality.io.atomic import check_file, reserve, whole_file
from plurality.io.paths import expanded

ABOUT = About(
    hub="yuvalkirstain/pickapic_v2_no_images",
    licence="MIT by the project, not stated on the hub's cards",
    files=("train-*.parquet", "validation-*.parquet", "test-*.parquet"),
    checked=Checked.SCHEMA,
)
Split = Literal["train", "validation", "test", "validation_unique", "test_unique"]
Ties = Literal["drop", "keep"]

SIDES = (0, 1)
COLUMNS = {"user_id": ID, "caption": TEXT, "image_0_uid": ID, "image_1_uid": ID}
OPTIONAL = {"has_label": FLAG, "label_0": NUMBER, "label_1": NUMBER, "ranking_id": ID}
OPTIONAL |= {"model_0": TEXT, "model_1": TEXT}
VECTORS = {"image_uid": ID, "embedding": [NUMBER]}
BATCH = 1 << 15


def frames(source: str | Path, *, split: Split = "train", ties: Ties = "drop", vectors: str | None = None) -> Frames:
    """The preferred image with the other: `chosen` and `rejected` are row numbers of items, the captions `prompt`.

    Items are the images in use under their captions, in the order of uid and caption; `write_vectors` writes their
    embeddings in this order for `plurality.read(..., embeddings=)`. `vectors` is the table image_uid, embedding that
    it takes: comparisons with an image that the table lacks are left out. Labels of 1/2 are ties. Without embeddings
    `read` raises for the row numbers, so that no text encoder embeds a uid. Raises InputError for bad files.
    """
    one_of("split", split, get_args(Split))
    one_of("ties", ties, get_args(Ties))
    table = open_table(source, (f"{split}-*.parquet", split), COLUMNS, optional=OPTIONAL)
    label = [pl.col(f"label_{side}") for side in SIDES]
    labelled = pl.col("has_label").fill_null(True) & label[0].is_not_null() & label[1].is_not_null()
    bad = labelled & ~(label[0].is_in([0.0, 0.5, 1.0]) & (label[0] + label[1] == 1))
    raise_at_first(
        table.frame, bad, table.place, "label_0, label_1 are none of 1, 0 and 0, 1 and 0.5, 0.5", "correct the row"
    )
    reasons = {
        "comparisons without a label": ~labelled,
        "comparisons under a blank caption": ~pl.col("caption").str.contains(r"\S"),
        "comparisons of an image with itself": pl.col("image_0_uid") == pl.col("image_1_uid"),
        "ties": pl.lit(ties == "drop") & (label[0] == 0.5),
    }
    if vectors is not None:
        known = _uids(vectors)
        reasons["comparisons with an image without a vector"] = ~pl.all_horizontal(
            pl.col(f"image_{side}_uid").is_in(known.implode()) for side in SIDES
        )
    kept, dropped = sieve(table.frame, reasons)
    first = label[0] >= 0.5
    columns = {
        f"{name}_{what}": pl.when(first == (name == "chosen")).then(f"{a}0{b}").otherwise(f"{a}1{b}")
        for name in ("chosen", "rejected")
        for what, a, b in (("uid", "image_", "_uid"), ("model", "model_", ""))
    }
    tie = pl.when(label[0] == 0.5).then(0.5).otherwise(1.0)
    pairs = kept.select("user_id", "ranking_id", prompt="caption", label=tie, **columns)
    items = _items(pairs)
    for side in ("chosen", "rejected"):
        rows = items.lazy().select("prompt", pl.col("uid").alias(f"{side}_uid"), pl.col("row").alias(side))
        pairs = pairs.join(rows, on=["prompt", f"{side}_uid"], how="left", maintain_order="left")
    users = pairs.select("user_id").unique(maintain_order=True).collect(engine="streaming")
    made = some(Frames("pick_a_pic", pairs, users, {**table.dropped, **dropped}), source)
    return made if vectors is None else replace(made, embeddings=lambda target: write_vectors(made, vectors, target))


def write_vectors(made: Frames, vectors: str | Path, target: str | Path) -> Path:
    """Write the embeddings of the items of `frames`, (items, d) float32 in the order of rows, as a .npy file.

    `vectors` is a parquet file, or a folder of such, with the columns image_uid and embedding (a list of d numbers); it
    is read in pieces, and what is written is mapped, so that neither need fit in memory. Raises InputError for an image
    of the frames that the table lacks or has twice, and for embeddings that differ in length or are not finite.
    """
    table = open_table(vectors, ("*.parquet", "images"), VECTORS)
    known = table.frame.select("image_uid").collect(engine="streaming")["image_uid"]
    again = ~pl.col("image_uid").is_first_distinct()
    raise_at_first(table.frame, again, table.place, "image_uid is that of an earlier row", "keep one of them")
    items = _items(made.comparisons.lazy())
    lost = items.filter(~pl.col("uid").is_in(known.implode()))
    if lost.height:
        raise InputError(
            f"{table.place}: {lost.height:,} images have no vector, {lost['uid'][0]} among them; "
            "make the frames with vectors= of this table"
        )
    path = expanded(target)
    check_file(path)
    with whole_file(path) as new:
        out = None
        for start in range(0, len(known), BATCH):
            piece = table.frame.select("image_uid", "embedding").slice(start, BATCH).collect()
            block = _matrix(piece["embedding"], start, None if out is None else out.shape[1], table.place)
            if out is None:
                out = np.lib.format.open_memmap(new, "w+", np.float32, (items.height, block.shape[1]))
                reserve(new)
            at = piece.select(uid="image_uid").with_row_index("at").join(items, on="uid")
            out[at["row"].to_numpy()] = block[at["at"].to_numpy()]
        if out is None:
            raise InputError(f"{table.place} holds no row; give a table of vectors")
        out.flush()
    return path


def _items(pairs: pl.LazyFrame) -> pl.DataFrame:
    """Images under their captions: `uid`, `prompt`, and `row` from 0, in the order of uid and caption."""
    sides = [pairs.select("prompt", uid=f"{side}_uid") for side in ("chosen", "rejected")]
    items = pl.concat(sides).unique().sort("uid", "prompt").collect(engine="streaming")
    return items.with_row_index("row").with_columns(pl.col("row").cast(pl.Int64))


def _uids(vectors: str) -> pl.Series:
    table = open_table(vectors, ("*.parquet", "images"), {"image_uid": ID})
    return table.frame.select("image_uid").unique().collect(engine="streaming")["image_uid"]


def _matrix(lists: pl.Series, start: int, width: int | None, place: str) -> NDArray[np.float32]:
    """The vectors as (n, width), the first one's length if there is no width yet; `start` is the first one's row."""
    lists = lists.cast(pl.List(pl.Float32))
    lengths = lists.list.len().to_numpy()
    width = int(lengths[0]) if width is None else width
    flat = lists.explode().to_numpy()
    wrong = lengths != width
    if not wrong.any() and width:
        matrix = flat.reshape(-1, width)
        wrong = ~np.isfinite(matrix).all(axis=1)
        if not wrong.any():
            return matrix
    row = start + int(np.argmax(wrong)) + 1
    raise InputError(f"{place}: row {row}: embedding is not {width} finite numbers; embed the image again")
