"""`RewardModel`: a fitted head and the codes of the users it knows; no data inside."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, get_args

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from plurality.codes import Posterior, Prior, laplace
from plurality.comparisons import Array, Comparisons
from plurality.errors import InputError
from plurality.fitters import Fitted
from plurality.heads import Head
from plurality.joint import double_utility
from plurality.links import prob
from plurality.selection import NewTo, Trace
from plurality.tensors import Tensors, to_tensor

if TYPE_CHECKING:
    from plurality.encoders import Encoder

Unknown = Literal["error", "population"]
BLOCK = 16_384  # items whose features are held at once while scoring


class Spec(Protocol):
    """What a family is to the rest of the package: a frozen dataclass of settings that can build its head."""

    name: ClassVar[str]

    def head(self, width: int, generator: torch.Generator) -> Head: ...

    def fit(
        self,
        data: Comparisons,
        *,
        seed: int = 0,
        new_to: NewTo = "anybody",
        device: str = "cpu",
        progress: bool = False,
    ) -> "RewardModel": ...


@dataclass(frozen=True, eq=False, repr=False)
class RewardModel:
    """A reward that knows whose preference it predicts: P(first ≻ second | user) = σ(u(x₁, z) − u(x₂, z)).

    user_ids    the users it knows, row i of codes (U, C) and of covariance (U, C, C)
    prior       the population of codes; its mean is what a user nothing is known of gets
    """

    spec: Spec
    head: Head
    user_ids: tuple[str, ...]
    posterior: Posterior
    prior: Prior
    n_comparisons: NDArray[np.int64]
    trace: Trace
    encoder: "Encoder | None" = None

    @staticmethod
    def of(spec: Spec, fitted: Fitted, data: Comparisons) -> "RewardModel":
        """The model of a fit on `data`: it knows the users who have comparisons there."""
        seen = data.present
        count = np.bincount(data.user, minlength=data.users.height)[seen]
        posterior = Posterior(fitted.posterior.codes[seen], fitted.posterior.covariance[seen])
        ids = tuple(data.user_ids)
        return RewardModel(spec, fitted.head, ids, posterior, fitted.prior, count, fitted.trace, data.encoder)

    @property
    def users(self) -> pl.DataFrame:
        """A row a user: user_id, the code as a person reads it, n_comparisons, uncertainty.

        Uncertainty is the geometric mean over directions of posterior sd over prior sd: 1 for a user nothing is
        known of, towards 0 with evidence.
        """
        shown = {k: v.numpy() for k, v in self.head.show(self.posterior.codes).items()}
        extra = {"n_comparisons": self.n_comparisons, "uncertainty": self.posterior.uncertainty(self.prior).numpy()}
        return pl.DataFrame({"user_id": list(self.user_ids), **shown, **extra}, schema_overrides={"user_id": pl.String})

    @property
    def population(self) -> dict[str, float]:
        """The population's code as a person reads it; what a zero-shot user gets."""
        return {k: float(v[0]) for k, v in self.head.show(self.prior.mean[None]).items()}

    def codes(self, user_ids: Sequence[str], unknown: Unknown = "error") -> Tensor:
        """Codes of these users (n, C); the population's for users it does not know, if asked.

        Raises InputError that names the first unknown user and the remedy.
        """
        if unknown not in get_args(Unknown):
            raise InputError(f"unknown={unknown!r} is no choice; give one of {', '.join(get_args(Unknown))}")
        index = {u: i for i, u in enumerate(self.user_ids)}
        rows = np.array([index.get(u, -1) for u in user_ids], dtype=np.int64)
        strangers = np.flatnonzero(rows < 0)
        if len(strangers) and unknown == "error":
            raise InputError(
                f"{len(set(np.asarray(user_ids)[strangers].tolist()))} users are not known to this model, first "
                f"{user_ids[strangers[0]]!r}; call adapt with some of their comparisons, "
                "or score them with unknown='population' (--unknown population)"
            )
        known = torch.cat([self.posterior.codes, self.prior.mean[None]])
        return known[torch.as_tensor(rows)]

    def gap(self, data: Comparisons, *, unknown: Unknown = "error", codes: Tensor | None = None) -> NDArray[np.float64]:
        """Utility gap of every comparison in log-odds: (N,).

        `codes` (one a row of data.users) replaces the users' own, for controls. Raises InputError for unknown
        users, another embedding width, another encoder or embeddings that are not finite.
        """
        self.check(data)
        if codes is None:
            known = self.codes(data.user_ids, unknown)
            codes = known.new_zeros(data.users.height, known.shape[1]).index_copy(
                0, torch.as_tensor(data.present), known
            )
        out = np.empty(len(data))
        with torch.no_grad():
            for start in range(0, len(data), 4 * BLOCK):
                rows = np.arange(start, min(start + 4 * BLOCK, len(data)))
                block = Tensors.of(data, self.head, rows)
                out[rows] = block.gap(self.head, codes.to(block.items.dtype)).double().numpy()
        if not np.isfinite(out).all():
            row = int(np.argmin(np.isfinite(out)))
            raise InputError(
                f"{data.source}: comparison {row} (from 0) has no finite utility; look for NaN, infinite or huge "
                "embeddings and embed their texts again"
            )
        return out

    def prefer(
        self, data: Comparisons, *, unknown: Unknown = "error", codes: Tensor | None = None
    ) -> NDArray[np.float64]:
        """P(first preferred) of every comparison under its user's code: (N,), probabilities."""
        return prob(torch.as_tensor(self.gap(data, unknown=unknown, codes=codes))).numpy()

    def features(self, items: Array, prompts: Array | None = None) -> Tensor:
        """φ of embeddings (M, d), with their prompts' (M, d) where the head looks at them: (M, F)."""
        self._check_width(items)
        if self.head.uses_prompts and prompts is None:
            raise InputError("this model looks at prompts: give the embedding of each item's prompt as prompts=")
        like = next(self.head.parameters())
        blocks = []
        with torch.no_grad():
            for start in range(0, max(1, len(items)), BLOCK):
                rows = slice(start, start + BLOCK)
                p = None if prompts is None else to_tensor(prompts[rows], like)
                blocks.append(self.head.features(to_tensor(items[rows], like), p))
        features = torch.cat(blocks)
        finite = torch.isfinite(features).all(1)
        if not finite.all():
            row = int(finite.int().argmin())
            raise InputError(f"embedding {row} (from 0) has no finite features; look for NaN or infinite values in it")
        return features

    def utility(
        self,
        items: Array,
        users: Sequence[str] | None = None,
        *,
        prompts: Array | None = None,
        unknown: Unknown = "error",
    ) -> NDArray[np.float32]:
        """Utility of every item to every user, in log-odds up to a shift per user: (M, d) -> (U, M).

        One matrix product for bilinear heads. Without `users`, all the model knows, in the order of `.users`.
        """
        codes = self.posterior.codes if users is None else self.codes(users, unknown)
        with torch.no_grad():
            return self.head.population(self.features(items, prompts), codes.float()).numpy()

    def score(
        self,
        items: Array,
        rows: Array,
        user_ids: Sequence[str],
        *,
        prompts: Array | None = None,
        unknown: Unknown = "error",
    ) -> NDArray[np.float64]:
        """Reward of items[rows[i]] to user_ids[i], in log-odds up to a shift per user and prompt: (n,).

        Features are computed once an item, whoever it is scored for.
        """
        features = self.features(items, prompts)[torch.as_tensor(np.asarray(rows))]
        with torch.no_grad():
            return self.head.utility(features, self.codes(user_ids, unknown).to(features.dtype)).double().numpy()

    def text_encoder(self) -> "Encoder":
        """The encoder the model was fitted with; InputError if it was fitted on ready-made embeddings."""
        if self.encoder is None:
            raise InputError(
                "this model was fitted on ready-made embeddings, so it cannot embed texts; give embeddings instead"
            )
        return self.encoder

    def adapt(self, support: Comparisons) -> "RewardModel":
        """A new model that also knows the users of `support`; shared weights and other users are untouched.

        Each user's code is the mode of their posterior under the model's prior. A user it knew already is inferred
        anew from the comparisons given here. Raises InputError for another embedding width or encoder.
        """
        self.check(support)
        if not len(support):
            raise InputError(f"{support.source}: no comparison to adapt on")
        seen = support.present
        compact = replace(support, user=np.searchsorted(seen, support.user), users=support.users[seen])
        evidence = Tensors.of(compact, self.head).evidence(self.head)
        new = laplace(double_utility(self.head), evidence, self.prior, len(seen))
        ids = compact.users["user_id"].to_list()
        fresh = set(ids)
        keep = np.array([i for i, u in enumerate(self.user_ids) if u not in fresh], dtype=np.int64)
        rows = torch.as_tensor(keep)
        old = self.posterior
        joined = Posterior(torch.cat([old.codes[rows], new.codes]), torch.cat([old.covariance[rows], new.covariance]))
        return replace(
            self,
            user_ids=(*(self.user_ids[i] for i in keep), *ids),
            posterior=joined,
            n_comparisons=np.concatenate([self.n_comparisons[keep], np.bincount(compact.user, minlength=len(seen))]),
        )

    def check(self, data: Comparisons) -> None:
        """Raise InputError if `data` was not embedded as this model's training data was."""
        self._check_width(data.items)
        if self.encoder is not None and data.encoder is not None:
            mine, theirs = self.encoder, data.encoder
            if mine.fingerprint != theirs.fingerprint:
                raise InputError(
                    f"{data.source}: embedded by {_called(theirs)}, but the model was fitted on {_called(mine)}; "
                    "embed again with the model's own encoder"
                )

    def _check_width(self, items: Array) -> None:
        if items.ndim != 2 or items.shape[1] != self.head.n_embedding:
            raise InputError(
                f"embeddings have shape {tuple(items.shape)}, but the model was fitted on width {self.head.n_embedding}"
            )

    def save_pretrained(self, folder: str | Path) -> Path:
        """Write safetensors, JSON and parquet that `plurality.load` reads back; see `plurality.persistence`."""
        from plurality.persistence import save

        return save(self, folder)

    def __repr__(self) -> str:
        settings = ", ".join(f"{k}={v!r}" for k, v in asdict(self.spec).items())  # type: ignore[call-overload]
        return f"RewardModel({type(self.spec).__name__}({settings}), {len(self.user_ids):,} users)"

    def _repr_html_(self) -> str:
        return f"<p><b>{self!r}</b></p>{self.users.head(8)._repr_html_()}"


def _called(encoder: "Encoder") -> str:
    about: dict[str, Any] = encoder.describe()
    return f"{about.get('kind', 'encoder')} {about.get('name', '')} [{encoder.fingerprint[:8]}]".replace("  ", " ")
