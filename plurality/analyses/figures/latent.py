"""Where users stand in a latent space, a panel each demographic level, with a test of whether levels stand apart."""

import matplotlib as mpl
import numpy as np
from numpy.typing import ArrayLike

from plurality.analyses.audit.labels import shorten
from plurality.analyses.figures.style import FAINT, INK, MUTED, STYLE, Figure, close_gaps
from plurality.arrays import floats
from plurality.errors import InputError

MOST_PANELS = 12


def latent_map(codes: ArrayLike, levels: ArrayLike, *, attribute: str, test: str, width: float = 7.0) -> Figure:
    """Codes (U, C) on their two widest principal axes; users of a level black, all others grey; a cross is the mean.

    `test` is a sentence of the permutation test, such as "R² .03, by chance .02, p = .14": a picture of 300 points
    finds clusters in noise. Raises InputError for shapes that do not match.

    codes        (U, C)
    levels       (U,) level of each user
    attribute    name of what the levels are of
    width        of the figure, in inches
    """
    z, names = floats(codes), np.asarray(levels).astype(str)
    if z.ndim != 2 or len(z) != len(names):
        raise InputError(f"latent map: codes {z.shape} and {len(names)} levels; give a row and a level a user")
    centred = z - z.mean(0)
    _, size, axis = np.linalg.svd(centred, full_matrices=False)
    flat = np.zeros((len(z), 2))
    flat[:, : min(2, len(axis))] = centred @ axis[:2].T
    held = np.square(size[:2]) / max(np.square(size).sum(), 1e-300)
    found, counts = np.unique(names, return_counts=True)
    shown = found[np.argsort(-counts, kind="stable")][:MOST_PANELS]
    across = min(len(shown), 4 if width > 5 else 2)
    down = -(-len(shown) // across)
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, 0.75 + down * width / across * 0.85), layout="constrained")
        grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False).ravel()
        for axes, level in zip(grid, shown, strict=False):
            mine = names == level
            axes.plot(*flat[~mine].T, ".", ms=2, color=FAINT, zorder=1)
            axes.plot(*flat[mine].T, ".", ms=3, color=INK, zorder=2)
            axes.plot(*flat[mine].mean(0), "X", ms=8, mfc="white", mec=INK, mew=1, zorder=3)
            axes.set_title(shorten(str(level), 24), loc="left", fontsize=7, fontweight="bold", pad=10)
            axes.annotate(f"{mine.sum():,} users", (0, 1), (0, 2), xycoords="axes fraction",
                          textcoords="offset points", fontsize=6.5, color=MUTED)  # fmt: skip
        close_gaps(grid, len(shown), across)
        figure.suptitle(f"Users by {attribute}: {test}", x=0.01, ha="left", fontsize=8)
        figure.supxlabel(f"first principal axis of users' codes ({held[0]:.0%} of variance)")
        figure.supylabel(f"second ({held[1] if len(held) > 1 else 0:.0%})")
    return figure
