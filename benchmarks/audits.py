"""An audit at the size of a platform: six attributes and all their pairs, a thousand draws of users."""

from collections.abc import Iterator

import numpy as np
import polars as pl
from scipy.special import expit

from benchmarks.rows import Row
from plurality.analyses.audit.compute import audit
from plurality.evaluation.cost import metered

ROWS, USERS, LEVELS, DRAWS = 1_000_000, 20_000, (4, 5, 6, 7, 8, 9), 1000
PAIRS = 50_000  # that people share


def run() -> Iterator[Row]:
    """Predictions that are somewhat overconfident, attributes that tell nothing."""
    rng = np.random.default_rng(0)
    ids, user, gap = np.array([f"u{k}" for k in range(USERS)]), rng.integers(USERS, size=ROWS), rng.normal(0, 1.5, ROWS)
    label = (rng.random(ROWS) < expit(0.8 * gap)).astype(float)
    predictions = pl.DataFrame({"user_id": ids[user], "prob_first": expit(gap), "gap": gap, "label": label})
    predictions = predictions.with_columns(pair=pl.Series(rng.integers(PAIRS, size=ROWS)))
    people = {f"attribute {k}": rng.integers(k, size=USERS).astype(str) for k in LEVELS}
    with metered() as used:
        result = audit(predictions, pl.DataFrame({"user_id": ids, **people}), n_bootstrap=DRAWS)
    slices = result.table.select("attribute", "level").n_unique()
    yield Row(
        f"1,000,000 rows, {slices} slices, wall", f"{used.seconds:.0f} s ({used.cpu_seconds:.0f} CPU s)",
        "< 60 s on 2 cores", used.seconds < 60,
    )  # fmt: skip
    yield Row("the same, memory", f"{used.peak_mib / 1024:.2f} GiB", "< 4 GB", used.peak_mib < 4e9 / 2**20)
