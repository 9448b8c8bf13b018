"""Comparisons as tensors, without copying a mapped embedding."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from plurality.arrays import Array, as_array
from plurality.data.comparisons import Comparisons
from plurality.errors import InputError
from plurality.reward.heads import Head
from plurality.reward.links import nll
from plurality.reward.posterior import Evidence


@dataclass(frozen=True)
class Tensors:
    """Comparisons on a device: items (M, d), prompts of items (M, d) or None, and (N,) columns.

    base    (N,) gap of the base reward that utilities come on top of, in log-odds; 0 without one
    """

    items: Tensor
    prompts: Tensor | None
    first: Tensor
    second: Tensor
    user: Tensor
    label: Tensor
    weight: Tensor
    base: Tensor

    @staticmethod
    def of(data: Comparisons, head: Head, rows: np.ndarray | None = None) -> "Tensors":
        """Tensors of `data` (or of some rows of it), on the head's device and in its precision.

        When most items are in use the embeddings stay mapped and uncopied; otherwise only the used are gathered.
        """
        like = next(head.parameters())
        data = data if rows is None else data.take(rows)
        used, inverse = np.unique(np.concatenate([data.first, data.second]), return_inverse=True)
        if len(used) > 0.5 * len(data.items):
            items, first, second, used_prompts = data.items, data.first, data.second, data.prompt
        else:
            items, used_prompts = data.items[used], data.prompt[used]
            first, second = inverse[: len(data)], inverse[len(data) :]
        prompts = None
        if head.uses_prompts:
            if data.prompts is None:
                raise InputError(
                    f"{data.source}: this model looks at prompts, but they are not embedded; "
                    "read with prompts=True (plurality embed --prompts)"
                )
            prompts = to_tensor(data.prompts[used_prompts], like)

        def column(values: Array, dtype: torch.dtype) -> Tensor:
            return torch.as_tensor(np.ascontiguousarray(values)).to(device=like.device, dtype=dtype)

        return Tensors(
            items=to_tensor(items, like),
            prompts=prompts,
            first=column(first, torch.int64),
            second=column(second, torch.int64),
            user=column(data.user, torch.int64),
            label=column(data.label, like.dtype),
            weight=column(data.weight, like.dtype),
            base=column(data.base_gap, like.dtype),
        )

    def batch(self, rows: Tensor) -> "Tensors":
        """The comparisons at `rows` (B,) with just their items, 2B of them."""
        sides = torch.cat([self.first[rows], self.second[rows]])
        place = torch.arange(len(rows), device=rows.device)
        return Tensors(
            items=self.items[sides],
            prompts=None if self.prompts is None else self.prompts[sides],
            first=place,
            second=place + len(rows),
            user=self.user[rows],
            label=self.label[rows],
            weight=self.weight[rows],
            base=self.base[rows],
        )

    def evidence(self, head: Head) -> Evidence:
        """What the solver for codes needs: features of both sides, in double precision on the CPU."""
        with torch.no_grad():
            features = head.features(self.items, self.prompts).double().cpu()
        first, second, user = self.first.cpu(), self.second.cpu(), self.user.cpu()
        label, weight, base = (column.double().cpu() for column in (self.label, self.weight, self.base))
        return Evidence(features[first], features[second], user, label, weight, base)

    def gap(self, head: Head, codes: Tensor) -> Tensor:
        """Utility gap of every comparison (log-odds): (U, C) -> (N,)."""
        features = head.features(self.items, self.prompts)
        z = codes[self.user]
        return head.utility(features[self.first], z) - head.utility(features[self.second], z) + self.base

    def log_odds(self, head: Head, codes: Tensor) -> Tensor:
        """Log-odds that first is preferred, as labels have it: (U, C) -> (N,), or points (U, S, C) -> (N, S)."""
        features = head.features(self.items, self.prompts)
        z = codes[self.user]
        shape = (len(z), *[1] * (z.dim() - 2), -1)
        sides = features[self.first].view(shape), features[self.second].view(shape)
        return head.log_odds(*sides, z, self.base.view(shape[:-1]))

    def nll(self, head: Head, codes: Tensor) -> Tensor:
        """Weighted nats of every comparison (N,), in double precision: a line search sees the steps of float32 sums."""
        wide = torch.float32 if self.label.device.type == "mps" else torch.float64
        return self.weight.to(wide) * nll(self.log_odds(head, codes).to(wide), self.label.to(wide))


def check_device(name: str) -> None:
    """Raise InputError unless tensors can be put on this device, "cpu" or "cuda" say, here and now."""
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        cause = str(error).split("\n")[0]
        raise InputError(f"device {name!r} cannot be used here ({cause}); leave it out for the CPU") from None


def to_tensor(array: np.ndarray, like: Tensor) -> Tensor:
    """A tensor on `like`'s device and dtype, sharing the (possibly mapped, read-only) memory where it can."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)  # nor written to
        return torch.as_tensor(np.ascontiguousarray(as_array(array))).to(device=like.device, dtype=like.dtype)
