"""How much a unit of a base reward's scores is worth in log-odds, to people who differ from one another too."""

import warnings
from dataclasses import replace

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_expit

from plurality.data.comparisons import Comparisons
from plurality.data.splits import held_share
from plurality.errors import InputError, InputWarning
from plurality.fitting.item_correlation import user_marks
from plurality.fitting.optimisers import lbfgs
from plurality.reward.links import cross_entropy, log_predictive
from plurality.reward.reward_model import RewardModel
from plurality.reward.tensors import Tensors

PRIOR_SD = 10.0  # log-odds that a gap of one standard deviation may be worth: finite where scores tell all labels
SAMPLE = 20_000  # comparisons that show what the base is worth beside tastes,
FEWEST = 30  # or too few on either side
SAME, STEPS, SEED = 1e-6, 50, 12_011
LABELS, ENOUGH = 0.99, 50  # share of so many decided labels from which scores look like what labels were made from


def base_scale(data: Comparisons) -> float:
    """a ≥ 0 of P(first ≻ second) = σ(a (b₁ − b₂)), by maximum likelihood with a weak prior on a: one number.

    data    comparisons with base scores in units of their own

    Raises InputError where scores are not finite. Warns (InputWarning) where they tell all labels, as scores do that
    the labels were made from.
    """
    gap = data.base_gap
    if not np.isfinite(gap).all():
        row = int(np.argmin(np.isfinite(gap)))
        raise InputError(f"{data.source}: comparison {row} (from 0) has a base score that is not a number; score it")
    size = gap_size(data)
    if size == 0:
        return 0.0
    decided = (data.label != 0.5) & (gap != 0)
    right = (gap > 0) == (data.label > 0.5)
    if decided.sum() >= ENOUGH and np.average(right[decided], weights=data.weight[decided]) > LABELS:
        note = f"{data.source}: base scores tell nearly all labels; are these made from them? then leave them out"
        warnings.warn(InputWarning(note), stacklevel=4)
    unit = gap / size

    def nats(worth: float) -> float:
        each = data.label * log_expit(worth * unit) + (1 - data.label) * log_expit(-worth * unit)
        return float(-(data.weight @ each) + 0.5 * (worth / PRIOR_SD) ** 2)

    found = minimize_scalar(nats, bounds=(0.0, 5 * PRIOR_SD), method="bounded", options={"xatol": 1e-7})
    return float(found.x) / size if found.fun < nats(0.0) else 0.0


def gap_size(data: Comparisons) -> float:
    """Root mean square of the base's gaps, in its units.

    data    comparisons
    """
    return float(np.sqrt(np.average(np.square(data.base_gap), weights=data.weight)))


def beside_tastes(model: RewardModel, data: Comparisons) -> float:
    """By how much more the base is worth beside what a model knows of people than it was taken to be: a factor.

    a and t of P(first ≻ second | user) = E_z σ(a (b₁ − b₂) + t (h(x₁, z) − h(x₂, z))) by maximum likelihood, what is
    believed of z coming from the user's other comparisons. Averaged over people who differ a logistic curve is flatter,
    and so is one without its largest part; with both parts there, neither is. 1 where codes say nothing of utilities.

    model    fitted on top of what the base was taken to be worth
    data     the comparisons it was fitted to, base scores in these log-odds
    """
    if not model.head.n_codes or not data.base_gap.any():
        return 1.0
    some = data.take(held_share(user_marks(data), min(1.0, SAMPLE / len(data)), SEED, 0)[data.user])
    half = held_share(some.item_keys, 0.5, SEED + 1, 0)
    rounds = [half[some.first] == side for side in (True, False)]
    if min(rows.sum() for rows in rounds) < FEWEST:
        return 1.0
    parts = [_gaps(model, some.take(~rows), some.take(rows)) for rows in rounds]
    own, log_weight = (torch.cat(columns) for columns in zip(*parts, strict=True))
    if float((own.std(1, correction=0)).max()) < SAME:
        return 1.0
    told = [
        torch.as_tensor(np.concatenate([c[rows] for rows in rounds])) for c in (some.base_gap, some.label, some.weight)
    ]
    base, label, weight = told
    scale = torch.zeros(2, dtype=torch.float64, requires_grad=True)  # logarithms of both factors

    def nats(step: int) -> torch.Tensor:
        a, t = scale.exp()
        gap = a * base[:, None] + t * own
        return (weight * cross_entropy(*log_predictive(gap, log_weight), label)).sum() / weight.sum()

    lbfgs(nats, [scale], steps=STEPS)
    return float(scale.detach()[0].exp())


def _gaps(model: RewardModel, known: Comparisons, test: Comparisons) -> tuple[torch.Tensor, torch.Tensor]:
    """Gaps of the head alone at what is believed after others, and log-weights of these beliefs: (N, S) each."""
    after = model.adapt(known, replace=True) if len(known) else model
    beliefs = after.beliefs(test.users[test.present], "population")
    points, log_weight = model.head.points(beliefs)
    rows, like = Tensors.of(replace(test, base=None), model.head), next(model.head.parameters())
    place = torch.as_tensor(np.searchsorted(test.present, test.user))
    rows = replace(rows, user=place.to(rows.user.device))
    with torch.no_grad():
        own = torch.stack([rows.gap(model.head, z.to(like)) for z in points.unbind(1)], 1).double().cpu()
    return own, log_weight.expand(points.shape[:2])[place]
