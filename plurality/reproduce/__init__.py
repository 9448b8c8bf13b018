"""Recipes run and measured against their golden numbers."""
