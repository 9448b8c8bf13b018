"""Embeddings as a fit sees them: whatever their units, without huge dimensions or mistakes.

One weight decay serves all dimensions only where they are of like size. Hidden states of language models have a few
dimensions 10 to 1,000 times as large as the rest (Sun et al. 2024, arXiv 2402.17762), tables have units, files have
mistakes. Yet sizes that fall off like a power tell which dimensions matter, so they are not made equal without need:
held-out items choose among sizes as they come, without what stands out, and all alike. The fitted weights absorb the
choice, so that a model takes embeddings as they come; inputs that need nothing done are not even copied. Of a wide
embedding a fit sees the principal directions that matter alone (`plurality.fitting.directions`).
"""

import warnings
from dataclasses import dataclass, replace

import numpy as np

from plurality.arrays import Array, Bool, Float
from plurality.data.comparisons import Comparisons
from plurality.data.keys import combine, uniform
from plurality.errors import InputWarning
from plurality.fitting.directions import WIDE, enough, leading, nats_by_count, principal
from plurality.fitting.objective import FitPlan
from plurality.fitting.tuning import POOLED_DECAY, FitOptions, inner_parts, pooled_rows
from plurality.reward.fitted import DIRECTIONS, Fitted, Trace
from plurality.reward.heads import Projected
from plurality.reward.inputs import Inputs

SAMPLE = 6_000  # comparisons that sizes and middles are learned from,
SAMPLE_VALUES, LEAST_SAMPLE = 500_000, 1_000  # or as many of wide embeddings as make so many values, or these
KEPT = 0.96  # share of a dimension's values that are believed in full: some of the rest may be mistakes
GARBLED = 5.0  # times the usual length of an item beyond which all of it is a mistake
LIMIT = 12.0  # sizes from the middle beyond which an entry is a mistake
FAR = 100.0  # sizes from 0 beyond which a middle is taken off before float32 loses what varies around it
ALIKE = 3.0  # times by which dimensions may differ in size and still share a decay
STANDS_OUT = 4.0  # times the size that a dimension of its rank should have
FEW = 64  # dimensions below which ranks say nothing: one then stands out from the median
CHOOSE_ROWS = 6_000  # comparisons that a scaling is fitted to, and as many that it is judged on,
CHOOSE_VALUES = 10_000_000  # or fewer to wide embeddings
NOTHING = 1e30  # what a dimension that says nothing is divided by; finite, so that it can be saved and multiplied
AS_THEY_COME = "as they come"
COUNTED = "principal directions"  # in the stages of the trace that tried numbers of them
WORSE = 0.01  # nats by which the splits of one fit may differ
UNITS = 30.0  # times by which few dimensions differ only if they have units: a table, not an embedding


