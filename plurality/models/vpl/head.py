"""VPL's torch modules: an encoder from comparisons to what is believed of a user, and a reward conditional on it.

Shapes: N comparisons, U users, M items, d embedding width, p trunk features, F = 2p, C latent width, S draws.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from plurality.reward.heads import Projected, Projector, normal
from plurality.reward.posterior import Evidence, Posterior, Prior, times

AGGREGATIONS = ("product", "attention", "mean")
N_TANH_UNITS = 16  # units of the decoder that bend in z
N_GAIN_UNITS = 8  # hidden units of an encoder's gains
SATURATION_INIT = 32.0  # comparisons at which averages stop growing more certain, to begin with


def normal_kl(mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """KL (nats) of N(mean, covariance) from N(0, I): of each dimension's marginal (U, C), and of their dependence (U,).

    Σ_c ½(σ²_c + μ²_c − 1 − log σ²_c) plus ½(Σ_c log σ²_c − log det Σ), neither ever negative.
    """
    variance = covariance.diagonal(dim1=-2, dim2=-1)
    marginal = (variance + mean.square() - 1 - variance.log()) / 2
    root = torch.linalg.cholesky(covariance).diagonal(dim1=-2, dim2=-1)
    return marginal, variance.log().sum(-1) / 2 - root.log().sum(-1)


class PosteriorEncoder(nn.Module):
    """q(z | comparisons), from natural parameters that are sums over comparisons: one pass, any number, any order.

    A comparison whose sides differ by δ = φ₁ − φ₂, with sign s = 2y − 1 (a tie is 0), is a reading of ⟨v, z⟩, v = Eδ:
        Λ = Λ₀ + Σ ω κ v vᵀ,   η = Λ₀μ₀ + Σ ω (a s/2 − b κ m) v,   q = N(Λ⁻¹η, f Λ₀⁻¹ + (1 − f) Λ⁻¹),
        κ = g tanh(ξ/2) / 2ξ,   ξ² = m² + ‖v‖²,   m = b + ⟨e, δ⟩, what is expected of any user
    (b alone, the base reward's gap, unless `centred`).
    The gains a, b, g > 0 are learned functions of |m| and ‖v‖, which know neither sides nor label; where they are 1
    this is the bound of Jaakkola & Jordan (2000, eq. 6–8) on a logistic likelihood, taken at the prior. ω is
        product     w, so that q ∝ prior × Π exp(evidence) and its variance falls with every comparison
        attention   n₁ w exp(ℓ) / (n₀ + Σ w exp(ℓ)), ℓ a learned function of |m| and ‖v‖
        mean        n₁ w / (n₀ + Σ w)
    Exchanging sides with their labels changes nothing; turning labels round mirrors the mean about what ties would
    give, which is the prior's mean unless `centred`. Without comparisons q is the prior. f floors the variance.
    """

    def __init__(
        self,
        n_features: int,
        n_codes: int,
        *,
        aggregation: str,
        centred: bool,
        floor: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.aggregation, self.centred, self.floor = aggregation, centred, floor
        self.evidence = nn.Parameter(torch.zeros(n_codes, n_features))
        self.expected = nn.Parameter(torch.zeros(n_features))
        self.gain_in = nn.Parameter(normal((3, N_GAIN_UNITS), 0.5, generator))
        self.gain_bias = nn.Parameter(normal((N_GAIN_UNITS,), 0.3, generator))
        self.gain_out = nn.Parameter(torch.zeros(N_GAIN_UNITS, 4))
        if aggregation != "product":
            self.log_sizes = nn.Parameter(torch.full((2,), math.log(SATURATION_INIT)))  # n₀, n₁

    def forward(
        self, difference: Tensor, user: Tensor, label: Tensor, weight: Tensor, base: Tensor, prior: Prior
    ) -> Posterior:
        """Differences (n, F), (n,) columns, a prior with mean (U, C) -> posterior of U users."""
        v = difference @ self.evidence.T  # (n, C)
        m = base + difference @ self.expected if self.centred else base
        size = v.square().sum(-1)
        xi = (m.square() + size + 1e-6).sqrt()
        inputs = torch.stack([m.abs(), (size + 1e-6).sqrt(), xi.log()], -1)
        gains = torch.tanh(inputs @ self.gain_in + self.gain_bias) @ self.gain_out
        a, b, g = gains[:, :3].exp().unbind(-1)
        kappa = g * torch.tanh(xi / 2) / (2 * xi)
        share = self._share(gains[:, 3], user, weight, len(prior.mean))
        reading = share * (a * (2 * label - 1) / 2 - b * kappa * m)
        outer = (share * kappa)[:, None, None] * v[:, :, None] * v[:, None, :]
        precision = prior.precision.expand(len(prior.mean), -1, -1).index_add(0, user, outer)
        natural = (prior.mean @ prior.precision).index_add(0, user, reading[:, None] * v)
        root = torch.linalg.cholesky(precision)
        mean = torch.cholesky_solve(natural[..., None], root)[..., 0]
        broad = torch.linalg.inv(prior.precision)
        return Posterior(mean, self.floor * broad + (1 - self.floor) * torch.cholesky_inverse(root))

    def _share(self, logit: Tensor, user: Tensor, weight: Tensor, n_users: int) -> Tensor:
        """ω of each comparison: (n,)."""
        if self.aggregation == "product":
            return weight
        mass = weight * logit.exp() if self.aggregation == "attention" else weight
        n0, n1 = self.log_sizes.exp()
        total = n0 + mass.new_zeros(n_users).index_add(0, user, mass)
        share: Tensor = n1 * mass / total[user]
        return share


class VPLHead(Projected):
    """VPL: u(x, z) = ⟨φ(x), c(z)⟩ + MLP[φ(x); z], with z inferred by one pass of an encoder over a user's comparisons.

    φ = [f, f²], f a linear map of the standardised embedding to p features; c(z) = c₀ + Bz + D tanh(Wz + b). Both a
    linear and a bent taste are bilinear in (φ, c), so a population is scored by one matrix product. The MLP over
    features and code together, as the authors have it, is there with `hidden` > 0.
    Source: VPL, arXiv 2408.10075, §3.2–3.3.
    """

    rotatable = True

    def __init__(
        self,
        width: int,
        *,
        n_codes: int,
        n_features: int,
        hidden: int,
        aggregation: str,
        centred: bool,
        floor: float,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.n_embedding, self.n_codes, self.hidden = width, n_codes, hidden
        self.projector = Projector(width, n_features, 0, generator)
        wide = 2 * n_features

        def start(*shape: int, scale: float) -> nn.Parameter:
            return nn.Parameter(normal(shape, scale, generator))

        self.shared = nn.Parameter(torch.zeros(wide))
        self.straight = start(n_codes, wide, scale=0.02)
        self.bend_in, self.bend_bias = start(n_codes, N_TANH_UNITS, scale=0.5), start(N_TANH_UNITS, scale=0.5)
        self.bend_out = start(N_TANH_UNITS, wide, scale=0.02)
        self.encoder = PosteriorEncoder(
            wide, n_codes, aggregation=aggregation, centred=centred, floor=floor, generator=generator
        )
        if hidden:
            self.inner, self.inner_code = start(wide, hidden, scale=wide**-0.5), start(n_codes, hidden, scale=0.5)
            self.inner_bias, self.outer = nn.Parameter(torch.zeros(hidden)), nn.Parameter(torch.zeros(hidden))

    def penalty(self, decay: float) -> Tensor:
        """`decay` on the map of embeddings, a unit normal prior on what comes after it."""
        rest = [self.shared, self.straight, self.bend_in, self.bend_out, self.encoder.evidence, self.encoder.expected]
        rest += [self.inner, self.inner_code, self.outer] if self.hidden else []
        return decay * self.projector.penalty() + sum((w.square().sum() for w in rest), start=rest[0].new_zeros(())) / 2

    def features(self, items: Tensor, prompts: Tensor | None) -> Tensor:
        f = self.projector(items)
        return torch.cat([f, f.square()], -1)

    def coefficients(self, codes: Tensor) -> Tensor:
        bent = torch.tanh(codes @ self.bend_in + self.bend_bias)
        return self.shared + codes @ self.straight + bent @ self.bend_out

    def utility(self, features: Tensor, codes: Tensor) -> Tensor:
        bilinear = super().utility(features, codes)
        return bilinear + self._joint(features, codes) if self.hidden else bilinear

    def population(self, features: Tensor, codes: Tensor) -> Tensor:
        bilinear = super().population(features, codes)
        if not self.hidden:
            return bilinear
        return bilinear + torch.stack([self._joint(features, z) for z in codes])  # one user at a time: never (U, M, h)

    def _joint(self, features: Tensor, codes: Tensor) -> Tensor:
        """The MLP over features (..., F) and codes (..., C) together: (...)."""
        return gelu(features @ self.inner + codes @ self.inner_code + self.inner_bias) @ self.outer

    def gaps(self, first: Tensor, second: Tensor, codes: Tensor) -> Tensor:
        """Log-odds of each user's Q comparisons under S codes: (U, Q, F) a side, (U, S, C) -> (U, Q, S)."""
        out = (first - second) @ self.coefficients(codes).mT
        if self.hidden:
            z = codes[:, None]
            out = out + self._joint(first[:, :, None], z) - self._joint(second[:, :, None], z)
        return out

    def mean_code(self, codes: Tensor) -> Tensor:
        return codes.new_zeros(self.n_codes)

    def show(self, codes: Tensor) -> dict[str, Tensor]:
        return {f"z_{k}": z for k, z in enumerate(codes.T)}

    def infer(
        self, evidence: Evidence, prior: Prior, n_users: int, *, start: Tensor | None = None, tol: float = 1e-6
    ) -> Posterior:
        """One pass of the encoder; there is nothing to start from or to converge."""
        priors = Prior(prior.mean.expand(n_users, self.n_codes), prior.precision)
        difference = evidence.first - evidence.second
        with torch.no_grad():
            columns = evidence.user, evidence.label, evidence.weight, evidence.base
            found: Posterior = self.encoder(difference, *columns, priors)
        return found

    def update(self, evidence: Evidence, known: Posterior, prior: Prior, forget: float = 0.0) -> Posterior:
        """Natural parameters add, Λ = Λ₁ + Λ₂ − Λ₀: exact for a product of experts, as good as each for attention."""
        floor, broad = self.encoder.floor, torch.linalg.inv(prior.precision)

        def without_floor(belief: Posterior) -> Prior:
            return Posterior(belief.codes, (belief.covariance - floor * broad) / (1 - floor)).as_prior()

        before = without_floor(known.forgotten(prior, forget))
        found = without_floor(self.infer(evidence, prior, len(known.codes)))
        linear = times(before.mean, before.precision) + times(found.mean, found.precision)
        linear = linear - times(prior.mean.expand_as(known.codes), prior.precision)
        covariance = torch.linalg.inv(before.precision + found.precision - prior.precision)
        return Posterior(times(linear, covariance), floor * broad + (1 - floor) * covariance)
