"""Which users make up a slice, and which slices are too small to show.

Users are counted, never rows: a hundred comparisons by two people are two people.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog
from scipy.sparse.linalg import lsqr

from plurality.analyses.levels import levels_of
from plurality.deprecation import renamed
from plurality.errors import InputError

OVERALL = ("(overall)", "(all users)")
MOST_WAYS = 3
CROSS = " × "  # between two attributes, and between their levels
_TRIES = 12  # random directions in which other numbers are sought for all withheld slices at once
Ints = NDArray[np.int64]
State = NDArray[np.int8]


@renamed(publish="min_users_flag", suppress="min_users_show")
@dataclass(frozen=True)
class Disclosure:
    """How many users a slice needs.

    min_users_flag   users below which the numbers of a slice are shown with a flag; 20, as few users say little
    min_users_show   users below which they are withheld; 11, so that no number tells of ten people or fewer
    complementary    withhold further slices until no withheld one can be computed by subtraction; on by default

    Raises InputError unless 0 <= min_users_show <= min_users_flag.
    """

    min_users_flag: int = 20
    min_users_show: int = 11
    complementary: bool = True

    def __post_init__(self) -> None:
        if not 0 <= self.min_users_show <= self.min_users_flag:
            raise InputError(
                f"disclosure: min_users_show {self.min_users_show}, min_users_flag {self.min_users_flag}; "
                "need 0 <= min_users_show <= min_users_flag"
            )


DISCLOSURE = Disclosure()


@dataclass(frozen=True)
class Slices:
    """S slices of U users: names (S,), counts of users (S,), and who is in which.

    `membership` (U, S) is sparse. Slice 0 is everybody. `sums` lists, as (whole, parts), which slices add up
    to which; `crossed` the attributes that each is a combination of levels of.
    """

    attribute: tuple[str, ...]
    level: tuple[str, ...]
    crossed: tuple[tuple[str, ...], ...]
    order: NDArray[np.int64]  # number of attributes crossed: 0 overall, 1, 2, 3
    membership: sparse.csc_array
    sums: tuple[tuple[int, tuple[int, ...]], ...]

    @property
    def n_users(self) -> Ints:
        return np.diff(self.membership.indptr).astype(np.int64)

    def users(self, slice_index: int) -> NDArray[np.int32]:
        """Rows of the users in one slice, ascending."""
        start, end = self.membership.indptr[slice_index : slice_index + 2]
        return self.membership.indices[start:end]


def slices(attributes: pl.DataFrame, n_users: int, ways: int = 2) -> Slices:
    """Everybody, every level of every attribute, and the occurring combinations of levels of up to `ways` attributes.

    `attributes` holds a column of levels each, text or an Enum, and a row for each user. Levels stand in the order of
    `levels_of`.
    """
    if not 1 <= ways <= MOST_WAYS:
        raise InputError(f"slices: {ways} attributes to cross; give 1 to {MOST_WAYS}")
    names, levels, combined = [OVERALL[0]], [OVERALL[1]], [tuple[str, ...]()]
    columns, sums = [np.zeros(n_users, np.int64)], []
    code_of: dict[tuple[str, ...], Ints] = {
        (): columns[0]
    }  # the slice of each user, by the attributes that are crossed
    for crossed in (c for k in range(1, ways + 1) for c in combinations(attributes.columns, k)):
        first = len(names)
        if len(crossed) == 1:
            names_of, code = levels_of(attributes[crossed[0]])
            found = list(names_of)
        else:
            singles = np.stack([code_of[(name,)] for name in crossed], 1)
            cells, code = np.unique(singles, axis=0, return_inverse=True)
            found = [CROSS.join(levels[s] for s in cell) for cell in cells]
        code_of[crossed] = first + code.ravel()
        for left_out in range(len(crossed)):  # cells add up to the slice without one of the attributes
            whole = code_of[crossed[:left_out] + crossed[left_out + 1 :]]
            sums += _sums(whole, code_of[crossed])
        names += [CROSS.join(crossed)] * len(found)
        levels += found
        combined += [crossed] * len(found)
        columns.append(code_of[crossed])
    order, member = np.array([len(crossed) for crossed in combined]), _membership(columns, n_users, len(names))
    return Slices(tuple(names), tuple(levels), tuple(combined), order, member, tuple(sums))


def _sums(whole: Ints, part: Ints) -> list[tuple[int, tuple[int, ...]]]:
    """Which parts each whole is made of, from the two slices of every user."""
    edges = np.unique(np.stack([whole, part], 1), axis=0)
    wholes, start = np.unique(edges[:, 0], return_index=True)
    return [(int(w), tuple(parts.tolist())) for w, parts in zip(wholes, np.split(edges[:, 1], start[1:]), strict=True)]


def _membership(columns: list[Ints], n_users: int, n_slices: int) -> sparse.csc_array:
    rows = np.tile(np.arange(n_users), len(columns))
    entries = (np.ones(len(rows), np.int8), (rows, np.concatenate(columns)))
    matrix = sparse.coo_array(entries, shape=(n_users, n_slices)).tocsc()
    matrix.sort_indices()
    return matrix


SHOWN, TOO_FEW, COMPLEMENT = 0, 1, 2


def withheld(groups: Slices, disclosure: Disclosure, also: NDArray[np.bool_] | None = None) -> State:
    """Per slice (S,): SHOWN, TOO_FEW (below `min_users_show` users) or COMPLEMENT (its number would give another
    away).

    Everybody together is never withheld. Three rules hold on return: in every sum whose whole is shown, the
    withheld parts are none, or at least two with `min_users_show` users among them; no withheld slice is a
    linear combination of shown ones; and the number of users of a small one could be another. What an attacker
    may know from elsewhere is beyond all three.

    also    (S,) slices to withhold in any case
    """
    n = groups.n_users
    few = n < disclosure.min_users_show if also is None else (n < disclosure.min_users_show) | also
    state = np.where(few, TOO_FEW, SHOWN).astype(np.int8)
    state[0] = SHOWN
    return _closed(groups, state, n[:, None], disclosure, first=1)


def withheld_bins(groups: Slices, state: State, people: Ints, disclosure: Disclosure) -> State:
    """Per slice (S,): whether its comparisons are shown by bins of confidence, all of its bins or none.

    Beside the slices withheld already, those of which some bin holds fewer than `min_users_show` users; then the
    rules of `withheld` hold in every bin. Since a slice hides all of its bins, moving withheld mass from one bin to
    another changes neither totals of slices nor shown cells, so no total gives a cell away. Everybody together is
    withheld too where needed.

    state     (S,) of the slices themselves
    people    (S, B) users of each slice with comparisons in each bin
    """
    thin = ((people > 0) & (people < disclosure.min_users_show)).any(axis=1)
    return _closed(groups, np.where((state == SHOWN) & thin, TOO_FEW, state), people, disclosure, first=0)


def _closed(groups: Slices, state: State, n: Ints, disclosure: Disclosure, first: int) -> State:
    """The state (S,) after complements for users n (S, K) in each of K parallel tables; slices before `first` stay."""
    while disclosure.complementary:
        added = _close_sums(groups, state, n, disclosure.min_users_show, first)
        added |= _hide_determined(groups, state, n.sum(axis=1), first)
        added = added or any(_hide_pinned(groups, state, people, disclosure.min_users_show, first) for people in n.T)
        if not added:
            break
    return state


def _close_sums(groups: Slices, state: State, n: Ints, least: int, first: int) -> bool:
    """Withhold the smallest shown parts until every sum keeps its withheld parts secret; whether any was
    added.

    The withheld parts of a shown whole are known together, and less of them where parts of theirs are shown.
    """
    below: dict[int, list[int]] = {}
    for whole, parts in groups.sums:
        below.setdefault(whole, []).extend(parts)
    added, changed = False, True
    while changed:
        changed = False
        known = _known_together(groups, state, n)
        for whole, parts in groups.sums:
            index = np.array(parts)
            hidden = index[state[index] != SHOWN]
            shown = index[state[index] == SHOWN]
            if state[whole] == SHOWN:
                together = known[hidden].sum(axis=0)
                safe = len(hidden) == 0 or (len(hidden) > 1 and bool(((together == 0) | (together >= least)).all()))
            else:
                safe = len(hidden) > 0
            if safe:
                continue
            if state[whole] == SHOWN and len(hidden) > 1:
                inside = np.array([s for h in hidden.tolist() for s in below.get(h, ()) if state[s] == SHOWN], int)
                shown = np.concatenate([shown, inside])
            if len(shown):
                state[shown[np.argmin(n[shown].sum(axis=1))]] = COMPLEMENT
            elif len(hidden) == 1 and whole >= first:  # the only part: the whole is the same people
                state[whole] = COMPLEMENT
            else:
                continue
            added = changed = True
    return added


def _known_together(groups: Slices, state: State, n: Ints) -> Ints:
    """Of each withheld slice, the fewest users (S, K) that are left once shown parts, and theirs, are taken out."""
    left = n.copy()
    for whole, parts in sorted(groups.sums, key=lambda part: -groups.order[part[0]]):
        if state[whole] != SHOWN:
            index = np.array(parts)
            rest = left[index[state[index] != SHOWN]].sum(axis=0)
            left[whole] = np.minimum(left[whole], rest)
    return left


def _hide_determined(groups: Slices, state: State, n: Ints, first: int) -> bool:
    """Withhold the smallest slice that helps to determine a withheld one; whether one was added."""
    exposed = determined(groups, state)
    if not len(exposed):
        return False
    hidden, system = state != SHOWN, _system(groups)
    for index in exposed:
        target = (np.flatnonzero(hidden) == index).astype(float)
        # the sums that combine to this slice, and the shown slices that then enter
        combined = lsqr(system[:, hidden].T.tocsr(), target, atol=1e-13, btol=1e-13, iter_lim=_steps(hidden.sum()))[0]
        used = np.flatnonzero((np.abs(system.T @ combined) > 1e-6) & ~hidden)
        used = used[used >= first]
        if len(used):
            state[used[np.argmin(n[used])]] = COMPLEMENT
            return True
    return False


def _hide_pinned(groups: Slices, state: State, n: Ints, least: int, first: int) -> bool:
    """Withhold a shown slice near a small withheld one whose number of users could be no other; whether one was added.

    Where somebody is in each withheld slice, sums of shown ones may leave no choice: two people in two slices are one
    in each. Other numbers are sought by linear programs, n + δ ≥ 1 for δ in the null space of the sums.
    """
    hidden = np.flatnonzero((state != SHOWN) & (n > 0))
    small = n[hidden] < least
    if not small.any() or not groups.sums:
        return False
    system, rng = _system(groups)[:, hidden].tocsr(), np.random.default_rng(0)
    bounds = np.stack([1 - n[hidden], np.full(len(hidden), n.max())], axis=1)

    def move(aim: NDArray[np.float64]) -> NDArray[np.bool_]:
        found = linprog(aim, A_eq=system, b_eq=np.zeros(system.shape[0]), bounds=bounds, method="highs")
        return np.abs(found.x) > 0.5 if found.status == 0 else np.zeros(len(hidden), bool)

    moved = np.zeros(len(hidden), bool)
    for _ in range(_TRIES):
        moved |= move(rng.standard_normal(len(hidden)) * (small & ~moved))
    added = False
    for k in np.flatnonzero(small & ~moved).tolist():
        unit = np.eye(1, len(hidden), k)[0]
        moved |= move(unit) if not moved[k] else False
        moved |= move(-unit) if not moved[k] else False
        near = set() if moved[k] else {int(hidden[k])}
        while 0 < len(near) < len(state):
            near |= {s for whole, parts in groups.sums if near & {whole, *parts} for s in (whole, *parts)}
            shown = np.array([s for s in near if state[s] == SHOWN and s >= first], int)
            if len(shown):
                state[shown[np.argmin(n[shown])]] = COMPLEMENT
                added = True
                break
    return added


def determined(groups: Slices, state: State) -> NDArray[np.intp]:
    """Withheld slices whose totals follow from the shown ones by adding and subtracting, as indices.

    A total is free exactly when some vector of the null space of the sums moves it. A random vector less its
    projection on the row space lies in the null space, so a coordinate that vanishes is determined.
    """
    hidden = np.flatnonzero(state != SHOWN)
    if not len(hidden) or not groups.sums:
        return hidden[:0]
    system = _system(groups)[:, hidden].T.tocsr()
    probe = np.random.default_rng(0).standard_normal(len(hidden))
    projection = lsqr(system, probe, atol=1e-13, btol=1e-13, iter_lim=_steps(len(hidden)))[0]
    return hidden[np.abs(probe - system @ projection) < 1e-6]


def _system(groups: Slices) -> sparse.csc_array:
    """The sums as equations (sums, S): whole less parts is zero."""
    row = [row for row, (_, parts) in enumerate(groups.sums) for _ in range(1 + len(parts))]
    column = [s for whole, parts in groups.sums for s in (whole, *parts)]
    value = [sign for _, parts in groups.sums for sign in (1.0, *[-1.0] * len(parts))]
    return sparse.csc_array((value, (row, column)), shape=(len(groups.sums), len(groups.level)))


def _steps(unknowns: int) -> int:
    return 20 * int(unknowns) + 100
