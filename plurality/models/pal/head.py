"""PAL's heads: ideal points (form A) and directions that depend on the prompt (form B)."""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize, softmax

from plurality.reward.heads import Projected, Projector, normal
from plurality.reward.inputs import Inputs


class IdealPoint(Projected):
    """PAL-A: utility falls with the distance from item to the user's ideal point P w, w = softmax(z).

    distance = "squared": u = −‖f(x) − P w‖² + const(w) = ⟨[2 Pᵀf(x), −‖f(x)‖²], [w, 1]⟩  (bilinear)
    distance = "norm":    u = −s‖f(x) − P w‖, the plain norm of the authors' code (not bilinear)
    The squared form needs no temperature of its own: scaling f and P together is one. With `curvature` 0 it is
    the vector model, the limit of ideal points far outside the items: u = 2⟨f(x), P w⟩.
    Source: PAL, arXiv 2406.08469, §3 (model A).
    """

    curvature: Tensor

    def __init__(
        self,
        width: int,
        *,
        prototypes: int,
        preference: int,
        hidden: int,
        distance: str,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.n_embedding, self.n_codes, self.distance = width, prototypes, distance
        self.projector = Projector(width, preference, hidden, generator)
        self.prototypes = nn.Parameter(normal((prototypes, preference), 1.0, generator))  # (K, p)
        self.register_buffer("curvature", torch.ones(()))
        if distance == "norm":
            self.log_scale = nn.Parameter(torch.zeros(()))

    @torch.no_grad()
    def start_far(self, direction: Tensor) -> None:
        """Begin as the vector model with every prototype along one pooled direction (d,), standardised inputs.

        The first preference dimension carries it, 2⟨f, p_k⟩ = ⟨direction, x⟩; in the others prototypes differ a little.
        """
        self.curvature.zero_()
        size = direction.norm().clamp_min(1e-6).sqrt()
        self.projector.linear.mul_(0.1)
        self.projector.linear[0] = direction * self.n_embedding**0.5 / (2 * size)
        self.prototypes[:, 0] = size

    def penalty(self, decay: float) -> Tensor:
        return decay * self.projector.penalty() + self.prototypes.square().sum() / 2

    def mean_code(self, codes: Tensor) -> Tensor:
        return softmax(codes, -1).mean(0).log()

    def features(self, items: Tensor, prompts: Tensor | None) -> Tensor:
        f: Tensor = self.projector(items)  # (M, p)
        if self.distance == "norm":
            return f
        return torch.cat([2 * f @ self.prototypes.T, -self.curvature * f.square().sum(-1, keepdim=True)], -1)

    def coefficients(self, codes: Tensor) -> Tensor:
        w = softmax(codes, -1)
        return torch.cat([w, torch.ones_like(w[..., :1])], -1)

    @property
    def bilinear(self) -> bool:
        return self.distance == "squared"

    def utility(self, features: Tensor, codes: Tensor) -> Tensor:
        if self.distance == "squared":
            return super().utility(features, codes)
        ideal = softmax(codes, -1) @ self.prototypes
        square = (features - ideal).square().sum(-1)
        return -self.log_scale.exp() * (square + 1e-12).sqrt()  # the floor keeps the gradient finite at 0

    def population(self, features: Tensor, codes: Tensor) -> Tensor:
        if self.distance == "squared":
            return super().population(features, codes)
        ideal = softmax(codes, -1) @ self.prototypes
        return -self.log_scale.exp() * torch.cdist(ideal, features)

    def show(self, codes: Tensor) -> dict[str, Tensor]:
        return {f"weight_{k}": w for k, w in enumerate(softmax(codes, -1).T)}


class PromptDirection(Projected):
    """PAL-B: the user's direction depends on the prompt, v(q) = Σ_k w_k g_k(q), w = softmax(z).

    angle = False: u = ⟨f(x), v(q)⟩ = ⟨[⟨f(x), g_k(q)⟩]_k, w⟩  (bilinear)
    angle = True:  u = s cos(f(x), v(q)), s ≤ 100, as in the authors' code (not bilinear)
    Source: PAL, arXiv 2406.08469, §3 (model B).
    """

    uses_prompts = True

    def __init__(
        self,
        width: int,
        *,
        prototypes: int,
        preference: int,
        hidden: int,
        angle: bool,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.n_embedding, self.n_codes, self.angle, self.preference = width, prototypes, angle, preference
        self.projector = Projector(width, preference, hidden, generator)
        self.maps = Projector(width, prototypes * preference, hidden, generator)  # g_k, all k at once
        self.constant = nn.Parameter(normal((prototypes, preference), 1.0, generator))  # g_k's bias
        if angle:
            self.log_scale = nn.Parameter(torch.full((), -math.log(0.07)))

    def standardise(self, first: Tensor, second: Tensor, prompts: Tensor | None, weight: Tensor) -> None:
        assert prompts is not None
        self.projector.standardise_sides(first, second, weight)
        share = weight.double() / weight.double().sum()
        mean = share @ prompts.double()
        self.maps.standardise(mean, share @ (prompts.double() - mean).square().mean(1))

    def absorb(self, items: Inputs, prompts: Inputs | None) -> None:
        super().absorb(items, None)
        if prompts is not None:
            self.maps.absorb(prompts)

    def penalty(self, decay: float) -> Tensor:
        return decay * (self.projector.penalty() + self.maps.penalty()) + self.constant.square().sum() / 2

    def mean_code(self, codes: Tensor) -> Tensor:
        return softmax(codes, -1).mean(0).log()

    def features(self, items: Tensor, prompts: Tensor | None) -> Tensor:
        assert prompts is not None  # RewardModel and fit ask for them
        f = self.projector(items)  # (M, p)
        g = self.maps(prompts).unflatten(-1, self.constant.shape) + self.constant
        if self.angle:
            return torch.cat([f[:, None], g], 1).flatten(1)  # (M, (1 + K) p)
        return torch.einsum("mp,mkp->mk", f, g)

    def coefficients(self, codes: Tensor) -> Tensor:
        return softmax(codes, -1)

    @property
    def bilinear(self) -> bool:
        return not self.angle

    def utility(self, features: Tensor, codes: Tensor) -> Tensor:
        if not self.angle:
            return super().utility(features, codes)
        f, g = self._parts(features)
        v = (softmax(codes, -1).unsqueeze(-1) * g).sum(-2)
        return self.log_scale.exp().clamp(max=100.0) * (normalize(f, dim=-1) * normalize(v, dim=-1)).sum(-1)

    def population(self, features: Tensor, codes: Tensor) -> Tensor:
        if not self.angle:
            return super().population(features, codes)
        f, g = self._parts(features)
        w = softmax(codes, -1)
        inner = w @ torch.einsum("mp,mkp->km", normalize(f, dim=-1), g)  # ⟨f/‖f‖, v⟩, (U, M)
        gram = torch.einsum("mkp,mlp->klm", g, g).flatten(0, 1)  # ‖v‖² = wᵀ G w, so no (U, M, p) is ever held
        square = (w[:, :, None] * w[:, None, :]).flatten(1) @ gram
        return self.log_scale.exp().clamp(max=100.0) * inner / square.clamp_min(1e-24).sqrt()

    def _parts(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """f (..., p) and g (..., K, p) of the angle form's features."""
        f, g = features[..., : self.preference], features[..., self.preference :]
        return f, g.reshape(*g.shape[:-1], *self.constant.shape)

    def show(self, codes: Tensor) -> dict[str, Tensor]:
        return {f"weight_{k}": w for k, w in enumerate(softmax(codes, -1).T)}
