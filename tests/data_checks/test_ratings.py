"""Ratings looked at: people of one answer, and people who contradict themselves, counted by hand."""

import numpy as np
import polars as pl
import pytest

import plurality as pl8
from plurality.data_checks.check import check_data
from plurality.data_checks.ratings import ALIKE, CONTRADICT, OTHERS, TOP, check_ratings

M = 12


def data(wrong, seed=0, people=10, objective=False):
    """Everybody rates all items apart, and prefers against these ratings in a share `wrong` of pairs."""
    generator = np.random.default_rng(seed)
    rows = []
    for u in range(people):
        who = {"user_id": f"u{u}"}
        rating = generator.permutation(M).astype(float)
        rows += [who | {"completion": i, "rating": rating[i], "objective": "a"} for i in range(M)]
        for _ in range(20):
            i, j = generator.permutation(M)[:2].tolist()
            better = (rating[i] > rating[j]) != (generator.random() < wrong)
            rows.append(who | {"chosen": i if better else j, "rejected": j if better else i, "objective": "b"})
    frame = pl.from_dicts(rows, infer_schema_length=None)
    return pl8.read(frame if objective else frame.drop("objective"), embeddings=np.eye(M), repeats="keep")


def row(found, what):
    return found.table.filter(what=what).row(0, named=True)


@pytest.mark.parametrize(("wrong", "said"), [(0.0, ""), (0.15, ""), (0.5, "hardly belong together")])
def test_contradictions_are_counted(wrong, said):
    found = check_ratings(data(wrong))
    mine = row(found, CONTRADICT)
    assert mine["n"] == 200
    assert mine["estimate"] == pytest.approx(wrong, abs=0.08)
    assert mine["lo"] <= mine["estimate"] <= mine["hi"]
    assert row(found, OTHERS)["estimate"] == pytest.approx(0.5, abs=0.12)  # everybody rates in an order of their own
    assert said in " ".join(found.sentences)


def test_other_objectives_are_no_contradiction():
    found = check_ratings(data(1.0, objective=True))
    assert CONTRADICT not in found.table["what"]


def test_people_of_one_answer():
    rating = {"ann": [10, 10, 10], "bob": [3, 3, 3], "cyd": [1, 5, 10], "dan": [9, 10, 8]}
    rows = {
        "user_id": [who for who in rating for _ in range(3)],
        "completion": [0, 1, 2] * 4,
        "rating": [value for values in rating.values() for value in values],
    }
    with pytest.warns(pl8.InputWarning, match="6 rows prefer nothing"):
        read = pl8.read(rows, embeddings=np.eye(3))
    found = check_ratings(read)
    assert row(found, ALIKE)["estimate"] == 0.5
    assert row(found, TOP)["estimate"] == 0.25
    assert "50 % of people with three ratings or more rate everything alike" in " ".join(found.sentences)
    whole = check_data(read, estimate_room=False)
    assert {"ratings", "scale_use"} <= set(whole.frames())
    assert "Scale use" in whole.summary().replace("\n    ", " ")
    pairs = pl8.read({"user_id": ["ann"], "chosen": [0], "rejected": [1]}, embeddings=np.eye(2))
    assert check_ratings(pairs) is None
