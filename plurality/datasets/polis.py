"""Polis: statements of public consultations, agreed with preferred to disagreed with, by the same participant."""

from dataclasses import replace
from pathlib import Path

import polars as pl

from plurality.datasets._tools.external import FILES, external
from plurality.datasets._tools.frames import About, Frames, some

ABOUT = About(hub=None, licence="CC BY 4.0 (compdemocracy/openData)", files=FILES)


def frames(source: str | Path, *, conversation: str | None = None) -> Frames:
    """Comparisons of all consultations of a folder, or of one `conversation`, which is the prompt.

    Statements recur: split by item. Raises InputError for bad files and for a conversation that is not there.
    """
    made = external("polis", source)
    if conversation is None:
        return made
    users = made.users.filter(pl.col("conversation") == conversation)
    rows = made.comparisons.lazy().join(users.lazy().select("user_id"), on="user_id", how="semi", maintain_order="left")
    return some(replace(made, comparisons=rows, users=users), f"{source}: conversation {conversation!r}")
