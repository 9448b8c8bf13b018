"""The frames of a comparison of models: what its views and its figure are made of."""

from dataclasses import dataclass, field
from typing import Any

import polars as pl

METRICS = {
    "accuracy": "accuracy, mean over users",
    "accuracy_pooled": "accuracy, pooled",
    "log_loss": "log-loss, mean over users (nats)",
    "log_loss_pooled": "log-loss, pooled (nats)",
    "brier": "Brier, mean over users",
    "ece": "folded calibration error, pooled",
    "worst_decile": "accuracy, worst tenth of users",
}


@dataclass(frozen=True, eq=False, repr=False)
class ComparisonFrames:
    """What `compare` found, without methods.

    table         tidy: model, control, cell, metric, n_users, n_comparisons, estimate, lo, hi, null_expectation,
                  diff, diff_lo, diff_hi (paired difference to Bradley–Terry, or where all models start from a base
                  reward to that); intervals resample users
    gains         model, cell, metric, gain, lo, hi: users' own codes against the population's, same rows and draws
    predictions   tidy: model, control, fold, cell, user_id, pair, prob_first, gap, label, weight
    fits          a row a fit: model, fold, seconds, cpu_seconds, peak_mib, users, scale (of raw scores)
    about         the protocol
    harmed        a row a model and cell, `plurality.evaluation.harm.harmed_table`: the share of users harmed
    answers       a row a kind of answer, model, cell and metric, `plurality.evaluation.answers.tabulate_answers`:
                  ratings, rankings, choices and thumbs by measures of their own; empty where all is pairs
    curves        a row a model, size and metric, `plurality.evaluation.few_shot.curve_table`; empty for one size
    """

    table: pl.DataFrame
    gains: pl.DataFrame
    predictions: pl.DataFrame
    fits: pl.DataFrame
    about: dict[str, Any]
    harmed: pl.DataFrame = field(default_factory=pl.DataFrame)
    curves: pl.DataFrame = field(default_factory=pl.DataFrame)
    answers: pl.DataFrame = field(default_factory=pl.DataFrame)
