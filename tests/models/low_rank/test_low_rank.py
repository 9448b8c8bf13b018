"""Low rank against planted ranks, scikit-learn, closed forms and the invariances it promises."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from scipy.optimize import minimize
from scipy.special import expit, log_expit
from sklearn.linear_model import LogisticRegression

from plurality.datasets.simulated import low_rank as planted_rank
from plurality.datasets.simulated import populations as planted
from plurality.errors import InputError, InputWarning
from plurality.models import BradleyTerry
from plurality.models.low_rank import LowRank
from plurality.models.low_rank.head import LowRankHead
from plurality.models.low_rank.laplace_em import (
    EMState,
    LowRankRows,
    coefficients,
    gap,
    held_out,
    infer,
    m_step,
    rescaled,
    ridge,
)
from plurality.reward.posterior import Posterior, Prior

POPULATIONS = {
    "signed": (planted_rank.signed, 3),
    "simplex": (planted_rank.simplex, 3),
    "deviations": (planted_rank.deviations, 3),
}


def accuracy(model, data, **unknown):
    return float(np.mean((model.log_odds(data, **unknown) > 0) == (data.label > 0.5)))


@pytest.fixture(scope="module", params=POPULATIONS)
def fitted(request):
    """100 users × 60 comparisons in 32 dimensions, 40 newcomers × 20, and the default fit."""
    maker, rank = POPULATIONS[request.param]
    seen, new = maker(100, rank=rank, width=32, seed=1, unseen=40)
    train, test, support, query = (p.sample(n, seed=s) for p, n, s in
                                   ((seen, 60, 2), (seen, 60, 3), (new, 20, 4), (new, 60, 5)))  # fmt: skip
    return request.param, train, test, support, query, LowRank().fit(train.data)


def test_predicts_nearly_as_well_as_the_truth_whatever_users_share(fitted):
    _, train, test, support, query, model = fitted
    assert accuracy(model, test.data) > test.accuracy() - 0.035  # 6,000 comparisons, a standard error of .004
    assert accuracy(model.adapt(support.data), query.data) > query.accuracy() - 0.075
    assert accuracy(model, test.data) > accuracy(BradleyTerry().fit(train.data), test.data) + 0.08
    assert np.abs(model.prefer(test.data) - test.p).mean() < 0.12


def test_finds_rank_and_kind(fitted):
    """Users on a simplex of three rewards differ in two directions; which of the two forms is taken is told."""
    name, *_, model = fitted
    wanted = {"signed": ("deviations", 3), "simplex": ("simplex", 3), "deviations": ("deviations", 3)}
    assert (model.spec.weights, model.spec.rank) == wanted[name]
    assert model.report["rank"] == model.head.n_codes == 3
    weights = model.users.select(pl.col("^weight_.*$")).to_numpy()
    if name == "simplex":
        np.testing.assert_allclose(weights.sum(1), 1, atol=1e-6)
        assert weights.min() >= 0


def test_adapted_users_are_less_uncertain_the_more_they_say(fitted):
    *_, support, _, model = fitted
    few = support.data.take(np.arange(len(support.data)) % 20 < 3)
    less, more = (model.adapt(d).users.tail(40)["uncertainty"].to_numpy() for d in (few, support.data))
    assert (more < less).mean() > 0.9
    assert less.max() < 1


@pytest.mark.parametrize("each", [8, pytest.param(40, marks=pytest.mark.slow)])
def test_one_taste_is_bradley_terry(each):
    """No direction helps on held-out items: rank 0, and the very reward that one fits for everybody."""
    seen, _ = planted.taste_groups(60, shares=(1.0,), width=12, seed=6)
    data, test = seen.sample(each, seed=7).data, seen.sample(30, seed=8).data
    model, pooled = LowRank().fit(data), BradleyTerry().fit(data)
    assert model.spec.rank == 0
    np.testing.assert_allclose(model.prefer(test), pooled.prefer(test), atol=0.02)  # decays walked along other splits
    assert model.prefer(test, unknown="population") == pytest.approx(model.prefer(test))


def test_rank_0_is_scikit_learn_s_logistic_regression():
    seen, _ = planted.taste_groups(20, shares=(1.0,), width=5, seed=9)
    data = seen.sample(30, seed=10).data
    model = LowRank(rank=0, decay=4.0).fit(data)
    x = data.items[data.first].astype(float) - data.items[data.second]
    strength = 4.0 * 5 * float(model.head.projector.scale[0]) ** 2  # of the weights on raw inputs
    reference = LogisticRegression(C=1 / strength, fit_intercept=False, solver="newton-cholesky", tol=1e-7).fit(
        x, data.label
    )
    np.testing.assert_allclose(model.gap(data), reference.decision_function(x), atol=1e-4)


def test_a_new_user_is_a_ridge_logistic_regression_on_the_shared_rewards():
    """As scipy minimises it, in codes whose prior is N(0, I), the population's reward being an offset."""
    seen, new = planted_rank.signed(60, rank=2, width=8, seed=11, unseen=5)
    model = LowRank(rank=2, weights="signed").fit(seen.sample(40, seed=12).data)
    support = new.sample(15, seed=13).data
    adapted = model.adapt(support)
    features = model.features(support.items).double().numpy()
    root = np.linalg.cholesky(model.prior.precision.numpy())  # z = μ + root⁻ᵀ ε
    for user in range(5):
        mine = support.user == user
        x = (features[support.first] - features[support.second])[mine]
        offset, y = x @ model.prior.mean.numpy(), support.label[mine]

        white = x @ np.linalg.inv(root).T

        def objective(e, white=white, offset=offset, y=y):
            g = offset + white @ e
            return -(y * log_expit(g) + (1 - y) * log_expit(-g)).sum() + e @ e / 2

        best = minimize(objective, np.zeros(2), method="BFGS", options={"gtol": 1e-10}).x
        wanted = model.prior.mean.numpy() + np.linalg.inv(root).T @ best
        np.testing.assert_allclose(adapted.codes([f"new-{user}"])[0], wanted, atol=1e-5)


