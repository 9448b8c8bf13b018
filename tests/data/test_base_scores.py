"""Scores of a reward that one owns are read with the answers, one an item, and go where the items go."""

import numpy as np
import polars as pl
import pytest

import plurality as pl8
from plurality.errors import InputError

PAIRS = {
    "user_id": ["ada", "bo"],
    "prompt": ["p", "p"],
    "chosen": [0, 1],
    "rejected": [1, 2],
    "score_chosen": [1.0, 3.0],
    "score_rejected": [2.0, 0.5],
}
ITEMS = np.eye(4, dtype=np.float32)


def test_an_item_scored_twice_has_the_mean_and_sides_their_gap():
    data = pl8.read(PAIRS, embeddings=ITEMS)
    np.testing.assert_array_equal(data.base, [1.0, 2.5, 0.5, np.nan])
    better = np.where(data.label == 1, data.base_gap, -data.base_gap)  # of chosen over rejected
    np.testing.assert_allclose(better, [-1.5, 2.0])
    assert "score_chosen" not in data.unread
    assert "with base scores" in repr(data)
    assert "base scores" in data._repr_html_()


def test_scores_go_with_the_items(tmp_path):
    data = pl8.read(PAIRS, embeddings=ITEMS)
    again = pl8.Comparisons.load(data.save(tmp_path / "store"))
    np.testing.assert_array_equal(again.base, data.base)
    part = data.take(np.array([1])).compact_items()
    np.testing.assert_array_equal(part.base_gap, data.base_gap[[1]])
    both = pl8.concat([data, data], objectives=["a", "b"])
    np.testing.assert_array_equal(np.sort(abs(both.base_gap)), np.sort(np.tile(abs(data.base_gap), 2)))
    bare = pl8.read({k: v for k, v in PAIRS.items() if not k.startswith("score")}, embeddings=ITEMS)
    np.testing.assert_array_equal(bare.base_gap, [0, 0])
    with pytest.raises(InputError, match="set 2 has no base scores"):
        pl8.concat([data, bare], objectives=["a", "b"])


def test_answers_of_other_kinds_have_scores_too():
    rows = [
        {"user_id": "a", "prompt": "p", "completions": [0, 1, 2], "chosen": 1, "scores": [0.1, 0.2, 0.3]},
        {"user_id": "a", "prompt": "p", "ranking": [2, 0], "scores": [0.3, 0.1]},
        {"user_id": "a", "prompt": "p", "completion": 3, "rating": 4, "score": 0.4},
        {"user_id": "a", "prompt": "p", "completion": 0, "rating": 2, "score": 0.1},
        {"user_id": "a", "prompt": "p", "chosen": 0, "rejected": 3, "score_chosen": 0.1, "score_rejected": 0.4},
    ]
    data = pl8.read(pl.DataFrame(rows, infer_schema_length=None), embeddings=ITEMS)
    np.testing.assert_allclose(data.base, [0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"score_rejected": [2.0, None]}, "row 2: score_rejected is null"),
        ({"score_rejected": [2.0, np.inf]}, "row 2: score_rejected is NaN or infinite"),
        ({"score_rejected": ["high", "low"]}, "row 1: score_rejected is not a number"),
    ],
)
def test_a_score_that_is_missing_is_an_error_and_never_a_zero(change, message):
    with pytest.raises(InputError, match=message):
        pl8.read(PAIRS | change, embeddings=ITEMS)
    with pytest.raises(InputError, match="score_rejected is missing"):
        pl8.read({k: v for k, v in PAIRS.items() if k != "score_rejected"}, embeddings=ITEMS)


def test_some_answers_without_a_score_are_an_error():
    rows = [
        {"user_id": "a", "prompt": "p", "completions": [0, 1], "chosen": 1, "scores": [0.1, 0.2]},
        {"user_id": "a", "prompt": "p", "completions": [2, 0], "chosen": 2},
    ]
    with pytest.raises(InputError, match="row 2: scores is null"):
        pl8.read(pl.DataFrame(rows), embeddings=ITEMS)
    with pytest.raises(InputError, match="row 1: scores and completions are of different length"):
        pl8.read(pl.DataFrame([rows[0] | {"scores": [0.1]}]), embeddings=ITEMS)


def test_scores_under_the_name_of_another_kind_are_an_error():
    turned = {{"score_chosen": "score_first", "score_rejected": "score_second"}.get(k, k): v for k, v in PAIRS.items()}
    with pytest.raises(InputError, match=r"goes with a column (first|second)"):
        pl8.read(turned, embeddings=ITEMS)
    row = {"user_id": "a", "prompt": "p", "completions": [0, 1], "chosen": 1, "score": 0.1}
    with pytest.raises(InputError, match="column score scores nothing that the rows have"):
        pl8.read(pl.DataFrame([row]), embeddings=ITEMS)


def test_sets_that_score_a_text_otherwise_are_not_joined(letters):
    rows = {"user_id": ["a"], "prompt": ["p"], "chosen": ["x"], "rejected": ["y"]}
    one, other = (
        pl8.read(rows | {"score_chosen": [s], "score_rejected": [1.0]}, encoder=letters) for s in (2.0, 200.0)
    )
    with pytest.raises(InputError, match="set 2 scores a text otherwise"):
        pl8.concat([one, other], objectives=["a", "b"])
