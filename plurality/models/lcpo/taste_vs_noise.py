"""Before a user is called careless: does a taste of their own explain their labels better than noise does?"""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold

from plurality.arrays import Array, Float
from plurality.models.lcpo.head import flip_log_odds
from plurality.reward.links import nll

FOLDS = 5
STRENGTHS = (1e-4, 1e-3, 1e-2, 0.1, 1.0)  # of sklearn's C, on differences of unit mean square a dimension
GRID = torch.linspace(-5, 5, 101, dtype=torch.float64)  # logit reliabilities


@dataclass(frozen=True)
class TasteVsNoise:
    """Held-out log-likelihoods (nats a comparison) of a taste of one's own, and of the common one with flips.

    `difference` is own − noise, with a 95 % interval over comparisons; verdict "own taste", "noise" or "undecided".
    """

    n: int
    own: float
    noise: float
    difference: float
    lo: float
    hi: float

    @property
    def verdict(self) -> str:
        return "own taste" if self.lo > 0 else "noise" if self.hi < 0 else "undecided"


def taste_vs_noise(difference: Array, gap: Float, label: Float, *, seed: int) -> TasteVsNoise:
    """Compare the two explanations of one person's labels on labels held out: (n, d), (n,), (n,).

    Own taste: ridge logistic regression on item differences, its strength chosen within. Noise: the gaps (log-odds)
    of the common reward, fitted without these labels, and a reliability. Ties count as half a label each way.
    Source: the own-θ against flips test for RE-PO, in held-out log-likelihood.
    """
    scale = float(np.sqrt(np.square(difference).mean())) or 1.0
    x, folds = difference / scale, KFold(min(FOLDS, len(label)), shuffle=True, random_state=seed)
    own, noise = np.empty(len(label)), np.empty(len(label))
    for train, test in folds.split(x):
        own[test] = _log_prob(_own_gap(x[train], label[train], x[test], seed), label[test])
        noise[test] = _log_prob(_flipped(gap[train], label[train], gap[test]), label[test])
    off = own - noise
    error = 1.96 * off.std(ddof=1) / np.sqrt(len(off))
    return TasteVsNoise(len(off), own.mean(), noise.mean(), off.mean(), off.mean() - error, off.mean() + error)


def _own_gap(x: Array, label: Float, new: Array, seed: int) -> Float:
    """Gap of new differences under a taste fitted to these, of the strength that serves an inner part best."""
    held = np.random.default_rng(seed).random(len(label)) < 0.3
    scores = []
    for strength in STRENGTHS:
        weights = _ridge(x[~held], label[~held], strength)
        scores.append(_log_prob(x[held] @ weights, label[held]).sum())
    return new @ _ridge(x, label, STRENGTHS[int(np.argmax(scores))])


def _ridge(x: Array, label: Float, strength: float) -> Float:
    """Weights of a logistic regression without intercept; soft labels are two weighted rows."""
    both, hard = np.concatenate([x, x]), np.repeat([1, 0], len(x))
    share = np.concatenate([label, 1 - label])
    if not len(x):
        return np.zeros(x.shape[1])
    model = LogisticRegression(C=strength, fit_intercept=False, max_iter=500)
    return (
        model.fit(both[share > 0], hard[share > 0], share[share > 0]).coef_[0]
        if _two_sided(share, hard)
        else (np.zeros(x.shape[1]))
    )


def _two_sided(share: Float, hard: Array) -> bool:
    return bool((share[hard == 1] > 0).any() and (share[hard == 0] > 0).any())


def _flipped(gap: Float, label: Float, new: Float) -> Float:
    """Log-odds of new labels by the common gaps and the reliability that fits best."""
    y = torch.as_tensor(label)[:, None]
    odds = flip_log_odds(torch.as_tensor(gap)[:, None], GRID)
    fit = torch.as_tensor(_log_prob(odds.numpy(), y.numpy())).sum(0)
    return flip_log_odds(torch.as_tensor(new), GRID[fit.argmax()].expand(len(new))).numpy()


def _log_prob(odds: Float, label: Float) -> Float:
    return -nll(torch.as_tensor(odds), torch.as_tensor(label)).numpy()
