"""EM for a mixture over users, and where it starts."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.cluster import KMeans
from torch import Tensor

from plurality.data.comparisons import Comparisons
from plurality.data.keys import combine, mix, uniform
from plurality.fitting.em import EMResult, best_of, em
from plurality.fitting.optimisers import lbfgs
from plurality.fitting.spectral import spectrum
from plurality.fitting.tuning import standardise
from plurality.models.maxmin.head import Mixture, assign
from plurality.reward.links import nll
from plurality.reward.tensors import Tensors

PSEUDO = 1.0  # users that every group has beforehand, so that no share runs to 0
M_STEPS = 6  # line searches an M-step takes: it need not arrive, EM comes by again


@dataclass(frozen=True)
class MixtureParameters:
    """Parameters of the mixture: maps (K, d) of the head's projector at unit size, log-shares (K,)."""

    maps: Tensor
    log_shares: Tensor


class MixtureEM:
    """A mixture of `groups` rewards on one set of comparisons."""

    def __init__(self, head: Mixture, data: Comparisons) -> None:
        self.head, self.data = head, data
        standardise(head, data)
        self.rows = Tensors.of(data, head)
        self.present = torch.as_tensor(data.present, device=self.rows.user.device)

    def likelihood(self, rows: Tensors | None = None) -> Tensor:
        """Log-likelihood (nats) of every user's comparisons under every group's reward: (U, K)."""
        loss = self._losses(rows or self.rows)
        return -loss.new_zeros(self.data.users.height, self.head.n_codes).index_add(0, (rows or self.rows).user, loss)

    def _losses(self, rows: Tensors) -> Tensor:
        features = self.head.features(rows.items, None)
        gap = features[rows.first] - features[rows.second] + rows.base[:, None]
        return rows.weight[:, None].double() * nll(gap.double(), rows.label[:, None].double())

    def em(
        self, start: MixtureParameters, decay: float, *, max_iter: int, tol: float
    ) -> EMResult[MixtureParameters, Tensor]:
        """EM from these rewards and shares; the bound is the penalised log-likelihood, hard or soft."""
        head = self.head

        def e_step(groups: MixtureParameters) -> tuple[Tensor, float]:
            with torch.no_grad():
                head.projector.linear.copy_(groups.maps)
                likelihood = self.likelihood()[self.present]
                penalty = float(head.penalty(decay))
            if head.hard:
                return assign(likelihood, groups.log_shares, True), float(likelihood.amax(1).sum()) - penalty
            evidence = (likelihood + groups.log_shares).logsumexp(1).sum() + PSEUDO * groups.log_shares.sum()
            return assign(likelihood, groups.log_shares, False), float(evidence) - penalty

        def m_step(responsibilities: Tensor, groups: MixtureParameters) -> MixtureParameters:
            return self.m_step(responsibilities, groups.maps, decay)

        return em(start, e_step, m_step, max_iter=max_iter, tol=tol)

    def m_step(self, responsibilities: Tensor, maps: Tensor, decay: float, steps: int = M_STEPS) -> MixtureParameters:
        """Every group's reward by ridge logistic regression on its share of the users, all groups at once."""
        head, rows = self.head, self.rows
        with torch.no_grad():
            head.projector.linear.copy_(maps)
        share = responsibilities.new_zeros(self.data.users.height, head.n_codes).index_copy(
            0, self.present, responsibilities
        )
        share, total = share[rows.user], float(rows.weight.sum())
        head.projector.linear.requires_grad_(True)

        def loss(step: int) -> Tensor:
            return ((share * self._losses(rows)).sum() + head.penalty(decay)) / total

        lbfgs(loss, [head.projector.linear], steps=steps)
        head.projector.linear.requires_grad_(False)
        mass = responsibilities.sum(0) + PSEUDO
        return MixtureParameters(head.projector.linear.detach().clone(), (mass / mass.sum()).log())

    def start(self, responsibilities: Tensor, decay: float) -> MixtureParameters:
        """The rewards of users who belong like this (U present, K)."""
        return self.m_step(responsibilities, torch.zeros_like(self.head.projector.linear), decay, steps=3 * M_STEPS)

    def starts(self, init: str, decay: float, seed: int, n_init: int) -> Iterator[MixtureParameters]:
        """The start asked for, then random ones; none knows the order or the names of users."""
        groups, order = self.head.n_codes, np.lexsort(_user_marks(self.data))
        for restart in range(n_init):
            if restart or init == "random":
                noise = [uniform(_user_marks(self.data)[0], seed + restart * groups + k) for k in range(groups)]
                place = np.stack(noise, 1)[order].argmax(1)
            elif init == "round_robin" or groups == 1:
                place = np.arange(len(order)) % groups
            else:
                found = spectrum(self.data, max(1, groups - 1)).coordinates.numpy()
                people = found[self.data.present][order]
                distinct = min(groups, len(np.unique(people.round(12), axis=0)))
                place = KMeans(distinct, n_init=4, random_state=seed).fit_predict(people)
            responsibilities = np.full((len(order), groups), 0.1 / groups)
            responsibilities[order, place] += 0.9
            yield self.start(torch.as_tensor(responsibilities).to(self.rows.user.device), decay)

    def evidence(self, responsibilities: Tensor, log_shares: Tensor, other: Tensors) -> Tensor:
        """Log-evidence (nats) of other comparisons by the same users, log Σ_k ρ_uk P(comparisons of u | k): (U,)."""
        prior = log_shares.expand(self.data.users.height, -1).clone()
        prior[self.present] = responsibilities.clamp_min(1e-300).log()
        with torch.no_grad():
            return (prior + self.likelihood(other)).logsumexp(1).cpu()

    def best(
        self, decay: float, starts: Iterable[MixtureParameters], *, max_iter: int, tol: float
    ) -> tuple[EMResult[MixtureParameters, Tensor], list[float]]:
        """EM from every start: the best end, at which the head is left, and the bounds of all ends."""
        end, bounds = best_of(starts, lambda groups: self.em(groups, decay, max_iter=max_iter, tol=tol))
        with torch.no_grad():
            self.head.projector.linear.copy_(end.params.maps)
        return end, bounds


def _user_marks(data: Comparisons) -> tuple[np.ndarray, np.ndarray]:
    """Two keys of each present user made of what they compared and how, so that no name or order counts."""
    marks = []
    for salt in (1, 2):
        pair = combine(
            combine(data.item_keys[data.first], data.item_keys[data.second]), mix(data.label.view(np.int64), salt)
        )
        least = np.full(data.users.height, np.iinfo(np.uint64).max, dtype=np.uint64)
        np.minimum.at(least, data.user, pair)
        marks.append(least[data.present])
    return marks[0], marks[1]
