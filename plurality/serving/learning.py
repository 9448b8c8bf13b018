"""What a server believes of its users: what its model knows of them, and all that they have answered since.

A user's code is never moved step by step: it is what `RewardModel.adapt` makes of the model and all of the user's
stored answers at once, in the order in which they came. So it does not depend on which worker took which answer, on
crashes or on when codes were asked for, and answers about one item are discounted together.
"""

import dataclasses
import json
import warnings
from collections import Counter, OrderedDict
from collections.abc import Sequence
from hashlib import sha256
from time import monotonic
from typing import Any

import numpy as np
import polars as pl
import torch

from plurality.data.comparisons import Comparisons
from plurality.data.read import read
from plurality.errors import InputError, InputWarning
from plurality.reward.posterior import Posterior
from plurality.reward.reward_model import RewardModel
from plurality.rl.embedding import uncached
from plurality.serving.state import Code, State, Told, Written
from plurality.serving.tables import answers_frame
from plurality.serving.vectors import RememberingEncoder

__all__ = ["Learner"]

MOST_CODES = 100_000  # users whose codes are held in memory
KEEP_EVERY_S = 2.0  # codes follow from answers: how many are lost in a crash costs time at the next start, no answer
THROUGH = "fitted through "  # the setting that says up to which answer a model was fitted on them