def state(weights, *, users=30, rank=2, width=5, seed=14):
    """A head, rows, and a made-up place of a fit with posteriors that are not round."""
    seen, _ = planted_rank.deviations(users, rank=rank, width=width, seed=seed)
    data = seen.sample(12, seed=seed + 1).data
    head = LowRankHead(width, rank=rank, weights=weights, generator=torch.Generator().manual_seed(seed)).double()
    rng = np.random.default_rng(seed)
    root = 0.3 * rng.normal(size=(users, rank, rank)) + 0.3 * np.eye(rank)
    posterior = Posterior(torch.as_tensor(rng.normal(size=(users, rank))), torch.as_tensor(root @ root.mT))
    prior = Prior(
        torch.as_tensor(rng.normal(size=rank)) * (weights != "deviations"),
        torch.diag(torch.arange(1.0, rank + 1)).double(),
    )
    return head, LowRankRows.of(data, head), EMState(head.projector.linear.detach().clone(), prior, posterior), data


@pytest.mark.parametrize("weights", ["deviations", "signed", "simplex"])
def test_gaps_of_uncertain_codes_have_this_mean_and_spread(weights):
    """Against 200,000 draws of the codes; to first order where weights are on a simplex, so narrow codes there."""
    head, rows, here, _ = state(weights)
    if weights == "simplex":
        here = replace(here, posterior=Posterior(here.posterior.codes, here.posterior.covariance / 1000))
    features = rows.features(here.rewards)
    mean, sd = gap(features, *(t[rows.user] for t in coefficients(head, here.posterior)))
    rng = np.random.default_rng(15)
    for row in (0, 100, 200):
        user = int(rows.user[row])
        z = rng.multivariate_normal(
            here.posterior.codes[user].numpy(), here.posterior.covariance[user].numpy(), 200_000
        )
        drawn = (head.coefficients(torch.as_tensor(z)) @ features[row]).numpy()
        assert float(mean[row]) == pytest.approx(drawn.mean(), abs=0.02)
        assert float(sd[row]) == pytest.approx(drawn.std(), rel=0.02)


