"""Draws of samplers under ArviZ 0 and ArviZ 1: groups of one are an InferenceData, of the other an xarray DataTree."""

import warnings
from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xarray import Dataset


def arviz() -> ModuleType:
    """ArviZ, without the note on its next version that its first import of a day gives."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"\s*ArviZ is undergoing", FutureWarning)
        import arviz

    return arviz


def pymc() -> ModuleType:
    """PyMC, which imports ArviZ."""
    arviz()
    import pymc

    return pymc


def dataset_of(draws: Any, name: str) -> "Dataset":
    """One group of draws, such as "posterior".

    draws    what PyMC returns, or `joined` does
    name     of the group
    """
    from xarray import Dataset

    found = draws[name]
    return found if isinstance(found, Dataset) else found.to_dataset()


def joined(groups: Mapping[str, "Dataset"]) -> Any:
    """Groups by name as the installed ArviZ has them."""
    from xarray import DataTree

    if int(arviz().__version__.split(".")[0]) < 1:
        draws = arviz().InferenceData()
        draws.add_groups(dict(groups))
        return draws
    return DataTree.from_dict(dict(groups))


def convergence(posterior: "Dataset") -> tuple["Dataset", "Dataset"]:
    """Rank-normalised R-hat and bulk effective sample size of every entry.

    posterior    draws with the dimensions chain and draw

    Source: Vehtari et al. 2021, arXiv 1903.08008.
    """
    return arviz().rhat(posterior), arviz().ess(posterior, method="bulk")
