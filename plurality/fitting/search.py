"""One walk for every setting that is chosen on held-out items: decays, spreads of codes, weights of a KL."""

import math
from collections.abc import Callable, Sequence

BEYOND = 6  # steps past the edge of a grid, as wide as its last one


def nothing() -> None:
    """What `walk` does by default when it has found better, and at the end of a path."""


def walk(
    value_at: Callable[[float], float],
    start: float,
    paths: Sequence[Sequence[float]],
    *,
    start_value: float | None = None,
    keep: Callable[[], None] = nothing,
    restore: Callable[[], None] = nothing,
) -> tuple[float, dict[float, float]]:
    """Walk along the first path while values fall, along the next if the first did not help; the best, and all tried.

    value_at      held-out nats at a setting
    start         the setting that every path begins beside
    paths         settings in the order in which they are tried, path by path
    start_value   held-out nats at `start`; None: `value_at(start)`, which is then called first
    keep          called after every setting better than all before, so that its state can be kept
    restore       called at the end of every path, so that the state goes back to the one kept last
    """
    best, best_value = start, value_at(start) if start_value is None else start_value
    tried = {start: best_value}
    for path in paths:
        for setting in path:
            tried[setting] = value = value_at(setting)
            if value >= best_value:
                break
            best, best_value = setting, value
            keep()
        restore()
        if best != start:
            break
    return best, tried


def weaker_then_stronger(grid: Sequence[float], start: float) -> tuple[list[float], list[float]]:
    """The two paths from `start` along an ascending grid, down from it and up from it, each going on past the edge.

    Of a grid of one there is nothing to choose, and nothing beyond it.
    """
    low, high = (_beyond(grid[1], grid[0]), _beyond(grid[-2], grid[-1])) if len(grid) > 1 else ([], [])
    return [g for g in [*grid[::-1], *low] if g < start], [g for g in [*grid, *high] if g > start]


def _beyond(before: float, edge: float) -> list[float]:
    return [edge * (edge / before) ** step for step in range(1, BEYOND + 1)]


def descend(nats: Callable[[float], float], decays: Sequence[float], start: float) -> float:
    """The decay at which held-out nats stop falling: weaker ones first, and if that does not help stronger ones.

    nats      held-out nats at a decay
    decays    ascending grid
    start     the decay to begin with, tried first
    """
    return walk(nats, start, weaker_then_stronger(decays, start))[0]


def vertex(tried: dict[float, float], best: float) -> float:
    """Vertex, in log decay, of the parabola through the best decay and its tried neighbours; or the best itself.

    tried     held-out nats by decay
    best      the decay of `tried` with the fewest
    """
    grid = sorted(tried)
    i = grid.index(best)
    if not 0 < i < len(grid) - 1:
        return best
    x = [math.log(d) for d in grid[i - 1 : i + 2]]
    before, here, after = (tried[d] for d in grid[i - 1 : i + 2])
    left, right = (here - before) / (x[1] - x[0]), (after - here) / (x[2] - x[1])
    curvature = (right - left) / (x[2] - x[0])  # by differences, so that of a constant it is 0 on every processor
    if not curvature > 0:
        return best
    return math.exp(min(max((x[0] + x[1]) / 2 - left / (2 * curvature), x[0]), x[2]))
