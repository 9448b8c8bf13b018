"""DPL: exact probabilities, disagreement seen without whose it is, accuracy as Bradley–Terry's."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import norm

from plurality.datasets.simulated import populations as planted
from plurality.errors import InputError
from plurality.models import BradleyTerry
from plurality.models.dpl import DPL


def fitted(spec, shares, seed=0):
    seen, _ = planted.taste_groups(80, shares=shares, width=8, scale=3.0, seed=seed)
    train, test = seen.sample(40, seed=seed + 1).data, seen.sample(60, seed=seed + 2).data
    return spec.fit(train), train, test


def hit(p, data):
    return np.mean((p > 0.5) == (data.label > 0.5))


def test_mean_variance_is_the_exact_normal_cdf():
    model, _, test = fitted(DPL(decay=3.0), (0.5, 0.5))
    m, s = model.features(test.items).double().numpy().T
    gap = (m[test.first] - m[test.second]) / np.hypot(s[test.first], s[test.second])
    np.testing.assert_allclose(model.prefer(test), norm.cdf(gap), atol=1e-6)
    first = torch.tensor([[40.0, 1.0]], dtype=torch.float64)
    odds = model.head.doubled().log_odds(first, torch.tensor([[0.0, 1.0]], dtype=torch.float64), torch.zeros(1, 0))
    assert odds.item() == pytest.approx(-norm.logsf(40 / np.sqrt(2)), rel=1e-6)  # far tails, in log space


def test_categorical_by_hand():
    model, _, test = fitted(DPL(kind="categorical", decay=3.0), (0.5, 0.5))
    p = model.features(test.items).double().numpy()
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    rows = slice(0, 40)
    first, second = p[test.first[rows]], p[test.second[rows]]
    wanted = [
        sum(a[i] * b[j] * (1.0 if i > j else 0.5 if i == j else 0.0) for i in range(10) for j in range(10))
        for a, b in zip(first, second, strict=True)
    ]
    np.testing.assert_allclose(model.prefer(test)[rows], wanted, atol=1e-6)


@pytest.mark.parametrize("kind", ["mean_variance", "categorical"])
def test_disagreement_is_seen_but_not_whose_it_is(kind):
    """r² falls where people disagree; accuracy is Bradley–Terry's within noise, and says nothing of users."""
    united, _, test = fitted(DPL(kind=kind, decay=6.0), (1.0,))
    divided, train, divided_test = fitted(DPL(kind=kind, decay=6.0), (0.5, 0.5))
    assert united.report["r2"] > divided.report["r2"] + 0.03
    pooled = BradleyTerry().fit(train)
    assert hit(divided.prefer(divided_test), divided_test) == pytest.approx(
        hit(pooled.prefer(divided_test), divided_test), abs=0.03
    )
    assert hit(united.prefer(test), test) > 0.8
    assert united.users.columns == ["user_id", "n_comparisons", "uncertainty"]


@pytest.mark.parametrize("kind", ["mean_variance", "categorical"])
def test_a_small_quantile_is_a_cautious_reward(kind):
    model, _, test = fitted(DPL(kind=kind, decay=6.0), (0.5, 0.5))
    cautious, _, _ = fitted(DPL(kind=kind, decay=6.0, quantile=0.05), (0.5, 0.5))
    np.testing.assert_array_equal(model.prefer(test), cautious.prefer(test))  # what people choose is the same
    mean, low = (m.utility(test.items[:50], ["user-0"])[0] for m in (model, cautious))
    assert (low <= mean + 1e-6).all()
    assert np.mean(low < mean - 1e-4) > 0.9
    if kind == "mean_variance":
        m, s = cautious.features(test.items[:50]).numpy().T
        np.testing.assert_allclose(low, m + norm.ppf(0.05) * s, atol=1e-4)


def test_all_users_have_the_same_reward_known_or_not():
    model, _, test = fitted(DPL(decay=3.0), (0.6, 0.4))
    unseen = test.with_users([f"unseen {i}" for i in range(80)])
    np.testing.assert_array_equal(model.prefer(test), model.prefer(unseen, unknown="population"))
    tied = replace(test, label=np.full(len(test), 0.5))
    np.testing.assert_allclose(DPL(decay=3.0).fit(tied).prefer(test), 0.5, atol=0.02)


def test_settings_that_cannot_be():
    for text, settings in {
        "kind 'beta' is unknown; choose one of mean_variance, categorical": {"kind": "beta"},
        "quantile 1 must lie between 0 and 1": {"quantile": 1},
        "decay positive": {"decay": 0},
    }.items():
        with pytest.raises(InputError, match=text):
            DPL(**settings)
