"""What an audit holds of its people one by one, and of all of them in order: the users table, the Lorenz curve."""

import numpy as np
import polars as pl

from plurality.analyses.audit.estimates import Plan
from plurality.analyses.audit.metrics import MEANS, METRICS, UTILITY
from plurality.analyses.audit.user_sums import Material
from plurality.analyses.inputs import Predictions
from plurality.analyses.welfare.welfare import lorenz, lorenz_noise


def users_table(data: Predictions, base: Material, attributes: pl.DataFrame) -> pl.DataFrame:
    """A row for each user: number of comparisons, the user's own means, attributes."""
    names = [m.name if m.provenance == "observed" else f"{m.name}_predicted" for m in METRICS[MEANS]]
    own = pl.DataFrame({"user_id": list(data.ids), "n_comparisons": base.sums.rows})
    means = pl.DataFrame(base.sums.means, schema=names)
    taken = {name: f"{name} (attribute)" for name in attributes.columns if name in (*own.columns, *names)}
    return pl.concat([own, means, attributes.rename(taken)], how="horizontal")


def lorenz_curve(base: Material, plan: Plan) -> pl.DataFrame:
    """Lorenz curve of observed utility, at most 101 points, and the band that equal users would show.

    Between two points there are at least as many users as a slice needs, since each step is the utility of those
    between them.
    """
    utility, weights = base.sums.means[:, UTILITY], base.weights_of(np.arange(len(base.people)))
    people, curve = lorenz(utility, weights)
    steps = int(np.clip(len(utility) // max(plan.least, 1), 1, 100))
    shares = np.linspace(0, 1, steps + 1)
    if weights is not None:  # equal numbers of people, whatever they weigh
        shares = np.interp(shares, np.linspace(0, 1, len(people)), people)
    times = int(np.clip(4_000_000 // len(utility), 20, 200))
    mean = float(np.average(utility, weights=base.people))
    equal = lorenz_noise(base.sums.comparisons, mean, shares, people=weights, draws=times, seed=plan.seed)
    lo, hi = np.quantile(equal, [0.5 - plan.level / 2, 0.5 + plan.level / 2], axis=0)
    columns = {"users": shares, "utility": np.interp(shares, people, curve), "equal_lo": lo, "equal_hi": hi}
    return pl.DataFrame(columns)
