"""Recipes: what a family promises on planted truth, run again and set beside its golden numbers.

A folder `models/<name>` holds recipe.toml (cases: a planted population, settings of the model) and golden.json (for
each case and measure: what is expected, within which tolerance, and where that number comes from).
"""

import json
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plurality.comparisons import Comparisons
from plurality.datasets import planted
from plurality.errors import InputError
from plurality.models import spec_class
from plurality.reward import RewardModel

POPULATIONS: dict[str, Callable[..., tuple[planted.Population, planted.Population]]] = {
    "pal": planted.pal,
    "low_rank": planted.low_rank,
    "taste_groups": planted.taste_groups,
    "careless": planted.careless,
    "objectives": planted.objectives,
}


@dataclass(frozen=True)
class Result:
    """One measure of one case: accuracy measured and expected, the tolerance, and where the expectation is from."""

    case: str
    measure: str
    measured: float
    expected: float
    tol: float
    source: str

    @property
    def holds(self) -> bool:
        """Whether the measured accuracy is no further below the expected one than the tolerance."""
        return self.measured >= self.expected - self.tol


def reproduce(folder: str | Path, *, seed: int = 0) -> Iterator[Result]:
    """Run every case of a model's folder; yields a Result a golden number.

    Seen users have 100 comparisons and unseen ones 20 supports, as in PAL's protocol; both are judged on items in no
    other comparison. Raises InputError for a folder without a readable recipe.
    """
    folder = Path(folder)
    try:
        recipe = tomllib.loads((folder / "recipe.toml").read_text())
        golden = json.loads((folder / "golden.json").read_text())
    except OSError as error:
        raise InputError(f"{error.filename}: {error.strerror}; give a folder such as models/pal") from None
    except ValueError as error:
        raise InputError(f"{folder}: recipe.toml or golden.json cannot be read ({error})") from None
    for case in recipe["case"]:
        measured = _run(recipe["model"], case, seed)
        for measure, entry in golden[case["name"]].items():
            value, truth = measured[measure]
            expected = truth if entry["expected"] == "truth" else float(entry["expected"])
            yield Result(case["name"], measure, value, expected, float(entry["tol"]), entry["source"])


def _run(model: str, case: dict[str, Any], seed: int) -> dict[str, tuple[float, float]]:
    """Accuracy and the accuracy of the truth, for seen and unseen users."""
    settings = {k: tuple(v) if isinstance(v, list) else v for k, v in case["planted"].items()}
    seen, new = POPULATIONS[case["population"]](seed=seed, **settings)
    train, test = seen.sample(100, seed=seed + 1), seen.sample(100, seed=seed + 2)
    support, query = new.sample(20, seed=seed + 3), new.sample(100, seed=seed + 4)
    fitted = spec_class(model)(**case["settings"]).fit(train.data, seed=seed).adapt(support.data)
    return {
        "seen": (_accuracy(fitted, test.data), test.accuracy()),
        "unseen": (_accuracy(fitted, query.data), query.accuracy()),
    }


def _accuracy(model: RewardModel, data: Comparisons) -> float:
    return float(np.mean((model.log_odds(data) > 0) == (data.label > 0.5)))
