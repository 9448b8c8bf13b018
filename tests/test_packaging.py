"""What surrounds the code: types for editors, and CI that calls commands that exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import plurality

ROOT = Path(__file__).resolve().parents[1]
FLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def test_the_stub_is_current():
    done = subprocess.run([sys.executable, ROOT / "tools" / "stubs.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


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
