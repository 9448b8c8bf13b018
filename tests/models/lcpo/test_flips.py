"""The flip mixture on gaps: its formulas, what is known of a reliability, and who is careless rather than different."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import expit, logit

from plurality.models.lcpo.fit import right_probability
from plurality.models.lcpo.head import BetaPrior, FlipMixture, clean_probability, fisher_error, flip_log_odds
from plurality.models.lcpo.taste_vs_noise import taste_vs_noise
from plurality.reward.links import nll
from plurality.reward.posterior import Evidence

RNG = np.random.default_rng(0)


def tensor(x):
    return torch.as_tensor(np.asarray(x, dtype=float))


def labels(gap, eta, seed):
    rng = np.random.default_rng(seed)
    clean = rng.random(gap.shape) < expit(gap)
    return np.where(rng.random(gap.shape) < eta, clean, ~clean).astype(float)


def test_log_odds_are_those_of_the_mixture():
    s, eta = RNG.normal(size=200) * 4, RNG.uniform(0.01, 0.99, 200)
    p = eta * expit(s) + (1 - eta) * expit(-s)
    np.testing.assert_allclose(flip_log_odds(tensor(s), tensor(logit(eta))), logit(p), atol=1e-9)
    far = flip_log_odds(tensor([800.0, -800.0]), tensor([2.0, 2.0]))
    np.testing.assert_allclose(far, [2.0, -2.0])  # never surer than the person is reliable


def test_the_mirror_image_says_the_same():
    s, z = tensor(RNG.normal(size=50)), tensor(RNG.normal(size=50))
    np.testing.assert_allclose(flip_log_odds(s, z), flip_log_odds(-s, -z), atol=1e-12)


def test_responsibilities_are_bayes_rule():
    """RE-PO eq. 4, in its own letters and as σ(s + logit η)."""
    s, eta = RNG.normal(size=100) * 3, RNG.uniform(0.1, 0.99, 100)
    w = expit(s) * eta / (expit(s) * eta + expit(-s) * (1 - eta))
    first, second = torch.ones(100), torch.zeros(100)
    np.testing.assert_allclose(clean_probability(tensor(s), first, tensor(logit(eta))), w, atol=1e-12)
    np.testing.assert_allclose(clean_probability(tensor(-s), second, tensor(logit(eta))), 1 - w, atol=1e-12)
    np.testing.assert_allclose(right_probability(tensor(s), first, tensor(logit(eta))), w, atol=1e-12)
    np.testing.assert_allclose(right_probability(tensor(-s), second, tensor(logit(eta))), w, atol=1e-12)


def test_the_gradient_of_the_mixture_is_the_reweighted_one():
    """∂ log(η σ(s) + (1 − η) σ(−s)) / ∂s = w − σ(s): Algorithm 1 is descent on the observed likelihood."""
    s, z = tensor(RNG.normal(size=60) * 3).requires_grad_(), tensor(RNG.normal(size=60) * 2)
    (by_s,) = torch.autograd.grad(-nll(flip_log_odds(s, z), torch.ones(60)).sum(), s)
    w = clean_probability(s.detach(), torch.ones(60), z)
    np.testing.assert_allclose(by_s, w - torch.sigmoid(s.detach()), atol=1e-12)


def test_beta_prior_is_that_of_its_density():
    """Mode and curvature, in logit η, of the Beta density maximised in η."""
    prior = BetaPrior.of(9.0, 1.5)
    assert prior.mode == pytest.approx(8 / 8.5)
    assert prior.labels == pytest.approx(8.5)
    z = prior.prior().mean.item()
    value = lambda t: 8 * np.log(expit(t)) + 0.5 * np.log(expit(-t))  # noqa: E731
    h = 1e-4
    assert (value(z + h) - value(z - h)) / (2 * h) == pytest.approx(0, abs=1e-6)
    assert -(value(z + h) - 2 * value(z) + value(z - h)) / h**2 == pytest.approx(
        prior.prior().precision.item(), rel=1e-4
    )


def test_reliability_is_the_mode_under_the_beta_prior():
    """Against scipy, one user at a time; soft labels and weights; a user without labels keeps the prior."""
    gap = RNG.normal(size=90) * 3
    user = np.repeat([0, 1, 2], 30)
    label, weight = RNG.choice([0, 0.5, 1.0], 90), RNG.uniform(0.5, 2, 90)
    prior = BetaPrior.of(6.0, 2.0)
    head = FlipMixture(1, personal=True, generator=torch.Generator()).doubled()
    column = tensor(gap)[:, None]
    nothing = torch.zeros_like(column)
    evidence = Evidence(column, nothing, torch.as_tensor(user), tensor(label), tensor(weight), nothing[:, 0])
    found = head.infer(evidence, prior.prior(), 4)
    for u in range(3):
        mine = user == u

        def loss(eta, mine=mine):
            p = eta * expit(gap[mine]) + (1 - eta) * expit(-gap[mine])
            fit = weight[mine] * (label[mine] * np.log(p) + (1 - label[mine]) * np.log(1 - p))
            return -fit.sum() - 5 * np.log(eta) - np.log(1 - eta)

        best = minimize_scalar(loss, bounds=(1e-6, 1 - 1e-6), method="bounded", options={"xatol": 1e-10}).x
        assert torch.sigmoid(found.codes[u, 0]).item() == pytest.approx(best, abs=1e-6)
    np.testing.assert_allclose(found.codes[3], prior.prior().mean, atol=1e-7)
    np.testing.assert_allclose(found.covariance[3], 1 / prior.prior().precision, rtol=1e-6)
    assert head.uncertainty(found, prior.prior())[3].item() == pytest.approx(1, abs=1e-6)


def test_standard_error_by_the_cubic_term():
    """√(6/n)/sd³ for small normal gaps whose scale is unknown, 1/(sd √n) if it were known."""
    n, sd = 400_000, 0.25
    gap = RNG.normal(size=n) * sd
    unknown = fisher_error(tensor(gap), tensor(gap)[:, None], torch.ones(n), 0.9, 0.0)
    assert unknown == pytest.approx(np.sqrt(6 / n) / sd**3, rel=0.15)
    known = fisher_error(tensor(gap), torch.zeros(n, 1), torch.ones(n), 0.9, 1.0)
    assert known == pytest.approx(1 / (sd * np.sqrt(n)), rel=0.05)


@pytest.mark.parametrize(("kind", "said"), [("taste", "own taste"), ("agrees", "noise"), ("guesses", "undecided")])
def test_own_taste_and_noise_are_told_apart(kind, said):
    """A taste of one's own; the common taste with flips, which too many own weights cannot beat; and pure guessing."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 60))
    common, own = (v / np.linalg.norm(v) * 4 for v in rng.normal(size=(2, 60)))
    gap = x @ common
    if kind == "taste":
        label = labels(x @ own, 1.0, 2)
    elif kind == "agrees":
        label = labels(gap, 0.75, 3)
    else:
        label = labels(gap, 0.5, 4)
    found = taste_vs_noise(x, gap, label, seed=0)
    assert found.verdict == said
    assert found.lo < found.difference < found.hi
    assert found.difference == pytest.approx(found.own - found.noise)
