"""Is there anything to personalise? An estimate before any training: cheap models on few dimensions, and controls."""

import warnings
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from plurality.analyses.audit.labels import CONTROLS
from plurality.arrays import Array
from plurality.data.comparisons import Comparisons
from plurality.deprecation import renamed
from plurality.errors import InputError, InputWarning
from plurality.evaluation.compare import compare
from plurality.evaluation.comparison_table import tabulate
from plurality.evaluation.fold import BASELINE, TEMPERATURE
from plurality.evaluation.views import SMALL_ACCURACY, SMALL_NATS
from plurality.models.low_rank import LowRank

__all__ = ["Room", "components", "room"]

WIDTH = 128  # principal components of the embeddings that are looked at; on Polis 32 miss the tastes that 64 show
SAMPLE = 50_000  # items that the components are found on
BLOCK = 16_384  # items projected at once
FEW_USERS, FEW, ENOUGH = 10, 10, 400  # users; comparisons a user; held-out comparisons: 5 points of sampling noise
TASTE = 0.25  # of the nats gained, that a temperature for each user must leave to taste
WIDE = 0.05  # half an interval of accuracy, beyond which nothing can be said

OWN = "low_rank"
POPULATION, ANOTHER, _ = (f"{OWN} · {kind}" for kind in CONTROLS)
REFERENCES = {
    "pooled model": BASELINE,
    "per-user temperature": TEMPERATURE,
    "population's code": POPULATION,
    "another user's code": ANOTHER,
}


@dataclass(frozen=True, eq=False)
class Room:
    """Verdict "room", "none found" or "too few data".

    table   against (those of `REFERENCES` that there are), metric, n_users, n_comparisons, estimate (own), reference,
            gain, lo, hi: means over users on held-out units, intervals over users, of accuracy and of log-loss (nats,
            less is better)

    verdict      one of the three
    sentences    what it says, in words
    split        unit that was held out
    """

    verdict: str
    table: pl.DataFrame
    sentences: tuple[str, ...]
    split: str


