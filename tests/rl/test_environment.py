"""Settings by environment variables: each reaches the reward function, and a slip of the pen is no default."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import polars as pl
import pytest

from plurality.encoders import TransformersEncoder, TransformersSpec
from plurality.errors import InputError, InputWarning
from plurality.rl import rewards, trl
from plurality.rl.environment import EnvironmentSettings, from_environment, function_of
from plurality.rl.reward_function import RewardFunction


@pytest.fixture
def variables(folder, monkeypatch):
    def put(**values):
        for name, value in {"reward": str(folder), **values}.items():
            monkeypatch.setenv(f"PLURALITY_{name.upper()}", str(value))

    return put


def test_the_module_is_imported_without_any_variable():
    assert callable(trl.reward)
    assert trl.reward.__name__ == "reward"
    with pytest.raises(InputError, match="PLURALITY_REWARD"):
        trl.reward(prompts=["p"], completions=["red"], user_id=["ann"])


def test_a_reward_by_environment_is_the_reward(model, variables):
    variables(unknown="none")
    asked = {"prompts": ["p"] * 3, "completions": ["red", "sour", "red"], "user_id": ["ann", "bob", "who?"]}
    np.testing.assert_allclose(trl.reward(**asked)[:2], RewardFunction(model)(**asked)[:2], atol=1e-6)
    assert trl.reward(**asked)[2] is None
    assert from_environment() is from_environment()


def test_every_setting_arrives(variables, tmp_path):
    pool = pl.DataFrame({"prompt": ["p"] * 3, "completion": ["red", "sour", "soft loud"]})
    pool.write_parquet(tmp_path / "pool.parquet")
    pl.DataFrame({"user_id": ["bob", "ann"], "weight": [1.0, 0.0]}).write_csv(tmp_path / "people.csv")
    variables(
        normalise="win",
        reference=tmp_path / "pool.parquet",
        rule="mean",
        population=tmp_path / "people.csv",
        blank="-2",
        name="taste",
        unknown="error",
        user_column="rater",
    )
    f = from_environment()
    assert (f.__name__, f.blank, f.normalise, f.unknown, f.user_column) == ("taste", -2.0, "win", "error", "rater")
    assert f.population.weights.tolist() == [1.0, 0.0]
    bob = RewardFunction(f.reward, normalise="win", reference=(pool["prompt"].to_list(), pool["completion"].to_list()))
    np.testing.assert_allclose(f(["p"], ["hard"]), bob(["p"], ["hard"], user_id="bob"), atol=1e-6)


def test_a_column_as_reference(variables):
    variables(normalise="win", reference="column:baseline")
    assert from_environment()(["p"], ["red"], user_id=["ann"], baseline=["red"]) == [pytest.approx(0.5)]


def test_threads_that_come_at_once_load_once(policy, plant, tmp_path, monkeypatch):
    """As OpenRLHF's and verl's do; and they do not disturb one another's tokenizer."""
    z = np.random.default_rng(0).normal(size=16)
    encoder = TransformersEncoder(TransformersSpec(str(policy), max_length=8), cache=False)
    folder = plant(encoder, {"ann": z}, z, width=16).save_pretrained(tmp_path / "reward")
    loads, load = [], rewards.load
    monkeypatch.setattr(rewards, "load", lambda folder: loads.append(folder) or load(folder))
    said = ["ab " * i + "b" for i in range(1, 9)] * 4  # some too long

    def score(text):
        return function_of(EnvironmentSettings(reward=str(folder)))(["p"], [text], user_id="ann")[0]

    with ThreadPoolExecutor(8) as threads, warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)
        found = list(threads.map(score, said))
        expected = encoder.encode(["p"] * len(said), said) @ z
    assert len(loads) == 1
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_slips_of_the_pen():
    with pytest.raises(InputError, match="PLURALITY_NORMALIZE is unknown"):
        EnvironmentSettings.of({"PLURALITY_NORMALIZE": "win", "PLURALITY_CACHE": "x", "HOME": "y"})
    with pytest.raises(InputError, match="'normalize' is unknown"):
        EnvironmentSettings().but({"normalize": "win"})
    for blank in ("low", "nan"):
        with pytest.raises(InputError, match="PLURALITY_BLANK"):
            function_of(EnvironmentSettings(reward="x", blank=blank))
    assert EnvironmentSettings(reward="a").but({"reward": None, "unknown": "error"}) == EnvironmentSettings(
        reward="a", unknown="error"
    )
