"""Reward models compared: one split, controls, four cells, intervals over users."""
