"""The table of predictions that audits and comparisons read."""

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from plurality.data.comparisons import Comparisons
from plurality.reward.links import prob

TAKEN = ("model", "control", "fold", "cell", "shown_first", "served_first")  # by comparisons and audits


def prediction_rows(data: Comparisons, log_odds: NDArray[np.float64]) -> pl.DataFrame:
    """Rows that an audit reads, of the comparisons and the log-odds (N,) of the first; `pair` names the two items.

    Where people said other things than pairs, `answers` of the rows and the rows of both items stand beside them.
    Attributes of the rows do too, but those whose name means something to who reads this.
    """
    made = pl.DataFrame(
        {
            "user_id": data.users["user_id"].gather(data.user),
            "pair": np.asarray(data.first, dtype=np.int64) * len(data.items) + data.second,
            "prob_first": prob(torch.as_tensor(log_odds)).numpy(),
            "gap": log_odds,
            "label": data.label,
            "weight": data.weight,
        }
    )
    if data.answers is not None:
        made = made.hstack(data.answers.with_columns(item_first=data.first, item_second=data.second))
    if data.attributes is None:
        return made
    return pl.concat([made, data.attributes.drop(*made.columns, *TAKEN, strict=False)], how="horizontal")
