"""The whole check: its summary, its tables and its command."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from plurality.data.read import read
from plurality.data_checks.check import check_data
from plurality.datasets.simulated import populations as planted
from plurality.datasets.simulated import text as planted_text
from plurality.errors import InputError


@pytest.fixture(scope="module")
def leaky(tmp_path_factory):
    """A store of planted people whose rejected answers were written as lists."""
    people = planted_text.simulate(n_users=30, n_comparisons=12, n_prompts=20, seed=0)
    rejected = [repr([text]) for text in people.comparisons["rejected"]]
    frame = people.comparisons.with_columns(rejected=pl.Series(rejected))
    rng = np.random.default_rng(0)
    users = people.users
    items = read(frame, users=users, encoder=_Noise(rng))
    folder = tmp_path_factory.mktemp("leaky") / "store"
    replace(items, encoder=None).save(folder)
    return folder


class _Noise:
    dim, fingerprint = 6, "noise"

    def __init__(self, rng):
        self.rng = rng

    def describe(self):
        return {"kind": "noise", "name": "noise"}

    def encode(self, prompts, completions, progress=False):
        return self.rng.normal(size=(len(completions), self.dim)).astype(np.float32)

    def encode_prompts(self, prompts, progress=False):
        return self.encode(prompts, prompts)

    def save(self, folder):
        folder.mkdir()


@pytest.mark.parametrize("room", [["--no-room"], pytest.param([], marks=pytest.mark.slow)])
def test_the_command_shouts(leaky, command, tmp_path, room):
    done = command("data", "check", leaky, "--n-bootstrap", 100, *room, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "SUSPICIOUS format" in done.out
    assert "a list as Python prints it" in done.out
    assert max(map(len, done.out.splitlines()[:-1])) <= 80
    table = pl.read_parquet(tmp_path / "out" / "examples.parquet")
    assert table["rejected"].str.starts_with('"[').any() or table["rejected"].str.starts_with("'[").any()


def test_the_command_speaks_json(leaky, command):
    done = command("data", "check", leaky, "--n-bootstrap", 50, "--no-room", "--json")
    found = json.loads(done.out)
    assert found["suspicious"] is True
    assert found["verdicts"] == {"format": "suspicious", "room": None}
    assert {row["quantity"] for row in found["tables"]["counts"]} >= {"comparisons", "users"}


def test_a_check_without_texts():
    data = planted.low_rank(30, rank=1, width=4, seed=0, unseen=1)[0].sample(20, seed=0).data
    found = check_data(data, estimate_room=False, n_bootstrap=50)
    assert found.format is None
    assert not found.suspicious
    assert found.frames().keys() == {"counts", "consistency"}
    assert "<table" in found._repr_html_()
    assert repr(found) == found.summary()
    with pytest.raises(InputError, match="no comparison to check"):
        check_data(data.take(np.zeros(0, dtype=int)))


def test_bad_embeddings_are_no_small_sample():
    data = planted.low_rank(30, rank=1, width=4, seed=0, unseen=1)[0].sample(20, seed=0).data
    items = data.items.copy()
    items[3, 1] = np.nan
    with pytest.raises(InputError, match=r"NaN|finite"):
        check_data(replace(data, items=items), n_bootstrap=50)
