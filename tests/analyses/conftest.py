"""Simulated predictions with a planted truth."""

import numpy as np
import polars as pl
import pytest


def simulate(users=200, rows=20, seed=0, slope=1.0):
    """Predictions of a model whose stated log-odds are 1/slope times the true ones, and users with attributes.

    People of region "south" (a quarter of all) choose at random, so nobody can serve them.
    """
    rng = np.random.default_rng(seed)
    region = rng.choice(["east", "north", "south", "west"], users)
    code = np.repeat(np.arange(users), rows)
    gap = rng.normal(0, 1.5, users * rows)
    true = np.where(region[code] == "south", 0.0, slope * gap)
    label = (rng.random(users * rows) < 1 / (1 + np.exp(-true))).astype(float)
    ids = np.array([f"u{k}" for k in range(users)])
    predictions = pl.DataFrame({"user_id": ids[code], "prob_first": 1 / (1 + np.exp(-gap)), "label": label, "gap": gap})
    people = pl.DataFrame({"user_id": ids, "region": region, "group": rng.choice(["a", "b"], users)})
    return predictions, people


@pytest.fixture(scope="session", name="simulate")
def simulate_function():
    """The function `simulate`."""
    return simulate


@pytest.fixture(scope="session")
def planted():
    """Predictions and users of `simulate` with its defaults."""
    return simulate()
