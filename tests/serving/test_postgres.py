"""The same state in PostgreSQL, started for the test; skipped where it or its driver is not installed."""

import os
import pwd
import shutil
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from glob import glob

import pytest

from plurality.serving.learning import Learner
from plurality.serving.state import Told, open_state
from tests.serving.world import PROMPT, adapted

PAIR = {"prompt": PROMPT, "chosen": "1 0", "rejected": "0 1"}
PROGRAMS = sorted(glob("/usr/lib/postgresql/*/bin"))


def _user():
    """Whom PostgreSQL runs as: it does not run as root."""
    if os.getuid() != 0:
        return None
    return next((name for name in ("postgres", "nobody") if name in {entry.pw_name for entry in pwd.getpwall()}), None)


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    if not PROGRAMS or sys.platform != "linux":
        pytest.skip("PostgreSQL is not installed (apt-get install postgresql)")
    pytest.importorskip("psycopg", reason="psycopg is not installed (pip install plurality-rm[postgres])")
    folder = tmp_path_factory.mktemp("postgres")
    who = _user()
    for place in (folder, *folder.parents[:3]):
        if who and place != folder:
            place.chmod(place.stat().st_mode | 0o011)
    if who:
        shutil.chown(folder, who)

    def run(program, *arguments):
        command = [f"{PROGRAMS[-1]}/{program}", *map(str, arguments)]
        as_who = {"user": who, "group": pwd.getpwnam(who).pw_gid, "extra_groups": []} if who else {}
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=folder, **as_who)

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    run("initdb", "-D", folder / "data", "-U", "plurality", "--auth=trust", "--no-sync")
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c shared_buffers=16MB"
    run("pg_ctl", "-D", folder / "data", "-o", options, "-l", folder / "log", "-w", "start")
    yield f"postgresql+psycopg://plurality@127.0.0.1:{port}/postgres"
    run("pg_ctl", "-D", folder / "data", "-m", "immediate", "-w", "stop")


def test_writers_of_one_user_lose_nothing(world, url):
    def write(k):
        state = open_state(url)
        for i in range(10):
            assert state.add([Told("ann", f"{k}-{i}", (PAIR,)), Told(f"u{k}", f"{k}-{i}-b", (PAIR,))])[0].status == 200
        state.close()

    open_state(url).close()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    state = open_state(url)
    numbers = [number for number, _, _ in state.said(["ann"])]
    assert len(numbers) == 40
    assert state.last_answers(["ann", "u2"])["ann"] == max(numbers)
    learner = Learner(world.model, state)
    found = learner.of(["ann"]).codes(["ann"]).numpy()
    assert found == pytest.approx(adapted(world, "ann", [PAIR] * 40).codes(["ann"]).numpy(), rel=1e-6)
    learner.keep()
    assert len(state.codes(["ann"], learner.fingerprint)) == 1
    assert state.add([Told("ann", "0-0", (PAIR,))])[0].again
    assert state.erase("ann") == 40
    assert state.add([Told("ann", "0-0", (PAIR,))])[0].status == 410
    assert state.last_answers(["ann"]) == {}
    assert len(list(state.export())) == 40
    state.close()
