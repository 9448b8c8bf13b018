"""A saved model or store that was changed in any way is an error, or gives the very same numbers; never others."""

import shutil

import numpy as np
import polars as pl
import pytest

import plurality
from benchmarks.mutations import mutate
from plurality.datasets.simulated import text as planted_text
from plurality.encoders import LsaSpec
from plurality.errors import InputError
from plurality.models import BradleyTerry

TEXTS = ["tea is green", "rain, and 3 umbrellas", "bread with jam"]


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Two stores and two models on them, of other people with other encoders."""
    folder = tmp_path_factory.mktemp("saved")
    for seed, name in enumerate(("this", "other")):
        people = planted_text.simulate(n_users=10, n_comparisons=8, n_prompts=10, seed=seed)
        data = plurality.read(people.comparisons, users=people.users, encoder=LsaSpec(dim=6))
        data.save(folder / name / "store")
        BradleyTerry(temperature=True, decay=3.0).fit(data).save_pretrained(folder / name / "reward")
    return folder


def numbers(folder):
    """All that a folder says in numbers."""
    if folder.name == "store":
        data = plurality.Comparisons.load(folder)
        arrays = [data.items, data.first, data.second, data.user, data.label, data.weight, data.group, data.prompt]
        return [*arrays, data.encoder.encode(TEXTS, TEXTS)], data.users
    model = plurality.load(folder)
    items = model.text_encoder().encode(TEXTS, TEXTS)
    users = sorted(model.user_ids)
    return [items, model.utility(items, users), model.codes(users).numpy()], model.users.sort("user_id")


@pytest.mark.parametrize("kind", ["reward", "store"])
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_an_error_or_the_same_numbers(saved, tmp_path, kind, seed):
    rng = np.random.default_rng(seed)
    arrays, users = numbers(saved / "this" / kind)
    errors = same = 0
    for place in range(200 if seed else 20):
        folder = tmp_path / str(place) / kind
        shutil.copytree(saved / "this" / kind, folder)
        what = mutate(folder, saved / "other" / kind, rng)
        try:
            found, who = numbers(folder)
        except InputError as error:
            errors += str(error).count("\n") == 0
        else:
            assert all(np.array_equal(a, b) for a, b in zip(arrays, found, strict=True)), what
            assert who.equals(users), what
            same += 1
    assert errors + same == place + 1
    assert errors > same


def test_codes_belong_to_ids_even_if_nobody_verifies(saved, tmp_path):
    folder = shutil.copytree(saved / "this" / "reward", tmp_path / "reward")
    frame = pl.read_parquet(folder / "users.parquet")
    frame.reverse().write_parquet(folder / "users.parquet")
    with pytest.raises(InputError, match=r"not what was written|has grown|is truncated"):
        plurality.load(folder)
    with pytest.raises(InputError, match=r"codes of other users than users\.parquet names, or in another order"):
        plurality.load(folder, verify=False)


@pytest.mark.parametrize("verify", [True, False])
def test_another_encoder_is_an_error_even_if_nobody_verifies(saved, tmp_path, verify):
    folder = shutil.copytree(saved / "this" / "reward", tmp_path / "reward")
    shutil.rmtree(folder / "encoder")
    shutil.copytree(saved / "other" / "reward" / "encoder", folder / "encoder")
    with pytest.raises(InputError, match="encoder") as caught:
        plurality.load(folder, verify=verify).text_encoder().encode(TEXTS, TEXTS)
    assert "\n" not in str(caught.value)
    if not verify:
        with pytest.raises(InputError, match="is recorded; copy the folder again"):
            plurality.load(folder, verify=False).save_pretrained(tmp_path / "copy")


def test_a_card_may_be_edited(saved, tmp_path):
    folder = shutil.copytree(saved / "this" / "reward", tmp_path / "reward")
    (folder / "README.md").write_text("# Mine")
    assert plurality.load(folder).user_ids
    (folder / "README.md").unlink()
    assert plurality.load(folder).user_ids


@pytest.mark.parametrize(("kind", "record"), [("reward", "config.json"), ("store", "meta.json")])
def test_a_folder_of_an_earlier_version_loads_with_one_note(saved, tmp_path, kind, record):
    """Its record has no seal, a model's no hashes either."""
    import json

    folder = shutil.copytree(saved / "this" / kind, tmp_path / kind)
    content = json.loads((folder / record).read_text())
    for key in ("seal", *(("files", "content_hash") if kind == "reward" else ())):
        del content[key]
    (folder / record).write_text(json.dumps(content))
    with pytest.warns(plurality.InputWarning, match="an earlier version wrote it") as notes:
        found, _ = numbers(folder)
    assert len(notes) == 1
    assert all(np.array_equal(a, b) for a, b in zip(numbers(saved / "this" / kind)[0], found, strict=True))
