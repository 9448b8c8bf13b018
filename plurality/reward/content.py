"""Whether what a model consists of can give a right reward: every number finite, every shape the head's."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from plurality.errors import InputError
from plurality.reward.heads import Head
from plurality.reward.posterior import Posterior, Prior


def check_content(
    place: str,
    head: Head,
    posterior: Posterior,
    prior: Prior,
    user_ids: Sequence[str],
    n_comparisons: NDArray[np.int64],
    remedy: str,
) -> None:
    """Raise InputError naming what is not finite, negative where it cannot be, of another shape, or there twice.

    place            the model's folder or family, for messages
    head             the utility
    posterior        codes (U, C) and covariance (U, C, C)
    prior            mean (C,) and precision (C, C)
    user_ids         (U,)
    n_comparisons    (U,)
    remedy           what to do about it
    """
    users, width = len(user_ids), head.n_codes
    shapes: dict[str, tuple[Tensor, tuple[int, ...]]] = {
        "codes": (posterior.codes, (users, width)),
        "covariance": (posterior.covariance, (users, width, width)),
        "the prior's mean": (prior.mean, (width,)),
        "the prior's precision": (prior.precision, (width, width)),
    }
    for name, (tensor, shape) in shapes.items():
        if tuple(tensor.shape) != shape or not tensor.dtype.is_floating_point:
            raise InputError(f"{place}: {name} has shape {tuple(tensor.shape)}, the head takes {shape}; {remedy}")
    _check_users(place, user_ids, n_comparisons, remedy)
    for name, tensor in (*((name, tensor) for name, (tensor, _) in shapes.items()), *head.state_dict().items()):
        if tensor.dtype.is_floating_point and not torch.isfinite(tensor).all():
            raise InputError(f"{place}: {name} holds NaN or infinite values{_whose(name, tensor, user_ids)}; {remedy}")
    variances = torch.cat([posterior.covariance.flatten(1)[:, :: width + 1], prior.precision.diagonal()[None]])
    if (variances < 0).any():
        raise InputError(f"{place}: a variance is negative; {remedy}")


def _check_users(place: str, user_ids: Sequence[str], n_comparisons: NDArray[np.int64], remedy: str) -> None:
    if not all(isinstance(user, str) for user in user_ids):
        raise InputError(f"{place}: a user_id is missing; {remedy}")
    if len(set(user_ids)) < len(user_ids):
        raise InputError(f"{place}: a user_id stands there twice; {remedy}")
    if len(n_comparisons) != len(user_ids) or (n_comparisons < 0).any():
        raise InputError(f"{place}: n_comparisons are not a count for every user; {remedy}")


def _whose(name: str, tensor: Tensor, user_ids: Sequence[str]) -> str:
    if name not in ("codes", "covariance"):
        return ""
    return f" for user {user_ids[int(torch.isfinite(tensor.flatten(1)).all(1).int().argmin())]!r}"
