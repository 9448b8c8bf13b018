"""The spectral start against planted subspaces, closed forms and a plain loop over users."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from plurality.datasets.simulated import populations as planted
from plurality.errors import InputError
from plurality.fitting.spectral import TASTE_VARIANCE, spectrum


def cosines(basis, true):
    """Cosines of the principal angles between two subspaces, largest first."""
    a, b = np.linalg.qr(np.asarray(basis))[0], np.linalg.qr(np.asarray(true))[0]
    return np.linalg.svd(a.T @ b)[1]


def low_rank(n_users=300, width=32, rank=3, each=60, seed=0):
    seen, _ = planted.low_rank(n_users, rank=rank, width=width, seed=seed)
    truth = seen.theta, np.linalg.qr(np.random.default_rng(seed).normal(size=(width, rank)))[0]
    return seen.sample(each, seed=seed + 1).data, *truth


def test_finds_the_planted_subspace_and_users_places_in_it():
    data, theta, v = low_rank()
    found = spectrum(data, 3)
    assert cosines(found.basis, v).min() > 0.97
    assert cosines(found.coordinates, theta).min() > 0.85  # 60 comparisons fix a taste to a third of its size or so
    mine = (found.coordinates @ found.basis.T).numpy()
    true = theta @ v.T
    cosine = (mine * true).sum(1) / np.linalg.norm(mine, axis=1) / np.linalg.norm(true, axis=1)
    assert np.median(cosine) > 0.9
    assert found.population.norm() < 0.2 * found.coordinates.norm(dim=1).mean()


def test_noise_is_taken_out():
    """One taste for all: no direction has variance beyond chance; three tastes: three stand out of the rest."""
    one, _ = planted.taste_groups(300, shares=(1.0,), width=16, seed=3)
    same = spectrum(one.sample(30, seed=4).data, 16)
    data, *_ = low_rank(width=16)
    three = spectrum(data, 16)
    assert same.variance.abs().max() < 0.1 * three.variance[2]
    assert three.variance[3] < 0.2 * three.variance[2]
    assert abs(float(same.variance.sum())) < 0.1 * float(three.variance.sum())


def test_population_direction_is_what_all_share_on_skewed_embeddings():
    """Stein's lemma holds for any covariance of items: the direction is found in the embedding's own coordinates."""
    one, _ = planted.taste_groups(100, shares=(1.0,), width=8, scale=1.0, seed=5)
    sample = one.sample(300, seed=6)
    mix = np.random.default_rng(7).normal(size=(8, 8))
    items = (sample.data.items @ mix).astype(np.float32)
    direction = np.linalg.solve(mix, one.theta[0])
    found = spectrum(replace(sample.data, items=items), 1).population.numpy()
    assert found @ direction / np.linalg.norm(found) / np.linalg.norm(direction) > 0.98
    mine = found / np.linalg.norm(found) * np.linalg.norm(direction)
    gap = items[sample.data.first] @ mine - items[sample.data.second] @ mine
    assert np.corrcoef(gap, sample.gap)[0, 1] > 0.98


def by_definition(data, ridge):
    """Whitened scatter minus the i = i terms, one user at a time."""
    delta = data.items[data.first].astype(float) - data.items[data.second]
    sign, w = 2 * data.label - 1, data.weight
    moment = (w[:, None] * delta).T @ delta / w.sum()
    moment += ridge(moment, w.sum()) * np.eye(data.dim)
    white = np.linalg.solve(np.linalg.cholesky(moment), delta.T).T
    users = np.unique(data.user)
    count = np.array([w[data.user == u].sum() for u in users])
    share = (count / (1 + TASTE_VARIANCE * count)) ** 2
    share /= share.sum()
    mean = np.array([(w * sign)[data.user == u] @ white[data.user == u] / w[data.user == u].sum() for u in users])
    centre, out = share @ mean, 0
    for u, n, s, m in zip(users, count, share, mean, strict=True):
        rows = data.user == u
        own = (w[rows] * sign[rows] ** 2)[:, None] * white[rows]
        out = out + s * (np.outer(m - centre, m - centre) - own.T @ white[rows] / n**2)
    return np.linalg.eigvalsh(out)[::-1]


def test_agrees_with_its_definition():
    """Soft labels, weights, unequal users, one user without comparisons."""
    data, *_ = low_rank(n_users=12, width=5, each=9)
    rng = np.random.default_rng(8)
    data = replace(data, label=rng.choice([0, 0.5, 0.3, 1], len(data)), weight=rng.uniform(0.5, 2, len(data)))
    data = data.take((data.user != 4) & (rng.random(len(data)) < 0.7))
    wanted = by_definition(data, lambda s, n: max(1e-4, 5 / n) * np.trace(s) / 5)
    found = spectrum(data, 5)
    np.testing.assert_allclose(found.variance, 4 * wanted, rtol=1e-9, atol=1e-12)
    assert (found.coordinates[4] == 0).all()


def test_a_weight_is_so_many_rows_and_rows_have_no_order():
    data, *_ = low_rank(n_users=20, width=6, each=10)
    rng = np.random.default_rng(9)
    times = rng.integers(1, 4, len(data))
    weighted = spectrum(replace(data, weight=times.astype(float)), 3)
    repeated = spectrum(data.take(rng.permutation(np.repeat(np.arange(len(data)), times))), 3)
    for name in ("population", "basis", "coordinates", "variance"):
        a, b = weighted.__dict__[name], repeated.__dict__[name]
        np.testing.assert_allclose(a, b, atol=1e-9)


def test_wide_embeddings_and_samples_of_comparisons_change_little(monkeypatch):
    """Lanczos and the whole decomposition agree; second moments from a part of the comparisons nearly do."""
    data, _, v = low_rank()
    whole = spectrum(data, 3)
    monkeypatch.setattr("plurality.fitting.spectral.DENSE", 8)
    lanczos = spectrum(data, 3)
    torch.testing.assert_close(lanczos.basis, whole.basis, atol=1e-6, rtol=0)
    monkeypatch.setattr("plurality.fitting.spectral.SAMPLE", 4_000)
    monkeypatch.setattr("plurality.fitting.spectral.BLOCK", 1_000)
    assert cosines(spectrum(data, 3).basis, v).min() > 0.95


def test_fewer_comparisons_than_dimensions_and_more_directions_than_there_are():
    data, *_ = low_rank(n_users=4, width=32, each=5)
    found = spectrum(data, 40)
    assert found.basis.shape == (32, 32)
    assert found.coordinates.shape == (4, 32)
    assert all(torch.isfinite(t).all() for t in (found.population, found.basis, found.coordinates))


def test_nothing_to_see_is_an_error():
    data, *_ = low_rank(n_users=4, width=4, each=5)
    with pytest.raises(InputError, match="at least one direction"):
        spectrum(data, 0)
    with pytest.raises(InputError, match="needs comparisons"):
        spectrum(data.take(np.zeros(0, dtype=np.int64)), 1)


def test_uncentred_directions_hold_what_is_shared():
    one, _ = planted.taste_groups(100, shares=(1.0,), width=16, seed=10)
    found = spectrum(one.sample(40, seed=11).data, 1, centred=False)
    assert cosines(found.basis, one.theta[:1].T).min() > 0.97
    assert found.coordinates[:, 0].abs().min() > 0.5