class Learner:
    """A model that learns from answers, by way of a state that several may share.

    Codes may be asked for while another thread tells.

    model    what was fitted
    state    where answers are; None: nothing is learned, and what the model knows is all
    encoder  the model's, with what it remembers from before a reload; None: a new one
    """

    def __init__(
        self, model: RewardModel, state: State | None = None, encoder: RememberingEncoder | None = None
    ) -> None:
        self.encoder = encoder or RememberingEncoder(uncached(model.text_encoder()))
        self.model, self.state = dataclasses.replace(model, encoder=self.encoder), state
        self.fingerprint = fingerprint_of(model)
        self._place = {user: row for row, user in enumerate(model.user_ids)}
        self._codes: OrderedDict[str, Code] = OrderedDict()
        self._through: int | None = None
        self._unkept: dict[str, Code] = {}
        self._kept_at = monotonic()

    @property
    def through(self) -> int:
        """The number of the last answer that the model was fitted on, for users whom it knows."""
        if self._through is None:
            self._through = int(self.state.get(THROUGH + self.fingerprint[:32], "0")) if self.state else 0
        return self._through

    def fitted_through(self, answer: int) -> None:
        """Say that the model was fitted on all answers up to this number: they are not counted again.

        answer    number of the answer, as an export tells it
        """
        assert self.state is not None
        self.state.set(THROUGH + self.fingerprint[:32], str(answer))
        self._through = None
        self._codes.clear()
        self._unkept.clear()

    def of(self, user_ids: Sequence[str]) -> RewardModel:
        """The model with those of these users whom it knows or who have answered, as they are known now.

        user_ids    ids, in any order, repeated or not
        """
        asked = list(dict.fromkeys(user_ids))
        if self.state is None:
            return self._part([user for user in asked if user in self._place])
        last = self.state.last_answers(asked)
        gone = self._gone(asked)
        fresh = {u: self._codes.get(u) for u in last}
        stale = [u for u, code in fresh.items() if code is None or code.last_answer != last[u]]
        if stale:
            kept = self.state.codes(stale, self.fingerprint)
            found = {u: code for u, code in kept.items() if code.last_answer == last[u]}
            if missing := [u for u in stale if u not in found]:
                inferred = self._inferred(missing, last)
                self._unkept |= inferred
                found |= inferred
            self._remember(found)
            fresh |= found
        still = [u for u in asked if u in self._place and u not in last and u not in gone]
        learned = {u: code for u, code in fresh.items() if code is not None}
        return self._with(self._part(still), learned)

    def keep(self) -> None:
        """Write the codes inferred since the last time, which a next start then need not infer again."""
        assert self.state is not None
        found, self._unkept, self._kept_at = self._unkept, {}, monotonic()
        self.state.keep(self.fingerprint, found)

    def knows(self, user_ids: Sequence[str]) -> list[bool]:
        """Whether each user is known to the model or has answered: (n,).

        user_ids    (n,) ids
        """
        known = set(self.of(user_ids).user_ids)
        return [user in known for user in user_ids]

    def tell(self, told: Sequence[Told]) -> list[Written]:
        """Write what users say; it counts from now on, and survives a crash.

        Codes are inferred before anything is written. So what cannot be learned from is an InputError and not stored,
        and whoever asks for a reward meanwhile finds codes that are as new as what is stored.

        told    requests
        """
        assert self.state is not None
        self._check_base([row for one in told for row in one.rows])
        times = Counter(one.user_id for one in told)
        last, gone = self.state.last_answers(list(times)), self._gone(list(times))
        ahead = self._inferred(list(times), last, told)
        written = self.state.add(told)
        if self._gone(list(times)) == gone:
            found = {
                one.user_id: dataclasses.replace(ahead[one.user_id], last_answer=end.last)
                for one, end in zip(told, written, strict=True)
                if end.last and times[one.user_id] == 1 and end.before == last.get(one.user_id, 0)
            }
            self._unkept |= found
            self._remember(found)
        self.of([t.user_id for t, w in zip(told, written, strict=True) if w.status == 200])  # those told of meanwhile
        if self._unkept and monotonic() - self._kept_at > KEEP_EVERY_S:
            self.keep()
        return written

    def _check_base(self, rows: Sequence[dict[str, Any]]) -> None:
        """Raise InputError for answers without scores of the base reward that the model starts from, or with others."""
        scored = [any(name.startswith("score") for name in row) for row in rows]
        if self.model.base is not None and not all(scored):
            raise InputError("this model starts from a base reward; send its scores with every answer, see /docs")
        if any(scored) and self.model.base is None:
            raise InputError("this model starts from no base reward; send answers without scores")

    def support(self, user_ids: Sequence[str], after: int = 0) -> Comparisons | None:
        """All that these users said, as comparisons; None where nothing is compared.

        user_ids    whose
        after       number of the last answer that is left out
        """
        assert self.state is not None
        return self._support([row for row in self.state.said(user_ids) if row[0] > after], self.state.about(user_ids))

    def forget(self, user_id: str, client: str = "") -> int:
        """Erase a user; see `State.erase`.

        user_id    whom
        client     who asks, for the log
        """
        assert self.state is not None
        self._codes.pop(user_id, None)
        self._unkept.pop(user_id, None)
        return self.state.erase(user_id, client)

    def _gone(self, user_ids: Sequence[str]) -> set[str]:
        """Those of these users of the model who were erased."""
        known = [user for user in user_ids if user in self._place]
        return self.state.erased(known) if self.state is not None and known else set()

    def _inferred(self, user_ids: list[str], last: dict[str, int], told: Sequence[Told] = ()) -> dict[str, Code]:
        """Codes of users from all of their answers, and from what is told and not yet written, of all users at once."""
        assert self.state is not None
        gone, about = self._gone(user_ids), self.state.about(user_ids)
        known = [u for u in user_ids if u in self._place and u not in gone]
        old = set(known)
        said = [
            row for row in self.state.said(user_ids)
            if row[0] <= last.get(row[1], 0) and (row[1] not in old or row[0] > self.through)
        ]  # fmt: skip
        for one in told:
            said += [(0, one.user_id, row) for row in one.rows]
            about[one.user_id] = about.get(one.user_id, {}) | (one.about or {})
        start = self._part(known)
        support = self._support(said, about)
        model = start if support is None else start.adapt(support)
        new = [u for u in user_ids if u not in set(model.user_ids)]  # they said nothing that compares
        found = model.posterior
        if new:
            found = found.concat(model.beliefs(self._users(new, about), "population"))
        counts = [*model.n_comparisons.tolist(), *([0] * len(new))]
        return {
            user: Code(last.get(user, 0), counts[i], found.codes[i].numpy(), found.covariance[i].numpy())
            for i, user in enumerate([*model.user_ids, *new])
        }

    def _support(
        self, said: list[tuple[int, str, dict[str, Any]]], about: dict[str, dict[str, str]]
    ) -> Comparisons | None:
        by_user: dict[str, list[dict[str, Any]]] = {}
        for _, user, row in said:
            by_user.setdefault(user, []).append(row)
        rows = [(user, row) for user, own in by_user.items() if compares(own) for row in own]
        if not rows:
            return None
        frame = answers_frame([{"user_id": user, **row} for user, row in rows])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)  # such as of a single rating, which compares nothing yet
            return read(
                frame,
                users=self._users(list(dict.fromkeys(u for u, _ in rows)), about),
                encoder=self.encoder,
                prompts=self.model.head.uses_prompts,
                repeats="keep",
            )

    def _users(self, user_ids: list[str], about: dict[str, dict[str, str]]) -> pl.DataFrame:
        """The users table: what users said of themselves."""
        names = sorted({name for user in user_ids for name in about.get(user, {})} - {"user_id", self.model.spec.unit})
        columns = {name: [about.get(user, {}).get(name) for user in user_ids] for name in names}
        frame = pl.DataFrame({"user_id": user_ids, **columns}, schema_overrides={"user_id": pl.String})
        unit = self.model.spec.unit
        return frame if unit == "user_id" else frame.with_columns(pl.col("user_id").alias(unit))

    def _part(self, user_ids: list[str]) -> RewardModel:
        """The model with these of its users alone."""
        rows = [self._place[user] for user in user_ids]
        return dataclasses.replace(
            self.model,
            user_ids=tuple(user_ids),
            posterior=self.model.posterior.of(torch.as_tensor(rows, dtype=torch.int64)),
            n_comparisons=self.model.n_comparisons[rows],
        )

    @staticmethod
    def _with(part: RewardModel, learned: dict[str, Code]) -> RewardModel:
        if not learned:
            return part
        each = list(learned.values())
        more = Posterior(
            torch.as_tensor(np.stack([code.mean for code in each])),
            torch.as_tensor(np.stack([code.covariance for code in each])),
        )
        counts = np.array([code.n_comparisons for code in each], dtype=np.int64)
        return dataclasses.replace(
            part,
            user_ids=(*part.user_ids, *learned),
            posterior=part.posterior.concat(more),
            n_comparisons=np.concatenate([part.n_comparisons, counts]),
        )

    def _remember(self, found: dict[str, Code]) -> None:
        for user, code in found.items():
            self._codes[user] = code
            self._codes.move_to_end(user)
        while len(self._codes) > MOST_CODES:
            self._codes.popitem(last=False)


def compares(rows: Sequence[dict[str, Any]]) -> bool:
    """Whether a user's answers put anything above anything: one rating alone does not.

    rows    all answers of the user
    """
    levels = {row.get("rating", row.get("label")) for row in rows if "completion" in row}
    return len(levels) > 1 or any("completion" not in row for row in rows)


def fingerprint_of(model: RewardModel) -> str:
    """A digest of all that rewards depend on, to tell codes of one fit from those of another.

    model    a fitted model
    """
    digest = sha256(json.dumps([model.spec.name, *model.user_ids, model.base, model.item_correlation]).encode())
    prior = {"prior mean": model.prior.mean, "prior precision": model.prior.precision}
    beliefs = {"codes": model.posterior.codes, "covariance": model.posterior.covariance}
    for name, tensor in sorted((model.head.state_dict() | prior | beliefs).items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    if model.encoder is not None:
        digest.update(model.encoder.fingerprint.encode())
    return digest.hexdigest()
