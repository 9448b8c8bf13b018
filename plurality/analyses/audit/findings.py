"""What an audit found: frames, sentences and the options it was made with."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from plurality.analyses.audit.sections import Section
from plurality.analyses.audit.slices import Disclosure


@dataclass(frozen=True, repr=False, eq=False)
class Findings:
    """What an audit found, without methods: the verdict, the readout and the report are made of it.

    table         tidy, a row for each metric and slice; numbers of withheld slices are null
    worst         the worst group of each attribute, for each metric that has a better direction
    users         a row for each user: comparisons, the user's own means, attributes
    reliability   a row for each slice and bin of confidence: what the reliability diagrams draw
    lorenz        users, utility, equal_lo, equal_hi at up to 101 shares of users
    sections      further parts, such as temperatures, by name
    notes         sentences that a reader should see
    meta          what was audited and how: model, cell, n_users, n_comparisons, attributes, options
    disclosure    how many users a slice needs
    """

    table: pl.DataFrame
    worst: pl.DataFrame
    users: pl.DataFrame
    reliability: pl.DataFrame
    lorenz: pl.DataFrame
    sections: dict[str, Section]
    notes: tuple[str, ...]
    meta: dict[str, Any]
    disclosure: Disclosure
