"""Draws of a multilevel logit by NumPyro's NUTS, for data on which importance sampling has too few draws of weight."""

import warnings

import numpy as np

from plurality.analyses.inference.bootstrap import Floats
from plurality.analyses.inference.laplace_draws import INNER, Multilevel
from plurality.arviz_draws import convergence
from plurality.jax_precision import double_precision

CHAINS = 4
RHAT, ESS = 1.01, 100  # beyond and below which draws are not to be relied on; ESS a chain
ACCEPT = (0.95, 0.995)  # of proposals; the second only where the first leaves divergences, at steps some times smaller


def nuts_draws(data: Multilevel, precision: float, draws: int, seed: int) -> tuple[Floats, Floats, dict[str, float]]:
    """Draws of the effects d·z (S, P) and of the standard deviations (S, F + 1), the users' last, and diagnostics.

    Diagnostics are rhat_max, ess_min and divergences; where some draws diverge, all are drawn anew at smaller steps.

    data         what was observed
    precision    of the prior of the first effect
    draws        how many in all chains, after as many steps of warm-up
    seed         of the draws
    """
    for accept in ACCEPT:
        effects, sd, state = _sampled(data, precision, -(-draws // CHAINS), seed, accept)
        if not state["divergences"]:
            break
    return effects, sd, state


def _sampled(
    data: Multilevel, precision: float, draws: int, seed: int, accept: float
) -> tuple[Floats, Floats, dict[str, float]]:
    import jax
    import jax.numpy as jnp
    import numpyro
    import numpyro.distributions as dist
    from numpyro.infer import MCMC, NUTS
    from xarray import Dataset

    node, weight = np.polynomial.hermite_e.hermegauss(INNER)
    log_weight = np.log(weight / weight.sum())
    share = (data.wins + 0.5) / (data.n + 1)  # where people's own log-odds are, and how much their choices tell of it
    near, told = np.log(share / (1 - share)), data.n * share * (1 - share)
    prior = np.where(data.term < 0, precision**-0.5, 1.0)

    def model() -> None:
        sd = numpyro.sample("sd", dist.HalfNormal(1.0).expand([int(data.term.max()) + 2]))
        z = numpyro.sample("z", dist.Normal(0, prior))
        effects = numpyro.deterministic("effects", jnp.where(data.term < 0, 1.0, sd[data.term]) * z)
        eta, spread = data.design @ effects, sd[-1]
        # what a person adds is integrated out: as many dimensions as people, and their funnel, are never drawn
        bent = 1 + spread**2 * told
        centre = spread * told * (near - eta) / bent
        t = centre[:, None] + node / jnp.sqrt(bent)[:, None]
        own = eta[:, None] + spread * t
        each = data.wins[:, None] * jax.nn.log_sigmoid(own) + (data.n - data.wins)[:, None] * jax.nn.log_sigmoid(-own)
        each = each + (node**2 - t**2) / 2 + log_weight
        numpyro.factor("choices", (data.people * (jax.nn.logsumexp(each, axis=1) - jnp.log(bent) / 2)).sum())

    with double_precision(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of samplers and their compilers; what matters is looked at by the caller
        sampler = MCMC(
            NUTS(model, target_accept_prob=accept), num_warmup=draws, num_samples=draws, num_chains=CHAINS,
            chain_method="sequential", progress_bar=False,
        )  # fmt: skip
        sampler.run(jax.random.PRNGKey(seed), extra_fields=("diverging",))
        drawn = {name: np.asarray(sampler.get_samples(group_by_chain=True)[name]) for name in ("effects", "sd")}
        diverged = int(np.asarray(sampler.get_extra_fields()["diverging"]).sum())
    rhat, ess = convergence(Dataset({name: (("chain", "draw", f"{name}_at"), value) for name, value in drawn.items()}))
    return (
        drawn["effects"].reshape(-1, len(data.term)),
        drawn["sd"].reshape(-1, drawn["sd"].shape[2]),
        {
            "rhat_max": float(max(rhat[name].values.max() for name in drawn)),
            "ess_min": float(min(ess[name].values.min() for name in drawn)),
            "divergences": float(diverged),
            "draws": float(draws * CHAINS),
        },
    )
