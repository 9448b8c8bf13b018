"""Embeddings as wide as a reward model's hidden states: tastes in the first 200 of thousands of dimensions.

60,000 items whose dimension j has sd j^-½; 1,400 people, half of them old, with 30 comparisons each and 6 more as test.
What all want and four directions in which they differ, the old a little from the young, lie in 200 dimensions; gaps
have sd 2 under logistic noise. "axes" has 4,096 dimensions as they are drawn; "rotated" has 2,048, turned at random,
three of which are then huge, shifted and say nothing.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl

from benchmarks.rows import Row
from plurality import PAL, VPL, BradleyTerry, Comparisons, Hierarchical, LowRank
from plurality.data.keys import mix, text_keys
from plurality.evaluation.cost import metered
from plurality.models.family import Spec

SEEDS = (1, 2, 3)  # settings were chosen on seed 0
ITEMS, PEOPLE, EACH, TEST = 60_000, 1_400, 36, 6
TASTES, CARRY = 4, 200  # rank of tastes, and dimensions that carry them
BY_AGE = 0.3  # mean of each taste among the old, and minus it among the young; its sd among all is 1
FAMILIES: tuple[Spec, ...] = (BradleyTerry(), LowRank(), PAL(), Hierarchical(), VPL())
HUGE = (30, 100, 300)  # times the usual sd


@dataclass(frozen=True)
class World:
    """Comparisons to fit and to test, and how often the truth and its shared part alone are right in the test.

    worth    (M, 1 + TASTES) of items along what all want and along each taste, in log-odds
    """

    train: Comparisons
    test: Comparisons
    truth: float
    pooled: float
    worth: np.ndarray


def world(dim: int, *, rotated: bool, seed: int, each_person: int = EACH) -> World:
    """Plant one, of so many comparisons of each person, the last of them to test."""
    rng = np.random.default_rng(seed)
    sd = np.arange(1, dim + 1) ** -0.5
    items = rng.standard_normal((ITEMS, dim), dtype=np.float32)
    items *= sd.astype(np.float32)
    rewards = np.zeros((dim, 1 + TASTES))
    rewards[:CARRY] = rng.standard_normal((CARRY, 1 + TASTES))
    rewards /= np.sqrt(2 * (np.square(rewards) * np.square(sd)[:, None]).sum(axis=0))  # gaps of sd 1
    user = np.repeat(np.arange(PEOPLE), each_person)
    sides = rng.integers(0, ITEMS, (2, len(user)))
    worth = items @ rewards.astype(np.float32)
    each = worth[sides[0]] - worth[sides[1]]
    old = np.arange(PEOPLE) % 2
    tastes = rng.standard_normal((PEOPLE, TASTES)) * np.sqrt(1 - BY_AGE**2) + BY_AGE * (2 * old - 1)[:, None]
    own = (each[:, 1:] * tastes[user]).sum(axis=1)
    gap = each[:, 0] + 1.6 * own / TASTES**0.5
    unit = 2 / gap.std()
    gap *= unit
    label = (rng.random(len(user)) < 1 / (1 + np.exp(-gap))).astype(float)
    if rotated:
        items = items @ np.linalg.qr(rng.standard_normal((dim, dim), dtype=np.float32))[0]
        usual = items[:, 0].std()
        for place, times in enumerate(HUGE):
            items[:, 7 * place + 3] = times * usual * (rng.standard_normal(ITEMS) + 2)
    data = _comparisons(items, sides, user, label, np.where(old, "old", "young"))
    test = np.arange(len(user)) % each_person >= each_person - TEST
    right = [float(((g[test] > 0) == (label[test] > 0.5)).mean()) for g in (gap, each[:, 0])]
    worth = unit * worth * np.array([1, *[1.6 / TASTES**0.5] * TASTES])
    return World(data.take(~test), data.take(test), right[0], right[1], worth)


def _comparisons(
    items: np.ndarray, sides: np.ndarray, user: np.ndarray, label: np.ndarray, age: np.ndarray
) -> Comparisons:
    keys = mix(np.arange(len(items)))
    swap = keys[sides[0]] > keys[sides[1]]
    return Comparisons(
        items=items,
        first=np.where(swap, sides[1], sides[0]),
        second=np.where(swap, sides[0], sides[1]),
        user=user,
        label=np.where(swap, 1 - label, label),
        weight=np.ones(len(user)),
        group=mix(np.arange(len(user))),
        prompt=np.zeros(len(items), np.int64),
        users=pl.DataFrame({"user_id": [f"u{u}" for u in range(PEOPLE)], "age": age}),
        item_keys=keys,
        prompt_keys=text_keys([""]),
    )


def run() -> Iterator[Row]:
    """A row a world and family, means over seeds."""
    for name, dim, rotated, seconds in (("axes", 4_096, False, 40), ("rotated", 2_048, True, 30)):
        found: dict[str, list[tuple[float, ...]]] = {spec.name: [] for spec in FAMILIES}
        truths = []
        for seed in SEEDS:
            planted = world(dim, rotated=rotated, seed=seed)
            truths.append((planted.truth, planted.pooled))
            for spec in FAMILIES:
                found[spec.name].append(_measured(spec, planted, seed))
        truth, pooled = np.mean(truths, axis=0)
        least = {"bradley_terry": (pooled - 0.01, 10), "low_rank": (truth - 0.05, seconds), "pal": (truth - 0.07, None)}
        for family, rows in found.items():
            accuracy, cpu, memory, _ = np.mean(rows, axis=0)
            kept = ", ".join(f"{row[3]:.0f}" for row in rows)
            floor, most = least.get(family, (None, None))
            yield Row(
                f"{name}, d={dim:,}: truth {truth:.3f}, pooled {pooled:.3f}; {family}",
                f"{accuracy:.3f}, {cpu:.0f} CPU s, {1 + memory:.1f} × the embeddings, {kept} directions",
                "" if floor is None else f"≥ {floor:.3f}, {f'≤ {most} CPU s, ' if most else ''}≤ 2 ×",
                None if floor is None else bool(accuracy >= floor and memory <= 1 and (most is None or cpu <= most)),
            )


def _measured(spec: Spec, planted: World, seed: int) -> tuple[float, ...]:
    """Accuracy, CPU seconds, memory beside the embeddings as a share of theirs, and directions kept."""
    with metered() as cost:
        model = spec.fit(planted.train, seed=seed)
    right = (model.log_odds(planted.test) > 0) == (planted.test.label > 0.5)
    kept = model.report.get("principal_directions", planted.train.dim)
    return float(right.mean()), cost.cpu_seconds, cost.peak_mib * 2**20 / planted.train.items.nbytes, float(kept)
