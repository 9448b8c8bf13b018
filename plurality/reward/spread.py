"""How sure a utility is: its standard deviation under what is believed of the user's code, the shared weights given.

A utility is known up to a shift a user and prompt, which has no standard deviation. What has one is a gap, and where no
other item is named it is the gap to the mean of the items that the head was fitted on (`Head.centre`).
"""

import torch
from torch import Tensor

from plurality.errors import InputError
from plurality.reward.heads import Head

CELLS = 2**21  # numbers of a Jacobian, or of the features it is taken at, held at once


def jacobian(head: Head, features: Tensor, codes: Tensor) -> Tensor:
    """∂u/∂z of M items for each of U users: features (M, F), or each user's own (U, M, F), codes (U, C) -> (U, M, C).

    Raises InputError where the utility does not depend on the code, of which all users then have the same.
    """
    count = features.shape[-2]
    with torch.enable_grad():
        z = codes.to(features.dtype)[:, None].expand(-1, count, -1).clone().requires_grad_()
        utility = head.utility(features.expand(len(codes), count, -1), z)
        if not utility.requires_grad:
            raise InputError(
                "this model has one reward for all users and takes it as known, so no utility has a standard "
                "deviation; fit an Ensemble of it, whose members differ"
            )
        return torch.autograd.grad(utility.sum(), z)[0] if utility.numel() else torch.zeros_like(z)


def spread(slopes: Tensor, covariance: Tensor) -> Tensor:
    """√(Jᵀ S J) of J (U, M, C) and S (U, C, C), the first order of a standard deviation: (U, M), float64.

    Exact where what J is the slope of is linear in the code, as utilities of bilinear heads are; with the covariance of
    a choice of group, diag(ρ) − ρρᵀ, it is the standard deviation over responsibilities.
    """
    wide = slopes.double()
    return ((wide @ covariance) * wide).sum(-1).clamp_min(0).sqrt()


def utility_sd(head: Head, features: Tensor, centre: Tensor, codes: Tensor, covariance: Tensor) -> Tensor:
    """sd of u(x, z) − u(x₀, z): features (M, F) or (U, M, F), x₀'s (1, F), (M, F) or (U, M, F) -> (U, M), float64.

    codes, covariance   (U, C) and (U, C, C), what is believed of each user
    """
    users, count = len(codes), features.shape[-2]
    step = max(1, CELLS // max(1, count * (features.shape[-1] + codes.shape[-1])))
    out = [features.new_zeros(0, count, dtype=torch.float64)]
    for start in range(0, users, step):
        rows = slice(start, start + step)
        own, base = (f[rows] if f.dim() == 3 else f for f in (features, centre))
        slopes = jacobian(head, own, codes[rows]) - jacobian(head, base, codes[rows])
        out.append(spread(slopes, covariance[rows]))
    return torch.cat(out)
