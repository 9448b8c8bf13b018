"""Large files are looked at once, and again as soon as anything of them changes."""

import os
import time

import pytest

from plurality.errors import InputError
from plurality.io import verified
from plurality.io.verified import once


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("PLURALITY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(verified, "LARGE", 4)
    monkeypatch.setattr(verified, "SETTLED_S", 0.0)
    path = tmp_path / "map"
    path.write_bytes(b"content")
    time.sleep(0.01)
    return path


def looked(path, what="hash"):
    """Whether the check ran."""
    calls = []
    once(path, what, lambda: calls.append(1))
    return bool(calls)


def test_once(file):
    assert [looked(file) for _ in range(3)] == [True, False, False]
    assert looked(file, "another check")


@pytest.mark.parametrize("change", ["content", "time set back", "replaced", "grown"])
def test_again_if_anything_changed(file, tmp_path, change):
    assert looked(file)
    before = file.stat()
    if change == "replaced":
        (tmp_path / "new").write_bytes(b"Content")
        os.utime(tmp_path / "new", ns=(before.st_atime_ns, before.st_mtime_ns))
        os.replace(tmp_path / "new", file)
    else:
        file.write_bytes(b"contenT" if change != "grown" else b"content!")
    if change == "time set back":
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert looked(file)


def test_what_fails_or_is_small_or_fresh_is_not_remembered(file, monkeypatch):
    def fail():
        raise InputError("no")

    for _ in range(2):
        with pytest.raises(InputError):
            once(file, "hash", fail)
    for name, value in (("LARGE", 100), ("SETTLED_S", 60.0)):
        with monkeypatch.context() as changed:
            changed.setattr(verified, name, value)
            assert looked(file, name)
            assert looked(file, name)


def test_a_cache_that_cannot_be_written_costs_time_alone(file, monkeypatch, tmp_path):
    (tmp_path / "cache").write_text("a file")
    assert looked(file)
    assert looked(file)
