"""Variance shares and ICC against pingouin, sums of squares, brute force over pairs and planted variances."""

import warnings

import numpy as np
import pandas as pd
import pingouin
import pytest

from plurality.analyses.agreement.variance_components import _Design, icc, variance_shares
from plurality.errors import InputError


def test_icc_is_that_of_pingouin_and_of_its_formula():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(12), 5)
    y = rng.normal(0, 1, 12)[group] + rng.normal(0, 1, 60)
    frame = pd.DataFrame({"group": group, "rater": np.tile(np.arange(5), 12), "y": y})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = pingouin.intraclass_corr(frame, targets="group", raters="rater", ratings="y")
    assert icc(y, group, n_bootstrap=10).value == pytest.approx(table["ICC"].iloc[0], abs=1e-9)
    keep = rng.random(60) < 0.7  # unequal sizes, by sums of squares
    y, group = y[keep], group[keep]
    n = np.bincount(group)
    means = np.bincount(group, y) / n
    msb = (n * (means - y.mean()) ** 2).sum() / (len(n) - 1)
    msw = ((y - means[group]) ** 2).sum() / (len(y) - len(n))
    k0 = (len(y) - (n**2).sum() / len(y)) / (len(n) - 1)
    found = icc(y, group, n_bootstrap=10)
    assert found.value == pytest.approx((msb - msw) / (msb + (k0 - 1) * msw), abs=1e-12)
    assert found.k0 == pytest.approx(k0)
    times = rng.integers(0, 4, len(y))
    weighted, rows = (
        icc(y, group, weights=times, n_bootstrap=0),
        icc(np.repeat(y, times), np.repeat(group, times), n_bootstrap=0),
    )
    assert weighted.value == pytest.approx(rows.value, abs=1e-12)
    assert icc(10 + 3 * y, group, n_bootstrap=0).value == pytest.approx(found.value, abs=1e-12)


def test_the_interval_of_icc_covers():
    hits, trials = 0, 200
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        group = np.repeat(np.arange(60), rng.integers(2, 9, 60))
        y = np.sqrt(0.3) * rng.normal(size=60)[group] + np.sqrt(0.7) * rng.normal(size=len(group))
        found = icc(y, group, n_bootstrap=200, seed=seed)
        hits += found.lo <= 0.3 <= found.hi
    assert 0.87 <= hits / trials <= 0.99


def test_icc_without_groups_or_variation_is_nan():
    for y, group in (([], []), ([1, 2], [0, 0]), ([1, 2], [0, 1]), ([0.1] * 4, [0, 0, 1, 1])):
        assert np.isnan(icc(y, group, n_bootstrap=5).value)
    for n in range(2, 40):  # whatever the rounding of their mean
        assert np.isnan(icc(np.full(3 * n, 0.1), np.repeat(np.arange(n), 3), n_bootstrap=0).value)
    assert np.isnan(icc([1, 2, 3], [0, 1, 1], weights=[0, 0, 0]).value)
    with pytest.raises(InputError, match="weights"):
        icc([1, 2, 3], [0, 1, 1], weights=[1, -1, 1])


def test_rows_without_weight_are_none_however_large():
    rng = np.random.default_rng(0)
    group = np.repeat(np.arange(10), 4)
    y = rng.normal(size=10)[group] + rng.normal(size=40)
    found = icc(y, group, n_bootstrap=50)
    more = icc(np.append(y, [1e9, -1e9]), np.append(group, [3, 99]), weights=[1] * 40 + [0, 0], n_bootstrap=50)
    assert (more.value, more.lo, more.hi) == pytest.approx((found.value, found.lo, found.hi), abs=1e-12)
    assert more.n_groups == 10


def test_perfectly_alike_and_unlike_groups():
    assert icc([1, 1, 2, 2, 5, 5], [0, 0, 1, 1, 2, 2], n_bootstrap=0).value == pytest.approx(1)
    assert icc([1, 2, 1, 2, 1, 2], [0, 0, 1, 1, 2, 2], n_bootstrap=0).value == pytest.approx(-1)  # −1/(k0 − 1)


