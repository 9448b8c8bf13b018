"""Ensembles: one family fitted to several bootstraps of the users, as one reward that knows how far they differ."""

from plurality.models.ensemble.spec import Ensemble

__all__ = ["Ensemble"]
