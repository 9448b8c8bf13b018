"""Scores of questions against their definitions, and active users against ones asked at random."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import expit, logit

from plurality.datasets import planted, planted_rank
from plurality.elicitation import d_optimal, information_gain, max_distance, next_questions
from plurality.errors import InputError
from plurality.models import PAL, BradleyTerry
from plurality.models.low_rank import LowRank


def entropy(p):
    return -sum(q * np.log(q) for q in np.ravel(p) if q > 0)


def test_information_gain_is_the_mutual_information_of_answer_and_draw():
    rng = np.random.default_rng(0)
    p, weight = rng.random((6, 20)), rng.random(6)
    share = weight / weight.sum()
    for given, s in ((None, np.full(6, 1 / 6)), (weight, share)):
        joint = np.stack([s[:, None] * p, s[:, None] * (1 - p)])  # answer, draw, question
        wanted = [entropy(joint[:, :, n].sum(0)) + entropy(joint[:, :, n].sum(1)) - entropy(joint[:, :, n])
                  for n in range(20)]  # fmt: skip
        np.testing.assert_allclose(information_gain(p, given), wanted, atol=1e-12)


def test_information_gain_at_its_ends():
    p = np.array([[0.3, 0.0, 0.5, 1.0], [0.3, 1.0, 0.5, 1.0]])
    np.testing.assert_allclose(information_gain(p), [0, np.log(2), 0, 0], atol=1e-12)


def test_d_optimal_is_the_fall_in_entropy_of_the_laplace_posterior():
    rng = np.random.default_rng(1)
    slope, root = rng.normal(size=(9, 3)), rng.normal(size=(3, 3))
    covariance, gap = root @ root.T, rng.normal(size=9)
    for g, v, found in zip(gap, slope, d_optimal(gap, slope, covariance), strict=True):
        after = np.linalg.inv(np.linalg.inv(covariance) + expit(g) * expit(-g) * np.outer(v, v))
        wanted = 0.5 * (np.linalg.slogdet(covariance)[1] - np.linalg.slogdet(after)[1])
        assert found == pytest.approx(wanted, rel=1e-9)


def test_max_distance_is_the_variance_of_the_probability_to_first_order():
    rng = np.random.default_rng(2)
    slope, covariance = rng.normal(size=(4, 2)), np.array([[2.0, 0.5], [0.5, 1.0]]) * 1e-4
    mode = rng.normal(size=2)
    draws = rng.multivariate_normal(mode, covariance, 200_000)
    found = max_distance(slope @ mode, slope, covariance)
    np.testing.assert_allclose(found, expit(draws @ slope.T).var(0), rtol=0.03)  # draws: .3 %


def test_information_and_d_optimal_agree_where_beliefs_are_narrow():
    rng = np.random.default_rng(3)
    slope, covariance, mode = rng.normal(size=(5, 2)), 1e-3 * np.eye(2), rng.normal(size=2)
    draws = rng.multivariate_normal(mode, covariance, 100_000)
    np.testing.assert_allclose(
        information_gain(expit(draws @ slope.T)), d_optimal(slope @ mode, slope, covariance), rtol=0.03
    )


@pytest.fixture(scope="module")
def tastes():
    seen, new = planted_rank.signed(80, rank=3, width=12, scale=3.0, seed=4, unseen=40)
    return LowRank(rank=3).fit(seen.sample(40, seed=5).data), new


def pools(people, n, seed):
    """The same n questions for everybody, with everybody's answers: (questions, answers (U, n))."""
    sample = people.sample(n, seed=seed).data
    mine = sample.take(sample.user == 0)
    sides = [mine.items[mine.first], mine.items[mine.second]]
    gap = np.array([np.subtract(*(people.utility(x, np.tile(w, (n, 1))) for x in sides)) for w in people.theta])
    return mine, (np.random.default_rng(seed).random(gap.shape) < expit(gap)).astype(float)


@pytest.mark.parametrize("how", ["information", "d_optimal", "max_distance"])
def test_asked_users_are_known_sooner_than_users_asked_at_random(tastes, how):
    model, new = tastes
    questions, answer = pools(new, 150, seed=6)
    rng, ids = np.random.default_rng(7), new.users["user_id"].to_list()
    asked = {u: [] for u in ids}
    active = model
    for _ in range(5):
        for user in ids:
            ranked = next_questions(active, user, questions, how=how, n=6)
            asked[user].append(next(q for q in ranked if q not in asked[user]))
        active = model.adapt(answered(questions, answer, new, np.array([asked[u] for u in ids])))
    chance = np.stack([rng.choice(150, 5, replace=False) for _ in ids])
    random = model.adapt(answered(questions, answer, new, chance))
    test = new.sample(60, seed=8).data
    own, other = (np.mean((m.log_odds(test) > 0) == (test.label > 0.5)) for m in (active, random))
    assert own > other + 0.02  # 2,400 comparisons, a standard error of .009 of either


def answered(questions, answer, people, chosen):
    """Everybody's answers to the questions chosen for them (U, k)."""
    user = np.repeat(np.arange(len(chosen)), chosen.shape[1])
    data = questions.take(chosen.ravel())
    return replace(data, user=user, users=people.users, label=answer[user, chosen.ravel()])


def test_questions_are_ranked_by_their_score_whoever_asked_them_before(tastes):
    model, new = tastes
    questions, _ = pools(new, 30, seed=9)
    points, weight = model.head.points(model.beliefs(["somebody"], "population"))
    assert weight.exp().sum() == pytest.approx(1)
    v = model.features(questions.items).double().numpy()
    coefficients = model.head.coefficients(points[0]).numpy()
    p = expit((v[questions.first] - v[questions.second]) @ coefficients.T).T
    ranked = next_questions(model, "somebody", questions, n=30)
    np.testing.assert_array_equal(ranked, np.argsort(-information_gain(p), kind="stable"))
    turned = replace(questions, label=1 - questions.label).with_users([f"x{i}" for i in range(40)])
    np.testing.assert_array_equal(ranked, next_questions(model, "somebody", turned, n=30))


def test_every_way_works_where_codes_are_not_linear():
    seen, _ = planted.pal(20, prototypes=2, width=6, preference=2, seed=10)
    data = seen.sample(20, seed=11).data
    model = PAL(n_prototypes=2, preference=2, decay=3.0).fit(data)
    for how in ("information", "d_optimal", "max_distance"):
        rows = next_questions(model, data.user_ids[0], data, how=how, n=5)
        assert len(set(rows)) == 5
    sure, asked = data.user_ids[0], next_questions(model, data.user_ids[0], data, how="d_optimal")[0]
    p = model.prefer(replace(data, user=np.zeros_like(data.user)).take(np.array([asked])))
    assert abs(logit(p[0])) < 5, sure  # not one whose answer is known


def test_what_cannot_be_asked(tastes):
    model, new = tastes
    data = new.sample(2, seed=12).data
    for text, call in {
        "how='luck' is no way": lambda: next_questions(model, "a", data, how="luck"),
        "81 questions cannot be chosen from 80": lambda: next_questions(model, "a", data, n=81),
        "bradley_terry: users have no code": lambda: next_questions(BradleyTerry(decay=1.0).fit(data), "a", data),
    }.items():
        with pytest.raises(InputError, match=text):
            call()
