"""Scores of questions against their definitions, and active users against ones asked at random."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial import distance
from scipy.special import expit, logit

from plurality.datasets.simulated import low_rank as planted_rank
from plurality.datasets.simulated import populations as planted
from plurality.elicitation import (
    d_optimal,
    information_gain,
    max_distance,
    next_question_each,
    next_questions,
    sides_apart,
    unlikeness,
)
from plurality.errors import InputError
from plurality.models.bradley_terry import BradleyTerry
from plurality.models.low_rank import LowRank
from plurality.models.pal import PAL
from plurality.reward.tensors import Tensors
from plurality.testing.check_model import simulated_data
from tests.models.variants import parameters


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


def after_five(model, new, how, seed):
    """Expected accuracy on new items of 40 new users asked five questions, without the noise of test labels."""
    questions, answer = pools(new, 150, seed=6)
    ids, test = new.users["user_id"].to_list(), new.sample(60, seed=8)
    asked, known = np.empty((40, 0), dtype=np.int64), model
    for _ in range(5):
        row = next_question_each(known, ids, questions, asked, how=how, seed=10 * seed + asked.shape[1])
        asked = np.column_stack([asked, row])
        known = model.adapt(answered(questions, answer, new, asked))
    odds = known.log_odds(test.data)
    return np.where(odds > 0, test.p, 1 - test.p).mean()


def test_asked_users_are_known_sooner_than_users_asked_at_random(tastes):
    chance = [after_five(*tastes, "random", seed) for seed in range(6)]
    for how in ("information", "d_optimal", "max_distance"):
        own = after_five(*tastes, how, 0)
        assert own > np.mean(chance) + 0.02, (how, own, chance)
        assert own > max(chance), (how, own, chance)
    assert after_five(*tastes, "dissimilar", 0) > min(chance)


@pytest.mark.parametrize("how", ["information", "d_optimal", "max_distance", "dissimilar", "random"])
def test_everybody_at_once_is_one_after_another(tastes, how):
    model, new = tastes
    questions, answer = pools(new, 40, seed=16)
    ids, asked = new.users["user_id"].to_list()[:6], np.arange(12).reshape(6, 2)
    known = model.adapt(answered(questions, answer, new, np.resize(asked, (40, 2))))
    rows = next_question_each(known, ids, questions, asked, how=how, seed=3)
    for user, own, row in zip(ids, asked, rows, strict=True):
        single = next_questions(known, user, questions, how=how, n=40, asked=questions.take(own), seed=3)
        assert row == next(q for q in single if q not in own)
    first = next_question_each(known, ids, questions, np.empty((6, 0), dtype=np.int64), how=how, seed=3)
    for user, row in zip(ids, first, strict=True):
        assert (
            row == next_questions(known, user, questions, how=how, asked=questions.take(np.array([], int)), seed=3)[0]
        )


def test_nobody_is_asked_twice(tastes):
    model, new = tastes
    questions, _ = pools(new, 7, seed=17)
    ids = new.users["user_id"].to_list()
    for how in ("information", "dissimilar", "random"):
        asked = np.empty((40, 0), dtype=np.int64)
        for _ in range(7):
            asked = np.column_stack([asked, next_question_each(model, ids, questions, asked, how=how)])
        assert (np.sort(asked, 1) == np.arange(7)).all()
    with pytest.raises(InputError, match="was asked all 7 candidates"):
        next_question_each(model, ids, questions, asked)
    with pytest.raises(InputError, match="must be rows of the 7 candidates"):
        next_question_each(model, ids, questions, asked + 1)


def test_unlikeness_by_its_definition():
    rng = np.random.default_rng(18)
    differences, asked = rng.normal(size=(6, 3)), rng.normal(size=(2, 4, 3))
    for person, rows in zip(unlikeness(differences, asked), asked, strict=True):
        cosine = [[d @ a / np.linalg.norm(d) / np.linalg.norm(a) for a in rows] for d in differences]
        np.testing.assert_allclose(person, 1 - np.abs(cosine).max(1))
    np.testing.assert_allclose(unlikeness(differences, -3 * differences), 0, atol=1e-12)
    np.testing.assert_allclose(unlikeness(np.eye(3)[:2], np.eye(3)[2:]), 1)


def test_sides_apart_is_one_less_their_cosine():
    rng = np.random.default_rng(19)
    first, second = rng.normal(size=(2, 5, 4))
    wanted = [distance.cosine(a, b) for a, b in zip(first, second, strict=True)]
    np.testing.assert_allclose(sides_apart(first, second), wanted)


def test_dissimilar_questions_cover_the_directions(tastes):
    """Their information has a larger least eigenvalue than that of nearly all random sets of as many."""
    model, new = tastes
    questions, _ = pools(new, 150, seed=20)
    features = model.features(questions.items).double().numpy()[:, 1:]  # the first is everybody's, with weight 1
    difference = features[questions.first] - features[questions.second]
    direction = difference @ np.linalg.cholesky(np.linalg.inv(model.prior.precision.numpy()))
    unit = direction / np.linalg.norm(direction, axis=1, keepdims=True)

    def least(rows):
        return np.linalg.eigvalsh(unit[rows].T @ unit[rows])[0]

    nothing = questions.take(np.array([], dtype=int))
    width = unit.shape[1]
    found = next_questions(model, "somebody", questions, how="dissimilar", n=width, asked=nothing)
    rng = np.random.default_rng(21)
    chance = [least(rng.choice(150, width, replace=False)) for _ in range(400)]
    assert least(found) > np.quantile(chance, 0.95)
    sides = (questions.items[side] for side in (questions.first, questions.second))
    assert found[0] == sides_apart(*sides).argmax()
    rest = next_questions(model, "somebody", questions, how="dissimilar", n=width - 1, asked=questions.take(found[:1]))
    np.testing.assert_array_equal(rest, found[1:])


def test_random_questions_depend_on_seed_and_user(tastes):
    model, new = tastes
    questions, _ = pools(new, 150, seed=22)
    ask = {(user, seed): next_questions(model, user, questions, how="random", n=9, seed=seed).tolist()
           for user in ("a", "b") for seed in (0, 1)}  # fmt: skip
    assert ask["a", 0] == next_questions(model, "a", questions, how="random", n=9).tolist()
    assert len({tuple(rows) for rows in ask.values()}) == 4


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
    for how in ("information", "d_optimal", "max_distance", "dissimilar", "random"):
        rows = next_questions(model, data.user_ids[0], data, how=how, n=5, asked=data.take(np.arange(2)))
        assert len(set(rows)) == 5
    sure, asked = data.user_ids[0], next_questions(model, data.user_ids[0], data, how="d_optimal")[0]
    p = model.prefer(replace(data, user=np.zeros_like(data.user)).take(np.array([asked])))
    assert abs(logit(p[0])) < 5, sure  # not one whose answer is known


def test_what_cannot_be_asked(tastes):
    model, new = tastes
    data = new.sample(2, seed=12).data
    for text, call in {
        "how='luck' is not a valid option": lambda: next_questions(model, "a", data, how="luck"),
        'how="dissimilar" needs asked=': lambda: next_questions(model, "a", data, how="dissimilar"),
        "81 questions cannot be chosen from 80": lambda: next_questions(model, "a", data, n=81),
        "bradley_terry: users have no code": lambda: next_questions(BradleyTerry(decay=1.0).fit(data), "a", data),
    }.items():
        with pytest.raises(InputError, match=text):
            call()


@pytest.mark.parametrize("spec", parameters(), ids=repr)
@pytest.mark.filterwarnings("ignore::plurality.errors.InputWarning")  # so few labels tell little of anybody
def test_information_is_that_of_the_probabilities_the_model_predicts_with(spec):
    """Whatever a family's code is: flips, groups, ideal points; from the model's own log-odds at each draw."""
    data = simulated_data(13)
    model = spec.fit(data)
    if not model.head.n_codes:
        with pytest.raises(InputError, match="users have no code to ask about"):
            next_questions(model, data.user_ids[0], data)
        return
    few, ids = data.take(np.arange(7)), data.user_ids[:3]
    belief = model.beliefs(ids)
    points, weight = model.head.points(belief)
    wanted = []
    for person in range(3):
        code = points[person].float()
        rows = Tensors.of(replace(few, user=np.zeros(7, dtype=np.int64)), model.head)
        p = expit(rows.log_odds(model.head, code[None]).detach().double().numpy())
        share = weight.expand(3, -1)[person].exp().numpy()
        wanted.append(information_gain(p.T, share))
    for person, user in enumerate(ids):
        ranked = next_questions(model, user, few, n=7)
        score = np.sort(wanted[person])[::-1]
        np.testing.assert_allclose(wanted[person][ranked], score, atol=1e-7)
    assert len(next_question_each(model, ids, few, np.empty((3, 0), dtype=int))) == 3
