"""Sets that come in the toolkit's own format: a folder of comparisons and users."""

from pathlib import Path

import polars as pl

from plurality.datasets._tools.about import folder_of, open_table
from plurality.datasets._tools.frames import Frames, sieve, some
from plurality.datasets._tools.schema import ID, ROW, TEXT

COMPARISONS = {"user_id": ID, "prompt": TEXT, "chosen": TEXT, "rejected": TEXT}
FILES = ("comparisons.parquet", "users.parquet")


def is_there(folder: Path) -> bool:
    """Whether a folder holds the comparisons of such a conversion."""
    return folder.is_dir() and (folder / FILES[0]).is_file()


def external(name: str, source: str | Path) -> Frames:
    """The comparisons and users of a folder, without pairs that have a blank or only one text.

    `read` raises for such rows; of a published set they are left out and counted. Raises InputError for bad files.
    """
    folder = folder_of(source, FILES)
    table = open_table(folder, "comparisons", COMPARISONS, optional={"group_id": ID})
    users = open_table(folder, "users", {"user_id": ID})
    blank = {side: ~pl.col(side).str.contains(r"\S") for side in ("prompt", "chosen", "rejected")}
    reasons = {f"rows whose {side} is blank": test for side, test in blank.items()}
    same = {"rows of equal texts": pl.col("chosen") == pl.col("rejected")}
    kept, dropped = sieve(table.frame, reasons | same)
    left_out = {**table.dropped, **users.dropped, **dropped}
    return some(Frames(name, kept.drop(ROW, strict=False), users.frame.collect(), left_out), source)
