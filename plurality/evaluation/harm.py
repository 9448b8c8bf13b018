"""Who is harmed: the share of users whom their own code predicts worse than the population's, noise taken off.

A user's loss on a few held-out rows goes up by luck alone, so that counting those whose loss went up counts noise. What
is counted here is the change that would be seen on ever more rows.
"""

import numpy as np
import polars as pl

from plurality.analyses.welfare.harm import Changes, harmed_with_interval

__all__ = ["harmed_table"]

COLUMNS = ("change", "observed", "harmed", "lo", "hi", "sd")


def harmed_table(
    predictions: pl.DataFrame, *, population: str, n_bootstrap: int, seed: int, level: float = 0.95
) -> pl.DataFrame:
    """A row a model and cell that has a line of the population's code: whom knowing them harms.

    model, cell, n_users, change (mean over users, nats, above 0 is worse), observed (share of users whose loss went
    up), harmed (`share_harmed` of those by more than .001 nats), lo, hi, sd (of true changes over users, nats). The
    interval resamples users; its lower end is no higher than what `surely_harmed` shows, as a normal curve has people
    on both sides of 0 whoever they are.

    predictions    rows of all lines and cells, as of `Comparison.predictions`
    population     what a line of the population's code is called after its model
    n_bootstrap    resamples of users behind the intervals
    seed           of the resamples
    level          coverage of the intervals, in (0, 1)
    """
    rows = []
    for (cell,), part in predictions.group_by("cell", maintain_order=True):
        by = {str(model): lines for (model,), lines in part.group_by("model", maintain_order=True)}
        for model in by:
            if (control := f"{model} · {population}") not in by:
                continue
            own, shared = by[model], by[control]
            user = own["user_id"].rank("dense").to_numpy().astype(np.int64) - 1
            label, weight = (own[c].to_numpy().astype(float) for c in ("label", "weight"))
            changes = Changes.of(own["gap"].to_numpy(), shared["gap"].to_numpy(), label, weight, user)
            found = harmed_with_interval(changes, n_bootstrap, seed, level)
            rows.append({"model": model, "cell": cell, "n_users": len(changes.mean)} | found)
    text = dict.fromkeys(("model", "cell"), pl.String)
    return pl.DataFrame(rows, schema={**text, "n_users": pl.Int64, **dict.fromkeys(COLUMNS, pl.Float64)})
