"""Which slices are withheld: those of few users, and more until no withheld one can be worked out of what is shown."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog
from scipy.sparse.linalg import lsqr

from plurality.analyses.audit.slices import COMPLEMENT, SHOWN, TOO_FEW, Disclosure, Ints, Slices, State

_SOME = 1e-6  # of a change, beyond which it is one: programs are solved to 1e-7


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
    return closed(sums_of(groups), state, n[:, None], disclosure, first=1)


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
    return closed(sums_of(groups), np.where((state == SHOWN) & thin, TOO_FEW, state), people, disclosure, first=0)


def closed(sums: "Sums", state: State, n: Ints, disclosure: Disclosure, first: int) -> State:
    """The state (S,) after complements, in place.

    sums          of the slices
    state         (S,) which are withheld
    n             (S, K) users in each of K parallel tables
    disclosure    how many users a slice needs
    first         slices before it stay as they are
    """
    least, free = disclosure.min_users_show, np.zeros(n.shape, bool)
    while disclosure.complementary and len(sums.whole):
        added = _close_sums(sums, state, n, least, first)
        added |= _hide_determined(sums, state, n.sum(axis=1), first)
        if not added:  # of every table, since what one withholds serves the next
            for table in range(n.shape[1]):
                added |= _hide_pinned(sums, state, n[:, table], least, first, free[:, table])
        if not added:
            break
    return state


@dataclass(frozen=True, eq=False)
class Sums:
    """E sums of S slices as arrays.

    whole     (E,) the slice that is made of others
    order     (E,) attributes crossed in it
    parts     (E, S) 1 for the slices that it is made of
    system    (E, S) whole less parts, which is zero
    below     of each whole, all parts in any sum of it
    """

    whole: Ints
    order: Ints
    parts: sparse.csr_array
    system: sparse.csr_array
    below: dict[int, list[int]]

    def parts_of(self, row: int) -> Ints:
        """The slices that one sum is made of."""
        return self.parts.indices[self.parts.indptr[row] : self.parts.indptr[row + 1]].astype(np.int64)


def sums_of(groups: Slices) -> Sums:
    """The sums of these slices.

    groups    slices of users
    """
    whole = np.array([w for w, _ in groups.sums], np.int64)
    sizes = [len(parts) for _, parts in groups.sums]
    part = np.array([s for _, parts in groups.sums for s in parts], np.int64)
    below: dict[int, list[int]] = {}
    for w, listed in groups.sums:
        below.setdefault(w, []).extend(listed)
    shape = len(sizes), len(groups.level)
    parts = sparse.csr_array((np.ones(len(part)), part, np.append(0, np.cumsum(sizes, dtype=np.int64))), shape=shape)
    wholes = sparse.csr_array((np.ones(len(whole)), (np.arange(len(whole)), whole)), shape=shape)
    return Sums(whole, groups.order[whole], parts, sparse.csr_array(wholes - parts), below)


def _close_sums(sums: Sums, state: State, n: Ints, least: int, first: int) -> bool:
    """Withhold the smallest shown parts until every sum keeps its withheld parts secret; whether any was
    added.

    The withheld parts of a shown whole are known together, and less of them where parts of theirs are shown.
    """
    added, changed = False, True
    while changed:
        changed = False
        known = _known_together(sums, state, n)
        for row in np.flatnonzero(_unsafe(sums, state, known, least)):
            whole, index = int(sums.whole[row]), sums.parts_of(int(row))
            hidden = index[state[index] != SHOWN]
            shown = index[state[index] == SHOWN]
            if state[whole] == SHOWN:  # asked again, since slices were withheld on the way
                together = known[hidden].sum(axis=0)
                safe = len(hidden) == 0 or (len(hidden) > 1 and bool(((together == 0) | (together >= least)).all()))
            else:
                safe = len(hidden) > 0
            if safe:
                continue
            if state[whole] == SHOWN and len(hidden) > 1:
                inside = [s for h in hidden.tolist() for s in sums.below.get(h, ()) if state[s] == SHOWN]
                shown = np.concatenate([shown, np.array(inside, np.int64)])
            if len(shown):
                state[shown[np.argmin(n[shown].sum(axis=1))]] = COMPLEMENT
            elif len(hidden) == 1 and whole >= first:  # the only part: the whole is the same people
                state[whole] = COMPLEMENT
            else:
                continue
            added = changed = True
    return added


def _unsafe(sums: Sums, state: State, known: Ints, least: int) -> NDArray[np.bool_]:
    """Which sums (E,) tell of withheld slices as they stand."""
    hidden = (state != SHOWN).astype(float)
    count, together = sums.parts @ hidden, sums.parts @ (known * hidden[:, None])
    told = (count == 1) | ((count > 1) & ((together > 0) & (together < least)).any(axis=1))
    return np.where(state[sums.whole] == SHOWN, told, count == 0)


def _known_together(sums: Sums, state: State, n: Ints) -> Ints:
    """Of each withheld slice, the fewest users (S, K) that are left once shown parts, and theirs, are taken out."""
    left, hidden = n.copy(), state != SHOWN
    for order in np.unique(sums.order)[::-1]:
        rows = np.flatnonzero((sums.order == order) & hidden[sums.whole])
        rest = sums.parts[rows] @ (left * hidden[:, None])
        np.minimum.at(left, sums.whole[rows], rest.astype(np.int64))
    return left


def _hide_determined(sums: Sums, state: State, n: Ints, first: int) -> bool:
    """Withhold shown slices that determine a withheld one, the first that there is; whether any were added."""
    for index in determined(sums, state):
        change = _cheapest(sums, state, n, int(index), first, np.full(len(n), -np.inf))
        if change is not None and (told := (np.abs(change) > _SOME) & (state == SHOWN)).any():
            state[told] = COMPLEMENT
            return True
    return False


def _cheapest(
    sums: Sums, state: State, n: Ints, index: int, first: int, lower: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Other numbers of slices, as changes δ (S,), by which a withheld one has one more or less; None without any.

    All sums hold. Of the shown slices that have to change, which are then to be withheld, there are few people: the
    linear program minimises Σ n |δ| over them. Slices before `first` keep their numbers, none changes
    below `lower`, and where nobody is nobody stays.
    """
    shown = np.flatnonzero((state == SHOWN) & (n > 0) & (np.arange(len(n)) >= first))
    hidden = np.flatnonzero((state != SHOWN) & (n > 0))
    moving = np.concatenate([hidden, shown])
    system = sparse.hstack([sums.system[:, moving], -sums.system[:, shown]]).tocsc()
    cost = np.concatenate([np.zeros(len(hidden)), n[shown], n[shown]])
    high = np.full(len(hidden) + 2 * len(shown), np.inf)
    high[len(moving) :] = -lower[shown]
    low = np.concatenate([lower[hidden], np.zeros(2 * len(shown))])
    best, change = np.inf, None
    for step in (1, -1):
        if step < lower[index]:
            continue
        bounds = np.stack([low, high], axis=1)
        bounds[np.flatnonzero(hidden == index)] = step  # hidden slices come first
        found = linprog(cost, A_eq=system, b_eq=np.zeros(len(sums.whole)), bounds=bounds, method="highs")
        if found.status == 0 and found.fun < best:
            best, change = found.fun, np.zeros(len(n))
            change[moving] = found.x[: len(moving)]
            change[shown] -= found.x[len(moving) :]
    return change


