"""HelpSteer2 and HelpSteer3 from small files in the published format, against pairs worked out by hand."""

import gzip
import json

import numpy as np
import polars as pl
import pytest
from scipy.stats import mannwhitneyu

from plurality.datasets import load
from plurality.datasets.helpsteer import frames
from plurality.errors import InputError


def write(folder, name, rows):
    path = folder / f"{name}.jsonl.gz"
    path.parent.mkdir(exist_ok=True)
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    return folder


def third(domain, language, context, first, second, *scores):
    said = [{"score": s, "reasoning": "@Response 1 …", "feedback1": "f", "feedback2": "g"} for s in scores]
    return {
        "domain": domain, "language": language, "context": context, "response1": first, "response2": second,
        "overall_preference": 1, "individual_preference": said,
    }  # fmt: skip


def user(text):
    return [{"role": "user", "content": text}]


LONG = [*user("hi"), {"role": "assistant", "content": "hello"}, *user("and?")]
THIRD = [
    third("general", "english", user("tea?"), "green", "black", -3, 1, 0),
    third("multilingual", "korean", user("차?"), "네", "아니요", 2),
    third("code", "python", LONG, "x = 1", "y = 2", -1, -1),  # two who say the same
    third("stem", "english", user("?"), "", "42", 3),
    third("stem", "english", user("same?"), "7", "7", 3),
]


def second(split, prompt, first, other, *strengths, similar=None, shown=False):
    said = [{"strength": s, "justification": 'it\'s "better"'} for s in strengths]
    alike = [{"statement": "s", "elaboration": "e", "strength": s} for s in (similar or strengths[:3])]
    return {
        "split": split, "prompt": prompt, "response_1": first, "response_2": other, "preference_strength": 1,
        "preference_statement": "s", "preference_elaboration": "e", "three_most_similar_preferences": alike,
        "all_preferences_unprocessed": repr(said) if shown else said,
    }  # fmt: skip


SECOND = [
    second("train", "tea?", "green", "black", 1, -3, 2, -100, similar=[1, 1, 2]),
    second("train", "hi\n<extra_id_1>Assistant\nhello\n<extra_id_1>User\nand?", "no", "yes", -2, 0, shown=True),
    second("val", "sea?", "in", "out", 3),
]


def rated(prompt, response, *helpfulness, others=(2, 2)):
    names = ("correctness", "coherence", "complexity", "verbosity")
    return {"prompt": prompt, "response": response, "helpfulness": list(helpfulness)} | {
        name: list(others) for name in names
    }


RATED = [
    rated("tea?", "green", 3, 4, 1, others=(4, 4)),
    rated("tea?", "black", 1, 3),
    rated("alone?", "a", 4, 4),
]


@pytest.fixture
def folder(tmp_path):
    write(tmp_path, "preference/train", THIRD)
    write(tmp_path, "preference/validation", THIRD[1:2])
    write(tmp_path, "feedback/train", [{"other": "table"}])
    write(tmp_path, "preference/preference", SECOND)
    return write(tmp_path, "disagreements/disagreements", RATED)


def told(made):
    last = pl.col("prompt").list.last().struct.field("content")
    columns = ("user_id", last, "chosen", "rejected", "label", "strength", "weight")
    return sorted(made.collect().select(*columns).rows())


def test_helpsteer3_by_hand(folder):
    made = frames(folder)
    assert told(made) == [
        ("code/python", "and?", "x = 1", "y = 2", 1.0, pytest.approx(1 / 3), 0.5),
        ("code/python", "and?", "x = 1", "y = 2", 1.0, pytest.approx(1 / 3), 0.5),
        ("general/english", "tea?", "black", "green", 1.0, pytest.approx(1 / 3), 0.5),
        ("general/english", "tea?", "green", "black", 1.0, 1.0, 0.5),
        ("multilingual/korean", "차?", "아니요", "네", 1.0, pytest.approx(2 / 3), 1.0),
    ]
    assert made.dropped == {"pairs with a blank text": 1, "pairs of equal texts": 1, "ties": 1}
    assert made.users.rows()[0] == ("code/python", "code", "python")
    assert made.users.columns == ["user_id", "domain", "language"]
    assert told(frames(folder, split="validation"))[0][:2] == ("multilingual/korean", "차?")
    kept = [r for r in told(frames(folder, ties="keep", weights="pair")) if r[4] == 0.5]
    assert kept == [("general/english", "tea?", "green", "black", 0.5, 1.0, 1.0)]


def test_equal_annotations_are_no_repeats(folder, letters, facts):
    data = load("helpsteer", folder, encoder=letters)  # a repeated row would be a warning, and an error here
    assert len(data) == 5
    code = [w for u, _, _, w in facts(data) if u == "code/python"]
    assert code == pytest.approx([1 / 6] * 2)


def test_helpsteer2_by_hand(folder):
    made = frames(folder, part="helpsteer2")
    assert told(made) == [
        ("general/english", "and?", "no", "yes", 1.0, pytest.approx(2 / 3), 1.0),
        ("general/english", "tea?", "black", "green", 1.0, pytest.approx(1 / 3), pytest.approx(1 / 3)),
        ("general/english", "tea?", "black", "green", 1.0, pytest.approx(2 / 3), pytest.approx(1 / 3)),
        ("general/english", "tea?", "green", "black", 1.0, 1.0, pytest.approx(1 / 3)),
    ]
    assert made.dropped == {"annotations that find neither reply valid": 1, "ties": 1}
    prompt = made.collect().filter(pl.col("chosen") == "no")["prompt"][0].to_list()
    assert prompt == LONG
    assert len(told(frames(folder, part="helpsteer2", split="validation"))) == 1
    similar = told(frames(folder, part="helpsteer2", annotations="similar"))
    assert [r[2] for r in similar if r[1] == "tea?"] == ["black"] * 3  # the one who thought otherwise is gone


