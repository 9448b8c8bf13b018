"""Base rewards and groups by settings, TRL's environments and unpaired rows, and arguments of a wrong kind."""

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest

from plurality.analyses.planning import plan
from plurality.data.read import read
from plurality.encoders import LsaSpec
from plurality.errors import InputError
from plurality.rl import areal, slime, trl, verl
from plurality.rl.environment import EnvironmentSettings, function_of
from plurality.rl.reward_function import RewardFunction

SAID, USERS = ["red", "sour sweet", "loud"], ["ann", "bob", "ann"]


def length(prompts, completions, **columns):
    """A base reward: the number of letters."""
    assert "log_metric" not in columns
    return [float(len(c)) for c in completions]


@pytest.fixture(scope="module")
def based(model):
    """u = ⟨x, z⟩ + 2 r."""
    return replace(model, base=2.0)


@pytest.fixture
def on_base(based, tmp_path, monkeypatch):
    monkeypatch.setenv("PLURALITY_REWARD", str(based.save_pretrained(tmp_path / "based")))
    monkeypatch.setenv("PLURALITY_BLANK", "-9")


def test_a_base_by_its_module(on_base, model, monkeypatch):
    monkeypatch.setenv("PLURALITY_BASE", f"{__name__}:length")
    own = RewardFunction(model)(["q"] * 3, SAID, user_id=USERS)
    expected = [r + 2 * len(c) for r, c in zip(own, SAID, strict=True)]
    assert trl.reward(["q"] * 3, SAID, user_id=USERS, log_metric=print, environments=[None] * 3) == pytest.approx(
        expected, abs=1e-5
    )
    for user, said, value in zip(USERS, SAID, expected, strict=True):
        assert verl.compute_score("", said, "", {"user_id": user})["score"] == pytest.approx(value, abs=1e-5)
        assert areal.reward_fn("q", said, [], [], user_id=user) == pytest.approx(value, abs=1e-5)


def test_a_base_by_a_column(on_base, model, monkeypatch):
    monkeypatch.setenv("PLURALITY_BASE", "column:judge")
    own = RewardFunction(model)(["q"] * 3, SAID, user_id=USERS)
    info = [{"user_id": user, "judge": score} for user, score in zip(USERS, (1.0, 0.0, -1.0), strict=True)]
    expected = [r + 2 * row["judge"] for r, row in zip(own, info, strict=True)]
    found = [verl.compute_score("", c, "", row)["score"] for c, row in zip(SAID, info, strict=True)]
    assert found == pytest.approx(expected, abs=1e-5)
    samples = [
        SimpleNamespace(prompt="q", response=c, label=None, metadata=row) for c, row in zip(SAID, info, strict=True)
    ]
    assert asyncio.run(slime.rm(None, samples)) == pytest.approx(expected, abs=1e-5)
    with pytest.raises(InputError, match="has no judge"):
        areal.reward_fn("q", "red", [], [], user_id="ann")


@pytest.mark.parametrize("wrong", ["judge", "no_such_module:judge", "math:no_such_name"])
def test_a_base_that_is_none(on_base, wrong):
    with pytest.raises(InputError, match="PLURALITY_BASE"):
        function_of(EnvironmentSettings(reward="x", base=wrong))


@pytest.mark.parametrize("rule", [None, "mean", "maxmin", "cvar:0.5"])
def test_groups_of_rows_under_every_rule(model, rule):
    logged = {}
    function = RewardFunction(model, rule=rule, groups="age", blank=-1.0)
    columns = {"user_id": [*USERS, "bob"], "age": ["old", "young", "old", None]}
    found = function(["q"] * 4, [*SAID, "hard"], **columns, log_metric=logged.__setitem__)
    assert logged["user_reward/age/old" if rule is None else f"{function.__name__}/age/old"] == pytest.approx(
        (found[0] + found[2]) / 2
    )
    assert logged[f"{function.__name__}/age/young"] == pytest.approx(found[1])
    assert sum("/age/" in name for name in logged) == 2
    with pytest.raises(InputError, match="column age does not reach"):
        function(["q"], ["red"], user_id=["ann"], log_metric=print)


@pytest.mark.parametrize("chat", [False, True])
def test_trl_s_unpaired_rows(chat):
    said = [f"red {c}" for c in "abcd"] * 2
    label = [True, False, True, False, False, True, False, True]
    rows = {"user_id": ["ann"] * 4 + ["bob"] * 4, "prompt": ["q"] * 8, "completion": said, "label": label}
    if chat:
        rows |= {
            "prompt": [[{"role": "user", "content": "q"}]] * 8,
            "completion": [[{"role": "assistant", "content": c}] for c in said],
        }
    data = read(pl.DataFrame(rows), encoder=LsaSpec(dim=2, min_df=1, max_ngram=1))
    assert len(data) == 8  # every accepted one with every other of its person: 2 · 2 pairs each
    assert data.users["user_id"].to_list() == ["ann", "bob"]


def test_arguments_of_a_wrong_kind(model, lsa):
    items = lsa.encode(["q"] * 3, SAID)
    for rows in ([-1], [3], [0.5], ["a"], [True]):
        with pytest.raises(InputError, match="rows"):
            model.score(items, rows, ["ann"])
    assert model.score(items, [], []).shape == (0,)
    small = np.array([2], dtype=np.uint8)
    assert model.score(items, small, ["ann"]).tolist() == model.score(items, [2], ["ann"]).tolist()
    for lower in ("a", None, [1.0], float("inf")):
        with pytest.raises(InputError, match="lower="):
            RewardFunction(model, lower=lower)
    for within in ("x", None):
        with pytest.raises(InputError, match="within"):
            plan(pl.DataFrame(), pl.DataFrame(), by="age", within=within)
