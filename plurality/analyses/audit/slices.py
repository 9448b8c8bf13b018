"""Which users make up a slice, and how many of them it needs to be shown.

Users are counted, never rows: a hundred comparisons by two people are two people.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy import sparse

from plurality.analyses.levels import levels_of
from plurality.deprecation import renamed
from plurality.errors import InputError

OVERALL = ("(overall)", "(all users)")
MOST_WAYS = 3
CROSS = " × "  # between two attributes, and between their levels
SHOWN, TOO_FEW, COMPLEMENT = 0, 1, 2
LEFT_OUT = 3  # not asked for: no row tells of it, and what is withheld beside it is withheld all the same
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
            cells, code = _rows(np.stack([code_of[(name,)] for name in crossed], 1))
            found = [crossed_name([levels[s] for s in cell]) for cell in cells]
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


def left_out(groups: Slices, state: State, names: Collection[str]) -> State:
    """The state (S,) in which slices of the levels `names`, alone or crossed, are LEFT_OUT.

    groups    slices of users
    state     (S,) which are withheld
    names     levels that are not to be told of, such as that of missing answers
    """
    single = {s for s in np.flatnonzero(groups.order == 1).tolist() if groups.level[s] in names}
    member = {s: set(groups.users(s).tolist()) for s in single}
    told = state.copy()
    for s in range(1, len(groups.level)):
        here = set(groups.users(s).tolist())
        if any(groups.attribute[k] in groups.crossed[s] and here <= member[k] for k in single):
            told[s] = LEFT_OUT
    return told


def crossed_name(levels: Sequence[str]) -> str:
    """The name of a combination of levels; one that holds the sign between them stands in quotes, so that names differ.

    levels    names, at least one
    """
    return CROSS.join(f"“{level}”" if CROSS in level and len(levels) > 1 else level for level in levels)


def sums_by_name(attribute: Sequence[str], level: Sequence[str]) -> tuple[tuple[int, tuple[int, ...]], ...]:
    """Which slices add up to which, as (whole, parts), by what they are called: all that a reader of tables knows.

    attribute    (S,) names of the slices, everybody among them
    level        (S,) levels
    """
    place = {pair: s for s, pair in enumerate(zip(attribute, level, strict=True))}
    of: dict[str, list[str]] = {}
    for name, one in place:
        of.setdefault(name, []).append(one)
    parts: dict[int, dict[str, list[int]]] = {}
    for name in (n for n in of if n != OVERALL[0]):
        crossed = name.split(CROSS)
        for cell in product(*(of.get(single, []) for single in crossed)):
            if (name, crossed_name(cell)) not in place:
                continue
            s = place[name, crossed_name(cell)]
            for k in range(len(crossed)):
                rest = cell[:k] + cell[k + 1 :]
                whole = (CROSS.join(crossed[:k] + crossed[k + 1 :]), crossed_name(rest)) if rest else OVERALL
                if whole in place:
                    parts.setdefault(place[whole], {}).setdefault(name, []).append(s)
    return tuple((whole, tuple(listed)) for whole, by in parts.items() for listed in by.values())


def _sums(whole: Ints, part: Ints) -> list[tuple[int, tuple[int, ...]]]:
    """Which parts each whole is made of, from the two slices of every user."""
    edges, _ = _rows(np.stack([whole, part], 1))
    wholes, start = np.unique(edges[:, 0], return_index=True)
    return [(int(w), tuple(parts.tolist())) for w, parts in zip(wholes, np.split(edges[:, 1], start[1:]), strict=True)]


def _rows(table: Ints) -> tuple[Ints, Ints]:
    """The different rows of a table (n, k) of numbers from 0, in order, and which of them each row is: (n,)."""
    size = int(table.max(initial=0)) + 1  # one number for a row: slices are thousands, and columns three at most
    one = table @ (size ** np.arange(table.shape[1])[::-1])
    _, first, place = np.unique(one, return_index=True, return_inverse=True)
    return table[first], place


def _membership(columns: list[Ints], n_users: int, n_slices: int) -> sparse.csc_array:
    rows = np.tile(np.arange(n_users), len(columns))
    entries = (np.ones(len(rows), np.int8), (rows, np.concatenate(columns)))
    matrix = sparse.coo_array(entries, shape=(n_users, n_slices)).tocsc()
    matrix.sort_indices()
    return matrix
