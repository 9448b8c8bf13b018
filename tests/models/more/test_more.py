"""MORE: no source carries the reward away, calibration against the plain mixture, users as directions."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from plurality.analyses.calibration.calibration import ece
from plurality.datasets.simulated import populations as planted
from plurality.datasets.simulated.sources import sources, with_objectives
from plurality.errors import InputError
from plurality.models import BradleyTerry
from plurality.models.more import MORE

FAST = {"source": "group", "steps": 150, "decay": 2.0}


def by_source(model, sample, group):
    """Mean over sources of the symmetrised calibration error, and of accuracy."""
    p, data = model.prefer(sample.data), sample.data
    errors, hits = [], []
    for k in np.unique(group):
        mine = group[data.user] == k
        errors.append(ece(p[mine], data.label[mine], orientation="symmetrised", bins=10))
        hits.append(np.mean((p[mine] > 0.5) == (data.label[mine] > 0.5)))
    return float(np.mean(errors)), float(np.mean(hits))


@pytest.mark.slow
def test_calibration_is_better_than_the_plain_mixtures_on_conflicting_sources():
    """One source with a strong drift, two weak ones against it; four draws, the same batches for both."""
    found = []
    for seed in range(4):
        seen, _ = sources(seed=seed)
        train, test = seen.sample(50, seed=10 + seed).data, seen.sample(100, seed=20 + seed)
        found.append([by_source(MORE(balance=b, **FAST).fit(train), test, seen.group) for b in ("min_norm", "plain")])
    (more, hit), (plain, plain_hit) = np.mean(found, 0)
    assert more < plain - 0.003
    assert hit > plain_hit - 0.01


def test_weights_are_logged_and_lean_on_those_who_pull_apart():
    seen, _ = sources(seed=1)
    report = MORE(**FAST).fit(seen.sample(50, seed=2).data).report
    assert sum(report["weights"].values()) == pytest.approx(1, abs=1e-6)
    assert report["weights"]["group 0"] > 0.36  # the two others pull the same way, so each counts less
    assert max(report["weights_sd"].values()) > 0.005
    plain = MORE(balance="plain", **FAST).fit(seen.sample(50, seed=2).data).report
    assert list(plain["weights"].values()) == pytest.approx([1 / 3] * 3)


def test_l2_with_two_sources_is_the_plain_mixture():
    seen, _ = sources(seed=3, drifts=(3.0, 1.0))
    data = seen.sample(30, seed=4).data
    a, b = (MORE(balance=balance, **FAST).fit(data).gap(data) for balance in ("min_norm", "plain"))
    np.testing.assert_allclose(a, b, atol=1e-5)
    c = MORE(normalise="none", **FAST).fit(data).gap(data)
    assert np.abs(a - c).max() > 0.05


@pytest.mark.slow
def test_sources_that_agree_give_bradley_terry():
    seen, _ = planted.taste_groups(90, shares=(1.0,), width=8, seed=5)
    users = seen.users.with_columns(panel=pl.Series(["a", "b", "c"] * 30))
    train, test = replace(seen.sample(60, seed=6).data, users=users), replace(seen.sample(60, seed=7).data, users=users)
    more, pooled = MORE(source="panel").fit(train), BradleyTerry().fit(train)
    assert np.corrcoef(more.gap(test), pooled.gap(test))[0, 1] > 0.99
    right = test.label > 0.5
    assert np.mean((more.gap(test) > 0) == right) > np.mean((pooled.gap(test) > 0) == right) - 0.01


def test_objectives_of_rows_and_columns_of_users_are_the_same_thing():
    seen, _ = sources(seed=8)
    data = seen.sample(10, seed=9).data
    rows = with_objectives(data, "group")
    one, other = MORE(**FAST).fit(data), MORE(**FAST | {"source": "objective"}).fit(rows)
    np.testing.assert_array_equal(one.gap(data), other.gap(rows))


def test_a_user_as_a_direction_over_objectives():
    """Users weigh three objectives that are judged one at a time by others: seen and unseen users near the truth."""
    seen, new = planted.objectives(120, width=8, scale=4.0, seed=10, unseen=40)
    judged = np.eye(3)[np.arange(120) % 3]  # a third of users judge by one objective alone
    pure = replace(seen, theta=np.where((np.arange(120) < 60)[:, None], judged, seen.theta))
    pure = replace(pure, group=np.where(np.arange(120) < 60, np.arange(120) % 3, 3))
    train = pure.sample(40, seed=11).data
    train = train.of_users([f"user-{i}" for i in range(60)])
    model = MORE(source="group", multi_head=True, decay=2.0, steps=200).fit(train)
    support, query = new.sample(30, seed=12).data, new.sample(60, seed=13)
    adapted = model.adapt(support)

    def hit(p):
        return np.mean((p > 0.5) == (query.data.label > 0.5))

    assert hit(adapted.prefer(query.data)) > query.accuracy() - 0.04
    assert hit(adapted.prefer(query.data)) > hit(model.prefer(query.data, unknown="population")) + 0.03
    assert model.spec.n_sources == 3
    assert model.objectives == ("group 0", "group 1", "group 2")
    items = np.random.default_rng(0).standard_normal((300, 8), dtype=np.float32)
    planted_rewards = np.stack([seen.utility(items, np.eye(3)[[k]]) for k in range(3)], 1)
    found = np.corrcoef(model.by_objective(items).T, planted_rewards.T)[:3, 3:]
    assert found.diagonal().min() > 0.95  # each by its name, and not another's
    assert np.abs(found - np.diag(found.diagonal())).max() < 0.3


def test_a_hidden_layer_learns_too():
    seen, _ = sources(seed=14, width=8)
    data = seen.sample(40, seed=15).data
    model = MORE(hidden=8, **FAST).fit(data)
    assert np.mean((model.gap(data) > 0) == (data.label > 0.5)) > 0.65


def test_one_source_is_an_error_with_what_would_do():
    seen, _ = planted.taste_groups(20, shares=(1.0,), width=4, seed=0)
    data = seen.sample(10, seed=0).data
    with pytest.raises(InputError, match=r"no column 'objective'; the users table has group: name one as source="):
        MORE().fit(data)
    with pytest.raises(InputError, match=r"'group' has but one \('group 0'\); name another column"):
        MORE(source="group").fit(data)
    bare = replace(data, users=data.users.select("user_id"))
    with pytest.raises(InputError, match="the users table has no column"):
        MORE().fit(bare)


def test_settings_that_cannot_be():
    for text, settings in {
        "balance is min_norm or plain": {"balance": "fair"},
        "normalise one of none, l2, loss, loss+": {"normalise": "l1"},
        "multi_head has linear rewards": {"multi_head": True, "hidden": 3},
        "batch and steps must be 1 or more": {"batch": 0},
        "decay 0 is not positive": {"decay": 0},
    }.items():
        with pytest.raises(InputError, match=text.replace("+", r"\+")):
            MORE(**settings)
