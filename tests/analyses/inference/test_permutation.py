"""Separation of codes against brute force, chance, and a planted difference."""

from itertools import permutations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import f_oneway, kstest, special_ortho_group

from plurality.analyses.inference.permutation import probe, separation, separations
from plurality.errors import InputError


def codes_of(seed=0, users=60, width=3, shift=0.0, levels=3):
    rng = np.random.default_rng(seed)
    level = rng.integers(0, levels, users)
    return rng.normal(size=(users, width)) + shift * (level == 0)[:, None], level


def brute(codes, level):
    """R² and pseudo-F from all pairwise distances, as PERMANOVA is defined."""
    square = ((codes[:, None] - codes[None]) ** 2).sum(-1)
    n, names = len(codes), np.unique(level)
    total = square[np.triu_indices(n, 1)].sum() / n
    within = sum(square[np.ix_(level == v, level == v)].sum() / 2 / (level == v).sum() for v in names)
    between, k = total - within, len(names)
    return between / total, (between / (k - 1)) / (within / (n - k))


def test_statistics_are_those_of_pairwise_distances():
    codes, level = codes_of(shift=0.5)
    found = separation(codes, level, permutations=50)
    r2, f = brute(codes, level)
    assert found.r2 == pytest.approx(r2, abs=1e-12)
    assert found.pseudo_f == pytest.approx(f, rel=1e-10)
    assert found.effect == pytest.approx(found.r2 - found.null_expectation)


def test_chance_is_the_mean_of_all_permutations_and_p_their_share():
    codes, level = codes_of(users=7)[0], np.array([0, 0, 0, 1, 1, 2, 2])
    null = np.array([brute(codes, np.array(order))[0] for order in set(permutations(level.tolist()))])
    found = separation(codes, level, permutations=20_000)
    assert found.null_expectation == pytest.approx(null.mean(), abs=1e-12)
    share = (null >= found.r2 - 1e-12).mean()
    assert found.p == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 20_000) + 1e-4)


def test_one_code_is_the_analysis_of_variance():
    codes, level = codes_of(width=1, shift=0.4)
    classic = f_oneway(*[codes[level == v, 0] for v in range(3)])
    found = separation(codes, level, permutations=4000)
    assert found.pseudo_f == pytest.approx(classic.statistic, rel=1e-10)
    assert found.p == pytest.approx(classic.pvalue, abs=0.02)


def test_p_is_uniform_without_a_difference():
    p = [separation(*codes_of(seed, users=30, width=2), permutations=199, seed=seed + 1).p for seed in range(300)]
    assert min(p) >= 1 / 200
    assert kstest(p, "uniform").pvalue > 0.01
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.05, abs=4 * np.sqrt(0.05 * 0.95 / 300))


def test_blocks_of_permutations_do_not_matter(monkeypatch):
    codes, level = codes_of()
    whole = separation(codes, level, permutations=101, seed=3)
    monkeypatch.setattr("plurality.analyses.inference.permutation._ENTRIES", 60 * 3 * 7)
    assert separation(codes, level, permutations=101, seed=3) == whole


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_shift_rotation_scale_and_names_change_nothing(seed):
    rng = np.random.default_rng(seed)
    codes, level = codes_of(seed, users=25, shift=0.3)
    before = separation(codes, level, permutations=19)
    turned = 3.7 * codes @ special_ortho_group.rvs(3, random_state=rng) + rng.normal(size=3)
    names = np.array(["b", "c", "a"])[level]  # the order of levels changes the draws, not the statistic
    after = separation(turned, level, permutations=19)
    assert after.r2 == pytest.approx(before.r2, abs=1e-9)
    assert after.p == before.p
    assert separation(codes, names, permutations=19).r2 == pytest.approx(before.r2, abs=1e-12)


def test_edges_are_flagged():
    codes, level = codes_of()
    for bad, flag in (
        (separation(codes, np.zeros(60)), "fewer than two levels"),
        (separation(np.ones((60, 3)), level), "codes do not differ"),
        (separation(np.full((60, 3), 0.1), level), "codes do not differ"),
        (separation(codes[:0], []), "fewer than two levels"),
        (separation(codes[:4], [0, 1, 2, 3]), "a level for each user"),
    ):
        assert bad.flag == flag
        assert np.isnan([bad.r2, bad.p, bad.effect, bad.pseudo_f, bad.null_expectation]).all()
    perfect = separation(np.array([[0.0], [0], [1], [1]]), [0, 0, 1, 1], permutations=99)
    assert perfect.r2 == 1
    assert perfect.pseudo_f == np.inf
    assert probe(codes, np.zeros(60)).flag == "fewer than two levels of 10 users"
    assert probe(np.ones((60, 3)), level).flag == "codes do not differ"
    assert np.isnan(probe(codes[:9], level[:9]).auc)


def test_bad_input_is_refused():
    codes, level = codes_of()
    with pytest.raises(InputError, match="row 2 is NaN"):
        separation(np.where(np.arange(60)[:, None] == 2, np.nan, codes), level)
    with pytest.raises(InputError, match="one level a user"):
        separation(codes, level[1:])
    with pytest.raises(InputError, match="row 0 is missing"):
        separation(codes, [None, *["a"] * 59])
    with pytest.raises(InputError, match="row 1 is missing"):
        separation(codes, [1.0, np.nan, *[2.0] * 58])
    with pytest.raises(InputError, match="at least one"):
        separation(codes, level, permutations=0)
    with pytest.raises(InputError, match="at least two"):
        probe(codes, level, folds=1)
    with pytest.raises(InputError, match="each user's once"):
        separations(codes, ["u"] * 60, {"user_id": ["u"], "a": ["x"]})


def test_the_probe_s_auc_is_that_of_the_planted_difference():
    rng = np.random.default_rng(0)
    level = np.arange(2000) % 2
    found = probe(rng.normal(size=(2000, 1)) + level[:, None], level)
    assert found.auc == pytest.approx(0.7602, abs=0.03)  # Φ(1/√2)
    assert found.p < 1e-6


@pytest.mark.slow
def test_the_probe_rarely_warns_of_nothing():
    p = np.array([probe(*codes_of(seed, users=60, levels=2 + seed % 2), folds=3).p for seed in range(120)])
    assert np.mean(p < 0.05) < 0.05 + 3 * np.sqrt(0.05 * 0.95 / 120)
    assert 0.3 < p.mean() < 0.75


def test_attributes_of_users():
    rng = np.random.default_rng(0)
    ids = [f"u{k}" for k in range(120)]
    region, sex = np.array(["n", "s"] * 60), rng.choice(["f", "m"], 120)
    age = [None if k < 20 else str(sex[k]) for k in range(120)]
    codes = rng.normal(size=(120, 2)) + 1.5 * (region == "n")[:, None]
    users = pl.DataFrame({"user_id": ids[:119], "region": region[:119], "sex": sex[:119], "age": age[:119]})
    found = separations(codes, ids, users, by=["region", "sex", "age"], permutations=199)
    rows = {row["attribute"]: row for row in found.iter_rows(named=True)}
    assert rows["region"]["leaks"]
    assert rows["region"]["p"] == pytest.approx(1 / 200)
    assert rows["region"]["q"] == pytest.approx(3 / 200)
    assert rows["region"]["auc"] > 0.8
    assert not rows["sex"]["leaks"]
    assert rows["sex"]["n_users"] == 119  # one is not listed
    assert rows["age"]["n_users"] == 99
    assert found.equals(separations(codes, ids, users, by=["region", "sex", "age"], permutations=199))
