"""The audit: predictions and users in, a table of who is served how well out. It never sees a model."""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from rich.progress import track

import plurality
from plurality.analyses.audit import tables
from plurality.analyses.audit.abstaining import abstention
from plurality.analyses.audit.attributes import Levels, attributes_of, relabelled
from plurality.analyses.audit.audit_readout import readout
from plurality.analyses.audit.confidence_cells import confidence_cells
from plurality.analyses.audit.contrasts import Reference, contrasts
from plurality.analyses.audit.designs import (
    DesignColumns,
    by_design,
    cluster_counts,
    design_section,
    read_design,
    weighted,
)
from plurality.analyses.audit.estimates import Estimate, Plan, estimate
from plurality.analyses.audit.findings import Findings
from plurality.analyses.audit.merging import merged
from plurality.analyses.audit.methods_text import methods
from plurality.analyses.audit.model_pairs import Models, asked_for, model_pairs, other_model
from plurality.analyses.audit.people import lorenz_curve, users_table
from plurality.analyses.audit.population import population, read_margins
from plurality.analyses.audit.position_bias import presented
from plurality.analyses.audit.power import MARGIN
from plurality.analyses.audit.readout import Readable, Readout
from plurality.analyses.audit.row_levels import RowAttribute, named_in
from plurality.analyses.audit.row_slices import row_slices
from plurality.analyses.audit.sections import Section
from plurality.analyses.audit.shared_pairs import shared_pairs
from plurality.analyses.audit.slices import (
    CROSS,
    DISCLOSURE,
    LEFT_OUT,
    OVERALL,
    SHOWN,
    Disclosure,
    Slices,
    left_out,
    slices,
)
from plurality.analyses.audit.temperatures import temperatures
from plurality.analyses.audit.user_sums import Material, material, material_of
from plurality.analyses.audit.verdict import verdict
from plurality.analyses.audit.withholding import withheld, withheld_bins
from plurality.analyses.inference.raking import Margins
from plurality.analyses.inputs import (
    READ,
    ROW,
    Predictions,
    Table,
    chosen,
    default_cell,
    default_model,
    kept_rows,
    read_predictions,
    read_table,
    unread,
)
from plurality.analyses.levels import MISSING, NOT_LISTED
from plurality.analyses.scores import CHOSEN, REJECTED, predictions_from_scores
from plurality.analyses.social_choice.candidates import COLUMNS, choosing, read_candidates
from plurality.deprecation import renamed
from plurality.errors import InputError
from plurality.io.atomic import whole_file, whole_folder
from plurality.io.paths import expanded

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from plurality.analyses.page.explorer import Displayed, Labels

MARKER = "audit.json"
SCHEMA = 1  # of MARKER, which schema.json describes; a change that breaks readers counts it up


