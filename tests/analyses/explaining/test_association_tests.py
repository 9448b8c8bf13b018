"""What goes with a direction: closed forms, and how rarely chance is called by a name."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import pearsonr

from plurality.analyses.explaining import associations, explain_codes, separated
from plurality.analyses.inference import separation, single_step
from plurality.errors import InputError


def test_correlations_are_pearson_s_within_a_prompt():
    rng = np.random.default_rng(0)
    v, x = rng.standard_normal((2, 90)), rng.standard_normal((90, 3))
    found = associations(v, x, np.zeros(90, dtype=int), permutations=19, draws=0)
    np.testing.assert_allclose(found.r, [[pearsonr(a, b).statistic for b in x.T] for a in v])
    assert np.isnan(found.lo).all()


def test_what_differs_between_prompts_alone_does_not_count():
    """Long prompts have long answers, and a direction that likes the prompt: within prompts they are unrelated."""
    rng = np.random.default_rng(1)
    prompt = np.repeat(np.arange(30), 4)
    level = 5 * rng.standard_normal(30)[prompt]
    v, x = rng.standard_normal(120), rng.standard_normal(120)
    found = associations((v + level)[None], (x + level)[:, None], prompt, permutations=99)
    assert np.corrcoef(v + level, x + level)[0, 1] > 0.9
    assert abs(found.r[0, 0]) < 0.25
    assert found.p[0, 0] > 0.05


def test_two_items_a_prompt_are_signs():
    """r is then the cosine of differences, and the shuffles exchange their signs: p of 8 prompts is 2 / 2⁸ at best."""
    d = np.array([1.0, 2, 1, 3, 1, 2, 4, 1])
    both = np.stack([d, -d], axis=1).ravel() / 2
    prompt = np.repeat(np.arange(8), 2)
    found = associations(both[None], both[:, None], prompt, permutations=4000, draws=0)
    assert found.r[0, 0] == pytest.approx(1)
    assert found.p[0, 0] == pytest.approx(2 / 2**8, abs=0.004)


def test_intervals_cover():
    """200 worlds with r = .5 between items of 40 prompts: 95 % intervals hold it in about 95 %."""
    rng, hits = np.random.default_rng(2), 0
    prompt = np.repeat(np.arange(40), 3)
    for seed in range(200):
        v = rng.standard_normal(120)
        x = 0.5 * v + np.sqrt(0.75) * rng.standard_normal(120)
        found = associations(v[None], x[:, None], prompt, permutations=1, draws=200, seed=seed)
        hits += found.lo[0, 0] < 0.5 < found.hi[0, 0]
    assert 0.90 <= hits / 200 <= 0.99


def test_order_and_units_change_nothing():
    rng = np.random.default_rng(3)
    v, x, prompt = rng.standard_normal((2, 60)), rng.standard_normal((60, 2)), np.repeat(np.arange(12), 5)
    a = associations(v, x, prompt, permutations=99)
    b = associations(7 * v + 3, x / 9 - 1, prompt + 4, permutations=99)
    for name in ("r", "lo", "hi", "p"):
        np.testing.assert_allclose(getattr(a, name), getattr(b, name))
    order = rng.permutation(60)
    np.testing.assert_allclose(associations(v[:, order], x[order], prompt[order], permutations=9).r, a.r)


def test_a_feature_that_never_varies_has_no_number():
    x = np.column_stack([np.ones(20), np.arange(20.0)])
    found = associations(np.arange(20.0)[None], x, np.zeros(20, dtype=int), permutations=49)
    assert np.isnan(found.r[0, 0])
    assert np.isnan(found.p[0, 0])
    assert found.p[0, 1] == pytest.approx(0.02)
    with pytest.raises(InputError, match="give"):
        associations(x, x, np.zeros(20, dtype=int))


def test_between_levels_is_that_of_the_permutation_test():
    rng = np.random.default_rng(4)
    level = rng.integers(0, 3, 200)
    z = rng.standard_normal((200, 2))
    z[:, 1] += 0.8 * level
    known = pl.Series(level).set(pl.Series(rng.random(200) < 0.2), None)
    found = separated(z, pl.DataFrame({"a": known, "one": np.zeros(200, dtype=int)}), permutations=199)
    there = known.is_not_null().to_numpy()
    for k in range(2):
        assert found.r2[0, k] == pytest.approx(separation(z[there, k : k + 1], level[there], permutations=1).r2)
        np.testing.assert_allclose(found.means[0][:, k], [z[there & (level == m), k].mean() for m in range(3)])
    assert found.n.tolist() == [there.sum(), 200]
    assert np.isnan(found.r2[1]).all()
    assert found.p[0, 1] == pytest.approx(0.005)
    assert found.p[0, 0] > 0.05


def test_one_test_is_the_plain_permutation_test():
    rng = np.random.default_rng(5)
    null = rng.standard_normal((999, 1))
    every = np.append(null, 2.0)
    size = np.abs(every - every.mean())
    assert single_step([2.0], null)[0] == pytest.approx((size >= size[-1]).mean())
    many = rng.standard_normal((999, 50))
    assert single_step(np.full(50, 2.0), many).min() > 0.5  # that large somewhere among fifty is nothing


def chance(seed, **options):
    """Codes, items, features and people that have nothing to do with one another."""
    rng = np.random.default_rng(seed)
    users = {"user_id": [f"u{k}" for k in range(60)]} | {
        name: rng.choice(list("xyz")[:levels], 60) for name, levels in (("age", 3), ("place", 2))
    }
    return explain_codes(
        rng.standard_normal((60, 3)),
        rng.standard_normal((3, 80)),
        ["a", "b", "c"],
        users["user_id"],
        prompt=np.repeat(np.arange(20), 4),
        features={f"f{k}": rng.standard_normal(80) for k in range(10)},
        users=users,
        **options,
    )


@pytest.mark.parametrize("n", [40, pytest.param(600, marks=pytest.mark.slow)])
def test_chance_is_rarely_called_by_a_name(n):
    """38 things could be named in each world; in 95 of 100 none is."""
    worlds = [chance(seed, permutations=99, n_bootstrap=50, turned=bool(seed % 2)) for seed in range(n)]
    assert sum(world.directions["names"].list.len().sum() > 0 for world in worlds) <= 0.05 * n


def test_the_words_follow():
    found = chance(0, permutations=99)
    assert "Nothing that was looked at goes with it beyond chance." in str(found)
    assert max(len(line) for line in str(found).split("\n")) <= 80
