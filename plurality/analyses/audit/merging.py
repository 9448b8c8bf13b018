"""Withheld levels as one group, for those parts of an audit that need a level of everybody."""

from collections.abc import Collection

import numpy as np
import polars as pl

from plurality.analyses.audit.slices import SHOWN, Slices, State
from plurality.analyses.levels import with_levels

WITHHELD = "(withheld groups together)"


def merged(attributes: pl.DataFrame, groups: Slices, state: State) -> pl.DataFrame:
    """The attributes, a row a user, in which the withheld levels of each are one level WITHHELD.

    A number that is made of the merged levels and of those shown tells nothing of a withheld one: the merged level is
    what is left of everybody.

    attributes    levels of each user
    groups        slices of these users
    state         (S,) which are withheld
    """
    hidden: dict[str, list[str]] = {name: [] for name in attributes.columns}
    for s in np.flatnonzero((state != SHOWN) & (groups.order == 1)):
        hidden[groups.attribute[s]].append(groups.level[s])
    together = []
    for name, levels in hidden.items():
        column = with_levels(attributes[name], [WITHHELD])
        few = column.cast(pl.String).is_in(levels)
        one = pl.when(few).then(pl.lit(WITHHELD, column.dtype)).otherwise(column)
        together.append(pl.select(one.alias(name)).to_series())
    return pl.DataFrame(together) if together else attributes


def small_cells(merged: pl.DataFrame, names: Collection[str], groups: Slices, state: State, least: int) -> bool:
    """Whether crossing some attributes leaves a cell of fewer than `least` users, or one that is withheld.

    Weights that are raked to several margins are constant in these cells, so that a weighted mean is an equation
    between them which no table of slices has. Cells of a merged level are no further secret.

    merged    attributes of each user, withheld levels as one
    names     the attributes that are crossed
    groups    slices of these users
    state     (S,) which are withheld
    least     users that a cell needs
    """
    if len(names) < 2:
        return False
    if (merged.group_by(*names).len()["len"] < least).any():
        return True
    inside = [s for s in np.flatnonzero(state != SHOWN) if groups.order[s] > 1 and set(groups.crossed[s]) <= set(names)]
    people = [(int(groups.users(int(s))[0]), groups.crossed[s]) for s in inside]
    return any(WITHHELD not in merged.select(crossed).row(person) for person, crossed in people)
