"""Every family with its default settings on seven planted populations: who is at home where."""

from collections.abc import Callable, Iterator
from dataclasses import fields, replace

import numpy as np
import polars as pl

from benchmarks.rows import Row
from plurality import Comparisons
from plurality.datasets.simulated import demographics as planted_people
from plurality.datasets.simulated import populations as planted
from plurality.errors import InputError
from plurality.evaluation.cost import metered
from plurality.models import families, spec_class
from plurality.models.family import Spec
from plurality.reproduce.measures import accuracy, log_loss

Populations = tuple[planted.Population, planted.Population]
PLANTED: dict[str, Callable[[int], Populations]] = {
    "one taste": lambda seed: planted.taste_groups(300, shares=(1.0,), seed=seed),
    "one taste, careless people": lambda seed: planted.careless(300, seed=seed),
    "two tastes, 10:1": lambda seed: planted.taste_groups(300, seed=seed),
    "three ideal points": lambda seed: planted.pal(300, seed=seed),
    "weights on three objectives": lambda seed: planted.objectives(300, seed=seed),
    "tastes of rank 5": lambda seed: planted.low_rank(300, width=64, seed=seed),
    "region and age tell half": lambda seed: planted_people.people(300, seed=seed),
}
SEEDS, EACH, SUPPORT = (0, 1), 50, 20


def specs() -> dict[str, Spec]:
    """The families as they come; one that balances sources is told a column of them, which here says nothing."""
    classes = {name: spec_class(name) for name in families()}
    return {name: cls(source="panel") if "source" in settings_of(cls) else cls() for name, cls in classes.items()}


def settings_of(cls: type[Spec]) -> set[str]:
    """Names of a family's settings."""
    return {field.name for field in fields(cls)}


def run() -> Iterator[Row]:
    """A row a population and family: accuracy and nats on new items, of users fitted to and of unseen ones."""
    for title, draw in PLANTED.items():
        truth = np.mean([draw(seed)[0].sample(100, seed=seed + 2).accuracy() for seed in SEEDS])
        for name, spec in specs().items():
            try:
                found = np.array([_one(spec, draw, seed) for seed in SEEDS]).mean(0)
            except InputError as reason:
                yield Row(f"{title} · {name}", f"cannot: {reason}")
                continue
            seen, nats, unseen, new_nats, cpu = found
            yield Row(
                f"{title} (truth {truth:.3f}) · {name}",
                f"seen {seen:.3f}, {nats:.3f} nats; unseen {unseen:.3f}, {new_nats:.3f} nats; {cpu:.1f} CPU s",
            )


def _one(spec: Spec, draw: Callable[[int], Populations], seed: int) -> tuple[float, ...]:
    seen, new = draw(seed)
    train, test = (_panels(seen.sample(n, seed=seed + s).data) for n, s in ((EACH, 1), (100, 2)))
    support, query = (_panels(new.sample(n, seed=seed + s).data) for n, s in ((SUPPORT, 3), (100, 4)))
    with metered() as cost:
        model = spec.fit(train, seed=seed)
        known = model.adapt(support) if model.head.n_codes else model
    odds, new_odds = model.log_odds(test), known.log_odds(query, unknown="population")
    return (
        accuracy(odds, test),
        log_loss(odds, test),
        accuracy(new_odds, query),
        log_loss(new_odds, query),
        cost.cpu_seconds,
    )


def _panels(data: Comparisons) -> Comparisons:
    """The planted group, which would give everything away, replaced by a column that says nothing."""
    if "group" not in data.users.columns:
        return data
    users = data.users.select("user_id", panel=pl.Series([f"panel {i % 3}" for i in range(data.users.height)]))
    return replace(data, users=users)
