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


SCRIPT = """\
import plurality as pl8

data = pl8.read("comparisons.parquet", encoder="lsa")
train, test = data.split("prompt", test_size=0.2, seed=0)
model = pl8.PAL(n_prototypes=4).fit(train, seed=0)
reveal_type(model)
reveal_type(model.prefer(test))
reveal_type(pl8.audit(model.predictions(test), by=["age"]))
pl8.PAL(n_prototypes="many")
pl8.compare(data, [pl8.LowRank()], splitt="prompt")
"""


@pytest.mark.slow
def test_a_user_s_script_is_checked(tmp_path):
    """As an editor or mypy sees the package: what names are, and that a wrong argument is an error."""
    (tmp_path / "mine.py").write_text(SCRIPT)
    call = [sys.executable, "-m", "mypy", "--config-file=", "--ignore-missing-imports", "--follow-imports=silent"]
    done = subprocess.run(
        [*call, "mine.py"], capture_output=True, text=True, cwd=tmp_path, env={"MYPYPATH": str(ROOT)}, check=False
    )
    revealed = [line.partition("Revealed type is ")[2] for line in done.stdout.splitlines() if "Revealed" in line]
    assert [name.strip('"').split("[")[0].rpartition(".")[2] for name in revealed] == [
        "RewardModel",
        "ndarray",
        "Audit",
    ]
    errors = [line for line in done.stdout.splitlines() if ": error:" in line]
    assert len(errors) == 2, done.stdout
    assert errors[0].startswith("mine.py:9:")
    assert '"n_prototypes"' in errors[0]
    assert errors[1].startswith("mine.py:10:")
    assert '"splitt"' in errors[1]


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