def _hide_pinned(sums: Sums, state: State, n: Ints, least: int, first: int, free: NDArray[np.bool_]) -> bool:
    """Withhold shown slices where a small withheld one could have no other number of users; whether any were added.

    Where somebody is in each withheld slice, sums of shown ones may leave no choice: two people in two slices are one
    in each. Other numbers are sought by linear programs, n + δ ≥ 1 for δ in the null space of the sums. What is `free`
    (S,) stays so, as a δ serves also when more is withheld: slices found to be are marked in it.
    """
    hidden = np.flatnonzero((state != SHOWN) & (n > 0))
    small = n[hidden] < least
    if (free[hidden] | ~small).all():
        return False
    system, rng = sums.system[:, hidden].tocsr(), np.random.default_rng(0)
    system = system[np.diff(system.indptr) > 0]
    bounds = np.stack([1 - n[hidden], np.full(len(hidden), n.max())], axis=1)

    def move(aim: NDArray[np.float64]) -> None:
        found = linprog(aim, A_eq=system, b_eq=np.zeros(system.shape[0]), bounds=bounds, method="highs")
        if found.status == 0:
            free[hidden[np.abs(found.x) > 0.5]] = True

    left, before = small & ~free[hidden], len(hidden) + 1
    while 1 < left.sum() < before:  # all together at random, as long as that frees any; one can only become more
        before, aim = left.sum(), rng.standard_normal(len(hidden)) * left
        move(np.where(n[hidden] == 1, -np.abs(aim), aim))
        left = small & ~free[hidden]
    added = False
    for k in np.flatnonzero(left).tolist():
        unit = np.eye(1, len(hidden), k)[0]
        for aim in (unit, -unit):
            if not free[hidden[k]]:
                move(aim)
        if not free[hidden[k]]:
            change = _cheapest(sums, state, n, int(hidden[k]), first, (1 - n).astype(np.float64))
            if change is not None:
                state[(np.abs(change) > _SOME) & (state == SHOWN)] = COMPLEMENT
                free[np.abs(change) > 0.5] = True
                added = True
    return added


def determined(sums: Sums, state: State) -> NDArray[np.intp]:
    """Withheld slices whose totals follow from the shown ones by adding and subtracting, as indices.

    A total is free exactly when some vector of the null space of the sums moves it. A random vector less its
    projection on the row space lies in the null space, so a coordinate that vanishes is determined.

    sums     of the slices
    state    (S,) which are withheld
    """
    hidden = np.flatnonzero(state != SHOWN)
    if not len(hidden) or not len(sums.whole):
        return hidden[:0]
    system = sums.system[:, hidden].T.tocsr()
    probe = np.random.default_rng(0).standard_normal(len(hidden))
    projection = lsqr(system, probe, atol=1e-13, btol=1e-13, iter_lim=_steps(len(hidden)))[0]
    return hidden[np.abs(probe - system @ projection) < 1e-6]


def _steps(unknowns: int) -> int:
    return 20 * int(unknowns) + 100
