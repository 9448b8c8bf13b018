"""Reward models that know whose preference they predict."""

__version__ = "0.1.0"
