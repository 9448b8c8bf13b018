"""From a request's body to rows: JSON and lists; what the rows say is tests/rl/test_openrlhf_protocol.py's."""

import json

import pytest

from plurality.errors import InputError
from plurality.rl.openrlhf_protocol import OpenRLHFProtocol, Row
from plurality.serving.body import rows_of

EMPTY = {"query": [], "prompts": [], "labels": []}


def test_rows_are_read_by_the_contract():
    body = {"query": ["Tea? Yes[END]", "Hi"], "prompts": ["Tea?", ""], "labels": [{"country": "ä"}, 7]}
    protocol = OpenRLHFProtocol(user_key="country", end_tokens=("[END]",))
    expected = [Row("Tea?", " Yes", "ä"), Row("", "Hi", "7")]
    for encoding in ("utf-8", "utf-16"):  # the encodings of JSON
        assert rows_of(json.dumps(body, ensure_ascii=False).encode(encoding), protocol) == expected


def test_no_rows_are_rows():
    assert rows_of(json.dumps({**EMPTY, "more": 1}).encode(), OpenRLHFProtocol()) == []


BAD = {
    "malformed": (b'{"query": [', "the body is not valid JSON"),
    "empty": (b"", "the body is not valid JSON"),
    "not UTF-8": (b'{"query": ["\xff"]}', "the body is not valid JSON"),
    "deep": (b"[" * 100_000, "the body is not valid JSON"),
    "long number": (b'{"query": [' + b"9" * 5000 + b"]}", "the body is not valid JSON"),
    "NaN": (b'{"query": [NaN]}', "the body holds NaN, which is not JSON"),
    "infinity": (b'{"query": [-Infinity]}', "the body holds -Infinity, which is not JSON"),
    "list": (b"[]", "the body is not a JSON object"),
    "missing": (b'{"query": [], "labels": []}', "'prompts' is missing"),
    "text for list": (b'{"query": "a", "prompts": [], "labels": []}', "'query' is text, not a list"),
    "null for list": (b'{"query": [], "prompts": null, "labels": []}', "'prompts' is null, not a list"),
    "number for list": (b'{"query": [], "prompts": [], "labels": 1e3}', "'labels' is the number 1000.0, not a list"),
    "lengths": (
        b'{"query": ["a"], "prompts": [], "labels": ["b"]}',
        "query, prompts and labels have 1, 0 and 1 entries",
    ),
    "row": (b'{"query": ["a", "b"], "prompts": ["a", "x"], "labels": ["u", "v"]}', "row 1: query does not start with"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_used_is_named(name):
    bad, message = BAD[name]
    with pytest.raises(InputError, match=f"^{message}") as caught:
        rows_of(bad, OpenRLHFProtocol())
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)
