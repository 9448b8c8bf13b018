"""Draws of a multilevel logit by importance sampling around Laplace's approximation: no chains, no step sizes.

    η_r = Σ_p X_rp d_p z_p,   z ~ N(0, Q⁻¹),   d = (1, s of each effect's term),   s ~ N⁺(0, 1)
    ℓ_r = log ∫ Binomial(k_r; n_r, σ(η_r + s_user t)) N(t; 0, 1) dt
Given the standard deviations, the posterior of z is log-concave and nearly normal (Rue, Martino & Chopin 2009), however
small they are: there is no funnel. Proposals are Student's t for log s, fitted to the Laplace marginal in a few rounds,
and normal for z given s; weights of draws correct for both, so that approximations cost draws, not truth.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import log_expit, logsumexp
from scipy.stats import genpareto

from plurality.analyses.inference.bootstrap import Floats

INNER, ROUGH = 20, 7  # nodes for one person's choices, adapted to where they lie (Liu & Pierce 1994); of proposals
FREEDOM = 5.0  # of the proposals for log s: tails heavier than any of the posterior's
ROUNDS, TRIED = 3, 500  # of fitting them, and draws in each
WIDE = 0.1  # share of draws from the first, wide proposal, so that no weight is unbounded
WIDER = 1.08  # standard deviations of proposals for z over those of the approximation, for its lighter tails
STEPS, CLOSE = 25, 0.02  # of Newton's method, in standard deviations: proposals need not stand at the very mode
BATCH = 4_000_000  # numbers held at once


@dataclass(frozen=True)
class Multilevel:
    """Data of R kinds of people and P effects.

    wins      (R,) comparisons that such a person won
    n         (R,) of how many
    people    (R,) how many such people there are
    design    (R, P) 0 or 1, the first column all 1
    term      (P,) which standard deviation each effect has, from 0; −1 for the first
    """

    wins: Floats
    n: Floats
    people: Floats
    design: Floats
    term: np.ndarray


def laplace_draws(data: Multilevel, precision: float, draws: int, seed: int) -> tuple[Floats, Floats, dict[str, float]]:
    """Draws of the effects d·z (S, P) and of the standard deviations (S, F + 1), the users' last, and diagnostics.

    Draws are resampled by their weights, so that each counts alike. `pareto_k` is the shape of the largest fifth of
    weights, beyond 0.7 of which they cannot be relied on; `ess` how many independent draws the weights are worth.
    Source: Vehtari et al. 2024 (Pareto smoothed importance sampling).

    data         what was observed
    precision    of the prior of the first effect
    draws        how many to return
    seed         of the draws
    """
    rng, terms = np.random.default_rng(seed), int(data.term.max()) + 2
    wide = centre, root = np.full(terms, np.log(0.5)), np.eye(terms)
    for _ in range(ROUNDS):
        log_sd = _student(rng, centre, root, TRIED)
        weight = _marginal(data, precision, log_sd) - _student_density(log_sd, centre, root)
        share = np.exp(weight - logsumexp(weight))
        centre = share @ log_sd
        off = log_sd - centre
        ess = 1 / np.square(share).sum()
        spread = (off.T * share) @ off * (1 + terms / max(ess, 1)) + 1e-4 * np.eye(terms)
        root = np.linalg.cholesky(spread * (FREEDOM - 2) / FREEDOM * 1.3)
    first = rng.random(draws) < WIDE
    log_sd = np.where(first[:, None], _student(rng, *wide, draws), _student(rng, centre, root, draws))
    proposed = np.logaddexp(
        np.log(WIDE) + _student_density(log_sd, *wide), np.log(1 - WIDE) + _student_density(log_sd, centre, root)
    )
    z, log_ratio = [], []
    for part in np.array_split(np.arange(draws), _parts(data, draws)):
        mode, curvature = _mode(data, precision, log_sd[part])
        factor = np.linalg.cholesky(curvature)
        noise = rng.standard_normal(mode.shape)
        here = mode + WIDER * np.linalg.solve(np.swapaxes(factor, 1, 2), noise[:, :, None])[:, :, 0]
        of_z = np.log(np.diagonal(factor, axis1=1, axis2=2)).sum(axis=1) - np.square(noise).sum(axis=1) / 2
        log_ratio.append(_joint(data, precision, log_sd[part], here) - of_z)
        z.append(here)
    log_weight, k = smoothed(np.concatenate(log_ratio) - proposed)
    share = np.exp(log_weight - logsumexp(log_weight))
    kept = np.searchsorted(np.cumsum(share), (np.arange(draws) + rng.random()) / draws).clip(max=draws - 1)
    sd = np.exp(log_sd[kept])
    scaled = np.concatenate(z)[kept] * _scales(data, sd)
    return scaled, sd, {"pareto_k": k, "ess": float(1 / np.square(share).sum()), "draws": float(draws)}


def smoothed(log_weight: Floats) -> tuple[Floats, float]:
    """Log weights whose tail is that of a generalised Pareto distribution fitted to it, and its shape k.

    log_weight    (S,) of draws, up to a constant
    """
    order = np.argsort(log_weight)
    tail = order[-int(min(0.2 * len(order), 3 * np.sqrt(len(order)))) :]
    value = np.exp(log_weight - log_weight.max())
    cut = value[order[-len(tail) - 1]]
    excess = value[tail] - cut
    if len(tail) < 5 or not (excess > 0).all():
        return log_weight - log_weight.max(), -np.inf
    k, _, scale = genpareto.fit(excess, floc=0)
    k = float((len(tail) * k + 5) / (len(tail) + 10))  # towards ½, as few weights tell little of it
    result = log_weight - log_weight.max()
    expected = cut + genpareto.ppf((np.arange(len(tail)) + 0.5) / len(tail), k, scale=scale)
    result[tail] = np.minimum(np.log(expected), 0)
    return result, k


def _student(rng: np.random.Generator, centre: Floats, root: Floats, draws: int) -> Floats:
    noise = rng.standard_normal((draws, len(centre))) @ root.T
    return centre + noise / np.sqrt(rng.chisquare(FREEDOM, draws) / FREEDOM)[:, None]


def _student_density(x: Floats, centre: Floats, root: Floats) -> Floats:
    """Log density (S,), up to a constant that all have."""
    off = np.linalg.solve(root, (x - centre).T)
    return -np.log(np.diagonal(root)).sum() - (FREEDOM + len(centre)) / 2 * np.log1p((off**2).sum(axis=0) / FREEDOM)


def _scales(data: Multilevel, sd: Floats) -> Floats:
    """What each effect's z is multiplied by (S, P)."""
    scale = sd[:, data.term]
    scale[:, data.term < 0] = 1.0
    return scale


