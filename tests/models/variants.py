"""The forms of every family that tests of all families run on, by the folders that are there."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from plurality.models import spec_class
from plurality.models.family import Spec
from plurality.reward.registry import built_in

HERE = Path(__file__).parent


def variants() -> list[Spec]:
    """Those in `VARIANTS` of `tests/models/<family>/variants.py`; a family without that file as it comes."""
    return [spec for family in built_in() for spec in _of(family)]


def parameters() -> list[Any]:
    """The same for `parametrize`, those in a family's `SLOW` marked as slow."""
    return [pytest.param(spec, marks=pytest.mark.slow if spec in _slow(spec.name) else ()) for spec in variants()]


def _slow(family: str) -> list[Spec]:
    return list(getattr(import_module(f"tests.models.{family}.variants"), "SLOW", [])) if _has_own(family) else []


def _has_own(family: str) -> bool:
    return (HERE / family / "variants.py").is_file()


def _of(family: str) -> list[Spec]:
    if not _has_own(family):
        return [spec_class(family)()]
    return list(import_module(f"tests.models.{family}.variants").VARIANTS)
