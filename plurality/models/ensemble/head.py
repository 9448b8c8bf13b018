"""The head of an ensemble: its members' side by side, and a code that says which of them counts how much."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import polars as pl
import torch
from torch import Tensor, nn

from plurality.reward.heads import Head
from plurality.reward.links import log_prob
from plurality.reward.posterior import Evidence, Posterior, Prior

TIED = 1e-9  # share of its variance that the members' weights have towards a sum that is not 1: 0 has no inverse


class EnsembleHead(Head):
    """u(x, z) = Σ_k w_k u_k(x, z_k) with z = [z_1, …, z_K, w]: K heads and their codes, and a weight of 1/K each.

    P(first ≻ second) = Σ_k w_k P_k. The covariance of w is that of a choice of member, c (I − 11ᵀ/K), and that of z_k
    is K S_k, what it is worth 1/K of the time, so that Jᵀ S J is what members differ by, c Σ_k (u_k − ū)², plus the
    mean of what each does not know, Σ_k J_kᵀ S_k J_k / K: the law of total variance. c = (1 + 1/K) / (K − 3), not
    1 / (K − 1): K members know their mean to 1/K of a variance, and that with K − 1 degrees of freedom.
    """

    def __init__(self, members: Sequence[Head]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        first = members[0]
        self.n_members, self.n_embedding, self.uses_prompts = len(members), first.n_embedding, first.uses_prompts
        self.widths = [member.n_codes for member in members]
        self.n_codes = sum(self.widths) + len(members)

    @cached_property
    def sizes(self) -> list[int]:
        """Features of each member."""
        one = next(self.parameters()).new_zeros(1, self.n_embedding)
        with torch.no_grad():
            return [m.features(one, one if m.uses_prompts else None).shape[-1] for m in self.heads]

    @property
    def heads(self) -> list[Any]:
        """The members."""
        return list(self.members)

    def features(self, items: Tensor, prompts: Tensor | None) -> Tensor:
        return torch.cat([m.features(items, prompts) for m in self.heads], -1)

    def centre(self, prompts: Tensor | None) -> Tensor | None:
        each = [m.centre(prompts) for m in self.heads]
        return None if any(c is None for c in each) else torch.cat(each, -1)

    def by_member(self, features: Tensor, codes: Tensor) -> Tensor:
        parts = zip(self.heads, features.split(self.sizes, -1), self._codes(codes)[0], strict=True)
        return torch.stack([m.utility(f, z) for m, f, z in parts])

    def utility(self, features: Tensor, codes: Tensor) -> Tensor:
        weights = self._codes(codes)[1]
        return (self.by_member(features, codes) * weights.movedim(-1, 0)).sum(0)

    def population(self, features: Tensor, codes: Tensor) -> Tensor:
        each, weights = self._codes(codes)
        parts = zip(self.heads, features.split(self.sizes, -1), each, weights.unbind(-1), strict=True)
        total = features.new_zeros(len(codes), len(features))
        for member, f, z, w in parts:
            total = total + w[:, None] * member.population(f, z)
        return total

    def coefficients(self, codes: Tensor) -> Tensor:
        """Of members that are bilinear."""
        each, weights = self._codes(codes)
        parts = zip(self.heads, each, weights.unbind(-1), strict=True)
        return torch.cat([w[..., None] * m.coefficients(z) for m, z, w in parts], -1)

    def log_odds(self, first: Tensor, second: Tensor, codes: Tensor, base: Tensor | float = 0.0) -> Tensor:
        each, weights = self._codes(codes)
        parts = zip(self.heads, first.split(self.sizes, -1), second.split(self.sizes, -1), each, strict=True)
        gaps = torch.stack([m.log_odds(a, b, z, base) for m, a, b, z in parts], -1)
        share = weights.clamp_min(torch.finfo(weights.dtype).tiny).log()
        odds: Tensor = (share + log_prob(gaps)).logsumexp(-1) - (share + log_prob(-gaps)).logsumexp(-1)
        return odds

    def penalty(self, decay: float) -> Tensor:
        return torch.stack([m.penalty(decay) for m in self.heads]).sum()

    def standardise(self, first: Tensor, second: Tensor, prompts: Tensor | None, weight: Tensor) -> None:
        """Each member has learned its own."""

    def show(self, codes: Tensor) -> dict[str, Tensor]:
        """Nothing: members have codes of their own meaning."""
        return {}

    def infer(
        self, evidence: Evidence, prior: Prior, n_users: int, *, start: Tensor | None = None, tol: float = 1e-6
    ) -> Posterior:
        """Each member by itself; they share the comparisons and nothing else."""
        starts = [None] * self.n_members if start is None else self._codes(start)[0]
        parts = zip(self.heads, self._evidence(evidence), self.priors(prior), starts, strict=True)
        return self.joined([m.infer(e, p, n_users, start=s, tol=tol) for m, e, p, s in parts])

    def update(self, evidence: Evidence, known: Posterior, prior: Prior, forget: float = 0.0) -> Posterior:
        parts = zip(self.heads, self._evidence(evidence), self.posteriors(known), self.priors(prior), strict=True)
        return self.joined([m.update(e, k, p, forget) for m, e, k, p in parts])

    def points(self, posterior: Posterior) -> tuple[Tensor, Tensor]:
        """Members' points side by side where all have as many of the same weight, else one member after another."""
        each = [m.points(p) for m, p in zip(self.heads, self.posteriors(posterior), strict=True)]
        users, k = len(posterior.codes), self.n_members
        weights = posterior.codes.new_full((k,), 1 / k)
        if all(w.dim() == 1 and len(w) == len(each[0][1]) for _, w in each):
            count = len(each[0][1])
            return torch.cat([*(z for z, _ in each), weights.expand(users, count, k)], -1), each[0][1]
        apart, shares = [], []
        modes = self._codes(posterior.codes)[0]
        for place, (own, log_weight) in enumerate(each):
            count = own.shape[1]
            blocks = [z[:, None].expand(-1, count, -1) for z in modes]
            blocks[place] = own
            alone = torch.eye(k, dtype=weights.dtype)[place].expand(users, count, k)
            apart.append(torch.cat([*blocks, alone], -1))
            shares.append(log_weight.expand(users, count) + weights[place].log())
        return torch.cat(apart, 1), torch.cat(shares, 1)

    def prior_of(self, prior: Prior, users: pl.DataFrame) -> Prior:
        each = [m.prior_of(p, users) for m, p in zip(self.heads, self.priors(prior), strict=True)]
        return self.joined_prior(each)

    def uncertainty(self, posterior: Posterior, prior: Prior) -> Tensor:
        """Mean over the members that tell users apart; 1 where none does."""
        parts = zip(self.heads, self.posteriors(posterior), self.priors(prior), strict=True)
        each = [m.uncertainty(p, q) for m, p, q in parts if m.n_codes]
        return torch.stack(each).mean(0) if each else torch.ones(len(posterior.codes), dtype=torch.float64)

    def joined(self, members: Sequence[Posterior]) -> Posterior:
        """What is believed of codes when each member believes this of its own."""
        users, k = len(members[0].codes), self.n_members
        weights = torch.full((users, k), 1 / k, dtype=torch.float64)
        choice = torch.linalg.inv(self._choice()).expand(users, -1, -1)
        covariance = _blocks([*(k * p.covariance for p in members), choice])
        return Posterior(torch.cat([*(p.codes for p in members), weights], -1), covariance)

    def joined_prior(self, members: Sequence[Prior]) -> Prior:
        """The population of codes, of members' populations (C,), or (U, …) by user."""
        k, shape = self.n_members, torch.broadcast_shapes(*(p.mean.shape[:-1] for p in members))
        means = [p.mean.expand(*shape, -1) for p in members]
        weights = torch.full((*shape, k), 1 / k, dtype=torch.float64)
        blocks = [*(p.precision / k for p in members), self._choice()]
        precision = _blocks([b.expand(*shape, *b.shape[-2:]) for b in blocks])
        return Prior(torch.cat([*means, weights], -1), precision)

    def posteriors(self, posterior: Posterior) -> list[Posterior]:
        """What each member believes of its own codes."""
        blocks = zip(self._codes(posterior.codes)[0], self._parts(posterior.covariance), strict=True)
        return [Posterior(z, covariance / self.n_members) for z, covariance in blocks]

    def priors(self, prior: Prior) -> list[Prior]:
        """Each member's population."""
        blocks = zip(self._codes(prior.mean)[0], self._parts(prior.precision), strict=True)
        return [Prior(mean, precision * self.n_members) for mean, precision in blocks]

    def _codes(self, codes: Tensor) -> tuple[list[Tensor], Tensor]:
        """Each member's codes (..., C_k), and the members' weights (..., K)."""
        *each, weights = codes.split([*self.widths, self.n_members], -1)
        return each, weights

    def _parts(self, square: Tensor) -> list[Tensor]:
        """Each member's block of a matrix (..., C, C)."""
        ends = torch.tensor(self.widths).cumsum(0).tolist()
        return [square[..., e - w : e, e - w : e] for e, w in zip(ends, self.widths, strict=True)]

    def _choice(self) -> Tensor:
        """Precision of the members' weights (K, K): theirs whose sum is 1, and all but certain that it is."""
        k = self.n_members
        mean = torch.full((k, k), 1 / k, dtype=torch.float64)
        scale = (k - 3) / (1 + 1 / k)
        return scale * (torch.eye(k, dtype=torch.float64) - mean + mean / TIED)

    def _evidence(self, evidence: Evidence) -> list[Evidence]:
        rest = evidence.user, evidence.label, evidence.weight, evidence.base
        sides = zip(evidence.first.split(self.sizes, -1), evidence.second.split(self.sizes, -1), strict=True)
        return [Evidence(first, second, *rest) for first, second in sides]


def _blocks(squares: Sequence[Tensor]) -> Tensor:
    """Block-diagonal matrices (..., C, C) of (..., C_k, C_k)."""
    width = sum(s.shape[-1] for s in squares)
    out, at = squares[-1].new_zeros(*squares[-1].shape[:-2], width, width), 0
    for square in squares:
        upto = at + square.shape[-1]
        out[..., at:upto, at:upto] = square
        at = upto
    return out