@dataclass(frozen=True, eq=False)
class Sizes:
    """Of every dimension (d,): its middle, the size of differences of compared items, how far items may lie from it."""

    centre: Float
    size: Float
    reach: Float

    @staticmethod
    def of(data: Comparisons) -> "Sizes":
        """Sizes in an even sample of comparisons, some of whose items may be mistakes."""
        rows = min(SAMPLE, max(SAMPLE_VALUES // data.dim, LEAST_SAMPLE))
        some = np.argsort(uniform(data.item_keys[data.first], 0), kind="stable")[:rows]
        a, b = (_columns(data.items[side[some]]) for side in (data.first, data.second))
        return Sizes._of(np.concatenate([a, b], axis=1), a - b)

    @staticmethod
    def around(rows: Float) -> "Sizes":
        """Sizes of rows (n, d) that are not compared with one another."""
        columns = _columns(rows)
        return Sizes._of(columns, columns - np.median(columns, axis=1, keepdims=True))

    @staticmethod
    def _of(items: Array, differences: Array) -> "Sizes":
        """From columns (d, n) each."""
        centre = np.median(items, axis=1, keepdims=True)
        return Sizes(centre[:, 0].astype(np.float64), robust_size(differences), reach(items - centre))

    @property
    def live(self) -> Bool:
        """Whether a dimension varies, beyond what rounding makes of a constant: (d,)."""
        return self.size > 1e-6 * np.abs(self.centre)

    @property
    def far(self) -> bool:
        """Whether some middle is so far from 0 that it drowns what varies around it."""
        return bool((np.abs(self.centre[self.live]) > FAR * self.size[self.live]).any())

    def inputs(self, scale: Float, *, move: bool = True) -> Inputs:
        """What divides by `scale` (d,) and cuts what lies out of reach; `move` takes middles off in any case."""
        middle = self.centre if move or self.far else np.zeros_like(self.centre)
        return Inputs(middle, scale, self.centre - self.reach, self.centre + self.reach)


def _columns(rows: Array) -> Array:
    """Rows (n, d) as columns (d, n) that lie in one piece, of which quantiles are several times as fast."""
    return np.ascontiguousarray(rows.T, dtype=np.result_type(rows.dtype, np.float32))


def robust_size(columns: Array) -> Float:
    """Root mean square of every column (d, n), its largest entries cut at the quantile KEPT of their size.

    A column that is 0 but for a few rows, as a rare indicator is, has all of its entries believed.
    """
    cut = _cut_size(columns)
    for column in np.flatnonzero(cut == 0):
        cut[column] = np.sqrt(np.square(columns[column], dtype=np.float64).mean())
    return cut


def reach(columns: Array) -> Float:
    """How far from 0 entries of every column (d, n) may lie: LIMIT sizes, or times the usual entry that is not 0."""
    size = _cut_size(columns)
    for column in np.flatnonzero(size == 0):
        entries = np.abs(columns[column])
        size[column] = np.median(entries[entries > 0]) if entries.any() else np.inf
    return LIMIT * size


def _cut_size(columns: Array) -> Float:
    size = np.abs(columns)
    most = np.quantile(size, KEPT, axis=1, keepdims=True)
    np.minimum(size, most, out=size)
    size /= np.where(most > 0, most, 1)  # a share of it, whose square no precision loses
    cut: Float = most[:, 0] * np.sqrt(np.square(size, out=size).mean(axis=1, dtype=np.float64))
    return cut


def expected_sizes(size: Float) -> Float:
    """The size that a dimension of this rank should have: the median of few, or the power law of the middle ranks."""
    if len(size) < FEW:
        return np.full_like(size, np.median(size))
    order = np.argsort(-size, kind="stable")
    log_rank, middle = np.log(np.arange(1, len(size) + 1)), slice(len(size) // 16, len(size) // 2)
    slope, level = np.polyfit(log_rank[middle], np.log(size[order][middle]), 1)
    expected = np.empty_like(size)
    expected[order] = np.exp(level + slope * log_rank)
    return expected


def scalings(sizes: Sizes) -> dict[str, Float]:
    """What dimensions may be divided by, (d,) each, by name; first what is taken where held-out items cannot tell."""
    live, size = sizes.live, sizes.size[sizes.live]
    if not len(size) or size.max() <= ALIKE * size.min():
        return {AS_THEY_COME: _spread(np.ones_like(size), live)}
    expected = expected_sizes(size)
    out = size > STANDS_OUT * expected
    found = {"all of one size": _spread(size / np.exp(np.log(size).mean()), live)}
    if out.any():
        found["what stands out shrunk"] = _spread(np.where(out, size / expected, 1.0), live)
    found[AS_THEY_COME] = _spread(np.ones_like(size), live)
    table = len(size) < FEW and size.max() > UNITS * size.min()
    first = "all of one size" if table else next(name for name in list(found)[1:])
    return {first: found.pop(first)} | found


def _spread(scale: Float, live: Bool) -> Float:
    """The scale (L,) of live dimensions at their places, those that say nothing divided away: (d,)."""
    whole = np.full(len(live), NOTHING)
    whole[live] = scale
    return whole


@dataclass(frozen=True, eq=False)
class SeenInputs:
    """Comparisons as a fit sees them, and what was done to their items and prompts for it; None: nothing."""

    data: Comparisons
    items: Inputs
    prompts: Inputs | None
    trace: Trace

    def absorbed(self, fitted: Fitted) -> Fitted:
        """The fit, its head taking embeddings as they come, its trace and report telling what was done to them."""
        assert isinstance(fitted.head, Projected)
        fitted.head.absorb(self.items, self.prompts)
        report = fitted.report
        if self.items.directions is not None:
            report = report | {DIRECTIONS: self.items.directions.shape[1]}
            self._compare(fitted)
        return replace(fitted, trace=Trace(self.trace.rows + fitted.trace.rows), report=report)

    def _compare(self, fitted: Fitted) -> None:
        """Warn where users' codes predict held-out items worse than the method of moments, where low rank begins.

        Both held out a part of these comparisons, not always the same.
        """
        theirs = [float(row["held_out"]) for row in fitted.trace.rows if np.isfinite(float(row["held_out"]))]
        moments = [float(row["held_out"]) for row in self.trace.rows if COUNTED in str(row["stage"])]
        if fitted.head.n_codes and theirs and moments and min(theirs) > min(moments) + WORSE:
            warnings.warn(
                f"{self.data.source}: held-out items are predicted worse ({min(theirs):.3f} nats) than by a rough "
                f"guess of users' tastes ({min(moments):.3f}), so low_rank will fit these wide embeddings better",
                InputWarning,
                stacklevel=5,
            )


def seen(data: Comparisons, run: FitOptions, *, prompts: bool) -> SeenInputs:
    """Learn what is to be done to these embeddings before they are fitted, and do it.

    data       comparisons, ready
    run        seed, device and whom held-out items are new to
    prompts    whether the family looks at prompts
    """
    trace, sizes = Trace(), Sizes.of(data)
    found = scalings(sizes)
    name = next(iter(found)) if len(found) == 1 else _choose(data, sizes, found, run, trace)
    items = sizes.inputs(found[name], move=name != AS_THEY_COME)
    if data.dim > WIDE:
        items = principal(data, items)
    of_prompts = None
    if prompts and data.prompts is not None:
        of_prompts = _of_prompts(data.prompts)
        data = replace(data, prompts=of_prompts.apply(data.prompts))
    cut = items.cut(data.items)
    if not items.moves and not cut.any():
        return SeenInputs(data, items, of_prompts, trace)  # embeddings stay mapped and uncopied
    data = applied(data, items)
    if items.directions is not None:
        count = _count(data, run, trace)
        items, data = replace(items, directions=items.directions[:, :count]), leading(data, count)
    garbled = _garbled(data.items)
    kept = ~(garbled[data.first] | garbled[data.second])
    if cut.any():
        trace.add(
            f"inputs: {cut.sum():,} items with entries far out, cut; {(~kept).sum():,} comparisons left out, "
            "an item of which is out of all proportion",
            np.nan,
            np.nan,
        )
    return SeenInputs(data.take(kept), items, of_prompts, trace)


def _of_prompts(prompts: Array) -> Inputs:
    """Of prompts, on which no comparison is decided alone: what stands out is shrunk, or units made alike."""
    sizes = Sizes.around(np.asarray(prompts[:: -(-len(prompts) // SAMPLE)], dtype=np.float64))
    name, scale = next(iter(scalings(sizes).items()))
    return sizes.inputs(scale, move=name != AS_THEY_COME)


def _garbled(items: Array) -> Bool:
    """Which items (M, d), cut, are still so long that all of them must be a mistake: (M,)."""
    square: Float = np.square(items - np.median(items[:: -(-len(items) // SAMPLE)], axis=0)).sum(axis=1)
    return np.asarray(square > GARBLED**2 * np.median(square))


def _choose(data: Comparisons, sizes: Sizes, found: dict[str, Float], run: FitOptions, trace: Trace) -> str:
    """The scaling under which one reward for all users predicts held-out items best; the first unless clearly."""
    nats: dict[str, list[Float]] = {name: [np.zeros(0)] for name in found}
    most = min(CHOOSE_ROWS, CHOOSE_VALUES // data.dim)
    for inner, outer in inner_parts(data, FitPlan(decays=(POOLED_DECAY,)), run):
        train, valid = _some(inner, most), _some(outer, CHOOSE_ROWS)
        for name, scale in found.items():
            tried = sizes.inputs(scale)
            if data.dim > WIDE:
                tried = principal(train, tried, quick=True)
            nats[name].append(pooled_rows(applied(train, tried), applied(valid, tried), run))
    rows = {name: np.concatenate(value) for name, value in nats.items()}
    first = best = next(iter(found))
    for name, value in rows.items():
        trace.add(f"inputs {name}", POOLED_DECAY, np.nan, float(value.mean()) if len(value) else np.nan)
        less = rows[first] - value
        if len(value) and value.sum() < rows[best].sum() and less.mean() > less.std() / len(less) ** 0.5:
            best = name
    return best


def _count(data: Comparisons, run: FitOptions, trace: Trace) -> int:
    """How many principal directions held-out items want of comparisons in all of them."""
    parts = inner_parts(data, FitPlan(decays=(POOLED_DECAY,)), run)
    if not parts:
        return data.dim
    nats = nats_by_count(*(part.compact_items() for part in parts[0]))
    for count, value in nats.items():
        trace.add(f"inputs: {count} {COUNTED}", POOLED_DECAY, np.nan, float(value.mean()))
    return enough(nats)


def applied(data: Comparisons, inputs: Inputs) -> Comparisons:
    """The comparisons with their items as a fit sees them, and no other items."""
    return data.compact_items(lambda used: inputs.apply(data.items, used))


def _some(data: Comparisons, most: int) -> Comparisons:
    """An even sample of comparisons, with no other items than theirs."""
    key = uniform(combine(data.item_keys[data.first], data.item_keys[data.second]), 1)
    return data.take(np.sort(np.argsort(key, kind="stable")[:most])).compact_items()
