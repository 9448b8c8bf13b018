"""LCPO: planted flips, annotators and an adversary are recovered, and what is not identified is said aloud."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import expit
from scipy.stats import spearmanr

from plurality.datasets.simulated.populations import Population
from plurality.errors import InputError, InputWarning
from plurality.fitting.optimisers import lbfgs
from plurality.models import BradleyTerry
from plurality.models.lcpo import LCPO
from plurality.models.lcpo.fit import FlipEM
from plurality.models.lcpo.head import BetaPrior, flip_log_odds
from plurality.models.lcpo.preference_losses import smoothed_label
from plurality.reward.links import log_prob, nll

TASTE = np.array([2, -1.5, 1, 0.5, -2]) / np.linalg.norm([2, -1.5, 1, 0.5, -2])


def population(flip, users, sd=3.7, theta=None):
    """Users with flip rates and, unless told otherwise, one taste whose gaps have this sd."""
    theta = np.tile(TASTE, (users, 1)) * sd / np.sqrt(2) if theta is None else theta
    flips = np.broadcast_to(np.asarray(flip, dtype=float), users)
    return Population(lambda x, t: (x * t).sum(1), theta, np.zeros(users, dtype=np.int64), flips, 5)


FLIPS = [0.2, *(pytest.param(flip, marks=pytest.mark.slow) for flip in (0.0, 0.05, 0.1, 0.3, 0.4))]


@pytest.mark.parametrize("flip", FLIPS)
def test_a_global_flip_rate_is_found(flip):
    """20,000 labels; the standard error is at most .008 (METHODS: a.7 B)."""
    sample = population(flip, 100).sample(200, seed=int(100 * flip) + 1)
    model = LCPO(reliability="global", decay=0.2, eta_starts=(0.75,)).fit(sample.data)
    assert model.report["flip_rate"] == pytest.approx(flip, abs=0.02)
    assert model.report["identified"]
    gap = model.gap(sample.data)
    assert np.corrcoef(gap, sample.gap)[0, 1] > 0.995
    assert gap.std() == pytest.approx(3.7, rel=0.2)  # one pooled reward has 1.0 at .2 and .3 at .4
    bounds = model.report["bounds"]
    assert (np.diff(bounds) >= 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_annotators_are_ranked_and_the_adversary_is_found(seed):
    """24 annotators × 400 labels, reliabilities .55 … .98 and one of .3 (METHODS: a.7 C)."""
    eta = np.append(np.linspace(0.55, 0.98, 23), 0.30)
    sample = population(1 - eta, 24).sample(400, seed=5 + seed)
    model = LCPO(eta_starts=(0.9,)).fit(sample.data)
    found = model.users["reliability"].to_numpy()
    assert spearmanr(found, eta).statistic > 0.95
    assert np.sqrt(np.mean((found - eta) ** 2)) < 0.04
    assert found.argmin() == 23
    assert found[23] < 0.5
    p = (sample.gap > 0) == (model.gap(sample.data) > 0)
    assert p.mean() > 0.97  # the sign is the majority's


@pytest.mark.slow
def test_what_small_gaps_cannot_tell_is_said_aloud():
    """sd .25 and 20,000 labels: the standard error by the cubic term is √(6/n)/sd³ = 1.1."""
    data = population(0.2, 100, sd=0.25).sample(200, seed=3).data
    with pytest.raises(InputError, match=r"flips cannot be told from weak tastes.*labelled repeatedly"):
        LCPO(reliability="global").fit(data)
    with pytest.warns(InputWarning, match="not identified"):
        model = LCPO(reliability="global", unidentified="warn", decay=2.0).fit(data)
    assert not model.report["identified"]
    assert model.report["standard_error"] > 0.05
    likely = [row["log_likelihood"] for row in model.report["profile"] if row["reliability"] >= 0.6]
    assert max(likely) - min(likely) < 3


@pytest.mark.slow
def test_ratios_are_known_where_values_are_not():
    eta = np.repeat([0.95, 0.8, 0.65], 4)
    data = population(1 - eta, 12, sd=0.6).sample(1500, seed=4).data
    model = LCPO(unidentified="report", decay=2.0, eta_starts=(0.75,)).fit(data)
    assert not model.report["identified"]
    ratio = np.array(list(model.report["relative_reliability"].values())).reshape(3, 4).mean(1)
    order = [model.user_ids.index(f"user-{i}") for i in range(12)]
    ratio = np.array(list(model.report["relative_reliability"].values()))[order].reshape(3, 4).mean(1)
    np.testing.assert_allclose(ratio / ratio[0], [1, 0.6 / 0.9, 0.3 / 0.9], atol=0.12)


def test_a_taste_minority_is_not_called_careless():
    """4 of 20 want something else and never err; or want the same and guess (METHODS: a.8-5)."""
    rng = np.random.default_rng(0)
    other = rng.normal(size=5)
    other -= (other @ TASTE) * TASTE
    other = -0.5 * TASTE + 0.87 * other / np.linalg.norm(other)
    theta = np.tile(TASTE, (20, 1)) * 3.7 / np.sqrt(2)
    theta[16:] = other * 3.7 / np.sqrt(2)
    odd = {f"user-{i}" for i in range(16, 20)}
    sample = population(0.02, 20, theta=theta).sample(200, seed=9).data
    spec = LCPO(eta_starts=(0.9,), decay=0.2)
    tastes = spec.fit(sample)
    assert set(tastes.report["own_taste"]) == odd
    assert tastes.report["careless"] == []
    unasked = spec.fit(sample, diagnostics=False)
    assert "own_taste" not in unasked.report
    assert np.array_equal(unasked.log_odds(sample), tastes.log_odds(sample))
    guess = np.where(np.arange(20) < 16, 0.02, 0.45)
    careless = spec.fit(population(guess, 20).sample(200, seed=9).data)
    assert set(careless.report["careless"]) | set(careless.report["undecided"]) == odd
    assert careless.report["own_taste"] == []


def test_em_is_direct_maximisation_of_the_flip_mixture():
    data = population(np.linspace(0.02, 0.4, 10), 10).sample(60, seed=6).data.in_key_order()
    prior, head = BetaPrior.of(9.0, 1.5), LCPO().head(5, torch.Generator()).double().requires_grad_(False)
    fit = FlipEM(head, data, prior, personal=True)
    start = fit.start(torch.full((1, 5), 0.1, dtype=torch.float64), 0.75)
    end = fit.em(start, 1.0, max_iter=2000, tol=1e-13)
    linear, logits = head.projector.linear.requires_grad_(True), end.params.logits.clone().requires_grad_()
    generator = torch.Generator().manual_seed(0)
    for nudge in (0.0, 0.2):
        with torch.no_grad():
            linear.copy_(end.params.weights + nudge * torch.randn(1, 5, generator=generator, dtype=torch.float64))
            logits.copy_(end.params.logits)

        def loss(step):
            observed = nll(flip_log_odds(fit.gap(), logits[fit.unit]), fit.rows.label).sum()
            known = prior.labels * (prior.mode * log_prob(logits) + (1 - prior.mode) * log_prob(-logits)).sum()
            return observed - known + head.penalty(1.0)

        bound = -lbfgs(loss, [linear, logits], steps=1000)
        assert bound == pytest.approx(end.bound, abs=1e-5)
        np.testing.assert_allclose(linear.detach(), end.params.weights, atol=2e-2)


def test_clean_gaps_and_noisy_labels_are_different_predictions():
    sample = population(0.2, 30).sample(60, seed=7)
    model = LCPO(reliability="global", decay=0.2, unidentified="report").fit(sample.data)
    eta, gap = 1 - model.report["flip_rate"], model.gap(sample.data)
    np.testing.assert_allclose(model.prefer(sample.data), eta * expit(gap) + (1 - eta) * expit(-gap), atol=1e-6)


def test_given_a_rate_the_baselines_are_one_reward_on_moved_labels():
    sample = population(0.2, 60).sample(100, seed=8)
    smooth = LCPO(noise="smoothing", flip_rate=0.2, decay=0.2).fit(sample.data)
    moved = replace(sample.data, label=smoothed_label(torch.as_tensor(sample.data.label), 0.2).numpy())
    pooled = BradleyTerry(decay=0.2).fit(moved)
    np.testing.assert_allclose(smooth.gap(sample.data), pooled.gap(sample.data), atol=1e-3)
    unbiased = LCPO(noise="unbiased", flip_rate=0.2, decay=0.2).fit(sample.data)
    slope = np.polyfit(sample.gap, unbiased.gap(sample.data), 1)[0]
    assert slope == pytest.approx(1, abs=0.15)
    assert np.polyfit(sample.gap, smooth.gap(sample.data), 1)[0] < 0.5


@pytest.mark.slow
def test_one_published_pass_is_biased_towards_its_start():
    """METHODS a.7 E: at η = .6, one pass from .9 ends far above it."""
    data = population(0.4, 100).sample(200, seed=41).data
    online = LCPO(reliability="global", online=True, decay=0.2, unidentified="report").fit(data)
    assert online.report["reliability_by_start"]["0.6"] > 0.7
    full = LCPO(reliability="global", decay=0.2, eta_starts=(0.9,)).fit(data)
    assert full.report["flip_rate"] == pytest.approx(0.4, abs=0.02)


def test_settings_that_cannot_be():
    for text, settings in {
        "'everybody' is not a valid option; give one of unit, global": {"reliability": "everybody"},
        "'loud' is not a valid option": {"noise": "loud"},
        "need a flip_rate": {"noise": "smoothing"},
        r"must lie in \[0, ½\)": {"noise": "unbiased", "flip_rate": 0.6},
        "prior must be two numbers above 1": {"prior": (1.0, 1.0)},
        "decay 0 is not positive": {"decay": 0},
    }.items():
        with pytest.raises(InputError, match=text):
            LCPO(**settings)
