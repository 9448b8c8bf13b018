"""LCPO (RE-PO): one reward for everybody, and for each person how often their label is what they preferred."""

from plurality.models.lcpo.spec import LCPO

__all__ = ["LCPO"]
