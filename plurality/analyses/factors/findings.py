"""What a regression on features found: frames, notes and the options it was made with."""

from dataclasses import dataclass
from typing import Any

import polars as pl

from plurality.analyses.audit.slices import Disclosure


@dataclass(frozen=True, repr=False, eq=False)
class FactorFindings:
    """What `factors` found, without methods: its readout and its figure are made of it.

    table         tidy, a row for each group and feature; numbers of withheld groups are null
    homogeneity   a row for each attribute and feature: whether the groups differ
    notes         sentences that a reader should see
    meta          what was explained and how: n_users, n_comparisons, features, attributes, options
    disclosure    how many users a group needs
    """

    table: pl.DataFrame
    homogeneity: pl.DataFrame
    notes: tuple[str, ...]
    meta: dict[str, Any]
    disclosure: Disclosure
