"""The forms of every family that tests of all families run on, by the folders that are there."""

from importlib import import_module
from pathlib import Path

from plurality.models import spec_class
from plurality.models.family import Spec
from plurality.reward.registry import built_in

HERE = Path(__file__).parent


def variants() -> list[Spec]:
    """Those in `VARIANTS` of `tests/models/<family>/variants.py`; a family without that file as it comes."""
    return [spec for family in built_in() for spec in _of(family)]


def _of(family: str) -> list[Spec]:
    if not (HERE / family / "variants.py").is_file():
        return [spec_class(family)()]
    return list(import_module(f"tests.models.{family}.variants").VARIANTS)
