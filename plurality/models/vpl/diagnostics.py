"""Does the latent do anything? What VPL has to show for itself, on held-out comparisons of users it was trained on.

A large KL alone shows nothing: an encoder may say much that the reward does not listen to.
"""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plurality.data.keys import mix, uniform
from plurality.errors import InputWarning
from plurality.models.vpl.episodes import UserSortedRows
from plurality.models.vpl.fit import InnerFit, beliefs, log_odds, nats
from plurality.models.vpl.head import VPLHead, normal_kl
from plurality.reward.posterior import Posterior, Prior

ACTIVE_VARIANCE = 0.01  # variance over users of a latent dimension's mean, from which on it counts as used
MIN_WORTH = 1e-3  # nats that codes of one's own must be worth to call the latent alive


def diagnose(head: VPLHead, posterior: Posterior, present: Tensor, parts: list[InnerFit]) -> dict[str, Any]:
    """KL (nats), active units, cosine to the mirrored context, and held-out nats with other codes in z's place.

    Source of active units: Burda et al. 2016, §2.4. Warns when the posterior has collapsed onto the prior, or when
    codes differ but the reward predicts as well with the prior's.
    """
    codes, covariance = posterior.codes[present], posterior.covariance[present]
    marginal, dependence = normal_kl(codes, covariance)
    report: dict[str, Any] = {
        "kl": float((marginal.sum(1) + dependence).mean()),
        "active_units": int((codes.var(0) > ACTIVE_VARIANCE).sum()) if len(codes) > 1 else 0,
        "units": head.n_codes,
    }
    if parts:
        report |= _swapped(parts)
        worth = report["nats_prior"] - report["nats_own"]
        if report["active_units"] == 0:
            _warn("the posterior has collapsed: every user's code is near the prior's, so users are not told apart")
        elif worth < MIN_WORTH:
            _warn("codes differ, but held-out comparisons are predicted as well without: nothing personal is found")
        report["worth"] = worth
    return report


def _warn(what: str) -> None:
    remedy = "read the controls of compare, and prefer bradley_terry or low_rank if they say the same"
    warnings.warn(InputWarning(f"vpl: {what}; {remedy}"), stacklevel=4)


def _swapped(parts: list[InnerFit]) -> dict[str, float]:
    """Nats a held-out comparison with one's own code, the prior's, another user's, and one of a shuffled context."""
    sums, cosines, total = dict.fromkeys(("own", "prior", "another", "shuffled"), 0.0), [], 0.0
    for part in parts:
        head, rows = part.head, part.inner
        own = beliefs(head, rows)
        present = torch.as_tensor(rows.present, device=own.codes.device)
        prior = Prior(own.codes.new_zeros(head.n_codes), torch.eye(head.n_codes).to(own.codes))
        codes = {
            "own": own,
            "prior": Posterior.of_prior(prior, rows.n_users),
            "another": _rolled(own, present),
            "shuffled": beliefs(head, _shuffled(rows)),
        }
        for name, posterior in codes.items():
            sums[name] += float(nats(log_odds(head, part.outer, posterior), part.outer).sum())
        total += float(part.outer.weight.sum())
        tie = beliefs(head, replace(rows, label=torch.full_like(rows.label, 0.5))).codes
        mirror = beliefs(head, replace(rows, label=1 - rows.label)).codes
        cosines.append(float(torch.cosine_similarity(own.codes - tie, mirror - tie)[present].mean()))
    found = {f"nats_{name}": value / total for name, value in sums.items()}
    return {**found, "mirror_cosine": float(np.mean(cosines))}


def _rolled(own: Posterior, present: Tensor) -> Posterior:
    """Each present user with the code of the next one."""
    codes, covariance = own.codes.clone(), own.covariance.clone()
    codes[present], covariance[present] = own.codes[present.roll(1)], own.covariance[present.roll(1)]
    return Posterior(codes, covariance)


def _shuffled(rows: UserSortedRows) -> UserSortedRows:
    """The same contexts with sides and labels dealt anew among all users, each user keeping their number."""
    order = np.argsort(uniform(mix(rows.key), 1), kind="stable")
    moved = torch.as_tensor(order, device=rows.label.device)
    return replace(rows, first=rows.first[moved], second=rows.second[moved], label=rows.label[moved],
                   weight=rows.weight[moved], base=rows.base[moved], key=rows.key[order])  # fmt: skip
