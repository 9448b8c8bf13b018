"""A comparison of models as a page to work with: cells and controls, gains, harm, curves of few answers, fits."""

import polars as pl

import plurality
from plurality.analyses.audit.labels import CONTROLS, model_name
from plurality.analyses.page.explorer import Explorer, Labels, render
from plurality.analyses.page.view import Choice, Column, View
from plurality.evaluation import views
from plurality.evaluation.blocks import KIND_NAMES, MEASURES, harm_sentences
from plurality.evaluation.comparison_frames import METRICS, ComparisonFrames

MODEL, OTHER_CONTROL = "model", "other control"
MARKS = (MODEL, *CONTROLS, OTHER_CONTROL)
CELL, METRIC = Choice("cell", "Cell"), Choice("metric", "Metric")
LINE = Column("model", "model", "text")
USERS = Column("n_users", "users", "count")
ROWS = Column("n_comparisons", "comparisons", "count")
ESTIMATE = Column("estimate", "estimate", "number", "lo", "hi")


def html(comparison: ComparisonFrames, labels: Labels | None = None) -> str:
    """The page of a comparison.

    comparison    what `compare` found
    labels        {language: {word: label}} that a reader may choose
    """
    about = comparison.about
    content = {
        "models": [model_name(name) for name in about.get("models", {})],
        "verdict": [*views.verdict(comparison.gains), *harm_sentences(comparison.harmed)],
        "notes": views.notes(comparison),
        "specs": [(model_name(name), spec) for name, spec in about.get("models", {}).items()],
        "version": plurality.__version__,
        "seed": about.get("seed"),
        "draws": about.get("draws"),
    }
    return render("evaluation/comparison.html.jinja", Explorer(views_of(comparison), labels or {}), content)


def views_of(comparison: ComparisonFrames) -> list[View]:
    """The views of a comparison; of its predictions nothing but the tables made of them.

    comparison    what `compare` found
    """
    baseline = model_name(str(comparison.about.get("baseline", "")))
    made = {
        _cells: comparison.table,
        _gains: comparison.gains,
        _harmed: comparison.harmed,
        _curves: comparison.curves,
        _answers: comparison.answers,
        _fits: comparison.fits,
    }
    return [view(_named(frame), baseline) for view, frame in made.items() if frame.height]


def _named(frame: pl.DataFrame) -> pl.DataFrame:
    """With names of models as they are written, what each is, and titles of metrics."""
    named = {"model": pl.col("model").map_elements(model_name, pl.String)}
    if "control" in frame.columns:
        kind = pl.col("model").str.extract(r" · ([^·]*)$")
        known = pl.when(kind.is_in(list(CONTROLS))).then(kind).otherwise(pl.lit(OTHER_CONTROL))
        named["mark"] = pl.when(pl.col("control")).then(known).otherwise(pl.lit(MODEL))
    if "metric" in frame.columns:
        named["metric"] = pl.col("metric").replace(METRICS | {k: v for k, v in MEASURES.items() if k not in METRICS})
    return frame.with_columns(**named)


def _cells(frame: pl.DataFrame, baseline: str) -> View:
    versus = Column("diff", f"difference to {baseline}", "signed", "diff_lo", "diff_hi")
    return View(
        name="cells",
        title="Models and their controls",
        caption=f"Estimates with intervals over users, on the users and units of one cell; the line is {baseline}. "
        "What does not beat its own controls is not personal.",
        frame=frame,
        choices=(CELL, METRIC),
        line="model",
        value=ESTIMATE,
        columns=(LINE, USERS, ESTIMATE, versus, Column("null_expectation", "by chance"), ROWS),
        unit_by="metric",
        mark="mark",
        marks=MARKS,
        reference=("model", baseline),
    )


def _gains(frame: pl.DataFrame, _: str) -> View:
    gain = Column("gain", "gain", "signed", "lo", "hi")
    return View(
        name="gains",
        title="Does it help to know the user?",
        caption="What users' own codes gain over the population's code, on the same rows and draws of users.",
        frame=frame,
        choices=(CELL, METRIC),
        line="model",
        value=gain,
        columns=(LINE, gain),
        unit_by="metric",
        zero=True,
    )


def _harmed(frame: pl.DataFrame, _: str) -> View:
    share = Column("harmed", "share harmed", "number", "lo", "hi")
    change = Column("change", "change (nats)", "signed")
    return View(
        name="harmed",
        title="Whom does it harm?",
        caption="Share of users whose log-loss their own code raises over the population's, with noise taken off; "
        "beside it the share whose loss went up on these rows, luck included.",
        frame=frame,
        choices=(CELL,),
        line="model",
        value=share,
        columns=(LINE, USERS, share, Column("observed", "loss up"), change),
    )


def _curves(frame: pl.DataFrame, _: str) -> View:
    size = Column("support", "answers of each user", "count")
    gain = Column("gain", "gain over the population's code", "signed", "gain_lo", "gain_hi")
    return View(
        name="curves",
        title="After so many answers",
        caption="How well unseen users are predicted on new units after so many of their answers, over draws of which "
        "answers.",
        frame=frame,
        choices=(METRIC,),
        line="model",
        value=ESTIMATE,
        columns=(LINE, size, ESTIMATE, gain, Column("n_reaching", "users with so many", "count")),
        unit_by="metric",
        along=size,
    )


def _answers(frame: pl.DataFrame, baseline: str) -> View:
    versus = Column("diff", f"difference to {baseline}", "signed", "diff_lo", "diff_hi")
    return View(
        name="answers",
        title="Whole answers",
        caption="Ratings, rankings, choices and thumbs by measures of their own; rank correlations are 0 by chance.",
        frame=frame.with_columns(pl.col("answer_kind").replace(KIND_NAMES)),
        choices=(Choice("answer_kind", "Answers"), CELL, METRIC),
        line="model",
        value=ESTIMATE,
        columns=(LINE, USERS, Column("n_answers", "answers", "count"), ESTIMATE, versus),
        unit_by="metric",
        mark="mark",
        marks=MARKS,
        reference=("model", baseline),
    )


def _fits(frame: pl.DataFrame, _: str) -> View:
    seconds = Column("seconds", "seconds")
    return View(
        name="fits",
        title="What fitting cost",
        caption="Wall time, time of all processors and peak memory of each fit.",
        frame=frame.with_columns(pl.format("fold {}", pl.col("fold") + 1).alias("fold")),
        choices=(Choice("fold", "Fold"),),
        line="model",
        value=seconds,
        columns=(LINE, Column("users", "users", "count"), seconds, Column("cpu_seconds", "CPU seconds"),
                 Column("peak_mib", "peak MiB", "count")),
    )  # fmt: skip
