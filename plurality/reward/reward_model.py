"""`RewardModel`: a fitted head and the codes of the users it knows; no data inside."""

import dataclasses
import warnings
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from torch import Tensor

from plurality.argument_kinds import check_kinds
from plurality.data.comparisons import Comparisons
from plurality.deprecation import renamed
from plurality.encoders import EmbeddingServer
from plurality.encoders.protocol import Encoder
from plurality.errors import InputError
from plurality.io.paths import expanded
from plurality.reward import hub, persistence
from plurality.reward.adapting import adapted
from plurality.reward.base import on_base
from plurality.reward.compatibility import check_encoder
from plurality.reward.encoding import chosen_encoder
from plurality.reward.fitted import Fitted
from plurality.reward.item_features import BLOCK, check_width
from plurality.reward.links import log_predictive, prob
from plurality.reward.model_card import CardDetails
from plurality.reward.posterior import Posterior
from plurality.reward.predictions import prediction_rows
from plurality.reward.scoring import Scoring, Unknown
from plurality.reward.settings import Settings
from plurality.reward.spread import utility_sd
from plurality.reward.tensors import Tensors


class RewardModel(Scoring):
    """A reward that knows whose preference it predicts: P(first ≻ second | user) = E_z σ(u(x₁, z) − u(x₂, z)).

    The expectation is over what is believed of the user's code z. Users are the values of the column `spec.unit` of
    the users table, "user_id" unless another was asked for. Its parts are those of `Parts`.

    What to call when:

    - `prefer`: P(first preferred) of comparisons, what is not known of the user averaged out
    - `log_odds`, `gap`: the same in log-odds; the gap of utilities at the user's code
    - `predictions`: a frame of these that `audit` reads
    - `score`: rewards of items, each for its own user: best of n, tables of candidates
    - `utility`: rewards of every item to every user, a matrix
    - `win_probability`: the same in [0, 1], against reference items: one scale for all users
    - `by_objective`: rewards by each named objective of a model that has several
    - `gap_sd`: how sure a gap is; `score` and `utility` take `return_sd=True`
    - `users`, `population`: what is known of users, and what all share, as a person reads it
    - `beliefs`, `codes`: the same in code space
    - `adapt`: a model that knows more of its users, or more users
    - `save_pretrained`: a folder that `plurality.load` reads; `push_to_hub`

    Arguments mean the same in all methods: `items` (M, d) embeddings, `prompts` (M, d) those of their prompts, `rows`
    (n,) in items; `users` ids, or a frame with demographics too; `user_ids` (n,); `reference` (R, d) what items are
    compared with, and `reference_prompts`; `base` (M,) and `reference_base` (R,) scores of the base reward, for a model
    that starts from one; `data` comparisons; `beliefs` in place of the users' own; `unknown` what an
    unknown user is: "error" raises InputError, "population" gives them the population's code.
    """

    @staticmethod
    def of(spec: Settings, fitted: Fitted, data: Comparisons) -> "RewardModel":
        """The model `fitted` on `data`, regrouped by the unit of `spec`: it knows the users with comparisons there.

        Base scores of `data` are in log-odds.
        """
        seen = data.present
        count = np.bincount(data.user, minlength=data.users.height)[seen]
        return RewardModel(
            spec=dataclasses.replace(spec, **fitted.chosen),
            head=fitted.head,
            user_ids=tuple(data.user_ids),
            posterior=fitted.posterior.of(torch.as_tensor(seen)),
            prior=fitted.prior,
            n_comparisons=count,
            trace=fitted.trace,
            encoder=data.encoder,
            report=fitted.report,
            base=None if data.base is None else fitted.base_worth,
        )

    @property
    def users(self) -> pl.DataFrame:
        """A row a user: user_id, the code as a person reads it, n_comparisons, uncertainty.

        Uncertainty is 1 for a user nothing is known of and goes towards 0 with evidence: the geometric mean over
        directions of posterior sd over prior sd, or a ratio of entropies where the code is a choice of group.
        """
        shown = {k: v.numpy() for k, v in self.head.show(self.posterior.codes).items()}
        extra = {
            "n_comparisons": self.n_comparisons,
            "uncertainty": self.head.uncertainty(self.posterior, self.prior).numpy(),
        }
        return pl.DataFrame({"user_id": list(self.user_ids), **shown, **extra}, schema_overrides={"user_id": pl.String})

    @property
    def population(self) -> dict[str, float]:
        """The population's code as a person reads it; what a zero-shot user gets."""
        return {k: float(v[0]) for k, v in self.head.show(self.prior.mean[None]).items()}

    def gap(self, data: Comparisons, *, unknown: Unknown = "error") -> NDArray[np.float64]:
        """Utility gap u(x₁, z) − u(x₂, z) of every comparison at its user's code, in log-odds: (N,).

        Raises InputError for unknown users, another embedding width, another encoder or embeddings that are not finite.
        """
        data = self._ready(data)
        codes = self._by_row(data, self.beliefs(data.users[data.present], unknown)).codes

        def of_block(block: Tensors) -> Tensor:
            return block.gap(self.head, codes.to(block.items.dtype))

        return self._by_blocks(data, of_block)

    def gap_sd(self, data: Comparisons, *, unknown: Unknown = "error") -> NDArray[np.float64]:
        """Standard deviation of every comparison's utility gap, from what is not known of its user's code: (N,).

        Shared weights are taken as they are, but for an `Ensemble`. Raises InputError as `gap` does, and where all
        users have one reward.
        """
        data = self._ready(data)
        beliefs = self._by_row(data, self.beliefs(data.users[data.present], unknown))

        def of_block(block: Tensors) -> Tensor:
            features = self.head.features(block.items, block.prompts)
            first, second = features[block.first][:, None], features[block.second][:, None]
            user = block.user.cpu()
            return utility_sd(self.head, first, second, beliefs.codes[user], beliefs.covariance[user])[:, 0]

        return self._by_blocks(data, of_block)

    def log_odds(
        self, data: Comparisons, *, unknown: Unknown = "error", beliefs: Posterior | None = None
    ) -> NDArray[np.float64]:
        """Log-odds that first is preferred, log p / (1 − p) with p = E_z P(first ≻ second | z): (N,).

        `beliefs` (a row a user of `data.users`, regrouped by the model's unit) replace those of the users, for
        controls. Raises InputError as `gap` does.
        """
        data = self._ready(data)
        if beliefs is None:
            beliefs = self._by_row(data, self.beliefs(data.users[data.present], unknown))
        points, weight = self.head.points(beliefs)  # (U, S, C), (S,) or (U, S)
        weight = weight.expand(points.shape[:2])

        def of_block(block: Tensors) -> Tensor:
            each, mass = block.log_odds(self.head, points.to(block.items.dtype)).double(), weight[block.user]
            log_first, log_second = log_predictive(each, mass)
            return log_first - log_second

        return self._by_blocks(data, of_block, points.shape[1])

    def prefer(
        self, data: Comparisons, *, unknown: Unknown = "error", beliefs: Posterior | None = None
    ) -> NDArray[np.float64]:
        """P(first preferred) of every comparison, what is not known of its user averaged out: (N,), probabilities."""
        return prob(torch.as_tensor(self.log_odds(data, unknown=unknown, beliefs=beliefs))).numpy()

    def predictions(self, data: Comparisons, *, unknown: Unknown = "error") -> pl.DataFrame:
        """What `audit` reads: user_id, pair, prob_first, gap (log-odds), label and weight, a row a comparison.

        Raises InputError as `gap` does.
        """
        return prediction_rows(data, self.log_odds(data, unknown=unknown))

    def _ready(self, data: Comparisons) -> Comparisons:
        self.check(data)
        return on_base(data, self.base).by_unit(self.spec.unit)

    def _by_row(self, data: Comparisons, present: Posterior) -> Posterior:
        """Beliefs of the present users at their rows of `data.users`, the others' rows empty."""
        rows, n, width = torch.as_tensor(data.present), data.users.height, present.codes.shape[1]
        codes = present.codes.new_zeros(n, width).index_copy(0, rows, present.codes)
        return Posterior(codes, present.codes.new_zeros(n, width, width).index_copy(0, rows, present.covariance))

    def _by_blocks(self, data: Comparisons, value: Callable[[Tensors], Tensor], points: int = 1) -> NDArray[np.float64]:
        """`value` of every comparison, block by block: (N,)."""
        out, step = np.empty(len(data)), max(1024, 4 * BLOCK // points)
        with torch.no_grad():
            for start in range(0, len(data), step):
                rows = np.arange(start, min(start + step, len(data)))
                out[rows] = value(Tensors.of(data, self.head, rows)).double().numpy()
        if not np.isfinite(out).all():
            row = int(np.argmin(np.isfinite(out)))
            raise InputError(
                f"{data.source}: comparison {row} (from 0) has no finite utility; look for NaN, infinite or huge "
                "embeddings and embed their texts again"
            )
        return out

    def text_encoder(self) -> Encoder:
        """The encoder the model was fitted with; InputError if it was fitted on ready-made embeddings."""
        if self.encoder is None:
            raise InputError(
                "this model was fitted on ready-made embeddings, so it cannot embed texts; give embeddings instead"
            )
        return self.encoder

    def adapt(self, support: Comparisons, *, replace: bool = False, forget: float = 0.0) -> "RewardModel":
        """A new model that also knows what `support` says of its users; shared weights and other users are untouched.

        What is known of a user is added to: the posterior before is the prior of these comparisons. An unknown user
        starts from the model's prior. Where the fit found that comparisons of one item say much the same
        (`item_correlation`), those of one support that share an item count for less; earlier ones are not remembered.
        Raises InputError for another embedding width or encoder.

        replace    infer known users anew from these comparisons alone
        forget     share in [0, 1) of what is known of a user that is lost before these comparisons are added, so that
                   one who changes is followed; 0 forgets nothing
        """
        if not isinstance(support, Comparisons):
            raise InputError(f"adapt takes Comparisons, not a {type(support).__name__}; make them by read()")
        check_kinds("adapt", RewardModel.adapt, {"replace": replace, "forget": forget})
        after = adapted(self, self._ready(support), anew=replace, forget=forget)
        return dataclasses.replace(
            self, user_ids=after.user_ids, posterior=after.posterior, n_comparisons=after.n_comparisons
        )

    def strangers(self, data: Comparisons) -> Comparisons:
        """`unknown_users` under its former name, which goes in 0.3."""
        warnings.warn("RewardModel.strangers is now unknown_users", DeprecationWarning, stacklevel=2)
        return self.unknown_users(data)

    def unknown_users(self, data: Comparisons) -> Comparisons:
        """The comparisons of `data` by unknown users, or values of the unit: never fitted or adapted."""
        data, known = data.by_unit(self.spec.unit), set(self.user_ids)
        return data.of_users([u for u in data.user_ids if u not in known])

    def check(self, data: Comparisons) -> None:
        """Raise InputError if `data` was not embedded as this model's training data was."""
        check_width(self, data.items)
        check_encoder(self.encoder, data)

    def save_pretrained(self, folder: str | Path, *, card: CardDetails | None = None) -> Path:
        """Write safetensors, JSON, parquet and a model card, README.md, that `plurality.load` reads back.

        folder    where to write it; a model that is there is replaced, card and all
        card      what the model itself does not know: its data, licence and comparison; None: none of these

        User ids are written as they are. Raises InputError, before anything is written, for what could not be read
        back. Format: `plurality.reward.persistence`.
        """
        return persistence.write(self, expanded(folder), card)

    @classmethod
    @renamed(folder="source")
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        token: str | None = None,
        verify: bool = True,
        encoder: str | Path | EmbeddingServer | Encoder | None = None,
    ) -> Self:
        """Read a model that `save_pretrained` or `push_to_hub` wrote.

        source      a folder, or where none of that name is here a hub id, "org/name" or "org/name@revision"
        revision    branch, tag or commit of a hub id; None: its main branch
        token       access token of the hub; None: the one that `hf auth login` stored
        verify      compare every file with its SHA-256; False for a folder that was changed on purpose
        encoder     where texts are embedded from now on, such as "http://host:8000/v1/embeddings" of a server that has
                    the same model; None: as recorded. Nothing is asked of it before texts come

        Raises InputError for a folder that holds none, a family that is not installed, a file that is damaged, changed
        or of a newer schema version, and a hub that cannot be reached or does not give it.
        """
        parts = persistence.read(hub.local_folder(source, revision=revision, token=token), verify=verify)
        if encoder is not None:
            chosen = chosen_encoder(parts.encoder, parts.head.n_embedding, encoder)
            parts = dataclasses.replace(parts, encoder=chosen)
        return cls(**{part.name: getattr(parts, part.name) for part in fields(parts)})

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool = True,
        token: str | None = None,
        revision: str | None = None,
        commit_message: str | None = None,
        hash_user_ids: bool = True,
        user_id_key: str | bytes | None = None,
        card: CardDetails | None = None,
    ) -> str:
        """Publish the model on the Hugging Face hub, its user ids hashed; returns the address of the commit.

        Hashed ids are pseudonyms, not anonymity: what the model believes each user prefers, and from how many
        comparisons, is published. So are the words of a fitted encoder, and the levels of demographics that a family
        uses; the card lists what the files hold. The hub keeps the history: ids that were pushed once stay in it.

        repo_id           "org/name"; made if it is not there
        private           whether the repository is private; True also keeps off one that is public already
        token             access token that may write; None: the one that `hf auth login` stored
        revision          branch to push to, made if it is not there; None: the main branch
        commit_message    None: "Reward model" and the family
        hash_user_ids     True: keyed hashes by `plurality.reward.pseudonyms.hash_user_id`, in users, report and trace;
                          False: ids as they are, for users who agreed or a `unit` that is no person
        user_id_key       the secret, 16 bytes or more, by which its owner finds users again; None: nobody can
        card              what the model itself does not know: its data, licence and comparison; None: none of these

        Raises InputError as `save_pretrained` does, for a name that is no hub id, and where the hub does not let you
        write. Warns (InputWarning) where user ids are words of the encoder's vocabulary.
        """
        return hub.push(
            self,
            repo_id,
            private=private,
            token=token,
            revision=revision,
            commit_message=commit_message,
            hash_user_ids=hash_user_ids,
            user_id_key=user_id_key,
            card=card,
        )

    def __repr__(self) -> str:
        usual = {f.name: f.default for f in fields(self.spec)}
        settings = ", ".join(f"{k}={v!r}" for k, v in asdict(self.spec).items() if v != usual[k])
        shared = "" if self.head.n_codes else "one reward for all of them"
        about = [f"{type(self.spec).__name__}({settings})", f"{len(self.user_ids):,} users", shared, self.directions]
        return f"RewardModel({', '.join(filter(None, about))})"

    def _repr_html_(self) -> str:
        return f"<p><b>{self!r}</b></p>{self.users.head(8)._repr_html_()}"


@renamed(folder="source")
def load(
    source: str | Path,
    *,
    revision: str | None = None,
    token: str | None = None,
    verify: bool = True,
    encoder: str | Path | EmbeddingServer | Encoder | None = None,
) -> RewardModel:
    """Read a model from `source`, a folder or hub id (`revision`, `token`, `verify`, `encoder`): `from_pretrained`."""
    return RewardModel.from_pretrained(source, revision=revision, token=token, verify=verify, encoder=encoder)
