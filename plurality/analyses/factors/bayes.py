"""Coefficients of groups by full Bayes: groups around the population, people around their group.

    μ_f ~ N(0, 1.5²),  τ_f, s_f ~ N⁺(0, ½²),  β_gf ~ N(μ_f, τ_f²),  b_uf ~ N(β_g(u)f, s_f²)
    first preferred ~ Bernoulli(σ(⟨x_i, b_u(i)⟩)), to the power w_i

The model of PyMC is sampled by NumPyro's NUTS. β is what a person at the centre of the group weighs; regressions
that know no person average over people first, which brings their coefficients nearer to 0.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from plurality.analyses.factors.inputs import codes_of, grouped_rows
from plurality.analyses.inference.bootstrap import Floats
from plurality.arviz_draws import convergence, dataset_of, pymc
from plurality.errors import InputError, InputWarning
from plurality.jax_precision import double_precision

RHAT, ESS = 1.01, 100  # beyond and below which draws are not to be relied on; ESS a chain
_SHOWN = ("mu", "tau", "person", "beta")


@dataclass(frozen=True)
class BayesFactors:
    """Posterior of coefficients per unit of x.

    `table` has a row for each group and feature: `mean`, `sd`, `lo`, `hi`, and `above`, the chance that the group's
    coefficient exceeds the population's. `population` has a row for each feature: `mean`, `lo`, `hi` of μ,
    `between_groups` = E[τ] and `between_people` = E[s]. `diagnostics`: rhat_max, ess_min, divergences.
    """

    table: pl.DataFrame
    population: pl.DataFrame
    diagnostics: dict[str, float]


def factors_bayes(  # noqa: PLR0913 - rows, their group, their user, and how to sample
    x: ArrayLike,
    y: ArrayLike,
    user: ArrayLike,
    group: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    names: Sequence[str] | None = None,
    draws: int = 500,
    chains: int = 4,
    seed: int = 0,
    level: float = 0.95,
    progress: bool = False,
) -> BayesFactors:
    """Posterior of the coefficients of every group, by NUTS; needs the extra `bayes` (PyMC, NumPyro).

    Withhold small groups before. Warns where draws did not mix; raises InputError for rows that are no comparisons and
    where none has a positive weight.

    x           (n, F) differences of features, first − second, in standard deviations
    y           (n,) labels in [0, 1]
    user        (n,) user of each comparison, labels of any kind
    group       (n,) group of each comparison, labels of any kind
    weights     (n,) powers w ≥ 0 to which a row's likelihood is taken; 1 by default
    names       (F,) names of the features; "feature 0", "feature 1", … by default
    draws       posterior draws a chain, after as many steps of warm-up
    chains      chains of the sampler
    seed        of the sampler
    level       coverage of the equal-tailed posterior intervals, in (0, 1)
    progress    show the sampler's progress bar; off by default
    """
    every, codes = codes_of(group, "group")
    rows = grouped_rows(x, y, user, codes, weights)
    if not len(rows.y):
        raise InputError("weights: no comparison has a positive weight; there is nothing to explain")
    there, group_code = np.unique(rows.group, return_inverse=True)
    groups, width = every[there], rows.x.shape[1]
    titles = list(names) if names is not None else [f"feature {k}" for k in range(width)]
    if len(titles) != width:
        raise InputError(f"names: {len(titles)} for {width} features; give one each")
    with double_precision():
        model = _model(rows.x, rows.y, rows.w, rows.user, group_code)
        found = _sample(model, draws, chains, seed, progress)
    state = _diagnostics(found)
    if state["rhat_max"] > RHAT or state["ess_min"] < ESS * chains or state["divergences"]:
        warnings.warn(
            InputWarning(
                f"factors_bayes: draws are not to be relied on (R-hat up to {state['rhat_max']:.3f}, effective sample "
                f"size from {state['ess_min']:.0f}, {state['divergences']:.0f} divergences); take more draws or "
                "fewer features, or use `pool`"
            ),
            stacklevel=2,
        )
    posterior = {name: dataset_of(found, "posterior")[name].values for name in _SHOWN}
    mu, tau, person, beta = (posterior[n].reshape(-1, *posterior[n].shape[2:]) for n in _SHOWN)
    return BayesFactors(
        _table(beta, mu, [str(g) for g in groups], titles, level), _population(mu, tau, person, titles, level), state
    )


def _model(x: Floats, y: Floats, w: Floats, user: Any, group: Any) -> Any:
    pm = pymc()
    import pytensor.tensor as pt

    width, n_groups, n_users = x.shape[1], int(group.max()) + 1, int(user.max()) + 1
    with pm.Model() as model:
        mu = pm.Normal("mu", 0.0, 1.5, shape=width)
        tau = pm.HalfNormal("tau", 0.5, shape=width)
        person = pm.HalfNormal("person", 0.5, shape=width)
        beta = pm.Deterministic("beta", mu + tau * pm.Normal("beta_raw", shape=(n_groups, width)))
        own = person * pm.Normal("own_raw", shape=(n_users, width))
        gap = (x * (beta[group] + own[user])).sum(-1)
        pm.Potential("labels", (w * (y * gap - pt.softplus(gap))).sum())
    return model


def _sample(model: Any, draws: int, chains: int, seed: int, progress: bool) -> Any:
    pm = pymc()

    with model, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of samplers and their compilers; what matters is looked at afterwards
        return pm.sample(
            draws=draws, tune=draws, chains=chains, random_seed=seed, progressbar=progress, target_accept=0.9,
            nuts_sampler="numpyro", nuts_sampler_kwargs={"chain_method": "vectorized"}, var_names=list(_SHOWN),
            compute_convergence_checks=False,
        )  # fmt: skip


def _diagnostics(found: Any) -> dict[str, float]:
    """Largest rank-normalised R-hat and smallest bulk effective sample size (Vehtari et al. 2021), divergences."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        rhat, ess = convergence(dataset_of(found, "posterior"))
    return {
        "rhat_max": float(max(rhat[v].values.max() for v in _SHOWN)),
        "ess_min": float(min(ess[v].values.min() for v in _SHOWN)),
        "divergences": float(dataset_of(found, "sample_stats")["diverging"].sum()),
    }


def _table(beta: Floats, mu: Floats, groups: list[str], names: list[str], level: float) -> pl.DataFrame:
    """Moments of draws (S, G, F), a row for each group and feature."""
    lo, hi = np.quantile(beta, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    return pl.DataFrame(
        {
            "group": np.repeat(groups, len(names)),
            "feature": names * len(groups),
            "mean": beta.mean(axis=0).ravel(),
            "sd": beta.std(axis=0, ddof=1).ravel(),
            "lo": lo.ravel(),
            "hi": hi.ravel(),
            "above": (beta > mu[:, None]).mean(axis=0).ravel(),
        }
    )


def _population(mu: Floats, tau: Floats, person: Floats, names: list[str], level: float) -> pl.DataFrame:
    lo, hi = np.quantile(mu, [0.5 - level / 2, 0.5 + level / 2], axis=0)
    columns = {"feature": names, "mean": mu.mean(axis=0), "lo": lo, "hi": hi}
    return pl.DataFrame(columns | {"between_groups": tau.mean(axis=0), "between_people": person.mean(axis=0)})
