"""Answers that come one by one say what they say at once, and a user who changes is followed where that is asked."""

from dataclasses import replace

import numpy as np
import pytest

from plurality.datasets.simulated import populations as planted
from plurality.errors import InputError
from plurality.models import VPL, BradleyTerry, Hierarchical, LowRank, MaxMin

SPECS = [
    LowRank(rank=2, decay=3.0),
    LowRank(rank=3, weights="simplex", decay=3.0),
    MaxMin(n_groups=2, decay=3.0),
    BradleyTerry(temperature=True, decay=3.0),
    VPL(n_codes=2, n_features=3, beta=0.1, decay=15.0),
    Hierarchical(folds=0),
]
ANSWERS = 20


@pytest.fixture(scope="module")
def world():
    seen, unseen = planted.taste_groups(60, shares=(0.5, 0.5), width=4, unseen=40, seed=0)
    train = seen.sample(30, seed=1).data
    told = train.users.with_columns(region=np.array(["north", "south"])[np.arange(train.users.height) % 2])
    return replace(train, users=told), unseen.sample(ANSWERS, seed=2).data, unseen.sample(20, seed=3).data


def nats_and_accuracy(model, data):
    p = model.prefer(data)
    return float(-np.log(np.where(data.label > 0.5, p, 1 - p)).mean()), float(((p > 0.5) == (data.label > 0.5)).mean())


def one_by_one(model, data, order, **how):
    turn = np.argsort(order, kind="stable")
    place = np.empty(len(data), dtype=int)
    for rows in (turn[data.user[turn] == u] for u in data.present):
        place[rows] = np.arange(len(rows))
    for k in range(place.max() + 1):
        model = model.adapt(data.take(place == k), **how)
    return model


@pytest.mark.parametrize("spec", SPECS, ids=repr)
def test_one_by_one_is_as_good_as_at_once_in_any_order(spec, world):
    train, support, query = world
    users = support.users.with_columns(region=np.array(["north", "south"])[np.arange(support.users.height) % 2])
    support, query = replace(support, users=users), replace(query, users=users)
    model = spec.fit(train)
    nats, accuracy = nats_and_accuracy(model.adapt(support), query)
    for seed in range(2):
        slow = one_by_one(model, support, np.random.default_rng(seed).random(len(support)))
        assert slow.n_comparisons.sum() == model.n_comparisons.sum() + len(support)
        later = nats_and_accuracy(slow, query)
        assert later[0] <= nats + 0.01
        assert later[1] >= accuracy - 0.01  # of 800 comparisons, whose standard error is 1.5 points


def test_replace_infers_anew(world):
    train, support, query = world
    model = LowRank(rank=2, decay=3.0).fit(train)
    half = support.take(np.arange(len(support)) % 2 == 0)
    anew = model.adapt(support).adapt(half, replace=True)
    np.testing.assert_allclose(anew.prefer(query), model.adapt(half).prefer(query), atol=1e-9)
    assert anew.n_comparisons.sum() == model.n_comparisons.sum() + len(half)


def test_known_users_keep_their_place_and_gain_comparisons(world):
    train, support, _ = world
    model = LowRank(rank=2, decay=3.0).fit(train)
    some = train.of_users(train.user_ids[5:7])
    more = model.adapt(some)
    assert more.user_ids == model.user_ids
    grown = more.n_comparisons - model.n_comparisons
    assert np.flatnonzero(grown).tolist() == [5, 6]
    assert (more.users["uncertainty"][5:7] < model.users["uncertainty"][5:7]).all()
    both = model.adapt(support)
    assert both.user_ids[: len(model.user_ids)] == model.user_ids


@pytest.mark.parametrize("spec", [LowRank(rank=2, decay=3.0), MaxMin(n_groups=2, decay=3.0)], ids=repr)
def test_who_changes_is_followed_if_asked(spec, world):
    """A user's tastes turn to the other group's: labels flipped in the second half of many answers."""
    train, support, query = world
    model = spec.fit(train)
    before, after = model, model
    turned = replace(support, label=1 - support.label)
    for part in (support, turned):
        before = one_by_one(before, part, np.arange(len(part)))
        after = one_by_one(after, part, np.arange(len(part)), forget=0.1)
    now = replace(query, label=1 - query.label)
    assert nats_and_accuracy(after, now)[0] < nats_and_accuracy(before, now)[0] - 0.05


def test_forget_is_a_share(world):
    model = LowRank(rank=2, decay=3.0).fit(world[0])
    with pytest.raises(InputError, match=r"forget 1\.5 is not a share"):
        model.adapt(world[1], forget=1.5)
