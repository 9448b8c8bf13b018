"""Who is harmed, on worlds where that is known."""

import numpy as np
import polars as pl
import pytest
from scipy.special import expit
from scipy.stats import norm

from plurality.analyses.welfare.harm import FEW, Changes, share_harmed, surely_harmed
from plurality.evaluation.blocks import harm_block, harm_sentences, percent
from plurality.evaluation.harm import harmed_table

POPULATION = "population code"


def measured(mean, variance, skewness=0.0, rows=100.0):
    mean = np.asarray(mean)
    return Changes(mean, *(np.broadcast_to(np.asarray(x, dtype=float), mean.shape) for x in (variance, skewness, rows)))


def world(share, n_users, rows, seed, strength=1.0):
    """People of their own tastes, some of whom are given another's: log-odds own and shared, labels, users, truth."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(n_users), rows)
    tastes = strength * rng.normal(size=(n_users, 4))
    given = tastes.copy()
    given[: round(share * n_users)] = strength * rng.normal(size=(round(share * n_users), 4))
    items, shared = rng.normal(size=(len(user), 4)), rng.normal(size=len(user))
    true, own = (shared + (items * z[user]).sum(1) for z in (tastes, given))
    label = (rng.random(len(user)) < expit(true)).astype(float)
    return own, shared, label, user, true


def frames(own, shared, label, user):
    about = {"cell": "seen user, unseen prompt", "user_id": [f"u{i}" for i in user], "label": label, "weight": 1.0}
    return pl.concat(
        [pl.DataFrame({"model": m, "gap": g, **about}) for m, g in (("m", own), (f"m · {POPULATION}", shared))]
    )


def found(share, seed, n_users=150, rows=20, strength=1.0):
    predictions = frames(*world(share, n_users, rows, seed, strength)[:4])
    table = harmed_table(predictions, population=POPULATION, n_bootstrap=200, seed=0)
    return table.row(0, named=True)


@pytest.mark.parametrize("strength", [0.3, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_where_nobody_is_harmed_the_interval_holds_nought(seed, strength):
    row = found(0.0, seed, strength=strength)
    assert row["lo"] == 0
    assert row["harmed"] < row["observed"]
    assert row["change"] < 0
    assert next(harm_sentences(pl.DataFrame([row]))).count("none shown to be harmed (could be up to")


@pytest.mark.parametrize("seed", range(4))
def test_where_three_in_ten_have_anothers_taste_as_many_are_found(seed):
    own, shared, _, user, true = world(0.3, 400, 40, seed)
    loss = [-(expit(true) * np.log(expit(g)) + expit(-true) * np.log(expit(-g))) for g in (own, shared)]
    harmed = (np.bincount(user, loss[0] - loss[1]) > 0).mean()  # another's taste is at times much like one's own
    row = found(0.3, seed, 400, 40)
    assert harmed == pytest.approx(0.26, abs=0.03)
    assert row["harmed"] == pytest.approx(0.3, abs=0.05)
    assert 0 < row["lo"] < harmed < row["hi"] < 0.4
    assert "some are harmed" in next(harm_sentences(pl.DataFrame([row])))


def test_the_share_by_hand_and_by_the_normal_curve():
    """Where the model holds, the mean of posteriors is Φ(μ/τ); the noise is taken off the spread."""
    rng = np.random.default_rng(0)
    n, mu, tau = 200_000, -0.1, 0.15
    variance = rng.uniform(0.01, 0.05, n)
    changes = measured(mu + tau * rng.normal(size=n) + np.sqrt(variance) * rng.normal(size=n), variance)
    share, sd = share_harmed(changes, np.ones((1, n)))
    assert share[0] == pytest.approx(norm.cdf(mu / tau), abs=0.01)
    assert sd[0] == pytest.approx(tau, abs=0.005)


def test_without_spread_beyond_noise_all_have_the_sign_of_the_mean():
    changes = measured([-0.1, 0.0, 0.05], 1.0)
    for sign, share in ((1, 0.0), (-1, 1.0)):
        got, sd = share_harmed(measured(sign * changes.mean, 1.0), np.ones((1, 3)))
        assert (got[0], sd[0]) == (share, 0.0)


def test_without_noise_people_are_counted():
    """One who is predicted as before is not harmed."""
    changes = measured([-0.1, 0.0, 0.2, 0.3], 0.0)
    assert share_harmed(changes, np.ones((1, 4)))[0][0] == 0.5
    assert share_harmed(changes, np.array([[0.0, 1, 3, 0]]))[0][0] == 0.75  # a user counts as often as drawn


def test_the_lower_bound_by_hand():
    """Two of four beyond two standard errors and one beyond three; few rows are believed less."""
    z = [-1.0, 0.5, 2.5, 3.5]
    bound = surely_harmed(measured(z, 1.0, 0.6), np.ones((1, 4)))[0]
    tails = [norm.sf(t) + norm.pdf(t) * (t * t - 1) * 0.6 / 6 for t in (2, 3)]
    np.testing.assert_allclose(bound, [0.5 - tails[0], 0.25 - tails[1]])
    few = surely_harmed(measured(z, 1.0, 0.6, FEW - 1), np.ones((1, 4)))[0]
    np.testing.assert_allclose(few, [0.5 - 0.2, 0.25 - 0.1])


@pytest.mark.parametrize("rows", [1, 2, 5, 10, 40])
def test_skewed_noise_of_few_rows_harms_nobody(rows):
    """Own codes as good as the population's, of labels that are nearly sure: losses are rare and large."""
    rng = np.random.default_rng(rows)
    user = np.repeat(np.arange(4000), rows)
    true = np.full(len(user), 2.5)
    label = (rng.random(len(user)) < expit(true)).astype(float)
    own, shared = true + 0.3, true - 0.3
    changes = Changes.of(own, shared, label, np.ones(len(user)), user)
    expected = expit(true) * (np.logaddexp(0, -own) - np.logaddexp(0, -shared))
    expected += expit(-true) * (np.logaddexp(0, own) - np.logaddexp(0, shared))
    assert abs(expected[0]) < 1e-3
    assert surely_harmed(changes, np.ones((1, 4000))).max() < 0.01


