"""The tables of an audit as its page shows them: what is withheld stays out, and nothing is added but words."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import polars as pl

from plurality.analyses.audit.findings import Findings
from plurality.analyses.audit.labels import model_name, with_group_names
from plurality.analyses.audit.metrics import ALL_METRICS
from plurality.analyses.audit.slices import CROSS, MOST_WAYS, OVERALL, crossed_name
from plurality.analyses.page.view import Choice, Column, View
from plurality.analyses.wording import ALPHA

TITLES = {metric.key: metric.title for metric in ALL_METRICS}
UNITS = {metric.title: metric.unit for metric in ALL_METRICS}
EVERYBODY, BEYOND, WITHIN, FEW = "all users", f"beyond chance (q < {ALPHA})", "not shown beyond chance", "few users"
MARKS = (EVERYBODY, BEYOND, WITHIN, FEW)
KEY = ("attribute", "level")
WHO = (Choice("model", "Model"), Choice("cell", "Cell"))
METRIC = Choice("metric", "Metric", TITLES["utility", "observed"])
BY = Choice("attribute", "Attribute", everything=True)
NAME = Column("name", "group", "text")
ESTIMATE = Column("estimate", "estimate", "number", "lo", "hi")
SLICE = (
    Column("n_users", "users", "count"),
    ESTIMATE,
    Column("diff_vs_ref", "difference", "signed", "diff_lo", "diff_hi"),
    Column("q", "q", "p"),
    Column("p", "p", "p"),
    Column("null_expectation", "by chance"),
    Column("shrunk", "shrunk"),
    Column("detectable", "detectable gap"),
    Column("n_comparisons", "comparisons", "count"),
    Column("n_eff", "n_eff", "count"),
    Column("finding", "finding", "text"),
    Column("flag", "flag", "text"),
)


@dataclass(frozen=True)
class Published:
    """Tables of an audit as they are published, in memory or read from where they were saved.

    model       audited
    cell        of its predictions
    tables      by name: "table", and those of sections
    """

    model: str | None
    cell: str | None
    tables: Mapping[str, pl.DataFrame]


def published(audit: Findings) -> Published:
    """What an audit publishes.

    audit    findings
    """
    tables = {"table": audit.table, "reliability": audit.reliability}
    sections = {name: section.frame for name, section in audit.sections.items()}
    return Published(audit.meta["model"], audit.meta["cell"], tables | sections)


def views_of(audits: Sequence[Published]) -> list[View]:
    """The views of audits of different models and cells.

    audits    the first is what a reader sees at first
    """
    names = list(dict.fromkeys(name for audit in audits for name in audit.tables))
    views = [_slices(_together(audits, "table"))]
    for name in names:
        if name.startswith("rows_"):
            views.append(_rows(name, _together(audits, name)))
    if "models" in names:
        views.append(_models(_together(audits, "models")))
    if "contrasts" in names:
        views.append(_contrasts(_together(audits, "contrasts")))
    if "reliability" in names:
        views.append(_bins(_together(audits, "reliability")))
    return [view for view in views if view.frame.height]


def _together(audits: Iterable[Published], name: str) -> pl.DataFrame:
    """One table of several audits, with model and cell, titles of metrics, and without rows that are withheld."""
    frames = []
    for audit in audits:
        if (frame := audit.tables.get(name)) is not None:
            if "baseline" in frame.columns:  # models side by side: the audited one and what stands beside it
                frame = frame.rename({"model": "other"})
            frame = frame.with_columns(
                model=pl.lit(audit.model or "the model"), cell=pl.lit(audit.cell or "all comparisons")
            )
            frames.append(frame.filter(~pl.col("suppressed")) if "suppressed" in frame.columns else frame)
    joined = pl.concat(frames, how="diagonal_relaxed")
    joined = joined.with_columns(pl.col("^(model|other)$").map_elements(model_name, pl.String))
    if "provenance" not in joined.columns:
        return joined
    title = pl.struct("metric", "provenance").map_elements(
        lambda key: TITLES.get((key["metric"], key["provenance"]), key["metric"]), pl.String
    )
    return joined.with_columns(metric=title)


def _marked(frame: pl.DataFrame) -> pl.DataFrame:
    """With `mark`, what kind of line a row is."""
    of_group = pl.when(pl.col("flag").is_not_null()).then(pl.lit(FEW)).when(pl.col("q") < ALPHA).then(pl.lit(BEYOND))
    whole = pl.when(pl.col("attribute") == OVERALL[0]).then(pl.lit(EVERYBODY))
    return frame.with_columns(mark=whole.otherwise(of_group.otherwise(pl.lit(WITHIN))))


def _slices(frame: pl.DataFrame) -> View:
    first = next((a for a in frame["attribute"] if a != OVERALL[0]), OVERALL[0])
    return View(
        name="slices",
        title="Groups of users",
        caption="Choose what to see. The chart shows the lines of the table in its order, estimates with their "
        "intervals, and all users as a line with a band. Point at a dot for its numbers, or reach it with the Tab and "
        "arrow keys. A group leads to all that is published of it.",
        frame=_with_parts(_marked(frame)),
        choices=(*WHO, Choice("attribute", "Attribute", first, everything=True), METRIC),
        line="level",
        value=ESTIMATE,
        columns=(Column("level", "group", "text"), Column("attribute", "attribute", "text"), *SLICE),
        unit_by="metric",
        units=UNITS,
        mark="mark",
        marks=MARKS,
        reference=("attribute", OVERALL[0]),
        follow=KEY,
        parts="parts",
    )


def _rows(name: str, frame: pl.DataFrame) -> View:
    what = frame["rows"][0]
    return View(
        name=name,
        title=f"By {what} of the comparison",
        caption=f"Groups on comparisons of one {what} alone; the line is everybody on the same comparisons.",
        frame=with_group_names(_marked(frame)),
        choices=(*WHO, Choice("rows_level", what), BY, METRIC),
        line="name",
        value=ESTIMATE,
        columns=(NAME, *SLICE),
        unit_by="metric",
        units=UNITS,
        mark="mark",
        marks=MARKS,
        reference=("attribute", OVERALL[0]),
        follow=KEY,
    )


def _models(frame: pl.DataFrame) -> View:
    value = Column("difference", "difference", "signed", "lo", "hi")
    columns = (
        Column("baseline_estimate", "this model"),
        Column("estimate", "the other"),
        value,
        Column("p", "p", "p"),
        Column("q", "q", "p"),
        Column("p_equivalent", "p, alike", "p"),
        Column("harmed", "harmed", "number", "harmed_lo", "harmed_hi"),
    )
    return View(
        name="models",
        title="Models side by side",
        caption="Change from the model to another on the same people's same comparisons, paired. Harmed is the share "
        "of people whom switching would truly harm, with noise taken off.",
        frame=with_group_names(frame),
        choices=(*WHO, Choice("other", "Switched to"), BY, METRIC),
        line="name",
        value=value,
        columns=(NAME, Column("n_users", "users", "count"), *columns),
        unit_by="metric",
        units=UNITS,
        reference=("attribute", OVERALL[0]),
        zero=True,
        follow=KEY,
    )


def _contrasts(frame: pl.DataFrame) -> View:
    value = Column("difference", "difference", "signed", "lo", "hi")
    columns = (
        Column("n_users", "users", "count"),
        value,
        Column("difference", "for all at once", "signed", "lo_all", "hi_all"),
        Column("p_holm", "p (Holm)", "p"),
        Column("detectable", "detectable gap"),
    )
    return View(
        name="contrasts",
        title="Groups against each other",
        caption="Differences between groups of different people. One interval is for one difference, the other holds "
        "for all of an attribute at once.",
        frame=frame.with_columns(name=pl.format("{} − {}", "level", "reference")),
        choices=(*WHO, BY, METRIC),
        line="name",
        value=value,
        columns=(Column("name", "groups", "text"), *columns),
        unit_by="metric",
        units=UNITS,
        zero=True,
        follow=KEY,
    )


def _bins(frame: pl.DataFrame) -> View:
    value, place = Column("observed", "kept", "number", "lo", "hi"), Column("bin", "bin", "count")
    return View(
        name="bins",
        title="By confidence of the model",
        caption="How often the model's pick was preferred, against the confidence it stated, by bins of confidence.",
        frame=frame.with_columns(pl.col("bin") + 1),
        choices=(*WHO, BY),
        line="level",
        value=value,
        columns=(place, Column("predicted", "stated"), value),
        along=place,
        follow=KEY,
        alone=False,
    )


def _with_parts(frame: pl.DataFrame) -> pl.DataFrame:
    """With `parts`: the groups by fewer attributes that a combination is made of, each as attribute, tab, level."""
    singles: dict[str, list[str]] = {}
    for attribute, level in frame.select(KEY).unique(maintain_order=True).iter_rows():
        singles.setdefault(attribute, []).append(level)
    single = {attribute: levels for attribute, levels in singles.items() if CROSS not in attribute}
    parts: dict[tuple[str, str], list[str]] = {}
    for attributes in (c for ways in range(2, MOST_WAYS + 1) for c in combinations(single, ways)):
        there = set(singles.get(name := CROSS.join(attributes), ()))
        for levels in product(*(single[a] for a in attributes)) if there else ():
            if (level := crossed_name(levels)) in there:
                parts[name, level] = [f"{a}\t{b}" for a, b in zip(attributes, levels, strict=True)]
    found = [parts.get(key, []) for key in frame.select(KEY).iter_rows()]
    return frame.with_columns(parts=pl.Series(found, dtype=pl.List(pl.String)))
