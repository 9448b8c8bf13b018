"""Folders that came from somebody else: links and pipes are errors, and nothing beside the known files is copied."""

import json
import os
import shutil

import numpy as np
import polars as pl
import pytest
from safetensors.torch import load_file, save_file

import plurality
from plurality.encoders import LsaSpec
from plurality.errors import InputError
from plurality.io.plain import plain, read_json
from plurality.io.sealed import seal
from plurality.models import BradleyTerry
from plurality.reward.persistence import ids_hash

TABLE = pl.DataFrame(
    {
        "user_id": ["ann", "bob", "ann", "cyd", "bob", "cyd"],
        "prompt": ["tea?", "tea?", "rain?", "rain?", "bread?", "bread?"],
        "chosen": ["green tea", "mint tea", "an umbrella", "stay in", "rye bread", "white bread"],
        "rejected": ["mint tea", "green tea", "stay in", "an umbrella", "white bread", "rye bread"],
    }
)
FILES = {
    "reward": ["config.json", "head.safetensors", "users.parquet", "encoder/encoder.json", "encoder"],
    "store": ["meta.json", "comparisons.parquet", "embeddings.safetensors", "encoder/encoder.safetensors"],
}
LOADS = {"reward": plurality.load, "store": plurality.Comparisons.load}
EACH = [(kind, name) for kind, names in FILES.items() for name in names]


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    data = plurality.read(TABLE, encoder=LsaSpec(dim=2, min_df=1))
    data.save(folder / "store")
    BradleyTerry(temperature=True, decay=3.0).fit(data).save_pretrained(folder / "reward")
    return folder


def text_of(kind, folder, verify):
    loaded = LOADS[kind](folder, verify=verify)
    return loaded.encoder.encode(["tea?"], ["green tea"])


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize(("kind", "name"), EACH)
def test_links_are_not_followed(good, tmp_path, kind, name, verify):
    folder = shutil.copytree(good / kind, tmp_path / kind)
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a link, and links are not followed"):
        text_of(kind, folder, verify)


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize(("kind", "name"), EACH)
def test_a_pipe_is_an_error_and_waits_for_nobody(good, tmp_path, kind, name, verify):
    folder = shutil.copytree(good / kind, tmp_path / kind)
    (folder / name).rename(tmp_path / "elsewhere")
    os.mkfifo(folder / name)
    with pytest.raises(InputError, match=r"is not a file|Not a directory|is missing"):
        text_of(kind, folder, verify)


def test_links_of_the_hub_s_cache_are_its_way_to_keep_files_once(good, tmp_path):
    snapshot, blobs = tmp_path / "snapshots" / "abc", tmp_path / "blobs"
    shutil.copytree(good / "reward", snapshot)
    blobs.mkdir()
    for number, path in enumerate([path for path in snapshot.rglob("*") if path.is_file()]):
        path.rename(blobs / str(number))
        path.symlink_to(os.path.relpath(blobs / str(number), path.parent))
    assert np.isfinite(text_of("reward", snapshot, True)).all()
    (snapshot / "config.json").unlink()
    (snapshot / "config.json").symlink_to(good / "reward" / "config.json")
    with pytest.raises(InputError, match="is a link"):
        plurality.load(snapshot)


def test_what_lies_beside_an_encoder_is_not_copied_into_a_model(good, tmp_path):
    folder = shutil.copytree(good / "store", tmp_path / "store")
    (tmp_path / "secret").write_text("key")
    (folder / "encoder" / "notes.txt").symlink_to(tmp_path / "secret")
    (folder / "encoder" / "plain.txt").write_text("mine")
    data = plurality.Comparisons.load(folder)
    model = BradleyTerry(temperature=True, decay=3.0).fit(data)
    for saved in (data.save(tmp_path / "again"), model.save_pretrained(tmp_path / "model")):
        assert sorted(p.name for p in (saved / "encoder").iterdir()) == ["encoder.json", "encoder.safetensors"]


def test_names_in_a_record_stay_inside(good, tmp_path):
    folder = shutil.copytree(good / "store", tmp_path / "store")
    record = json.loads((folder / "meta.json").read_text())
    for name in ("../outside", "/etc/hostname", "", "a\0b", "x" * 300):
        with pytest.raises(InputError) as caught:
            plain(folder, name)
        assert "\n" not in str(caught.value)
    assert record["files"]


@pytest.mark.parametrize(
    "content", [b"[" * 100_000, b'{"a":' * 100_000, b"[]", b"nul", b"\xff\xfe", b"", b'{"a": 1' + b"0" * 10_000 + b"}"]
)
def test_json_that_makes_no_sense_is_one_line(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(InputError, match=r"x\.json: is damaged$"):
        read_json(tmp_path, "x.json", "", "is damaged")


def test_too_many_open_files_are_no_damage(good):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held = [os.open(os.devnull, os.O_RDONLY) for _ in range(8)]
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (held[-1] + 1, hard))
        for kind, load in LOADS.items():
            with pytest.raises(InputError, match=r"cannot be read \(Too many open files\); close some files or raise"):
                load(good / kind)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in held:
            os.close(descriptor)


def tensors(folder, change):
    """Other tensors in the head's file, written as one who knows the format would."""
    state = load_file(folder / "head.safetensors")
    change(state)
    users = pl.read_parquet(folder / "users.parquet")["user_id"].to_list()
    save_file(state, folder / "head.safetensors", {"user_ids": ids_hash(users)})


def spoil(name, value):
    def change(state):
        state[name].view(-1)[-1] = value

    return lambda folder: tensors(folder, change)


