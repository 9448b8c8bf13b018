"""What the codes of users mean: the directions that they move utilities in, what goes with those, and who has them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
