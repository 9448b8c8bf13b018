"""LCPO (RE-PO): one reward for all users, and for each person how often their label is what they preferred."""

from plurality.models.lcpo.spec import LCPO

__all__ = ["LCPO"]
