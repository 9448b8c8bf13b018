"""The same arrays through libraries that people already use: CPU seconds of one thread as ratios, accuracy beside them.

scikit-learn's logistic regression is at the decay that ours chose, and with a choice of its own, on differences that it
has to be given first, which counts; on isotropic embeddings, and on some with the spectrum of a language model's. choix
and statsmodels fit one strength an item, which ours does on embeddings that are the items' numbers. A library that is
not installed is a line that says so.
"""

import time
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np
import polars as pl
import torch
from scipy.special import expit

from benchmarks.rows import Row
from plurality import BradleyTerry, Comparisons
from plurality.data.keys import mix, text_keys

TIMES = 3  # runs, of which the quickest counts
ROWS, WIDTH, ITEMS, USERS = 20_000, 256, 20_000, 400
POWERS = (0.0, 1.0)
PLAYERS, GAMES = 150, 20_000


def run() -> Iterator[Row]:
    """A row a peer."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for power in POWERS:
            yield from _pooled(power)
        yield from _strengths()
    finally:
        torch.set_num_threads(threads)


def _pooled(power: float) -> Iterator[Row]:
    """One linear reward for all users, against logistic regression on differences of embeddings.

    power    by which the size of their directions falls with its rank
    """
    rng = np.random.default_rng(0)
    items = rng.standard_normal((ITEMS, WIDTH), dtype=np.float32)
    if power:
        turned = np.linalg.qr(rng.standard_normal((WIDTH, WIDTH), dtype=np.float32))[0]
        items = (items * np.arange(1, WIDTH + 1, dtype=np.float32) ** -power) @ turned
    weights = rng.standard_normal(WIDTH)
    data = _comparisons(items, items @ (1.5 * weights / (items @ weights).std()), ROWS, rng)
    train, test = data.take(np.arange(ROWS) % 5 > 0), data.take(np.arange(ROWS) % 5 == 0)
    chosen, choosing = _quickest(lambda: BradleyTerry().fit(train))
    decay = float(chosen.trace.rows[-1]["decay"])
    given, giving = _quickest(lambda: BradleyTerry(decay=decay).fit(train))
    ours = [_right(model.log_odds(test), test) for model in (chosen, given)]
    linear = _installed("sklearn.linear_model", "scikit-learn")
    if isinstance(linear, Row):
        yield linear
        return
    differences, making = _quickest(lambda: [d.items[d.first] - d.items[d.second] for d in (train, test)])
    label = train.label > 0.5
    stiff = decay * WIDTH * float(given.head.projector.scale[0]) ** 2  # ours is over the fan-in, on inputs of unit size
    at = linear.LogisticRegression(C=1 / stiff, fit_intercept=False, max_iter=1_000)
    by = linear.LogisticRegressionCV(Cs=12, fit_intercept=False, max_iter=1_000)
    kind = f"spectrum of rank^-{power:g}" if power else "isotropic"
    for name, peer, seconds, right, most in (
        ("at the decay chosen", at, giving, ours[1], 1.0),
        ("with the choice of decay", by, choosing, ours[0], 3.0),
    ):
        fitted, theirs = _quickest(lambda peer=peer: peer.fit(differences[0], label))
        theirs += making
        score = _right(fitted.decision_function(differences[1]), test)
        yield Row(
            f"Bradley–Terry {ROWS:,} × {WIDTH}, {kind}, {name}; scikit-learn {version('scikit-learn')}",
            f"{seconds / theirs:.1f} × ({seconds:.2f} / {theirs:.2f} CPU s), accuracy {right:.3f} / {score:.3f}",
            f"≤ {most:g} ×",
            seconds <= most * theirs,
        )


def _strengths() -> Iterator[Row]:
    """One strength an item: embeddings that are rows of the identity."""
    rng = np.random.default_rng(1)
    truth = rng.standard_normal(PLAYERS)
    data = _comparisons(np.eye(PLAYERS, dtype=np.float32), truth, GAMES, rng)
    won = data.label > 0.5
    games = np.stack([np.where(won, data.first, data.second), np.where(won, data.second, data.first)], axis=1)
    ours, seconds = _quickest(lambda: BradleyTerry(decay=1.0).fit(data))
    worth = ours.utility(data.items)[0]  # of the first user, as of all
    choix = _installed("choix", "choix")
    if isinstance(choix, Row):
        yield choix
    else:
        pairs = [tuple(game) for game in games.tolist()]
        theirs, took = _quickest(lambda: choix.ilsr_pairwise(PLAYERS, pairs, alpha=0.01))
        yield _compared("choix", "choix", seconds, took, worth, theirs, truth)
    glm = _installed("statsmodels.api", "statsmodels")
    if isinstance(glm, Row):
        yield glm
        return
    design = np.zeros((GAMES, PLAYERS))
    design[np.arange(GAMES), data.first] += 1
    design[np.arange(GAMES), data.second] -= 1

    def logit() -> np.ndarray:
        found: np.ndarray = glm.GLM(data.label, design[:, 1:], family=glm.families.Binomial()).fit().params
        return np.concatenate([[0.0], found])

    theirs, took = _quickest(logit)
    yield _compared("statsmodels' GLM", "statsmodels", seconds, took, worth, theirs, truth)


def _compared(
    name: str, package: str, seconds: float, took: float, worth: np.ndarray, theirs: np.ndarray, truth: np.ndarray
) -> Row:
    likeness = [float(np.corrcoef(found, truth)[0, 1]) for found in (worth, theirs)]
    return Row(
        f"{PLAYERS} strengths, {GAMES:,} games; {name} {version(package)}",
        f"{seconds / took:.1f} × ({seconds:.2f} / {took:.2f} CPU s), r with the truth "
        f"{likeness[0]:.3f} / {likeness[1]:.3f}",
    )


def _comparisons(items: np.ndarray, worth: np.ndarray, rows: int, rng: np.random.Generator) -> Comparisons:
    first = rng.integers(len(items), size=rows)
    second = (first + rng.integers(1, len(items), size=rows)) % len(items)
    return Comparisons(
        items=items,
        first=first,
        second=second,
        user=np.arange(rows) % USERS,
        label=(rng.random(rows) < expit(worth[first] - worth[second])).astype(float),
        weight=np.ones(rows),
        group=mix(np.arange(rows)),
        prompt=np.zeros(len(items), dtype=np.int64),
        users=pl.DataFrame({"user_id": [f"u{k}" for k in range(USERS)]}),
        item_keys=mix(np.arange(len(items))),
        prompt_keys=text_keys(["planted"]),
    )


def _right(odds: np.ndarray, data: Comparisons) -> float:
    return float(np.mean((odds > 0) == (data.label > 0.5)))


def _installed(module: str, package: str) -> Any:
    """The module, or a row that says it is not there."""
    try:
        return import_module(module)
    except ImportError:
        return Row(package, "not installed")


def _quickest(work: Callable[[], Any]) -> tuple[Any, float]:
    """What the work gives, and the CPU seconds of its quickest run."""
    seconds = np.inf
    found = None
    for _ in range(TIMES):
        start = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # peers announce their next versions
            found = work()
        seconds = min(seconds, time.process_time() - start)
    return found, seconds
