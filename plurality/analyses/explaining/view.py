"""What codes mean, in a terminal and in a notebook."""

from typing import Any

import polars as pl

from plurality.analyses.audit.labels import number, shorten
from plurality.analyses.audit.readout import Grid, Readout
from plurality.analyses.audit.verdict import count, interval, percent
from plurality.analyses.explaining.findings import DirectionFindings
from plurality.analyses.wording import p_value

MOST = 4  # features that are told of a direction
TEXT = 60  # characters of an item
WIDTH = 18  # of a name
STILL = 0.005  # log-odds that are written as 0.00


def heading(found: DirectionFindings) -> str:
    """What is explained, and its size, in one line."""
    meta = found.meta
    size = [count(meta["n_users"], "user"), count(meta["n_items"], "item"), count(meta["n_prompts"], "prompt")]
    return " · ".join([meta["title"], *size])


def sentences(found: DirectionFindings) -> list[str]:
    """A sentence a direction: how far it moves utilities, what goes with it, who has it; and where the user stands."""
    said = [_sentence(found, row["direction"], row["movement"], row["share"]) for row in _rows(found.directions)]
    if found.user is not None:
        places = [
            f"{row['direction']} {number(row['position'], 1)} sd (above {percent(row['below'])})"
            for row in _rows(found.user)
        ]
        said.append(f"User {found.meta['user']}: {', '.join(places)} of other users.")
    return said


def _sentence(found: DirectionFindings, name: str, movement: float, share: float) -> str:
    if movement < STILL:
        return f"{name} moves no utility.{_people(found, name)}"
    moves = f"{name} moves utilities by {number(movement, 2)} log-odds (sd), {percent(share)} of what differs."
    mine = found.features.filter((pl.col("direction") == name) & pl.col("named")).head(MOST)
    text = [f"{row['feature']} (r {number(row['r'], 2)})" for row in _rows(mine)]
    told = mine.with_columns(text=pl.Series(text, dtype=pl.String))
    parts = {"rises": told.filter(pl.col("r") > 0)["text"], "falls": told.filter(pl.col("r") < 0)["text"]}
    ways = [f"{word} with {', '.join(texts)}" for word, texts in parts.items() if len(texts)]
    goes = f" It {' and '.join(ways)}." if ways else ""
    people = _people(found, name)
    return moves + (goes + people or " Nothing that was looked at goes with it beyond chance.")


def _people(found: DirectionFindings, name: str) -> str:
    """Attributes that have it more at one level than at another, and which."""
    said = ""
    mine = found.attributes.filter((pl.col("direction") == name) & pl.col("named")).sort("p", "r2")
    for row in _rows(mine):
        at = found.levels.filter((pl.col("direction") == name) & (pl.col("attribute") == row["attribute"])).sort("mean")
        low, high = at.row(0, named=True), at.row(-1, named=True)
        said += (
            f" By {row['attribute']} ({p_value(row['p'])}): highest {high['level']} ({number(high['mean'], 2)} sd), "
            f"lowest {low['level']} ({number(low['mean'], 2)})."
        )
    return said


def readout(found: DirectionFindings) -> Readout:
    """Sentences, the items at the ends, what goes with directions, notes."""
    text = "completion" in found.ends.columns
    ends = [
        (
            row["direction"],
            "+" if row["end"] == "high" else "−",
            number(row["value"], 2),
            shorten(" ".join(row["completion"].split()), TEXT) if text else f"item {row['item']}",
        )
        for row in _rows(found.ends)
    ]
    features = [
        (
            row["direction"],
            shorten(row["feature"], WIDTH),
            number(row["r"], 2),
            interval(row, lambda v: number(v, 2)),
            p_value(row["p"], ""),
        )
        for row in _rows(found.features.filter("named"))
    ]
    people = [
        (
            row["direction"],
            shorten(row["attribute"], WIDTH),
            f"{row['n_users']:,}",
            str(row["n_levels"]),
            percent(row["r2"]),
            p_value(row["p"], ""),
        )
        for row in _rows(found.attributes.filter("named"))
    ]
    grids = (
        Grid(("Direction", "end", "log-odds", "item"), ends, (0, 1, 3)),
        Grid(("Direction", "feature", "r", "interval", "p"), features, (0, 1)),
        Grid(("Direction", "attribute", "users", "levels", "between", "p"), people, (0, 1)),
    )
    return Readout("Codes", heading(found), sentences(found), grids, found.notes)


def _rows(frame: pl.DataFrame) -> list[dict[str, Any]]:
    return frame.to_dicts()
