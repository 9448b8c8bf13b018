"""The encoder of a reward function: the model's own, without a cache on disk, each unique text once a call."""

from typing import TYPE_CHECKING

import numpy as np

from plurality.arrays import Array
from plurality.data.items import checked_vectors
from plurality.encoders import ServerEncoder, TransformersEncoder, load
from plurality.encoders.stored import StoredEncoder
from plurality.rl.messages import Pairs

if TYPE_CHECKING:
    from plurality.encoders import Encoder


def uncached(encoder: "Encoder") -> "Encoder":
    """The encoder without its cache on disk: what a policy writes does not come back."""
    if isinstance(encoder, StoredEncoder):
        return load(encoder.folder, cache=False)
    return encoder.uncached() if isinstance(encoder, TransformersEncoder | ServerEncoder) else encoder


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
