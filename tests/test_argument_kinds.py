"""Arguments of the wrong kind are one line that names them, and those of the right kind pass however they are made."""

from typing import Literal

import numpy as np
import pytest

import plurality as pl8
from plurality.argument_kinds import check_kinds
from plurality.datasets.simulated import populations as planted
from plurality.errors import InputError


@pytest.fixture(scope="module")
def data():
    return planted.taste_groups(n_users=6, shares=(1.0,), width=3)[0].sample(20, seed=0).data


def asked(
    whole: int, number: float | None, text: str, flag: bool, some: tuple[int, ...], two: tuple[float, float],
    one_of: Literal["a", "b"], other: np.ndarray,
) -> None:  # fmt: skip
    """What is asked for."""


RIGHT = {
    "whole": [3, np.int32(3), True],
    "number": [None, 3, 0.5, np.float32(0.5)],
    "text": ["3"],
    "flag": [True, np.True_],
    "some": [(1, 2), [], (np.int64(1),)],
    "two": [(1, 0.5), [0.5, 2.0]],
    "one_of": ["a"],
    "other": [None, "whatever"],
    "unknown": [object()],
}
WRONG = {
    "whole": ["3", 0.5, None],
    "number": ["3", (1,)],
    "text": [3, None, b"3"],
    "flag": ["yes", 2],
    "some": [3, ("1",), "12"],
    "two": [(1,), (1, 2, 3), ("a", 2)],
    "one_of": ["c", 1],
}


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in RIGHT.items() for v in values])
def test_right_kinds_pass(name, value):
    check_kinds("it", asked, {name: value})


@pytest.mark.parametrize(("name", "value"), [(n, v) for n, values in WRONG.items() for v in values])
def test_wrong_kinds_are_named(name, value):
    with pytest.raises(InputError, match=rf"^it: {name}=.* is an? \w+; give [^\n]+$"):
        check_kinds("it", asked, {name: value})


def test_long_values_are_shown_from_their_beginning():
    with pytest.raises(InputError) as told:
        check_kinds("it", asked, {"whole": "x" * 10_000})
    assert len(str(told.value)) < 100


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda data: pl8.PAL(n_prototypes="4"), "pal: n_prototypes='4' is a str; give a whole number"),
        (lambda data: pl8.BradleyTerry(decay="1"), "bradley_terry: decay='1' is a str; give a number or None"),
        (lambda data: pl8.LCPO(prior=("a", 2)), "lcpo: prior="),
        (lambda data: pl8.VPL(unit=3), "vpl: unit=3 is an int; give text"),
        (lambda data: pl8.BradleyTerry().fit("a.parquet"), "bradley_terry: fit takes Comparisons, not a str"),
        (lambda data: pl8.BradleyTerry().fit(data, seed="0"), "fit: seed='0' is a str"),
        (
            lambda data: pl8.BradleyTerry().fit(data, new_items_for="me"),
            "new_items_for='me' is a str; give 'anybody' or 'user'",
        ),
        (lambda data: pl8.BradleyTerry(decay=1.0).fit(data).adapt("a.parquet"), "adapt takes Comparisons, not a str"),
        (lambda data: pl8.BradleyTerry(decay=1.0).fit(data).adapt(data, forget="x"), "adapt: forget='x'"),
        (lambda data: pl8.compare("a.parquet", []), "compare takes Comparisons, not a str"),
        (lambda data: pl8.compare(data, [], time_limit="5"), "compare: time_limit='5' is a str; give a number or None"),
        (lambda data: pl8.compare(data, [], folds="5"), "compare: folds='5'"),
    ],
)
def test_doors_say_so(data, call, said):
    with pytest.raises(InputError) as told:
        call(data)
    assert said in str(told.value)
    assert "\n" not in str(told.value)
