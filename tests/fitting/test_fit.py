"""The joint fit: its objective by hand, its walk over decays by brute force, its trace."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.special import log_expit
from sklearn.linear_model import LogisticRegression

from plurality.data.keys import mix
from plurality.data.splits import folds_apart
from plurality.datasets.simulated import populations as planted
from plurality.errors import InputError, InputWarning
from plurality.fitting import fit as fitters
from plurality.fitting import objective, search, tuning
from plurality.fitting.objective import FitPlan, Objective
from plurality.fitting.optimisers import adam, lbfgs, threads_for
from plurality.fitting.tuning import Candidate, CandidateFit, FitOptions, InnerSplit
from plurality.models import BradleyTerry
from plurality.models.pal.head import IdealPoint
from plurality.reward.fitted import Trace
from plurality.reward.heads import PooledHead
from plurality.reward.tensors import Tensors

WIDTH = 6


def linear(generator):
    return PooledHead(WIDTH, hidden=0, temperature=False, generator=generator)


def ideal(generator):
    return IdealPoint(WIDTH, prototypes=2, preference=3, hidden=0, distance="squared", generator=generator)


@pytest.fixture(scope="module")
def data():
    seen, _ = planted.pal(30, prototypes=2, width=WIDTH, preference=2, norm=2.0, seed=0)
    return seen.sample(20, seed=1).data


def nll(gap, label):
    return -(label * log_expit(gap) + (1 - label) * log_expit(-gap))


def test_objective_is_the_sum_of_its_three_parts(data):
    rng = np.random.default_rng(0)
    soft = replace(data, label=rng.choice([0, 0.5, 1], len(data)), weight=rng.uniform(0.5, 2, len(data)))
    head = ideal(torch.Generator().manual_seed(0)).double()
    fit = Objective(head, soft, FitPlan(rate=0.0, steps=(1, 1, 1)), code_sd=0.35)
    fit.codes = torch.as_tensor(rng.normal(size=(30, 2)))
    with torch.no_grad():
        gap = fit.rows.gap(head, fit.codes).numpy()
        penalty = float(head.penalty(2.0))
    expected = (soft.weight * nll(gap, soft.label)).sum() + penalty + fit.codes.square().sum() / (2 * 0.35**2)
    assert fit.minimise(2.0, objective.FIRST) == pytest.approx(float(expected) / soft.weight.sum(), rel=1e-12)


def test_held_out_is_the_weighted_sum(data):
    heavy = replace(data, weight=np.random.default_rng(1).uniform(0.5, 2, len(data)))
    fit = Objective(ideal(torch.Generator().manual_seed(0)), heavy, FitPlan())
    with torch.no_grad():
        gap = fit.rows.gap(fit.head, fit.codes).double().numpy()
    expected = (nll(gap, heavy.label) * heavy.weight).sum()
    assert fit.held_out(fit.rows) == pytest.approx(expected, rel=1e-6)


def test_minimising_leaves_earlier_codes_alone(data):
    fit = Objective(ideal(torch.Generator().manual_seed(0)), data, FitPlan(steps=(5, 5, 5)))
    fit.minimise(3.0, objective.FIRST)
    kept, values = fit.codes, fit.codes.clone()
    fit.minimise(3.0, objective.LATER)
    assert torch.equal(kept, values)
    assert not torch.equal(fit.codes, values)


def test_a_walk_that_finds_nothing_better_comes_back(data, monkeypatch):
    monkeypatch.setattr(search, "BEYOND", 0)  # on what they are fitted to, weaker is always better
    plan = FitPlan(decays=(3.0, 3e4))
    splits = [InnerSplit(data, data, torch.zeros(WIDTH), 0.0)]
    trial = CandidateFit(Candidate("near", ideal, 3.0), data, splits, plan, FitOptions(), 0)
    trial.minimise(3.0, objective.FIRST)
    trial.value = trial.held_out()
    (fit,) = trial.objectives
    before = {k: v.clone() for k, v in fit.head.state_dict().items()} | {"codes": fit.codes.clone()}
    chosen = tuning.walk_decays(trial, plan, Trace())
    after = {**fit.head.state_dict(), "codes": fit.codes}
    assert chosen == 3.0
    for name, value in before.items():
        assert torch.equal(value, after[name]), name


def test_chosen_decay_is_the_best_there_is(data):
    """Every decay fitted by scikit-learn on the same part: none on a fine grid predicts the rest clearly better."""
    data = data.in_key_order()
    plan = FitPlan(convex=True)
    trace = fitters.fit([Candidate("linear", linear, 20.0)], data, plan, FitOptions()).trace
    chosen = float(trace.rows[-1]["decay"])
    parts = tuning.inner_parts(data, plan, FitOptions())
    assert len(parts) > 1

    scale = float(tuning.started(Candidate("linear", linear, 30.0), data, 0, "cpu").projector.scale[0])

    def differences(rows):
        return (rows.items[rows.first] - rows.items[rows.second]) / scale

    def held_out(decay):
        nats = []
        for inner, outer in parts:
            model = LogisticRegression(C=1 / (decay * WIDTH), fit_intercept=False, tol=1e-6)
            model.fit(differences(inner), inner.label)
            nats.append(nll(differences(outer) @ model.coef_[0], outer.label))
        return np.concatenate(nats).mean()

    best = min(held_out(decay) for decay in np.geomspace(0.1, 3e4, 40))
    assert held_out(chosen) < best + 2e-4
    for row in trace.rows:
        if row["stage"] == "decay":
            assert row["held_out"] == pytest.approx(held_out(row["decay"]), abs=1e-5)


@pytest.mark.parametrize("decay", [1e-3, 3.0])
def test_uneven_directions_are_fitted_to_the_optimum_in_few_steps(decay, monkeypatch):
    """Directions of a thousand sizes: as scikit-learn's Newton has them, in tens of passes where thousands were."""
    rng = np.random.default_rng(0)
    width, n = 20, 600
    items = rng.standard_normal((2 * n, width)) * np.geomspace(1, 1e-3, width)
    items = (items @ np.linalg.qr(rng.standard_normal((width, width)))[0]).astype(np.float32)
    people, _ = planted.taste_groups(10, shares=(1.0,), width=width)
    first, label = np.arange(n), (rng.random(n) < 0.5 + 0.4 * np.sign(items[:n, 0] - items[n:, 0])).astype(float)
    some = people.sample(n // 10, seed=0).data
    prompt, keys = np.zeros(2 * n, dtype=np.int64), mix(np.arange(2 * n))
    data = replace(some, items=items, first=first, second=first + n, label=label, prompt=prompt, item_keys=keys)
    passes, whole = [], Tensors.nll
    monkeypatch.setattr(Tensors, "nll", lambda rows, head, codes: passes.append(0) or whole(rows, head, codes))
    candidate = Candidate("linear", lambda g: PooledHead(width, hidden=0, temperature=False, generator=g), decay)
    head = fitters.fit([candidate], data, FitPlan(convex=True, decays=(decay,)), FitOptions()).head
    assert len(passes) < 40
    scale = head.projector.scale[0].item()
    model = LogisticRegression(C=1 / (decay * width), fit_intercept=False, solver="newton-cholesky", tol=1e-8)
    differences = (items[:n] - items[n:]).astype(np.float64) / scale
    theirs = differences @ model.fit(differences, label).coef_[0]
    np.testing.assert_allclose(differences @ head.projector.direction().double().numpy(), theirs, atol=5e-5)


def test_vertex_of_a_parabola_in_log_decay():
    def parabola(decay):
        return 0.5 + 0.1 * (math.log(decay) - math.log(17)) ** 2

    assert search.vertex({d: parabola(d) for d in (3.0, 10.0, 30.0)}, 10.0) == pytest.approx(17, rel=1e-6)
    assert search.vertex({d: parabola(d) for d in (3.0, 10.0)}, 10.0) == 10.0
    assert search.vertex({1.0: 0.5, 10.0: 0.5, 100.0: 0.5}, 10.0) == 10.0


def test_trace_tells_every_stage(data):
    candidates = [Candidate("near", ideal, 3.0), Candidate("stiff", ideal, 300.0)]
    trace = fitters.fit(candidates, data, FitPlan(n_init=2, decays=(1.0, 3.0, 10.0, 300.0)), FitOptions()).trace
    stages = [str(row["stage"]) for row in trace.rows]
    assert stages[: stages.index("near") + 2] == ["pooled"] * stages.index("near") + ["near", "near"]
    assert stages[-1] == "refit"
    assert "spread 1" in stages
    for row in trace.rows:
        held_out = float(row["held_out"])
        assert math.isnan(held_out) if row["stage"] == "refit" else 0 < held_out < 2, row


def test_the_best_start_is_kept(data):
    """Of three starts, what goes on is the one that stands alone under its own seed."""
    near = [Candidate("near", ideal, 3.0)]
    data = data.in_key_order()
    trace = fitters.fit(near, data, FitPlan(n_init=3, decays=(3.0,)), FitOptions()).trace
    starts = [float(row["held_out"]) for row in trace.rows if row["stage"] == "near"]
    best = int(np.argmin(starts))
    assert len({*starts}) == 3
    plan = FitPlan(decays=(3.0,))
    ((train, valid),) = tuning.inner_parts(data, plan, FitOptions())
    alone = tuning.started(near[0], data, best, "cpu")
    fit = Objective(alone, train, plan)
    fit.minimise(3.0, objective.FIRST)
    spread = fit.infer()[1].codes
    held = Tensors.of(valid, alone)
    assert fit.held_out(held) / len(valid) == pytest.approx(starts[best], rel=1e-12)
    after = next(float(row["held_out"]) for row in trace.rows if row["stage"] == "spread 1")
    assert fit.held_out(held, spread) / len(valid) == pytest.approx(after, abs=1e-3)


def test_with_little_data_the_stiffest_candidate_is_fitted_as_it_stands(data):
    few = data.take(np.arange(0, len(data), 30))
    candidates = [Candidate("near", ideal, 3.0), Candidate("stiff", ideal, 300.0)]
    with pytest.warns(InputWarning, match="20 comparisons are too few to hold items out"):
        fitted = fitters.fit(candidates, few, FitPlan(), FitOptions())
    assert "too few" in str(fitted.trace.rows[0]["stage"])
    assert fitted.trace.rows[-1]["decay"] == 300.0


def test_one_comparison_is_enough(data):
    one = data.take(np.array([5]))
    with pytest.warns(InputWarning, match="too few to hold items out"):
        fitted = fitters.fit([Candidate("linear", linear, 30.0)], one, FitPlan(convex=True), FitOptions())
    assert all(torch.isfinite(p).all() for p in fitted.head.parameters())


def test_what_cannot_be_fitted_raises(data):
    with pytest.raises(InputError, match="planted: no comparison to fit on"):
        BradleyTerry().fit(data.take(np.zeros(0, dtype=int)))
    broken = data.items.copy()
    broken[data.first[3], 0] = np.nan
    with pytest.raises(InputError, match=r"planted: embedding 3 \(from 0\) holds NaN"):
        BradleyTerry().fit(replace(data, items=broken))


def test_an_epoch_of_batches_is_every_comparison_once(data):
    head = ideal(torch.Generator().manual_seed(0))
    rows = Tensors.of(data, head)
    batch = objective._batches(len(data), 128)
    drawn = [batch(step) for step in range(math.ceil(len(data) / 128))]
    assert sorted(torch.cat(drawn).tolist()) == list(range(len(data)))
    epoch = [rows.batch(places) for places in drawn]
    codes = torch.randn(30, 2, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        parts = torch.cat([part.gap(head, codes) for part in epoch])
        whole = rows.gap(head, codes)
    np.testing.assert_allclose(np.sort(parts), np.sort(whole), atol=1e-5)


def test_batches_arrive_where_whole_passes_do(data, monkeypatch):
    """Same data in batches of a quarter: held-out predictions as good, give or take optimiser noise."""
    values, plan = [], FitPlan(decays=(3.0,), batch=150)
    for cheap in (objective.MAX_FULL_BATCH, 0):
        monkeypatch.setattr(objective, "MAX_FULL_BATCH", cheap)
        train, valid = folds_apart(data, 0.25, 0, new_items_for="anybody")
        fitted = fitters.fit([Candidate("near", ideal, 3.0)], data.take(train), plan, FitOptions())
        rows = Tensors.of(data.take(valid), fitted.head)
        with torch.no_grad():
            gap = rows.gap(fitted.head, fitted.posterior.codes.float()).numpy()
        values.append(nll(gap, data.label[valid]).mean())
    assert abs(values[0] - values[1]) < 0.05


def test_optimisers_find_a_known_minimum():
    """Rosenbrock's valley by L-BFGS, a bowl by Adam."""
    x = torch.tensor([-1.2, 1.0], dtype=torch.float64, requires_grad=True)
    value = lbfgs(lambda step: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2, [x], steps=200)
    np.testing.assert_allclose(x.detach(), [1, 1], atol=1e-5)
    assert value < 1e-10
    y = torch.zeros(3, requires_grad=True)
    goal = torch.tensor([0.5, -0.3, 0.1])
    z = torch.zeros(1, requires_grad=True)
    adam(lambda step: (y - goal).square().sum() + (z - 0.2).square().sum(), [([y], 0.1), ([z], 0.02)], steps=200)
    np.testing.assert_allclose(y.detach(), goal, atol=1e-3)
    np.testing.assert_allclose(z.detach(), [0.2], atol=1e-2)


def test_threads_are_put_back():
    before = torch.get_num_threads()
    with pytest.raises(KeyError), threads_for(1.0):
        raise KeyError
    assert torch.get_num_threads() == before
