"""The model in NumPyro, its posterior approximated by stochastic variational inference: for data too large to sample.

The guide has codes independent of each other and of the population, whose parameters are one normal. So it draws users
together (by some 15 % where they have 30 labels); the empirical way, which keeps both together, is the better default.
Source: Kucukelbir et al. 2017 (automatic differentiation variational inference), arXiv 1603.00788.
"""

import math
from typing import Any

import numpy as np
import torch

from plurality.jax_precision import double_precision
from plurality.models.hierarchical.empirical_bayes import HierarchicalProblem
from plurality.models.hierarchical.estimates import PopulationEstimate
from plurality.models.hierarchical.pymc_model import SHAPE, SPREAD, moments

RATE = 0.02
DRAWS = 1000  # of the guide, for moments


def fit(problem: HierarchicalProblem, *, steps: int, seed: int) -> PopulationEstimate:
    """Adam on the evidence bound; codes and coefficients from draws of the guide."""
    with double_precision():
        values, losses = _run(problem, steps, seed)

    def draws(name: str) -> torch.Tensor:
        return torch.tensor(values[name], dtype=torch.float64)

    root, mu = draws("root"), draws("mu")
    effects = draws("effects") if problem.n_factors else mu.new_zeros(len(mu), 0, mu.shape[1])
    last = losses[-max(1, steps // 20) :].mean()
    report = {"elbo": -float(last), "elbo_halfway": -float(losses[steps // 2]), "steps": steps}
    coefficients, covariance = torch.cat([mu[:, None], effects], 1), (root @ root.mT).mean(0)
    return PopulationEstimate.of_draws(moments(draws("z")), coefficients, covariance, problem, report)


def _run(problem: HierarchicalProblem, steps: int, seed: int) -> tuple[dict[str, Any], np.ndarray]:
    """Draws of every variable from the fitted guide, and minus the bound (nats) at every step."""
    import jax
    import numpyro
    from numpyro.infer import SVI, Trace_ELBO

    model = _model(problem)
    guide = _guide(model)
    rate = numpyro.optim.Adam(lambda step: RATE * (0.01 + 0.5 * (1 + jax.numpy.cos(math.pi * step / steps))))
    svi = SVI(model, guide, rate, Trace_ELBO())
    first, second = jax.random.split(jax.random.PRNGKey(seed))
    result = svi.run(first, steps, progress_bar=False)
    sites = guide.sample_posterior(second, result.params, sample_shape=(DRAWS,))
    values = sites | numpyro.infer.Predictive(model, posterior_samples=sites)(second)
    return {name: np.asarray(v) for name, v in values.items()}, np.asarray(result.losses)


def _guide(model: Any) -> Any:
    """Users' codes independent of each other and of the population, whose parameters hang together."""
    from numpyro.handlers import block
    from numpyro.infer.autoguide import AutoGuideList, AutoMultivariateNormal, AutoNormal

    guide = AutoGuideList(model)
    guide.append(AutoNormal(block(model, expose=["z"]), init_scale=0.1))
    guide.append(
        AutoMultivariateNormal(
            block(model, expose=["mu", "scale", "correlation_root", "tau", "effects_raw"]), init_scale=0.1
        )
    )
    return guide


def _model(problem: HierarchicalProblem) -> Any:
    """The model of `pymc_model`, in NumPyro."""
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist

    rows, width = problem.rows, problem.rows.difference.shape[1]
    difference, user, label, weight, base = (
        jnp.asarray(t.numpy()) for t in (rows.difference, rows.user, rows.label, rows.weight, rows.base)
    )
    design, factors = jnp.asarray(problem.design.numpy()), jnp.asarray(problem.factors.numpy())
    stiffness = jnp.asarray(problem.stiffness.numpy())

    def model() -> None:
        mu = numpyro.sample("mu", dist.MultivariateNormal(jnp.zeros(width), precision_matrix=stiffness))
        scale = numpyro.sample("scale", dist.HalfNormal(math.sqrt(SPREAD / width)).expand([width]).to_event(1))
        turned = numpyro.sample("correlation_root", dist.LKJCholesky(width, SHAPE)) if width > 1 else jnp.ones((1, 1))
        root = numpyro.deterministic("root", scale[:, None] * turned)
        mean = jnp.broadcast_to(mu, (rows.n_users, width))
        if problem.n_factors:
            tau = numpyro.sample("tau", dist.HalfNormal(1.0).expand([problem.n_factors]).to_event(1))
            raw = numpyro.sample("effects_raw", dist.Normal(0, 1).expand([len(factors), width]).to_event(2))
            effects = numpyro.deterministic("effects", tau[factors][:, None] * (raw @ root.T))
            mean = mean + design @ effects
        z = numpyro.sample("z", dist.MultivariateNormal(mean, scale_tril=root).to_event(1))
        gap = (difference * z[user]).sum(-1) + base
        each = label * jax.nn.log_sigmoid(gap) + (1 - label) * jax.nn.log_sigmoid(-gap)
        numpyro.factor("labels", (weight * each).sum())

    return model
