"""Welfare rules against their definitions, brute force, limits, and linear programs."""

import json
import pickle
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize
from scipy.stats import gmean, rankdata

from plurality.errors import InputError
from plurality.rl.rules import registry as rules
from plurality.rl.rules import welfare
from plurality.rl.rules.consensus import borda
from plurality.rl.rules.registry import (
    BRME,
    NAMES,
    RMOD,
    Consensus,
    CVaR,
    Directional,
    ExponentiatedGradient,
    GroupMaxMin,
    Mean,
    Nash,
    Pareto,
    PointwiseMin,
    PowerMean,
    Simplex,
    WeightedGroups,
    nearest,
    neighbourhood,
    rmod_weights,
    rule_of,
)
from plurality.rl.rules.rows import batch_of, rows_of

MEANS = (Mean(), Nash(), PowerMean(-2), PowerMean(0.5), PowerMean(-np.inf), PowerMean(np.inf), CVaR(0.3))
GROUPED = (WeightedGroups({0: 0.2, 1: 0.3, 2: 0.5}), GroupMaxMin(), PointwiseMin(), ExponentiatedGradient(0.5))
EVERY = (*MEANS, *GROUPED, BRME(), RMOD())


@pytest.fixture
def people():
    rng = np.random.default_rng(0)
    utilities, weights = rng.uniform(0.05, 1, (9, 5)), rng.uniform(0.5, 2, 9)
    return utilities, weights, np.array([0, 0, 0, 1, 1, 1, 2, 2, 2])


def test_means_are_those_of_scipy(people):
    u, w, g = people
    np.testing.assert_allclose(Mean()(u, w, g), np.average(u, axis=0, weights=w))
    np.testing.assert_allclose(Nash()(u, w, g), gmean(u, axis=0, weights=np.tile(w[:, None], 5)))
    np.testing.assert_allclose(PowerMean(-1)(u, w, g), 1 / np.average(1 / u, axis=0, weights=w))
    np.testing.assert_allclose(PowerMean(2)(u, w, g), np.sqrt(np.average(u**2, axis=0, weights=w)))


@pytest.mark.parametrize("p", [-700.0, -3.0, -1e-3, -1e-9, 1e-12, 1e-4, 2e-3, 0.7, 3.0, 700.0])
def test_power_means_by_their_definition(people, p):
    """In exact rational powers where floats would overflow or cancel: logs of decimals with 60 digits."""
    from decimal import Decimal, localcontext

    u, w, g = people
    with localcontext(prec=60):
        share = [Decimal(x) / sum(Decimal(y) for y in w) for x in w]
        total = sum(s * (Decimal(p) * Decimal(x).ln()).exp() for s, x in zip(share, u[:, 0], strict=True))
        wanted = float((total.ln() / Decimal(p)).exp())
    assert PowerMean(p)(u, w, g)[0] == pytest.approx(wanted, rel=1e-12)


def test_limits_of_the_power_mean(people):
    u, w, g = people
    np.testing.assert_array_equal(PowerMean(1)(u, w, g), Mean()(u, w, g))
    np.testing.assert_allclose(PowerMean(1 + 1e-9)(u, w, g), Mean()(u, w, g), rtol=1e-8)
    np.testing.assert_allclose(PowerMean(1e-10)(u, w, g), Nash()(u, w, g), rtol=1e-9)
    np.testing.assert_array_equal(PowerMean(-np.inf)(u, w, g), u.min(0))
    np.testing.assert_array_equal(PowerMean(np.inf)(u, w, g), u.max(0))
    np.testing.assert_allclose(PowerMean(-5000)(u, w, g), u.min(0), rtol=1e-3)
    powers = [PowerMean(p)(u, w, g) for p in (-np.inf, -9, -1, 0, 0.5, 1, 4, np.inf)]
    assert (np.diff(powers, axis=0) >= 0).all()


def test_somebody_at_nothing(people):
    u, w, g = people
    u[3, 0], u[:, 1] = 0, 0
    for p in (-np.inf, -1, -1e-5, 0):
        assert PowerMean(p)(u, w, g)[:2].tolist() == [0, 0]
    assert PowerMean(0.5)(u, w, g)[1] == 0
    assert PowerMean(0.5)(u, w, g)[0] == pytest.approx(np.average(np.sqrt(u[:, 0]), weights=w) ** 2)