def table(folder, name, **columns):
    pl.read_parquet(folder / f"{name}.parquet").with_columns(**columns).write_parquet(folder / f"{name}.parquet")


def record(folder, **changes):
    path = next(folder / name for name in ("config.json", "meta.json") if (folder / name).exists())
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


NONSENSE = {
    "a code that is NaN": ("reward", spoil("users.codes", np.nan), "codes holds NaN or infinite values for user 'cyd'"),
    "an infinite covariance": ("reward", spoil("users.covariance", np.inf), "covariance holds NaN or infinite values"),
    "a negative variance": ("reward", spoil("users.covariance", -1.0), "a variance is negative"),
    "an infinite prior": ("reward", spoil("users.prior_mean", -np.inf), "the prior's mean holds NaN or infinite"),
    "an infinite scale": ("reward", spoil("head.projector.scale", np.inf), "projector.scale holds NaN or infinite"),
    "a user twice": (
        "reward",
        lambda f: (table(f, "users", user_id=pl.lit("ann")), tensors(f, lambda state: None)),
        "a user_id stands there twice",
    ),
    "a count below 0": (
        "reward",
        lambda f: table(f, "users", n_comparisons=pl.lit(-1)),
        "n_comparisons are not a count",
    ),
    "a model that is a list": ("reward", lambda f: record(f, model=[1]), "is unknown"),
    "a trace of numbers": ("reward", lambda f: record(f, trace=[1]), "its encoder, trace or report is damaged"),
    "a report that is a number": ("reward", lambda f: record(f, report=3), "its encoder, trace or report is damaged"),
    "an encoder that is a text": ("reward", lambda f: record(f, encoder="lsa"), "its encoder, trace or report"),
    "a width beyond all memory": ("reward", lambda f: record(f, n_embedding=1 << 60), "settings do not fit"),
    "a width beyond the file": ("reward", lambda f: record(f, n_embedding=1 << 30), r"they build a head of \d"),
    "a negative width": ("reward", lambda f: record(f, n_embedding=-4), "settings do not fit|damaged or incomplete"),
    "a version that is a text": ("reward", lambda f: record(f, schema_version="1"), "not a model's configuration"),
    "a label of 5": ("store", lambda f: table(f, "comparisons", label=pl.lit(5.0)), "the label is not in"),
    "a label that is NaN": (
        "store",
        lambda f: table(f, "comparisons", label=pl.lit(float("nan"))),
        "the label is not in",
    ),
    "a weight of 0": ("store", lambda f: table(f, "comparisons", weight=pl.lit(0.0)), "the weight is not positive"),
    "one item on both sides": (
        "store",
        lambda f: table(f, "comparisons", second=pl.col("first")),
        r"comparison 0 \(from 0\): first and second are the same item",
    ),
    "an item out of range": (
        "store",
        lambda f: table(f, "comparisons", first=pl.lit(99, dtype=pl.Int64)),
        "first is out of range",
    ),
    "a user out of range": (
        "store",
        lambda f: table(f, "comparisons", user=pl.lit(-1, dtype=pl.Int64)),
        "user is out of",
    ),
    "a prompt out of range": (
        "store",
        lambda f: table(f, "items", prompt_row=pl.lit(99, dtype=pl.Int64)),
        "the prompt of an item is out of range",
    ),
    "an id twice": ("store", lambda f: table(f, "users", user_id=pl.lit("ann")), "stands twice in the users table"),
    "counts that are a text": ("store", lambda f: record(f, counts="many"), "of different lengths"),
    "an embedding that is NaN": (
        "store",
        lambda f: (f / "embeddings.safetensors").write_bytes(
            (f / "embeddings.safetensors").read_bytes()[:-4] + np.float32(np.nan).tobytes()
        ),
        "holds NaN or infinite values",
    ),
}


@pytest.mark.parametrize("case", NONSENSE)
def test_content_that_makes_no_sense_is_an_error_even_under_a_right_hash(good, tmp_path, case):
    kind, change, message = NONSENSE[case]
    folder = shutil.copytree(good / kind, tmp_path / kind)
    change(folder)
    seal(folder, "config.json" if kind == "reward" else "meta.json")
    for verify in (True, False):
        with pytest.raises(InputError, match=message) as caught:
            LOADS[kind](folder, verify=verify)
        assert "\n" not in str(caught.value)


def test_what_is_not_finite_is_not_saved_either(good, tmp_path):
    from dataclasses import replace

    model, data = plurality.load(good / "reward"), plurality.Comparisons.load(good / "store")
    model.posterior.codes[1] = np.nan
    with pytest.raises(InputError, match="BradleyTerry: codes holds NaN or infinite values for user 'bob'"):
        model.save_pretrained(tmp_path / "m")
    with pytest.raises(InputError, match="label is not in"):
        replace(data, label=data.label + 4).save(tmp_path / "s")
    assert list(tmp_path.iterdir()) == []


def test_no_reward_that_is_not_finite_is_written(good, command, tmp_path, monkeypatch):
    from plurality.reward.reward_model import RewardModel

    monkeypatch.setattr(RewardModel, "score", lambda self, items, rows, *_, **__: np.array([1.0, np.inf, np.nan]))
    frame = TABLE.head(3).select("user_id", "prompt", completion="chosen")
    frame.write_parquet(tmp_path / "c.parquet")
    done = command("score", good / "reward", tmp_path / "c.parquet", "--out", tmp_path / "out.parquet")
    assert (done.code, done.out) == (2, "")
    assert "c.parquet: row 2: the reward is inf, not finite" in done.err
    assert not (tmp_path / "out.parquet").exists()