def test_the_m_step_is_where_scipy_finds_it():
    """Expected nats by 4,000 draws of each comparison's gap, plus the ridge; the objective is convex."""
    head, rows, here, data = state("deviations", users=10, rank=1, width=3)
    found = m_step(head, rows, here, (3.0, 5.0), steps=100).rewards.numpy()
    mean, root = (t[rows.user].numpy() for t in coefficients(head, here.posterior))
    stiff = ridge(head, rows, here, (3.0, 5.0)).numpy()
    x = (data.items[data.first].astype(float) - data.items[data.second]) / rows.size.numpy()
    u = (np.arange(4000) + 0.5) / 4000
    draws = torch.special.ndtri(torch.as_tensor(u)).numpy()

    def objective(flat):
        w = flat.reshape(2, 3)
        f = x @ w.T
        g = (f * mean).sum(1)[:, None] + np.abs(np.einsum("nf,nfc->n", f, root))[:, None] * draws
        data_part = -(data.label[:, None] * log_expit(g) + (1 - data.label[:, None]) * log_expit(-g)).mean(1).sum()
        return data_part + (w * (stiff @ w)).sum() / 2

    best = minimize(objective, here.rewards.numpy().ravel(), method="BFGS")
    assert objective(found.ravel()) < best.fun + 1e-3
    np.testing.assert_allclose(found.ravel(), best.x, atol=0.02)


@pytest.mark.parametrize("weights", ["deviations", "signed"])
def test_rescaling_changes_the_axes_and_nothing_else(weights):
    head, rows, here, _ = state(weights)
    turned = rescaled(head, here)
    for old, new in zip(coefficients(head, here.posterior), coefficients(head, turned.posterior), strict=True):
        if old.dim() == 2:
            torch.testing.assert_close(new @ turned.rewards, old @ here.rewards)
    torch.testing.assert_close(held_out(head, rows, turned), held_out(head, rows, here))
    moment = torch.linalg.inv(turned.prior.precision) + turned.prior.mean[:, None] * turned.prior.mean
    torch.testing.assert_close(moment, torch.eye(2, dtype=torch.float64))
    own = turned.rewards[int(head.shared) :]
    gram = own @ own.T
    assert abs(float(gram[0, 1])) < 1e-9
    assert gram[0, 0] > gram[1, 1]
    again = infer(head, rows, turned)
    torch.testing.assert_close(
        coefficients(head, again.posterior)[0] @ turned.rewards,
        coefficients(head, infer(head, rows, here).posterior)[0] @ here.rewards,
        atol=1e-5,
        rtol=0,
    )


@pytest.mark.parametrize("weights", ["deviations", "signed", "simplex"])
def test_the_ridge_is_the_mean_square_of_users_rewards(weights):
    head, rows, here, _ = state(weights)
    if weights == "simplex":  # to first order again
        here = replace(here, posterior=Posterior(here.posterior.codes, here.posterior.covariance * 1e-6))
    stiff = ridge(head, rows, here, (1.0, 1.0))
    rng = np.random.default_rng(16)
    draws = np.stack([rng.multivariate_normal(m, c, 4000) for m, c in zip(*(t.numpy() for t in
                      (here.posterior.codes, here.posterior.covariance)), strict=True)])  # fmt: skip
    rewards = head.coefficients(torch.as_tensor(draws)) @ here.rewards
    penalty = float((here.rewards * (stiff @ here.rewards)).sum())
    assert penalty == pytest.approx(float(rewards.square().sum(-1).mean()), rel=0.03)  # 1 % is a floor for few users