def test_cvar_is_the_mean_of_the_worst_off(people):
    u, w, g = people
    equal = np.ones(9)
    np.testing.assert_allclose(CVaR(1 / 3)(u, equal, g), np.sort(u, 0)[:3].mean(0))
    np.testing.assert_allclose(CVaR(0.25)(u, equal, g), (np.sort(u, 0)[:2].sum(0) + 0.25 * np.sort(u, 0)[2]) / 2.25)
    for weight in (w, equal):
        np.testing.assert_allclose(CVaR(1)(u, weight, g), np.average(u, axis=0, weights=weight))
        np.testing.assert_allclose(CVaR(1e-12)(u, weight, g), u.min(0))


@pytest.mark.parametrize("share", [0.05, 0.2, 0.5, 0.93])
def test_cvar_solves_its_linear_program(people, share):
    """Rockafellar and Uryasev: min Σ q x over 0 ≤ q ≤ w / share, Σ q = 1."""
    u, w, g = people
    for weight in (w, np.ones(9)):
        bound = weight / weight.sum() / share
        wanted = [linprog(x, A_eq=np.ones((1, 9)), b_eq=[1], bounds=[(0, b) for b in bound]).fun for x in u.T]
        np.testing.assert_allclose(CVaR(share)(u, weight, g), wanted, rtol=1e-9)


@pytest.mark.parametrize("rule", [*MEANS, *GROUPED], ids=lambda rule: rule.name)
@settings(max_examples=30, deadline=None)
@given(counts=st.lists(st.integers(0, 4), min_size=6, max_size=6).filter(lambda c: min(np.add(c[:3], c[3:])) > 0))
def test_a_weight_is_the_person_that_many_times(rule, counts):
    counts, groups = np.array(counts), np.array([0, 1, 2, 0, 1, 2])
    utilities = np.random.default_rng(1).uniform(0.05, 1, (6, 4))
    again = np.repeat(np.arange(6), counts)
    one, other = rule_of_same(rule), rule_of_same(rule)
    np.testing.assert_allclose(
        one(utilities, counts.astype(float), groups),
        other(utilities[again], np.full(len(again), 0.7), groups[again]),
        rtol=1e-9,
    )


def rule_of_same(rule):
    """A rule of the same name, without what it remembers."""
    return rule_of(rule.name)


@pytest.mark.parametrize("rule", EVERY, ids=lambda rule: rule.name)
def test_the_order_of_people_and_of_completions_says_nothing(people, rule):
    u, w, g = people
    rows, columns = np.random.default_rng(2).permutation(9), np.random.default_rng(3).permutation(5)
    wanted = rule_of_same(rule)(u, w, g)[columns]
    np.testing.assert_allclose(rule_of_same(rule)(u[rows][:, columns], w[rows], g[rows]), wanted, rtol=1e-7)
    assert rule_of_same(rule)(u[:, :0], w, g).shape == (0,)


@pytest.mark.parametrize("rule", EVERY, ids=lambda rule: rule.name)
def test_one_completion_more_for_everybody_is_never_less(people, rule):
    """Where everybody gains on every completion, so does the reward; and nobody's unanimity is overruled."""
    u, w, g = people
    assert (rule_of_same(rule)(u * 1.2, w, g) > rule_of_same(rule)(u, w, g)).all()
    same = np.tile(u[:1], (9, 1))
    np.testing.assert_allclose(rule_of_same(rule)(same, w, g), same[0], rtol=1e-9)


def test_group_means_by_hand(people):
    u, w, g = people
    codes, means = welfare.group_means(u, w, g * 5 + 2)
    np.testing.assert_array_equal(codes, [2, 7, 12])
    wanted = np.stack([np.average(u[g == k], axis=0, weights=w[g == k]) for k in range(3)])
    np.testing.assert_allclose(means, wanted)
    np.testing.assert_allclose(WeightedGroups({0: 1, 1: 1, 2: 2})(u, w, g), np.array([0.25, 0.25, 0.5]) @ wanted)
    np.testing.assert_allclose(PointwiseMin()(u, w, g), wanted.min(0))
    np.testing.assert_allclose(GroupMaxMin()(u, w, g), wanted[wanted.mean(1).argmin()])


