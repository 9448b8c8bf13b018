"""PAL: ideal points, each a mixture of prototypes."""

from plurality.models.pal.spec import PAL

__all__ = ["PAL"]