def test_the_variance_is_that_of_new_labels():
    """Of a user's mean change, over worlds that differ in nothing but what was answered and asked."""
    worlds = [Changes.of(*(w := world(0.0, 200, 15, seed))[:3], np.ones(3000), w[3]) for seed in range(30)]
    truth = np.array([np.square(c.mean - c.mean.mean()).mean() for c in worlds]).mean()
    noise = np.mean([c.variance.mean() for c in worlds])
    twice = [Changes.of(*(w := world(0.0, 200, 30, seed))[:3], np.ones(6000), w[3]) for seed in range(30)]
    halves = np.array([np.square(c.mean - c.mean.mean()).mean() for c in twice]).mean()
    assert truth - halves == pytest.approx(noise / 2, rel=0.2)  # with twice the rows the noise is half


def test_a_weight_is_a_repetition_and_order_is_nothing():
    own, shared, label, user, _ = world(0.3, 30, 10, 0)
    weight = np.random.default_rng(1).integers(1, 4, len(user))
    rows = np.repeat(np.arange(len(user)), weight)
    once = Changes.of(own, shared, label, weight.astype(float), user)
    order = np.random.default_rng(2).permutation(len(rows))
    rows = rows[order]
    again = Changes.of(own[rows], shared[rows], label[rows], np.ones(len(rows)), user[rows])
    np.testing.assert_allclose(once.mean, again.mean)
    np.testing.assert_allclose(once.variance, again.variance)


def test_one_row_each_and_no_resamples_claim_nothing():
    own, shared, label, user, _ = world(0.0, 12, 1, 0)
    row = harmed_table(frames(own, shared, label, user), population=POPULATION, n_bootstrap=0, seed=0).row(
        0, named=True
    )
    assert np.isnan(row["lo"])
    assert 0 <= row["harmed"] <= 1
    assert "cannot be told" in next(harm_sentences(pl.DataFrame([row])))
    assert harmed_table(frames(own, shared, label, user).filter(pl.col("model") == "m"), population=POPULATION,
                        n_bootstrap=5, seed=0).is_empty()  # fmt: skip


def test_what_is_read_of_it():
    row = {"model": "pal", "cell": "seen user, unseen prompt", "n_users": 9, "change": -0.012, "observed": 0.31,
           "harmed": 0.004, "lo": 0.0, "hi": 0.123, "sd": 0.0}  # fmt: skip
    _, _, (line,) = harm_block(pl.DataFrame([row]))
    assert line == ["PAL", "seen", "-0.012", "<1 %", "[0, 12 %]", "31 %", "none shown to be harmed"]
    (said,) = harm_sentences(pl.DataFrame([row]))
    assert said == (
        "pal, seen user, unseen prompt: own code raises the log-loss of <1 % of users [0, 12 %] (31 % before noise is "
        "taken off): none shown to be harmed (could be up to 12 %); no difference between users shown."
    )
    assert [percent(x) for x in (0.0, 0.004, 0.5, float("nan"))] == ["0 %", "<1 %", "50 %", "–"]
    assert harm_block(pl.DataFrame()) is None


def test_two_models_that_say_the_same_harm_nobody():
    """Log-odds that differ by 1e-4 one way: the sign is sure for everybody, and nobody is worse off by it."""
    _, shared, _, user, _ = world(0.0, 60, 40, seed=5)
    label = np.zeros(len(user))
    found = harmed_table(frames(shared + 1e-4, shared, label, user), population=POPULATION, n_bootstrap=50, seed=0)
    assert found["observed"].item() == 1
    assert found["hi"].item() == 0