def opinions(seed, parts=(0.25, 0.49, 0.26), items=60, users=80, groups=4, seen=0.4, main=(0.0, 0.0), noise=None):
    """Values y = item + item × group + item × user (+ user + group), with the realised effects of items and groups."""
    rng = np.random.default_rng(seed)
    effect = np.sqrt(parts[0]) * rng.normal(size=items)
    taste = np.sqrt(parts[1]) * rng.normal(size=(items, groups))
    mean = effect[:, None] + taste
    return mean, lambda rng: _people(rng, mean, parts[2], users, seen, main, noise)


def _people(rng, mean, own, users, seen, main, noise):
    items, groups = mean.shape
    group = np.arange(users) % groups
    item, user = np.nonzero(rng.random((items, users)) < seen)
    lean = main[0] * rng.normal(size=users) + main[1] * np.arange(groups)[group]
    y = mean[item, group[user]] + np.sqrt(own) * rng.normal(size=len(item)) + lean[user]
    if noise is not None:  # everything is asked twice
        item, user, y = np.tile(item, 2), np.tile(user, 2), np.tile(y, 2)
        y = y + np.sqrt(noise) * rng.normal(size=len(y))
    return y, item, user, group[user]


def test_planted_shares_are_recovered_from_unbalanced_rows():
    found = []
    for seed in range(20):
        _, draw = opinions(seed)
        shares = variance_shares(*draw(np.random.default_rng(100 + seed)), centre=0.0, n_bootstrap=0)
        assert not shares.repeated
        found.append(shares.share)
    found = np.array(found)
    error = found[:, :3].std(axis=0, ddof=1) / np.sqrt(20)
    assert (np.abs(found[:, :3].mean(axis=0) - [0.25, 0.49, 0.26]) < 4 * error).all()
    assert (error < 0.03).all()
    assert np.isnan(found[:, 3]).all()


def test_main_effects_of_users_and_groups_take_no_share_of_utilities():
    found = []
    for seed in range(20):
        _, draw = opinions(seed, main=(1.5, 0.8), seen=0.5)
        found.append(variance_shares(*draw(np.random.default_rng(100 + seed)), n_bootstrap=0).share[:3])
    error = np.std(found, axis=0, ddof=1) / np.sqrt(20)
    assert (np.abs(np.mean(found, axis=0) - [0.25, 0.49, 0.26]) < 4 * error).all()
    assert (error < 0.03).all()


def test_noise_is_told_from_taste_where_items_are_seen_twice():
    found = []
    for seed in range(15):
        _, draw = opinions(seed, parts=(0.2, 0.3, 0.3), noise=0.2)
        shares = variance_shares(*draw(np.random.default_rng(100 + seed)), centre=0.0, n_bootstrap=0)
        assert shares.repeated
        assert shares.share.sum() == pytest.approx(1)
        found.append(shares.share)
    error = np.std(found, axis=0, ddof=1) / np.sqrt(15)
    assert (np.abs(np.mean(found, axis=0) - [0.2, 0.3, 0.3, 0.2]) < 4 * error).all()


def brute_variances(y, item, user, group):
    """Item and item × group variance as means over pairs of rows, items weighted by their rows."""
    found = np.zeros(2)
    rows = 0
    for i in np.unique(item):
        own = item == i
        other = user[own][:, None] != user[own]
        same = group[own][:, None] == group[own]
        product = np.outer(y[own], y[own])
        if (other & same).any() and (other & ~same).any():
            cross = product[other & ~same].mean()
            found += own.sum() * np.array([cross, product[other & same].mean() - cross])
            rows += own.sum()
    return found / rows


def test_shares_of_comparisons_are_brute_force_over_pairs_and_blind_to_orientation():
    rng = np.random.default_rng(0)
    _, draw = opinions(0, items=15, users=20, groups=3)
    y, item, user, group = draw(rng)
    y = (y > 0).astype(float)
    found = variance_shares(y, item, user, group, centre=0.5, n_bootstrap=30)
    assert found.total == pytest.approx(0.25)
    expected = brute_variances(y - 0.5, item, user, group)
    np.testing.assert_allclose(found.share[:2] * found.total, expected, atol=1e-12)
    turned = np.where((rng.random(15) < 0.5)[item], 1 - y, y)
    again = variance_shares(turned, item, user, group, centre=0.5, n_bootstrap=30)
    np.testing.assert_allclose(again.share, found.share, atol=1e-12)
    np.testing.assert_allclose(again.lo, found.lo, atol=1e-12)


