"""The encoder of a reward function: the model's own, without a cache on disk, each unique text once a call."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from plurality.arrays import Array
from plurality.data.items import checked_vectors
from plurality.encoders import TransformersEncoder, create, load
from plurality.encoders.stored import StoredEncoder
from plurality.errors import InputError
from plurality.reward.reward_model import RewardModel
from plurality.rl.messages import Pairs

if TYPE_CHECKING:
    from plurality.encoders import Encoder

TELLING = ("kind", "name", "template", "pooling", "chat_template", "normalise", "dtype", "max_length", "dim")


def chosen_encoder(reward: RewardModel, given: "str | Path | Encoder | None") -> "Encoder":
    """The model's own encoder, or the one given if it is the same. Raises InputError if it is another."""
    if given is None:
        if reward.encoder is None:
            raise InputError(
                "this model was fitted on ready-made embeddings, so its encoder is not recorded; give the one that "
                "made them as encoder="
            )
        return reward.encoder
    encoder = create(given, cache=False)
    own = reward.encoder
    if own is not None and own.fingerprint != encoder.fingerprint:
        mine, theirs = own.describe(), encoder.describe()
        other = [k for k in TELLING if mine.get(k) != theirs.get(k)]
        raise InputError(
            f"the model was fitted with {_called(own, mine, other)}, but the encoder given is "
            f"{_called(encoder, theirs, other)}; leave it out, or give the model's own"
        )
    if encoder.dim != reward.head.n_embedding:
        raise InputError(
            f"the encoder gives {encoder.dim} dimensions, but the model was fitted on {reward.head.n_embedding}; "
            "give the encoder that made its embeddings"
        )
    return encoder


def _called(encoder: "Encoder", about: dict[str, Any], other: list[str]) -> str:
    told = ", ".join(f"{k} {about[k]}" for k in dict.fromkeys(["name", *other]) if about.get(k) is not None)
    return f"{told or about.get('kind', 'an encoder')} [{encoder.fingerprint[:8]}]"


def uncached(encoder: "Encoder") -> "Encoder":
    """The encoder without its cache on disk: what a policy writes does not come back."""
    if isinstance(encoder, StoredEncoder):
        return load(encoder.folder, cache=False)
    return encoder.uncached() if isinstance(encoder, TransformersEncoder) else encoder


def embed(encoder: "Encoder", texts: Pairs, *, with_prompts: bool) -> tuple[Array, Array | None]:
    """Embeddings (m, d) of the pairs, and where asked for (m, d) of their prompts."""
    if not texts.completions:
        nothing = np.empty((0, encoder.dim), dtype=np.float32)
        return nothing, nothing if with_prompts else None
    items = encoder.encode(texts.prompt_of_each(), texts.completions)
    items = checked_vectors(items, len(texts.completions), encoder.dim)
    if not with_prompts:
        return items, None
    prompts = checked_vectors(encoder.encode_prompts(texts.prompts), len(texts.prompts), encoder.dim)
    return items, prompts[texts.prompt]