def test_margins_stand_whatever_the_sample(people):
    u, w, g = people
    rule = WeightedGroups({0: 0.6, 1: 0.3, 2: 0.1})
    heavy = np.where(g == 2, 50 * w, w)
    np.testing.assert_allclose(rule(u, heavy, g), rule(u, w, g))
    with pytest.raises(InputError, match="group 2 has a share but no user of weight"):
        rule(u, np.where(g == 2, 0, w), g)
    with pytest.raises(InputError, match="group 3 has people but no share"):
        rule(u, w, np.where(w == w[8], 3, g))
    WeightedGroups({0: 0.6, 1: 0.3, 2: 0.1, 9: 0})(u, w, g)


RESPONSES = np.array([[1.0, 0.0, 0.4], [0.0, 1.0, 0.4]])  # of group A, of group B
TEMPERATURE = 0.05


def policy(reward):
    score = np.exp((reward - reward.max()) / TEMPERATURE)
    return score / score.sum()


def batch(pi):
    """A thousand responses in the policy's proportions, and of each response one to read its reward from."""
    counts = np.maximum(np.round(1000 * pi).astype(int), 1)
    return np.repeat(np.arange(3), counts)


def test_maxmin_mixes_good_responses_where_the_pointwise_minimum_settles_for_the_middling():
    """Two groups want opposite things: the best for the worse-off is half and half, not what both can bear."""
    ones, groups = np.ones(2), np.arange(2)
    rule = ExponentiatedGradient(0.05)
    rule.load_state({"log_weight": {"0": float(np.log(0.9)), "1": float(np.log(0.1))}})
    pi = np.full(3, 1 / 3)
    for _ in range(300):
        drawn = batch(pi)
        reward = rule(RESPONSES[:, drawn], ones, groups)
        pi = policy(reward[np.searchsorted(drawn, np.arange(3))])
    exact = policy(np.array([0.5, 0.5, 0.4]))  # by symmetry both groups weigh the same
    np.testing.assert_allclose(exact, [0.468, 0.468, 0.063], atol=1e-3)
    np.testing.assert_allclose(pi, exact, atol=0.01)
    settled = policy(PointwiseMin()(RESPONSES, ones, groups))
    np.testing.assert_allclose(settled, [0, 0, 1], atol=1e-3)
    assert (RESPONSES @ pi).min() > 0.48
    assert (RESPONSES @ settled).min() == pytest.approx(0.4, abs=1e-3)
    # a batch of the response that A likes: the step is taken for B; each completion by itself knows no such thing
    mostly_a = RESPONSES[:, [0, 0, 2]]
    np.testing.assert_array_equal(GroupMaxMin()(mostly_a, ones, groups), [0, 0, 0.4])
    np.testing.assert_array_equal(GroupMaxMin()(1 - mostly_a, ones, groups), [0, 0, 0.6])


def maximin(values):
    """Value of the game max_π min_g (V π)_g by a linear program."""
    groups, actions = values.shape
    found = linprog(
        np.append(np.zeros(actions), -1),
        A_ub=np.column_stack([-values, np.ones(groups)]),
        b_ub=np.zeros(groups),
        A_eq=[np.append(np.ones(actions), 0)],
        b_eq=[1],
        bounds=[*[(0, 1)] * actions, (None, None)],
    )
    return -found.fun


@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in (1, 2, 3))])
def test_exponentiated_gradient_converges_to_the_maximin(seed):
    """Against best responses the bound log G / (ηT) + η/8 of Freund and Schapire holds, without noise."""
    values = np.random.default_rng(seed).random((4, 6))
    rounds, step = 4000, np.sqrt(8 * np.log(4) / 4000)
    rule, ones, groups = ExponentiatedGradient(step), np.ones(4), np.arange(4)
    share, played, weight = np.full(4, 0.25), np.zeros(6), np.zeros(4)
    for _ in range(rounds):
        weight += share / rounds
        action = int((share @ values).argmax())
        played[action] += 1 / rounds
        reward = rule(values[:, [action]], ones, groups)
        share = np.array(list(rule.shares.values()))
        assert reward[0] == pytest.approx(share @ values[:, action])
    value, bound = maximin(values), np.log(4) / (step * rounds) + step / 8
    assert value - bound <= (values @ played).min() <= value + 1e-9
    assert value - 1e-9 <= (weight @ values).max() <= value + bound
    assert bound < 0.02


