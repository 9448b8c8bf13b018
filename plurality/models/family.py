"""`Spec`: what a family is to the rest of the package, a frozen set of settings that can be fitted."""

import warnings
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch

from plurality.argument_kinds import check_kinds
from plurality.data.comparisons import Comparisons
from plurality.data.embeddings import check_finite
from plurality.data.graded import Grades, offset_comparisons
from plurality.data.splits import NewItemsFor
from plurality.deprecation import renamed
from plurality.errors import InputError, InputWarning
from plurality.fitting import inputs, item_correlation
from plurality.fitting.base_scale import base_scale, beside_tastes, gap_size
from plurality.fitting.cut_points import cut_points
from plurality.fitting.tuning import FitOptions
from plurality.io.experiment_log import Log, logged
from plurality.reward.base import on_base
from plurality.reward.fitted import GRADES, Fitted
from plurality.reward.heads import Projected
from plurality.reward.reward_model import RewardModel
from plurality.reward.settings import Settings
from plurality.reward.tensors import check_device

STRONGLY = "fit bradley_terry or a family with tastes, which learn both, or leave strengths out"
WORTH_MORE = 0.1  # log-odds by which a usual gap of the base is worth another beside tastes, for all to be fitted again


@dataclass(frozen=True)
class Spec(Settings):
    """Settings of a family that can be fitted: subclass it, name it, and give it `head` and `learn`.

    unit        column of the users table whose values have a code of their own: users, or any grouping of them
    """

    @renamed(new_to="new_items_for")
    def fit(
        self,
        data: Comparisons,
        *,
        seed: int = 0,
        new_items_for: NewItemsFor = "anybody",
        device: str = "cpu",
        progress: bool = False,
        diagnostics: bool = True,
        log: Log | str | None = None,
    ) -> RewardModel:
        """Fit to comparisons; returns a new RewardModel. See `plurality.fitting.tuning.FitOptions` for the arguments.

        Raises InputError for data that cannot be used at all, or not by this family, before any fitting.

        data             comparisons
        seed             makes the fit the same again
        new_items_for    whom the held-out items that settings are chosen on are new to, "anybody" or "user"
        device           where torch computes, such as "cpu" or "cuda"
        progress         show a progress bar; off by default
        diagnostics      answer in the report what needs fits of its own: whether demographics help (hierarchical), who
                         answers at random (LCPO); without, the rewards are the same and sooner there
        log              called with a step and values as stages of the fit end (stage, decay, loss, held-out nats), or
                         the name of an installed tracker: "trackio", "wandb" or "mlflow"; None: nobody

        >>> import plurality as pl8
        >>> from plurality.datasets.simulated.populations import taste_groups
        >>> population, _ = taste_groups(n_users=10, shares=(1.0,), width=4)
        >>> data = population.sample(40, seed=0).data
        >>> reward = pl8.BradleyTerry().fit(data, seed=0)
        >>> bool(((reward.prefer(data) > 0.5) == (data.label > 0.5)).mean() > 0.7)
        True
        """
        if not isinstance(data, Comparisons):
            raise InputError(f"{self.name}: fit takes Comparisons, not a {type(data).__name__}; make them by read()")
        given = {"seed": seed, "new_items_for": new_items_for, "device": device}
        given |= {"progress": progress, "diagnostics": diagnostics}
        check_kinds(f"{self.name}: fit", Spec.fit, given)
        check_device(device)
        ready, run = self.ready(data), FitOptions(seed, new_items_for, device, progress, diagnostics)
        with logged(log):
            sides = offset_comparisons(ready, None)
            if ready.base is None:
                model = self._fitted(sides, run)
            else:
                model = self._fitted_on_base(sides, run, base_scale(sides))
            if ready.grade is None:
                return model
            if self.learns_grades():
                return self._graded(model, ready, run)
        if len(Grades.of(ready).levels) > 1:
            note = f"{data.source}: {self.name} learns which side is preferred, and not how strongly; {STRONGLY}"
            warnings.warn(InputWarning(note), stacklevel=3)
        return model

    def learns_grades(self) -> bool:
        """Whether a comparison at an offset means σ(gap + offset), so that graded pairs say more than their sides.

        False where log-odds are something else: a mixture with flips, a difference over its own spread.
        """
        return True

    def for_a_part(self, report: Mapping[str, Any]) -> "Spec":
        """The settings for a fit to a part of what these were fitted to; chosen anew there unless a family says.

        report    of that fit
        """
        return self

    def _graded(self, model: RewardModel, ready: Comparisons, run: FitOptions) -> RewardModel:
        """The model that has also learned how strong preferences are, with cut points that the sides alone let see."""
        grades = cut_points(model, ready)
        if grades is None:
            return model
        found = self._fitted(offset_comparisons(on_base(ready, model.base), grades), run)
        report = found.report | {GRADES: grades.record()}
        return replace(found, base=model.base, n_comparisons=model.n_comparisons, report=report)

    def _fitted_on_base(self, ready: Comparisons, run: FitOptions, scale: float) -> RewardModel:
        """On top of what the base is worth alone, and if that is clearly another beside tastes, then of that."""
        model = self._fitted(ready.with_base(scale), run)
        more = beside_tastes(model, ready.with_base(scale))
        if abs(more - 1) * scale * gap_size(ready) > WORTH_MORE:
            scale *= more
            model = self._fitted(ready.with_base(scale), run)
        return replace(model, base=None if model.base is None else scale * model.base)

    def _fitted(self, ready: Comparisons, run: FitOptions) -> RewardModel:
        """The model of comparisons whose base scores, where there are any, are in log-odds."""
        head = self.head(ready.dim, torch.Generator())
        if not isinstance(head, Projected):
            return self._counting_repeats(self._fit_to(ready, run), ready, ready, run)
        seen = inputs.seen(ready, run, prompts=head.uses_prompts)
        fitted = seen.absorbed(self.learn(seen.data, run))
        return self._counting_repeats(RewardModel.of(self, fitted, ready), ready, seen.data, run)

    def _fit_to(self, data: Comparisons, run: FitOptions) -> RewardModel:
        return RewardModel.of(self, self.learn(data, run), data)

    def _counting_repeats(
        self, model: RewardModel, ready: Comparisons, data: Comparisons, run: FitOptions
    ) -> RewardModel:
        """The model with codes that do not take a user's view of an item for a taste, where items recur.

        A part is fitted with what was chosen for all, or it may find fewer kinds of people and say nothing of these.
        """
        spec = model.spec
        if not model.head.n_codes or not isinstance(spec, Spec):
            return model
        correlation = item_correlation.choose(spec.for_a_part(model.report)._fit_to, data, run, model.trace)
        if not correlation:
            return model
        return replace(model, item_correlation=correlation).adapt(ready, replace=True)

    def ready(self, data: Comparisons) -> Comparisons:
        """The comparisons as `learn` takes them: by unit, in key order, fit for this family. Raises InputError.

        data    comparisons
        """
        if not len(data):
            raise InputError(f"{data.source}: no comparison to fit on")
        data = data.by_unit(self.unit)
        check_finite(data.items, data.source)
        self.check(data)
        return data.in_key_order()

    def check(self, data: Comparisons) -> None:
        """Raise InputError if this family cannot work on the data: why, and what would.

        data    comparisons, ready
        """
        return None

    @abstractmethod
    def learn(self, data: Comparisons, run: FitOptions) -> Fitted:
        """Fit the head and infer the code of every user in `data.users`.

        data   comparisons, ready; for a `Projected` head without units or what stands out, which it absorbs afterwards
        run    seed, device and what else holds for one fit
        """
