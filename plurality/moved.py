"""Modules under the names they had before 0.2, for one minor version: importing one warns and says the new name."""

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from types import ModuleType

MOVED = {
    "plurality.analyses.brier": "plurality.analyses.calibration.brier_decomposition",
    "plurality.analyses.corp": "plurality.analyses.calibration.isotonic_regression",
    "plurality.analyses.recalibration": "plurality.analyses.calibration.recalibration",
    "plurality.analyses.smooth": "plurality.analyses.calibration.smooth",
    "plurality.analyses.permutation": "plurality.analyses.inference.permutation",
    "plurality.analyses.poststratification": "plurality.analyses.inference.poststratification",
    "plurality.analyses.normalisations": "plurality.analyses.welfare.normalisations",
    "plurality.datasets.planted_text": "plurality.datasets.simulated.text",
    "plurality.rl.contract": "plurality.rl.openrlhf_protocol",
}


class _Moved(MetaPathFinder, Loader):
    """Finds a module under its old name; what it holds is that of the new one."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return spec_from_loader(fullname, self) if fullname in MOVED else None

    def exec_module(self, module: ModuleType) -> None:
        new = MOVED[module.__name__]
        warnings.warn(f"{module.__name__} is now {new}; the old name goes in 0.3", DeprecationWarning, stacklevel=2)
        names = {name: value for name, value in vars(import_module(new)).items() if not name.startswith("__")}
        module.__dict__.update(names)


def install() -> None:
    """Let the old names be found, after everything that is there."""
    if not any(isinstance(finder, _Moved) for finder in sys.meta_path):
        sys.meta_path.append(_Moved())
