"""Every family passes every check, and a family that breaks one promise fails the check of that promise."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch

from plurality.models import spec_class
from plurality.models.bradley_terry import BradleyTerry
from plurality.reward.registry import built_in
from plurality.testing.check_model import CHECKS, CheckedFit, check_model, simulated_data
from tests.models.variants import parameters, variants

VARIANTS = variants()


def test_every_family_has_a_variant_of_its_own_class():
    """And one without `variants.py` is checked with its default settings."""
    assert {type(spec) for spec in VARIANTS} == {spec_class(name) for name in built_in()}


@pytest.mark.filterwarnings("ignore::plurality.errors.InputWarning")  # that 12 users teach it nothing
@pytest.mark.parametrize("spec", parameters(), ids=repr)
def test_family_keeps_its_promises(spec):
    assert check_model(spec) == [*CHECKS, "no global state is touched"]


@dataclass(frozen=True)
class Wrapped(BradleyTerry):
    """A Bradley–Terry under another name, for the doubles below to spoil."""

    temperature: bool = True
    decay: float = 3.0

    name: ClassVar[str] = "wrapped"


class DrawsFromTheGlobalGenerator(Wrapped):
    def fit(self, data, **arguments):
        torch.rand(1)
        return super().fit(data, **arguments)


class LooksAtThePosition(Wrapped):
    def fit(self, data, **arguments):
        return super().fit(replace(data, weight=data.weight * np.linspace(1, 3, len(data))), **arguments)


class LooksAtNames(Wrapped):
    def fit(self, data, **arguments):
        name = data.users["user_id"].str.len_chars().to_numpy()[data.user]
        return super().fit(replace(data, weight=data.weight * (1 + (name > 6))), **arguments)


class ForgetsWeights(Wrapped):
    def fit(self, data, **arguments):
        return super().fit(replace(data, weight=np.ones(len(data))), **arguments)


class HasAMoodOfItsOwn(Wrapped):
    mood: ClassVar[list[int]] = []

    def fit(self, data, **arguments):
        self.mood.append(1)
        return super().fit(replace(data, weight=data.weight * (1 + 1e-3 * len(self.mood))), **arguments)


class AddsAConstantForFirst(Wrapped):
    def fit(self, data, **arguments):
        model = super().fit(data, **arguments)
        utility = model.head.utility
        sides = iter(range(10**6))
        model.head.utility = lambda features, codes: utility(features, codes) + 0.1 * (next(sides) % 2 == 0)
        return model


@dataclass
class Thawed:
    """Not frozen."""

    decay: float = 3.0
    unit: str = "user_id"
    name: ClassVar[str] = "thawed"
    head, ready, check = Wrapped.head, Wrapped.ready, Wrapped.check
    hidden, temperature, n_init = 0, True, 1
    fit, learn = Wrapped.fit, Wrapped.learn
    _counting_repeats, _fitted = Wrapped._counting_repeats, Wrapped._fitted


@pytest.mark.parametrize(
    ("spec", "check", "complaint"),
    [
        (LooksAtThePosition(), "rows have no order", "rows in another order"),
        (LooksAtNames(), "users have no order and no names", "users renamed"),
        (ForgetsWeights(), "a weight of 3 is the row three times", "weights against repeated rows"),
        (HasAMoodOfItsOwn(), "the same seed gives the same bits", "a second fit with the same seed"),
        (AddsAConstantForFirst(), "exchanged sides give 1 − p", "is not 1 − p"),
        (AddsAConstantForFirst(), "a gap is a difference of utilities", "not the difference of utilities"),
        (Thawed(), "the spec is frozen", "make the spec a frozen dataclass"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_broken_promise_is_named(spec, check, complaint):
    data = simulated_data(0)
    with pytest.raises(AssertionError, match=complaint):
        CHECKS[check](CheckedFit(spec, 0, data, spec.fit(data, seed=0)))


def test_the_failing_check_and_the_spec_are_in_the_message():
    with pytest.raises(AssertionError, match=r"ForgetsWeights\(.*\): a weight of 3 is the row three times: "):
        check_model(ForgetsWeights())


def test_drawing_from_a_global_generator_is_seen():
    with torch.random.fork_rng(devices=[]), pytest.raises(AssertionError, match="global random state"):
        check_model(DrawsFromTheGlobalGenerator())


def test_a_family_from_elsewhere_is_checked_on_all_but_saving():
    passed = check_model(Wrapped())
    assert [name for name in CHECKS if name not in passed] == ["saving loses nothing"]


def test_wrong_gradients_are_seen():
    """A head whose backward pass is another function's."""
    spec = Wrapped()
    data = simulated_data(0)
    model = spec.fit(data)

    class Crooked(type(model.head)):
        def utility(self, features, codes):
            u = super().utility(features, codes)
            return u + 0.1 * features[..., 0] * (codes[..., 0].exp() - codes[..., 0].exp().detach())

    model.head.__class__ = Crooked
    with pytest.raises(AssertionError, match="codes: autograd"):
        CHECKS["gradients agree with finite differences"](CheckedFit(spec, 0, data, model))
