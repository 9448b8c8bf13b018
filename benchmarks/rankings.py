"""Complete rankings of ten items, on which people differ beside the embedding: no family's codes may lose by it."""

from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from benchmarks.families import specs
from benchmarks.rows import Row
from plurality import compare
from plurality.datasets.simulated import low_rank
from plurality.datasets.simulated.rankings import rankings
from plurality.models import MORE

USERS, WIDTH, FOLDS = 300, 8, 2
WORLDS = {"one taste": 1e-9, "tastes of rank 2": 1.5}  # sd of what people differ in within the embedding, log-odds


def run() -> Iterator[Row]:
    """Two rows a family with codes: nats that users' own codes lose to the population's on items new to the user."""
    for world, scale in WORLDS.items():
        people, _ = low_rank.deviations(USERS, rank=2, width=WIDTH, scale=scale, mean=1.0, seed=0)
        data = rankings(people, seed=0).data
        models = {**specs(), "more": MORE(source="panel", multi_head=True)}
        panel = pl.Series("panel", [str(i % 2) for i in range(USERS)])
        data = replace(data, users=data.users.with_columns(panel))
        for name, spec in models.items():
            if name == "bradley_terry":
                continue
            result = compare(data, {name: spec}, split="item", unseen_users=1 / 3, folds=FOLDS, shuffled=False)
            gains = result.gains.filter((pl.col("metric") == "log_loss") & pl.col("cell").str.contains("unseen item"))
            cells = gains.rows(named=True)
            measured = "; ".join(f"{c['cell'][:-13]} {c['gain']:+.4f} [{c['lo']:+.4f}, {c['hi']:+.4f}]" for c in cells)
            promise = "not above 0 beyond noise" if cells else ""
            met = all(c["lo"] <= 0 for c in cells) if cells else None
            yield Row(f"{world}: {name}", measured or "no codes", promise, met)