@renamed(draws="n_bootstrap")
def room(data: Comparisons, *, split: str, folds: int = 2, n_bootstrap: int = 1000, seed: int = 0) -> Room:
    """Own against the pooled, the population's and another user's model, on units of `split` not trained on.

    Users' models are `LowRank` on at most `WIDTH` principal components of the items, shrunk as held-out items allow.
    There is room where own codes beat the population's and another user's in the same measure, by more than
    `compare` calls nothing (in nats a temperature for each user too, as people differ in care): a model that helps
    whoever it is given to is not personal. It is an estimate from below:
    tastes that lie outside the components, or that are not linear in them, are not seen.

    data           comparisons
    folds          disjoint test parts
    n_bootstrap    resamples of users behind the intervals
    seed           makes the result the same again, whatever the machine; default 0
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # what recurs, and what is too little, is said in sentences
        few = len(data.present) < FEW_USERS
        if few or not _can_be_held_out(data, split, folds, seed):
            said = f"Room: {len(data):,} comparisons by {len(data.present):,} users are too few to tell."
            if not few:
                said = f"Room: no {split} can be held out of {len(data):,} comparisons, so nothing can be told."
            return Room("too few data", pl.DataFrame(), (said,), split)
        small = replace(data, items=components(data.items), prompts=None, encoder=None)
        specs = [LowRank()]
        found = compare(
            small, specs, split=split, unseen_users=0, folds=folds, shuffled=False, n_bootstrap=1, seed=seed
        )
    predictions = found.predictions.filter(pl.col("cell") == f"seen user, unseen {split}")
    lines = set(predictions["model"])  # without codes, one reward for all users was chosen: there is nothing to judge
    references = {name: line for name, line in REFERENCES.items() if line in lines}
    table = pl.concat([_against(predictions, name, line, n_bootstrap, seed) for name, line in references.items()])
    verdict, sentences = _judge(table, float(np.median(np.bincount(data.user)[data.present])))
    return Room(verdict, table, sentences, split)


def _can_be_held_out(data: Comparisons, split: str, folds: int, seed: int) -> bool:
    try:
        cells = [data.cells(split, unseen_users=0, seed=seed, fold=fold) for fold in range(folds)]
    except InputError:  # a part is empty
        return False
    return all(len(c.tests[f"seen user, unseen {split}"]) for c in cells)


def components(items: Array, width: int = WIDTH) -> Array:
    """Items (M, d) on their first principal components (M, min(width, d)), float32; as they are if d <= width.

    items    (M, d) embeddings
    width    number of components at most
    """
    if items.shape[1] <= width:
        return items
    step = max(1, len(items) // SAMPLE)
    sample = np.asarray(items[::step], dtype=np.float64)
    mean = sample.mean(axis=0)
    _, vectors = np.linalg.eigh(np.cov(sample - mean, rowvar=False))
    axes = vectors[:, ::-1][:, :width].astype(np.float32)
    blocks = [(items[at : at + BLOCK] - mean.astype(np.float32)) @ axes for at in range(0, len(items), BLOCK)]
    return np.concatenate(blocks)


def _against(predictions: pl.DataFrame, reference: str, line: str, n_bootstrap: int, seed: int) -> pl.DataFrame:
    """Own codes against another line of the same predictions, paired."""
    both = predictions.filter(pl.col("model").is_in([OWN, line]))
    table, _ = tabulate(both, baseline=line, n_bootstrap=n_bootstrap, seed=seed)
    own = table.filter(pl.col("metric").is_in(["accuracy", "log_loss"]), pl.col("model") == OWN)
    other = table.filter(pl.col("model") == line).select("metric", reference="estimate")
    return own.join(other, on="metric", maintain_order="left").select(
        pl.lit(reference).alias("against"),
        "metric",
        "n_users",
        "n_comparisons",
        "estimate",
        "reference",
        gain="diff",
        lo="diff_lo",
        hi="diff_hi",
    )


@dataclass(frozen=True)
class _Gain:
    """What own codes gain over something else: rows of the table by metric."""

    accuracy: dict[str, float]
    loss: dict[str, float]

    @property
    def right(self) -> bool:
        """Surely more often right, and by more than nothing."""
        return self.accuracy["lo"] > 0 and self.accuracy["gain"] >= SMALL_ACCURACY

    @property
    def likelier(self) -> bool:
        """Surely fewer nats, and by more than nothing."""
        return self.loss["hi"] < 0 and -self.loss["gain"] >= SMALL_NATS

    def __str__(self) -> str:
        a, b = self.accuracy, self.loss
        points = f"{100 * a['gain']:+.1f} points [{100 * a['lo']:+.1f}, {100 * a['hi']:+.1f}]"
        return f"{points}, {b['gain']:+.3f} nats [{b['lo']:+.3f}, {b['hi']:+.3f}]"


def _judge(table: pl.DataFrame, typical: float) -> tuple[str, tuple[str, ...]]:
    by: dict[str, _Gain] = {}
    for (against,), part in table.group_by("against", maintain_order=True):
        rows = {row["metric"]: row for row in part.iter_rows(named=True)}
        by[str(against)] = _Gain(rows["accuracy"], rows["log_loss"])
    pooled, held = by["pooled model"].accuracy, by["pooled model"].accuracy["n_comparisons"]
    head = f"On {held:,} held-out comparisons one model for all is right in {100 * pooled['reference']:.1f} %, "
    head += f"users' own in {100 * pooled['estimate']:.1f} %"
    short = held < ENOUGH or typical < FEW
    if "population's code" not in by:
        said = "One reward for all users did best" + (", but data are too few to tell." if short else ".")
        return ("too few data" if short else "none found"), (
            f"{head}.",
            f"No room for personalisation was found. {said}",
        )
    population, another, care = by["population's code"], by["another user's code"], by["per-user temperature"]
    head += f", another user's in {100 * another.accuracy['reference']:.1f} %."
    taste = care.likelier and care.loss["gain"] <= TASTE * population.loss["gain"]
    if (population.right and another.right) or (population.likelier and another.likelier and taste):
        said = f"There is room for personalisation: own codes over the population's {population}; another's do worse."
        return "room", (head, said)
    if short or population.accuracy["hi"] - population.accuracy["lo"] > 2 * WIDE:
        return "too few data", (head, f"Too few data to tell of room: own codes over the population's {population}.")
    why = f"own codes over the population's {population}"
    if population.likelier and another.likelier:
        why = "people differ in care, which a temperature for each tells as well, and not surely in taste"
    elif population.right or population.likelier:
        why = f"own codes beat the population's, but not surely another user's ({another})"
    return "none found", (head, f"No room for personalisation was found: {why}.")
