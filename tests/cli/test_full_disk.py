"""A disk that is full, a folder that is closed: one line with the cause, and nothing half-written."""

import errno
import os
import resource
from contextlib import contextmanager

import polars as pl
import pytest

from plurality.datasets import Frames
from plurality.errors import InputError
from plurality.io import atomic

ROOM = 1000  # bytes that a file may have, less than any command's


@contextmanager
def limited(what, most):
    """At most so much of a resource of this process."""
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (most, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))


@pytest.fixture(scope="module")
def lines(town, command, tmp_path_factory):
    """What each command that writes is given, but for --out."""
    folder = tmp_path_factory.mktemp("full")
    store, reward = folder / "store", folder / "reward"
    users = town / "users.parquet"
    assert command("embed", town / "comparisons.parquet", "--users", users, "--dim", 8, "--out", store).code == 0
    assert command("fit", "bradley_terry", store, "--out", reward, "--set", "decay=3").code == 0
    ids = pl.read_parquet(users)["user_id"].to_list()
    predictions = pl.DataFrame({"user_id": ids * 20, "prob_first": 0.7, "label": [1.0, 0.0] * (10 * len(ids))})
    predictions.write_parquet(folder / "predictions.parquet")
    return {
        "embed": [town / "comparisons.parquet", "--dim", 8],
        "fit": ["bradley_terry", store, "--set", "decay=3"],
        "compare": [store, "--models", "bradley_terry", "--no-shuffled", "--n-bootstrap", 10],
        "audit": [folder / "predictions.parquet", "--users", users, "--by", "gender", "--n-bootstrap", 10],
        "adapt": [reward, town / "new_users.parquet"],
        "score": [reward, town / "candidates.parquet", "--unknown", "population"],
        "data": ["check", store, "--no-headroom", "--n-bootstrap", 10],
    }


@pytest.mark.parametrize("name", ["embed", "fit", "compare", "audit", "adapt", "score", "data"])
def test_a_full_disk(lines, command, tmp_path, name):
    out = tmp_path / "new" / f"out{'.parquet' if name == 'score' else ''}"
    with limited(resource.RLIMIT_FSIZE, ROOM):
        done = command(name, *lines[name], "--out", out)
    assert done.code == 2
    told = [line for line in done.err.splitlines() if line.startswith("plurality: ")]
    assert len(told) == 1
    assert f"{out}: cannot be written ({os.strerror(errno.EFBIG)}" in told[0]
    assert "Traceback" not in done.err
    assert [*out.parent.iterdir()] == []


@pytest.mark.parametrize("number", [errno.EACCES, errno.ENOSPC, errno.EMFILE])
@pytest.mark.parametrize("name", ["compare", "audit", "score", "data"])
def test_what_the_system_refuses_is_said_before_the_work(lines, command, tmp_path, monkeypatch, name, number):
    def refuse(**where):
        raise OSError(number, os.strerror(number), str(tmp_path))

    monkeypatch.setattr(atomic.tempfile, "TemporaryFile", refuse)
    out = tmp_path / f"out{'.parquet' if name == 'score' else ''}"
    done = command(name, *lines[name], "--out", out)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert f"{out}: cannot be written ({os.strerror(number)}); " in done.err
    assert not out.exists()


def test_a_full_disk_under_a_data_set_that_is_converted(tmp_path):
    rows = pl.DataFrame({"user_id": [f"u{k * k}" for k in range(20_000)]})  # more than packs into the room
    full = r"out: cannot be written \(File too large"
    made = Frames("toy", rows, rows, {})
    with (
        limited(resource.RLIMIT_FSIZE, ROOM),
        pytest.raises(InputError, match=full),
    ):
        made.write(tmp_path / "out")
    assert [*tmp_path.iterdir()] == []
