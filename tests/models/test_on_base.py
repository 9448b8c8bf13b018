"""Every family on top of a reward that one owns: planted truth, and what a base must never do."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

import plurality as pl8
from plurality.data.comparisons import Comparisons
from plurality.datasets.simulated.populations import taste_groups
from plurality.errors import InputError, InputWarning
from plurality.fitting.base_scale import base_scale

WORTH = 0.25  # log-odds of a unit of the base's score
FAMILIES = {
    "low_rank": pl8.LowRank(rank=1),
    "hierarchical": pl8.Hierarchical(folds=0),
    "maxmin": pl8.MaxMin(n_groups=2),
    "pal": pl8.PAL(n_prototypes=2, preference=4),
    "vpl": pl8.VPL(n_codes=1, beta=0.1, decay=40.0),
}


def planted(seed: int, n: int = 30) -> tuple[Comparisons, np.ndarray]:
    """Two opposed tastes in the embedding, and a shared reward that only the base knows; log-odds (N,)."""
    population, _ = taste_groups(n_users=40, shares=(0.5, 0.5), width=4, seed=1)
    sample = population.sample(n, seed=seed)
    rng = np.random.default_rng(seed)
    base = 3.0 + 8.0 * rng.normal(size=len(sample.data.items))
    data = replace(sample.data, base=base)
    gap = sample.gap + WORTH * data.base_gap
    return replace(data, label=(rng.random(len(gap)) < expit(gap)).astype(float)), gap


def accuracy(log_odds: np.ndarray, data: Comparisons) -> float:
    return float(np.mean((log_odds > 0) == (data.label > 0.5)))


@pytest.fixture(scope="module")
def world() -> tuple[Comparisons, Comparisons, float]:
    train, _ = planted(0)
    test, gap = planted(1)
    return train, test, accuracy(gap, test)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in {"vpl", "pal"})) for name in FAMILIES]
)
def test_tastes_are_found_beside_what_the_base_knows(name, world):
    train, test, truth = world
    model = FAMILIES[name].fit(train)
    found = accuracy(model.log_odds(test), test)
    assert found > accuracy(WORTH * test.base_gap, test) + 0.05  # the base alone knows nobody
    assert found > truth - 0.03
    # over people who differ a logistic curve is flatter: the scale is to be that of one person, ± a fifth
    assert model.base == pytest.approx(WORTH, rel=0.2)


def test_what_is_scored_is_what_was_compared(world, tmp_path):
    train, test, _ = world
    model = FAMILIES["low_rank"].fit(train)
    again = pl8.load(model.save_pretrained(tmp_path / "reward"))
    assert again.base == model.base
    np.testing.assert_array_equal(again.log_odds(test), model.log_odds(test))
    users = test.user_ids
    utility = model.utility(test.items, users, base=test.base)
    row = np.searchsorted(test.present, test.user)
    gap = utility[row, test.first] - utility[row, test.second]
    np.testing.assert_allclose(gap, model.gap(test), atol=1e-4)
    ids = test.users["user_id"].gather(test.user).to_list()
    first, second = (model.score(test.items, side, ids, base=test.base) for side in (test.first, test.second))
    np.testing.assert_allclose(first - second, model.gap(test), atol=1e-4)
    won = model.win_probability(test.items[:5], test.items[5:9], base=test.base[:5], reference_base=test.base[5:9])
    np.testing.assert_allclose(won, expit(utility[:, :5, None] - utility[:, None, 5:9]).mean(2), atol=1e-5)


def test_a_missing_base_score_is_an_error_and_never_a_zero(world):
    train, test, _ = world
    model, bare = pl8.BradleyTerry().fit(train), replace(test, base=None)
    for use in (model.log_odds, model.gap, model.prefer, model.predictions):
        with pytest.raises(InputError, match="base scores are missing"):
            use(bare)
    with pytest.raises(InputError, match="base scores are missing"):
        FAMILIES["low_rank"].fit(train).adapt(bare)
    with pytest.raises(InputError, match="give the base score of each item"):
        model.utility(test.items)
    with pytest.raises(InputError, match="one number an item"):
        model.utility(test.items, base=test.base[:3])
    with pytest.raises(InputError, match=r"base score of item 2 \(from 0\) is nan"):
        model.utility(test.items[:3], base=np.array([0.0, 1.0, np.nan]))


def test_a_model_without_a_base_does_not_look_at_scores(world):
    train, test, _ = world
    model = pl8.BradleyTerry().fit(replace(train, base=None))
    np.testing.assert_array_equal(model.log_odds(test), model.log_odds(replace(test, base=None)))


def test_with_no_evidence_the_reward_is_the_base():
    train, _ = planted(0)
    model = pl8.BradleyTerry(decay=1e9).fit(train)
    np.testing.assert_allclose(model.log_odds(train), model.base * train.base_gap, atol=1e-4)


def test_the_scale_is_that_of_a_logistic_regression(world):
    train, _, _ = world
    rng = np.random.default_rng(5)
    train = replace(train, weight=rng.uniform(0.5, 2, len(train)))
    oracle = LogisticRegression(C=1e9, fit_intercept=False, solver="newton-cholesky", tol=1e-7)
    oracle.fit(train.base_gap[:, None], train.label, train.weight)
    # the prior, N(0, 10²) on the worth of a usual gap, moves it by less than a thousandth
    assert base_scale(train) == pytest.approx(oracle.coef_[0, 0], rel=1e-3)
    assert base_scale(replace(train, base=7 * train.base + 100)) == pytest.approx(base_scale(train) / 7, rel=1e-4)


def test_noise_and_opposites_and_constants_are_worth_nothing(world):
    train, _, _ = world
    assert base_scale(replace(train, base=-train.base)) == 0
    assert base_scale(replace(train, base=np.ones(len(train.items)))) == 0
    plain = pl8.LowRank(rank=1).fit(replace(train, base=None))
    constant = pl8.LowRank(rank=1).fit(replace(train, base=np.ones(len(train.items))))
    np.testing.assert_array_equal(constant.log_odds(replace(train, base=np.ones(len(train.items)))),
                                  plain.log_odds(train))  # fmt: skip


def test_scores_that_labels_were_made_from_are_noticed(world):
    train, _, _ = world
    told = np.zeros(len(train.items))
    np.add.at(told, train.first, train.label)
    with pytest.warns(InputWarning, match="base scores tell nearly all labels"):
        base_scale(replace(train, base=told))
