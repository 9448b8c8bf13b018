"""Arguments under former names work, and say their new ones."""

import inspect
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from plurality.data import splits
from plurality.data.comparisons import Comparisons
from plurality.data.read import read
from plurality.data_checks.check import check_data
from plurality.data_checks.consistency import consistency
from plurality.data_checks.format_leak import format_leak
from plurality.data_checks.headroom import room
from plurality.datasets.protocols.few_shot import few_shot, few_shot_of_cells
from plurality.datasets.protocols.published import lore_prism, p_rlhf_prism, vpl_uf_p
from plurality.datasets.protocols.tax import personalisation_tax
from plurality.deprecation import renamed
from plurality.errors import InputError
from plurality.evaluation.compare import compare
from plurality.evaluation.comparison_table import tabulate
from plurality.fitting import objective, tuning
from plurality.fitting.tuning import FitOptions
from plurality.models import BradleyTerry
from plurality.serving.app import create_app


@renamed(test="test_size")
def split(by: str, *, test_size: float = 0.2) -> tuple[str, float]:
    """Something with a renamed argument."""
    return by, test_size


def test_a_former_name_works_and_warns():
    with pytest.warns(DeprecationWarning, match="split: test= is now test_size="):
        assert split("item", test=0.5) == ("item", 0.5)
    assert split("item", test_size=0.5) == ("item", 0.5)


def test_both_names_are_an_error():
    with pytest.raises(TypeError, match="give test_size= alone"):
        split("item", test=0.5, test_size=0.5)


def test_the_signature_and_the_docstring_stay():
    assert list(inspect.signature(split).parameters) == ["by", "test_size"]
    assert split.__doc__ == "Something with a renamed argument."


@renamed(anybody=("new_items_for", {True: "anybody", False: "user"}))
class Held:
    """Something whose renamed argument takes other values too."""

    def __init__(self, new_items_for: str = "user") -> None:
        self.new_items_for = new_items_for


def test_a_class_keeps_its_type_and_former_values_become_new_ones():
    for value, now in ((True, "anybody"), (False, "user")):
        with pytest.warns(DeprecationWarning, match=f"Held: anybody= is now new_items_for='{now}'"):
            held = Held(anybody=value)
        assert isinstance(held, Held)
        assert held.new_items_for == now
    with pytest.warns(DeprecationWarning, match="new_items_for='moon'"):
        assert Held(anybody="moon").new_items_for == "moon"


FORMER = [
    (Comparisons.split, {"by": "item", "test": 0.3, "anybody": True}, ["split", "test_size", "new_items_for"]),
    (Comparisons.cells, {"by": "item", "test": 0.3}, ["split", "test_size"]),
    (splits.split, {"by": "item", "test": 0.3, "anybody": False}, ["split", "test_size", "new_items_for"]),
    (splits.cells, {"by": "item", "test": 0.3}, ["split", "test_size"]),
    (splits.folds_apart, {"anybody": True}, ["new_items_for"]),
    (BradleyTerry.fit, {"new_to": "user"}, ["new_items_for"]),
    (FitOptions, {"new_to": "user"}, ["new_items_for"]),
    (compare, {"test": 0.3, "draws": 9}, ["test_size", "n_bootstrap"]),
    (tabulate, {"draws": 9}, ["n_bootstrap"]),
    (few_shot, {"resamples": 9}, ["n_bootstrap"]),
    (few_shot_of_cells, {"resamples": 9}, ["n_bootstrap"]),
    (lore_prism, {"test": 0.3}, ["test_size"]),
    (p_rlhf_prism, {"test": 0.3}, ["test_size"]),
    (vpl_uf_p, {"test": 0.3}, ["test_size"]),
    (personalisation_tax, {"draws": 9}, ["n_bootstrap"]),
    (check_data, {"draws": 9}, ["n_bootstrap"]),
    (format_leak, {"draws": 9}, ["n_bootstrap"]),
    (consistency, {"draws": 9}, ["n_bootstrap"]),
    (room, {"draws": 9}, ["n_bootstrap"]),
    (create_app, {"contract": None}, ["protocol"]),
]


@pytest.mark.parametrize(("function", "former", "names"), FORMER, ids=lambda x: getattr(x, "__qualname__", ""))
def test_every_former_spelling_is_taken_and_named(function, former, names):
    """Both spellings of one argument are an error of the wrapper alone, so it knows the former; the new ones exist."""
    assert set(names) <= set(inspect.signature(function).parameters)
    for old, new in zip(former, names, strict=True):
        assert old not in inspect.signature(function).parameters
        with pytest.raises(TypeError, match=f"{old}= is {new}= now"):
            function(**{old: former[old], new: None})


def two_users() -> Comparisons:
    n = 40
    sides = {"first": range(n), "second": [(i * 7 + 1) % n for i in range(n)], "label": [i % 2 for i in range(n)]}
    frame = pl.DataFrame({"user_id": [str(i % 2) for i in range(n)], "prompt": ["p"] * n, **sides})
    return read(frame, embeddings=np.random.default_rng(0).standard_normal((n, 2)).astype(np.float32))


def test_splits_and_fits_by_former_names_are_those_by_new_ones():
    data = two_users()
    with pytest.warns(DeprecationWarning, match="is now") as said:
        old = data.split(by="item", test=0.4, anybody=True)
    new = data.split("item", test_size=0.4, new_items_for="anybody")
    assert len(said) == 3
    assert {str(w.message).split(": ")[1].split(" ")[0] for w in said} == {"by=", "test=", "anybody="}
    assert {Path(w.filename).name for w in said} == {Path(__file__).name}
    for a, b in zip(old, new, strict=True):
        np.testing.assert_array_equal(a.first, b.first)
    with pytest.warns(DeprecationWarning, match="new_to= is now new_items_for="):
        model = BradleyTerry(decay=1.0).fit(data, new_to="user")
    again = BradleyTerry(decay=1.0).fit(data, new_items_for="user")
    np.testing.assert_array_equal(model.log_odds(data), again.log_odds(data))
    with pytest.warns(DeprecationWarning, match=r"FitOptions\.new_to is now"):
        assert FitOptions(new_items_for="user").new_to == "user"


def test_an_unknown_value_is_rejected():
    with pytest.raises(InputError, match="new_items_for='nobody' is not a valid option; choose"):
        two_users().split("item", new_items_for="nobody")


@pytest.mark.parametrize(("module", "former", "name"), [(tuning, "Run", "FitOptions"), (objective, "Plan", "FitPlan")])
def test_classes_of_a_fit_are_there_under_their_former_names(module, former, name):
    with pytest.warns(DeprecationWarning, match=f"{former} is now {name}; the old name goes in 0.3"):
        assert getattr(module, former) is getattr(module, name)