def test_shares_of_resampled_users_are_those_of_copies_that_are_never_paired():
    _, draw = opinions(1, items=12, users=15, groups=3, seen=0.7)
    y, item, user, group = draw(np.random.default_rng(0))
    cells = np.arange(len(y))
    count = np.random.default_rng(2).multinomial(15, np.full(15, 1 / 15))
    of = np.array([group[user == u][0] for u in range(15)])
    design = _Design.of(item, user, of[user], (np.ones(len(y)), y, y**2), False)
    rows = np.repeat(cells, count[user])
    expected = brute_variances(y[rows], item[rows], user[rows], group[rows])
    np.testing.assert_allclose(design.parts(count[:, None].astype(float))[:2, 0], expected, atol=1e-12)


@pytest.mark.parametrize("centre", [0.0, None])
def test_weights_of_people_are_copies_that_are_never_paired(centre):
    _, draw = opinions(1, items=12, users=15, groups=3, seen=0.7)
    y, item, user, group = draw(np.random.default_rng(0))
    times = np.random.default_rng(2).integers(0, 4, 15)
    times[np.unique(user, return_index=True)[0][0]] = 2
    weight = times[user].astype(float)
    found = variance_shares(y, item, user, group, centre=centre, weights=weight, n_bootstrap=20)
    if centre is not None:
        rows = np.repeat(np.arange(len(y)), times[user])
        expected = brute_variances(y[rows], item[rows], user[rows], group[rows])
        np.testing.assert_allclose(found.share[:2] * found.total, expected, atol=1e-12)
    small = variance_shares(y, item, user, group, centre=centre, weights=1e-3 * weight, n_bootstrap=20)
    np.testing.assert_allclose([*small.share, *small.lo], [*found.share, *found.lo], atol=1e-9)
    equal = variance_shares(y, item, user, group, centre=centre, n_bootstrap=0)
    same = variance_shares(y, item, user, group, centre=centre, weights=np.full(len(y), 0.01), n_bootstrap=0)
    np.testing.assert_allclose(same.share, equal.share, atol=1e-12)
    assert np.abs(found.share - equal.share)[:2].max() > 1e-3


def test_main_effects_under_resampled_users_are_brute_force_over_pairs():
    _, draw = opinions(3, items=9, users=14, groups=3, seen=0.6, main=(1.0, 0.5))
    y, item, user, group = draw(np.random.default_rng(0))
    of = np.array([group[user == u][0] for u in range(14)])
    design = _Design.of(item, user, of[user], (np.ones(len(y)), y, y**2), True)
    for seed in range(3):
        count = np.random.default_rng(seed).multinomial(14, np.full(14, 1 / 14))
        found = design.parts(count[:, None].astype(float))[:, 0]
        times = count[user]
        rows = np.repeat(np.arange(len(y)), times)
        copy = np.concatenate([np.arange(k) for k in times])
        kinds = [(np.unique(user[rows[item[rows] == i]]), of) for i in range(9)]
        full = [len(u) > len(np.unique(of[u])) > 1 for u, of in kinds]
        keep = np.array(full)[item[rows]]
        rows, copy = rows[keep], copy[keep]
        v, i, u, g = y[rows], item[rows], user[rows], group[rows]
        v = v - np.array([v[g == k].mean() if (g == k).any() else 0 for k in range(3)])[g]
        product, elsewhere = np.outer(v, v), i[:, None] != i
        other, same = u[:, None] != u, g[:, None] == g
        item_part, taste = brute_variances(v, i, u, g)
        across = item_part - product[elsewhere & ~same].mean()
        within = item_part + taste - product[elsewhere & other & same].mean()
        total = (v**2).mean() - product[elsewhere & ~other & (copy[:, None] == copy)].mean()
        np.testing.assert_allclose(found[:3], [across, within - across, total - within], atol=1e-12)


