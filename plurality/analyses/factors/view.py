"""Factors in a terminal and in a notebook."""

from typing import TYPE_CHECKING

import polars as pl

from plurality.analyses.audit.labels import number, shorten
from plurality.analyses.audit.readout import Grid, Readout
from plurality.analyses.audit.slices import OVERALL
from plurality.analyses.audit.verdict import count, interval
from plurality.analyses.factors.findings import FactorFindings
from plurality.analyses.wording import ALPHA, p_value
from plurality.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRIVER_HEAD = ("Feature", "log-odds per sd", "interval", "q", "tau", "L1")
GROUP_HEAD = ("Attribute", "feature", "Q", "q", "least", "", "most", "")
MOST = 15  # lines of groups that differ
WIDTH = 18  # of a name
Lines = list[tuple[str, ...]]


def heading(found: FactorFindings) -> str:
    """What was explained, and its size, in one line."""
    meta = found.meta
    size = [count(meta["n_users"], "user"), count(meta["n_comparisons"], "comparison")]
    return " · ".join([f"column {meta['label']}", *size])


def driver_lines(found: FactorFindings) -> Lines:
    """Feature, coefficient, interval, q, tau, whether L1 keeps it: over all users, the strongest first."""
    rows = found.table.filter(pl.col("attribute") == OVERALL[0])
    rows = rows.sort(pl.col("coefficient").fill_nan(0).abs(), descending=True, maintain_order=True)
    return [
        (
            shorten(row["feature"], WIDTH),
            number(row["coefficient"], 3),
            interval(row, lambda v: number(v, 3)),
            p_value(row["q"], ""),
            number(row["tau"], 3),
            "kept" if row["selected"] else "",
        )
        for row in rows.iter_rows(named=True)
    ]


def group_lines(found: FactorFindings) -> Lines:
    """Where groups differ: attribute, feature, Q, q, the groups that like it least and most, shrunk coefficients."""
    lines: Lines = []
    for row in differing(found).head(MOST).iter_rows(named=True):
        same = (pl.col("attribute") == row["attribute"]) & (pl.col("feature") == row["feature"])
        groups = found.table.filter(same).drop_nulls("shrunk").sort("shrunk", maintain_order=True)
        ends = [
            (shorten(g["level"], WIDTH), number(g["shrunk"], 2))
            for g in (groups.row(0, named=True), groups.row(-1, named=True))
        ]
        names = (shorten(row["attribute"], WIDTH), shorten(row["feature"], WIDTH))
        lines.append((*names, number(row["cochran_q"], 1), p_value(row["q"], ""), *ends[0], *ends[1]))
    return lines


def differing(found: FactorFindings) -> pl.DataFrame:
    """The attributes and features whose groups differ beyond chance, the surest first."""
    return found.homogeneity.filter(pl.col("q") < ALPHA).sort("q", "p", maintain_order=True)


def sentences(found: FactorFindings) -> list[str]:
    """How many features matter to everybody, where groups differ, what has no estimate, and what is withheld."""
    overall = found.table.filter(pl.col("attribute") == OVERALL[0])
    sure = overall.filter(pl.col("q") < ALPHA).height
    said = [f"Of {count(overall.height, 'feature')}, {sure} are shown to move preferences of all users (q < {ALPHA})."]
    if found.homogeneity.height:
        differ, attributes = differing(found), len(found.meta["attributes"])
        more = f"; the {MOST} surest are listed" if differ.height > MOST else ""
        said.append(
            f"Groups are shown to differ in {differ.height} of {found.homogeneity.height} pairs of attribute and "
            f"feature (q < {ALPHA} over the features of each of {count(attributes, 'attribute')}){more}."
        )
    bare = found.table.filter(~pl.col("suppressed") & pl.col("coefficient").is_nan())
    if bare.height:
        reasons = dict.fromkeys(str(flag).split("; ")[0] for flag in bare["flag"])
        rows = found.table.filter(~pl.col("suppressed")).height
        said.append(f"No coefficient in {bare.height} of {count(rows, 'row')} of the table: {', '.join(reasons)}.")
    hidden = found.table.filter("suppressed").select("attribute", "level").n_unique()
    if hidden:
        said.append(f"Withheld: {count(hidden, 'group')} with too few users, or that would give one of those away.")
    return said


def readout(found: FactorFindings) -> Readout:
    """Sentences, all users, where groups differ, notes."""
    tables = (Grid(DRIVER_HEAD, driver_lines(found), (0,)), Grid(GROUP_HEAD, group_lines(found), (0, 1, 4, 6)))
    return Readout("Factors", heading(found), sentences(found), tables, found.notes)


def figure(found: FactorFindings, attribute: str | None) -> "Figure":
    """Log-odds per standard deviation, features by groups; raises InputError for an attribute that is not there."""
    from plurality.analyses.figures import heat

    names = [name for name in found.table["attribute"].unique(maintain_order=True) if name != OVERALL[0]]
    asked = attribute or (names[0] if names else OVERALL[0])
    if asked not in (*names, OVERALL[0]):
        raise InputError(f"{asked}: no such attribute; give one of {', '.join(names) or 'none'}")
    rows = found.table.filter(pl.col("attribute").is_in([OVERALL[0], asked]) & ~pl.col("suppressed"))
    order = rows.filter(attribute=OVERALL[0]).sort(pl.col("coefficient").fill_nan(0).abs(), descending=True)["feature"]
    place = {name: k for k, name in enumerate(order)}
    rows = rows.sort(pl.col("feature").replace_strict(place, return_dtype=pl.Int64), maintain_order=True)
    return heat(
        rows, "feature", "level", "coefficient", row_title="", column_title=asked,
        value_title="Log-odds per standard deviation of the feature", signed=True,
    )  # fmt: skip
