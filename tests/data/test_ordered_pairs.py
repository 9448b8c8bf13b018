"""Answers as weighted pairs: closed forms at indifference, the exact likelihoods' optima, and codes that cover."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import expit, logsumexp
from sklearn.linear_model import LogisticRegression

from plurality.data.keys import mix
from plurality.data.ordered_pairs import PARTNERS, ordered_pairs
from plurality.reward.posterior import Evidence, Prior, laplace


def pairs(level, weight=None, answer=None, key=None):
    level = np.asarray(level, dtype=float)
    n = len(level)
    return ordered_pairs(
        np.zeros(n, dtype=int) if answer is None else answer,
        level,
        np.ones(n) if weight is None else np.asarray(weight, dtype=float),
        mix(np.arange(n)) if key is None else key,
    )


def at_indifference(level, x):
    """Score and information about z of utilities ⟨x, z⟩ at z = 0."""
    i, j, w = pairs(level)
    gap = x[i] - x[j]
    return w @ gap / 2, (gap * w[:, None]).T @ gap / 4


def test_of_a_pair_by_hand():
    assert [list(part) for part in pairs([0, 1])] == [[1], [0], [1]]
    assert [list(part) for part in pairs([7, 7])] == [[], [], []]
    assert [list(part) for part in pairs([7])] == [[], [], []]
    assert pairs([2, 0], weight=[3, 3])[2] == pytest.approx([3])


@pytest.mark.parametrize("k", [2, 3, 4, 9])
def test_one_chosen_from_a_set_is_the_multinomial_logit_at_indifference(k):
    x = np.random.default_rng(k).normal(size=(k, 3))
    level = np.zeros(k)
    level[1] = 1
    score, information = at_indifference(level, x)
    np.testing.assert_allclose(score, x[1] - x.mean(axis=0), atol=1e-12)
    # (x_1 − x̄)(x_1 − x̄)ᵀ + Cov, of which the mean over which one is chosen is the multinomial logit's 2 Cov − Cov
    each = [at_indifference(np.eye(k)[c], x)[1] for c in range(k)]
    np.testing.assert_allclose(np.mean(each, axis=0), np.cov(x.T, bias=True), atol=1e-12)
    assert information.shape == (3, 3)


@pytest.mark.parametrize(("accepted", "rejected"), [(1, 1), (3, 1), (2, 5), (4, 5)])
def test_thumbs_are_the_likelihood_given_how_many_were_accepted(accepted, rejected):
    n = accepted + rejected
    x = np.random.default_rng(n).normal(size=(n, 2))
    level = np.r_[np.ones(accepted), np.zeros(rejected)]
    score, _ = at_indifference(level, x)
    # at indifference all choices of `accepted` things are alike
    scale = 3 * (1 - (level.mean() ** 2 + (1 - level.mean()) ** 2)) / (1 - level.mean() ** 3 - (1 - level.mean()) ** 3)
    assert scale == pytest.approx(2)
    np.testing.assert_allclose(score, level @ x - accepted * x.mean(axis=0), atol=1e-12)


@pytest.mark.parametrize("level", [[0, 1, 2, 3], [0, 0, 1, 2, 2], [0, 0, 0, 1], [1, 2, 3, 4, 5, 6, 7]])
def test_the_score_varies_as_information_says(level):
    """Bartlett's second identity over all ways to deal the levels out, k things alike."""
    generator = np.random.default_rng(0)
    x = generator.normal(size=(len(level), 1))
    dealt = generator.permuted(np.tile(np.array(level, dtype=float), (6000, 1)), axis=1)
    i, j, w = pairs(dealt.ravel(), answer=np.repeat(np.arange(6000), len(level)))
    gap, of = (x[i % len(level)] - x[j % len(level)])[:, 0], i // len(level)
    scores, informations = (np.bincount(of, w * part) for part in (gap / 2, gap**2 / 4))
    # the variance of a variance over 6,000 draws is about 2/6,000 of its square: five standard errors
    assert np.var(scores) == pytest.approx(np.mean(informations), rel=5 * np.sqrt(2 / 6000))


LEVELS = st.lists(st.integers(0, 3), min_size=1, max_size=25)


