"""Writers that are killed: what they leave is swept by the next one, what they set aside comes back, and it is said."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from plurality.errors import InputError, InputWarning
from plurality.io import replace, staging
from plurality.io.atomic import check_target, reserve, whole_file, whole_folder

ROOT = Path(__file__).resolve().parents[2]
WRITER = """
import sys, time
from pathlib import Path
from plurality.io import replace
from plurality.io.atomic import whole_file, whole_folder
target, how = Path(sys.argv[1]), sys.argv[2]

def wait():
    print("there", flush=True)
    time.sleep(60)

if how == "between":  # the two renames
    import os
    replace.exchange = lambda *_: False
    rename = os.rename
    os.rename = lambda a, b: wait() if Path(a).name == "new" else rename(a, b)
if how == "file":
    with whole_file(target) as new:
        new.write_text("half")
        wait()
with whole_folder(target, marker="mark.json") as new:
    (new / "data").write_text("two")
    if how == "inside":
        wait()
"""


def killed(target, how):
    """Start a writer and kill it where it waits."""
    writer = subprocess.Popen([sys.executable, "-c", WRITER, target, how], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert writer.stdout.readline() == "there\n"
    writer.kill()
    writer.communicate()


def write(target, text):
    with whole_folder(target, marker="mark.json") as new:
        (new / "data").write_text(text)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("how", ["inside", "file"])
def test_what_a_killed_writer_left_is_swept_and_told(tmp_path, how):
    target = tmp_path / "b"
    if how == "inside":
        write(target, "one")
    before = names(tmp_path)
    killed(target, how)
    left = set(names(tmp_path)) - set(before)
    assert [bool(re.fullmatch(r"\.plurality-[0-9a-f]{12}-[0-9a-f]{16}", name)) for name in left] == [True]
    with whole_file(tmp_path / "another"):  # sweeps for itself alone
        pass
    assert left < set(names(tmp_path))
    with pytest.warns(InputWarning, match=r"b: an earlier write was cut off; the \d+ bytes that it left were removed"):
        write(target, "two")
    assert names(tmp_path) == ["another", "b"]
    assert (target / "data").read_text() == "two"


def test_a_folder_that_was_set_aside_comes_back(tmp_path):
    target = tmp_path / "b"
    write(target, "one")
    killed(target, "between")
    assert not target.exists()
    with pytest.warns(InputWarning, match="an earlier write was cut off; what stood there before was put back"):
        staging.sweep(target)
    assert names(tmp_path) == ["b"]
    assert (target / "data").read_text() == "one"


def test_a_reader_brings_a_model_back(tmp_path):
    import plurality

    target = tmp_path / "b"
    write(target, "one")
    killed(target, "between")
    with pytest.warns(InputWarning, match="put back"), pytest.raises(InputError, match="no fitted model"):
        plurality.load(target)
    assert (target / "data").read_text() == "one"


def test_a_writer_that_lives_is_left_alone(tmp_path):
    with whole_file(tmp_path / "b") as one:
        one.write_text("one")
        with whole_file(tmp_path / "b") as two:
            two.write_text("two")
        assert (tmp_path / "b").read_text() == "two"
        assert one.exists()
    assert (tmp_path / "b").read_text() == "one"
    assert names(tmp_path) == ["b"]


def test_a_writer_whose_folder_is_swept_before_it_is_locked_makes_another(tmp_path, monkeypatch):
    swept, lock = [], staging._lock

    def overtaken(folder, or_else):
        if or_else and len(swept) < 3:
            swept.append(folder)
            other = lock(folder, or_else=None)  # another writer looks for what was left behind
            try:
                if len(swept) != 2:  # the second time it is not done yet
                    folder.rmdir()
                return lock(folder, or_else)
            finally:
                staging.os.close(other)
        return lock(folder, or_else)

    monkeypatch.setattr(staging, "_lock", overtaken)
    write(tmp_path / "b", "one")
    assert len(set(swept)) == 3
    assert (tmp_path / "b" / "data").read_text() == "one"
    swept[1].rmdir()
    assert names(tmp_path) == ["b"]


def test_many_writers_of_one_file_never_take_one_another_for_dead(tmp_path):
    def work(number):
        for _ in range(40):
            with whole_file(tmp_path / "b") as new:
                new.write_text(str(number))

    with ThreadPoolExecutor(8) as pool:  # a warning is an error here
        list(pool.map(work, range(8)))
    assert names(tmp_path) == ["b"]


def test_a_signal_in_the_middle_of_clearing_up_leaves_nothing(tmp_path, monkeypatch):
    rmtree, calls = staging.shutil.rmtree, []

    def interrupted(folder, **options):
        calls.append(folder)
        if len(calls) == 1:
            raise KeyboardInterrupt
        rmtree(folder, **options)

    monkeypatch.setattr(staging.shutil, "rmtree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "b", "one")
    assert names(tmp_path) == ["b"]


def test_what_only_looks_like_ours_is_left_alone(tmp_path):
    looks = tmp_path / f"{staging._prefix(tmp_path / 'b')}00000000"
    looks.mkdir()
    (looks / "thesis.txt").write_text("mine")
    (tmp_path / f"{staging._prefix(tmp_path / 'b')}11111111").symlink_to(looks)
    write(tmp_path / "b", "one")
    assert (looks / "thesis.txt").read_text() == "mine"
    assert len(names(tmp_path)) == 3


def test_a_system_without_locks_sweeps_nothing_and_writes(tmp_path, monkeypatch):
    killed(tmp_path / "b", "file")
    monkeypatch.setattr(staging, "fcntl", None)
    write(tmp_path / "b", "one")
    assert len(names(tmp_path)) == 2


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_files_have_the_modes_of_the_umask(tmp_path, umask):
    from safetensors.numpy import save_file

    before = os.umask(umask)
    try:
        with whole_folder(tmp_path / "b", marker="mark.json") as new:
            save_file({}, new / "x.safetensors")  # which writes for its owner alone
            (new / "deep").mkdir()
            (new / "deep" / "y").write_text("")
        with whole_file(tmp_path / "f") as file:
            save_file({}, file)
    finally:
        os.umask(before)
    files = [p for p in tmp_path.rglob("*") if p.is_file()]
    assert {oct(p.stat().st_mode & 0o777) for p in files} == {oct(0o666 & ~umask)}
    assert {oct(p.stat().st_mode & 0o777) for p in tmp_path.rglob("*") if p.is_dir()} == {oct(0o777 & ~umask)}


def test_what_is_new_is_on_the_disk_before_it_is_in_its_place(tmp_path, monkeypatch):
    done = []
    fsync, exchange = os.fsync, replace.exchange
    monkeypatch.setattr(os, "fsync", lambda fd: (done.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd)))
    write(tmp_path / "b", "one")
    done.clear()
    monkeypatch.setattr(replace, "exchange", lambda *a: (done.append("exchange"), exchange(*a))[1])
    write(tmp_path / "b", "two")
    order = [Path(name).name for name in done]
    assert sorted(order[:2]) == ["data", "mark.json"]
    assert order[2:] == ["new", "exchange", tmp_path.name]


@pytest.mark.parametrize("file", ["mine.txt", "deep/mine.txt", "empty/"])
def test_a_folder_with_a_file_of_somebody_is_not_replaced(tmp_path, file):
    write(tmp_path / "b", "one")
    (tmp_path / "b" / file).parent.mkdir(exist_ok=True)
    (tmp_path / "b" / file).mkdir() if file.endswith("/") else (tmp_path / "b" / file).write_text("mine")
    for call in (lambda: write(tmp_path / "b", "two"), lambda: check_target(tmp_path / "b", "mark.json")):
        with pytest.raises(InputError, match=f"b: holds {file.split('/')[0]}.*, which this command did not write"):
            call()
    assert (tmp_path / "b" / "data").read_text() == "one"
    assert (tmp_path / "b" / file).exists()


@pytest.mark.parametrize("text", ["{}", "[]", "not json", '{"files": [], "content_hash": "x"}', '{"files": {}}'])
def test_a_marker_that_is_somebody_s_own_is_no_marker(tmp_path, text):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "mark.json").write_text(text)
    with pytest.raises(InputError, match="exists and was not written by this command"):
        write(tmp_path / "b", "two")
    assert (tmp_path / "b" / "mark.json").read_text() == text


def test_names_that_are_too_long(tmp_path):
    for target in (tmp_path / ("x" * 300), tmp_path / ("y" * 300) / "b"):
        for call in (lambda t=target: write(t, "one"), lambda t=target: check_target(t, "mark.json")):
            with pytest.raises(InputError, match=r"cannot be written \(File name too long\); choose a shorter name"):
                call()
    write(tmp_path / ("z" * 255), "one")  # the longest there is
    assert len(names(tmp_path)) == 1


FULL = """
import resource, signal, sys
from pathlib import Path
import numpy as np, polars as pl
from safetensors.numpy import save_file
from plurality.errors import InputError
from plurality.io.atomic import whole_file, whole_folder
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))
big = np.random.default_rng(0).random(100_000)
frame = pl.DataFrame({"a": big})
writers = [frame.write_parquet, frame.lazy().sink_parquet, frame.write_csv, lambda p: save_file({"a": big}, p),
           lambda p: np.save(p.open("wb"), big), lambda p: p.write_bytes(big.tobytes())]