def test_the_shared_and_the_own_part_have_their_own_decay():
    head, rows, here, _ = state("deviations")
    shared = ridge(head, rows, here, (1.0, 0.0))
    torch.testing.assert_close(shared[0, 0], torch.tensor(1.0, dtype=torch.float64))
    assert ridge(head, rows, here, (0.0, 1.0))[0, 0] < 0.05


def test_a_fixed_rank_too_large_costs_little():
    """The population's prior and the ridge close what is not needed."""
    seen, _ = planted_rank.signed(80, rank=2, width=16, seed=17)
    train, test = seen.sample(50, seed=18).data, seen.sample(60, seed=19).data
    right, large = (accuracy(LowRank(rank=r).fit(train), test) for r in (2, 6))
    assert large > right - 0.025


def test_a_unit_other_than_the_user():
    """Codes of planted groups: as good as users told apart by hand, and far better than one reward."""
    seen, _ = planted.taste_groups(60, shares=(0.5, 0.5), width=8, scale=2.5, seed=20)
    train, test = seen.sample(20, seed=21).data, seen.sample(40, seed=22)
    model = LowRank(unit="group", rank=1).fit(train)
    assert sorted(model.user_ids) == ["group 0", "group 1"]
    assert accuracy(model, test.data) > test.accuracy() - 0.03


def test_little_data_is_one_reward_unless_a_rank_is_asked_for():
    seen, _ = planted_rank.signed(4, rank=2, width=6, seed=23)
    data = seen.sample(8, seed=24).data
    more = LowRank(rank=5, weights="simplex")  # more corners than users
    for spec, codes in ((LowRank(), 0), (LowRank(rank=2), 2), (more, 5)):
        with pytest.warns(InputWarning, match="too few to hold items out"):
            model = spec.fit(data)
        assert model.head.n_codes == codes
        assert any("too few comparisons" in str(row["stage"]) for row in model.trace.rows)


def test_items_that_recur_and_are_scored_by_item_or_by_difference_are_the_same():
    seen, _ = planted_rank.signed(20, rank=2, width=6, seed=25)
    data = seen.sample(20, seed=26, items=50).data
    head = LowRankHead(6, rank=2, weights="signed", generator=torch.Generator().manual_seed(0))
    by_item = LowRankRows.of(data, head)
    apart = replace(data, items=np.concatenate([data.items[data.first], data.items[data.second]]),
                    first=np.arange(len(data)), second=np.arange(len(data)) + len(data))  # fmt: skip
    by_difference = LowRankRows.of(apart, head)
    assert by_item.first is not None
    assert by_difference.first is None
    w = head.projector.linear.detach().double()
    torch.testing.assert_close(by_item.features(w), by_difference.features(w), atol=1e-6, rtol=0)


def test_settings_that_cannot_be():
    for text, settings in {
        "weights 'free' are unknown; choose one of deviations, signed, simplex": {"weights": "free"},
        "rank -1 is negative": {"rank": -1},
        "a simplex of rank 1 has one weight": {"rank": 1, "weights": "simplex"},
        "decay 0 is not positive": {"decay": 0},
    }.items():
        with pytest.raises(InputError, match=text):
            LowRank(**settings)
    seen, _ = planted_rank.signed(4, rank=2, width=6)
    with pytest.raises(InputError, match="rank 7 is more than the 6 dimensions"):
        LowRank(rank=7).fit(seen.sample(5, seed=0).data)


def test_probabilities_of_seen_users_are_calibrated(fitted):
    _, _, test, _, _, model = fitted
    p = model.prefer(test.data)
    for low in np.arange(0, 1, 0.2):
        inside = (p >= low) & (p < low + 0.2)
        assert abs(test.data.label[inside].mean() - p[inside].mean()) < 0.07
    assert np.isfinite(expit(model.gap(test.data))).all()
