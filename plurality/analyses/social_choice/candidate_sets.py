"""Rows of candidates in the sets they are chosen from, one set a user and prompt, and labels as integers."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from plurality.analyses.inference.bootstrap import Floats
from plurality.analyses.levels import labels as as_labels
from plurality.analyses.levels import levels_of
from plurality.arrays import floats
from plurality.errors import InputError

Codes = NDArray[np.intp]


def coded(labels: ArrayLike | pl.Series, name: str) -> tuple[tuple[str, ...], Codes]:
    """Distinct labels (G,) in ascending order, as text, and the place of each of the labels (n,) among them.

    Labels of a polars Enum stand in its order. A missing label raises InputError: give the missing a level of their
    own.
    """
    if isinstance(labels, pl.Series) and labels.dtype == pl.Enum and not labels.null_count():
        return levels_of(labels)
    values = as_labels(labels, name)
    if values.ndim != 1:
        raise InputError(f"{name}: shape {values.shape}; give one label a row")
    missing = np.zeros(len(values), bool)
    if values.dtype.kind in "fO":
        missing = (values != values) | np.equal(values, np.array(None, dtype=object))
    if missing.any():
        raise InputError(f"{name}: row {missing.argmax()} has no label; give every row one, such as '(missing)'")
    text = np.array([str(value) for value in values], dtype=object) if values.dtype.kind == "O" else values
    distinct, code = np.unique(text, return_inverse=True)
    return tuple(str(name) for name in distinct.tolist()), code


@dataclass(frozen=True)
class CandidateSets:
    """Candidates (n,) of S sets: reward, weight, set (`code`) and user of each row.

    `order` (n,) lists rows set by set in ascending reward; set s is order[start[s] : start[s] + size[s]].
    """

    reward: Floats
    weight: Floats
    code: Codes
    user: Codes
    users: tuple[str, ...]
    order: Codes
    start: Codes
    size: Codes

    @classmethod
    def of(cls, reward: ArrayLike, user: ArrayLike, prompt: ArrayLike | None, weights: ArrayLike | None = None) -> Self:
        """Checked rows (n,); without prompts all rows of a user are one set. InputError names the first bad row."""
        r = floats(reward)
        w = np.ones(len(r)) if weights is None else floats(weights)
        users, person = coded(user, "user")
        _, task = coded(np.zeros(len(person), int) if prompt is None else prompt, "prompt")
        if r.ndim != 1 or not len(r) == len(person) == len(task) == len(w):
            raise InputError(
                f"lengths differ: {len(r)} rewards, {len(person)} users, {len(task)} prompts, {len(w)} weights; "
                "give one of each a candidate"
            )
        for name, values, good in (("reward", r, np.isfinite(r)), ("weights", w, np.isfinite(w) & (w >= 0))):
            if not good.all():
                raise InputError(f"{name}: row {good.argmin()} is {values[good.argmin()]}; give finite numbers")
        _, which = np.unique(person * (task.max(initial=0) + 1) + task, return_inverse=True)
        order = np.lexsort((r, which))
        start = np.flatnonzero(np.diff(which[order], prepend=-1))
        return cls(r, w, which, person, users, order, start, np.diff(np.append(start, len(r))))

    @property
    def mass(self) -> Floats:
        """How many candidates each set holds (S,)."""
        return np.bincount(self.code, self.weight, minlength=len(self.start)).astype(float)

    @property
    def least(self) -> Floats:
        """Least reward in each set (S,)."""
        return self.reward[self.order[self.start]]

    @property
    def greatest(self) -> Floats:
        """Greatest reward in each set (S,)."""
        return self.reward[self.order[self.start + self.size - 1]]

    @property
    def owner(self) -> Codes:
        """The user of each set (S,)."""
        return self.user[self.order[self.start]]

    def per_user(self, values: ArrayLike, name: str) -> NDArray[np.generic]:
        """One value a user (U,) from values (n,) that are the same in all rows of a user, else InputError."""
        given = as_labels(values, name)
        if given.shape != self.user.shape:
            raise InputError(f"{name}: shape {given.shape} for {len(self.user)} rows; give one a row")
        missing = given != given
        if missing.any():
            raise InputError(f"{name}: row {missing.argmax()} is missing (first row is 0); give every row one")
        first = np.empty(len(self.users), given.dtype)
        first[self.user[::-1]] = given[::-1]
        apart = given != first[self.user]
        if apart.any():
            raise InputError(
                f"{name}: row {apart.argmax()} differs from others of user {self.users[self.user[apart.argmax()]]!r}; "
                "give a user the same in all rows"
            )
        return first


def reference_table(reference: ArrayLike, sets: CandidateSets) -> Floats:
    """Rewards of reference responses (n, M) by row, NaN where a row has fewer than M but never all."""
    table = floats(reference)
    table = table[:, None] if table.ndim == 1 else table
    if table.ndim != 2 or len(table) != len(sets.reward):
        raise InputError(f"reference: shape {table.shape} for {len(sets.reward)} candidates; give rewards (n, M)")
    bad = np.isinf(table).any(axis=1) | np.isnan(table).all(axis=1)
    if bad.any():
        raise InputError(f"reference: row {bad.argmax()} has no finite reward; give at least one a candidate")
    return table
