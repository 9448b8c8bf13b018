"""An audit of names that try to break out of a page, of two models on two cells, by topic."""

import json
import re

import numpy as np
import polars as pl
import pytest

from plurality.analyses.audit.compute import audit
from plurality.analyses.audit.report import html

NASTY = "</script><script>alert(1)</script>"
EVIL = "quote ' \" & <b> \u2028 \x00 \u202e × end"


@pytest.fixture(scope="session")
def audits(simulate):
    """Two models on two cells; the first on the first cell has rows by topic and the other model beside it."""
    predictions, people = simulate(users=240, rows=10)
    topic = np.where(np.arange(predictions.height) % 3 == 0, "cooking", "politics")
    region = pl.col("region").replace({"south": NASTY, "east": EVIL})
    few = pl.when(pl.int_range(pl.len()) < 5).then(pl.lit("few")).otherwise("group")
    town = pl.format("town {}", pl.int_range(pl.len()) % 8)
    people = people.with_columns(region, rare=few, town=town)
    first = predictions.with_columns(topic=topic).drop("gap")
    other = first.with_columns(prob_first=0.5 + 0.3 * (pl.col("prob_first") - 0.5))
    found = []
    for cell in ("seen", "unseen"):
        models = {name: frame.with_columns(cell=pl.lit(cell)) for name, frame in (("sharp", first), ("flat", other))}
        found.append(audit(models=models, users=people, rows=["topic"], pairs=True, n_bootstrap=50))
        found.append(audit(models["flat"].with_columns(model=pl.lit("flat")), people, n_bootstrap=50))
    return found


@pytest.fixture(scope="session")
def page(audits):
    """The page of all of them, in the words of the data and in German."""
    labels = {
        "de": {"region": "Gegend", "north": "Norden", "group": "Gruppe", "Accuracy": "Genauigkeit", "users": "Leute"}
    }
    return html(audits[0], {"groups": b"", "lorenz": b""}, labels, audits[1:])


@pytest.fixture(scope="session")
def data(page):
    """What the page's script reads."""
    return json.loads(re.search(r'id="explorer-data">(.*?)</script>', page, re.DOTALL)[1])
