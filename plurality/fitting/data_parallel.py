"""One fit by several processes, each of which looks at its share of the comparisons in every step.

Every process opens the whole store, which is mapped, and goes through the same fit. Where the objective is minimised
each sums over its share alone, and value and gradient are added up over all of them; whatever is decided is decided
by the first. `torchrun` starts the processes and torch carries the sums: nothing here schedules.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from plurality.arrays import Int
from plurality.data.comparisons import Comparisons

__all__ = ["data_parallel"]


@dataclass(frozen=True)
class Process:
    """This process among those of a fit; `ALONE` if there are no others.

    rank     which, from 0
    world    how many there are
    """

    rank: int
    world: int

    def rows(self, data: Comparisons) -> Int | None:
        """Its comparisons, one `world`-th of them that share as few items with others as may be; None: all.

        data    comparisons of all processes
        """
        if self.world == 1:
            return None
        order = np.lexsort((data.first, data.prompt[data.first]))
        start, stop = (len(order) * rank // self.world for rank in (self.rank, self.rank + 1))
        return np.sort(order[start:stop])

    def part(self, rows: Tensor) -> Tensor:
        """Its part of a batch of rows.

        rows    (B,) of all processes
        """
        return rows[self.rank :: self.world]

    def summed(self, value: Tensor, parameters: Sequence[Tensor]) -> Tensor:
        """The sum of a value over all processes, whose gradient is that of the sum.

        value         () of this process's share
        parameters    what it is a function of, the same in all processes
        """
        if self.world == 1:
            return value
        if not torch.is_grad_enabled():
            total = value.detach().clone()
            dist.all_reduce(total)
            return total
        slopes = torch.autograd.grad(value, parameters, materialize_grads=True)
        sums = torch.cat([value.detach().reshape(1), *(slope.reshape(-1).to(value.dtype) for slope in slopes)])
        dist.all_reduce(sums)
        sloped = torch.split(sums[1:], [parameter.numel() for parameter in parameters])
        total = sums[0]
        for parameter, slope in zip(parameters, sloped, strict=True):
            step = (parameter - parameter.detach()).reshape(-1)  # 0: it is there for its gradient
            total = total + step @ slope.to(step.dtype)
        return total

    @torch.no_grad()
    def agree(self, tensors: Iterable[Tensor]) -> None:
        """Give tensors the first process's values, in place: what follows from them is then the same in all.

        tensors    of the same shapes in all processes
        """
        if self.world > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def agreed(self, value: float) -> float:
        """The first process's value.

        value    what this process found, which may differ in the last digit
        """
        held = torch.tensor(value, dtype=torch.float64)
        self.agree([held])
        return float(held)


ALONE = Process(0, 1)
_current: ContextVar[Process] = ContextVar("process", default=ALONE)


def current() -> Process:
    """This process among those of the fit that `data_parallel` stands around."""
    return _current.get()


@contextmanager
def data_parallel() -> Iterator[Process]:
    """Fits inside look at the comparisons together with the other processes that `torchrun` started.

    Yields this process: only the one of `rank` 0 is to write. All processes must fit the same data with the same
    arguments. Without torchrun there is one process and nothing changes.

    Bradley–Terry, PAL and DPL share out their steps; other families run whole in every process but for their beginning.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # WORLD_SIZE alone is set by trainers and job queues too
        yield ALONE
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))  # which "cuda" then stands for
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
    process = Process(dist.get_rank(), dist.get_world_size())
    token = _current.set(process)
    try:
        yield process
    finally:
        _current.reset(token)
        dist.destroy_process_group()
