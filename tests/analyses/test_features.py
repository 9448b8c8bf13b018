"""Features of texts counted by hand, and their differences."""

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plurality.analyses.features import FEATURES, differences, features
from plurality.errors import InputError

ANSWER = """# Plan

Perhaps you should wait. It\u2019s 3.5 km, or 1,000 steps!! Really?

1. First item
2. Second item
- third

```python
# no heading, maybe
print("why?")
```
"""


def of(text):
    return features([text]).row(0, named=True)


def test_every_feature_has_a_definition_and_a_unit():
    found = features(["one text"])
    assert found.columns == list(FEATURES)
    assert set(found.dtypes) == {pl.Float64}
    assert all(said.endswith(".") and unit for said, unit in FEATURES.values())


def test_an_answer_counted_by_hand():
    found = of(ANSWER)
    words = ["Plan", "Perhaps", "you", "should", "wait", "It's", "3", "5", "km", "or", "1", "000", "steps", "Really"]
    words += ["1", "First", "item", "2", "Second", "item", "third"]
    words += ["python", "no", "heading", "maybe", "print", "why"]
    n = len(words)
    assert np.expm1(found["words"]) == pytest.approx(n)
    assert np.expm1(found["characters"]) == pytest.approx(len(ANSWER))
    assert np.expm1(found["headings"]) == pytest.approx(1)
    assert np.expm1(found["lists"]) == pytest.approx(3)
    assert np.expm1(found["code_blocks"]) == pytest.approx(1)
    assert np.expm1(found["questions"]) == pytest.approx(1)  # that in the code is none
    assert np.expm1(found["exclamations"]) == pytest.approx(1)
    assert np.expm1(found["numbers"]) == pytest.approx(2)
    assert found["hedging"] == pytest.approx(100 / n)  # Perhaps; the maybe is code
    assert found["formality"] == pytest.approx(100 * (1 - 1 - 1) / n)  # Perhaps, It's, you
    assert found["first_person"] == found["refusal"] == 0


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("I'm sorry, but I can't help with that.", 1),
        ("I can\u2019t assist with this request.", 1),
        ("As an AI, I do not have opinions.", 1),
        ("I cannot provide medical advice.", 1),
        ("We must decline.", 1),
        ("You can help. I can help with that!", 0),
        ("She said she can't swim.", 0),
        ("I'm sorry to hear that.", 0),
    ],
)
def test_refusals(text, refused):
    assert of(text)["refusal"] == refused


def test_words_of_the_lists():
    assert of("It might rain in May, it may not")["hedging"] == pytest.approx(100 * 2 / 8)
    assert of("I told my friend about US history")["first_person"] == pytest.approx(100 * 3 / 7)
    assert of("an !important ![image](x) != here!")["exclamations"] == pytest.approx(np.log1p(2))
    assert of("#hashtag\n## Title\n####### seven")["headings"] == pytest.approx(np.log1p(1))
    assert of("```\nnever closed")["code_blocks"] == pytest.approx(np.log1p(1))
    formal, plain = of("Considerable evidence supports this interpretation."), of("I don't think you'll buy it.")
    assert formal["formality"] == pytest.approx(100 * 4 / 5)
    assert plain["formality"] == pytest.approx(100 * (0 - 2 - 2) / 6)


def test_a_text_without_words_has_none_of_anything():
    assert of("") == dict.fromkeys(FEATURES, 0.0)
    assert features([]).shape == (0, len(FEATURES))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(max_size=60), min_size=1, max_size=4))
def test_any_text_has_finite_features_and_rows_do_not_mix(texts):
    found = features(texts)
    assert np.isfinite(found.to_numpy()).all()
    assert (found.drop("formality").to_numpy() >= 0).all()
    apart = pl.concat([features([text]) for text in texts])
    assert found.equals(apart)


def test_differences_are_in_standard_deviations():
    first, second = features(["short", ANSWER, "Maybe?"]), features([ANSWER, "I might.", "no"])
    gap = differences(first, second)
    moved = gap.to_numpy()
    raw = first.to_numpy() - second.to_numpy()
    scale = np.sqrt((raw**2).mean(axis=0))
    np.testing.assert_allclose(moved, raw / np.where(scale > 0, scale, 1), atol=1e-12)
    np.testing.assert_allclose(differences(second, first).to_numpy(), -moved, atol=1e-12)
    assert (gap["refusal"] == 0).all()  # it never differs
    again = differences(first.select(reversed(first.columns)), second)
    assert again.columns == first.columns[::-1]
    np.testing.assert_array_equal(again.select(first.columns).to_numpy(), moved)


def test_a_weight_is_a_frequency():
    rng = np.random.default_rng(0)
    first, second, w = rng.normal(size=(9, 2)), rng.normal(size=(9, 2)), rng.integers(0, 4, 9)
    a, b = ({"x": v[:, 0], "y": v[:, 1]} for v in (first, second))
    c, d = ({"x": np.repeat(v[:, 0], w), "y": np.repeat(v[:, 1], w)} for v in (first, second))
    repeated = differences(c, d).to_numpy()
    np.testing.assert_allclose(np.repeat(differences(a, b, w).to_numpy(), w, axis=0), repeated, atol=1e-12)


@pytest.mark.parametrize(
    ("first", "second", "weights", "said"),
    [
        ({"x": [1.0]}, {"y": [1.0]}, None, "'x', 'y'"),
        ({"x": [1.0]}, {"x": [1.0, 2.0]}, None, "1 rows in first, 2 in second"),
        ({"x": ["a"]}, {"x": ["b"]}, None, "x is 'a' in row 0"),
        ({"x": [1.0, None]}, {"x": [1.0, 2.0]}, None, "x in row 1"),
        ({"x": [1.0]}, {"x": [2.0]}, [-1.0], "row 0 is -1.0"),
        ({"x": [1.0]}, {"x": [2.0]}, [1.0, 2.0], "one weight each"),
    ],
)
def test_bad_features_are_refused(first, second, weights, said):
    with pytest.raises(InputError, match=said):
        differences(first, second, weights)


def test_bad_texts_are_refused():
    with pytest.raises(InputError, match="row 1 is missing"):
        features(["a", None])
    with pytest.raises(InputError, match="strings"):
        features([1, 2])
    with pytest.raises(InputError, match="one string"):
        features("a text")
    assert features(np.array(["a", "b c"])).height == 2
    with pytest.raises(InputError, match="Int64"):
        features(pl.Series([1, 2]))
