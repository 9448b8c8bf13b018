"""Welfare rules: one reward out of many people's."""
