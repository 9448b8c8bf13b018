"""What differences of opinion hang on: the item, the group, the person, or noise.

Plain functions on long rows: a value that a user gave an item. A user is never paired with a resampled copy of himself.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from plurality.analyses.agreement.agreement import (
    ZERO,
    Ints,
    bounds,
    codes_of,
    count_columns,
    incidence,
    numbers,
    weights_of_people,
)
from plurality.analyses.inference.bootstrap import Floats, per_user_sums
from plurality.arrays import floats
from plurality.deprecation import renamed
from plurality.errors import InputError


@dataclass(frozen=True)
class Icc:
    """Intraclass correlation ICC(1) with its interval over groups.

    value       share of variance between groups, at most 1, negative where groups differ less than by chance
    lo, hi      ends of the interval
    n_groups    groups with positive weight
    k0          rows of a group that stand for groups of unequal size
    """

    value: float
    lo: float
    hi: float
    n_groups: int
    k0: float


@renamed(draws="n_bootstrap")
def icc(
    value: ArrayLike,
    group: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Icc:
    """Share of variance between groups (a person's rows, say), ICC(1) = (MSB − MSW)/(MSB + (k0 − 1)·MSW).

    k0 = (N − Σn_g²/N)/(a − 1) for a groups of unequal size. A row (n,) of weight 3 is three rows. The interval
    resamples groups. It may be negative; NaN without variation, two groups, or a group of two. Shrout & Fleiss (1979).

    value          (n,) what was measured, in any unit
    group          (n,) label of each row's group, such as a person
    weights        (n,) non-negative frequencies; equal by default
    n_bootstrap    resamples of groups behind the interval; 0 gives none
    seed           makes the result the same again
    level          coverage of the interval, in (0, 1)
    """
    y = numbers(value)
    (code,) = codes_of(len(y), (("group", group),))
    w = np.ones(len(y)) if weights is None else floats(weights)
    if w.shape != y.shape or not (np.isfinite(w) & (w >= 0)).all():
        raise InputError(f"weights: shape {w.shape} for {len(y)} rows; give finite weights >= 0, one a row")
    held = w > 0
    y, w = y[held], w[held]
    (code,) = codes_of(len(y), (("group", code[held]),))
    y = y - y.mean() if len(y) else y
    sums, n = per_user_sums(code, np.stack([y, y**2], axis=1), w)
    if len(n) < 2:
        return Icc(float("nan"), float("nan"), float("nan"), len(n), float("nan"))
    s, q = sums.T
    table = np.stack([n, n**2, s, s**2 / n, q], axis=1)
    columns = count_columns(len(n), len(n), n_bootstrap, seed)
    total, squares, s, means, q = np.concatenate([table.T @ counts for counts in columns], axis=1)
    a = float(len(n))
    between = (means - s**2 / total) / (a - 1)
    within = np.where(total > a, q - means, np.nan) / np.maximum(total - a, ZERO)
    k0 = (total - squares / total) / (a - 1)
    spread = between + (k0 - 1) * within
    varied = spread > ZERO * np.abs(y).max() ** 2
    found = np.where(varied, between - within, np.nan) / np.where(varied, spread, np.nan)
    lo, hi = bounds(found, level, len(n))
    return Icc(float(found[0]), float(lo), float(hi), len(n), float(k0[0]))


PARTS = ("item", "item × group", "item × user", "noise")


@dataclass(frozen=True)
class VarianceShares:
    """Shares of variance by their source, (4,) each in the order of PARTS: item, item × group, item × user, noise.

    total       variance that is divided up, in the unit of the values squared
    share       parts over total; they may be negative
    lo, hi      ends of their intervals over users
    n_items     items with a pair of users of either kind, which alone are used
    n_users     users in the data
    repeated    whether anybody saw an item twice: if not, noise is NaN and part of item × user
    """

    total: float
    share: Floats
    lo: Floats
    hi: Floats
    n_items: int
    n_users: int
    repeated: bool


@renamed(draws="n_bootstrap")
def variance_shares(
    value: ArrayLike,
    item: ArrayLike,
    user: ArrayLike,
    group: ArrayLike | None = None,
    *,
    centre: float | None = None,
    weights: ArrayLike | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> VarianceShares:
    """Shares of σ²_item, σ²_item×group, σ²_item×user and noise in values (n,) that users gave items, by moments.

    Products of two users' values of an item average σ²_item across groups and σ²_item + σ²_item×group within one; the
    total adds item × user and noise. For comparisons give `centre`, the value of indifference (.5 of labels, 0 of
    gaps): main effects of people cancel, and turning an item round changes nothing. For utilities leave it None: main
    effects of groups and users are subtracted, as the same products over different items. Items count by their rows
    and need a pair of users of either kind. Without `group` item × group is 0, and any pair of users will do. Design
    may be unbalanced; shares may be negative; a constant gives NaN.
    With weights w of people, products of two count w_i w_j, and rows w_i in means and as an item's rows.
    The interval resamples users within groups, so it holds for these items, and groups of these sizes. Raises
    InputError on a user of two groups.

    value          (n,) what was measured, in any unit
    item           (n,) label of each row's item
    user           (n,) label of each row's user
    group          (n,) label of the user's group, one a user; without groups by default
    centre         value of indifference of comparisons, such as .5; by default None, for utilities
    weights        (n,) weight >= 0 of the row's user, the same in all rows of a user; equal by default
    n_bootstrap    resamples of users behind the intervals; 0 gives none
    seed           makes the result the same again
    level          coverage of the interval, in (0, 1)
    """
    y = numbers(value) - (0.0 if centre is None else centre)
    one = np.zeros(len(y), np.intp) if group is None else group
    items, users, groups = codes_of(len(y), (("item", item), ("user", user), ("group", one)))
    if not len(y):
        nan = np.full(4, np.nan)
        return VarianceShares(float("nan"), nan, nan, nan, 0, 0, False)
    n_users, own = int(users.max()) + 1, weights_of_people(weights, users)
    of_user = np.zeros(n_users, np.intp)
    of_user[users] = groups
    torn = np.flatnonzero(of_user[users] != groups)
    if len(torn):
        raise InputError(f"group: the user of row {torn[0]} also has another; give each user one group")
    y = y - y.mean() if centre is None else y
    scale = np.abs(y).max() ** 2
    cells, cell = np.unique(items * n_users + users, return_inverse=True)
    sums, n = per_user_sums(cell, np.stack([y, y**2], axis=1))
    at = cells % n_users
    held = n, sums[:, 0], sums[:, 1]
    design = _Design.of(cells // n_users, at, of_user[at], held, centre is None, group is not None)
    columns = count_columns(n_users, len(cells), n_bootstrap, seed, of_user)
    found = np.concatenate([design.parts(c * own) for c in columns], axis=1)
    total = found[:3].sum(axis=0) + np.nan_to_num(found[3])  # NaN where one of the three cannot be told
    share = found / np.where(total > ZERO * scale, total, np.nan)
    lo, hi = bounds(share.T, level, n_users - int(groups.max()))  # a mean a group leaves as many free
    used = int(design.usable(own).sum())
    return VarianceShares(float(total[0]), share[:, 0], lo, hi, used, n_users, bool((n > 1).any()))


@dataclass(frozen=True)
class _Design:
    """Rows summed by cell, an item as seen by a user: their number n, sum s and sum of squares q, (cells,) each."""

    n: Floats
    s: Floats
    q: Floats
    user: Ints
    by_item: sparse.csr_array
    by_user: sparse.csr_array
    by_group: sparse.csr_array
    by_pair: sparse.csr_array  # a pair is an item and a group
    pair_item: sparse.csr_array
    pair_group: sparse.csr_array
    main_effects: bool
    grouped: bool

    @staticmethod
    def of(
        item: Ints,
        user: Ints,
        group: Ints,
        sums: tuple[Floats, Floats, Floats],
        main_effects: bool,
        grouped: bool = True,
    ) -> "_Design":
        groups = int(group.max()) + 1
        pairs, pair = np.unique(item * groups + group, return_inverse=True)
        return _Design(
            n=sums[0],
            s=sums[1],
            q=sums[2],
            user=user,
            by_item=incidence(item),
            by_user=incidence(user),
            by_group=incidence(group),
            by_pair=incidence(pair),
            pair_item=incidence(pairs // groups),
            pair_group=incidence(pairs % groups),
            main_effects=main_effects,
            grouped=grouped,
        )

    def usable(self, counts: Floats) -> NDArray[np.bool_]:
        """Items (I, B) with two users of one group and users of two groups, under counts (U, B)."""
        held = self.by_pair @ (counts[self.user] > 0)
        twice: NDArray[np.bool_] = self.pair_item @ (held > 1) > 0
        return twice & (self.pair_item @ (held > 0) > 1) if self.grouped else twice

    def parts(self, counts: Floats) -> Floats:
        """Variances (4, B) of PARTS under counts (U, B) of users; NaN where a kind of pair is lacking."""
        keep = self.by_item.T @ self.usable(counts).astype(float)
        count = counts[self.user] * keep
        n, s, q = (np.broadcast_to(x[:, None], count.shape) for x in (self.n, self.s, self.q))
        if self.main_effects:  # a group's mean is taken out, or it would enter the two kinds of products unequally
            size = self.by_group @ (count * n)
            shift = self.by_group.T @ ((self.by_group @ (count * s)) / np.where(size > 0, size, 1.0))
            s, q = s - n * shift, q - 2 * shift * s + n * shift**2
        (same, cross, *mains), (same_n, cross_n, *main_ns) = (self._products(counts, count, keep * x) for x in (s, n))
        weight = self.by_item @ (count * n)
        rows = weight.sum(axis=0)
        within, across, total = (
            _over(x, rows)
            for x in (
                (weight * same / np.where(same_n > 0, same_n, 1)).sum(axis=0),
                (weight * cross / np.where(cross_n > 0, cross_n, 1)).sum(axis=0),
                (count * q).sum(axis=0),
            )
        )
        if self.main_effects:
            by_group, by_cross, by_self = (_over(x, x_n) for x, x_n in zip(mains, main_ns, strict=True))
            within, across, total = within - by_group, across - by_cross, total - by_self
        across = across if self.grouped else within
        spare = (count * (n - 1)).sum(axis=0)
        noise = _over((count * (q - s**2 / n)).sum(axis=0), spare)
        return np.stack([across, within - across, total - within - np.where(spare > 0, noise, 0.0), noise])

    def _products(self, counts: Floats, count: Floats, x: Floats) -> tuple[Floats, ...]:
        """Sums of products of x: by item, within groups and across, (I, B); over different items, (B,), within groups,
        across, and of one user.
        """
        held = self.by_pair @ (count * x)
        same = self.pair_item @ (held**2 - self.by_pair @ (count * x) ** 2)
        cross = (self.pair_item @ held) ** 2 - self.pair_item @ held**2
        group, own = self.pair_group @ held, self.by_user @ x
        squares = (group**2).sum(axis=0)
        return (
            same,
            cross,
            squares - (counts**2 * own**2).sum(axis=0) - same.sum(axis=0),
            group.sum(axis=0) ** 2 - squares - cross.sum(axis=0),
            (counts * (own**2 - self.by_user @ x**2)).sum(axis=0),
        )


def _over(top: Floats, bottom: Floats) -> Floats:
    return top / np.where(bottom > ZERO, bottom, np.nan)
