"""Saved models come back to the last bit, and damaged ones do not come back at all."""

import json
import shutil
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal
from safetensors.torch import load_file, save_file

from plurality.datasets.simulated import populations as planted
from plurality.errors import InputError
from plurality.models import PAL, BradleyTerry
from plurality.reward.fitted import Trace
from plurality.reward.persistence import SCHEMA
from plurality.reward.reward_model import load


@pytest.fixture(scope="module")
def data():
    seen, _ = planted.pal(15, prototypes=2, width=6, preference=2, seed=0)
    return seen.sample(12, seed=1).data


@pytest.fixture(scope="module")
def model(data):
    return PAL(n_prototypes=2, preference=3, decay=3.0).fit(data)


@pytest.fixture
def saved(model, tmp_path):
    return model.save_pretrained(tmp_path / "model")


def same(a, b, data):
    np.testing.assert_array_equal(a.prefer(data), b.prefer(data))
    assert a.spec == b.spec
    assert_frame_equal(a.users, b.users)  # the determinants in it may round by where memory lies
    assert a.population == b.population
    assert torch.equal(a.posterior.covariance, b.posterior.covariance)
    assert torch.equal(a.prior.precision, b.prior.precision)


def test_round_trip(model, saved, data):
    again = load(saved)
    same(model, again, data)
    assert not any(p.requires_grad for p in again.head.parameters())
    a, b = (m.trace.rows for m in (model, again))
    assert json.dumps(a) == json.dumps(b)  # NaN, which JSON has not, among it
    assert any(row["held_out"] != row["held_out"] for row in b)


def test_a_loaded_model_goes_on_as_the_first_would(model, saved, data):
    support = data.with_users([f"guest {i}" for i in range(15)])
    same(model.adapt(support), load(saved).adapt(support), support)


@pytest.mark.parametrize("spec", [BradleyTerry(decay=3.0), BradleyTerry(hidden=4, decay=3.0), PAL(1, 1, decay=3.0)])
def test_models_with_few_or_no_codes(spec, data, tmp_path):
    model = spec.fit(data)
    same(model, load(model.save_pretrained(tmp_path / "m")), data)


def test_ids_of_any_script_survive(model, data, tmp_path):
    ids = [f"ユーザー {i} \"'\n\t" for i in range(15)]
    renamed = replace(model, user_ids=tuple(ids))
    assert list(load(renamed.save_pretrained(tmp_path / "m")).user_ids) == ids


def test_nothing_on_disk_is_a_pickle(saved):
    assert sorted(p.name for p in saved.iterdir()) == ["README.md", "config.json", "head.safetensors", "users.parquet"]
    json.loads((saved / "config.json").read_text())
    pl.read_parquet(saved / "users.parquet")
    load_file(saved / "head.safetensors")


def test_saving_again_replaces_and_elsewhere_is_an_error(model, saved, data):
    other = BradleyTerry(decay=3.0).fit(data)
    other.save_pretrained(saved)
    same(other, load(saved), data)
    (saved.parent / "thesis").mkdir()
    (saved.parent / "thesis" / "chapter").write_text("mine")
    with pytest.raises(InputError, match="was not written by this command"):
        model.save_pretrained(saved.parent / "thesis")


def test_a_trace_that_json_cannot_hold_leaves_nothing_behind(model, tmp_path):
    endless = replace(model, trace=Trace([{"stage": "x", "decay": float("inf")}]))
    with pytest.raises(ValueError, match="Out of range float"):
        endless.save_pretrained(tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


def edit(folder, **changes):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **changes}))


def without(folder, key):
    config = json.loads((folder / "config.json").read_text())
    del config[key]
    (folder / "config.json").write_text(json.dumps(config))


def truncate(path, share):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def lose_users(folder):
    frame = pl.read_parquet(folder / "users.parquet")
    frame[:-1].write_parquet(folder / "users.parquet")


def lose_a_tensor(folder):
    state = load_file(folder / "head.safetensors")
    state.pop("head.prototypes")
    save_file(state, folder / "head.safetensors")


DAMAGE = {
    "a newer schema": (lambda f: edit(f, schema_version=SCHEMA + 1), "newer plurality.*upgrade"),
    "an unknown family": (lambda f: edit(f, model="oracle"), "'oracle' is unknown; choose one of"),
    "an unknown setting": (
        lambda f: edit(f, settings={"n_prophets": 3}),
        "settings do not fit model 'pal'.*prophets",
    ),
    "settings of another kind": (lambda f: edit(f, settings=[1]), "settings do not fit"),
    "a width that is none": (lambda f: edit(f, n_embedding="wide"), "settings do not fit"),
    "another width": (lambda f: edit(f, n_embedding=7), "damaged or incomplete"),
    "no model in the config": (lambda f: without(f, "model"), "config.json: model missing"),
    "no trace in the config": (lambda f: without(f, "trace"), "config.json: trace missing"),
    "no version": (lambda f: without(f, "schema_version"), "not a model's configuration"),
    "no JSON": (lambda f: truncate(f / "config.json", 0.5), "not a model's configuration"),
    "a list for a config": (lambda f: (f / "config.json").write_text("[]"), "not a model's configuration"),
    "no config": (lambda f: (f / "config.json").unlink(), "no fitted model here"),
    "half the weights": (lambda f: truncate(f / "head.safetensors", 0.5), "damaged or incomplete"),
    "a stump of the weights": (lambda f: truncate(f / "head.safetensors", 0.01), "damaged or incomplete"),
    "no weights": (lambda f: (f / "head.safetensors").unlink(), "head.safetensors is missing"),
    "a tensor less": (lose_a_tensor, "damaged or incomplete"),
    "half the users": (lambda f: truncate(f / "users.parquet", 0.5), "damaged or incomplete"),
    "no users": (lambda f: (f / "users.parquet").unlink(), "users.parquet is missing"),
    "a user less": (lose_users, "names 14 users.*codes of 15"),
    "no column of ids": (
        lambda f: pl.DataFrame().write_parquet(f / "users.parquet"),
        "damaged or incomplete",
    ),
    "no folder": (shutil.rmtree, "no fitted model here"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_one_clear_line(case, saved):
    damage, text = DAMAGE[case]
    damage(saved)
    with pytest.raises(InputError):
        load(saved)
    with pytest.raises(InputError, match=text) as caught:
        load(saved, verify=False)
    assert "\n" not in str(caught.value)
    assert str(saved) in str(caught.value) or "choose one of" in str(caught.value)


def test_a_file_is_no_model(tmp_path):
    (tmp_path / "notes").write_text("")
    with pytest.raises(InputError, match="no fitted model here"):
        load(tmp_path / "notes")
