"""Tiny random models with real tokenizers, saved as the hub would serve them."""

from collections.abc import Callable
from pathlib import Path

import pytest

WORDS = [*(f"w{i}" for i in range(40)), "user", "assistant", "system", "broken", ":", "."]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
CHAT = "{% for m in messages %}[CLS] {{ m.role }} : {{ m.content }} [SEP]{% endfor %}"

Build = Callable[..., Path]


def tokenizer(folder: Path, closes: bool, padding_side: str, chat_template: str | None) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {word: index for index, word in enumerate([*SPECIAL, *WORDS])}
    fast = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    fast.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    marks = [(mark, vocabulary[mark]) for mark in ("[CLS]", "[SEP]")]
    single = "[CLS] $A [SEP]" if closes else "[CLS] $A"
    fast.post_processor = processors.TemplateProcessing(single=single, special_tokens=marks)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=fast,
        pad_token="[PAD]",
        unk_token="[UNK]",
        bos_token="[CLS]",
        padding_side=padding_side,
        model_max_length=64,
    )
    wrapped.chat_template = chat_template
    wrapped.save_pretrained(folder)


def save(model_class, config, folder: Path, seed: int) -> None:
    import torch
    from transformers.utils import logging

    logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model_class(config).save_pretrained(folder)


@pytest.fixture(scope="session")
def llama(tmp_path_factory) -> Build:
    """A causal model of two layers; `padding_side` is what its tokenizer would pad on."""

    def build(padding_side: str = "right", chat_template: str | None = None, seed: int = 0) -> Path:
        from transformers import LlamaConfig, LlamaModel

        folder = tmp_path_factory.mktemp("llama")
        config = LlamaConfig(
            vocab_size=len(SPECIAL) + len(WORDS),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=64,
            initializer_range=0.3,
        )
        save(LlamaModel, config, folder, seed)
        tokenizer(folder, False, padding_side, chat_template)
        return folder

    return build


@pytest.fixture(scope="session")
def bert(tmp_path_factory) -> Build:
    """A bidirectional model of two layers."""

    def build(padding_side: str = "right", seed: int = 0) -> Path:
        from transformers import BertConfig, BertModel

        folder = tmp_path_factory.mktemp("bert")
        config = BertConfig(
            vocab_size=len(SPECIAL) + len(WORDS),
            hidden_size=16,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=64,
            initializer_range=0.3,
        )
        save(BertModel, config, folder, seed)
        tokenizer(folder, True, padding_side, None)
        return folder

    return build
