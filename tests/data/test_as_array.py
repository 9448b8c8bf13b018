"""Embeddings in every form that people have them give one answer."""

import numpy as np
import pytest
import torch

import plurality as pl8
from plurality.arrays import as_array
from plurality.datasets.simulated.populations import taste_groups
from plurality.errors import InputError

X = np.array([[1.5, -2.0, 0.25, 4.0], [0.5, 1.0, -0.75, 2.0], [3.0, 0.0, 1.0, -1.0]], dtype=np.float32)  # exact in bf16
FORMS = {
    "an array": X,
    "a reversed view": X[::-1].copy()[::-1],
    "reversed columns": X[:, ::-1].copy()[:, ::-1],
    "Fortran's order": np.asfortranarray(X),
    "foreign bytes": X.astype(">f4"),
    "doubles": X.astype(np.float64),
    "halves": X.astype(np.float16),
    "a tensor": torch.tensor(X),
    "bfloat16": torch.tensor(X).bfloat16(),
    "a gradient": torch.tensor(X, requires_grad=True),
    "bfloat16 with a gradient": torch.tensor(X).bfloat16().requires_grad_(),
    "lists": X.tolist(),
}


@pytest.fixture(scope="module")
def fitted():
    population, _ = taste_groups(n_users=6, shares=(0.5, 0.5), width=4)
    return pl8.LowRank(rank=1).fit(population.sample(20, seed=0).data, seed=0)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_every_form_gives_one_answer(form, fitted):
    np.testing.assert_array_equal(as_array(form), X)
    user = fitted.user_ids[:1]
    np.testing.assert_array_equal(fitted.utility(form, user), fitted.utility(X, user))
    np.testing.assert_array_equal(fitted.score(form, [2, 0], [*user] * 2), fitted.score(X, [2, 0], [*user] * 2))
    np.testing.assert_array_equal(fitted.win_probability(form, form, user), fitted.win_probability(X, X, user))
    rows = {"user_id": ["ann"], "chosen": [0], "rejected": [2]}
    np.testing.assert_array_equal(pl8.read(rows, embeddings=form).items, X)


def test_one_row_of_a_reversed_view(fitted):
    """A row of shape (1, d) keeps its negative stride and counts as contiguous nevertheless."""
    row = X[::-1][:1]
    np.testing.assert_array_equal(fitted.utility(row), fitted.utility(X[2:].copy()))


def test_a_mapped_array_is_not_copied(tmp_path):
    np.save(tmp_path / "x.npy", X)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert np.shares_memory(as_array(mapped), mapped)


def test_models_and_devices_that_are_none(fitted):
    population, _ = taste_groups(n_users=6, shares=(0.5, 0.5), width=4)
    data = population.sample(20, seed=0).data
    spec = pl8.LowRank(rank=1)
    for given, message in (
        (["low_rank"], "'low_rank' is a name; give the family's spec"),
        ({"mine": "low_rank"}, "'low_rank' is a name"),
        ("low_rank", "is not a list of specs"),
        ([fitted], "is fitted already"),
        (fitted, "is not a list of specs"),
        (spec, "is not a list of specs"),
        ([pl8.LowRank], "is not a spec"),
    ):
        with pytest.raises(InputError, match=message):
            pl8.compare(data, given)
    with pytest.raises(InputError, match="give one, such as"):
        pl8.compare(data)
    for device in ("gpu", *([] if torch.cuda.is_available() else ["cuda"])):
        for call in (lambda: spec.fit(data, device=device), lambda: pl8.compare(data, [spec], device=device)):  # noqa: B023
            with pytest.raises(InputError, match=f"device '{device}' cannot be used here"):
                call()
