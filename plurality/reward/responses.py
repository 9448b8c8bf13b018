"""Exact likelihoods of answers given utilities: what the weighted pairs of `plurality.data.ordered_pairs` stand for.

Families learn from weighted pairs, all of them, since every head and posterior then takes every kind of answer. For
pairs these are the likelihood itself. Of one chosen from a set and of a ranking they have score and information of the
exact likelihood at indifference or near it, and lose 0 to .4 points of held-out accuracy to it elsewhere; of ratings
and thumbs they are the part that does not depend on the person's bar and scale (numbers: docs, concepts, types of
data).
Graded pairs are learned from by the exact cumulative logit (`plurality.data.graded`). Here the exact ones judge
predictions of whole answers in `compare`, and describe people's use of scales.
"""

import torch
from torch import Tensor

from plurality.reward.links import log_prob


def multinomial_logit(utility: Tensor, chosen: Tensor) -> Tensor:
    """−log exp u_j / Σ_k exp u_k of one chosen from a set, in nats: (A, k), (A,) -> (A,).

    utility    log-odds, −inf where a set has fewer things than others
    chosen     place of the one that is chosen

    Of two things it is the pair's −log σ(u₁ − u₂). Source: McFadden 1974.
    """
    return utility.logsumexp(1) - utility.gather(1, chosen[:, None])[:, 0]


def plackett_luce(utility: Tensor, level: Tensor) -> Tensor:
    """−log Π_t exp u_t / Σ_{s after t} exp u_s of a ranking, best chosen first, then of the rest: nats, (A, k) -> (A,).

    utility    log-odds, −inf where a ranking has fewer things than others
    level      (A, k) larger is better; those of one level are tied, and of the last ones nothing more is said

    Of m tied things the l-th, from 0, is chosen from what is left less l/m of what they are worth (Efron 1977), which
    is exact for m = 1. Source: Plackett 1975; Luce 1959.
    """
    order = torch.argsort(level.where(utility > -torch.inf, -torch.inf), dim=1, descending=True, stable=True)
    u, y = utility.gather(1, order), level.gather(1, order)
    there = u > -torch.inf
    tied = (y[:, :, None] == y[:, None, :]) & there[:, None, :] & there[:, :, None]
    before = torch.ones_like(tied[0]).tril(-1)
    place, size = (tied & before).sum(2), tied.sum(2).clamp_min(1)
    below = (y[:, None, :] <= y[:, :, None]) & there[:, None, :]  # those that are left, and all that it is tied with
    share = 1 - tied * (place / size)[:, :, None]
    top = u.masked_fill(~there, 0).amax(1, keepdim=True)
    worth = (u - top).exp()
    left = (below * share * worth[:, None, :]).sum(2)
    least = (y == y.masked_fill(~there, torch.inf).amin(1, keepdim=True)) & there  # the last level says nothing
    return torch.where(there & ~least, left.clamp_min(torch.finfo(u.dtype).tiny).log() + top - u, 0.0).sum(1)


def cumulative_logit(utility: Tensor, below: Tensor, above: Tensor) -> Tensor:
    """−log P(y) with P(y ≤ k) = σ(c_k − u), in nats: shapes that broadcast.

    utility    log-odds
    below      cut point below the level that was given, −inf for the lowest
    above      cut point above it, inf for the highest; more than `below`

    P(y) = σ(u − below) σ(above − u) (1 − exp(below − above)): the pair's likelihood at two offsets. Graded pairs are
    the same in the gap. Source: McCullagh 1980; Agresti 1992.
    """
    width = (below - above).clamp(max=-1e-12)
    return -(log_prob(utility - below) + log_prob(above - utility) + torch.log(-torch.expm1(width)))