@settings(max_examples=60, deadline=None)
@given(st.lists(LEVELS, min_size=1, max_size=4), st.integers(0, 5))
def test_the_order_of_rows_and_repetition_change_nothing(answers, seed):
    level = np.concatenate(answers).astype(float)
    answer = np.repeat(np.arange(len(answers)), [len(a) for a in answers])
    key = mix(np.arange(len(level)), 7)
    i, j, w = pairs(level, answer=answer, key=key)
    assert (level[i] > level[j]).all()
    assert (answer[i] == answer[j]).all()
    order = np.random.default_rng(seed).permutation(len(level))
    a, b, v = pairs(level[order], answer=answer[order], key=key[order])
    assert sorted(zip(order[a], order[b], v.round(12), strict=True)) == sorted(zip(i, j, w.round(12), strict=True))
    three = pairs(level, answer=answer, key=key, weight=np.full(len(level), 3))[2]
    np.testing.assert_allclose(three, 3 * w, rtol=1e-12)
    assert np.bincount(np.r_[i, j], minlength=1).max(initial=0) <= max(2 * PARTNERS, 8)
    for one in range(len(answers)):  # what all pairs would weigh
        mine = level[answer == one]
        share = np.unique(mine, return_counts=True)[1] / len(mine)
        cubes, squares = 1 - (share**3).sum(), 1 - (share**2).sum()
        whole = 0.0 if len(share) == 1 else 3 * squares / (len(mine) * cubes) * squares * len(mine) ** 2 / 2
        assert w[answer[i] == one].sum() == pytest.approx(whole)


def drawn(kind, utility, generator):
    """Levels (answers, k) that people with utilities (answers, k) give."""
    if kind == "set":
        said = utility + generator.gumbel(size=utility.shape)
        return (said == said.max(axis=1, keepdims=True)).astype(float)
    if kind == "ranking":
        return (utility + generator.gumbel(size=utility.shape)).argsort(axis=1).argsort(axis=1).astype(float)
    return (generator.random(utility.shape) < expit(utility - 0.5)).astype(float)  # thumbs, by a bar of .5


def test_many_choices_find_the_utilities_that_the_multinomial_logit_finds():
    generator = np.random.default_rng(3)
    truth = np.array([0.0, -1.5, -0.5, 0.4, 1.0, 1.8])
    sets = np.array([generator.permutation(6)[:4] for _ in range(6000)])
    level = drawn("set", truth[sets], generator)
    i, j, w = pairs(level.ravel(), answer=np.repeat(np.arange(len(sets)), 4))
    one_hot = np.eye(6)[:, 1:]
    gap = one_hot[sets.ravel()[i]] - one_hot[sets.ravel()[j]]
    both, side = np.concatenate([gap, -gap]), np.repeat([1, 0], len(gap))
    fitted = (
        LogisticRegression(C=np.inf, fit_intercept=False, solver="newton-cholesky", tol=1e-7)
        .fit(both, side, np.r_[w, w])
        .coef_[0]
    )
    chosen = sets[level == 1]

    def loss(beta):
        u = np.r_[0.0, beta]
        return -(u[chosen] - logsumexp(u[sets], axis=1)).sum()

    exact = minimize(loss, np.zeros(5)).x
    assert abs(exact - truth[1:]).max() < 0.2
    assert abs(fitted - exact).max() < 0.1  # both estimate the same; they differ by less than their standard errors


