"""Features of items as a fitted model sees them, block by block, checked."""

import torch
from torch import Tensor

from plurality.arrays import Array, as_array
from plurality.errors import InputError
from plurality.reward.base import base_column
from plurality.reward.fitted import Parts
from plurality.reward.tensors import to_tensor

BLOCK = 16_384  # items whose features are held at once while scoring


def check_width(model: Parts, items: Array) -> None:
    """Raise InputError for embeddings of another width than the model was fitted on.

    model    fitted model
    items    (M, d)
    """
    if items.ndim != 2 or items.shape[1] != model.head.n_embedding:
        raise InputError(
            f"embeddings have shape {tuple(items.shape)}, but the model was fitted on width {model.head.n_embedding}"
        )


def item_features(model: Parts, items: Array, prompts: Array | None, base: Array | None) -> Tensor:
    """φ of embeddings, and where the model starts from a base reward that in log-odds as the last: (M, F).

    model      fitted model
    items      (M, d)
    prompts    (M, d) of their prompts, for heads that look at them
    base       (M,) scores of the base reward, in its units

    Raises InputError for another width, for what is missing and for features that are not finite.
    """
    items = as_array(items)
    check_width(model, items)
    if model.head.uses_prompts and prompts is None:
        raise InputError("this model looks at prompts: give the embedding of each item's prompt as prompts=")
    like, blocks = next(model.head.parameters()), list[Tensor]()
    with torch.no_grad():
        for start in range(0, max(1, len(items)), BLOCK):
            rows = slice(start, start + BLOCK)
            p = None if prompts is None else to_tensor(prompts[rows], like)
            blocks.append(model.head.features(to_tensor(items[rows], like), p))
    features = torch.cat(blocks)
    finite = torch.isfinite(features).all(1)
    if not finite.all():
        row = int(finite.int().argmin())
        raise InputError(f"embedding {row} (from 0) has no finite features; look for NaN or infinite values in it")
    if model.base is None:
        if base is not None:
            raise InputError("this model starts from no base reward; leave base out")
        return features
    return torch.cat([features, base_column(base, model.base, len(features)).to(features)], 1)
