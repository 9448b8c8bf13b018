"""Heads: torch modules that turn a frozen embedding and a user's code into a utility.

Shapes: M items, U users, N comparisons, d embedding width, F features, C code width, K prototypes.
Every head here is bilinear, u(x, z) = ⟨φ(x), c(z)⟩, except the norm and angle forms of PAL.
"""

import copy
from abc import ABC, abstractmethod
from typing import Any, Self

import polars as pl
import torch
from torch import Tensor, nn

from plurality.reward.inputs import Inputs
from plurality.reward.posterior import Bilinear, Evidence, LogOdds, Posterior, Prior, laplace

BLOCK = 2_048  # embeddings that sizes are taken of at once
UNBOUNDED = 3e38  # a bound that no float32 entry crosses, finite so that it can be saved


class Head(nn.Module, ABC):
    """Utility u(x, z) in log-odds, computed through features φ(x) that do not depend on the user.

    A family writes `features`, `penalty`, `standardise` and `show`, and `coefficients` where its utility is bilinear,
    or else `utility` and `population`; `check_model` sees whether they agree.
    All that is learned and shared by users is here; `infer` and the three after it say how a user's code is got
    and what is believed of it. The defaults are those of a Gaussian code in a utility that is smooth in it.
    """

    n_codes: int  # C, the width of a user's unconstrained code z
    n_embedding: int  # d
    uses_prompts: bool = False
    objectives: tuple[str, ...] = ()  # names of K rewards that it holds beside users', `by_objective`
    n_members: int = 0  # of an ensemble, whose rewards are `by_member`
    rotatable: bool = False  # whether turned codes are the same model, so that no entry means anything by itself

    @abstractmethod
    def features(self, items: Tensor, prompts: Tensor | None) -> Tensor:
        """φ of items (M, d), and of their prompts (M, d) where the head uses them: (M, F)."""

    def utility(self, features: Tensor, codes: Tensor) -> Tensor:
        """u = ⟨φ, c(z)⟩ for features (..., F) and codes (..., C) of matching leading shape: (...)."""
        return (features * self.coefficients(codes)).sum(-1)

    def population(self, features: Tensor, codes: Tensor) -> Tensor:
        """Utility of every item to every user, one matrix product: (M, F), (U, C) -> (U, M)."""
        return self.coefficients(codes) @ features.T

    def coefficients(self, codes: Tensor) -> Tensor:
        """c(z) of a bilinear utility: (..., C) -> (..., F)."""
        raise NotImplementedError(f"{type(self).__name__}: write coefficients, or both utility and population")

    def log_odds(self, first: Tensor, second: Tensor, codes: Tensor, base: Tensor | float = 0.0) -> Tensor:
        """Log-odds that the first is preferred, as labels have it: features (..., F) a side, codes (..., C) -> (...).

        The gap of utilities, except where labels are more than that: flipped at times, or of variable utilities.

        base    gap (...) of the reward that utilities come on top of, in log-odds
        """
        return self.utility(first, codes) - self.utility(second, codes) + base

    def by_objective(self, features: Tensor) -> Tensor:
        """Reward by each of the `objectives`: (M, F) -> (M, K)."""
        raise NotImplementedError(f"{type(self).__name__} has no objectives")

    def by_member(self, features: Tensor, codes: Tensor) -> Tensor:
        """Utility by each of `n_members` of an ensemble: (..., F), (..., C) -> (K, ...)."""
        raise NotImplementedError(f"{type(self).__name__} is no ensemble")

    def reliability(self, posterior: Posterior) -> Tensor | None:
        """P(a label is what its user prefers) before either is known, (U,); None for heads without flipped labels.

        Heads that have it have utilities that do not depend on the code.
        """
        return None

    @abstractmethod
    def penalty(self, decay: float) -> Tensor:
        """Minus the log-prior (nats) of the shared weights at this decay: a scalar."""

    @abstractmethod
    def standardise(self, first: Tensor, second: Tensor, prompts: Tensor | None, weight: Tensor) -> None:
        """Learn the scale of inputs from a sample of comparisons, (n, d) a side, weight (n,), before the first step."""

    def centre(self, prompts: Tensor | None) -> Tensor | None:
        """φ of the mean item it was fitted on, (1, F), or under each of M prompts (M, d); None where none is kept.

        It is what a standard deviation of a utility is a gap to: see `plurality.reward.spread`.
        """
        return None

    def mean_code(self, codes: Tensor) -> Tensor:
        """The population's code, which a user nothing is known of gets: (U, C) -> (C,)."""
        return codes.mean(0)

    @abstractmethod
    def show(self, codes: Tensor) -> dict[str, Tensor]:
        """The code as a person reads it (simplex weights, a temperature): named columns of shape (U,)."""

    def infer(
        self, evidence: Evidence, prior: Prior, n_users: int, *, start: Tensor | None = None, tol: float = 1e-6
    ) -> Posterior:
        """What a user's comparisons say of their code, all users at once; on a head in double precision."""
        return laplace(self._solvable, evidence, prior, n_users, start=start, tol=tol)

    def update(self, evidence: Evidence, known: Posterior, prior: Prior, forget: float = 0.0) -> Posterior:
        """What is known of users with more comparisons, all users at once; on a head in double precision.

        `known` becomes the prior of `evidence`, shrunk towards `prior`, the population, by the share `forget` first.
        """
        before = known.forgotten(prior, forget)
        return laplace(self._solvable, evidence, before.as_prior(), len(before.codes), start=before.codes)

    @property
    def bilinear(self) -> bool:
        """Whether log-odds are ⟨φ₁ − φ₂, c(z)⟩ and no more, so that codes are inferred a user at a time."""
        return type(self).utility is Head.utility and type(self).log_odds is Head.log_odds

    @property
    def _solvable(self) -> LogOdds | Bilinear:
        return Bilinear(self.coefficients) if self.bilinear else self.log_odds

    def points(self, posterior: Posterior) -> tuple[Tensor, Tensor]:
        """Codes (U, S, C), with log-weights (S,) or (U, S), that a prediction is averaged over."""
        points = posterior.normal_points()
        return points, points.new_zeros(points.shape[1]) - torch.tensor(points.shape[1]).log()

    def prior_of(self, prior: Prior, users: pl.DataFrame) -> Prior:
        """The prior of these users, given what the frame says of them; here the same for all."""
        return prior

    def uncertainty(self, posterior: Posterior, prior: Prior) -> Tensor:
        """How much is not known of each user: 1 before any comparison, towards 0 with them; (U,)."""
        return posterior.uncertainty(prior)

    def doubled(self) -> Self:
        """A copy in double precision on the CPU, where codes are inferred."""
        return copy.deepcopy(self).cpu().double().requires_grad_(False)


