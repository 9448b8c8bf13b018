"""Two ways down a loss: full-batch Adam where it is not convex, L-BFGS where it is."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

Loss = Callable[[], Tensor]


def adam(loss: Loss, parameters: Sequence[Tensor], *, steps: int, rate: float) -> float:
    """Full-batch Adam with a short warm-up and cosine decay to zero; returns the last loss."""
    optimiser = torch.optim.Adam(parameters, lr=rate)

    def factor(step: int) -> float:
        return min(1.0, (step + 1) / 5) * 0.5 * (1 + math.cos(math.pi * step / steps))

    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    value = math.nan
    for _ in range(steps):
        optimiser.zero_grad(set_to_none=True)
        out = loss()
        out.backward()
        optimiser.step()
        schedule.step()
        value = float(out.detach())
    return value


def lbfgs(loss: Loss, parameters: Sequence[Tensor], *, steps: int, tol: float = 1e-9) -> float:
    """L-BFGS with a strong-Wolfe line search, for convex objectives; returns the last loss."""
    optimiser = torch.optim.LBFGS(
        list(parameters),
        max_iter=steps,
        history_size=20,
        tolerance_grad=tol,
        tolerance_change=tol * 1e-2,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad(set_to_none=True)
        out = loss()
        out.backward()
        return out

    optimiser.step(closure)
    with torch.no_grad():
        return float(loss())
