"""Whether people favour what they are shown first, whatever it is."""

import numpy as np
import polars as pl
from scipy.special import logit

from plurality.analyses.audit.labels import number
from plurality.analyses.audit.metrics import POSITION
from plurality.analyses.audit.sections import Section
from plurality.analyses.audit.slices import OVERALL
from plurality.analyses.audit.tables import TABLE, start_of_row
from plurality.analyses.calibration.slopes import position_bias
from plurality.analyses.inference.bootstrap import two_sided_p
from plurality.analyses.inputs import Predictions
from plurality.analyses.wording import leaning


def presented(data: Predictions, level: float) -> Section | None:
    """Position bias over all users; None where it is not said who was shown first, or a probability is 0 or 1.

    The intercept a of logit P(displayed first is preferred) = a + b·gap over rows whose order was recorded (not ½).
    """
    gap = logit(data.p) if data.gap is None else data.gap
    if data.shown is None or not np.isfinite(gap).all():
        return None
    rows = data.shown != 0.5
    turned = data.shown[rows] < 0.5
    y = np.where(turned, 1 - data.y[rows], data.y[rows])
    gap = np.where(turned, -gap[rows], gap[rows])
    user = data.user[rows]
    found = position_bias(gap, y, users=user, weights=data.pooled[rows], level=level)
    p = float(two_sided_p(found.intercept, found.se, found.n_users))
    row = start_of_row(POSITION, *OVERALL) | {
        "n_users": found.n_users,
        "n_comparisons": int(rows.sum()),
        "estimate": found.intercept,
        "lo": found.lo,
        "hi": found.hi,
        "null_expectation": 0.0,
        "p": p if np.isfinite(p) else None,
        "flag": found.flag or None,
    }
    table = pl.DataFrame([row], schema=TABLE)
    return Section(
        POSITION.name,
        "What is shown first",
        _said(found.intercept, found.lo, found.hi),
        f"Of {rows.sum():,} comparisons whose display order is known. Labels of people who favour one side teach a "
        "model less of their taste than their number says.",
        table,
        None,
        table,
    )


def _said(value: float, lo: float, hi: float) -> tuple[str, ...]:
    if not np.isfinite(lo):
        return ()
    beyond = leaning(lo, hi, "", "", ", so no such effect is shown")
    ends = f"[{number(lo, 2)}, {number(hi, 2)}]"
    return (f"Being displayed first changes the log-odds of being preferred by {number(value, 2)} {ends}{beyond}.",)