def test_a_shift_of_utilities_and_their_scale_change_no_share():
    _, draw = opinions(2, items=15, users=20, groups=3)
    y, *labels = draw(np.random.default_rng(0))
    found = variance_shares(y, *labels, n_bootstrap=20)
    moved = variance_shares(5 - 3 * y, *labels, n_bootstrap=20)
    np.testing.assert_allclose(moved.share, found.share, atol=1e-9)
    np.testing.assert_allclose(moved.hi, found.hi, atol=1e-9)
    lean = np.random.default_rng(1).normal(size=20)
    everything = (a.ravel() for a in np.meshgrid(np.arange(10), np.arange(20)))  # balanced: exactly invariant
    item, user = everything
    y = np.random.default_rng(2).normal(size=200)
    plain = variance_shares(y, item, user, user % 2, n_bootstrap=0)
    shifted = variance_shares(y + lean[user], item, user, user % 2, n_bootstrap=0)
    np.testing.assert_allclose(shifted.share * shifted.total, plain.share * plain.total, atol=1e-9)


@pytest.mark.slow
def test_intervals_of_shares_cover_the_shares_among_these_items():
    mean, draw = opinions(0, items=40, users=60, seen=0.6)
    groups = mean.shape[1]
    across = ((mean.sum(axis=1) ** 2 - (mean**2).sum(axis=1)) / (groups * (groups - 1))).mean()
    truth = np.array([across, (mean**2).mean() - across, 0.26])
    truth = truth / truth.sum()
    hits, trials = np.zeros(3), 120
    for seed in range(trials):
        found = variance_shares(*draw(np.random.default_rng(seed)), centre=0.0, n_bootstrap=200, seed=seed)
        hits += (found.lo[:3] <= truth) & (truth <= found.hi[:3])
    assert (hits / trials >= 0.87).all()
    assert hits.mean() / trials <= 0.975  # with users drawn across groups it would be .98


def test_shares_that_cannot_be_told_are_nan_and_torn_users_named():
    y, item, user = np.array([1.0, 0, 1, 0]), np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    assert np.isnan(variance_shares(y, item, user, np.zeros(4, int), n_bootstrap=5).share).all()  # one group
    assert np.isnan(variance_shares(y, item, user, user, n_bootstrap=5).share).all()  # nobody beside one in a group
    # nobody saw two items, so main effects cannot be told from the rest, though products across groups exist
    apart = variance_shares([3, 1, 2, 5, 4, 2], [0, 0, 0, 1, 1, 1], np.arange(6), [0, 0, 1, 2, 2, 3], n_bootstrap=5)
    assert np.isnan([apart.total, *apart.share]).all()
    assert variance_shares([], [], [], []).n_items == 0
    _, draw = opinions(0, items=5, users=8, groups=2, seen=1)
    y, *labels = draw(np.random.default_rng(0))
    constant = variance_shares(np.full(len(y), 0.1), *labels, n_bootstrap=5)
    assert np.isnan([constant.share, constant.lo]).all()
    agreed = variance_shares(np.full(len(y), 0.9), *labels, centre=0.5, n_bootstrap=5)  # of one mind on every item
    np.testing.assert_allclose(agreed.share[:3], [1, 0, 0], atol=1e-12)
    with pytest.raises(InputError, match="the user of row 0 also has another"):
        variance_shares(y[:2], [0, 1], [0, 0], ["a", "b"])
    with pytest.raises(InputError, match=r"value: shape .* rows \[1\] not finite"):
        variance_shares([0, np.nan], [0, 1], [0, 0], ["a", "b"])


def test_without_groups_what_any_two_people_share_is_the_item():
    rng = np.random.default_rng(4)
    users, items = 60, 200
    value = rng.normal(0, 1, items)[None] + rng.normal(0, 1, (users, items)) * np.sqrt(3)
    user, item = (x.ravel() for x in np.indices(value.shape))
    found = variance_shares(value.ravel(), item, user, n_bootstrap=100, centre=0.0)
    assert found.share[0] == pytest.approx(0.25, abs=0.05)
    assert found.share[1] == 0
    assert found.share[:3].sum() == pytest.approx(1)
    pairs = [(value[:, i].sum() ** 2 - (value[:, i] ** 2).sum()) / (users * (users - 1)) for i in range(items)]
    assert found.share[0] * found.total == pytest.approx(np.mean(pairs))
