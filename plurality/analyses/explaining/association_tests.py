"""What goes with a direction: features of items along it, and levels of people; tested by shuffling all at once."""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from plurality.analyses.explaining.axes import within
from plurality.analyses.inference.bootstrap import Floats, count_blocks, interval
from plurality.analyses.inference.family_wise import single_step
from plurality.arrays import Int, floats
from plurality.errors import InputError

FEW_PROMPTS = 10  # below which intervals resample items, as prompts are too few


@dataclass(frozen=True)
class Association:
    """How K directions go with F features, (K, F) each.

    r         correlations
    lo, hi    ends of their intervals; NaN without draws
    p         corrected for all K F
    """

    r: Floats
    lo: Floats
    hi: Floats
    p: Floats


def associations(
    values: ArrayLike,
    features: ArrayLike,
    prompt: Int,
    *,
    permutations: int = 999,
    draws: int = 500,
    seed: int = 0,
    level: float = 0.95,
) -> Association:
    """r_kf = Σ_m v_km x_mf / √(Σ v² Σ x²) over items, both less their mean in the item's prompt.

    p is `single_step` over features shuffled among the items of a prompt, all features of an item together. Intervals
    are percentiles over prompts drawn with replacement, or items where there are fewer than 10 prompts. NaN where a
    direction or a feature does not vary within prompts. The directions are taken as they are: how sure a fit is of them
    is no part of it.

    values          (K, M) of items along each direction
    features        (M, F) of items
    prompt          (M,) codes from 0
    permutations    shuffles behind p
    draws           resamples behind the intervals; 0 gives none
    seed            of both
    level           coverage of the intervals

    >>> import numpy as np
    >>> x = np.array([[1.0], [2.0], [5.0], [3.0]])
    >>> associations(x.T, 2 * x, np.array([0, 0, 1, 1]), permutations=9, draws=0).r.round(3).tolist()
    [[1.0]]
    """
    v, x = floats(values), floats(features)
    if v.ndim != 2 or x.ndim != 2 or v.shape[1] != len(x) or len(x) != len(prompt):
        shapes = f"values {v.shape}, features {x.shape} and {len(prompt)} prompts"
        raise InputError(f"associations: {shapes}; give (K, M), (M, F) and (M,)")
    order = np.argsort(prompt, kind="stable")
    prompt = np.unique(prompt[order], return_inverse=True)[1]
    v, x = (_unit(within(a, prompt)) for a in (v[:, order], x.T[:, order]))
    r = v @ x.T
    rng = np.random.default_rng(seed)
    shuffles = (np.argsort(prompt + rng.random(len(prompt))) for _ in range(permutations))
    null = np.stack([v @ x[:, shuffled].T for shuffled in shuffles])
    p = single_step(r.ravel(), null.reshape(permutations, -1)).reshape(r.shape)
    unit = prompt if prompt[-1] + 1 >= FEW_PROMPTS else np.arange(len(prompt))
    lo, hi = _interval(v, x, unit, draws, seed, level)
    return Association(r, lo, hi, p)


def _unit(rows: Floats) -> Floats:
    """Rows of length 1; NaN where a row does not vary."""
    length = np.sqrt((rows**2).sum(axis=1, keepdims=True))
    return rows / np.where(length > 1e-9 * np.sqrt(rows.shape[1]), length, np.nan)


def _interval(v: Floats, x: Floats, unit: Int, draws: int, seed: int, level: float) -> tuple[Floats, Floats]:
    """Percentiles of r (K, F) over units drawn with replacement."""
    starts = np.flatnonzero(np.append(True, unit[1:] > unit[:-1]))
    squares = [np.add.reduceat(a**2, starts, axis=1) for a in (v, x)]
    drawn = []
    for counts in count_blocks(len(starts), draws, seed):
        c = counts.astype(np.float64)
        across = np.stack([c @ np.add.reduceat(row * x, starts, axis=1).T for row in v], axis=1)  # (draws, K, F)
        size = (c @ squares[0].T)[:, :, None] * (c @ squares[1].T)[:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            drawn.append(across / np.sqrt(size))
    return interval(np.concatenate(drawn), level, n_users=np.full((len(v), len(x)), len(starts)))


@dataclass(frozen=True)
class Separated:
    """How much of each direction lies between the levels of an attribute.

    r2     (A, K) share of the variance of positions between levels
    p      (A, K) corrected for all of them
    n      (A,) users who were compared
    means  of each attribute, the mean position at each level (L, K), in sd of people
    """

    r2: Floats
    p: Floats
    n: Int
    means: tuple[Floats, ...]


def separated(position: ArrayLike, levels: pl.DataFrame, *, permutations: int = 999, seed: int = 0) -> Separated:
    """R²_ak = Σ_l n_l (z̄_lk − z̄_k)² / Σ_u (z_uk − z̄_k)² of every attribute a and direction k, against shuffled people.

    p is `single_step`, one-sided, over users shuffled among themselves, the same shuffle for all attributes and
    directions. Users whose level is null are left out of that attribute. NaN where fewer than two levels are left.

    position        (U, K) of users on each direction
    levels          a row a user, and a column of level codes, from 0 and all used, for each attribute; null for none
    permutations    shuffles behind p
    seed            of the shuffles
    """
    z = floats(position)
    if z.ndim != 2 or (levels.width and levels.height != len(z)):
        raise InputError(f"separated: positions {z.shape}, {levels.height} rows of levels; give a row a user in both")
    rng = np.random.default_rng(seed)
    keys = [rng.random(len(z)) for _ in range(permutations)] if levels.width else []
    r2 = np.full((levels.width, z.shape[1]), np.nan)
    null, means, n = np.zeros((permutations, *r2.shape)), [], np.zeros(levels.width, dtype=np.int64)
    for place, column in enumerate(levels.iter_columns()):
        known = column.is_not_null().to_numpy()
        code = column.filter(pl.Series(known)).cast(pl.Int64).to_numpy()
        order = np.argsort(code, kind="stable")
        own, code = z[known][order], code[order]
        n[place] = len(code)
        if not len(code) or code[-1] == 0:
            means.append(np.empty((0, z.shape[1])))
            continue
        starts = np.flatnonzero(np.append(True, code[1:] > code[:-1]))
        size = np.diff(np.append(starts, len(code)))[:, None]
        centred = own - own.mean(axis=0)
        total = (centred**2).sum(axis=0)
        total = np.where(total > 1e-12 * len(code), total, np.nan)
        means.append(np.add.reduceat(own, starts) / size)
        r2[place] = (np.add.reduceat(centred, starts) ** 2 / size).sum(axis=0) / total
        for k, key in enumerate(keys):
            shuffled = centred[np.argsort(key[known])]
            null[k, place] = (np.add.reduceat(shuffled, starts) ** 2 / size).sum(axis=0) / total
    p = np.full(r2.shape, np.nan)
    if levels.width:
        p = single_step(r2.ravel(), null.reshape(permutations, -1), two_sided=False).reshape(r2.shape)
    return Separated(r2, p, n, tuple(means))
