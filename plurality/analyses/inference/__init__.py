"""Intervals, tests and weights: bootstrap, permutation, raking, post-stratification."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
