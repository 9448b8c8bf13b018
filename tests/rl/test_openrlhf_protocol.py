"""OpenRLHF's rows: whose completion, to which prompt, without the tokens that end it."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plurality.errors import InputError
from plurality.rl.openrlhf_protocol import END_TOKENS, OpenRLHFProtocol, Row, completion_of, label_of, without_end

TEMPLATED = "<|im_start|>user\nTea?<|im_end|>\n<|im_start|>assistant\n"
CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Tea?"}]


def read(query="Tea? Yes", prompt="Tea?", label="ann", **protocol):
    """The one row of a request."""
    (row,) = OpenRLHFProtocol(**protocol).rows([query], [prompt], [label])
    return row


@pytest.mark.parametrize(
    ("label", "user"),
    [
        ("ann", "ann"),
        ({"user_id": "ann"}, "ann"),
        ('{"user_id": "ann", "answer": 42}', "ann"),
        (' {"user_id": "żółw"}', "żółw"),
        ({"user_id": 7}, "7"),
        (label_of(7), "7"),
        (7, "7"),
        (np.int64(7), "7"),
        ("007", "007"),
        ("null", "null"),
    ],
)
def test_the_label_says_who_is_asked(label, user):
    assert read(label=label) == Row("Tea?", " Yes", user)


def test_the_user_may_stand_under_the_model_s_unit():
    assert read(label={"country": "Peru", "user_id": "ann"}, user_key="country").user_id == "Peru"
    assert read(label={"user_id": "Peru"}, user_key="country").user_id == "Peru"
    with pytest.raises(InputError, match=r"""no "country" or "user_id", only \['user'\]"""):
        read(label='{"user": "ann"}', user_key="country")


@pytest.mark.parametrize("label", ["", None, {}, {"user_id": None}, {"answer": 42}])
def test_a_rule_for_everybody_needs_no_user(label):
    assert read(label=label, needs_user=False).user_id == ""
    with pytest.raises(InputError, match="user"):
        read(label=label)


def test_with_a_rule_too_a_user_is_an_id():
    assert read(label={"user_id": 7}, needs_user=False).user_id == "7"
    for user in (7.0, ["ann"], "\ud800"):
        with pytest.raises(InputError, match="the user of labels is"):
            read(label={"user_id": user}, needs_user=False)


@pytest.mark.parametrize("prompt", ["Tea or coffee?", "", CHAT])
@pytest.mark.parametrize("spelled", [lambda label: label, json.dumps, lambda label: label_of(**label)])
def test_a_label_s_prompt_takes_the_place_of_the_templated_one(prompt, spelled):
    label = spelled({"user_id": "ann", "prompt": prompt})
    for reads_prompts in (False, True):
        row = read(TEMPLATED + "Yes<|im_end|>", TEMPLATED, label, reads_prompts=reads_prompts)
        assert row == Row(prompt, "Yes", "ann")


def test_messages_keep_role_and_text_alone():
    content = [{"type": "text", "text": "Te"}, {"type": "text", "text": "a?"}]
    prompt = [{"role": "user", "content": content, "name": "x"}]
    assert read(label={"user_id": "ann", "prompt": prompt}).prompt == [{"role": "user", "content": "Tea?"}]


@pytest.mark.parametrize(
    "prompt",
    [
        TEMPLATED,
        "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nTea?<|eot_id|>",
        "<s>[INST] Tea? [/INST]",
        "<bos><start_of_turn>user\nTea?",
        "<\uff5cUser\uff5c>Tea?<\uff5cAssistant\uff5c>",
    ],
)
def test_a_model_that_reads_prompts_is_given_no_template(prompt):
    """It would take the template for what a person wrote."""
    assert read(prompt + "Yes", prompt).prompt == prompt
    for label in ("ann", {"user_id": "ann", "prompt": None}):
        with pytest.raises(InputError, match=r"^row 0: the prompt went through .* label_of\(user_id, prompt\)"):
            read(prompt + "Yes", prompt, label, reads_prompts=True)


@pytest.mark.parametrize("prompt", ["Tea?", "a < b | c > d", "if (x <= 1 || y >= 2)", "<b>Tea?</b>", "x[INSTANCE]", ""])
def test_what_people_write_is_no_template(prompt):
    assert read(prompt + " Yes", prompt, reads_prompts=True) == Row(prompt, " Yes", "ann")


def test_a_query_starts_with_its_prompt():
    assert completion_of("<s>Which? red</s>", "Which?") == " red"
    assert completion_of("<|begin_of_text|>Which? red", "Which?") == " red"
    assert completion_of("<s> Which? red", "<s> Which?") == " red"
    for query in ("What? red", "<s><s>Which? red", "<s>What? red", "Oh. Which? red", "<a tag> Which? red", "Which", ""):
        with pytest.raises(InputError, match=r"row 3: query does not start with its prompt \('Which\?'\)"):
            completion_of(query, "Which?", row=3)


@pytest.mark.parametrize(
    ("completion", "left"),
    [
        (" Yes", " Yes"),
        (" Yes\n ", " Yes\n "),
        (" Yes<|endoftext|>", " Yes"),
        (" Yes</s></s><pad><pad>", " Yes"),
        (" Yes \n<|im_end|>\n<|endoftext|> ", " Yes"),
        (" Use <s>old</s> here.<|im_end|>", " Use <s>old</s> here."),
        (" Yes<\uff5cend\u2581of\u2581sentence\uff5c>", " Yes"),
        ("<eos>", ""),
        ("", ""),
    ],
)
def test_end_tokens_are_cut_off(completion, left):
    assert read("Tea?" + completion).completion == left


def test_other_end_tokens():
    assert read("Tea? Yes</s>[END]", end_tokens=("[END]", "")).completion == " Yes</s>"
    assert read("Tea? Yes</s>", end_tokens=()).completion == " Yes</s>"
    assert read("Tea? Yes</s> ", end_tokens=("",)).completion == " Yes</s> "


@given(
    prompt=st.text("ab <|>\n", max_size=12),
    completion=st.text("ab c", max_size=12),
    ends=st.lists(st.sampled_from(END_TOKENS), max_size=3),
)
def test_a_completion_is_what_stands_between_prompt_and_ends(prompt, completion, ends):
    said = completion_of(prompt + completion + "".join(ends), prompt)
    assert said == (completion.rstrip() if ends else completion)


@settings(deadline=None)
@given(st.lists(st.sampled_from(["</s>", "s>", "a", "<", "[x]", "x]", " ", "\n"]), max_size=12).map("".join))
def test_cutting_is_repeated_removal(text):
    ends, left = ("</s>", "[x]", "x]"), text
    while (end := next((e for e in ends if left.rstrip().endswith(e)), None)) is not None:
        left = left.rstrip().removesuffix(end).rstrip()
    assert without_end(text, ends) == left


@pytest.mark.parametrize("padding", ["<pad>", " ", "<pad> \n"])
def test_a_million_paddings_are_one_pass(padding):
    """Quadratic work would not come to an end."""
    padding *= 400_000
    assert without_end("Yes" + padding + "<pad>") == "Yes"
    assert without_end(padding + ".") == padding + "."
    assert without_end("Yes." + " " * 400_000) == "Yes." + " " * 400_000


BAD = {
    "number for text": ({"query": 3.5}, "row 0: query is the number 3.5, not text"),
    "bytes for text": ({"query": b"Tea?"}, "row 0: query is of type bytes, not text"),
    "object for text": ({"prompt": {}}, "row 0: prompts is an object, not text"),
    "prefix": ({"query": "Coffee? Yes"}, "row 0: query does not start with its prompt"),
    "surrogate": ({"query": "Tea?\ud800"}, "row 0: query is not valid Unicode"),
    "surrogate prompt": ({"query": "\ud800?", "prompt": "\ud800"}, "row 0: query is not valid Unicode"),
    "surrogate id": ({"label": "\udfff"}, "row 0: the user of labels is not valid Unicode"),
    "surrogate key": ({"label": {"\ud800": "ann"}}, 'row 0: the label has no "user_id"'),
    "no user": ({"label": ""}, "row 0: the label names no user.*--data.label_key"),
    "blank user": ({"label": {"user_id": " \n"}}, "row 0: the label names no user"),
    "no label": ({"label": None}, "row 0: the user of labels is null, not text"),
    "null user": ({"label": {"user_id": None}}, "row 0: the user of labels is null, not text"),
    "float user": ({"label": 7.0}, "row 0: the user of labels is the number 7.0, not text"),
    "NaN user": ({"label": {"user_id": float("nan")}}, "row 0: the user of labels is the number nan, not text"),
    "true user": ({"label": True}, "row 0: the user of labels is true or false, not text"),
    "list label": ({"label": ["ann"]}, "row 0: the user of labels is a list, not text"),
    "object without": ({"label": {"user": "ann"}}, """row 0: the label has no "user_id", only \\['user'\\]"""),
    "long object without": ({"label": {"x\n" * 5000: "ann"}}, 'row 0: the label has no "user_id"'),
    "broken object": ({"label": '{"user_id": "ann"'}, "row 0: the label starts as an object but is not valid JSON"),
    "NaN in label": ({"label": '{"user_id": NaN}'}, "row 0: the label starts as an object but holds NaN"),
    "deep label": ({"label": '{"user_id":' * 100_000}, "row 0: the label starts as an object but is not valid JSON"),
    "number as prompt": ({"label": {"user_id": "ann", "prompt": 3}}, "row 0: the label's prompt is of type int"),
    "empty chat": ({"label": {"user_id": "ann", "prompt": []}}, "row 0: the label's prompt is not a chat"),
    "half a chat": (
        {"label": {"user_id": "ann", "prompt": [{"role": "user"}]}},
        "row 0: the label's prompt holds a 'user' message whose content is not text",
    ),
    "chat without role": (
        {"label": {"user_id": "ann", "prompt": [{"content": "Tea?"}]}},
        "row 0: the label's prompt holds a message that is no",
    ),
    "chat of numbers": (
        {"label": {"user_id": "ann", "prompt": [{"role": "user", "content": 3}]}},
        "row 0: the label's prompt holds a 'user' message whose content is not text",
    ),
    "long role": (
        {"label": {"user_id": "ann", "prompt": [{"role": "\ud800\n" * 5000, "content": 3}]}},
        "row 0: the label's prompt holds a '.ud800.n",
    ),
    "surrogate in chat": (
        {"label": {"user_id": "ann", "prompt": [{"role": "user", "content": "\ud800"}]}},
        "row 0: content in the label's prompt is not valid Unicode",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_used_is_named(name):
    bad, message = BAD[name]
    with pytest.raises(InputError, match=f"^{message}") as caught:
        read(**bad)
    str(caught.value).encode()  # an answer over HTTP must be able to say it
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def test_the_row_is_named():
    with pytest.raises(InputError, match=r"^row 1: "):
        OpenRLHFProtocol().rows(["a", "b"], ["a", "x"], ["ann", "bob"])
    with pytest.raises(InputError, match="query, prompts and labels have 2, 1 and 1 entries"):
        OpenRLHFProtocol().rows(["a", "b"], ["a"], ["ann"])
    assert OpenRLHFProtocol().rows([], [], []) == []


def test_labels_are_json():
    assert json.loads(label_of("ä", "q")) == {"user_id": "ä", "prompt": "q"}
    assert json.loads(label_of("7")) == {"user_id": "7"}
    assert read(label=label_of(None, CHAT), needs_user=False).prompt == CHAT
