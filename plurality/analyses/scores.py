"""Predictions from the scores that a reward model gave the chosen and the rejected response."""

import numpy as np
import polars as pl
from scipy.special import expit

from plurality.analyses.inputs import Table, numbers, read_table
from plurality.errors import InputError

CHOSEN, REJECTED = "score_chosen", "score_rejected"


def predictions_from_scores(
    table: Table, *, chosen: str = CHOSEN, rejected: str = REJECTED, temperature: float = 1.0, seed: int = 0
) -> pl.DataFrame:
    """The table with prob_first = σ(gap), gap = (score − score)/temperature in log-odds and label, for `audit`.

    Which response is called the first is drawn by `seed`, since a file with the winner first says nothing of order.
    Other columns are passed on. Raises InputError for scores that are missing or no finite numbers.

    table          table, or file, with the two columns of scores
    chosen         column with the score of the preferred response
    rejected       column with the score of the other
    temperature    what score differences are divided by

    >>> import plurality as pl8
    >>> scores = {"user_id": ["ada", "bo"], "score_chosen": [1.0, 0.2], "score_rejected": [0.0, 0.5]}
    >>> found = pl8.predictions_from_scores(scores, seed=0)
    >>> [bool((p > 0.5) == (y > 0.5)) for p, y in found.select("prob_first", "label").iter_rows()]
    [True, False]
    """
    frame = read_table(table, "scores")
    missing = [c for c in (chosen, rejected) if c not in frame.columns]
    if missing:
        raise InputError(f"scores: no column {', '.join(missing)}; name those of the two scores in chosen=, rejected=")
    taken = [c for c in ("prob_first", "gap", "label") if c in frame.columns]
    if taken:
        raise InputError(f"scores: {', '.join(taken)} is there already; these are predictions, audit them as they are")
    sides = []
    for name in (chosen, rejected):
        sides.append(numbers(frame, name, "scores", "give numbers"))
        bad = np.flatnonzero(~np.isfinite(sides[-1]))
        if len(bad):
            raise InputError(f"scores: {name} is {sides[-1][bad[0]]} in row {bad[0]} (first row is 0); drop or mend it")
    if not temperature > 0:
        raise InputError(f"scores: temperature {temperature}; give a number above 0")
    first = np.random.default_rng(seed).random(frame.height) < 0.5
    gap = np.where(first, 1, -1) * (sides[0] - sides[1]) / temperature
    return frame.drop(chosen, rejected).with_columns(
        prob_first=pl.Series(expit(gap)), gap=pl.Series(gap), label=pl.Series(first.astype(np.float64))
    )
