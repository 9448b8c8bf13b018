import pytest

from plurality.encoders.text import check_not_blank, contents, conversations, prompt_conversations
from plurality.errors import InputError


def test_a_string_prompt_is_one_user_message():
    written = conversations(["hello"], ["hi"])
    assert written == conversations([[{"role": "user", "content": "hello"}]], ["hi"])
    assert written == [[{"role": "user", "content": "hello"}, {"role": "assistant", "content": "hi"}]]


def test_an_empty_prompt_leaves_the_reply_alone():
    assert conversations(["", []], ["a", "b"]) == [
        [{"role": "assistant", "content": "a"}],
        [{"role": "assistant", "content": "b"}],
    ]


def test_contents_joins_messages_by_blank_lines():
    [conversation] = conversations([[{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]], ["c"])
    assert contents(conversation) == "s\n\nu\n\nc"


def test_extra_keys_of_a_message_are_left_out():
    assert prompt_conversations([[{"role": "user", "content": "u", "name": "x"}]]) == [
        [{"role": "user", "content": "u"}]
    ]


@pytest.mark.parametrize(
    ("prompts", "completions", "message"),
    [
        (["a", "b"], ["c", None], r"completions\[1\] is NoneType, not a string"),
        (["a", "b"], ["c", 3.5], r"completions\[1\] is float, not a string"),
        (["a"], ["b", "c"], "1 prompts for 2 completions"),
        ("ab", ["c", "d"], "prompts is one string"),
        (["a"], "b", "completions is one string"),
        (["a", None], ["b", "c"], r"prompts\[1\] is NoneType"),
        ([[{"role": "user"}]], ["b"], r"prompts\[0\], message 0 is not"),
        ([["hello"]], ["b"], r"prompts\[0\], message 0 is not"),
        ([[{"role": "user", "content": [{"type": "image"}]}]], ["b"], r"message 0 holds .* not a string"),
    ],
)
def test_what_is_not_text_is_named(prompts, completions, message):
    with pytest.raises(InputError, match=message) as error:
        conversations(prompts, completions)
    assert "\n" not in str(error.value)


def test_blank_text_is_named():
    with pytest.raises(InputError, match=r"prompts\[1\] is empty"):
        check_not_blank(["a", " \n"], "prompts")
