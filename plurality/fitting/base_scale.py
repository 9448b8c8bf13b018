"""How much a unit of a base reward's scores is worth in log-odds, to people who differ from one another too."""

import warnings

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_expit

from plurality.data.comparisons import Comparisons
from plurality.data.keys import combine, uniform
from plurality.errors import InputError, InputWarning
from plurality.reward.posterior import Posterior
from plurality.reward.reward_model import RewardModel
from plurality.reward.tensors import Tensors

PRIOR_SD = 10.0  # log-odds that a gap of one standard deviation may be worth: finite where scores tell all labels
SAMPLE = 5_000  # comparisons that show by how much people differ
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


def among_people(model: RewardModel, data: Comparisons) -> float:
    """By how much more the base is worth to each person than it seems over people who differ: √(1 + π s² / 8), ≥ 1.

    s² is the variance, over the population of codes, of what a model learned beside the base: averaged over such gaps a
    logistic curve is flatter by that factor. Source: MacKay 1992 (Neural Computation 4:720), eq. 10.

    model    fitted on top of the base's worth over all people
    data     the comparisons it was fitted to, in log-odds
    """
    if not model.head.n_codes:
        return 1.0
    key = uniform(combine(data.item_keys[data.first], data.item_keys[data.second]), 2)
    some = data.take(np.sort(np.argsort(key, kind="stable")[:SAMPLE])).compact_items()
    points, log_weight = model.head.points(Posterior.of_prior(model.prior, 1))
    share = log_weight.expand(points.shape[:2])[0].exp().double()
    rows, like = Tensors.of(some, model.head), next(model.head.parameters())
    with torch.no_grad():
        each = torch.stack([rows.gap(model.head, z.to(like).expand(some.users.height, -1)) for z in points[0]], 1)
    each = each.double()
    variance = each.square() @ share - (each @ share).square()
    return float((1 + torch.pi * variance.mean() / 8).sqrt())