def test_a_large_step_is_maxmin_of_what_has_been_seen(people):
    u, w, g = people
    np.testing.assert_allclose(ExponentiatedGradient(1e6)(u, w, g), GroupMaxMin()(u, w, g))
    small = ExponentiatedGradient(1e-9)(u, w, g)
    np.testing.assert_allclose(small, welfare.group_means(u, w, g)[1].mean(0), rtol=1e-8)


def test_groups_come_and_go():
    rule, one = ExponentiatedGradient(1.0), np.ones(1)
    rule(np.array([[0.0], [1.0]]), np.ones(2), np.array([0, 1]))
    before = rule.shares
    assert before[0] / before[1] == pytest.approx(np.e)
    np.testing.assert_allclose(rule(np.array([[0.3, 0.5]]), one, np.array([1])), [0.3, 0.5])
    rule(np.array([[0.0]]), one, np.array([7]))  # a newcomer at utility 0 keeps the mean weight of those before it
    after = rule.shares
    assert list(after) == [0, 1, 7]
    assert after[7] == pytest.approx((after[0] + after[1]) / 2)


def test_state_survives_json_and_pickle(people, tmp_path):
    u, w, g = people
    first = ExponentiatedGradient(40.0)
    for shift in (0, 1, 2, 0):
        first(np.roll(u, shift, 0), w, g)
    assert json.loads(json.dumps(first.state())) == first.state()
    second = ExponentiatedGradient(40.0)
    path = rules.save_state(first, tmp_path / "rule.json")
    rules.load_state(second, path)
    third = pickle.loads(pickle.dumps(first))
    wanted = first(u, w, g)
    np.testing.assert_array_equal(second(u, w, g), wanted)
    np.testing.assert_array_equal(third(u, w, g), wanted)
    assert not np.allclose(ExponentiatedGradient(40.0)(u, w, g), wanted)
    rules.load_state(Mean(), rules.save_state(Mean(), tmp_path / "mean.json"))


def test_states_that_are_none(tmp_path):
    rule = ExponentiatedGradient(0.2)
    for state in ({}, {"log_weight": 3}, {"log_weight": {"a": 1}}, {"log_weight": {"0": float("nan")}}):
        with pytest.raises(InputError, match="not a state of this rule"):
            rule.load_state(state)
    for content in ("[]", "{", '{"rule": "eg:0.2"}', "[" * 100_000, '{"rule": ' * 100_000):
        (tmp_path / "other.json").write_text(content)
        with pytest.raises(InputError, match=r"other.json: is not a state of a rule"):
            rules.load_state(rule, tmp_path / "other.json")
    with pytest.raises(InputError, match=r"nothing.json is missing; give what save_state wrote"):
        rules.load_state(rule, tmp_path / "nothing.json")
    with pytest.raises(InputError, match=r"holds the state of rule 'mean', not of 'eg:0.2'"):
        rules.load_state(rule, rules.save_state(Mean(), tmp_path / "mean.json"))
    assert rule.log_weight == {}


def test_brme_by_hand(people):
    u, w, g = people
    worst = u[u.mean(1).argmin()]
    np.testing.assert_allclose(BRME(1)(u, w, g), Mean()(u, w, g))
    np.testing.assert_allclose(BRME(0)(u, w, g), worst)
    np.testing.assert_allclose(BRME(0.3, nominal=4)(u, w, g), 0.3 * u[4] + 0.7 * worst)
    np.testing.assert_allclose(BRME(0.3, nominal=4)(u, np.eye(9)[2], g), 0.3 * u[4] + 0.7 * u[2])
    with pytest.raises(InputError, match="no member 9 among 9"):
        BRME(0.3, nominal=9)(u, w, g)


