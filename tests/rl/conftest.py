"""Rewards whose truth is known: u = ⟨x, z⟩, with x what a small fitted encoder gives and z chosen here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from plurality.encoders import Lsa, LsaSpec
from plurality.models import LowRank
from plurality.reward.fitted import Trace
from plurality.reward.posterior import Posterior, Prior
from plurality.reward.reward_model import RewardModel

WORDS = ["red", "blue", "green", "sour", "sweet", "salty", "loud", "quiet", "soft", "hard"]
WIDTH = 6

Plant = Callable[..., RewardModel]


def sentences(n: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, rng.integers(2, 7))) for _ in range(n)]


def planted(
    encoder: Any, codes: dict[str, Any], population: Any, width: int = WIDTH, unit: str = "user_id"
) -> RewardModel:
    """u = ⟨x, z⟩: a low-rank model whose shared rewards are the coordinates."""
    spec = LowRank(rank=width, weights="signed", unit=unit)
    head = spec.head(width, torch.Generator()).requires_grad_(False).eval()
    head.projector.linear.copy_(torch.eye(width) * width**0.5)
    z = torch.tensor(np.array(list(codes.values())), dtype=torch.float64)
    eye = torch.eye(width, dtype=torch.float64)
    return RewardModel(
        spec=spec,
        head=head,
        user_ids=tuple(codes),
        posterior=Posterior(z, eye.repeat(len(z), 1, 1)),
        prior=Prior(torch.tensor(np.asarray(population), dtype=torch.float64), eye),
        n_comparisons=np.ones(len(z), dtype=np.int64),
        trace=Trace([]),
        encoder=encoder,
    )


@pytest.fixture(scope="session")
def lsa() -> Lsa:
    texts = sentences(200, seed=0)
    return LsaSpec(dim=WIDTH, min_df=1, max_ngram=1).fit(([""] * len(texts), texts), seed=0)


@pytest.fixture(scope="session")
def plant() -> Plant:
    return planted


@pytest.fixture(scope="session")
def codes() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    return {user: rng.normal(size=WIDTH) for user in ("ann", "bob", "7")}


@pytest.fixture(scope="session")
def mean_code() -> np.ndarray:
    return np.linspace(-1, 1, WIDTH)


@pytest.fixture(scope="session")
def model(lsa: Lsa, codes: dict[str, np.ndarray], mean_code: np.ndarray) -> RewardModel:
    return planted(lsa, codes, mean_code)


@pytest.fixture(scope="session")
def folder(model: RewardModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model on disk."""
    return model.save_pretrained(tmp_path_factory.mktemp("rewards") / "reward")


@pytest.fixture
def texts() -> Callable[[int, int], list[str]]:
    return sentences


@pytest.fixture(scope="session")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random causal model of two layers that writes a, b and space, with a byte-level BPE tokenizer."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM
    from transformers.utils import logging

    path = tmp_path_factory.mktemp("models") / "policy"
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    special = ["<pad>", "<eos>", "<user>", "<assistant>"]
    bpe.train_from_iterator(
        ["a b ab ba"], trainers.BpeTrainer(vocab_size=9, special_tokens=special, show_progress=False)
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, pad_token="<pad>", eos_token="<eos>")
    turns = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    tokenizer.chat_template = turns + "{% if add_generation_prompt %}<assistant>{% endif %}"
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        initializer_range=0.1,
    )
    logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        Qwen2ForCausalLM(config).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path
