"""What a person sees of a message."""

import pytest

from plurality.encoders.text import conversations
from plurality.errors import InputError
from plurality.io.visible import THOUGHT_TAGS, is_tool_turn, tags_of, text_of, visible, without_opening


@pytest.mark.parametrize(
    ("written", "seen"),
    [
        ("rude", "rude"),
        (" rude\n", " rude\n"),  # as it is
        ("<think>kind</think>rude", "rude"),
        ("\n<think>\nkind\n</think>\n\nrude\n", "rude\n"),
        ("kind</think>rude", "rude"),  # the prompt had the opening tag
        ("<think>kind", ""),  # not a word yet
        ("kind</think>", ""),
        ("well <think>kind</think>rude", "well rude"),
        ("<think>a</think>rude <think>b</think>still", "rude still"),
        ("<think>say <think>? no</think>rude", "rude"),
        ("<think>a<think>b</think>kind</think>rude", "rude"),
        ("[THINK]kind[/THINK]rude", "rude"),
        ("<reasoning>kind</reasoning>rude", "rude"),
        ("rude, I think", "rude, I think"),
        ("", ""),
    ],
)
def test_thoughts_are_not_seen(written, seen):
    assert visible(written) == seen
    assert visible(written, ()) == written
    assert visible(seen) == seen


@pytest.mark.parametrize("opening", [tag for tag, _ in THOUGHT_TAGS])
def test_a_prompt_may_open_the_thought(opening):
    assert without_opening(f"Hi <a>{opening}\n") == ("Hi <a>", True)
    assert without_opening("Hi") == ("Hi", False)
    turn = {"role": "user", "content": "Hi"}
    assert without_opening([turn, {"role": "assistant", "content": opening}]) == ([turn], True)
    assert without_opening([turn]) == ([turn], False)
    for odd in (None, 3, [], [3]):
        assert without_opening(odd) == (odd, False)
    assert visible("kind", opened=True) == ""
    assert visible("kind</think> rude", opened=True) == "rude"


def test_other_tags():
    assert visible("{kind}rude<think>", tags_of(["{", "}"], "x")) == "rude<think>"
    assert tags_of([], "x") == ()
    for odd in (["{"], ["{", "{"], ["", "}"]):
        with pytest.raises(InputError, match=r"^x: .* are not pairs"):
            tags_of(odd, "x")


def test_text_in_parts():
    said = {"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}
    assert text_of(list(said)) == text_of("hello") == "hello"
    assert text_of([{"type": "thinking", "thinking": "kind"}, {"type": "reasoning", "text": "kind"}, *said]) == "hello"
    assert text_of([]) == ""
    for other in (None, 3, [{"type": "image"}], [*said, 3]):
        assert text_of(other) is None
    (talk,) = conversations([[{"role": "user", "content": list(said)}]], ["hi"])
    assert talk[0] == {"role": "user", "content": "hello"}


def test_tools_turns():
    call = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}
    for turn in (call, {**call, "content": ""}, {"role": "tool", "content": "42"}):
        assert is_tool_turn(turn)
    for turn in ({**call, "content": "Let me see."}, {**call, "tool_calls": None}, {"role": "user", "content": "x"}, 3):
        assert not is_tool_turn(turn)


def test_half_a_surrogate_pair_is_named():
    for prompts, completions in (
        (["p"], ["\ud83d"]),
        (["\ud83d"], ["c"]),
        ([[{"role": "user", "content": "\ud83d"}]], ["c"]),
    ):
        with pytest.raises(InputError, match=r"\[0\].* is not valid Unicode"):
            conversations(prompts, completions)