def objective(weight, values, strength, reference):
    return np.log(np.exp(strength * weight @ values) @ reference)


@pytest.mark.parametrize("strength", [0.1, 1.0, 10.0, 100.0])
def test_rmod_weights_are_the_best_of_a_fine_grid(strength):
    rng = np.random.default_rng(5)
    for values in (rng.normal(size=(3, 7)), rng.normal(size=(3, 2)), np.ones((3, 4))):
        reference = rng.dirichlet(np.ones(values.shape[1]))
        found = rmod_weights(values, strength, reference)
        assert found.sum() == pytest.approx(1)
        assert (found >= 0).all()
        a, b = np.meshgrid(*[np.linspace(0, 1, 101)] * 2)
        grid = np.stack([a, b, 1 - a - b], -1)[a + b <= 1]
        least = min(objective(w, values, strength, reference) for w in grid)
        assert objective(found, values, strength, reference) <= least + 1e-9


@pytest.mark.parametrize("shape", [(4, 8), (12, 5), (40, 64)])
def test_rmod_weights_meet_the_conditions_of_optimality(shape):
    """E_π V is the same for groups that count, and more for those that do not; and a general solver does no better."""
    values = np.random.default_rng(6).normal(size=shape)
    uniform = np.full(shape[1], 1 / shape[1])
    found = rmod_weights(values, 2.0)
    pi = np.exp(2 * found @ values)
    mean = values @ (pi / pi.sum())
    assert 2 * (found @ mean - mean.min()) < 1e-8
    start = np.full(shape[0], 1 / shape[0])
    other = minimize(objective, start, (values, 2.0, uniform), method="SLSQP", bounds=[(0, 1)] * shape[0],
                     constraints={"type": "eq", "fun": lambda w: w.sum() - 1})  # fmt: skip
    assert objective(found, values, 2.0, uniform) <= other.fun + 1e-8


def test_rmod_between_the_worst_group_and_the_game(people):
    u, w, g = people
    np.testing.assert_allclose(RMOD(1e-6)(u, w, g), GroupMaxMin()(u, w, g), atol=1e-5)
    values = np.random.default_rng(7).random((4, 6))
    assert (rmod_weights(values, 1e5) @ values).max() == pytest.approx(maximin(values), abs=1e-3)


def test_a_direction_of_objectives():
    scores = np.array([[1.0, 0, 2], [0, 1, 2]])
    ones, groups = np.ones(2), np.zeros(2, dtype=int)
    np.testing.assert_allclose(Directional((3, 4))(scores, ones, groups), [0.6, 0.8, 2.8])
    np.testing.assert_allclose(Directional((30, 40))(scores, 7 * ones, groups), [0.6, 0.8, 2.8])
    with pytest.raises(InputError, match="2 weights needs 2 objectives, one a row, not 3"):
        Directional((3, 4))(np.zeros((3, 2)), np.ones(3), np.zeros(3, dtype=int))
    with pytest.raises(InputError, match="not all 0"):
        Directional((0.0, 0.0))


def test_neighbours_are_near():
    target = np.array([1.0, 2, -1, 0.5])
    near = neighbourhood(target, 400, 30, seed=1)
    np.testing.assert_allclose(np.linalg.norm(near, axis=1), 1)
    angle = np.degrees(np.arccos(np.clip(near @ target / np.linalg.norm(target), -1, 1)))
    assert angle[0] < 1e-5
    assert angle.max() <= 30 + 1e-9
    assert abs(angle.mean() - 15) < 2  # uniform: a standard error of .43
    assert (nearest(near, target, 6) == np.argsort(angle, kind="stable")[:6]).all()
    np.testing.assert_allclose(np.abs(neighbourhood(np.array([2.0]), 3)), 1)


def test_consensus_is_the_mean_rank_of_the_neighbours():
    rng = np.random.default_rng(8)
    objectives = rng.normal(size=(3, 9))
    objectives[:, 4] = objectives[:, 2]  # a tie
    direction = (0.5, 1.0, 0.2)
    found = Consensus(direction, size=7)(objectives, np.ones(3), np.arange(3))
    votes = neighbourhood(np.array(direction), 7) @ objectives
    np.testing.assert_allclose(found, ((rankdata(votes, axis=1) - 1) / 8).mean(0))
    alone = Consensus(direction, size=1)(objectives, np.ones(3), np.arange(3))
    own = Directional(direction)(objectives, np.ones(3), np.arange(3))
    np.testing.assert_allclose(alone, (rankdata(own) - 1) / 8)


