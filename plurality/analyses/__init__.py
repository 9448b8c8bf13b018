"""Audits of predictions from any reward model: arrays and frames in, never a model."""
