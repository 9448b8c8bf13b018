"""What codes were found to mean: frames and notes."""

from dataclasses import dataclass
from typing import Any

import polars as pl


@dataclass(frozen=True, repr=False, eq=False)
class DirectionFindings:
    """What `explain_codes` found, without methods: its readout is made of it.

    directions    a row a direction: movement (log-odds), share, names
    ends          items at its ends: end, rank, item (row), value (log-odds an sd of people), prompt and completion
    features      a row for each direction and feature: r, lo, hi, p, named
    attributes    a row for each direction and attribute: n_users, n_levels, r2, p, named
    levels        a row for each direction, attribute and level shown: n_users, mean (sd of people)
    user          where the user asked for stands, a row a direction: position (sd of people), below; or None
    notes         sentences that a reader should see
    meta          what was explained and how
    """

    directions: pl.DataFrame
    ends: pl.DataFrame
    features: pl.DataFrame
    attributes: pl.DataFrame
    levels: pl.DataFrame
    user: pl.DataFrame | None
    notes: tuple[str, ...]
    meta: dict[str, Any]
