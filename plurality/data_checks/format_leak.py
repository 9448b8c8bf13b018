"""Does the look of a text give the label away? It must not, beyond what its length explains.

A pipeline that stores one side otherwise than the other (a list as its repr, a template's token, stray whitespace)
hands every model a perfect feature that no person ever expressed. A classifier on looks alone finds it.
"""

import math
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.stats import beta

from plurality.analyses.inference.bootstrap import Floats, cluster_draws, interval, per_user_sums
from plurality.arrays import Int
from plurality.data.comparisons import Comparisons
from plurality.data.keys import combine, uniform
from plurality.data_checks.format_features import FORMAT, LENGTH, MARKS, format_features
from plurality.deprecation import renamed
from plurality.errors import InputError

__all__ = ["FormatLeak", "format_leak"]

MOST = 50_000  # comparisons looked at, an even sample of more
LEAST_ROWS, LEAST_UNITS = 100, 10  # below which nothing is said
EXCESS = 0.05  # accuracy beyond length: people do have tastes in looks, but they are not that strong
REGULAR = 0.9  # accuracy of length alone, or of one mark where it differs, that no taste has
RARE = 0.005  # share of comparisons a mark must differ in
POSITION = "position"
STRENGTH = 0.3  # sklearn's C: prior variance of weights on features of mean square one
WIDTH = 72  # characters of an example shown


@dataclass(frozen=True, eq=False)
class FormatLeak:
    """Verdict "clean", "suspicious" or "too few data", and what it rests on.

    table      what (format and length, length, beyond length), estimate, lo, hi: accuracy of telling chosen from
               rejected on held-out prompts, which is the AUC within pairs; intervals resample users or prompts
    features   feature, share (of the score's margin it brings), n and differs (comparisons in which the sides differ
               in it, and their share), chosen (how often the chosen side then has more of it); most telling first
    examples   feature, user_id, prompt, chosen, rejected: rows that the most telling features tell, texts as Python
               prints them, cut around what differs

    verdict          one of the three
    sentences        what it says, in words
    n_comparisons    rows looked at
    """

    verdict: str
    table: pl.DataFrame
    features: pl.DataFrame
    examples: pl.DataFrame
    sentences: tuple[str, ...]
    n_comparisons: int


@dataclass(frozen=True, eq=False)
class _Pairs:
    """Decided comparisons as chosen minus rejected: (n, features), with users, units and weights (n,)."""

    length: Floats
    format: Floats
    user: Int
    unit: Int
    weight: Floats


