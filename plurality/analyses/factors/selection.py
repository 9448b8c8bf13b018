"""Which features are worth keeping: L1 logistic regression, its penalty chosen by people left out."""

import inspect
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from sklearn.linear_model import LogisticRegression

from plurality.analyses.factors.inputs import Ints, Rows, grouped_rows
from plurality.analyses.inference.bootstrap import Floats
from plurality.errors import InputError

_PATH = np.geomspace(1, 1e-3, 12)  # penalties as shares of the least one that leaves nothing
# scikit-learn 1.8 names the L1 penalty by its share
_NEW = inspect.signature(LogisticRegression).parameters["penalty"].default == "deprecated"


@dataclass(frozen=True)
class Selected:
    """L1 coefficients (F,), 0 for what is left out, and the penalty, per unit of weight; NaN where undefined."""

    coefficient: Floats
    penalty: float


def select(
    x: ArrayLike,
    y: ArrayLike,
    user: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Selected:
    """Minimise the mean cross-entropy of y (n,) under σ(⟨x_i, β⟩) plus λ·|β|₁, without intercept.

    `x` (n, F) differences first − second, in comparable units, since one λ serves all; `user` (n,) labels. λ is
    the largest of 12 whose loss on users left out (`folds` groups of them) exceeds the least one by no more than
    one standard error of that excess over users: a feature is selected when it helps with new people. Fewer
    than two users, and ties alone, give NaN; features that pull neither way are left out. Fitted by scikit-learn's
    liblinear. Raises InputError for rows that are no comparisons.
    """
    rows = grouped_rows(x, y, user, weights=weights)
    if folds < 2:
        raise InputError(f"folds: {folds}; give at least two")
    x, w, codes = _winner_first(rows)
    width, n_users = x.shape[1], int(codes.max(initial=-1)) + 1
    # the penalty from which on nothing is left: the steepest slope of the mean loss at 0
    most = float(np.abs(w @ x).max(initial=0)) / (2 * max(w.sum(), np.finfo(float).tiny))
    if n_users < 2 or (rows.y == 0.5).all():
        return Selected(np.full(width, np.nan), float("nan"))
    if most <= 1e-12 * float(np.abs(x).max(initial=0)):  # nothing pulls either way
        return Selected(np.zeros(width), 0.0)
    fold = np.random.default_rng(seed).permutation(n_users) % min(folds, n_users)
    losses = np.zeros((len(_PATH), n_users))
    for held in range(fold.max() + 1):
        out = fold[codes] == held
        for k, share in enumerate(_PATH):
            beta = _lasso(x[~out], w[~out], share * most, seed, 1e-4)
            losses[k] += np.bincount(codes[out], w[out] * np.logaddexp(0, -(x[out] @ beta)), minlength=n_users)
    excess = losses - losses[losses.sum(axis=1).argmin()]
    error = excess.std(axis=1, ddof=1) * np.sqrt(n_users)
    best = int(np.flatnonzero(excess.sum(axis=1) <= error)[0])
    return Selected(_lasso(x, w, _PATH[best] * most, seed), float(_PATH[best] * most))


def _winner_first(rows: Rows) -> tuple[Floats, Floats, Ints]:
    """Rows as differences preferred − other; a soft label is two rows with y and 1 − y of the weight."""
    both = np.concatenate([rows.w * rows.y, rows.w * (1 - rows.y)])
    keep = both > 0
    return np.concatenate([rows.x, -rows.x])[keep], both[keep], np.tile(rows.user, 2)[keep]


def _lasso(x: Floats, w: Floats, penalty: float, seed: int, tolerance: float = 1e-6) -> Floats:
    """L1 coefficients (F,) of winner-first rows; every second one is exchanged, as scikit-learn needs two classes."""
    if len(x) < 2:
        return np.zeros(x.shape[1])
    first = np.arange(len(x)) % 2 == 0
    model = LogisticRegression(
        C=1 / (penalty * w.sum()), fit_intercept=False, solver="liblinear", tol=tolerance, max_iter=1000,
        random_state=seed, **({"l1_ratio": 1.0} if _NEW else {"penalty": "l1"}),
    )  # fmt: skip
    found: Floats = model.fit(np.where(first[:, None], x, -x), first, sample_weight=w).coef_[0]
    return found