@pytest.mark.parametrize("shown", [True, False])
def test_lists_as_python_shows_them(tmp_path, shown):
    rows = [second("train", f"{i}?", "a", "b", *s, shown=shown) for i, s in enumerate([(1, -2), (3,)])]
    made = frames(write(tmp_path, "preference", rows), part="helpsteer2", weights="pair")
    assert sorted(made.collect().select("chosen", "strength").rows()) == [
        ("a", pytest.approx(2 / 3)),
        ("b", pytest.approx(1 / 3)),
        ("b", 1.0),
    ]


def test_disagreements_by_hand(folder):
    made = frames(folder, part="disagreements")
    rows = made.collect().select("objective", "chosen", "rejected", "label")
    # ratings 3, 4, 1 with 1, 3: above in 3>1, 4>1, 4>3, equal in 3=3, 1=1, so (3 + 1) / 6
    assert sorted(rows.rows()) == [
        ("coherence", "green", "black", 1.0),
        ("complexity", "green", "black", 1.0),
        ("correctness", "green", "black", 1.0),
        ("helpfulness", "green", "black", pytest.approx(4 / 6)),
        ("verbosity", "green", "black", 1.0),
    ]
    turned = write(folder, "disagreements/disagreements", RATED[::-1])
    assert sorted(frames(turned, part="disagreements").collect()["label"])[0] == pytest.approx(4 / 6)


def test_disagreements_are_the_mann_whitney_statistic(tmp_path):
    rng = np.random.default_rng(0)
    ratings = rng.integers(5, size=(20, 2, 4))
    rows = [rated(f"{i}?", "ab"[side], *map(int, ratings[i, side])) for i in range(20) for side in (0, 1)]
    made = frames(write(tmp_path, "disagreements", rows), part="disagreements", ties="keep").collect()
    helped = made.filter(pl.col("objective") == "helpfulness")
    found = {p[0]["content"]: (c, y) for p, c, y in helped.select("prompt", "chosen", "label").iter_rows()}
    for i, (first, second) in enumerate(ratings):
        share = mannwhitneyu(first, second).statistic / 16
        assert found[f"{i}?"] == ("a" if share >= 0.5 else "b", pytest.approx(max(share, 1 - share)))


def test_disagreements_to_comparisons(folder, letters, facts):
    data = load("helpsteer", folder, encoder=letters, part="disagreements")
    assert len(data.objectives) == 5
    assert {frozenset((k, round(v, 3)) for k, v in s.items()) for _, _, s, _ in facts(data)} == {
        frozenset({("green", 1.0), ("black", 0.0)}),
        frozenset({("green", 0.667), ("black", 0.333)}),
    }


@pytest.mark.parametrize(
    ("shown", "message"),
    [
        ("[{'strength': 1", "row 2: all_preferences_unprocessed is not a list of objects with a number strength"),
        ("[{'strength': '1'}]", "row 2: all_preferences_unprocessed is not a list"),
        ("__import__('os').getcwd()", "row 2: all_preferences_unprocessed is not a list"),
        ([{"strength": 4}], "row 2: score is 4.0 where a whole number from -3 to 3 belongs"),
        ([{"strength": 0.5}], "row 2: score is 0.5 where a whole number"),
        (7, "row 2: all_preferences_unprocessed is not a list"),
    ],
)
def test_annotations_that_are_none(tmp_path, shown, message):
    bad = SECOND[1] | {"all_preferences_unprocessed": shown}
    with pytest.raises(InputError, match=rf"preference\.jsonl\.gz: {message}"):
        frames(write(tmp_path, "preference", [SECOND[0], bad]), part="helpsteer2")


def test_what_is_wrong_is_named(tmp_path):
    listed = [THIRD[0], THIRD[1] | {"response2": ["a", "b"]}]
    with pytest.raises(InputError, match=r"train\.jsonl\.gz: row 2: response2 is \['a', 'b'\] where text belongs"):
        frames(write(tmp_path, "train", listed))
    listed = [SECOND[0], SECOND[1] | {"response_2": ["a", "b"]}]
    with pytest.raises(InputError, match=r"preference\.jsonl\.gz: row 2: response_2 is \['a', 'b'\] where text"):
        frames(write(tmp_path, "preference", listed), part="helpsteer2")
    for gone in ("prompt", "all_preferences_unprocessed"):
        write(tmp_path, "preference", [{k: v for k, v in SECOND[0].items() if k != gone}])
        with pytest.raises(InputError, match=f"column {gone} is missing, the columns are split"):
            frames(tmp_path, part="helpsteer2")
    with pytest.raises(InputError, match=r"row 1: rating is 9\.0 where a number from 0 to 4 belongs"):
        frames(write(tmp_path, "disagreements", [rated("?", "a", 9), rated("?", "b", 1)]), part="disagreements")
    with pytest.raises(InputError, match="part='helpsteer1' is unknown; choose helpsteer3, helpsteer2, disagreements"):
        frames(tmp_path, part="helpsteer1")
