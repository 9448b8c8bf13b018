"""Scores of the chosen and the rejected response as predictions."""

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from plurality.analyses.audit.compute import audit
from plurality.analyses.scores import predictions_from_scores
from plurality.errors import InputError


def scored(n=400, seed=0):
    rng = np.random.default_rng(seed)
    return pl.DataFrame(
        {
            "user_id": [f"u{k % 40}" for k in range(n)],
            "score_chosen": rng.normal(0.5, 1, n),
            "score_rejected": rng.normal(0, 1, n),
        }
    )


def test_the_chosen_side_keeps_its_score_wherever_it_is_put():
    table = scored()
    found = predictions_from_scores(table, temperature=2.0)
    gap = (table["score_chosen"] - table["score_rejected"]).to_numpy() / 2
    to_chosen = np.where(found["label"] == 1, found["gap"], -found["gap"])
    np.testing.assert_allclose(to_chosen, gap)
    np.testing.assert_allclose(found["prob_first"], expit(found["gap"].to_numpy()))
    assert 0.4 < found["label"].mean() < 0.6


def test_an_audit_takes_scores_as_they_are():
    table = scored()
    result = audit(table, n_bootstrap=20)
    accuracy = result.overall.filter(metric="accuracy")["estimate"].item()
    assert accuracy == pytest.approx((table["score_chosen"] > table["score_rejected"]).mean())


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (scored().drop("score_rejected"), "no column score_rejected"),
        (scored().with_columns(label=pl.lit(1.0)), "label is there already"),
        (scored().with_columns(score_chosen=pl.lit("good")), "score_chosen is 'good' in rows 0, 1"),
        (scored().with_columns(score_chosen=pl.lit(float("nan"))), "score_chosen is nan in row 0"),
        (scored().with_columns(score_rejected=pl.lit(None, pl.Float64)), "score_rejected is nan in row 0"),
    ],
)
def test_scores_that_cannot_be_used_are_refused(table, said):
    with pytest.raises(InputError, match=said):
        predictions_from_scores(table)


def test_a_temperature_is_above_zero():
    with pytest.raises(InputError, match="temperature 0"):
        predictions_from_scores(scored(), temperature=0.0)
