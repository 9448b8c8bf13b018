"""Heads against their formulas written out in numpy, one item and one user at a time."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy.stats import norm

from plurality.models.pal.head import IdealPoint, PromptDirection
from plurality.reward.heads import PooledHead, Projector
from tests.models.variants import variants

N, U, D, K, P = 40, 5, 7, 3, 4


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def generator():
    return torch.Generator().manual_seed(1)


def made(kind, hidden=0):
    shape = {"prototypes": K, "preference": P, "hidden": hidden, "generator": generator()}
    heads = {
        "pooled": lambda: PooledHead(D, hidden=hidden, temperature=False, generator=generator()),
        "temperature": lambda: PooledHead(D, hidden=hidden, temperature=True, generator=generator()),
        "squared": lambda: IdealPoint(D, distance="squared", **shape),
        "norm": lambda: IdealPoint(D, distance="norm", **shape),
        "inner": lambda: PromptDirection(D, angle=False, **shape),
        "angle": lambda: PromptDirection(D, angle=True, **shape),
    }
    head = heads[kind]().double()
    with torch.no_grad():  # away from zeros and ones, so that every parameter counts
        for parameter in head.parameters():
            parameter.add_(0.3 * drawn(*parameter.shape, seed=parameter.numel()))
    a, b, q = 2 * drawn(N, D, seed=5) + 1, 2 * drawn(N, D, seed=6) + 1, 3 * drawn(N, D, seed=7)
    head.standardise(a, b, q, torch.ones(N, dtype=torch.float64))
    return head


def gelu(x):
    return x * norm.cdf(x)


def f(projector, x):
    p = {k: v.numpy() for k, v in projector.state_dict().items()}
    x = (x - p["mean"]) / p["scale"] / np.sqrt(D)
    out = p["linear"] @ x
    if projector.hidden:
        out = out + p["outer"] @ gelu(p["inner"] @ x + p["bias"]) / np.sqrt(projector.hidden)
    return out


def utility(kind, head, x, q, z):
    """The formula of the docstring; items and prompt (D,), code (C,)."""
    p = {k: v.numpy() for k, v in head.state_dict().items()}
    if kind == "pooled":
        return f(head.projector, x)[0]
    if kind == "temperature":
        return np.exp(z[0]) * f(head.projector, x)[0]
    w = np.exp(z) / np.exp(z).sum()
    if kind in ("squared", "norm"):
        distance = np.linalg.norm(f(head.projector, x) - w @ p["prototypes"])
        if kind == "norm":
            return -np.exp(p["log_scale"]) * distance
        return -(distance**2)
    v = w @ (f(head.maps, q).reshape(K, P) + p["constant"])
    inner = f(head.projector, x) @ v
    if kind == "inner":
        return inner
    return min(np.exp(p["log_scale"]), 100) * inner / np.linalg.norm(f(head.projector, x)) / np.linalg.norm(v)


KINDS = ["pooled", "temperature", "squared", "norm", "inner", "angle"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hidden", [0, 5])
def test_utility_is_its_formula(kind, hidden):
    head = made(kind, hidden)
    items, prompts, codes = drawn(N, D, seed=2), drawn(N, D, seed=3), drawn(U, head.n_codes, seed=4)
    expected = np.array(
        [[utility(kind, head, x, q, z) for x, q in zip(items.numpy(), prompts.numpy(), strict=True)]
         for z in codes.numpy()]
    )  # fmt: skip
    if kind == "squared":  # known up to a constant a user
        constant = (torch.softmax(codes, -1) @ head.prototypes).square().sum(-1)
        expected = expected + constant.detach().numpy()[:, None]
    with torch.no_grad():
        features = head.features(items, prompts)
        np.testing.assert_allclose(head.population(features, codes), expected, rtol=1e-7, atol=1e-7)
        user = torch.arange(N) % U
        by_row = head.utility(features, codes[user])
    np.testing.assert_allclose(by_row, expected[user, np.arange(N)], rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_called_bilinear_is(kind):
    head = made(kind)
    features, codes = head.features(drawn(N, D, seed=2), drawn(N, D, seed=3)), drawn(N, head.n_codes, seed=4)
    assert head.bilinear == (kind not in ("norm", "angle"))
    if head.bilinear:
        gap = ((features - features.flip(0)) * head.coefficients(codes)).sum(-1)
        torch.testing.assert_close(head.log_odds(features, features.flip(0), codes), gap)


@pytest.mark.parametrize("kind", KINDS)
def test_population_in_single_precision(kind):
    """One matrix product over users and items agrees with the rows one by one."""
    head = made(kind).float()
    items, prompts = drawn(300, D, seed=2).float(), drawn(300, D, seed=3).float()
    codes = drawn(60, head.n_codes, seed=4).float()
    with torch.no_grad():
        features = head.features(items, prompts)
        whole = head.population(features, codes)
        rows = torch.stack([head.utility(features, z.expand(300, -1)) for z in codes])
    assert whole.shape == (60, 300)
    np.testing.assert_allclose(whole, rows, atol=1e-4 * float(rows.abs().max()))


@pytest.mark.parametrize("kind", KINDS)
def test_where_an_embedding_lies_and_how_large_it_is_does_not_matter(kind):
    """x -> 50 x + 3: after standardising, features are the same."""
    head = made(kind)
    items, prompts = drawn(N, D, seed=2), drawn(N, D, seed=3)
    one = torch.ones(N // 2, dtype=torch.float64)
    sides = (slice(0, N // 2), slice(N // 2, N))
    seen = []
    for scale, shift in ((1, 0), (50, 3)):
        x, q = scale * items + shift, scale * prompts + shift
        head.standardise(x[sides[0]], x[sides[1]], q[sides[0]], one)
        with torch.no_grad():
            seen.append(head.features(x, q))
    np.testing.assert_allclose(seen[0], seen[1], rtol=1e-9, atol=1e-9)


def test_projector_standardises_differences_to_mean_square_two():
    projector = Projector(D, 2, 0, generator()).double()
    a, b = 5 * drawn(N, D, seed=8) + 2, 5 * drawn(N, D, seed=9) + 2
    weight = torch.rand(N, generator=generator(), dtype=torch.float64)
    projector.standardise_sides(a, b, weight)
    square = ((a - b) / projector.scale).square().mean(1)
    np.testing.assert_allclose((weight * square).sum() / weight.sum(), 2, rtol=1e-12)
    np.testing.assert_allclose(projector.mean, np.average((a + b).numpy() / 2, axis=0, weights=weight), rtol=1e-12)


def test_weights_standardise_as_repetitions():
    a, b, q = drawn(N, D, seed=8), drawn(N, D, seed=9), drawn(N, D, seed=10)
    times = torch.arange(N) % 3 + 1
    weighted, repeated = made("inner"), made("inner")
    weighted.standardise(a, b, q, times.double())
    rows = torch.repeat_interleave(torch.arange(N), times)
    repeated.standardise(a[rows], b[rows], q[rows], torch.ones(len(rows), dtype=torch.float64))
    for name, value in weighted.state_dict().items():
        np.testing.assert_allclose(value, repeated.state_dict()[name], rtol=1e-12, err_msg=name)


def test_inputs_that_never_vary_are_left_as_they_are():
    head = made("inner")
    same = (0.1 + drawn(1, D)).expand(N, D)
    head.standardise(same, same, same, torch.ones(N, dtype=torch.float64))
    assert (head.projector.scale == 1).all()
    assert (head.maps.scale == 1).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hidden", [0, 5])
def test_penalty_is_minus_the_log_prior(kind, hidden):
    """Weights ~ N(0, 1 / decay), prototypes and g's constants ~ N(0, 1); biases and scales are free."""
    head, decay = made(kind, hidden), 2.5
    expected = 0.0
    for name, value in head.state_dict().items():
        last = name.split(".")[-1]
        if last in ("linear", "inner", "outer"):
            sd = decay**-0.5
        elif last in ("prototypes", "constant"):
            sd = 1.0
        else:
            continue
        expected += (norm.logpdf(0, scale=sd) - norm.logpdf(value.numpy(), scale=sd)).sum()
    np.testing.assert_allclose(float(head.penalty(decay).detach()), expected, rtol=1e-10)