class Projector(nn.Module):
    """f: embedding (M, d) -> preference space (M, p); linear, or with `hidden` > 0 two layers and a linear skip.

    Inputs are standardised, (x − mean) / scale, with one mean a dimension and one scale overall, so the
    geometry stays as it was and a weight decay means the same for any encoder: afterwards a difference of two
    compared items has mean square 2 a dimension, as two draws from N(0, I) have. Where a fit saw dimensions scaled
    one by one (`absorb`), the scale (d,) is theirs, and entries out of all proportion are cut. Weights are kept at
    unit size and divided by √fan-in in the product, so that one learning rate and one decay serve any width. They
    absorb mean and scale in the product, so no standardised copy of a memory-mapped embedding is ever made.
    """

    mean: Tensor
    scale: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, n_in: int, n_out: int, hidden: int, generator: torch.Generator) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_in))
        self.register_buffer("scale", torch.ones(n_in))
        self.register_buffer("low", torch.full((n_in,), -UNBOUNDED))
        self.register_buffer("high", torch.full((n_in,), UNBOUNDED))
        self.linear = nn.Parameter(normal((n_out, n_in), 1.0, generator))
        self.hidden = hidden
        if hidden:
            self.inner = nn.Parameter(normal((hidden, n_in), 1.0, generator))
            self.bias = nn.Parameter(torch.zeros(hidden))
            self.outer = nn.Parameter(normal((n_out, hidden), 0.3, generator))

    def standardise(self, mean: Tensor, variance: Tensor) -> None:
        """Take the mean (d,) and the variance, one for all dimensions, of the inputs to come."""
        self.mean.copy_(mean)
        varies = variance > 1e-12 * mean.square().mean()  # or all inputs are one, and the rest is rounding
        self.scale.fill_(variance.sqrt() if varies else 1.0)

    def absorb(self, inputs: Inputs) -> None:
        """Take embeddings as they come, after a fit that saw `inputs` of them: the same map."""
        if inputs.directions is not None:
            self._widen(torch.as_tensor(inputs.directions))
        scale = torch.as_tensor(inputs.scale)
        self.low.copy_(torch.as_tensor(inputs.low).clamp_min(-UNBOUNDED))
        self.high.copy_(torch.as_tensor(inputs.high).clamp_max(UNBOUNDED))
        self.mean.copy_(torch.as_tensor(inputs.centre) + self.mean.double() * scale)
        self.scale.copy_(self.scale.double() * scale)

    def _widen(self, directions: Tensor) -> None:
        """Take x where a fit saw x @ directions (d, K): the same map, by weights (·, d) of the same K directions."""
        d, kept = directions.shape
        wide = directions.to(self.linear).T * (d / kept) ** 0.5  # a product divides by √ of its width
        self.linear = nn.Parameter(self.linear @ wide, requires_grad=self.linear.requires_grad)
        if self.hidden:
            self.inner = nn.Parameter(self.inner @ wide, requires_grad=self.inner.requires_grad)
        self.mean = directions.to(self.mean) @ self.mean
        self.scale = self.scale[:1].expand(d).clone()  # one for all dimensions until it has absorbed others
        self.low, self.high = self.low.new_full((d,), -UNBOUNDED), self.high.new_full((d,), UNBOUNDED)

    def _load_from_state_dict(self, state: dict[str, Tensor], prefix: str, *rest: Any) -> None:
        """Models of before 0.2 have one scale for all dimensions, and cut nothing."""
        if (found := state.get(f"{prefix}scale")) is not None and not found.dim():
            state |= {
                f"{prefix}scale": found.expand_as(self.scale),
                f"{prefix}low": self.low,
                f"{prefix}high": self.high,
            }
        super()._load_from_state_dict(state, prefix, *rest)

    def standardise_sides(self, a: Tensor, b: Tensor, weight: Tensor) -> None:
        """Learn mean and scale from both sides of a sample of comparisons: (n, d), (n, d), weights (n,)."""
        share = weight.double() / weight.double().sum()
        mean, variance = share.new_zeros(a.shape[1]), share.new_zeros(())
        for start in range(0, len(a), BLOCK):
            rows = slice(start, start + BLOCK)
            part, x, y = share[rows], a[rows].double(), b[rows].double()
            mean += part @ (x + y) / 2
            variance += part @ (x - y).square().mean(1) / 2
        self.standardise(mean, variance)

    def forward(self, x: Tensor) -> Tensor:
        if bool((self.high < UNBOUNDED).any()):
            x = x.clamp(self.low.to(x.dtype), self.high.to(x.dtype))
        out = self._product(x, self.linear)
        if self.hidden:
            out = out + nn.functional.gelu(self._product(x, self.inner) + self.bias) @ (
                self.outer.T * self.hidden**-0.5
            )
        return out

    def raw(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """What a weight (n, d) on standardised inputs is on inputs as they come: matrix (n, d) and shift (n,)."""
        weight = weight / (self.scale * weight.shape[1] ** 0.5)
        return weight, -(self.mean @ weight.T)

    def _product(self, x: Tensor, weight: Tensor) -> Tensor:
        matrix, shift = self.raw(weight)
        return x @ matrix.T + shift

    @torch.no_grad()
    def direction(self, row: int = 0) -> Tensor:
        """One row of the linear map, on standardised inputs: (d,)."""
        direction: Tensor = self.linear[row] * self.linear.shape[1] ** -0.5
        return direction

    def penalty(self) -> Tensor:
        """Half the squared weights: minus the log-density of N(0, 1) weights, in nats."""
        matrices = [self.linear, self.inner, self.outer] if self.hidden else [self.linear]
        return sum((m.square().sum() for m in matrices), start=self.linear.new_zeros(())) / 2


def normal(shape: tuple[int, ...], scale: float, generator: torch.Generator) -> Tensor:
    """Where weights start: N(0, scale²). On torch's meta device nothing is drawn, which would import its compiler."""
    start = torch.empty(shape)
    return start if start.is_meta else start.normal_(generator=generator) * scale


class Projected(Head):
    """A head whose features are, or are made from, one map of the embedding: what most families share.

    Its fits see embeddings without units, huge dimensions and mistakes, which the map then absorbs; a head of another
    kind sees them as they come, and is to scale every dimension in `standardise`.
    """

    projector: Projector

    def standardise(self, first: Tensor, second: Tensor, prompts: Tensor | None, weight: Tensor) -> None:
        self.projector.standardise_sides(first, second, weight)

    def absorb(self, items: Inputs, prompts: Inputs | None) -> None:
        """Take embeddings as they come, after a fit that saw `items` and `prompts` of them; None: it saw no prompts."""
        self.projector.absorb(items)
        self.n_embedding = self.projector.linear.shape[1]

    def penalty(self, decay: float) -> Tensor:
        return decay * self.projector.penalty()

    def features(self, items: Tensor, prompts: Tensor | None) -> Tensor:
        features: Tensor = self.projector(items)
        return features

    def centre(self, prompts: Tensor | None) -> Tensor | None:
        prompts = prompts if self.uses_prompts else None
        return self.features(self.projector.mean.expand(1 if prompts is None else len(prompts), -1), prompts)


class PooledHead(Projected):
    """One reward for all users, linear or with a hidden layer: u = w·x; with temperatures u = e^z w·x.

    Source: Bradley & Terry 1952, eq. 1, with log-strengths a function of features.
    """

    def __init__(self, width: int, *, hidden: int, temperature: bool, generator: torch.Generator) -> None:
        super().__init__()
        self.n_embedding, self.n_codes = width, int(temperature)
        self.projector = Projector(width, 1, hidden, generator)
        if not hidden:
            nn.init.zeros_(self.projector.linear)  # convex: where it starts does not matter

    def coefficients(self, codes: Tensor) -> Tensor:
        return codes.exp() if self.n_codes else codes.new_ones(*codes.shape[:-1], 1)

    def show(self, codes: Tensor) -> dict[str, Tensor]:
        return {"inverse_temperature": codes[:, 0].exp()} if self.n_codes else {}
