"""Diagnostics of reliabilities: their profile likelihood, relative values, and who is careless, not different."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from plurality.data.comparisons import Comparisons
from plurality.models.lcpo.head import BetaPrior, flip_log_odds
from plurality.models.lcpo.taste_vs_noise import taste_vs_noise
from plurality.reward.links import nll, prob
from plurality.reward.posterior import Posterior
from plurality.reward.tensors import Tensors

ETAS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95, 0.99, 0.999)
STRETCHES = torch.logspace(-2, 2, 41, dtype=torch.float64)
SAMPLE = 20_000
MIN_LABELS, MAX_USERS = 20, 30  # labels a person must have, and people, to be judged
RELIABILITY_MARGIN = 0.05  # below the population's reliability, by the upper end of a 95 % interval, to be looked at


def profile(gap: Tensor, rows: Tensors) -> list[dict[str, float]]:
    """Log-likelihood (nats) at each global reliability, the gaps scaled anew at each: flat means not identified."""
    few = slice(None, None, max(1, len(gap) // SAMPLE))
    s, label, weight = gap[few].cpu(), rows.label.double().cpu()[few], rows.weight.double().cpu()[few]
    found = []
    for eta in ETAS:
        logit = torch.logit(torch.tensor(eta, dtype=torch.float64))
        fits = [-float((weight * nll(flip_log_odds(a * s, logit.expand_as(s)), label)).sum()) for a in STRETCHES]
        found.append({"reliability": eta, "log_likelihood": max(fits)})
    return found


def unreliable_users(
    data: Comparisons, gap: Tensor, posterior: Posterior, population: BetaPrior, identified: bool, seed: int
) -> dict[str, Any]:
    """The least reliable people, each put to the test of a taste of their own; and relative reliabilities."""
    logit, error = posterior.codes[:, 0], posterior.covariance[:, 0, 0].sqrt()
    upper = prob(logit + 1.96 * error).numpy()
    eta, count = prob(logit).numpy(), np.bincount(data.user, minlength=data.users.height)
    suspects = np.flatnonzero((upper < population.mode - RELIABILITY_MARGIN) & (count >= MIN_LABELS))
    suspects = suspects[np.argsort(eta[suspects])][:MAX_USERS]
    ids, by_verdict = data.users["user_id"].to_list(), dict[str, list[str]]()
    tests = []
    for user in suspects:
        mine = np.flatnonzero(data.user == user)
        difference = data.items[data.first[mine]].astype(np.float64) - data.items[data.second[mine]]
        found = taste_vs_noise(difference, gap.numpy()[mine], data.label[mine], seed=seed)
        by_verdict.setdefault(found.verdict, []).append(ids[user])
        tests.append({"user_id": ids[user], "reliability": float(eta[user]), **vars(found), "verdict": found.verdict})
    report: dict[str, Any] = {
        "careless": by_verdict.get("noise", []),
        "own_taste": by_verdict.get("own taste", []),
        "undecided": by_verdict.get("undecided", []),
        "tests": tests,
    }
    if not identified:
        present = data.present
        relative = (2 * eta[present] - 1) / max(float(np.max(2 * eta[present] - 1)), 1e-12)
        report["relative_reliability"] = dict(zip([ids[u] for u in present], relative.tolist(), strict=True))
    return report