def _prior(data: Multilevel, precision: float) -> Floats:
    return np.where(data.term < 0, precision, 1.0)


def _parts(data: Multilevel, draws: int) -> int:
    return -(-draws * max(INNER * len(data.wins), data.design.shape[1] ** 2) // BATCH)


def _likelihood(data: Multilevel, eta: Floats, spread: Floats, nodes: int) -> tuple[Floats, Floats, Floats]:
    """Log-likelihood (S, R) of each kind of people, its slope in η and its curvature, by adaptive quadrature."""
    node, weight = np.polynomial.hermite_e.hermegauss(nodes)
    share = (data.wins + 0.5) / (data.n + 1)  # where their own log-odds are, and how much their choices tell of it
    near, told = np.log(share / (1 - share)), data.n * share * (1 - share)
    precision = 1 + spread[:, None] ** 2 * told
    centre = spread[:, None] * told * (near - eta) / precision
    t = centre[..., None] + node / np.sqrt(precision)[..., None]
    own = eta[..., None] + spread[:, None, None] * t
    wins, n = data.wins[:, None], data.n[:, None]
    logit = log_expit(own)
    each = n * logit - (n - wins) * own + (node**2 - t**2) / 2 + np.log(weight / weight.sum())
    total = logsumexp(each, axis=-1)
    posterior = np.exp(each - total[..., None])
    rate = np.exp(logit)
    slope = wins - n * rate
    mean = (posterior * slope).sum(axis=-1)
    inside = (posterior * (n * rate * (1 - rate) - slope**2)).sum(axis=-1) + mean**2
    return total - np.log(precision) / 2, mean, inside


def _joint(data: Multilevel, precision: float, log_sd: Floats, z: Floats, nodes: int = INNER) -> Floats:
    """Log density (S,) of choices, z and log s together, up to a constant."""
    sd = np.exp(log_sd)
    eta = (z * _scales(data, sd)) @ data.design.T
    value = _likelihood(data, eta, sd[:, -1], nodes)[0] @ data.people
    return value - (z**2 @ _prior(data, precision)) / 2 + (log_sd - sd**2 / 2).sum(axis=1)


def _mode(data: Multilevel, precision: float, log_sd: Floats) -> tuple[Floats, Floats]:
    """Where z is most likely given the standard deviations (S, P), and the curvature there (S, P, P)."""
    sd = np.exp(log_sd)
    scale, prior = _scales(data, sd), _prior(data, precision)
    rows, effects = data.design.shape
    squares = (data.design[:, :, None] * data.design[:, None, :]).reshape(rows, -1)
    z = np.zeros(scale.shape)
    for _ in range(STEPS):
        _, slope, bent = _likelihood(data, (z * scale) @ data.design.T, sd[:, -1], ROUGH)
        curvature = ((data.people * np.maximum(bent, 0)) @ squares).reshape(-1, effects, effects)
        curvature = curvature * scale[:, :, None] * scale[:, None, :] + np.diag(prior)
        gradient = ((data.people * slope) @ data.design) * scale - prior * z
        step = np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0]
        if np.abs(step).max() < CLOSE:
            break
        z = z + step / np.maximum(1, np.abs(step).max(axis=1, keepdims=True) / 3)
    return z, curvature


def _marginal(data: Multilevel, precision: float, log_sd: Floats) -> Floats:
    """Laplace's approximation of the log posterior (S,) of log s, up to a constant."""
    result = []
    for part in np.array_split(np.arange(len(log_sd)), _parts(data, len(log_sd))):
        z, curvature = _mode(data, precision, log_sd[part])
        root = np.linalg.cholesky(curvature)
        volume = np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1)
        result.append(_joint(data, precision, log_sd[part], z, ROUGH) - volume)
    return np.concatenate(result)
