"""Two ways down a loss: Adam where it is not convex, L-BFGS where it is."""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

Loss = Callable[[int], Tensor]
"""The objective, given the step: a batched one draws its batch by it."""
ONE_THREAD_WORK = 3e8  # multiply-adds a step below which a second thread costs more than it brings


class Adam(torch.optim.Adam):
    """torch's, but for what brings in its compiler, seconds of import, to keep methods from being compiled."""

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)
    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


class LBFGS(torch.optim.LBFGS):
    """torch's, without its compiler as `Adam`."""

    add_param_group = inspect.unwrap(torch.optim.Optimizer.add_param_group)


@contextmanager
def threads_for(work: float) -> Iterator[None]:
    """One torch thread while a step is `work` multiply-adds and that is few; the caller's setting comes back after."""
    before = torch.get_num_threads()
    if work < ONE_THREAD_WORK and before > 1:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def clear(parameters: Iterable[Tensor]) -> None:
    """Forget gradients."""
    for parameter in parameters:
        parameter.grad = None


def adam(loss: Loss, groups: Sequence[tuple[Sequence[Tensor], float]], *, steps: int) -> float:
    """Adam on groups of (parameters, rate), a short warm-up and cosine decay to zero; returns the last loss.

    The second moment forgets in some twenty steps (β₂ = .95), since a fit has not many more.
    """
    optimiser = Adam([{"params": list(p), "lr": rate} for p, rate in groups if p], betas=(0.9, 0.95))

    def factor(step: int) -> float:
        return min(1.0, (step + 1) / 5) * 0.5 * (1 + math.cos(math.pi * step / steps))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    value = math.nan
    for step in range(steps):
        clear([p for group, _ in groups for p in group])
        out = loss(step)
        torch.autograd.backward(out)
        optimiser.step()
        schedule.step()
        value = float(out.detach())
    return value


def lbfgs(
    loss: Loss, parameters: Sequence[Tensor], *, steps: int, tol: float = 1e-9, root: Tensor | None = None
) -> float:
    """L-BFGS with a strong-Wolfe line search, for convex objectives; returns the last loss.

    root    (d, d) lower triangle L of a curvature of about LLᵀ along the rows of each parameter (·, d): it walks in
            w @ L, where curvature is alike in all directions, and is there in a few steps; None: it walks in w
    """
    free = list(parameters) if root is None else [(p.detach() @ root).requires_grad_() for p in parameters]
    optimiser = LBFGS(
        free,
        max_iter=steps,
        history_size=20,
        tolerance_grad=tol,
        tolerance_change=tol * 1e-2,
        line_search_fn="strong_wolfe",
    )

    @torch.no_grad()
    def move() -> None:
        if root is not None:
            for parameter, v in zip(parameters, free, strict=True):
                parameter.copy_(torch.linalg.solve_triangular(root, v, upper=False, left=False))

    def closure() -> Tensor:
        move()
        clear(parameters)
        out = loss(0)
        torch.autograd.backward(out)
        if root is not None:
            for parameter, v in zip(parameters, free, strict=True):
                assert parameter.grad is not None
                v.grad = torch.linalg.solve_triangular(root.T, parameter.grad, upper=True, left=False)
        return out

    optimiser.step(closure)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    move()
    with torch.no_grad():
        return float(loss(0))