for writer in writers:
    for folder in (True, False):
        try:
            if folder:
                with whole_folder(Path(sys.argv[1]) / "b", marker="m.json") as new:
                    writer(new / "x")
            else:
                with whole_file(Path(sys.argv[1]) / "b") as new:
                    writer(new)
        except InputError as error:
            print(error)
"""


def test_a_full_disk_is_one_line_whoever_writes(tmp_path):
    done = subprocess.run([sys.executable, "-c", FULL, tmp_path], capture_output=True, text=True, cwd=ROOT, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == 12
    assert all("b: cannot be written (" in line and "disk" in line for line in lines), lines
    assert names(tmp_path) == []


def test_a_map_has_its_room_before_it_is_written(tmp_path):
    with (tmp_path / "f").open("wb") as file:
        file.truncate(1 << 16)
    reserve(tmp_path / "f")
    assert (tmp_path / "f").stat().st_blocks * 512 >= 1 << 16


def test_sigterm_ends_a_command_and_leaves_nothing(tmp_path, town):
    """In the middle of writing, as a batch system does it."""
    code = """
import sys, time
import polars as pl
from plurality import cli
write = pl.DataFrame.write_parquet
def slow(frame, path):
    write(frame, path)
    print("there", flush=True)
    time.sleep(60)
pl.DataFrame.write_parquet = slow
sys.exit(cli.main(sys.argv[1:]))
"""
    arguments = ["embed", town / "comparisons.parquet", "--dim", "4", "--out", tmp_path / "store"]
    run = subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=-1, stderr=-1, text=True, cwd=ROOT)
    assert run.stdout.readline() == "there\n"
    assert len(names(tmp_path)) == 1
    start = time.monotonic()
    run.send_signal(signal.SIGTERM)
    _, err = run.communicate()
    assert time.monotonic() - start < 10
    assert (run.returncode, err.splitlines()[-1]) == (143, "plurality: terminated; nothing half-written is left")
    assert names(tmp_path) == []


def test_sigterm_is_answered_as_before_once_a_command_is_done(command):
    before = signal.getsignal(signal.SIGTERM)
    assert command("fit").code == 2
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_record_lists_and_seals(tmp_path):
    write(tmp_path / "b", "one")
    record = json.loads((tmp_path / "b" / "mark.json").read_text())
    assert list(record) == ["files", "content_hash", "seal"]
    assert list(record["files"]) == ["data"]
