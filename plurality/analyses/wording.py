"""Words for numbers: the one place that decides from an estimate, its interval and its p-value what may be claimed.

What an interval or a p-value does not show is never said to be absent: it is not shown, and could be as large as the
interval allows.
"""

from collections.abc import Callable, Iterable

import numpy as np

ALPHA = 0.05
MOST_PLACES = 9
FAINT = 0.1  # correlation below which one thing has less than 1 % of what another does, however sure that is


def direction(lo: float | None, hi: float | None) -> int:
    """1 where an interval lies above 0, −1 where below; 0 where it holds 0, or is unknown.

    lo    lower end, None or NaN where unknown
    hi    upper end
    """
    if lo is None or hi is None:
        return 0
    return int(lo > 0) - int(hi < 0)


def gain(
    intervals: Iterable[tuple[float | None, float | None]], most: Callable[[float], str], small: bool = False
) -> str:
    """What some changes, each an interval (lo, hi) in which more is better, come to: a gain, a loss, or none shown.

    intervals    of the changes, at least one; ends may be unknown
    most         a change as text with its unit, for what the first may amount to
    small        whether all are too small to matter, however sure they are
    """
    found = list(intervals)
    ways = {direction(lo, hi) for lo, hi in found} - {0}
    if len(ways) > 1:
        return "a gain in one and a loss in the other"
    if ways:
        return f"a {'small ' if small else ''}{'gain' if ways == {1} else 'loss'}"
    up = found[0][1]
    if up is None or np.isnan(up):
        return "no gain can be shown"
    return f"no gain shown (could be up to {most(up)})" if up > 0 else "no gain shown"


def beyond_chance(p: float | None) -> str:
    """Whether a p-value or q-value shows that something is beyond chance.

    p    the value, None or NaN where there is none
    """
    if p is None or np.isnan(p):
        return "not tested"
    return "beyond chance" if named(p) else "not shown to be beyond chance"


def named(p: float | None) -> bool:
    """Whether a thing may be called by its name: where a p-value, corrected for the search, shows it beyond chance.

    p    the value, None or NaN where there is none
    """
    return p is not None and bool(p < ALPHA)


def correlated(r: float, lo: float, hi: float, p: float) -> bool:
    """Whether what correlates may be named: beyond chance, its interval does not hold 0, and it is not faint.

    r     the correlation
    lo    lower end of its interval, NaN where there is none
    hi    upper end
    p     corrected for the search
    """
    return named(p) and direction(lo, hi) != 0 and abs(r) >= FAINT


def leaning(lo: float | None, hi: float | None, above: str, below: str, neither: str) -> str:
    """The words for an interval above 0, for one below, or for neither.

    lo         lower end, None or NaN where unknown
    hi         upper end
    above      said where the interval lies above 0
    below      said where it lies below
    neither    said where it holds 0 or is unknown
    """
    return (neither, above, below)[direction(lo, hi)]


def p_value(p: float | None, prefix: str = "p = ") -> str:
    """A p-value as text, with decimals enough that it lies on the side of ALPHA that words say.

    p         the value, None or NaN where there is none
    prefix    said before it; without one, what is unknown is empty
    """
    if p is None or np.isnan(p):
        return "" if not prefix else "p unknown"
    small = p < 0.0015
    if small:
        return f"{prefix[:-2]}≤ 0.001" if prefix else "≤ 0.001"
    places = 3
    while (float(f"{p:.{places}f}") < ALPHA) != (p < ALPHA) and places < MOST_PLACES:
        places += 1
    return f"{prefix}{p:.{places}f}"
