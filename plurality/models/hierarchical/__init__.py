"""Hierarchical Bayes: a Gaussian population whose mean is set by demographics."""

from plurality.models.hierarchical.spec import Hierarchical

__all__ = ["Hierarchical"]
