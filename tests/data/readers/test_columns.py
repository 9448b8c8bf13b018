"""Bad values are errors with the row, the cause and the remedy, in one line."""

import polars as pl
import pytest

from plurality.data.read import read
from plurality.errors import InputError

# three people, two prompts, five items
ROWS = {
    "user_id": ["ann", "bob", "ann", "cyd"],
    "prompt": ["tea?", "tea?", "sea?", "sea?"],
    "chosen": ["green", "black", "calm", "wild"],
    "rejected": ["black", "mint", "wild", "calm"],
}


def changed(**columns: list) -> pl.DataFrame:
    return pl.DataFrame({**ROWS, **columns}, strict=False)


SIDES = {"user_id": ["u"], "prompt": ["p"], "first": ["a"], "second": ["b"]}


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (changed().drop("chosen"), "column chosen is missing, the columns are user_id, prompt, rejected; add"),
        (
            changed().drop("chosen", "rejected"),
            "columns chosen and rejected .* missing, the columns are user_id, prompt;",
        ),
        (changed().drop("user_id"), "column user_id is missing, the columns are prompt, chosen, rejected; add"),
        (changed().drop("prompt"), "column prompt is missing, .*; add it"),
        (pl.DataFrame(SIDES), "column label is missing, the columns are user_id, prompt, first, second; add"),
        (changed(first=["a"] * 4, second=["b"] * 4), "has columns of both kinds, .*; drop those of one kind"),
        (changed(user_id=["u", None, "u", None]), r"row 2: user_id is null \(2 rows in all\); fill it in or drop"),
        (changed(user_id=["u", " ", "u", "v"]), "row 2: user_id is empty; fill it in"),
        (changed(user_id=[1.5, 2, 3, 4]), r"user_id is a number \(Float64\); give text or whole numbers"),
        (changed(chosen=["a", None, "b", "c"]), "row 2: chosen is null; fill it in or drop"),
        (changed(rejected=[None] * 4), r"row 1: rejected is null \(4 rows in all\)"),
        (changed(prompt=["p", "q", "", "r"]), "row 3: prompt is empty; give its text or drop"),
        (changed(rejected=["a", " \n\t", "b", "c"]), "row 2: rejected is empty; give its text or drop"),
        (changed(chosen=[1, 2, 3, 4]), r"row 1: chosen is a number \(Int64\) where text belongs; give strings"),
        (changed(chosen=[["a"]] * 4), "row 1: chosen is a list where text belongs; give strings, or chat"),
        (changed(chosen=["mint", "mint", "calm", "wild"]), "row 2: chosen and rejected are the same; drop"),
        (changed(label=[1, 1, 0, 1]), r"row 3: label lies outside \[0.5, 1\]; 1/2 is a tie"),
        (changed(label=[1, 1, None, 1]), "row 3: label is null"),
        (pl.DataFrame({**SIDES, "label": [1.01]}), r"row 1: label lies outside \[0, 1\]; give P\(first preferred\)"),
        (pl.DataFrame({**SIDES, "label": [-0.01]}), "row 1: label lies outside"),
        (pl.DataFrame({**SIDES, "label": [float("nan")]}), "row 1: label is NaN or infinite; give a number"),
        (pl.DataFrame({**SIDES, "label": ["yes"]}), "row 1: label is not a number; give a number"),
        (pl.DataFrame({**SIDES, "label": [["yes"]]}), "row 1: label is a list where a number belongs"),
        (changed(strength=[1, 0.5, 0, 1]), r"row 3: strength lies outside \(0, 1\]; rescale it"),
        (changed(strength=[1, 1.5, 1, 1]), "row 2: strength lies outside"),
        (changed(strength=[1, None, 1, 1]), "row 2: strength is null"),
        (changed(weight=[1, 1, 1, 0]), "row 4: weight is not positive; give a positive weight"),
        (changed(weight=[1, 1, 1, float("nan")]), "row 4: weight is NaN or infinite"),
        (changed(weight=[1, float("inf"), 1, 1]), "row 2: weight is NaN or infinite"),
        (changed(group_id=[1, None, 1, 1]), "row 2: group_id is null"),
        (changed().clear(), "has no rows; give"),
    ],
)
def test_bad_frames(letters, frame, message):
    with pytest.raises(InputError, match=f"^comparisons:? {message}") as caught:
        read(frame, encoder=letters)
    assert "\n" not in str(caught.value)