@pytest.mark.parametrize(("kind", "k", "answers"), [("set", 4, 15), ("ranking", 5, 8), ("thumbs", 30, 1)])
def test_codes_cover_and_unweighted_pairs_do_not(kind, k, answers):
    """90 ± 3 % of 400 people's codes of width 3 lie within their intervals, gaps of sd 2 between things."""
    generator = np.random.default_rng(11)
    people, width = 400, 3
    z = generator.normal(size=(people, width))
    x = generator.normal(size=(people * answers, k, width)) * np.sqrt(2 / width)
    who = np.repeat(np.arange(people), answers)
    level = drawn(kind, np.einsum("nkw,nw->nk", x, z[who]), generator)
    flat = torch.as_tensor(x.reshape(-1, width))
    i, j, w = pairs(level.ravel(), answer=np.repeat(np.arange(len(level)), k))

    def covered(weight):
        user = torch.as_tensor(who[i // k])
        ones = torch.ones(len(i), dtype=torch.float64)
        evidence = Evidence(flat[i], flat[j], user, ones, torch.as_tensor(weight), 0 * ones)
        found = laplace(lambda a, b, c, _: ((a - b) * c).sum(-1), evidence, Prior.isotropic(width, 1.0), people)
        sd = found.covariance.diagonal(dim1=1, dim2=2).sqrt().numpy()
        return (np.abs(found.codes.numpy() - z) < 1.645 * sd).mean()

    assert 0.87 <= covered(w) <= 0.93
    assert covered(np.ones(len(i))) < 0.86


def by_person(kind, k, answers, people, seed, width=3):
    """Codes, and what (people × answers) say of k things each."""
    generator = np.random.default_rng(seed)
    z = generator.normal(size=(people, width))
    x = generator.normal(size=(people * answers, k, width)) * np.sqrt(2 / width)
    who = np.repeat(np.arange(people), answers)
    utility = np.einsum("nkw,nw->nk", x, z[who])
    if kind != "rating":
        return z, x, who, drawn(kind, utility, generator)
    noisy = utility + generator.normal(size=(people, 1))[who] + generator.logistic(size=utility.shape)
    return z, x, who, (noisy[..., None] > np.array([-1.0, 1.0])).sum(-1).astype(float)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "k", "answers"), [("set", 4, 15), ("ranking", 5, 8), ("thumbs", 30, 1), ("rating", 30, 1)]
)
def test_codes_cover_over_200_simulations(kind, k, answers):
    """90 ± 3 % of codes, in the units of cut points: of ratings on three levels, finer ones have units of their own."""
    covered = []
    for seed in range(200):
        z, x, who, level = by_person(kind, k, answers, 25, seed)
        i, j, w = pairs(level.ravel(), answer=np.repeat(np.arange(len(level)), k))
        flat, ones = torch.as_tensor(x.reshape(-1, z.shape[1])), torch.ones(len(i), dtype=torch.float64)
        evidence = Evidence(flat[i], flat[j], torch.as_tensor(who[i // k]), ones, torch.as_tensor(w), 0 * ones)
        found = laplace(lambda a, b, c, _: ((a - b) * c).sum(-1), evidence, Prior.isotropic(z.shape[1], 1.0), len(z))
        sd = found.covariance.diagonal(dim1=1, dim2=2).sqrt().numpy()
        covered.append((np.abs(found.codes.numpy() - z) < 1.645 * sd).mean())
    assert 0.87 <= np.mean(covered) <= 0.93


@pytest.mark.slow
def test_codes_of_graded_pairs_cover_over_200_simulations():
    """90 ± 3 %, at the cut points that were planted."""
    covered = []
    cuts = np.array([0.5, 1.5, 3.0])
    for seed in range(200):
        generator = np.random.default_rng(seed)
        z, delta = generator.normal(size=(25, 3)), generator.normal(size=(25, 15, 3)) * np.sqrt(4 / 3)
        said = np.einsum("nkw,nw->nk", delta, z) + generator.logistic(size=(25, 15))
        rows = [(side * c, (said > side * c).astype(float)) for c in cuts for side in (1, -1)]
        bounds = np.sort([cut for cut, _ in rows])
        place = np.searchsorted(bounds, said)
        x = torch.as_tensor(np.tile(delta.reshape(-1, 3), (2, 1)))
        ends = np.r_[-np.inf, bounds, np.inf]
        offset = -np.r_[ends[place].ravel(), ends[place + 1].ravel()]
        used = np.isfinite(offset)
        label = torch.as_tensor(np.repeat([1.0, 0.0], said.size)[used])
        user = torch.as_tensor(np.tile(np.repeat(np.arange(25), 15), 2)[used])
        evidence = Evidence(x[used], 0 * x[used], user, label, torch.ones_like(label), torch.as_tensor(offset[used]))
        found = laplace(lambda a, b, c, base: ((a - b) * c).sum(-1) + base, evidence, Prior.isotropic(3, 1.0), 25)
        sd = found.covariance.diagonal(dim1=1, dim2=2).sqrt().numpy()
        covered.append((np.abs(found.codes.numpy() - z) < 1.645 * sd).mean())
    assert 0.87 <= np.mean(covered) <= 0.93
