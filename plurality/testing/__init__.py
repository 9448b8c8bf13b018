"""Checks that any family must pass."""
