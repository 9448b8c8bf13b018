"""Real people, where the data are there: what PAL gains on items new to the user, and how a row split flatters."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from benchmarks.rows import Row
from plurality import PAL, compare, read

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def run() -> Iterator[Row]:
    """Five folds by item and one by row, with the encoder that needs no download."""
    for name in ("polis", "popquorn"):
        if not (DATA / name).is_dir():
            yield Row(name, f"not there ({name} under ../shared/data)")
            continue
        data = read(DATA / name / "comparisons.parquet", users=DATA / name / "users.parquet", encoder="lsa")
        for split, folds in (("item", 5), ("row", 1)):
            result = compare(data, [PAL()], split=split, folds=folds, shuffled=False)
            cell = f"seen user, unseen {split}"
            row = result.table.filter(
                (pl.col("model") == "pal") & (pl.col("cell") == cell) & (pl.col("metric") == "accuracy")
            ).row(0, named=True)
            gain = result.gains.filter((pl.col("cell") == cell) & (pl.col("metric") == "accuracy")).row(0, named=True)
            promised = {("polis", "item"): "vs BT ≥ +.005"}.get((name, split), "")
            yield Row(
                f"{name} by {split}: PAL {row['estimate']:.3f}",
                f"vs BT {row['diff']:+.3f} [{row['diff_lo']:+.3f}, {row['diff_hi']:+.3f}]; "
                f"own code {gain['gain']:+.3f} [{gain['lo']:+.3f}, {gain['hi']:+.3f}]",
                promised,
                row["diff"] >= 0.005 if promised else None,
            )
