"""Fitting one reward to several sources at once, each step weighting them so that it serves all."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from plurality.arrays import Int
from plurality.data.comparisons import Comparisons
from plurality.data.keys import combine, uniform
from plurality.fitting.optimisers import adam
from plurality.fitting.tuning import standardise
from plurality.models.more.min_norm import min_norm, normalised
from plurality.reward.heads import Head, Projector
from plurality.reward.tensors import Tensors

RATE = 0.1


@dataclass(frozen=True)
class SourceWeighting:
    """How sources are weighed in each step.

    balance     "min_norm": λ of the shortest combination of head gradients; "plain": 1/K
    normalise   of the gradients before that: none, l2, loss, loss+
    batch       expected number of different pairs of each source in a step
    """

    balance: str
    normalise: str
    batch: int


class MultiSourceFit:
    """A head without codes on comparisons from K sources (N,)."""

    def __init__(self, head: Head, data: Comparisons, source: Int, weighting: SourceWeighting) -> None:
        self.head, self.weighting = head, weighting
        standardise(head, data)
        self.n_sources = int(source.max()) + 1
        self.rows = Tensors.of(data, head)
        self.source = torch.as_tensor(source, device=self.rows.user.device)
        self.rows = self._by_source(self.rows, self.source)
        self.pair = combine(data.item_keys[data.first], data.item_keys[data.second])
        pairs = np.array([len(np.unique(self.pair[source == k])) for k in range(self.n_sources)])
        self.share = np.minimum(1.0, weighting.batch / np.maximum(pairs, 1))[source]
        self.codes = torch.eye(self.n_sources).to(self.rows.items)[:, : head.n_codes]
        self.last = [m.outer if m.hidden else m.linear for m in head.modules() if isinstance(m, Projector)]

    def _by_source(self, rows: Tensors, source: Tensor) -> Tensors:
        """Rows as if a source were one user, whose code picks the source's own reward where there is one."""
        return replace(rows, user=source)

    def held_out(self, data: Comparisons, source: Tensor) -> Tensors:
        """Other comparisons from these sources (N,), for `source_losses`."""
        return self._by_source(Tensors.of(data, self.head), source)

    def source_losses(self, rows: Tensors, source: Tensor) -> Tensor:
        """Mean nats of each source: (K,); 0 for a source that has no rows here."""
        each = rows.nll(self.head, self.codes)
        total = each.new_zeros(self.n_sources).index_add(0, source, each)
        return total / each.new_zeros(self.n_sources).index_add(0, source, rows.weight.to(each)).clamp_min(1e-12)

    def minimise(self, decay: float, steps: int, seed: int) -> Tensor:
        """Adam from where the head stands; returns the weights of every step, (steps, K).

        A pair is in a step's batch or not by a hash of its items and the step, so that neither the order of rows nor
        repetition matters.
        """
        taken = []

        def loss(step: int) -> Tensor:
            rows = torch.as_tensor(np.flatnonzero(uniform(self.pair, seed * 100_003 + step) < self.share))
            rows = rows.to(self.source.device)
            losses = self.source_losses(self.rows.batch(rows), self.source[rows])
            taken.append(weights := self.weigh(losses))
            return weights.to(losses) @ losses + self.head.penalty(decay) / float(self.rows.weight.sum())

        adam(loss, [(list(self.head.parameters()), RATE)], steps=steps)
        return torch.stack(taken)

    def weigh(self, losses: Tensor) -> Tensor:
        """λ of this batch, from gradients of the last layer alone: (K,)."""
        if self.weighting.balance == "plain":
            return torch.full((self.n_sources,), 1 / self.n_sources, dtype=torch.float64)
        rows = [
            torch.cat([g.flatten() for g in torch.autograd.grad(loss, self.last, retain_graph=True)]) for loss in losses
        ]
        gradients = torch.stack(rows).double().cpu()
        return min_norm(normalised(gradients @ gradients.T, losses.detach().double().cpu(), self.weighting.normalise))
