"""Recipes and golden numbers that are none say what they lack before anything is fitted."""

import json

import pytest

from plurality.errors import InputError
from plurality.reproduce.recipes import reproduce

RECIPE = """model = "bradley_terry"
[[case]]
name = "one"
population = "taste_groups"
settings = {}
planted = { n_users = 4 }
"""
GOLDEN = {"one": {"seen": {"expected": 0.8, "tol": 0.1, "source": "here"}}}


def spoilt(**entry):
    return {"one": {"seen": {**GOLDEN["one"]["seen"], **entry}}}


@pytest.mark.parametrize(
    ("recipe", "golden", "message"),
    [
        ("", GOLDEN, "there is no model, or no .*case"),
        ('model = "pal"', GOLDEN, "there is no model, or no .*case"),
        ('model = "pal"\ncase = 3', GOLDEN, "there is no model, or no .*case"),
        (RECIPE.replace("model =", "modle ="), GOLDEN, "there is no model"),
        (RECIPE.replace('name = "one"', ""), GOLDEN, "case 1 lacks name"),
        (RECIPE.replace("settings = {}", "settings = 3"), GOLDEN, "case 1 lacks settings, or it is of another type"),
        (RECIPE.replace("taste_groups", "nobody"), GOLDEN, "population 'nobody' is unknown"),
        (RECIPE.replace("n_users", "n_people"), GOLDEN, "case 'one' has a setting that there is not"),
        (RECIPE.replace("settings = {}", "settings = { rank = 2 }"), GOLDEN, "case 'one' has a setting that there is"),
        (RECIPE.replace("bradley_terry", "bradly"), GOLDEN, "bradly"),
        (RECIPE, [], "is not an object"),
        (RECIPE, {}, "has no numbers for the case 'one'"),
        (RECIPE, {"one": []}, "has no numbers for the case 'one'"),
        (RECIPE, {"one": {"seen": 0.8}}, "one, seen: give a number"),
        (RECIPE, spoilt(expected="high"), "one, seen: give a number"),
        (RECIPE, spoilt(expected=float("nan")), "one, seen: give a number"),
        (RECIPE, spoilt(tol=-1), "one, seen: give a number"),
        (RECIPE, spoilt(tol=None), "one, seen: give a number"),
        (RECIPE, spoilt(source=None), "one, seen: give a number"),
        ("model =", GOLDEN, "cannot be read"),
    ],
)
def test_what_is_malformed_is_named(tmp_path, recipe, golden, message):
    (tmp_path / "recipe.toml").write_text(recipe)
    (tmp_path / "golden.json").write_text(json.dumps(golden))
    with pytest.raises(InputError, match=message):
        next(reproduce(tmp_path))
