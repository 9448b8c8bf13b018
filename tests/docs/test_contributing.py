"""The recipes of CONTRIBUTING.md, followed to the letter in a copy of the repository."""

import os
import re
import shutil
import subprocess
import sys

import pytest

from tests.docs.blocks import ROOT, blocks

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
RECIPES = dict(re.findall(r"^## (Add [^\n]+)\n(.*?)(?=^## |\Z)", PAGE, flags=re.MULTILINE | re.DOTALL))
COPIED = ("plurality", "tests", "models", "datasets", "docs", "pyproject.toml", "README.md", ".gitignore")


@pytest.mark.slow
@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_works_as_it_is_written(title, tmp_path):
    skipped = shutil.ignore_patterns("__pycache__", ".*_cache")
    for name in COPIED:
        place = ROOT / name
        if place.is_dir():
            shutil.copytree(place, tmp_path / name, ignore=skipped)
        else:
            shutil.copy(place, tmp_path / name)
    recipe = RECIPES[title]
    files = re.findall(r"^`([^`\n]+)`\n\n```\w+\n(.*?)^```", recipe, flags=re.MULTILINE | re.DOTALL)
    assert files
    for path, text in files:
        assert not (tmp_path / path).exists(), f"{path} is there already; the recipe's name must be a new one"
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "OMP_NUM_THREADS": "1"}
    for _, block in blocks(recipe, "bash"):
        for line in block.splitlines():
            call = re.sub(r"^python\b", f'"{sys.executable}"', line)
            done = subprocess.run(
                call, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, f"{line}\n{done.stdout[-3000:]}{done.stderr[-2000:]}"
    python = [path for path, _ in files if path.endswith(".py")]
    for check in (["check"], ["format", "--check"]):
        lint = [sys.executable, "-m", "ruff", *check, *python]
        done = subprocess.run(lint, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
