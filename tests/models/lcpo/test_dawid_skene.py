"""Dawid–Skene with one reliability each, against crowd-kit's, closed forms and the flip mixture."""

import numpy as np
import pandas as pd
import pytest
from crowdkit.aggregation import OneCoinDawidSkene
from scipy.special import expit, logit

from plurality.models.lcpo.dawid_skene import dawid_skene


def drawn(seed, comparisons=300, each=6, sd=None):
    rng = np.random.default_rng(seed)
    eta = np.linspace(0.55, 0.97, 12)
    margin = rng.normal(size=comparisons) * (sd or 0.0)
    truth = rng.random(comparisons) < expit(margin)
    comparison = np.repeat(np.arange(comparisons), each)
    annotator = np.concatenate([rng.choice(12, each, replace=False) for _ in range(comparisons)])
    right = rng.random(len(comparison)) < eta[annotator]
    label = np.where(right, truth[comparison], ~truth[comparison]).astype(float)
    return comparison, annotator, label, margin, truth, eta


@pytest.mark.filterwarnings("ignore:The (inplace|copy) keyword")  # pandas on crowd-kit
def test_the_same_as_crowd_kit():
    comparison, annotator, label, *_ = drawn(0)
    found = dawid_skene(comparison, annotator, label, max_iter=2000)
    frame = pd.DataFrame({"task": comparison, "worker": annotator, "label": label.astype(int)})
    theirs = OneCoinDawidSkene(n_iter=2000, tol=1e-12).fit(frame)
    np.testing.assert_allclose(found.reliability, theirs.skills_.sort_index().to_numpy(), atol=0.01)
    probability = theirs.probas_[1].sort_index().to_numpy()
    assert np.mean((found.truth > 0.5) == (probability > 0.5)) > 0.99


def test_reliabilities_and_truth_are_recovered():
    comparison, annotator, label, _, truth, eta = drawn(1, comparisons=2000)
    found = dawid_skene(comparison, annotator, label)
    assert np.abs(found.reliability - eta).max() < 0.06  # 1,000 labels each: a standard error of .016
    assert np.mean((found.truth > 0.5) == truth) > 0.93
    assert (np.diff(found.bounds) >= 0).all()


def test_a_reward_that_knows_something_helps():
    comparison, annotator, label, margin, truth, eta = drawn(2, comparisons=800, each=3, sd=2.0)
    blind, told = (dawid_skene(comparison, annotator, label, margin=m) for m in (None, margin))
    assert np.mean((told.truth > 0.5) == truth) > np.mean((blind.truth > 0.5) == truth) + 0.02
    assert np.abs(told.reliability - eta).mean() < np.abs(blind.reliability - eta).mean()


def test_one_label_a_comparison_is_the_flip_mixture():
    """η = mean of η σ(s) / (η σ(s) + (1 − η) σ(−s)) at the fixed point, RE-PO eqs 4 and 6."""
    rng = np.random.default_rng(3)
    margin = rng.normal(size=3000) * 3
    label = np.where(rng.random(3000) < 0.8, rng.random(3000) < expit(margin), rng.random(3000) >= expit(margin))
    found = dawid_skene(np.arange(3000), np.zeros(3000, dtype=int), label.astype(float), margin=margin)
    (eta,) = found.reliability
    s = np.where(label, margin, -margin)
    w = eta * expit(s) / (eta * expit(s) + (1 - eta) * expit(-s))
    assert eta == pytest.approx(w.mean(), abs=1e-5)
    np.testing.assert_allclose(found.truth, expit(margin + np.where(label, 1, -1) * logit(eta)), atol=1e-9)


def test_a_prior_keeps_few_labels_off_the_boundary():
    label = np.ones(4)
    sure, held = (
        dawid_skene(np.arange(4), np.zeros(4, dtype=int), label, margin=np.full(4, 9.0), prior=prior)
        for prior in ((1.0, 1.0), (9.0, 1.5))
    )
    assert sure.reliability[0] > 0.999
    assert held.reliability[0] == pytest.approx((4 + 8) / (4 + 8.5), abs=1e-3)
