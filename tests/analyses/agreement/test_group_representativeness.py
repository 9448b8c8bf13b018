"""Representativeness of groups from rows of answers: counted by hand, its ceiling and interval by simulation."""

import numpy as np
import pytest
from scipy.stats import wasserstein_distance

from plurality.analyses.agreement.pluralism import alignment, group_representativeness, representativeness
from plurality.errors import InputError


def rows(seed=0, users=40, questions=6, options=4, groups=2, answered=0.8):
    """Answers of users, of whom each group leans to one end; some refuse."""
    rng = np.random.default_rng(seed)
    user, question = np.nonzero(rng.random((users, questions)) < answered)
    group = user % groups
    lean = np.where(group == 0, 0.35, 0.6)
    option = rng.binomial(options - 1, lean)
    return user, question, np.where(rng.random(len(user)) < 0.1, -1, option), group, rng.integers(1, 4, len(user))


def test_groups_answers_are_counted_with_their_weights():
    user, question, option, group, weight = rows()
    model = np.random.default_rng(1).dirichlet(np.ones(4), 6)
    totals = np.zeros((2, 6, 4))
    for g, q, o, w in zip(group, question, option, weight, strict=True):
        if o >= 0:
            totals[g, q, o] += w
    expected = representativeness(alignment(model, totals, np.arange(4)))
    found = group_representativeness(
        model, np.arange(4), user, question, option, group, weights=weight, n_bootstrap=200
    )
    np.testing.assert_allclose(found.value, expected, atol=1e-12)
    assert found.n_users.tolist() == [len(np.unique(user[(group == g) & (option >= 0)])) for g in range(2)]
    assert found.n_questions.tolist() == [6, 6]
    assert ((found.lo < found.value) & (found.value < found.hi)).all()
    assert ((found.value < found.ceiling) & (found.ceiling < 1)).all()
    # an answer without weight, or a refusal, is none: neither the value nor the interval moves
    more = [np.append(x, x[:5]) for x in (user, question, option, group)]
    more[0][-5:] = 999
    without = group_representativeness(
        model, np.arange(4), *more, weights=np.append(weight, np.zeros(5)), n_bootstrap=200
    )
    np.testing.assert_array_equal([without.lo, without.hi], [found.lo, found.hi])
    answered = option >= 0
    kept = (x[answered] for x in (user, question, option, group))
    spoken = group_representativeness(model, np.arange(4), *kept, weights=weight[answered], n_bootstrap=200)
    np.testing.assert_array_equal([spoken.lo, spoken.hi], [found.lo, found.hi])
    # a weight is as many rows, and the names of users do not matter
    again = np.repeat(np.stack([100 - user, question, option, group]), weight, axis=1)
    repeated = group_representativeness(model, np.arange(4), *again, n_bootstrap=10)
    np.testing.assert_allclose(repeated.value, expected, atol=1e-12)


def test_the_interval_of_representativeness_covers_and_is_for_users():
    model = np.tile([0.7, 0.1, 0.1, 0.1], (12, 1))
    lean = np.array([0.3, 0.5, 0.7])  # a user answers all questions from one leaning
    truth = []
    for shift in (0.0, 0.2):
        p = np.mean([[(1 - x - shift) ** 3, 3 * (x + shift) * (1 - x - shift) ** 2,
                      3 * (x + shift) ** 2 * (1 - x - shift), (x + shift) ** 3] for x in lean], axis=0)  # fmt: skip
        truth.append(1 - wasserstein_distance(range(4), range(4), model[0], p) / 3)
    hits, trials = np.zeros(2), 120
    user, question = (a.ravel() for a in np.meshgrid(np.arange(80), np.arange(12)))
    for seed in range(trials):
        rng = np.random.default_rng(seed)
        p = lean[rng.integers(0, 3, 80)] + 0.2 * (np.arange(80) % 2)
        option = rng.binomial(3, p[user])
        found = group_representativeness(
            model, np.arange(4), user, question, option, user % 2, n_bootstrap=200, seed=seed
        )
        hits += (found.lo <= truth) & (truth <= found.hi)
    assert (hits / trials >= 0.87).all()