@dataclass(frozen=True, repr=False, eq=False)
class Audit(Findings, Readable):
    """What an audit found.

    `table` is tidy, a row for each metric and slice; `worst` has the worst group of each attribute; `users` a
    row for each user; `reliability` and `lorenz` are what the figures draw; `sections` are further parts, such as
    temperatures, by name; `notes` are sentences that a reader should see, and `meta` says what was audited and how.
    """

    @property
    def overall(self) -> pl.DataFrame:
        """The rows of `table` for all users together."""
        return self.table.filter(pl.col("attribute") == OVERALL[0])

    @property
    def verdict(self) -> tuple[str, ...]:
        """The findings in plain sentences, the most important first."""
        return verdict(self)

    @property
    def methods(self) -> str:
        """What was done, as a paragraph for a paper."""
        return methods(self)

    def readout(self) -> Readout:
        """What a person is shown of it."""
        return readout(self)

    def __repr__(self) -> str:
        return f"<Audit of {self.meta['n_users']} users, {self.table.height} rows; print it, or see .table>"

    def figures(self, size: Literal["single", "double"] = "double") -> dict[str, "Figure"]:
        """Matplotlib figures by name: groups, reliability (if bins hold people enough), lorenz, one of each section.

        size    "single" for one column of a journal, 3.5 inches, or "double" for two, 7 inches
        """
        from plurality.analyses import figures

        width, bins = figures.width_of(size), self.reliability
        found = {
            "groups": figures.forest(self.table, width=width),
            "reliability": None if bins.is_empty() else figures.reliability(bins, width=width),
            "lorenz": figures.lorenz(self.lorenz, self.overall, width=width),
        } | {name: one.figure(width) for name, one in self.sections.items()}
        return {name: drawn for name, drawn in found.items() if drawn is not None}

    def to_html(self, path: str | Path, *, labels: "Labels | None" = None, beside: Sequence["Audit"] = ()) -> Path:
        """Write one self-contained page that needs no network, on which a reader chooses, sorts, filters and follows.

        It holds what the tables publish and nothing else. Raises InputError for labels that are no mapping of words.

        path      file to write
        labels    {language as in BCP 47, "de": {word of the page: label}}, for attributes, levels, metrics, headings
        beside    audits of other models or cells, which the reader may choose
        """
        page, path = self._page(labels, beside), expanded(path)
        with whole_file(path) as new:
            new.write_bytes(page.encode())
        return path

    def explore(self, *, labels: "Labels | None" = None, beside: Sequence["Audit"] = ()) -> "Displayed":
        """The page of `to_html` inside a notebook, where it is the last line of a cell.

        labels    as in `to_html`
        beside    as in `to_html`
        """
        from plurality.analyses.page.explorer import Displayed

        return Displayed(self._page(labels, beside), "Audit")

    def _page(self, labels: "Labels | None", beside: Sequence["Audit"]) -> str:
        from plurality.analyses.audit.report import html
        from plurality.analyses.figures import as_bytes

        return html(self, {name: as_bytes(figure, "svg") for name, figure in self.figures().items()}, labels, beside)

    def save(self, folder: str | Path, *, labels: "Labels | None" = None) -> Path:
        """Write audit.parquet, audit.json, index.html, figures/ (PNG, SVG) and sections/ (parquet), all or nothing.

        The per-user frame is not written: its rows are people. Raises InputError for a folder that holds something
        other than an audit.

        folder    folder to write
        labels    of the page, as in `to_html`
        """
        from plurality.analyses.audit.report import html
        from plurality.analyses.figures import as_bytes

        pictures = {
            (name, kind): as_bytes(figure, kind) for name, figure in self.figures().items() for kind in ("png", "svg")
        }
        svg = {name: drawn for (name, kind), drawn in pictures.items() if kind == "svg"}
        folder = expanded(folder)
        with whole_folder(folder, marker=MARKER) as new:
            (new / "figures").mkdir()
            for (name, kind), drawn in pictures.items():
                (new / "figures" / f"{name}.{kind}").write_bytes(drawn)
            (new / "index.html").write_bytes(html(self, svg, labels).encode())
            (new / MARKER).write_bytes(self._json().encode())
            self.table.write_parquet(new / "audit.parquet")
            (new / "sections").mkdir()
            for name, section in self.sections.items():
                section.frame.write_parquet(new / "sections" / f"{name}.parquet")
        return folder

    def _json(self) -> str:
        worst = self.worst.with_columns(pl.col(pl.Float64).fill_nan(None)).to_dicts()
        content = {"schema": SCHEMA, "verdict": self.verdict, "notes": self.notes, "worst": worst, **self.meta}
        content["methods"] = methods(self)
        content["disclosure"] = asdict(self.disclosure)
        return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


