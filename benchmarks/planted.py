"""PAL on planted PAL populations: K = 3, 300 users × 100 comparisons, every comparison on two new items."""

from collections.abc import Iterator

import numpy as np

from benchmarks.rows import Row
from plurality import PAL, BradleyTerry, Comparisons, RewardModel
from plurality.datasets.simulated import populations as planted
from plurality.evaluation.cost import metered

SEEDS = (0, 1, 2)


def accuracy(model: RewardModel, data: Comparisons) -> float:
    """Share of labels predicted."""
    return float(np.mean((model.log_odds(data) > 0) == (data.label > 0.5)))


def run() -> Iterator[Row]:
    """One row a population, with one default setting throughout; means over seeds."""
    for width, preference in ((32, 4), (256, 16)):
        for weights in ("onehot", "dirichlet"):
            results = np.array([_one(width, preference, weights, seed) for seed in SEEDS])
            truth, truth_new, bt, seen, unseen, cpu = results.mean(0)
            if width == 32:
                promised = f"seen ≥ {truth - 0.015:.3f}, unseen ≥ {truth_new - 0.03:.3f}"
                met = seen >= truth - 0.015 and unseen >= truth_new - 0.03
            else:
                promised, met = "seen ≥ .83, unseen ≥ .81, < 10 CPU s", seen >= 0.83 and unseen >= 0.81 and cpu < 10
            yield Row(
                f"d={width} {weights}: truth {truth:.3f}, Bradley–Terry {bt:.3f}",
                f"seen {seen:.3f}, unseen {unseen:.3f}, {cpu:.1f} CPU s",
                promised,
                bool(met),
            )


def _one(width: int, preference: int, weights: str, seed: int) -> tuple[float, ...]:
    seen, new = planted.pal(width=width, preference=preference, weights=weights, seed=seed)
    train, test = seen.sample(100, seed=10 * seed + 1), seen.sample(100, seed=10 * seed + 2)
    support, query = new.sample(20, seed=10 * seed + 3), new.sample(100, seed=10 * seed + 4)
    with metered() as cost:
        model = PAL(n_prototypes=3).fit(train.data, seed=seed)
        adapted = model.adapt(support.data)
    pooled = BradleyTerry().fit(train.data)
    return (
        test.accuracy(),
        query.accuracy(),
        accuracy(pooled, test.data),
        accuracy(adapted, test.data),
        accuracy(adapted, query.data),
        cost.cpu_seconds,
    )
