"""Ensemble: a family fitted to several bootstraps of the users, as one reward."""

import json
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar

import numpy as np
import torch

from plurality.data.comparisons import Comparisons
from plurality.errors import InputError
from plurality.fitting.tuning import FitOptions
from plurality.io.progress import stages
from plurality.models.ensemble.bootstrap import resampled, times
from plurality.models.ensemble.head import EnsembleHead
from plurality.models.family import Spec
from plurality.reward.fitted import Fitted, Trace
from plurality.reward.posterior import Posterior
from plurality.reward.registry import spec_class
from plurality.reward.reward_model import RewardModel


@dataclass(frozen=True)
class Ensemble(Spec):
    """u = Σ_k u_k / n over n members, a family fitted to bootstraps of *users*; codes from each user's own answers.

    The standard deviation of a utility is then that of the shared weights, by how far members differ, and of the code,
    by what each member does not know of it. Source: Efron 1979, clusters drawn whole; Poisson counts as Oza 2001 has.

    spec      what the members are: settings of a family, its name, or what this spec makes of them, 'pal {"decay": 2}'
    n         members, 4 or more
    members   settings of each member, with what its fit chose; the fit fills them in
    """

    spec: str | Spec = "low_rank"
    n: int = 8
    members: tuple[str, ...] = ()

    name: ClassVar[str] = "ensemble"

    def __post_init__(self) -> None:
        member = self.spec if isinstance(self.spec, Spec) else _spec(self.spec)
        if isinstance(member, Ensemble):
            raise InputError("ensemble: its members are ensembles; give the family of their members")
        if self.n < 4:
            raise InputError(f"ensemble: {self.n} members cannot say how far they differ; give 4 or more")
        if member.unit != "user_id":
            if self.unit not in ("user_id", member.unit):
                raise InputError(f"ensemble: the unit is {self.unit!r}, its members' {member.unit!r}; give one of them")
            object.__setattr__(self, "unit", member.unit)
        object.__setattr__(self, "spec", _text(replace(member, unit="user_id")))

    @property
    def member(self) -> Spec:
        """What the members are."""
        return _spec(str(self.spec))

    def head(self, width: int, generator: torch.Generator) -> EnsembleHead:
        """The torch module for embeddings of this width."""
        specs = [_spec(text) for text in self.members] or [self.member] * self.n
        return EnsembleHead([spec.head(width, generator) for spec in specs])

    def learns_grades(self) -> bool:
        return self.member.learns_grades()

    def check(self, data: Comparisons) -> None:
        self.member.check(data)

    def learn(self, data: Comparisons, run: FitOptions) -> Fitted:
        """Fit the members to bootstraps, and infer every user's code in each from all that the user answered."""
        made, trace = [], Trace()
        with stages("fit", self.n, show=run.progress) as bar:
            for k in range(self.n):
                bar(f"member {k + 1}")
                drawn = times(data, run.seed * self.n + k)
                member = self.member.fit(
                    resampled(data, drawn),
                    seed=run.seed,
                    new_items_for=run.new_items_for,
                    device=run.device,
                    diagnostics=run.diagnostics,
                )
                for row in member.trace.rows:
                    trace.rows.append({**row, "stage": f"member {k + 1}: {row['stage']}"})
                made.append(_of_nobody(member).adapt(data))
        head = EnsembleHead([member.head for member in made])
        posterior = head.joined([member.posterior for member in made])
        whole = Posterior.of_prior(head.joined_prior([member.prior for member in made]), data.users.height)
        report = {
            "members": [member.report for member in made],
            "item_correlation": [member.item_correlation for member in made],
        }
        chosen = {"members": tuple(_text(_settings_of(member)) for member in made)}
        prior = head.joined_prior([member.prior for member in made])
        posterior = whole.put(torch.as_tensor(data.present), posterior)
        worth = float(np.mean([1.0 if member.base is None else member.base for member in made]))
        return Fitted(head, prior, posterior, trace, chosen, report, worth)

    def _counting_repeats(
        self, model: RewardModel, ready: Comparisons, data: Comparisons, run: FitOptions
    ) -> RewardModel:
        """Every member has chosen what its own repeats count; newcomers' count as they do in the middle one."""
        return replace(model, item_correlation=float(np.median(model.report["item_correlation"])))


def _of_nobody(member: RewardModel) -> RewardModel:
    """A member without the users it was fitted to, who are copies."""
    none = torch.zeros(0, dtype=torch.int64)
    return replace(member, user_ids=(), posterior=member.posterior.of(none), n_comparisons=member.n_comparisons[:0])


def _settings_of(member: RewardModel) -> Spec:
    assert isinstance(member.spec, Spec)
    return member.spec


def _text(spec: Spec) -> str:
    """A family's name, and as JSON what is not as it comes: low_rank {"rank": 2}."""
    usual, settings = {f.name: f.default for f in fields(spec)}, asdict(spec)
    changed = {name: value for name, value in settings.items() if value != usual[name]}
    return f"{spec.name} {json.dumps(changed, sort_keys=True)}" if changed else spec.name


def _spec(text: str) -> Spec:
    """What `_text` wrote. Raises InputError for another text."""
    name, _, settings = text.partition(" ")
    try:
        given = {key: _tuples(value) for key, value in json.loads(settings or "{}").items()}
        made = spec_class(name)(**given)
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(
            f"ensemble: spec {text!r} is not a family with settings ({error}); write one as low_rank or "
            'low_rank {"rank": 2}, or give the spec itself'
        ) from None
    if not isinstance(made, Spec):
        raise InputError(f"ensemble: {name!r} cannot be fitted; give a family that can")
    return made


def _tuples(value: Any) -> Any:
    """Lists of JSON as the tuples that settings are."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
