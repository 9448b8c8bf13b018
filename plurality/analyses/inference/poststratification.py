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
from plurality.arrays import floats
from plurality.arviz_draws import convergence
from plurality.errors import InputError, InputWarning
from plurality.jax_precision import double_precision

COUNT = "count"  # the column of people in the table of cells
RHAT, ESS = 1.01, 100  # beyond and below which draws are not to be relied on; ESS a chain
ACCEPT = (0.95, 0.995)  # of proposals; the second only where the first leaves divergences, at steps some times smaller
INNER = 20  # nodes for one person's choices, adapted to where these choices lie (Liu & Pierce 1994)
NODES = 64  # exact to 1e-6 up to a standard deviation of 3 (in log-odds), to 4e-3 up to 10

Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Mrp:
    """Estimates of a population and its groups, of its cells, and whether the draws can be relied on.

    estimates      a row a group: attribute, level, n_users (with data), population, raw (mean over those users of
                   wins/n), estimate (posterior mean), lo, hi
    cells          the same, a row a cell
    user_sd        posterior mean of the standard deviation between users of a cell, in log-odds
    diagnostics    rhat_max, ess_min, divergences, and draws and chains as asked for
    reliable       whether R-hat, effective sample size and divergences are within bounds
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
    draws: int = 1000,
    chains: int = 4,
    seed: int = 0,
    level: float = 0.95,
) -> Mrp:
    """Win rate of a population, and of each of its groups, from users' wins among their comparisons.

    What sets a person apart is integrated out by adaptive Gauss–Hermite quadrature; the rest is sampled by NumPyro's
    NUTS, once more with smaller steps where some draws diverge. Intervals are equal-tailed posterior ones. Levels
    without users get an estimate from the spread of the others. Raises InputError where users and cells do not fit;
    warns (InputWarning) where draws are not to be relied on.

    wins            (U,) comparisons each user won, 0 ≤ wins ≤ n, a tie half a win
    n               (U,) comparisons of each user
    attributes      a row a user and a column an attribute
    cells           the same columns and `count`, people of the population in each cell
    interactions    pairs of columns that get effects of their own; none by default
    draws           posterior draws a chain, after as many steps of warm-up, at least 4
    chains          chains of the sampler, at least 2
    seed            makes the result the same again
    level           coverage of the intervals, in (0, 1)
    """
    if not 0 < level < 1 or draws < 4 or chains < 2:
        raise InputError(f"mrp: level {level}, {draws} draws, {chains} chains; give a level in (0, 1), >= 4 and >= 2")
    k, trials = _outcomes(wins, n, len(attributes))
    table, size, at = _matched(attributes, cells)
    terms = _terms(table, at, interactions)
    for accept in ACCEPT:
        found, diagnostics = _sampled(k, trials, terms, draws, chains, seed, accept)
        if not diagnostics["divergences"]:
            break
    eta = found["mu"][:, None] + sum(
        (found[f"effect_{i}"][:, of] for i, of in enumerate(terms.of_cell)), np.zeros((1, 1))
    )
    theta = normal_average(eta, found["sd_user"][:, None])
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
    reliable = bool(
        diagnostics["rhat_max"] <= RHAT and diagnostics["ess_min"] >= ESS * chains and not diagnostics["divergences"]
    )
    if not reliable:
        warnings.warn(
            InputWarning(
                f"mrp: draws are not to be relied on (R-hat up to {diagnostics['rhat_max']:.3f}, effective sample size "
                f"from {diagnostics['ess_min']:.0f}, {diagnostics['divergences']:.0f} divergences); take more draws, "
                "or fewer attributes and interactions"
            ),
            stacklevel=2,
        )
    sd = float(found["sd_user"].mean())
    return Mrp(rows(*groups), rows(each, np.eye(len(table))), sd, diagnostics, reliable)


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


def _sampled(
    wins: Floats, n: Floats, terms: _Terms, draws: int, chains: int, seed: int, accept: float
) -> tuple[dict[str, Floats], dict[str, float]]:
    """Posterior draws (S, ...) of μ, of every effect and of the users' standard deviation, and their diagnostics."""
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import MCMC, NUTS
    from xarray import Dataset

    node, weight = np.polynomial.hermite_e.hermegauss(INNER)
    log_weight = np.log(weight / weight.sum())
    share = (wins + 0.5) / (n + 1)  # where a person's own log-odds are, and how much their choices tell of it
    near, told = np.log(share / (1 - share)), n * share * (1 - share)
    # effects are numbered, since an attribute may be called as something of the model's
    kept = ["mu", "sd_user", *(f"{kind}_{i}" for i in range(len(terms.names)) for kind in ("sd", "effect"))]

    def model() -> None:
        eta = numpyro.sample("mu", dist.Normal(0, 1.5))
        for i, (levels, of_user) in enumerate(zip(terms.levels, terms.of_user, strict=True)):
            sd = numpyro.sample(f"sd_{i}", dist.HalfNormal(1.0))
            z = numpyro.sample(f"z_{i}", dist.Normal(0, 1).expand([len(levels)]))
            eta = eta + numpyro.deterministic(f"effect_{i}", sd * z)[of_user]
        spread = numpyro.sample("sd_user", dist.HalfNormal(1.0))
        # what a person adds is integrated out: as many dimensions as people, and their funnel, are never drawn
        precision = 1 + spread**2 * told
        centre = spread * told * (near - eta) / precision
        z = centre[:, None] + node / jnp.sqrt(precision)[:, None]
        own = eta[:, None] + spread * z
        each = wins[:, None] * jax.nn.log_sigmoid(own) + (n - wins)[:, None] * jax.nn.log_sigmoid(-own)
        each = each + (node**2 - z**2) / 2 + log_weight
        numpyro.factor("choices", (jax.nn.logsumexp(each, axis=1) - jnp.log(precision) / 2).sum())

    with double_precision(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of samplers and their compilers; what matters is looked at by the caller
        sampler = MCMC(
            NUTS(model, target_accept_prob=accept), num_warmup=draws, num_samples=draws, num_chains=chains,
            chain_method="sequential", progress_bar=False,
        )  # fmt: skip
        sampler.run(jax.random.PRNGKey(seed), extra_fields=("diverging",))
        drawn = {name: np.asarray(value) for name, value in sampler.get_samples(group_by_chain=True).items()}
        diverged = int(np.asarray(sampler.get_extra_fields()["diverging"]).sum())
    shaped = {name: ("chain", "draw", *(f"{name}_{axis}" for axis in range(drawn[name].ndim - 2))) for name in kept}
    rhat, ess = convergence(Dataset({name: (shaped[name], drawn[name]) for name in kept}))
    return {name: drawn[name].reshape(-1, *drawn[name].shape[2:]) for name in kept}, {
        "rhat_max": float(np.max([rhat[name].values.max() for name in kept])),
        "ess_min": float(np.min([ess[name].values.min() for name in kept])),
        "divergences": float(diverged),
        "draws": float(draws),
        "chains": float(chains),
    }
