"""The model in PyMC, sampled by NumPyro's NUTS; draws as ArviZ InferenceData, convergence diagnosed.

    μ ~ N(0, Λ⁻¹),  Σ = diag(s) R diag(s),  s ~ N⁺(0, 3/C),  R ~ LKJ(2),  τ_f ~ N⁺(0, 1)
    B_p ~ N(0, τ_f(p)² Σ),  z_u ~ N(μ + B x_u, Σ),  first preferred ~ Bernoulli(σ(⟨δ_i, z_u⟩))
With few labels a user z is not centred, since a centred form has funnels there; with many it is, since the other has
ridges. Both are the same model.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from plurality.arviz_draws import convergence, dataset_of, joined, pymc
from plurality.data.demographics import Factor
from plurality.errors import InputWarning
from plurality.jax_precision import double_precision
from plurality.models.hierarchical.empirical_bayes import HierarchicalProblem
from plurality.models.hierarchical.estimates import PopulationEstimate
from plurality.reward.posterior import Posterior

SPREAD = 3.0  # variance of a utility gap's scale over all dimensions together
SHAPE = 2.0  # of the LKJ prior of correlations
RHAT, ESS = 1.01, 100  # beyond and below which draws are not to be relied on; ESS a chain
ACCEPT = 0.9
VARIABLES = ("mu", "effects", "ratio", "scale", "correlation", "z")  # that are kept of the draws
MANY = 15  # labels a user, in the median, from which on codes are centred


@dataclass(frozen=True)
class CoordinateNames:
    """Labels of the axes: users (U,), coefficients (P,), factors (F,)."""

    user: list[str]
    coefficient: list[str]
    factor: list[str]

    @staticmethod
    def of(factors: Sequence[Factor], users: list[str]) -> "CoordinateNames":
        """From the factors of the design."""
        each = [f"{f.column}[{i}]" for f in factors for i in range(len(f.levels))]
        return CoordinateNames(users, each, [f.column for f in factors])

    @staticmethod
    def numbers(problem: HierarchicalProblem) -> "CoordinateNames":
        """Where no user has a name."""
        counts = (problem.rows.n_users, problem.design.shape[1], problem.n_factors)
        user, coefficient, factor = ([str(i) for i in range(n)] for n in counts)
        return CoordinateNames(user, coefficient, factor)


def build(problem: HierarchicalProblem, names: CoordinateNames | None = None) -> Any:
    """The `pymc.Model` of these comparisons."""
    pm = pymc()
    import pytensor.tensor as pt

    names = names or CoordinateNames.numbers(problem)
    rows, width = problem.rows, problem.rows.difference.shape[1]
    difference, label, weight, base = (t.numpy() for t in (rows.difference, rows.label, rows.weight, rows.base))
    coords = {
        "user": names.user, "coefficient": names.coefficient, "factor": names.factor,
        "dimension": np.arange(width), "dimension_": np.arange(width),
    }  # fmt: skip
    with pm.Model(coords=coords) as model:
        mu = pm.MvNormal("mu", mu=np.zeros(width), tau=problem.stiffness.numpy(), dims="dimension")
        root = _covariance_root(width)  # Σ = root rootᵀ
        mean = pt.tile(mu, (rows.n_users, 1))
        if problem.n_factors:
            tau = pm.HalfNormal("tau", 1.0, dims="factor")
            raw = pm.Normal("effects_raw", dims=("coefficient", "dimension"))
            effects = tau[problem.factors.numpy()][:, None] * (raw @ root.T)
            pm.Deterministic("effects", effects, dims=("coefficient", "dimension"))
            pm.Deterministic("ratio", tau**2, dims="factor")
            mean = mean + problem.design.numpy() @ effects
        if float(torch.bincount(rows.user, minlength=rows.n_users).double().median()) >= MANY:
            z = pm.MvNormal("z", mean, chol=root, dims=("user", "dimension"))
        else:
            own = pm.Normal("z_raw", dims=("user", "dimension"))
            z = pm.Deterministic("z", mean + own @ root.T, dims=("user", "dimension"))
        gap = (difference * z[rows.user.numpy()]).sum(-1) + base
        each = label * -pt.softplus(-gap) + (1 - label) * -pt.softplus(gap)
        pm.Potential("labels", (weight * each).sum())
    return model


def _covariance_root(width: int) -> Any:
    """Cholesky factor of Σ = diag(s) R diag(s); one dimension has no correlations."""
    pm = pymc()
    import pytensor.tensor as pt

    spread = math.sqrt(SPREAD / width)
    if width == 1:
        scale, correlation = pm.HalfNormal("scale", spread, dims="dimension"), pt.ones((1, 1))
        root = scale[:, None]
    else:
        root, correlation, own = pm.LKJCholeskyCov(
            "root_raw", n=width, eta=SHAPE, sd_dist=pm.HalfNormal.dist(spread, shape=width), store_in_trace=False
        )
        pm.Deterministic("scale", own, dims="dimension")
    pm.Deterministic("correlation", correlation, dims=("dimension", "dimension_"))
    return root


def sample(
    problem: HierarchicalProblem,
    *,
    draws: int,
    chains: int,
    seed: int,
    progress: bool,
    names: CoordinateNames | None = None,
) -> Any:
    """Draws after as many steps of warm-up: posterior, sample_stats, observed_data. Warns where they do not mix."""
    pm = pymc()
    from xarray import Dataset

    with build(problem, names), double_precision(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of samplers and their compilers; what matters is looked at below
        found = pm.sample(
            draws=draws, tune=draws, chains=chains, random_seed=seed, progressbar=progress, target_accept=ACCEPT,
            nuts_sampler="numpyro", nuts_sampler_kwargs={"chain_method": "sequential"},
            compute_convergence_checks=False,
        )  # fmt: skip
        posterior = dataset_of(found, "posterior")
        found = joined(
            {
                "posterior": posterior[[name for name in VARIABLES if name in posterior]],
                "sample_stats": dataset_of(found, "sample_stats"),
                "observed_data": Dataset({"label": ("label_dim_0", problem.rows.label.numpy())}),
            }
        )
    state = diagnostics(found)
    if state["rhat_max"] > RHAT or state["ess_min"] < ESS * chains or state["divergences"]:
        warnings.warn(
            InputWarning(
                f"hierarchical: draws are not to be relied on (R-hat up to {state['rhat_max']:.3f}, effective sample "
                f"size from {state['ess_min']:.0f}, {state['divergences']} divergences); take more draws, fewer "
                "dimensions, or inference='empirical'"
            ),
            stacklevel=3,
        )
    return found


def diagnostics(draws: Any) -> dict[str, Any]:
    """Largest rank-normalised R-hat, smallest bulk effective sample size, number of divergences.

    Entries that cannot vary, as a correlation with itself, are left out.
    """
    posterior = dataset_of(draws, "posterior")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constants have no R-hat
        rhat, ess = convergence(posterior)
    return {
        "rhat_max": float(np.nanmax([np.nanmax(rhat[v].values) for v in _varying(rhat)])),
        "ess_min": float(np.nanmin([np.nanmin(ess[v].values) for v in _varying(ess)])),
        "divergences": int(dataset_of(draws, "sample_stats")["diverging"].sum()),
        "draws": int(posterior.sizes["draw"]),
        "chains": int(posterior.sizes["chain"]),
    }


def _varying(values: Any) -> list[Any]:
    return [v for v in values.data_vars if v != "correlation" and np.isfinite(values[v].values).any()]


def found(draws: Any, problem: HierarchicalProblem) -> PopulationEstimate:
    """Gaussian moments of codes and coefficients, and the mean of Σ."""

    def flat(name: str) -> torch.Tensor:
        values = dataset_of(draws, "posterior")[name].values
        return torch.tensor(values.reshape(-1, *values.shape[2:]), dtype=torch.float64)

    z, mu, scale, correlation = (flat(name) for name in ("z", "mu", "scale", "correlation"))
    effects = flat("effects") if problem.n_factors else mu.new_zeros(len(mu), 0, mu.shape[1])
    covariance = (scale[:, :, None] * correlation * scale[:, None, :]).mean(0)
    coefficients = torch.cat([mu[:, None], effects], 1)
    return PopulationEstimate.of_draws(moments(z), coefficients, covariance, problem, diagnostics(draws))


def moments(draws: torch.Tensor) -> Posterior:
    """Mean and covariance of every user's draws: (S, U, C)."""
    mean = draws.mean(0)
    off = draws - mean
    return Posterior(mean, torch.einsum("suc,sud->ucd", off, off) / (len(draws) - 1))