def test_consensus_prefers_what_is_good_all_around():
    """The first wins by a hair at the target and loses wherever else one looks; the second is near the top there."""
    angle = np.radians([0, 20, -20, 25, -25])
    votes = np.stack([np.cos(angle), np.sin(angle)], 1) @ np.array([[1.0, 0.99, 0.9, 0.9], [0.0, 0.0, 0.4, -0.4]])
    votes[1:, 0] -= 0.2
    assert votes[0].argmax() == 0
    assert borda(votes).argmax() == 1


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("mean", Mean()),
        ("nash", Nash()),
        ("power:-1", PowerMean(-1)),
        ("power:-inf", PowerMean(-np.inf)),
        ("cvar:0.2", CVaR(0.2)),
        ("groups:0=0.6,1=0.4", WeightedGroups({0: 0.6, 1: 0.4})),
        ("maxmin", GroupMaxMin()),
        ("pointwise_min", PointwiseMin()),
        ("eg", ExponentiatedGradient()),
        ("eg:0.3", ExponentiatedGradient(0.3)),
        ("brme:0.4", BRME(0.4)),
        ("rmod:2", RMOD(2)),
        ("direction:1,0.5", Directional((1, 0.5))),
        ("consensus:1,0.5", Consensus((1, 0.5))),
    ],
)
def test_rules_by_name(name, wanted):
    found = rule_of(name)
    assert found == wanted
    assert rule_of(found) is found
    assert rule_of(found.name) == wanted
    assert pickle.loads(pickle.dumps(found)) == wanted


ROWS = {
    "people": ["mean", "nash", "power:2", "cvar:0.5", "groups:0=1", "maxmin", "pointwise_min", "eg", "rmod"],
    "members": ["brme"],
    "objectives": ["direction:1,2", "simplex:1,2", "consensus:1,2", "pareto"],
}
BATCHES = {"whole": ["maxmin", "eg", "brme"], "prompt": ["rmod", "consensus:1,2", "pareto"]}


def test_every_rule_says_what_its_rows_and_its_batch_are():
    """A new rule must be put into one of the lists."""
    assert sum(map(len, ROWS.values())) == len(NAMES)
    for rows, names in ROWS.items():
        for name in names:
            assert rows_of(rule_of(name)) == rows
            wanted = next((batch for batch, some in BATCHES.items() if name in some), "any")
            assert batch_of(rule_of(name)) == wanted


def test_names_of_objectives_are_put_in_the_models_order():
    named = rule_of("direction:kind=3,true=4")
    assert named == Directional((3.0, 4.0), names=("kind", "true"))
    assert rule_of(named.name) == named
    assert named.over(("true", "short", "kind")).direction == (4.0, 0.0, 3.0)
    assert Directional((1.0, 2.0)).over(("a", "b")).names == ("a", "b")
    with pytest.raises(InputError, match="no objective 'kind'; the model has a, b"):
        named.over(("a", "b"))
    with pytest.raises(InputError, match="has 2 weights, and the model 3 objectives"):
        Directional((1.0, 2.0)).over(("a", "b", "c"))


def test_shares_on_the_simplex():
    scores, ones, groups = np.array([[1.0, 0.0, 2.0], [0.0, 1.0, 2.0]]), np.ones(2), np.arange(2)
    np.testing.assert_allclose(Simplex((3.0, 1.0))(scores, ones, groups), [0.75, 0.25, 2.0])
    with pytest.raises(InputError, match="share is negative"):
        Simplex((1.0, -1.0))


