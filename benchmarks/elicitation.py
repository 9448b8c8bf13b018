"""Questions that each way of asking needs for what 50 random ones bring, on simulated unseen users."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import get_args

import numpy as np
from scipy.special import expit

from benchmarks.rows import Row
from plurality import VPL, Comparisons, Hierarchical, LowRank, RewardModel, Spec
from plurality.datasets.simulated import demographics as planted_people
from plurality.datasets.simulated import low_rank as planted_rank
from plurality.datasets.simulated import populations as planted
from plurality.datasets.simulated import two_modes as planted_modes
from plurality.elicitation import next_question_each
from plurality.elicitation.asking import How

Populations = tuple[planted.Population, planted.Population]
NEW = 150
WORLDS: dict[str, tuple[Spec, Callable[[int], Populations]]] = {
    "tastes of rank 5 · low_rank": (
        LowRank(rank=5),
        lambda seed: planted_rank.signed(300, rank=5, width=32, seed=seed, unseen=NEW),
    ),
    "region and age tell half · hierarchical": (
        Hierarchical(),
        lambda seed: planted_people.people(300, seed=seed, unseen=NEW),
    ),
    "two modes · vpl": (VPL(), lambda seed: planted_modes.two_modes(300, width=32, seed=seed, unseen=NEW)),
}
SEEDS, POOL, SHARE = (0, 1), 300, 0.95
MOST, FEWER = 50, 30  # random questions that are the mark, and questions of the other ways


def run() -> Iterator[Row]:
    """A row a population and way: the questions needed with a 95 % interval over users, and accuracy after a few."""
    for title, (spec, draw) in WORLDS.items():
        curves: dict[str, list[np.ndarray]] = {how: [] for how in get_args(How)}
        for seed in SEEDS:
            for how, curve in _curves(spec, draw, seed).items():
                curves[how].append(curve)
        every = {how: np.concatenate(parts) for how, parts in curves.items()}  # (users, questions)
        end = every["random"].mean(0)[[0, MOST]]
        for how, curve in every.items():
            low, high = np.quantile(_bootstrap(every, how), (0.025, 0.975))
            after = ", ".join(f"{curve[:, k].mean():.3f}" for k in (2, 5, 10, 20))
            yield Row(
                f"{title}: {end[0]:.3f} -> {end[1]:.3f} · {how}",
                f"{_needed(every, how, None)} questions [{low:.0f}, {high:.0f}]; after 2, 5, 10, 20: {after}",
            )


def _curves(spec: Spec, draw: Callable[[int], Populations], seed: int) -> dict[str, np.ndarray]:
    """For each way, the expected accuracy on new items of each user after 0, 1, … questions: (U, up to MOST + 1)."""
    seen, new = draw(seed)
    model = spec.fit(seen.sample(50, seed=seed + 1).data, seed=seed)
    questions, answers = _pool(new, seed + 2)
    test = new.sample(40, seed=seed + 3)
    ids = new.users["user_id"].to_list()
    found = {}
    for how in get_args(How):
        asked, known, curve = np.empty((len(ids), 0), dtype=np.int64), model, [_accuracy(model, test)]
        for _ in range(MOST if how == "random" else FEWER):
            row = next_question_each(known, ids, questions, asked, how=how, seed=seed + 100 * asked.shape[1])
            asked = np.column_stack([asked, row])
            known = model.adapt(_answered(questions, answers, new, asked))
            curve.append(_accuracy(known, test))
        found[how] = np.stack(curve, 1)
    return found


def _pool(people: planted.Population, seed: int) -> tuple[Comparisons, np.ndarray]:
    """Questions for all users (POOL), and what each person answers to each (U, POOL)."""
    sample = people.sample(POOL, seed=seed).data
    mine = sample.take(sample.user == 0)
    first, second = (np.tile(mine.items[side], (len(people), 1)) for side in (mine.first, mine.second))
    theta = np.repeat(people.theta, POOL, axis=0)
    gap = (people.utility(first, theta) - people.utility(second, theta)).reshape(len(people), POOL)
    return mine, (np.random.default_rng(seed).random(gap.shape) < expit(gap)).astype(float)


def _answered(
    questions: Comparisons, answers: np.ndarray, people: planted.Population, asked: np.ndarray
) -> Comparisons:
    user = np.repeat(np.arange(len(asked)), asked.shape[1])
    data = questions.take(asked.ravel())
    return replace(data, user=user, users=people.users, label=answers[user, asked.ravel()])


def _accuracy(model: RewardModel, test: planted.Sample) -> np.ndarray:
    """Chance that each user's labels are as predicted, by the planted probabilities: (U,), without labels' noise."""
    odds = model.log_odds(test.data, unknown="population")
    right = np.where(odds > 0, test.p, 1 - test.p)
    return np.bincount(test.data.user, right) / np.bincount(test.data.user)


def _needed(curves: dict[str, np.ndarray], how: str, users: np.ndarray | None) -> int:
    """Questions after which the way has SHARE of what random ones gain in MOST; one more than asked if it never has."""
    random, own = (curves[name] if users is None else curves[name][users] for name in ("random", how))
    start, end = random[:, 0].mean(), random[:, MOST].mean()
    there = own.mean(0) >= start + SHARE * (end - start)
    return int(there.argmax()) if there.any() else len(there)


def _bootstrap(curves: dict[str, np.ndarray], how: str, n_bootstrap: int = 300) -> list[int]:
    rng, users = np.random.default_rng(0), len(curves[how])
    return [_needed(curves, how, rng.integers(users, size=users)) for _ in range(n_bootstrap)]
