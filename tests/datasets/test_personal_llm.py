"""PersonalLLM from a small table in the published format: users choose as their own weights say."""

import numpy as np
import polars as pl
import pytest

from plurality.datasets import load
from plurality.datasets.personal_llm import REWARDS, frames, people
from plurality.errors import InputError

N = 30


@pytest.fixture
def folder(tmp_path):
    """Thirty prompts with eight replies each, in two parts; the reply says whose it is. Scales differ by reward."""
    rng = np.random.default_rng(0)
    rows = {"prompt": [f"p{q}" for q in range(N)], "subset": ["s"] * N, "prompt_id": list(range(N))}
    for i in range(1, 9):
        rows |= {f"response_{i}": [f"p{q} r{i}" for q in range(N)], f"response_{i}_model": ["m"] * N}
        rows |= {f"response_{i}_{name}": rng.normal(3 * k, 1 + 5 * k, N) for k, name in enumerate(REWARDS)}
    frame = pl.DataFrame(rows)
    frame[:20].write_parquet(tmp_path / "train-00000-of-00002.parquet")
    frame[20:].write_parquet(tmp_path / "train-00001-of-00002.parquet")
    return tmp_path


def rewards(folder):
    """(N, 8, 10) by a road of its own."""
    frame = pl.read_parquet(folder / "train-*.parquet")
    return np.array([[[frame[f"response_{i}_{name}"][q] for name in REWARDS] for i in range(1, 9)] for q in range(N)])


def places(made, side):
    """Which prompt and reply the texts of a side name, from 0."""
    found = made.collect()[side].str.extract_groups(r"p(\d+) r(\d)").struct.unnest().cast(pl.Int64)
    return found.to_series(0).to_numpy(), found.to_series(1).to_numpy() - 1


OPTIONS = {"n_users": 40, "pairs_per_user": 12, "concentration": 0.5, "seed": 3}


@pytest.mark.parametrize("protocol", ["repository", "lore"])
def test_users_choose_what_their_weights_say(folder, protocol):
    made = frames(folder, protocol=protocol, **OPTIONS)
    r = rewards(folder)
    if protocol == "repository":
        r = (r - r.mean((0, 1))) / r.std((0, 1))
    weights = people(40, concentration=0.5, seed=3).drop("user_id").to_numpy()
    user = made.collect()["user_id"].str.strip_prefix("user_").cast(pl.Int64).to_numpy()
    utility = np.einsum("urk,uk->ur", r[places(made, "chosen")[0]], weights[user])
    at = np.arange(len(user))
    won, lost = (utility[at, places(made, side)[1]] for side in ("chosen", "rejected"))
    assert (won > lost).all()
    if protocol == "lore":
        np.testing.assert_allclose(won, utility.max(1))
        np.testing.assert_allclose(lost, utility.min(1))
    else:
        assert {*places(made, "chosen")[1], *places(made, "rejected")[1]} == set(range(7))  # the eighth never


def test_a_user_sees_a_prompt_once(folder):
    rows = frames(folder, **OPTIONS).collect()
    assert rows.height == 40 * 12
    assert not rows.select(pl.struct("user_id", "prompt").is_duplicated()).to_series().any()
    seen = rows["prompt"].value_counts()["count"].cast(pl.Int64).to_numpy()
    assert len(seen) == N
    assert abs(seen - 16).max() < 5 * np.sqrt(16)


def test_seeds_and_people(folder):
    a, b, c = (frames(folder, n_users=5, pairs_per_user=9, seed=s).collect() for s in (0, 0, 1))
    assert a.equals(b)
    assert not a.equals(c)
    drawn = people(2000, concentration=0.1, seed=0)
    weights = drawn.drop("user_id").to_numpy()
    np.testing.assert_allclose(weights.sum(1), 1)
    # a Dirichlet's share has mean 1/10 and variance .1 · .9 / (10 · .1 + 1) = .045
    np.testing.assert_allclose(weights.mean(0), 0.1, atol=5 * np.sqrt(0.045 / 2000))
    np.testing.assert_allclose(weights.var(), 0.045, rtol=0.1)
    assert frames(folder, n_users=5, pairs_per_user=9).users.columns == ["user_id"]  # no truth among demographics


def test_to_comparisons(folder, letters):
    data = load("personal_llm", folder, encoder=letters, n_users=5, pairs_per_user=9)
    assert (len(data), len(data.present)) == (45, 5)


def test_what_is_an_error(folder):
    with pytest.raises(InputError, match="protocol='other' is unknown; choose repository, lore"):
        frames(folder, protocol="other")
    with pytest.raises(InputError, match="30 prompts for pairs_per_user=31; ask for fewer"):
        frames(folder, pairs_per_user=31)
    with pytest.raises(InputError, match="must be positive"):
        frames(folder, n_users=0)
    with pytest.raises(InputError, match=r"holds no test-\*\.parquet or test"):
        frames(folder, split="test")
    frame = pl.read_parquet(folder / "train-*.parquet").drop("response_8_beaver_7b")
    frame.write_parquet(folder / "train.parquet")
    with pytest.raises(InputError, match="column response_8_beaver_7b is missing"):
        frames(folder / "train.parquet")
