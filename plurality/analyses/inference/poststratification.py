"""Estimates for a population from a sample that is unlike it: multilevel regression and post-stratification (MRP).

    wins_u ~ Binomial(n_u, σ(η_u)),  η_u = μ + Σ_f a_f[level of u] + Σ_fg a_fg[levels of u] + s_user z_u
    a = s·z,  z ~ N(0, 1),  s ~ N⁺(0, 1),  μ ~ N(0, 1.5²)
A cell of the population, all who share their attributes, has the mean θ = E σ(η + s_user z) over people z ~ N(0, 1),
not σ(η), which is too far from ½. Groups and the population are means of their cells by people: Σ N_j θ_j / Σ N_j.
Gelman & Little (1997); Park, Gelman & Bafumi (2004).
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit

from plurality.analyses.audit.slices import CROSS, OVERALL, crossed_name
from plurality.analyses.inference.bootstrap import Floats
from plurality.analyses.inference.laplace_draws import Multilevel, laplace_draws
from plurality.analyses.inference.nuts_draws import CHAINS, ESS, RHAT, nuts_draws
from plurality.arrays import floats
from plurality.errors import InputError, InputWarning

COUNT = "count"  # the column of people in the table of cells
PARETO_K, WORTH = 0.7, 400  # beyond and below which weighted draws are not to be relied on (Vehtari et al. 2024)
PRECISION = 1.5**-2  # of the prior of μ
NODES = 64  # exact to 1e-6 up to a standard deviation of 3 (in log-odds), to 4e-3 up to 10

Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Mrp:
    """Estimates of a population and its groups, of its cells, and whether the draws can be relied on.

    estimates      a row a group: attribute, level, n_users (with data), population, raw (mean over those users of
                   wins/n), estimate (posterior mean), lo, hi
    cells          the same, a row a cell
    user_sd        posterior mean of the standard deviation between users of a cell, in log-odds
    diagnostics    pareto_k and ess of importance sampling, or rhat_max, ess_min and divergences of NUTS; draws
    reliable       whether these are within bounds
    """

    estimates: pl.DataFrame
    cells: pl.DataFrame
    user_sd: float
    diagnostics: dict[str, float]
    reliable: bool


def normal_average(eta: ArrayLike, sd: ArrayLike) -> Floats:
    """Mean probability E σ(η + sd·z) over z ~ N(0, 1), by Gauss–Hermite quadrature.

    eta    (...,) log-odds η at the centre
    sd     (...,) standard deviation ≥ 0 around it, in log-odds; broadcasts against η
    """
    node, weight = np.polynomial.hermite_e.hermegauss(NODES)
    centre, spread = floats(eta), floats(sd)
    total = np.zeros(np.broadcast_shapes(centre.shape, spread.shape))
    for x, w in zip(node, weight / weight.sum(), strict=True):  # one node at a time: draws x cells are many
        total = total + w * expit(centre + spread * x)
    return total


@dataclass(frozen=True)
class _Terms:
    """Varying effects: their names, levels, and the level of each cell (cells,) and each user (U,)."""

    names: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    of_cell: tuple[Ints, ...]
    of_user: tuple[Ints, ...]


def mrp(
    wins: ArrayLike,
    n: ArrayLike,
    attributes: pl.DataFrame,
    cells: pl.DataFrame,
    *,
    interactions: Sequence[tuple[str, str]] = (),
    draws: int = 2000,
    seed: int = 0,
    level: float = 0.95,
) -> Mrp:
    """Win rate of a population, and of each of its groups, from users' wins among their comparisons.

    What sets a person apart is integrated out by adaptive Gauss–Hermite quadrature; the rest is drawn by importance
    sampling around Laplace's approximation (`laplace_draws`), and by NumPyro's NUTS where the weights of these draws
    are not to be relied on. Intervals are equal-tailed posterior ones. Levels
    without users get an estimate from the spread of the others. Raises InputError where users and cells do not fit;
    warns (InputWarning) where draws are not to be relied on.

    wins            (U,) comparisons each user won, 0 ≤ wins ≤ n, a tie half a win
    n               (U,) comparisons of each user
    attributes      a row a user and a column an attribute
    cells           the same columns and `count`, people of the population in each cell
    interactions    pairs of columns that get effects of their own; none by default
    draws           posterior draws, at least 100
    seed            makes the result the same again
    level           coverage of the intervals, in (0, 1)
    """
    if not 0 < level < 1 or draws < 100:
        raise InputError(f"mrp: level {level}, {draws} draws; give a level in (0, 1) and at least 100")
    k, trials = _outcomes(wins, n, len(attributes))
    table, size, at = _matched(attributes, cells)
    terms = _terms(table, at, interactions)
    effects, sd, diagnostics, reliable = _drawn(_multilevel(k, trials, terms), draws, seed)
    theta = normal_average(effects @ _columns(terms.levels, terms.of_cell).T, sd[:, -1:])
    rate = k / np.where(trials > 0, trials, np.nan)
    groups = _groups(table, [*interactions])
    tails = [0.5 - level / 2, 0.5 + level / 2]

    def rows(names: list[tuple[str, str]], member: Floats) -> pl.DataFrame:
        people = size @ member
        drawn = (theta @ (size[:, None] * member)) / np.where(people > 0, people, np.nan)
        inside = member[at] * (trials > 0)[:, None]
        users = inside.sum(axis=0)
        raw = np.nan_to_num(rate) @ inside / np.where(users > 0, users, np.nan)
        lo, hi = np.quantile(drawn, tails, axis=0)
        columns = {
            "attribute": [a for a, _ in names], "level": [b for _, b in names], "n_users": users.astype(np.int64),
            "population": people, "raw": raw, "estimate": drawn.mean(axis=0), "lo": lo, "hi": hi,
        }  # fmt: skip
        return pl.DataFrame(columns)

    whole = CROSS.join(table.columns)
    each = [(whole, crossed_name(row)) for row in table.iter_rows()]
    if not reliable:
        found = ", ".join(f"{name} {value:.3g}" for name, value in diagnostics.items())
        warnings.warn(
            InputWarning(
                f"mrp: draws are not to be relied on ({found}); take more draws, or fewer attributes and interactions"
            ),
            stacklevel=2,
        )
    return Mrp(rows(*groups), rows(each, np.eye(len(table))), float(sd[:, -1].mean()), diagnostics, reliable)


def _multilevel(wins: Floats, n: Floats, terms: _Terms) -> Multilevel:
    """The people with comparisons, those of the same attributes and choices together."""
    alike, people = np.unique(np.stack([wins, n, *terms.of_user])[:, n > 0], axis=1, return_counts=True)
    term = [-1, *(i for i, levels in enumerate(terms.levels) for _ in levels)]
    design = _columns(terms.levels, [code.astype(np.intp) for code in alike[2:]])
    return Multilevel(alike[0], alike[1], people.astype(np.float64), design, np.array(term))


def _columns(levels: Sequence[tuple[str, ...]], codes: Sequence[Ints]) -> Floats:
    """Which effects (n, P) people or cells have: μ, and one level of each term."""
    return np.hstack([np.ones((len(codes[0]), 1)), *(np.eye(len(v))[c] for v, c in zip(levels, codes, strict=True))])


def _drawn(data: Multilevel, draws: int, seed: int) -> tuple[Floats, Floats, dict[str, float], bool]:
    """Draws of effects and standard deviations, their diagnostics, and whether these are within bounds."""
    effects, sd, state = laplace_draws(data, PRECISION, draws, seed)
    if state["pareto_k"] <= PARETO_K and state["ess"] >= min(WORTH, draws / 4):
        return effects, sd, state, True
    effects, sd, state = nuts_draws(data, PRECISION, draws, seed)
    sure = state["rhat_max"] <= RHAT and state["ess_min"] >= ESS * CHAINS and not state["divergences"]
    return effects, sd, state, bool(sure)


def _outcomes(wins: ArrayLike, n: ArrayLike, users: int) -> tuple[Floats, Floats]:
    k, trials = floats(wins), floats(n)
    if not k.shape == trials.shape == (users,):
        raise InputError(f"mrp: {k.shape} wins, {trials.shape} n, {users} users of attributes; align them")
    bad = np.flatnonzero(~(np.isfinite(trials) & (k >= 0) & (k <= trials)))
    if len(bad):
        raise InputError(f"wins: row {bad[0]} has {k[bad[0]]} of {trials[bad[0]]}; give 0 <= wins <= n")
    if not trials.any():
        raise InputError("n: nobody has a comparison; give users with data")
    return k, trials


def _matched(attributes: pl.DataFrame, cells: pl.DataFrame) -> tuple[pl.DataFrame, Floats, Ints]:
    """Cells, each once, as strings; people in them (cells,); the cell of each user (U,)."""
    names = attributes.columns
    if not names or COUNT in names or set(cells.columns) != {*names, COUNT}:
        raise InputError(
            f"cells: columns {', '.join(cells.columns)}; give the attributes ({', '.join(names)}) and {COUNT!r} alone"
        )
    for frame, where in ((attributes, "attributes"), (cells, "cells")):
        for name in frame.columns:
            if frame[name].null_count():
                row = int(frame[name].is_null().arg_max() or 0)
                raise InputError(f"{where}: row {row} lacks {name}; drop it, or name the answer")
    count = cells[COUNT].cast(pl.Float64).to_numpy()
    bad = np.flatnonzero(~(np.isfinite(count) & (count >= 0)))
    if len(bad):
        raise InputError(f"cells: row {bad[0]} has the count {count[bad[0]]}; give numbers of people >= 0")
    if not count.any():
        raise InputError("cells: nobody lives there; give counts of people")
    labels = [pl.col(name).cast(pl.String) for name in names]
    table = cells.select(*labels, pl.col(COUNT).cast(pl.Float64)).group_by(names).agg(pl.sum(COUNT)).sort(names)
    numbered = table.select(names).with_row_index("cell")
    place = attributes.select(labels).join(numbered, on=names, how="left", maintain_order="left")["cell"]
    if place.null_count():
        row = int(place.is_null().arg_max() or 0)
        raise InputError(
            f"attributes: row {row} ({', '.join(map(str, attributes.row(row)))}) is in no cell; add the cell"
        )
    return table.select(names), table[COUNT].to_numpy(), place.to_numpy().astype(np.intp)


def _terms(table: pl.DataFrame, at: Ints, interactions: Sequence[tuple[str, str]]) -> _Terms:
    pairs = [tuple(pair) for pair in interactions]
    apart = len({frozenset(pair) for pair in pairs}) == len(pairs)
    if not apart or any(len(set(pair)) != 2 or not set(pair) <= set(table.columns) for pair in pairs):
        raise InputError(f"interactions: {pairs}; give pairs of {', '.join(table.columns)}, each once")
    names, levels, of_cell = [(name,) for name in table.columns] + pairs, [], []
    for columns in names:
        label = [crossed_name(row) for row in table.select(columns).iter_rows()]
        found, code = np.unique(np.array(label, dtype=object), return_inverse=True)
        levels.append(tuple(found.tolist()))
        of_cell.append(code)
    joined = tuple(CROSS.join(columns) for columns in names)
    return _Terms(joined, tuple(levels), tuple(of_cell), tuple(code[at] for code in of_cell))


def _groups(table: pl.DataFrame, interactions: list[tuple[str, str]]) -> tuple[list[tuple[str, str]], Floats]:
    """Names of everybody, each level and each interaction's pairs, and which cells are in them (cells, groups)."""
    terms = _terms(table, np.arange(len(table)), interactions)
    names, members = [OVERALL], [np.ones((len(table), 1))]
    for name, levels, code in zip(terms.names, terms.levels, terms.of_cell, strict=True):
        names += [(name, one) for one in levels]
        members.append(np.eye(len(levels))[code])
    return names, np.concatenate(members, axis=1)
