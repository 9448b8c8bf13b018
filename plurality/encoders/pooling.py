"""Batches of token sequences, and one vector from the hidden states of each."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from plurality.encoders.checkpoint import Pooling
from plurality.encoders.protocol import Vectors
from plurality.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor
    from torch.nn import Module


def batches(lengths: NDArray[np.int64], batch_tokens: int) -> Iterator[NDArray[np.int64]]:
    """Rows of similar length, longest first, with rows × longest ≤ `batch_tokens` (one row at least)."""
    order = np.argsort(-lengths, kind="stable")
    start = 0
    while start < len(order):
        stop = start + max(1, batch_tokens // int(lengths[order[start]]))
        yield order[start:stop]
        start = stop


def pad(sequences: Sequence[Sequence[int]], pad_id: int) -> "tuple[Tensor, Tensor]":
    """Token ids and mask, both (B, L), padded on the right.

    Right, whatever side the tokenizer prefers for generation: positions then count from the first token,
    and a causal model's last real token sees no padding.
    """
    import torch

    longest = max(map(len, sequences))
    ids = torch.full((len(sequences), longest), pad_id, dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence, dtype=torch.long)
        mask[row, : len(sequence)] = 1
    return ids, mask


def pool(hidden: "Tensor", mask: "Tensor", pooling: Pooling) -> "Tensor":
    """One float32 vector per row from hidden states (B, L, d) and mask (B, L), padded on either side."""
    import torch

    if pooling == "mean":
        weights = mask.unsqueeze(-1).float()  # (B, L, 1)
        # zeroed by selection: a NaN in a padded place would survive a product
        total = torch.where(weights > 0, hidden.float(), 0.0).sum(1)
        return total / weights.sum(1)
    rows = torch.arange(len(mask), device=mask.device)
    first = mask.argmax(1)
    last = mask.shape[1] - 1 - mask.flip(1).argmax(1)
    return hidden[rows, first if pooling == "first" else last].float()


def vectors_of(
    model: "Module", sequences: Sequence[Sequence[int]], pad_id: int, pooling: Pooling, normalise: bool
) -> Vectors:
    """One forward pass: float32 vectors (B, d) of B token sequences; InputError when memory runs out."""
    import torch

    device = next(model.parameters()).device
    ids, mask = (part.to(device) for part in pad(sequences, pad_id))
    try:
        with torch.inference_mode():
            pooled = pool(model(input_ids=ids, attention_mask=mask).last_hidden_state, mask, pooling)
            if normalise:
                pooled = torch.nn.functional.normalize(pooled, dim=1)
    except torch.OutOfMemoryError:
        shape = " x ".join(map(str, ids.shape))
        raise InputError(f"{device} has no memory for a batch of {shape} tokens: lower batch_tokens") from None
    vectors: Vectors = pooled.cpu().numpy()
    return vectors


def choose_device(name: str) -> "torch.device":
    """The named device; "auto" is a CUDA device where there is one, else the CPU."""
    import torch

    return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)


def suitable_batch_tokens(model: "Module") -> int:
    """A CPU is fastest while a batch fits its cache (measured on a 22M-parameter model); others want work."""
    return 2048 if next(model.parameters()).device.type == "cpu" else 16_384
