"""Calibration and slices against independent packages, on probabilities that fall on no edge of a bin."""

import importlib
import warnings

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import accuracy_score, brier_score_loss
from sklearn.metrics import log_loss as sklearn_log_loss

from plurality.analyses.audit.compute import audit
from plurality.analyses.calibration.calibration import brier, debiased_l2, ece, log_loss


def drawn(seed, n=3000):
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.02, 0.98, n)
    return p, (rng.random(n) < p**1.3).astype(float)


def folded(p, y):
    return np.maximum(p, 1 - p), np.where(p > 0.5, y, 1 - y)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("bins", [10, 15])
def test_ece_of_torchmetrics(seed, bins):
    torch = importlib.import_module("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        functional = importlib.import_module("torchmetrics.functional.classification")
    p, y = drawn(seed)
    theirs = functional.binary_calibration_error(torch.as_tensor(p), torch.as_tensor(y).long(), n_bins=bins, norm="l1")
    # their sums are in single precision
    assert ece(p, y, orientation="presented", bins=bins) == pytest.approx(float(theirs), abs=1e-6)
    c, z = folded(p, y)
    # folded bins on [.5, 1] are the upper half of twice as many on [0, 1]
    theirs = functional.binary_calibration_error(torch.as_tensor(c), torch.as_tensor(z).long(), n_bins=10, norm="l1")
    assert ece(p, y, orientation="folded", bins=5) == pytest.approx(float(theirs), abs=1e-6)


def test_debiased_square_of_uncertainty_calibration():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = importlib.import_module("calibration")
    p, y = drawn(2)
    c, z = folded(p, y)
    edges = np.linspace(0, 1, 11)[1:]
    data = list(zip(c.tolist(), z.astype(int).tolist(), strict=True))
    bins = theirs.utils.bin(data, edges.tolist())
    expected = theirs.utils.unbiased_square_ce([b for b in bins if len(b)])
    assert debiased_l2(p, y, orientation="folded", bins=5) == pytest.approx(expected, abs=1e-14)


def test_scores_of_scikit_learn():
    p, y = drawn(3)
    assert brier(p, y) == pytest.approx(brier_score_loss(y, p), abs=1e-14)
    assert log_loss(p, y) == pytest.approx(sklearn_log_loss(y, p), abs=1e-12)


def test_slices_of_fairlearn(planted):
    fairlearn = importlib.import_module("fairlearn.metrics")
    predictions, people = planted
    found = audit(predictions, people, n_bootstrap=20).table.filter(metric="accuracy")
    rows = predictions.join(people, on="user_id", how="left", maintain_order="left")
    for by in (["region"], ["region", "group"]):
        frame = fairlearn.MetricFrame(
            metrics=accuracy_score,
            y_true=rows["label"].to_numpy().astype(int),
            y_pred=(rows["prob_first"] > 0.5).to_numpy().astype(int),
            sensitive_features=rows.select(by).to_pandas(),
        )
        # everybody has as many comparisons, so the mean over users is that over rows
        for level, expected in frame.by_group.items():
            name = level if isinstance(level, str) else " × ".join(level)
            row = found.filter(attribute=" × ".join(by), level=name)
            if not row["suppressed"].item():
                assert row["estimate"].item() == pytest.approx(expected, abs=1e-14)
        shown = found.filter(pl.col("attribute") == " × ".join(by), ~pl.col("suppressed"))
        assert shown.height >= 4
