"""How people use scales: planted shifts and scales are found and covered, and tastes are not mistaken for them."""

import numpy as np
import polars as pl
import pytest

import plurality as pl8
from plurality.errors import InputError
from plurality.fitting.scales import fit_scale, grouped_levels

CUTS = np.array([-2.5, -1.0, 0.5, 2.0])


def rated(people, ratings, shift_sd, log_scale_sd, seed, cuts=CUTS):
    generator = np.random.default_rng(seed)
    own = generator.normal(size=(people, 2)) * [shift_sd, log_scale_sd]
    user = np.repeat(np.arange(people), ratings)
    utility = generator.normal(size=len(user)) * 1.5
    noisy = utility + generator.logistic(size=len(user))
    level = (noisy[:, None] > (cuts - own[user, :1]) / np.exp(own[user, 1:])).sum(1)
    return level, user, utility, own


def test_what_was_planted_is_found():
    level, user, utility, own = rated(150, 20, 1.0, 0.4, seed=0)
    found = fit_scale(level, user, 150, utility=utility / 2)
    np.testing.assert_allclose(found.cuts, CUTS - own[:, 0].mean(), atol=0.35)
    assert found.slope == pytest.approx(2, abs=0.25)
    assert found.shift_sd == pytest.approx(own[:, 0].std(), abs=0.15)
    assert found.log_scale_sd == pytest.approx(own[:, 1].std(), abs=0.1)
    assert np.corrcoef(found.mean[:, 0], own[:, 0])[0, 1] > 0.85


def test_utilities_make_other_peoples_ratings_likelier_by_the_slope_they_should():
    level, user, utility, _ = rated(120, 15, 1.0, 0.0, seed=1)
    known = user < 60
    scale = fit_scale(level[known], user[known], 120, levels=5)
    rest = (level[~known], user[~known] - 60)
    nats = {}
    for name, s in {"truth": utility, "nothing": 0 * utility, "double": 2 * utility}.items():
        beside = scale.with_utility(level[known], user[known], s[known])
        nats[name] = beside.judge(*rest, s[~known], 60).sum() / (~known).sum()
    assert nats["truth"] < nats["nothing"] - 0.1
    assert nats["truth"] == pytest.approx(nats["double"], abs=0.005)  # units do not matter


@pytest.mark.slow
def test_shifts_and_scales_cover():
    """90 ± 3 % over 200 simulations, beside the mean person's, which cut points take in."""
    covered = []
    for seed in range(200):
        level, user, utility, own = rated(40, 25, 0.8, 0.3, seed)
        found = fit_scale(level, user, 40, utility=utility)
        covered.append((np.abs(found.mean - own + own.mean(0)) < 1.645 * found.sd).mean(0))
    share = np.mean(covered, axis=0)
    assert ((share > 0.87) & (share < 0.93)).all(), share


def test_a_report_by_person():
    rows = {
        "user_id": ["ann"] * 4 + ["bob"] * 4 + ["cyd"] * 4,
        "completion": [0, 1, 2, 3] * 3,
        "rating": [5, 5, 4, 5, 1, 2, 1, 1, 5, 5, 5, 5],
    }
    with pytest.warns(pl8.InputWarning, match="prefer nothing"):
        data = pl8.read(rows, embeddings=np.eye(4))
    used = pl8.scale_use(data)
    by = {row["user_id"]: row for row in used.users.iter_rows(named=True)}
    assert by["ann"]["shift"] > 0 > by["bob"]["shift"]
    assert by["cyd"]["share_of_commonest"] == 1  # who rates everything alike is there too
    assert (by["cyd"]["n"], by["cyd"]["lowest"], by["ann"]["mean"]) == (4, 5, 4.75)
    assert "1 rate everything alike" in repr(used)
    assert "never rewarded" in repr(used)
    thumbs = pl8.read({"user_id": ["ann"] * 4, "completion": [0, 1, 2, 3], "label": [1, 1, 0, 1]}, embeddings=np.eye(4))
    used = pl8.scale_use(thumbs, "thumbs")
    assert used.users["scale"].null_count() == 1
    for data, kind in ((thumbs, "rating"), (thumbs, "stars")):
        with pytest.raises(InputError):
            pl8.scale_use(data, kind)


def test_many_levels_become_few():
    levels, level = grouped_levels(np.random.default_rng(0).normal(size=500))
    assert len(levels) == 10
    assert np.bincount(level).tolist() == [50] * 10
    values, level = grouped_levels(np.array([3.0, 1.0, 3.0]))
    assert (values.tolist(), level.tolist()) == ([1.0, 3.0], [1, 0, 1])
    assert pl.Series(level).n_unique() == 2
