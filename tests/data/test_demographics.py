"""Design matrices of users tables by hand: shares, rare levels, missing values, numbers, ids."""

import numpy as np
import polars as pl
import pytest

from plurality.data.demographics import Factor, blocks, codes_of_levels, describe, design, width
from plurality.errors import InputError

USERS = pl.DataFrame(
    {
        "user_id": [f"u{i}" for i in range(10)],
        "region": ["north"] * 5 + ["south"] * 3 + ["east"] + [None],
        "age": [20.0, 30, 40, 50, 60, 20, 30, 40, 50, None],
        "member": [True] * 4 + [False] * 6,
        "same": ["x"] * 10,
        "name": [f"name {i}" for i in range(10)],
    }
)


def test_text_is_an_indicator_less_the_share():
    (factor,) = describe(USERS, ["region"])
    assert factor.names == ["north", "south", "east", "(missing)"]
    matrix = factor.matrix(USERS)
    np.testing.assert_allclose(matrix.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(matrix[0], [0.5, -0.3, -0.1, -0.1])
    np.testing.assert_allclose(matrix[9], [-0.5, -0.3, -0.1, 0.9])


def test_rare_levels_are_pooled():
    users = pl.DataFrame({"user_id": map(str, range(12)), "job": ["a"] * 5 + ["b"] * 4 + ["c", "d", "e"]})
    (factor,) = describe(users, None)
    assert factor.names == ["a", "b", "(others)"]
    np.testing.assert_allclose(factor.matrix(users)[[9, 10, 11]], [[-5 / 12, -4 / 12, 9 / 12]] * 3)


def test_a_level_never_seen_is_the_average_user():
    (factor,) = describe(USERS, ["region"])
    new = pl.DataFrame({"user_id": ["new", "newer"], "region": ["west", None]})
    np.testing.assert_allclose(factor.matrix(new)[0], 0)
    np.testing.assert_allclose(factor.matrix(new)[1], factor.matrix(USERS)[9])
    np.testing.assert_allclose(factor.matrix(new.drop("region")), 0)


def test_numbers_are_standardised_and_missing_ones_told():
    (factor,) = describe(USERS, ["age"])
    assert factor.numeric
    matrix = factor.matrix(USERS)
    assert matrix.shape == (10, 2)
    np.testing.assert_allclose(matrix[:9, 0].mean(), 0, atol=1e-12)
    np.testing.assert_allclose(matrix[:9, 0].std(), 1)
    assert matrix[9].tolist() == pytest.approx([0, 0.9])


def test_columns_that_say_nothing_are_left_out():
    assert [f.column for f in describe(USERS, None)] == ["region", "age", "member"]


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (["height"], r"no column 'height' to go by; it has region, age"),
        (["same"], r"column 'same' of the users table has one value for all users; leave it out of by="),
        (["name"], r"column 'name' of the users table has fewer than 3 users at most of its values"),
    ],
)
def test_columns_asked_for_must_do(by, message):
    with pytest.raises(InputError, match=message):
        describe(USERS, by)


def test_nothing_to_go_by_is_an_error_with_a_remedy():
    with pytest.raises(InputError, match=r"no column but user_id; give demographics .*or fit low_rank"):
        describe(USERS.select("user_id"), None)
    with pytest.raises(InputError, match=r"'same' has one value for all users; give demographics"):
        describe(USERS.select("user_id", "same"), None)


def test_designs_stand_side_by_side():
    factors = describe(USERS, ["region", "age", "member"])
    assert width(factors) == 4 + 2 + 2
    assert blocks(factors) == [0] * 4 + [1] * 2 + [2] * 2
    np.testing.assert_allclose(design(factors, USERS), np.concatenate([f.matrix(USERS) for f in factors], 1))


def test_contrasts_are_effects_of_being_there():
    """Row l of contrasts times coefficients is what a user of level l differs by: a row of the design."""
    (factor,) = describe(USERS, ["region"])
    np.testing.assert_allclose(factor.contrasts()[[0, 0, 0, 0, 0, 1, 1, 1, 2, 3]], factor.matrix(USERS))


def test_levels_as_codes():
    region, age = describe(USERS, ["region", "age"])
    assert codes_of_levels(region, USERS).tolist() == [0] * 5 + [1] * 3 + [2, 3]
    codes = codes_of_levels(age, USERS)
    assert codes[9] == -1
    assert codes[:9].min() == 0
    assert codes[:9].max() == 4


def test_factors_survive_json():
    import json

    factors = describe(USERS, ["region", "age"])
    again = [Factor(*json.loads(json.dumps(f))) for f in factors]
    np.testing.assert_allclose(design(again, USERS), design(factors, USERS))