def test_pareto_counts_the_fronts_before_ones_own():
    """Against the definition, front after front, with ties and repeated candidates among them."""
    rng = np.random.default_rng(0)
    assert Pareto()(np.array([[2.0, 1.0, 1.0, 0.0], [0.0, 1.0, 0.5, 0.0]]), np.ones(2), np.arange(2)).tolist() == [
        0, 0, -1, -2
    ]  # fmt: skip
    for k in (1, 2, 3):
        x = rng.integers(0, 4, (k, 12)).astype(float)
        left, front, wanted = set(range(12)), 0, np.zeros(12)
        while left:
            best = {i for i in left if not any((x[:, j] >= x[:, i]).all() and (x[:, j] > x[:, i]).any() for j in left)}
            wanted[list(best)] = -front
            left, front = left - best, front + 1
        found = Pareto()(x, np.ones(k), np.arange(k))
        np.testing.assert_array_equal(found, wanted)
        np.testing.assert_array_equal(Pareto()(np.exp(x) * 7, np.ones(k), np.arange(k)), wanted)
        order = rng.permutation(12)
        np.testing.assert_array_equal(Pareto()(x[:, order], np.ones(k), np.arange(k)), wanted[order])


@pytest.mark.parametrize("name", ["means", "mean:1", "power", "power:", "cvar", "", ":", "eg:"])
def test_unknown_rules(name):
    with pytest.raises(InputError, match=r"is unknown; write one of mean, nash, power:P, cvar:SHARE, .*eg\[:STEP\]"):
        rule_of(name)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: rule_of("power:big"), "'big' is not what power:P takes"),
        (lambda: rule_of("power:nan"), "not a number"),
        (lambda: rule_of("groups:0.6,0.4"), "is not what groups:GROUP=SHARE"),
        (lambda: rule_of("cvar:0"), r"share 0 is outside \(0, 1\]"),
        (lambda: rule_of("cvar:1.5"), r"share 1.5 is outside \(0, 1\]"),
        (lambda: rule_of("eg:-1"), "step of -1 is not positive"),
        (lambda: rule_of("brme:2"), r"alpha 2 is outside \[0, 1\]"),
        (lambda: rule_of("rmod:0"), "strength of 0 is not positive"),
        (lambda: rule_of(Mean), "is not a rule"),
        (lambda: rule_of(3), "3 is not a rule"),
        (lambda: WeightedGroups({0: -1, 1: 2}), "must be 0 or more"),
        (lambda: WeightedGroups({}), "not all 0"),
        (lambda: neighbourhood(np.ones(2), 0), "give 1 or more"),
        (lambda: nearest(np.eye(2), np.ones(2), 3), "3 neighbours cannot be chosen from 2"),
        (lambda: rmod_weights(np.full((2, 2), np.nan)), "finite"),
        (lambda: rmod_weights(np.eye(2), reference=np.ones(2)), "sum to 1"),
    ],
)
def test_what_no_rule_can_be(make, text):
    with pytest.raises(InputError, match=text):
        make()


@pytest.mark.parametrize(
    "rule", [*MEANS, *GROUPED, BRME(), RMOD(), Directional((1.0,) * 9)], ids=lambda rule: rule.name
)
def test_no_rule_takes_what_is_no_utility(people, rule):
    u, w, g = people
    spoilt = u.copy()
    spoilt[4, 2] = np.nan
    with pytest.raises(InputError, match="utility of person 4 for completion 2"):
        rule(spoilt, w, g)
    if not isinstance(rule, Directional):
        for weights in (0 * w, -w, np.where(g == 1, np.inf, w)):
            with pytest.raises(InputError, match="population weights"):
                rule(u, weights, g)
        with pytest.raises(InputError, match="not shapes"):
            rule(u, w[:-1], g)


@pytest.mark.parametrize("rule", [Nash(), PowerMean(-1), PowerMean(2)], ids=lambda rule: rule.name)
def test_powers_need_positive_utilities(people, rule):
    u, w, g = people
    with pytest.raises(InputError, match=f'^{rule.name} needs utilities of 0 or more, .*normalise="win"'):
        rule(u - 0.5, w, g)


def test_shares_of_the_worst_off_are_exact():
    """A fifth of five people is one of them, whatever 0.2 * 5 is in floats."""
    u = np.arange(5.0)[:, None]
    for k in range(1, 6):
        share = float(Fraction(k, 5))
        assert CVaR(share)(u, np.ones(5), np.zeros(5, int))[0] == pytest.approx((k - 1) / 2)