def test_norm_has_a_gradient_on_the_ideal_point_itself():
    head = made("norm")
    codes = torch.zeros(1, K, dtype=torch.float64, requires_grad=True)
    ideal = (torch.softmax(codes, -1) @ head.prototypes).detach()
    head.utility(ideal, codes).sum().backward()
    assert torch.isfinite(codes.grad).all()


def test_angle_scale_never_exceeds_one_hundred():
    head = made("angle")
    with torch.no_grad():
        head.log_scale.fill_(9.0)
        features = head.features(drawn(N, D), drawn(N, D, seed=1))
        assert float(head.population(features, drawn(U, K)).abs().max()) <= 100 + 1e-9


@pytest.mark.parametrize("kind", ["squared", "norm", "inner", "angle"])
def test_mean_code_has_the_mean_weights(kind):
    codes = 2 * drawn(50, K, seed=11)
    expected = torch.softmax(codes, -1).mean(0)
    head = made(kind)
    np.testing.assert_allclose(torch.softmax(head.mean_code(codes), -1), expected, rtol=1e-12)
    shown = head.show(head.mean_code(codes)[None])
    np.testing.assert_allclose(torch.stack(list(shown.values())).squeeze(-1), expected, rtol=1e-12)


def test_far_ideal_points_start_as_the_pooled_direction_for_everybody():
    head = IdealPoint(D, prototypes=K, preference=1, hidden=0, distance="squared", generator=generator()).double()
    items, direction = drawn(N, D, seed=2), drawn(D, seed=3)
    head.start_far(direction)
    with torch.no_grad():
        u = head.population(head.features(items, None), drawn(U, K, seed=4))
    np.testing.assert_allclose(u, np.tile((items @ direction).numpy(), (U, 1)), rtol=1e-6, atol=1e-9)


def test_ideal_points_far_away_tend_to_the_vector_model():
    """curvature 0 is the limit: as P moves out and f shrinks with it, ‖f‖² vanishes beside 2⟨f, P w⟩."""
    head = made("squared")
    items, codes = drawn(N, D, seed=2), drawn(U, K, seed=4)
    with torch.no_grad():
        head.projector.linear.mul_(1e-4)
        head.prototypes.mul_(1e4)
        near = head.population(head.features(items, None), codes)
        head.curvature.zero_()
        limit = head.population(head.features(items, None), codes)
    np.testing.assert_allclose(near, limit, atol=1e-6)


def test_heads_are_planned_without_torch_s_compiler():
    """Its import takes 2 s, and every model that is loaded has its size planned on the meta device first."""
    code = f"""
import sys, torch
from plurality.models import {", ".join(sorted({type(spec).__name__ for spec in variants()}))}
for spec in {variants()}:
    with torch.device("meta"):
        assert all(tensor.numel() < 10_000 for tensor in spec.head(6, torch.Generator()).state_dict().values()), spec
    assert "torch._dynamo" not in sys.modules, spec
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
