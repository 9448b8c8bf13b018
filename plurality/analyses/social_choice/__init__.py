"""Aggregation rules over candidates: who decides, who benefits."""
