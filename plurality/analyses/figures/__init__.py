"""Figures of audits and of comparisons of models; the only folder that draws."""

from plurality.errors import InputError

try:
    import matplotlib as mpl  # noqa: F401
except ModuleNotFoundError:
    raise InputError("matplotlib is not installed; pip install 'plurality-rm[plot]'") from None

from plurality.analyses.figures.comparison import comparison
from plurality.analyses.figures.curves import front, growth
from plurality.analyses.figures.few_shot import few_shot
from plurality.analyses.figures.forest import forest
from plurality.analyses.figures.latent import latent_map
from plurality.analyses.figures.lorenz import lorenz
from plurality.analyses.figures.margins import margins
from plurality.analyses.figures.matrices import bump, heat, shares
from plurality.analyses.figures.reliability import reliability
from plurality.analyses.figures.style import as_bytes, save_figure, width_of

__all__ = [
    "as_bytes",
    "bump",
    "comparison",
    "few_shot",
    "forest",
    "front",
    "growth",
    "heat",
    "latent_map",
    "lorenz",
    "margins",
    "reliability",
    "save_figure",
    "shares",
    "width_of",
]
