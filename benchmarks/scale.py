"""Fit and adapt at the size of a large consultation, embeddings mapped from disk."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.special import expit

from benchmarks.rows import Row
from plurality import PAL, Comparisons
from plurality.data.keys import mix, text_keys
from plurality.datasets.simulated import populations as planted
from plurality.evaluation.cost import metered

ITEMS, WIDTH, COMPARISONS, USERS, NEW = 250_000, 768, 200_000, 15_000, 10_000


def run() -> Iterator[Row]:
    """Planted ideal points, so that there is something to find."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "items.npy", rng.standard_normal((ITEMS, WIDTH), dtype=np.float32))
        items = np.load(Path(folder) / "items.npy", mmap_mode="r")
        seen, new = planted.pal(USERS, width=WIDTH, preference=16, unseen=NEW)
        data = _sample(seen, items, rng.integers(USERS, size=COMPARISONS), 1)
        support = _sample(new, items, np.repeat(np.arange(NEW), 20), 2)
        test = _sample(seen, items, rng.integers(USERS, size=50_000), 3)
        with metered() as fit:
            model = PAL(n_prototypes=3).fit(data)
        with metered() as adapt:
            model.adapt(support)
        right = np.mean((model.log_odds(test, unknown="population") > 0) == (test.label > 0.5))
    yield Row(
        "PAL.fit, wall", f"{fit.seconds:.0f} s ({fit.cpu_seconds:.0f} CPU s)", "< 60 s on 2 cores", fit.seconds < 60
    )
    yield Row("PAL.fit, memory beyond the map", f"{fit.peak_mib / 1024:.2f} GiB", "< 3 GB", fit.peak_mib < 3e9 / 2**20)
    yield Row("PAL.fit, accuracy (truth .889)", f"{right:.3f}")
    yield Row("adapt 10,000 users × 20, wall", f"{adapt.seconds:.1f} s", "< 5 s", adapt.seconds < 5)


def _sample(people: planted.Population, items: np.ndarray, user: np.ndarray, seed: int) -> Comparisons:
    rng = np.random.default_rng(seed)
    first = rng.integers(len(items), size=len(user))
    second = (first + rng.integers(1, len(items), size=len(user))) % len(items)

    def utility(side: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return people.utility(items[side[rows]], people.theta[user[rows]])

    blocks = np.array_split(np.arange(len(user)), 1 + len(user) // 20_000)
    gap = np.concatenate([utility(first, rows) - utility(second, rows) for rows in blocks])
    return Comparisons(
        items=items,
        first=first,
        second=second,
        user=user,
        label=(rng.random(len(user)) < expit(gap)).astype(float),
        weight=np.ones(len(user)),
        group=mix(np.arange(len(user)), seed),
        prompt=np.zeros(len(items), dtype=np.int64),
        users=people.users,
        item_keys=mix(np.arange(len(items))),
        prompt_keys=text_keys(["planted"]),
        source="planted at scale",
    )
