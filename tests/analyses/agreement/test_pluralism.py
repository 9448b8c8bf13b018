"""Representativeness and steering against scipy, values of optimal transport, brute force and closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from plurality.analyses.agreement.pluralism import (
    alignment,
    consistency,
    distribution_distance,
    representativeness,
    shares,
    steerability,
)
from plurality.errors import InputError


def survey(seed=0, questions=7, options=5, groups=3):
    """A model's shares, groups' totals, and places of options of which the last is sometimes a refusal."""
    rng = np.random.default_rng(seed)
    model = rng.dirichlet(np.ones(options), questions)
    human = rng.gamma(1.0, 20.0, (groups, questions, options))
    place = np.array([rng.permutation(options) + 1.0 for _ in range(questions)])
    place[::2, -1] = np.nan
    return model, human, place


# of POT 0.9.7, ot.emd2 with Euclidean costs: 1 − the distance over the span, for the first group
POT_ALIGNMENT = (
    0.9155233186356155,
    0.6029055615756214,
    0.675599754126036,
    0.8430029696275976,
    0.7374155626811291,
    0.696278616590849,
    0.8340493821557803,
)
# of POT 0.9.7, ot.emd2 with a cost of 1 between any two options
POT_NOMINAL = (
    1.0,
    0.4884347320976928,
    0.5224329040710483,
    0.43477422786251785,
    0.569991379298629,
    0.33904452598061563,
    0.44429943429544105,
    0.48359377387249247,
    0.6976536541584556,
)


def test_alignment_is_one_less_the_wasserstein_distance_of_scipy_and_pot():
    model, human, place = survey()
    found = alignment(model, human, place)
    assert found.shape == (3, 7)
    for g in range(3):
        for q in range(7):
            kept = ~np.isnan(place[q])
            x, p, h = place[q][kept], model[q][kept], human[g, q][kept]
            span = x.max() - x.min()
            expected = 1 - wasserstein_distance(x, x, p, h) / span
            assert found[g, q] == pytest.approx(expected, abs=1e-12)
    np.testing.assert_allclose(found[0], POT_ALIGNMENT, atol=1e-12)


def test_alignment_by_hand():
    places = [1, 2, 3, np.nan]
    assert alignment([[1, 0, 0, 0]], [[0, 0, 5, 0]], places) == pytest.approx(0)  # opposite ends
    assert alignment([[1, 0, 0, 0]], [[0, 7, 0, 0]], places) == pytest.approx(0.5)
    # half of the model's mass is a refusal: dropped, the rest scaled up
    assert alignment([[0.25, 0.25, 0, 0.5]], [[1, 1, 0, 9]], places) == pytest.approx(1)
    assert alignment([[0.3, 0.7]], [[0.4, 0.6]], [0, 1])[0] == pytest.approx(0.9)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.1, 50), st.floats(-20, 20), st.floats(0.01, 1000))
def test_neither_order_nor_units_of_options_nor_totals_matter(seed, scale, shift, total):
    model, human, place = survey(seed)
    before = alignment(model, human, place)
    assert ((before >= -1e-12) & (before <= 1 + 1e-12)).all()
    order = np.random.default_rng(seed).permutation(5)
    changed = alignment(3 * model[:, order], total * human[..., order], scale * place[:, order] + shift)
    np.testing.assert_allclose(changed, before, atol=1e-9)
    np.testing.assert_allclose(alignment(model, human, -place), before, atol=1e-12)
    np.testing.assert_allclose(alignment(model, model, place), 1, atol=1e-12)


def test_questions_without_answers_are_left_out():
    model, human, place = survey()
    human[0, 2] = 0
    human[1, 4, :] = [0, 0, 0, 0, 8]  # nothing but refusals
    place[6] = [3, np.nan, np.nan, np.nan, np.nan]  # one place has no distances
    found = alignment(model, human, place)
    assert np.isnan(found[:, 6]).all()
    assert np.isnan([found[0, 2], found[1, 4]]).all()
    assert np.isnan(found).sum() == 5
    mean = representativeness(found)
    np.testing.assert_allclose(mean, np.nanmean(found, axis=1), atol=1e-14)
    weights = np.arange(1.0, 8.0)
    known = ~np.isnan(found[0])
    assert representativeness(found, weights)[0] == pytest.approx(np.average(found[0][known], weights=weights[known]))
    assert np.isnan(representativeness(np.full(3, np.nan)))
    assert np.isnan(representativeness(found, np.zeros(7))).all()
    assert representativeness(np.zeros((2, 0))).shape == (2,)


def test_consistency_is_the_share_of_topics_with_the_overall_winner():
    aligned = np.array([[0.9, 0.9, 0.2, 0.9, 0.5], [0.5, 0.5, 0.8, 0.1, 0.5], [0.1, 0.1, 0.1, 0.1, 0.4]])
    topics = ["a", "a", "b", "c", "d"]
    found = consistency(aligned, topics)
    assert (found.value, found.best, found.n_topics) == (pytest.approx((1 + 0 + 1 + 0.5) / 4), 0, 4)
    order = np.array([2, 0, 1])
    assert consistency(aligned[order], topics).value == found.value
    assert consistency(aligned, topics, weights=[1, 1, 0, 1, 0]).value == 1  # topics without weight are left out
    missing = aligned.copy()
    missing[0, 4] = np.nan  # the winner was not asked there
    assert consistency(missing, topics).n_topics == 3


def test_consistency_without_a_winner_is_nan():
    for aligned in (np.ones((2, 3)), np.ones((1, 3)), np.full((2, 3), np.nan), np.ones((2, 0))):
        found = consistency(aligned, np.arange(aligned.shape[1]))
        assert np.isnan(found.value)
        assert found.best == -1
    with pytest.raises(InputError, match="topics"):
        consistency(np.ones((2, 3)), ["a"])


def test_both_forms_of_steerability():
    rng = np.random.default_rng(0)
    told, plain = rng.random((4, 3, 50)), rng.random((4, 50))
    by_question, by_context = steerability(told, plain), steerability(told, plain, form="context")
    np.testing.assert_allclose(by_question.steered, [np.mean([max(t[:, q]) for q in range(50)]) for t in told])
    np.testing.assert_allclose(by_context.steered, [max(t[c].mean() for c in range(3)) for t in told])
    assert (by_question.steered >= by_context.steered).all()
    np.testing.assert_allclose(by_context.gain, by_context.steered - plain.mean(axis=1))
    one = steerability(told[:, :1], plain)
    np.testing.assert_allclose(one.steered, steerability(told[:, :1], plain, form="context").steered)
    same = steerability(np.repeat(plain[:, None], 3, axis=1), plain)
    np.testing.assert_allclose(same.gain, 0, atol=1e-15)


def test_steered_and_unsteered_are_compared_on_the_same_questions():
    told, plain = np.array([[0.9, 0.2, 0.7], [0.4, np.nan, 0.8]]), np.array([0.5, 0.9, np.nan])
    found = steerability(told, plain)
    assert (found.steered, found.unsteered, found.n_questions) == (0.9, 0.5, 1)
    nothing = steerability(np.full((2, 3), np.nan), plain)
    assert np.isnan(nothing.gain)
    assert nothing.n_questions == 0
    with pytest.raises(InputError, match="form"):
        steerability(told, plain, form="max")
    with pytest.raises(InputError, match="contexts, questions"):
        steerability(plain, plain)
    with pytest.raises(InputError, match="contexts, questions"):
        steerability(np.ones((2, 3, 4)), np.ones((3, 4)))


def test_nominal_distances_are_those_of_scipy():
    rng = np.random.default_rng(0)
    p, q = rng.dirichlet(np.ones(6), 9), rng.dirichlet(np.ones(6), 9)
    p[0] = [1, 0, 0, 0, 0, 0]
    q[0] = [0, 1, 0, 0, 0, 0]
    np.testing.assert_allclose(
        distribution_distance(p, 7 * q, "js"), jensenshannon(p, q, axis=1, base=2) ** 2, atol=1e-12
    )
    tv = distribution_distance(p, q)
    np.testing.assert_allclose(tv, POT_NOMINAL, atol=1e-12)
    assert (tv[0], distribution_distance(p, q, "js")[0]) == (1, pytest.approx(1))
    order = rng.permutation(6)
    np.testing.assert_allclose(distribution_distance(p[:, order], q[:, order]), tv, atol=1e-14)
    assert np.isnan(distribution_distance([0, 0], [1, 1]))
    assert np.isnan(distribution_distance([0, 0], [1, 1], "js"))
    with pytest.raises(InputError, match="kind"):
        distribution_distance([1, 0], [1, 1], "kl")


def test_bad_shares_and_shapes_are_named():
    with pytest.raises(InputError, match=r"-0\.1 at \[1, 0\]"):
        shares([[1, 0], [-0.1, 1]])
    with pytest.raises(InputError, match=r"infinite at \[1\]"):
        alignment([[1, 0]], [[1, 0]], [0, np.inf])
    for arguments in (
        ([[1, 0]], [[1, 0, 0]], [0, 1]),
        ([[1, 0]] * 2, [[1, 0]] * 3, [0, 1]),
        ([[1, 0]] * 2, [[1, 0]] * 2, [[0, 1]] * 3),
    ):
        with pytest.raises(InputError, match="do not agree in questions or options"):
            alignment(*arguments)
    with pytest.raises(InputError, match="give the same options in both"):
        distribution_distance([1, 0], [1, 0, 0])
    with pytest.raises(InputError, match="one number"):
        shares(1.0)
    with pytest.raises(InputError, match="one number"):
        representativeness(0.5)
    with pytest.raises(InputError, match=r"shape .* for 3 questions"):
        representativeness(np.ones(3), [1])
    with pytest.raises(InputError, match="question 1 has nan"):
        representativeness(np.ones(3), [1, np.nan, 1])
