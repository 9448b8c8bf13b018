"""Training VPL: an amortised posterior and a conditional reward, on comparisons dealt into contexts and queries.

Each step a user's comparisons are dealt into a context C, which the encoder sees, and queries Q, which are predicted:
    Σ_u [ −Σ_{q∈Q} w_q log mean_s p(y_q | z_s) + β KL(q(z|C) ‖ N(0, I)) ] + penalty,   z_s ~ q(z|C)
With one draw this is the authors' objective; with several it is the tighter bound of Burda et al. (2016) on log p(y|C),
which does not reward a posterior narrower than it should be. Queries weigh as all of a user's comparisons do.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from plurality.errors import InputError
from plurality.fitting.optimisers import adam
from plurality.models.vpl.episodes import EpisodeBatch, EpisodeSampler, UserSortedRows
from plurality.models.vpl.head import VPLHead, normal_kl
from plurality.reward.links import log_prob
from plurality.reward.posterior import Prior

FIRST, LATER, LAST = range(3)
STEPS = {False: (100, 25, 60), True: (300, 50, 150)}  # of a stage, when a step sees all users and when it does not
RATE = 0.05  # of all but the map of embeddings, which takes ten times that
MAX_FULL_BATCH = 65_536  # items up to which features of all of them are computed in a step
MAX_DOUBLE = 1 << 21  # embedding values up to which the fit is in double precision


@dataclass(frozen=True)
class TrainingSettings:
    """How to train.

    decay        prior precision of the map of embeddings over its fan-in
    beta         weight of the KL
    free_bits    nats a latent dimension may carry before it costs anything
    draws        of z, for each user in each step
    max_context  rows of a context at most
    """

    decay: float
    beta: float
    free_bits: float
    draws: int
    max_context: int
    seed: int


def standard(head: VPLHead, n_users: int) -> Prior:
    """N(0, I) for so many users, in the head's precision and where it lies."""
    like = head.shared
    return Prior(like.new_zeros(n_users, head.n_codes), torch.eye(head.n_codes, dtype=like.dtype, device=like.device))


def minimise(head: VPLHead, rows: UserSortedRows, settings: TrainingSettings, stage: int) -> float:
    """Train from where the head stands; returns the last step's loss, nats a comparison.

    In the first stage β grows from 0 over its first half. Raises InputError where the loss is not finite.
    """
    sampler = EpisodeSampler(rows, settings.seed + 17 * stage, settings.max_context)
    steps = STEPS[len(rows.present) > sampler.at_once][stage]
    total = float(rows.weight.sum())

    def loss(step: int) -> Tensor:
        episode = sampler.sample(step)
        nll, kl = objective(head, rows, episode, noise(head, settings, step), settings.free_bits)
        ramp = min(1.0, 2 * step / steps) if stage == FIRST else 1.0
        return (nll + ramp * settings.beta * kl) / episode.weight.sum() + head.penalty(settings.decay) / total

    maps = head.projector.linear
    others = [p for p in head.parameters() if p is not maps]
    rate = RATE if stage == FIRST else RATE / 2
    value = adam(loss, [([maps], 10 * rate), (others, rate)], steps=steps)
    if not math.isfinite(value):
        raise InputError("vpl: the fit diverged; look for embeddings of very unequal size, or standardise them")
    return value


def noise(head: VPLHead, settings: TrainingSettings, step: int) -> Tensor:
    """Standard normal draws of a step, the same for all users, in pairs of opposite sign: (S, C)."""
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + step)
    half = torch.randn((settings.draws + 1) // 2, head.n_codes, generator=generator, dtype=torch.float64)
    return torch.cat([half, -half])[: settings.draws].to(head.shared)


def objective(
    head: VPLHead, rows: UserSortedRows, episode: EpisodeBatch, draws: Tensor, free_bits: float
) -> tuple[Tensor, Tensor]:
    """Weighted nats of all queries and KL of all users at hand, nats less than `free_bits` a dimension not counted."""
    features, first, second = _features(head, rows, episode)
    context, n = episode.context, len(episode.queries)
    difference = features[first[context]] - features[second[context]]
    columns = (column[context] for column in (rows.label, rows.weight, rows.base))
    found = head.encoder(difference, episode.user, *columns, standard(head, n))
    z = found.codes[:, None] + draws @ torch.linalg.cholesky(found.covariance).mT  # (B, S, C)
    q = episode.queries
    gap = head.gaps(features[first[q]], features[second[q]], z) + rows.base[q][..., None]  # (B, Q, S)
    yes, no = (log_prob(g).logsumexp(-1) - math.log(len(draws)) for g in (gap, -gap))
    nll = -(episode.weight * (rows.label[q] * yes + (1 - rows.label[q]) * no)).sum()
    marginal, dependence = normal_kl(found.codes, found.covariance)
    return nll, n * marginal.mean(0).clamp_min(free_bits).sum() + dependence.sum()


def _features(head: VPLHead, rows: UserSortedRows, episode: EpisodeBatch) -> tuple[Tensor, Tensor, Tensor]:
    """Features, and where in them the sides of each row are; of all items, or just of those in the episode."""
    if len(rows.items) <= MAX_FULL_BATCH:
        return head.features(rows.items, None), rows.first, rows.second
    used = torch.cat([episode.context, episode.queries[episode.weight > 0]])
    items, place = torch.unique(torch.cat([rows.first[used], rows.second[used]]), return_inverse=True)
    first, second = rows.first.clone().zero_(), rows.second.clone().zero_()
    first[used], second[used] = place[: len(used)], place[len(used) :]
    return head.features(rows.items[items], None), first, second
