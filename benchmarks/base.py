"""A strong reward of one's own, and few comparisons of each person, at the width of a reward model's hidden states.

The world of `wide`, whose shared reward is the base, with 10 comparisons of each of 1,400 people. A family must never
fall below the base by more than .3 points, and gain at least half of what the true tastes gain from 40.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch

from benchmarks.rows import Row
from benchmarks.wide import SEEDS, TEST, World, world
from plurality import Comparisons, Hierarchical, LowRank
from plurality.evaluation.cost import metered
from plurality.models.family import Spec
from plurality.reward.posterior import Evidence, Prior, laplace

DIM, FEW, MANY = 4_096, 10, 40
FAMILIES: tuple[Spec, ...] = (LowRank(), Hierarchical())
BELOW = 0.003


def run() -> Iterator[Row]:
    """A row a family: accuracy alone and on top of the base, beside the base and the truth."""
    found: dict[str, list[tuple[float, ...]]] = {spec.name: [] for spec in FAMILIES}
    marks = []
    for seed in SEEDS:
        planted = world(DIM, rotated=False, seed=seed, each_person=MANY + TEST)
        data = replace(planted.train, base=planted.worth[:, 0]), replace(planted.test, base=planted.worth[:, 0])
        few = data[0].take(np.arange(len(data[0])) % MANY < FEW)
        marks.append((_right(data[1].base_gap, data[1]), _truth(planted, data[0])))
        for spec in FAMILIES:
            bare = spec.fit(replace(few, base=None), seed=seed, diagnostics=False).log_odds(data[1])
            with metered() as cost:
                model = spec.fit(few, seed=seed, diagnostics=False)
            found[spec.name].append((_right(bare, data[1]), _right(model.log_odds(data[1]), data[1]), cost.cpu_seconds))
    base, truth = np.mean(marks, axis=0)
    for name, rows in found.items():
        bare, on_top, cpu = np.mean(rows, axis=0)
        yield Row(
            f"base {base:.3f}, tastes known from {MANY}: {truth:.3f}; {name}, {FEW} comparisons a person",
            f"{on_top:.3f} on the base, {bare:.3f} without, {cpu:.0f} CPU s",
            f"≥ {base - BELOW:.3f}, hoped for {base + (truth - base) / 2:.3f}",
            bool(on_top >= max(base - BELOW, base + (truth - base) / 2)),
        )


def _right(log_odds: np.ndarray, data: Comparisons) -> float:
    return float(((log_odds > 0) == (data.label > 0.5)).mean())


def _truth(planted: World, known: Comparisons) -> float:
    """How often the base is right with the true tastes beside it, their weights inferred from `known`."""

    def sides(data: Comparisons) -> torch.Tensor:
        return torch.as_tensor((planted.worth[data.first] - planted.worth[data.second])[:, 1:])

    def log_odds(first: torch.Tensor, second: torch.Tensor, codes: torch.Tensor, base: torch.Tensor) -> torch.Tensor:
        return (first * codes).sum(-1) + base

    columns = (torch.as_tensor(column) for column in (known.user, known.label, known.weight, known.base_gap))
    each = sides(known)
    evidence = Evidence(each, each[:, :0], *columns)
    codes = laplace(log_odds, evidence, Prior.isotropic(each.shape[1], 1.0), known.users.height).codes
    own = (sides(planted.test) * codes[planted.test.user]).sum(1).numpy()
    test = replace(planted.test, base=planted.worth[:, 0])
    return _right(test.base_gap + own, test)
