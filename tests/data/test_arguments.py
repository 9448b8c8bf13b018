"""Arguments of another kind than is asked for: one line that names them, and never a number that looks right."""

import numpy as np
import polars as pl
import pytest

import plurality as pl8
from plurality.data.splits import split
from plurality.elicitation import next_labels
from plurality.errors import InputError

X = np.random.default_rng(0).normal(size=(12, 3))


@pytest.fixture(scope="module")
def data():
    generator = np.random.default_rng(1)
    pairs = np.array([generator.permutation(12)[:2] for _ in range(80)])
    rows = {"user_id": [f"u{i % 5}" for i in range(80)], "chosen": pairs[:, 0], "rejected": pairs[:, 1]}
    users = pl.DataFrame({"user_id": [f"u{i}" for i in range(5)]}).with_columns(
        told=pl.lit([[1, 2]]).list.first(), lived=pl.duration(days=pl.int_range(5))
    )
    return pl8.read(rows, users=users, embeddings=X, repeats="keep")


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"test_size": "a"}, "test share 'a' must lie between"),
        ({"test_size": None}, "test share None must lie"),
        ({"test_size": float("nan")}, "test share nan must lie"),
        ({"fold": 1.5}, "fold=1.5 is no whole number of 0 or more"),
        ({"fold": "0"}, "fold='0' is no whole number"),
        ({"fold": 5}, "fold 5 does not exist"),
        ({"seed": "0"}, "seed='0' is no whole number"),
        ({"seed": None}, "seed=None is no whole number"),
    ],
)
def test_of_a_split(data, settings, why):
    with pytest.raises(InputError, match=why):
        split(data, split="item", **settings)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"folds": 1.5}, "folds=1.5 is a float; give a whole number"),
        ({"n_bootstrap": 0}, "n_bootstrap=0 is no whole number of 1 or more"),
        ({"n_jobs": 0}, "n_jobs=0 fits nothing"),
        ({"seed": "a"}, "seed='a' is a str; give a whole number"),
    ],
)
def test_of_a_comparison(data, settings, why):
    with pytest.raises(InputError, match=why):
        pl8.compare(data, [], split="item", **settings)


def test_of_a_check(data):
    with pytest.raises(InputError, match="split='x' is unknown; choose group, prompt, item"):
        pl8.check_data(data, split="x")
    with pytest.raises(InputError, match="folds=9 is no whole number from 1 to 5"):
        pl8.check_data(data, folds=9)


@pytest.mark.filterwarnings("ignore:.* too few to hold items out")
def test_of_questions(data):
    reward = pl8.LowRank(rank=1, decay=3.0).fit(data)
    for n in (1.5, "2", None):
        with pytest.raises(InputError, match=f"n={n!r} is no whole number"):
            pl8.next_questions(reward, "u0", data, n=n)
        with pytest.raises(InputError, match=f"n={n!r} is no whole number"):
            next_labels(reward, data, data, n=n)
    with pytest.raises(InputError, match="user_id=3 is no text"):
        pl8.next_questions(reward, 3, data)


@pytest.mark.parametrize("sets", ["ab", [None], []])
def test_of_joined_sets(sets):
    with pytest.raises(InputError, match="concat joins a list of comparisons, as read gives them"):
        pl8.concat(sets)


@pytest.mark.parametrize("names", [["a", " "], [1, 2], ["a", None]])
def test_names_of_joined_sets(data, names):
    with pytest.raises(InputError, match="not one name for each of 2 sets"):
        pl8.concat([data, data], objectives=names)


@pytest.mark.parametrize("column", ["told", "lived"])
def test_units_are_of_single_values(data, column):
    with pytest.raises(InputError, match=f"'{column}' of the users table holds .*; give text or numbers"):
        data.by_unit(column)
