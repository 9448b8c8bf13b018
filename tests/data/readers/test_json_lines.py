"""A number or a list among texts in a JSON lines file is an error, not made text."""

import json

import pytest

from plurality.data.read import read
from plurality.errors import InputError

GOOD = {"user_id": 1, "prompt": "p", "chosen": "2020-01-01", "rejected": "b"}


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ({"chosen": 5}, "row 2: chosen is a number, in the rows before it is text; make"),
        ({"chosen": True}, "row 2: chosen is true or false, in the rows before"),
        ({"rejected": ["b"]}, "row 2: rejected is a list, in the rows before it is text"),
        ({"chosen": {"a": 1}}, "row 2: chosen is an object, in the rows before it is text"),
        ({"prompt": [{"role": "user", "content": "p"}]}, "row 2: prompt is a list, in the rows before it is text"),
        ({"user_id": "x"}, "row 2: user_id is text, in the rows before it is a number"),
        ({"chosen": "\ud800"}, "row 2: chosen holds half a surrogate pair"),
        ({"chosen": None}, "row 2: chosen is null; fill it in"),
    ],
)
def test_a_row_of_another_type_among_json_lines_is_not_made_text(tmp_path, letters, second, message):
    path = tmp_path / "c.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in (GOOD, {**GOOD, **second})))
    with pytest.raises(InputError, match=f"c.jsonl: {message}"):
        read(path, encoder=letters)


def test_dates_in_json_lines_stay_text_and_ids_may_be_numbers(tmp_path, letters, facts):
    path = tmp_path / "c.jsonl"
    path.write_text(json.dumps(GOOD) + "\n\n" + json.dumps({**GOOD, "user_id": 2, "label": 0.5}) + "\n")
    with pytest.raises(InputError, match="row 1: label is null"):
        read(path, encoder=letters)
    path.write_text(json.dumps({**GOOD, "label": 1}) + "\r\n" + json.dumps({**GOOD, "user_id": 2, "label": 0.5}))
    sides = facts(read(path, encoder=letters))
    assert sides == [("1", "p", {"2020-01-01": 1, "b": 0}, 1), ("2", "p", {"2020-01-01": 0.5, "b": 0.5}, 1)]
