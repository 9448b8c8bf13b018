"""`~` is the home folder wherever a path is taken, and nowhere the name of a folder to make."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import plurality
from plurality import encoders
from plurality.analyses.audit.compute import audit
from plurality.data.comparisons import Comparisons
from plurality.data.embeddings import open_embeddings
from plurality.data.read import read
from plurality.datasets.simulated.text import simulate
from plurality.encoders import LsaSpec
from plurality.encoders.cache import default_folder
from plurality.evaluation.compare import compare
from plurality.io.paths import expanded
from plurality.models import spec_class
from plurality.reproduce.recipes import reproduce
from plurality.rl.reward_function import RewardFunction
from plurality.rl.rules.registry import load_state, rule_of, save_state
from plurality.rl.verl import to_parquet


@pytest.fixture(scope="module")
def made(town):
    data = read(town / "comparisons.parquet", users=town / "users.parquet", encoder=LsaSpec(dim=4))
    return data, spec_class("bradley_terry")().fit(data, seed=0)


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder, and another one to stand in."""
    (tmp_path / "home").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "here")
    yield tmp_path / "home"
    assert list((tmp_path / "here").iterdir()) == []


def test_what_is_no_home_folder_stays(home):
    assert expanded("~/x") == home / "x"
    assert expanded("a/~/x") == Path("a/~/x")
    assert expanded("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")


def test_stores_models_encoders_and_rewards(home, made):
    data, model = made
    assert data.save("~/store") == home / "store"
    assert len(Comparisons.load("~/store")) == len(read("~/store")) == len(data)
    assert model.save_pretrained("~/model") == home / "model"
    assert plurality.load("~/model").user_ids == model.user_ids
    assert type(model).from_pretrained(Path("~/model")).user_ids == model.user_ids
    assert RewardFunction("~/model").reward.user_ids == model.user_ids
    data.encoder.save("~/encoder")
    assert encoders.load("~/encoder").fingerprint == data.encoder.fingerprint
    assert encoders.create("~/encoder").fingerprint == data.encoder.fingerprint


def test_tables_and_embeddings(home, made):
    frame = pl.DataFrame({"user_id": ["a", "b"], "first": [0, 1], "second": [1, 2]})
    frame.with_columns(label=pl.Series([1.0, 0.0])).write_csv(home / "t.csv")
    pl.DataFrame({"user_id": ["a", "b"]}).write_ndjson(home / "u.jsonl")
    np.save(home / "v.npy", np.eye(3, dtype=np.float32))
    assert open_embeddings("~/v.npy", "embeddings").shape == (3, 3)
    assert len(read("~/t.csv", users="~/u.jsonl", embeddings="~/v.npy")) == 2
    frame.select("user_id", prompt=pl.lit("p")).write_csv(home / "p.csv")
    to_parquet("~/p.csv", "~/verl.parquet")
    assert (home / "verl.parquet").is_file()


def test_audits_comparisons_and_simulations(home, made):
    rng = np.random.default_rng(0)
    columns = {"user_id": [f"u{k % 60}" for k in range(600)], "prob_first": rng.uniform(0.1, 0.9, 600)}
    pl.DataFrame(columns | {"label": rng.integers(0, 2, 600)}).write_csv(home / "p.csv")
    pl.DataFrame({"user_id": [f"u{k}" for k in range(60)], "camp": ["a", "b"] * 30}).write_csv(home / "u.csv")
    result = audit("~/p.csv", "~/u.csv", n_bootstrap=20)
    assert result.save("~/audit") == home / "audit"
    assert result.to_html("~/page/audit.html") == home / "page" / "audit.html"
    found = compare(made[0], {"bradley_terry": spec_class("bradley_terry")()}, n_bootstrap=5, shuffled=False)
    assert found.save("~/compare") == home / "compare"
    simulate(n_users=5, n_comparisons=4, seed=0).save("~/simulated")
    assert {path.name for path in home.iterdir()} >= {"audit", "page", "compare", "simulated"}


def test_rules_recipes_and_caches(home, monkeypatch):
    rule = rule_of("mean")
    assert save_state(rule, "~/rule.json") == home / "rule.json"
    load_state(rule, "~/rule.json")
    with pytest.raises(plurality.InputError, match=str(home / "no" / "recipe.toml")):
        next(iter(reproduce("~/no")))
    monkeypatch.setenv("PLURALITY_CACHE", "~/cache")
    assert default_folder() == home / "cache"


def test_commands(home, command, town):
    for name in ("comparisons", "users", "new_users", "candidates"):
        (home / f"{name}.parquet").write_bytes((town / f"{name}.parquet").read_bytes())
    steps = [
        ["embed", "~/comparisons.parquet", "--users", "~/users.parquet", "--dim", "4", "--out", "~/store"],
        ["fit", "bradley_terry", "~/store", "--out", "~/reward"],
        ["adapt", "~/reward", "~/new_users.parquet", "--out", "~/reward2"],
        ["score", "~/reward2", "~/candidates.parquet", "--out", "~/scored.parquet"],
        [
            "compare",
            "~/store",
            "--models",
            "bradley_terry",
            "--n-bootstrap",
            "5",
            "--no-shuffled",
            "--out",
            "~/compare",
        ],
        [
            "audit",
            "~/compare/predictions.parquet",
            "--users",
            "~/users.parquet",
            "--n-bootstrap",
            "5",
            "--out",
            "~/audit",
        ],
        ["data", "check", "~/store", "--no-room", "--n-bootstrap", "5", "--out", "~/checked"],
    ]
    for step in steps:
        done = command(*step, "--json")
        assert done.code == 0, done.err
        assert str(home) in json.dumps(json.loads(done.out)) or step[0] == "data"
    for name in ("store", "reward", "reward2", "scored.parquet", "compare", "audit", "checked"):
        assert (home / name).exists()
