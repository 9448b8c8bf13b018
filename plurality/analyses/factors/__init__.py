"""Which readable features drive whose preferences: regressions on differences of features, and where groups differ."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