def test_the_ceiling_is_what_a_model_that_answers_as_the_group_does_gets():
    rng = np.random.default_rng(5)
    truth, model = rng.dirichlet(np.full(4, 2.0), (2, 8))
    far = alignment(model, truth, np.arange(4)).mean()
    user, question = (a.ravel() for a in np.meshgrid(np.arange(60), np.arange(8)))
    values, ceilings, hits, trials = [], [], np.zeros(2), 120
    for seed in range(trials):
        option = (np.random.default_rng(seed).random(len(user))[:, None] > np.cumsum(truth, axis=1)[question]).sum(
            axis=1
        )
        kept = np.random.default_rng(seed + 1000).random(len(user)) < 0.4
        rows = [x[kept] for x in (user, question, option, np.zeros_like(user))]
        same = group_representativeness(truth, np.arange(4), *rows, n_bootstrap=200, seed=seed)
        other = group_representativeness(model, np.arange(4), *rows, n_bootstrap=200, seed=seed)
        np.testing.assert_allclose(other.ceiling, same.ceiling, atol=1e-12)  # no matter of the model
        values.append(same.value[0])
        ceilings.append(same.ceiling[0])
        hits += [same.hi[0] >= 1 - 1e-12, other.lo[0] <= far <= other.hi[0]]
    assert np.mean(values) < 0.95
    assert np.mean(ceilings) == pytest.approx(np.mean(values), abs=0.006)
    assert (hits / trials >= 0.9).all()


def test_questions_that_few_answer_are_left_out():
    user, question, option, group, _ = rows(users=30, answered=0.3)
    model = np.random.default_rng(1).dirichlet(np.ones(4), 6)
    spoken = option >= 0
    people = np.bincount((group * 6 + question)[spoken], minlength=12).reshape(2, 6)
    totals = np.bincount(((group * 6 + question) * 4 + option)[spoken], minlength=48).reshape(2, 6, 4)
    for fewest in (2, 4, 6):
        assert (people < fewest).any() or fewest == 2
        aligned = np.where(people < fewest, np.nan, alignment(model, totals, np.arange(4)))
        found = group_representativeness(
            model, np.arange(4), user, question, option, group, fewest=fewest, n_bootstrap=20
        )
        np.testing.assert_allclose(found.value, representativeness(aligned), atol=1e-12)
        assert found.n_questions.tolist() == (people >= fewest).sum(axis=1).tolist()
    # nor do they move the interval: one more answer, to a question that nobody else answers
    more = [np.append(x, one) for x, one in ((user, user[0]), (question, 6), (option, 2), (group, group[0]))]
    wide = np.concatenate([model, [[0.0, 0.0, 0.0, 1.0]]])
    base = group_representativeness(model, np.arange(4), user, question, option, group, fewest=2, n_bootstrap=50)
    same = group_representativeness(wide, np.arange(4), *more, fewest=2, n_bootstrap=50)
    np.testing.assert_allclose([same.lo, same.hi, same.ceiling], [base.lo, base.hi, base.ceiling], atol=1e-12)
    with pytest.raises(InputError, match="fewest: 1"):
        group_representativeness(model, np.arange(4), user, question, option, group, fewest=1)


def test_no_answers_and_few_users():
    model, nothing = np.full((2, 3), 1 / 3), np.array([], dtype=np.int64)
    empty = group_representativeness(model, np.arange(3), nothing, nothing, nothing, nothing)
    assert empty.value.shape == empty.lo.shape == empty.ceiling.shape == (0,)
    two = np.zeros(2, np.int64)
    for option in (two, two - 1):
        found = group_representativeness(model, np.arange(3), two, np.array([0, 1]), option, two, n_bootstrap=20)
        assert np.isnan([found.value, found.lo, found.hi, found.ceiling]).all()
        assert found.n_questions[0] == 0
    assert found.n_users[0] == 0  # all refused
    # of one mind: nothing to resample, and no noise
    many = np.arange(8)
    agreed = group_representativeness(model, np.arange(3), many, many % 1, many * 0 + 1, many * 0, n_bootstrap=20)
    assert agreed.value[0] == pytest.approx(1 - 2 / 3 * 0.5)
    np.testing.assert_allclose([agreed.lo, agreed.hi], agreed.value[0], atol=1e-12)
    assert agreed.ceiling[0] == pytest.approx(1)


def test_answers_that_do_not_fit_are_named():
    model, zero = np.ones((2, 3)), np.zeros(1, np.int64)
    with pytest.raises(InputError, match="option: row 0 is 3; give one of 0 … 2"):
        group_representativeness(model, np.arange(3), zero, zero, zero + 3, zero)
    with pytest.raises(InputError, match="question: float64"):
        group_representativeness(model, np.arange(3), zero, zero.astype(float), zero, zero)
    with pytest.raises(InputError, match="group: row 0 is -1"):
        group_representativeness(model, np.arange(3), zero, zero, zero, zero - 1)
    with pytest.raises(InputError, match="group: <U1"):
        group_representativeness(model, np.arange(3), zero, zero, zero, np.array(["a"]))
    with pytest.raises(InputError, match=r"option: int64 \(2,\) for 1 answers"):
        group_representativeness(model, np.arange(3), zero, zero, np.zeros(2, np.int64), zero)
    with pytest.raises(InputError, match="model: shape"):
        group_representativeness(model[0], np.arange(3), zero, zero, zero, zero)
