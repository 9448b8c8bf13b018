import pytest

from plurality.encoders.text import conversations
from plurality.encoders.tokens import choose_chat_template, choose_max_length, render, tokenise
from plurality.errors import InputError

CHAT = "{% for m in messages %}[CLS] {{ m.role }} : {{ m.content }} [SEP]{% endfor %}"
TODAY = "{%- if strftime_now is defined -%}{{ strftime_now('%Y') }} {% endif -%}" + CHAT
PICKY = "{% if messages[0].role != 'system' %}{{ raise_exception('system first') }}{% endif %}" + CHAT


@pytest.fixture
def tokenizer(bert):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(bert())


def words(tokenizer, ids):
    return tokenizer.convert_ids_to_tokens(ids)


def test_long_texts_keep_their_ends_and_their_marks(tokenizer):
    texts = ["w1 w2 w3 w4 w5 w6 w7 w8 w9", "w1 w2"]
    ids, counts = tokenise(tokenizer, texts, 8, special=True)
    assert counts.tolist() == [11, 4]
    assert words(tokenizer, ids[0]) == ["[CLS]", "w4", "w5", "w6", "w7", "w8", "w9", "[SEP]"]
    assert words(tokenizer, ids[1]) == ["[CLS]", "w1", "w2", "[SEP]"]


def test_a_chat_that_is_cut_keeps_the_mark_of_its_beginning(tokenizer):
    [text] = render(tokenizer, CHAT, conversations(["w1 w2 w3 w4"], ["w5 w6"]), "completions")
    assert text == "[CLS] user : w1 w2 w3 w4 [SEP][CLS] assistant : w5 w6 [SEP]"
    [ids], counts = tokenise(tokenizer, [text], 8, special=False)
    assert counts.tolist() == [14]
    assert words(tokenizer, ids) == ["[CLS]", "[SEP]", "[CLS]", "assistant", ":", "w5", "w6", "[SEP]"]
    [ids], _ = tokenise(tokenizer, ["w1 w2 w3"], 2, special=False)
    assert words(tokenizer, ids) == ["w2", "w3"]


def test_templates_do_not_see_the_date(tokenizer):
    tokenizer.chat_template = TODAY
    template = choose_chat_template(None, tokenizer)
    [text] = render(tokenizer, template, conversations(["w1"], ["w2"]), "completions")
    assert text == "01 Jan 2025 [CLS] user : w1 [SEP][CLS] assistant : w2 [SEP]"


def test_a_conversation_the_template_raises_for_is_named(tokenizer):
    system = [{"role": "system", "content": "w1"}]
    with pytest.raises(InputError, match=r"completions\[1\]: the chat template does not accept .*system first"):
        render(tokenizer, PICKY, conversations([system, "w1"], ["w2", "w3"]), "completions")


def test_the_chat_template_is_used_where_there_is_one(tokenizer):
    assert choose_chat_template(None, tokenizer) is None
    with pytest.raises(InputError, match="tokenizer has none"):
        choose_chat_template(True, tokenizer)
    tokenizer.chat_template = CHAT
    assert choose_chat_template(None, tokenizer) == choose_chat_template(True, tokenizer) == CHAT
    assert choose_chat_template(False, tokenizer) is None
    tokenizer.chat_template = {"default": CHAT, "tool_use": PICKY}
    assert choose_chat_template(None, tokenizer) == CHAT


def test_the_limit_is_the_smallest_there_is():
    from transformers import BertConfig, PreTrainedTokenizerFast, T5Config

    class Stub(PreTrainedTokenizerFast):
        def __init__(self, model_max_length):
            self.model_max_length = model_max_length

    bert = BertConfig(max_position_embeddings=100)
    assert choose_max_length(None, None, bert, Stub(10**30)) == 100
    assert choose_max_length(None, 50, bert, Stub(80)) == 50
    assert choose_max_length(None, None, bert, Stub(80)) == 80
    assert choose_max_length(None, None, T5Config(), Stub(10**30)) == 4096
    assert choose_max_length(90, 50, bert, Stub(80)) == 90
    with pytest.raises(InputError, match="max_length=101, but the model has 100 positions"):
        choose_max_length(101, None, bert, Stub(80))