@renamed(draws="n_bootstrap")
def format_leak(
    data: Comparisons,
    texts: pl.DataFrame | None = None,
    *,
    folds: int = 5,
    n_bootstrap: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> FormatLeak:
    """Tell chosen from rejected by format and length, and by length alone, on prompts not trained on.

    Logistic regression without intercept on differences of `format_features`, so that it is antisymmetric in the
    sides; folds keep prompts and groups whole, or under too few prompts sets of items. Suspicious where format beats
    length by `EXCESS` and its interval leaves out 0, where length alone is right in `REGULAR` of pairs, or where one
    mark is as one-sided.
    `texts` has a row an item and a column `completion`: what the encoder was given; default `data.texts`. Raises
    InputError without texts, or with texts that do not fit the items.

    folds          parts of the cross-validation
    n_bootstrap    resamples of users behind the intervals
    level          coverage of the intervals, in (0, 1); default 0.95
    seed           makes the result the same again, whatever the machine; default 0
    """
    completion = _completions(data, texts)
    units, apart = _units(data), "prompts"
    if len(np.unique(units)) < LEAST_UNITS:
        units, apart = _item_blocks(data, seed), "sets of items"
        level = 1 - (1 - level) / 5  # ten sets are few draws of items that recur: a wider interval before any alarm
    rows = _rows(data, units >= 0, seed)
    units = units[rows]
    if len(rows) < LEAST_ROWS or len(np.unique(units)) < LEAST_UNITS:
        said = f"Format: {len(rows):,} decided comparisons in {len(np.unique(units)):,} {apart} are too few to tell."
        empty = pl.DataFrame()
        return FormatLeak("too few data", empty, empty, empty, (said,), len(rows))
    used, place = np.unique(np.concatenate([data.first[rows], data.second[rows]]), return_inverse=True)
    looks = format_features(completion[used])
    won = data.label[rows] > 0.5
    chosen, rejected = np.where(won, *np.split(place, 2)), np.where(won, *np.split(place, 2)[::-1])
    lengths, formats = _length_basis(looks), looks.select(FORMAT).to_numpy()
    side = np.where(won, 1.0, -1.0)  # sides are in the order of a hash: their place must say nothing
    pairs = _Pairs(
        length=lengths[chosen] - lengths[rejected],
        format=np.column_stack([formats[chosen] - formats[rejected], side]),
        user=np.unique(data.user[rows], return_inverse=True)[1],
        unit=np.unique(units, return_inverse=True)[1],
        weight=data.weight[rows] * np.abs(2 * data.label[rows] - 1),
    )
    both = np.hstack([pairs.length, pairs.format])
    fold = np.argsort(np.argsort(uniform(np.unique(units).astype(np.uint64), seed)))[pairs.unit] % folds
    hits = np.column_stack([_hits(x, fold, folds) for x in (both, pairs.length)])
    table = _accuracies(np.column_stack([hits, hits[:, 0] - hits[:, 1]]), pairs, n_bootstrap, level, seed)
    features = _features(both, pairs)
    reasons = _reasons(table, features, len(rows))
    verdict = "suspicious" if reasons else "clean"
    telling = _telling(features, len(rows))
    examples = _examples(data, completion, rows, pairs, telling) if reasons else pl.DataFrame()
    sentences = tuple(reasons) if reasons else (_clean(table),)
    return FormatLeak(verdict, table, features, examples, sentences, len(rows))


def _completions(data: Comparisons, texts: pl.DataFrame | None) -> pl.Series:
    frame = data.texts if texts is None else texts
    if frame is None:
        raise InputError(f"{data.source}: items have no texts; give what was embedded as a frame with `completion`")
    if "completion" not in frame.columns or frame.height != len(data.items):
        raise InputError(
            f"texts: {frame.height} rows with columns {', '.join(frame.columns)} for {len(data.items)} items; "
            "give a row an item with a column completion"
        )
    column = frame["completion"]
    if column.dtype != pl.String or column.null_count():
        raise InputError(f"texts: completion is {column.dtype} with {column.null_count()} nulls; give a text an item")
    return column


def _rows(data: Comparisons, usable: NDArray[np.bool_], seed: int) -> Int:
    """An even sample of the usable comparisons that are not ties, independent of the order of rows."""
    decided = np.flatnonzero(usable & (data.label != 0.5))
    if len(decided) <= MOST:
        return decided
    pair = combine(data.item_keys[data.first[decided]], data.item_keys[data.second[decided]])
    key = uniform(combine(pair, data.user_keys()[data.user[decided]]), seed)
    return np.sort(decided[np.argsort(key, kind="stable")[:MOST]])


def _units(data: Comparisons) -> Int:
    """Sets of comparisons that share no prompt and no group with one another: (N,)."""
    group = np.unique(data.group, return_inverse=True)[1]
    prompt = data.prompt[data.first]
    n = len(data.prompt_keys) + (int(group.max(initial=-1)) + 1)
    edges = (np.ones(len(group), dtype=np.int8), (prompt, len(data.prompt_keys) + group))
    set_of: Int = connected_components(coo_matrix(edges, shape=(n, n)), directed=False)[1]
    return set_of[prompt].astype(np.int64)


def _item_blocks(data: Comparisons, seed: int) -> Int:
    """Items dealt to a few sets, and the set of a comparison (N,) whose sides are of one; −1 where they are not.

    For data under too few prompts to hold some out: no item is then trained on and tested.
    """
    block = (uniform(data.item_keys, seed) * LEAST_UNITS).astype(np.int64)
    first, second = block[data.first], block[data.second]
    return np.where(first == second, first, -1)


def _length_basis(looks: pl.DataFrame) -> Floats:
    """Log counts, and hinges of the first at its quintiles, so that any effect of length is length's own."""
    logs = looks.select(LENGTH).to_numpy()
    knots = np.unique(np.quantile(logs[:, 0], [0.2, 0.4, 0.6, 0.8]))
    return np.hstack([logs, np.maximum(logs[:, :1] - knots, 0)])


def _hits(x: Floats, fold: NDArray[np.intp], folds: int) -> Floats:
    """Whether the held-out score of chosen minus rejected (n, F) is positive, a tie counting half: (n,)."""
    score = np.empty(len(x))
    for k in range(folds):
        out = fold == k
        score[out] = x[out] @ _weights(x[~out])
    return (np.sign(score) + 1) / 2


def _weights(x: Floats) -> Floats:
    """Weights (F,) of a logistic regression on differences (n, F), every other pair flipped."""
    from sklearn.linear_model import LogisticRegression

    scale = np.sqrt(np.square(x).mean(axis=0))
    scale = np.where(scale > 0, scale, np.inf)
    turn = np.where(np.arange(len(x)) % 2, -1.0, 1.0)
    model = LogisticRegression(C=STRENGTH, fit_intercept=False, max_iter=1000, tol=1e-4)
    model.fit(turn[:, None] * (x / scale), turn > 0)
    found: Floats = model.coef_[0] / scale
    return found


def _accuracies(values: Floats, pairs: _Pairs, n_bootstrap: int, level: float, seed: int) -> pl.DataFrame:
    """Weighted means of the columns with the wider of the intervals over users and over prompts."""
    ends = []
    for cluster in (pairs.user, pairs.unit):
        sums, weight = per_user_sums(cluster, values, pairs.weight)
        drawn = cluster_draws(sums, weight, draws=n_bootstrap, seed=seed)
        ends.append(interval(drawn, level, n_users=len(weight)))
    lo, hi = np.fmin(ends[0][0], ends[1][0]), np.fmax(ends[0][1], ends[1][1])
    names = ["format and length", "length", "beyond length"]
    estimate = np.average(values, axis=0, weights=pairs.weight)
    return pl.DataFrame({"what": names, "estimate": estimate, "lo": lo, "hi": hi})


def _features(both: Floats, pairs: _Pairs) -> pl.DataFrame:
    brought = (both * _weights(both)).mean(axis=0)
    margin, total = brought[pairs.length.shape[1] :], abs(brought.sum()) or 1.0
    differs = pairs.format != 0
    count = differs.sum(axis=0)
    more = (pairs.format > 0).sum(axis=0) / np.maximum(count, 1)
    names = [*FORMAT, POSITION]
    frame = pl.DataFrame({"feature": names, "share": margin / total, "n": count, "differs": count / len(differs)})
    return frame.with_columns(chosen=more).sort("share", descending=True)


def _one_sided(features: pl.DataFrame, rows: int) -> pl.DataFrame:
    """Marks that are on one and the same side in (surely more than) `REGULAR` of the pairs in which they differ."""
    marks = features.filter(pl.col("feature").is_in(list(MARKS)), pl.col("n") >= max(20, math.ceil(RARE * rows)))
    n = marks["n"].to_numpy()
    most = np.maximum(marks["chosen"].to_numpy(), 1 - marks["chosen"].to_numpy()) * n
    sure = beta.ppf(0.025, most, n - most + 1)  # Clopper–Pearson
    return marks.filter(pl.Series(sure > REGULAR)).sort("n", descending=True)


def _telling(features: pl.DataFrame, rows: int) -> list[str]:
    """Names of the features to show: one-sided marks, then what brings the margin."""
    marks = _one_sided(features, rows)["feature"].to_list()
    others = features.filter(pl.col("share") > 0.1, pl.col("feature") != POSITION)["feature"].to_list()
    return list(dict.fromkeys([*marks, *others]))[:3]


def _reasons(table: pl.DataFrame, features: pl.DataFrame, rows: int) -> list[str]:
    by = {row["what"]: row for row in table.iter_rows(named=True)}
    both, length, beyond = by["format and length"], by["length"], by["beyond length"]
    said = []
    if beyond["estimate"] >= EXCESS and beyond["lo"] > 0:
        names = ", ".join(_telling(features, rows)) or features["feature"][0]
        said.append(
            f"SUSPICIOUS format: looks alone tell chosen from rejected in {_percent(both)}, length in "
            f"{_percent(length)}: beyond what length explains, by {names}."
        )
    if length["lo"] > REGULAR:
        said.append(
            f"SUSPICIOUS length: it tells chosen from rejected in {_percent(length)}, more than any taste; "
            "look whether the two sides were stored alike."
        )
    for row in _one_sided(features, rows).head(3).iter_rows(named=True):
        side, share = ("chosen", row["chosen"]) if row["chosen"] > 0.5 else ("rejected", 1 - row["chosen"])
        said.append(
            f"SUSPICIOUS mark: {row['feature']} is on the {side} side in {100 * share:.1f} % of the {row['n']:,} "
            "pairs that differ in it."
        )
    return said


def _clean(table: pl.DataFrame) -> str:
    by = {row["what"]: row for row in table.iter_rows(named=True)}
    return (
        f"Format: looks tell chosen from rejected in {_percent(by['format and length'])}, length alone in "
        f"{_percent(by['length'])}: no sign of a leak."
    )


def _percent(row: dict[str, float]) -> str:
    return f"{100 * row['estimate']:.1f} % [{100 * row['lo']:.1f}, {100 * row['hi']:.1f}]"


def _examples(
    data: Comparisons, completion: pl.Series, rows: Int, pairs: _Pairs, telling: list[str], each: int = 2
) -> pl.DataFrame:
    """Rows in which a telling feature differs most, the way that it mostly differs."""
    names, found = [*FORMAT, POSITION], []
    for feature in telling:
        column = pairs.format[:, names.index(feature)]
        turned = column if (column > 0).sum() >= (column < 0).sum() else -column
        found += [(feature, int(i)) for i in np.argsort(-turned, kind="stable")[:each] if turned[i] > 0]
    at = rows[[i for _, i in found]]
    won = data.label[at] > 0.5
    sides = {
        "chosen": np.where(won, data.first[at], data.second[at]),
        "rejected": np.where(won, data.second[at], data.first[at]),
    }
    frame = {"feature": [feature for feature, _ in found], "user_id": data.users["user_id"].gather(data.user[at])}
    shown = {name: [_shown(completion[int(i)]) for i in items] for name, items in sides.items()}
    if data.texts is not None:
        shown = {"prompt": [_shown(data.texts["prompt"][int(i)]) for i in sides["chosen"]], **shown}
    return pl.DataFrame({**frame, **shown})


def _shown(text: str) -> str:
    """Beginning and end of a text as Python prints it."""
    half = WIDTH // 2 - 2
    return repr(text) if len(text) <= WIDTH else f"{text[:half]!r} … {text[-half:]!r}"
