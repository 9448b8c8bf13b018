"""Recipes are found by whoever installed a wheel, away from a checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from plurality.models import families
from plurality.reproduce.recipes import recipe_folder

ROOT = Path(__file__).resolve().parents[2]


def test_a_checkout_has_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("pal", "models/pal"):
        assert recipe_folder(name) == ROOT / "models" / "pal"
    assert recipe_folder(tmp_path / "pal") == tmp_path / "pal"
    (tmp_path / "pal").mkdir()
    assert recipe_folder("pal") == Path("pal")


def test_a_wheel_has_the_recipes(tmp_path):
    pytest.importorskip("hatchling")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    code = """
import plurality
from plurality.reproduce.recipes import recipe_folder
print(plurality.__file__)
for name in %r:
    print(recipe_folder(f"models/{name}"))
    for file in ("card.md", "recipe.toml", "golden.json"):
        assert (recipe_folder(name) / file).is_file()
"""
    done = subprocess.run(
        [sys.executable, "-c", code % [*families()]],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "installed")},
        check=True,
        capture_output=True,
        text=True,
    )
    assert all(Path(line).is_relative_to(tmp_path / "installed") for line in done.stdout.split())
