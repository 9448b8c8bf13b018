"""What surrounds the code: types for its users, and CI that calls commands that exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import plurality

ROOT = Path(__file__).resolve().parents[1]
FLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
GOOD = """\
import plurality as pl8

data = pl8.read("comparisons.parquet")
model = pl8.PAL().fit(data)
reward = model.prefer(data)
audit = pl8.audit
reveal_type(model)
"""


def test_the_stub_is_current():
    done = subprocess.run([sys.executable, ROOT / "tools" / "stubs.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def checked(script, folder):
    """What mypy says of a script of a user's, who has the package on the path and its settings not."""
    (folder / "mine.py").write_text(script)
    command = [sys.executable, "-m", "mypy", "--config-file", "", "--ignore-missing-imports", "--follow-imports=silent"]
    path = {"MYPYPATH": str(ROOT), "PATH": "", "PYTHONPATH": ""}
    return subprocess.run([*command, "mine.py"], capture_output=True, text=True, cwd=folder, env=path)


def test_a_script_is_checked_against_the_types(tmp_path):
    assert (Path(plurality.__file__).parent / "py.typed").is_file()
    done = checked(GOOD + 'pl8.PAL(decay="much", nonsense=1)\n', tmp_path)
    assert 'Revealed type is "plurality.reward.reward_model.RewardModel"' in done.stdout
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert errors
    assert all(line.startswith("mine.py:8:") and "nonsense" in line for line in errors), done.stdout


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.stem)
def test_ci_calls_targets_of_the_makefile(path):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    jobs = yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"]
    commands = [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]
    called = {name for command in commands for name in re.findall(r"make ([a-z-]+)", command)}
    assert called
    assert called <= targets


@pytest.mark.parametrize("name", [".pre-commit-config.yaml", "CITATION.cff"])
def test_yaml_can_be_read(name):
    found = yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))
    assert found
    if name == "CITATION.cff":
        assert found["version"] == plurality.__version__