@renamed(draws="n_bootstrap")
def audit(  # noqa: PLR0913 - the public face: each argument is a decision of the reader
    predictions: Table | None = None,
    users: Table | None = None,
    *,
    models: Models | None = None,
    by: Sequence[str] | None = None,
    ways: int = 2,
    candidates: Table | None = None,
    margins: Margins | Table | None = None,
    n_bootstrap: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    disclosure: Disclosure = DISCLOSURE,
    model: str | None = None,
    cell: str | None = None,
    rows: Sequence[RowAttribute] = (),
    reference: Reference | None = None,
    pairs: bool = False,
    levels: Levels | None = None,
    exclude_missing: bool = False,
    margin: float = MARGIN,
    design: DesignColumns | None = None,
    progress: bool = False,
) -> Audit:
    """Audit predicted preferences: who is served how well, with intervals that resample users.

    `predictions` has a row for each comparison: user_id, prob_first = P(first preferred), label in [0, 1], and
    optionally weight (see below); served_first (P that the first response is served, by default the model's own pick);
    gap (log-odds, for the log-loss); model and cell, of which one is audited (by default the first model that is no
    control, on seen users and unseen items); shown_first (P that the first was displayed first: position bias); pair
    (which two responses in which order, where several people judged the same: disagreement); or score_chosen and
    score_rejected in place of probability and label. `users` has user_id and attributes, which are sliced by `by` (all
    with few levels by default), and by combinations of up to `ways` of them (1 to 3). `candidates` has the rewards of
    responses to choose from (see `analyses.candidates`): who decides and who benefits, by the first attribute.
    `margins` are a population's shares of levels, {attribute: {level: share}} or a table of attribute, level, share,
    that users are weighted to. Intervals have coverage `level` and resample users `n_bootstrap` times from `seed`; 0
    gives none, nor p-values. `disclosure` says how many users a slice needs to be shown. `progress` draws a bar in the
    terminal.

    A weight that is the same in all rows of a person is the person's: estimates are then those of the population that
    the people stand for, Σ_u w_u x̄_u / Σ_u w_u with x̄_u the mean of a person's own comparisons, and pooled statistics
    weigh each row by w_u. Otherwise a weight says how many comparisons a row stands for, and people count alike. Counts
    of users are never weighted. Raises InputError on input that cannot give a right answer.

    models             {name: predictions}, or names of models in `predictions`, on the same comparisons: the first is
                       audited, and the others stand beside it, paired by person and row
    model              which `model` of the predictions is audited
    cell               which `cell` of the predictions is audited
    rows               columns of the predictions to slice comparisons by, such as topic, language or time, crossed with
                       the people's attributes; two together, ("model_a", "model_b"), are the pair that they name
    reference          a level ("men"), or {attribute: level}, that the attribute's other groups are compared with
    pairs              compare all pairs of groups of each other attribute, with intervals that hold for all at once
    levels             {attribute: levels in order}, or {attribute: {level: label}}; levels of one label are one group
    exclude_missing    tell of no group of missing answers; its people still count among everybody
    design             columns of `users` that say how people were sampled: strata, clusters, weights, replicate weights
    margin             gap in accuracy or utility that matters; `finding` tells no such gap from one that could not show

    >>> import plurality as pl8
    >>> ids = [f"user-{k}" for k in range(40)]
    >>> predictions = {"user_id": ids * 2, "prob_first": [0.8] * 40 + [0.3] * 40, "label": [1] * 20 + [0] * 60}
    >>> users = {"user_id": ids, "age": ["young"] * 20 + ["old"] * 20}
    >>> audit = pl8.audit(predictions, users, n_bootstrap=50)
    >>> dict(audit.table.filter(metric="accuracy").select("level", "estimate").iter_rows())
    {'(all users)': 0.75, 'old': 0.5, 'young': 1.0}
    """
    frame, model, others = asked_for(predictions, models, model)
    if "prob_first" not in frame.columns and {CHOSEN, REJECTED} <= set(frame.columns):
        frame = predictions_from_scores(frame, seed=seed)
    frame = frame.with_row_index(ROW)
    whole = frame
    frame, model, choice = chosen(frame, "model", model, default_model(frame))
    frame, cell, again = chosen(frame, "cell", cell, default_cell(frame))
    choice = [] if others else choice
    data, notes = read_predictions(frame)
    notes += unread(frame, READ | named_in(rows))
    listed = None if users is None else read_table(users, "users")
    attributes, more = attributes_of(listed, data.ids, by)
    attributes = relabelled(attributes, levels or {})
    groups = slices(attributes, len(data.ids), ways)
    state = withheld(groups, disclosure)
    told = left_out(groups, state, (MISSING, NOT_LISTED)) if exclude_missing else state
    sampled = None if design is None else read_design(design, listed, data)
    data = data if sampled is None else weighted(data, sampled)
    counts = None if sampled is None else cluster_counts(sampled, n_bootstrap, seed)
    base = material(data, n_bootstrap, seed) if counts is None else material_of(data, counts, seed)
    plan = Plan(level, seed, disclosure.min_users_show, margin)
    by_bin = withheld_bins(groups, state, _people(groups, base), disclosure)
    by_bin = np.where(told == LEFT_OUT, LEFT_OUT, by_bin)
    together = merged(attributes, groups, state)
    overall, everybody = estimate(base, groups.users(0), plan, diagram=True)
    done: dict[int, Estimate] = {0: overall}
    shown = np.flatnonzero(told == SHOWN)[1:].tolist()
    for s in track(shown, "Auditing slices", disable=not progress, transient=True):
        done[s], _ = estimate(base, groups.users(s), plan, everybody, diagram=bool(groups.order[s] == 1))
    if sampled is not None:
        done = {s: by_design(found, base, groups.users(s), sampled, level) for s, found in done.items()}
    parts = [
        temperatures(data, groups, told, disclosure, level),
        confidence_cells(base, groups, by_bin, disclosure),
        abstention(base, groups, by_bin, plan),
        presented(data, level),
        shared_pairs(data, together, level=level, draws=n_bootstrap, seed=seed),
        None if sampled is None else design_section(base, groups, told, sampled, level),
    ]
    if others:
        beside = {name: other_model(whole, name, cell, data) for name in others}
        parts.append(model_pairs(data, base, str(model), beside, groups, told, plan))
    if reference is not None or pairs:
        parts.append(contrasts(base, groups, told, plan, reference, pairs))
    if rows:
        found, said = row_slices(kept_rows(frame), rows, data, base, attributes, state, by_bin, plan, disclosure)
        parts, more = [*parts, *found], [*more, *said]
    if margins is not None:
        raked = population(base, attributes, shares := read_margins(margins), groups, state, plan)
        more += [] if raked else [_too_thin(shares, disclosure)]
        parts.append(raked)
    if candidates is not None:
        candidates = read_table(candidates, "candidates")
        more += unread(candidates, (*COLUMNS, "deciding"), "candidates")
        withheld_levels = {(groups.attribute[s], groups.level[s]) for s in np.flatnonzero(state != SHOWN)}
        parts += _choosing(candidates, listed, by, disclosure, plan, n_bootstrap, withheld_levels)
    sections = {section.name: section for section in parts if section is not None}
    main = tables.table(groups, told, done, disclosure, margin)
    return Audit(
        table=pl.concat([main, *(section.rows for section in sections.values())]),
        worst=tables.worst(groups, told, done, level, seed),
        users=users_table(data, base, attributes),
        reliability=tables.reliability(groups, by_bin, done),
        lorenz=lorenz_curve(base, plan),
        sections=sections,
        notes=(*choice, *again, *notes, *more, *_remarks(data, base, disclosure)),
        meta={"plurality": plurality.__version__, "model": model, "cell": cell}
        | {"n_users": len(data.ids), "n_comparisons": len(data.p), "attributes": attributes.columns}
        | {"ways": ways, "n_bootstrap": n_bootstrap, "seed": seed, "level": level, "margin": margin}
        | {"served": "the model's own pick" if data.own_pick else "column served_first"},
        disclosure=disclosure,
    )


def _people(groups: Slices, base: Material) -> NDArray[np.int64]:
    """How many users (S, B) of each slice have comparisons in each bin of the diagrams."""
    return np.asarray(groups.membership.T.astype(np.int64) @ (base.sums.mass[:, 0] > 0).astype(np.int64))


def _choosing(
    table: Table,
    users: pl.DataFrame | None,
    by: Sequence[str] | None,
    disclosure: Disclosure,
    plan: Plan,
    draws: int,
    hidden: Collection[tuple[str, str]],
) -> list[Section]:
    """The sections of candidates, by the first attribute; levels withheld here or in the audit are one group."""
    rewards = read_candidates(table)
    attributes, _ = attributes_of(users, rewards.ids, by)
    if not attributes.width:
        raise InputError("candidates: no attribute to group users by; give users= with one, or name it in by=")
    name = attributes.columns[0]
    groups = slices(attributes.select(name), len(rewards.ids), ways=1)
    also = np.array([where in hidden for where in zip(groups.attribute, groups.level, strict=True)])
    level = merged(attributes.select(name), groups, withheld(groups, disclosure, also))[name]
    return choosing(rewards, level, name, level=plan.level, draws=draws, seed=plan.seed)


def _too_thin(margins: Margins, disclosure: Disclosure) -> str:
    return (
        f"Not raked to margins: some cells of {CROSS.join(margins)} hold fewer than {disclosure.min_users_show} "
        "users or are withheld, and a raked mean would give them away; give fewer margins, or merge levels."
    )


def _remarks(data: Predictions, base: Material, disclosure: Disclosure) -> list[str]:
    """What a reader should know of these data before reading the table."""
    said = []
    if len(data.ids) < disclosure.min_users_show:
        said.append(f"There are fewer than {disclosure.min_users_show} users, so that every number here is of so few.")
    if data.own_pick:
        said.append("No served_first: the model's own pick is taken as served, so observed utility is accuracy.")
    infinite = int(base.sums.infinite.sum())
    if infinite:
        said.append(f"Log-loss is infinite in {infinite} rows with prob_first of exactly 0 or 1; give gap.")
    if not np.isin(data.y, [0.0, 1.0]).all():
        said.append("Some labels are ties or soft: null expectations of ECE and Gini, made for 0/1 labels, are high.")
    return said
