"""Blocks of a comparison below its cells: whom knowing the user harms, and few-shot curves; and what they come to."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from plurality.analyses import wording
from plurality.analyses.audit.labels import brief, model_name

Block = tuple[str, tuple[str, ...], list[list[str]]]  # title, head, rows

MOST_SIZES = 8  # beside a name and the population's code, in 80 columns
KIND_NAMES = {"pair": "Pairs", "choice": "Choices", "ranking": "Rankings", "thumbs": "Thumbs", "rating": "Ratings"}
MEASURES = {"accuracy": "Accuracy", "top_1": "Top", "kendall": "τ", "spearman": "ρ", "log_loss": "Nats"}
TITLES = {"accuracy": "Accuracy", "log_loss": "Nats"}


def harm_block(harmed: pl.DataFrame) -> Block | None:
    """Whom own codes harm, a line a model and kind of user, on units that are new.

    harmed    as of `harmed_table`
    """
    if not harmed.height:
        return None
    new = harmed.filter(pl.col("cell").str.contains(", unseen ", literal=True))
    rows = [
        [
            model_name(row["model"]),
            row["cell"].partition(" user")[0],
            f"{row['change']:+.3f}",
            percent(row["harmed"]),
            _between(row),
            percent(row["observed"]),
            _harm(row),
        ]
        for row in (new if new.height else harmed).iter_rows(named=True)
    ]
    title = "Whom does it harm? Users whose own code raises their log-loss"
    return title, ("users", "nats", "harmed", "95 %", "loss up", ""), rows


def harm_sentences(harmed: pl.DataFrame) -> Iterator[str]:
    """The share of users harmed, a sentence a model and cell.

    harmed    as of `harmed_table`
    """
    for row in harmed.iter_rows(named=True):
        said = f"{row['model']}, {row['cell']}: own code raises the log-loss of {percent(row['harmed'])} of users "
        said += f"{_between(row)} ({percent(row['observed'])} before noise is taken off): {_harm(row)}"
        if row["lo"] <= 0:
            said += f" (could be up to {percent(row['hi'])})"
        if row["sd"] == 0:
            said += "; no difference between users shown"
        yield f"{said}."


def _harm(row: dict[str, Any]) -> str:
    if np.isnan(row["lo"]):
        return "cannot be told"
    return wording.leaning(row["lo"], row["hi"], "some are harmed", "", "none shown to be harmed")


def _between(row: dict[str, Any]) -> str:
    return f"[{percent(row['lo'])}, {percent(row['hi'])}]".replace(" %,", ",")


def percent(share: float) -> str:
    """A share in percent, a dash where it is unknown; what is not 0 is not shown as 0.

    share    in [0, 1]
    """
    if np.isnan(share):
        return "–"
    whole = f"{100 * share:.0f}"
    return f"{whole} %" if whole != "0" or share == 0 else "<1 %"


def curve_blocks(curves: pl.DataFrame, draws: int) -> Iterator[Block]:
    """Few-shot curves, a block a metric, a line a model, a column a size.

    curves    as of `curve_table`
    draws     of each user's answers
    """
    if not curves.height:
        return
    sizes = curves["support"].unique(maintain_order=True).to_list()
    if len(sizes) > MOST_SIZES:
        sizes = [sizes[i] for i in np.unique(np.linspace(0, len(sizes) - 1, MOST_SIZES).round().astype(int))]
    shown = curves.filter(pl.col("support").is_in(sizes))
    for metric, title in TITLES.items():
        part = shown.filter(pl.col("metric") == metric)
        about = part.filter(pl.col("model") == part["model"][0])
        rows = []
        for (model,), line in part.group_by("model", maintain_order=True):
            if line["control"][0] and line["gain"].is_null().all() and not str(model).startswith("bradley_terry"):
                continue  # the population's code has a column
            shared = line["estimate"][0] - line["gain"][0] if line["gain"][0] is not None else None
            values = [short(row["estimate"]) + _star(row) for row in line.iter_rows(named=True)]
            rows.append([brief(str(model)), *values, "" if shared is None else short(shared)])
        rows.append(["users with so many", *(f"{n:,} " for n in about["n_reaching"]), ""])
        head = f"{title} by number of answers · {about['n_users'][0]:,} unseen users, {draws} draws"
        yield head, (*(f"{size:,} " for size in sizes), "Pop."), rows


def answer_blocks(answers: pl.DataFrame, versus: str) -> Iterator[Block]:
    """Measures of whole answers on units that are new, a block a kind and cell, a line a model.

    answers    as of `tabulate_answers`
    versus     heading of the differences to the baseline
    """
    if not answers.height:
        return
    new = answers.filter(pl.col("cell").str.contains(", unseen ", literal=True))
    own = (new if new.height else answers).filter(~pl.col("control"))
    for (cell, kind), part in own.group_by("cell", "answer_kind", maintain_order=True):
        first = part.row(0, named=True)
        metrics = part["metric"].unique(maintain_order=True).to_list()
        rows = []
        for (model,), line in part.group_by("model", maintain_order=True):
            numbers = []
            for row in line.iter_rows(named=True):
                change = "–" if row["diff"] is None else short(row["diff"], "+") + _beyond(row)
                numbers += [f"{short(row['estimate'])} ±{short((row['hi'] - row['lo']) / 2)}", change]
            rows.append([brief(str(model)), *numbers])
        title = f"{KIND_NAMES[str(kind)]} · {cell} · {first['n_users']:,} users, {first['n_answers']:,} {kind}s"
        head = [name for metric in metrics for name in (MEASURES[metric], versus)]
        yield title.replace("thumbss", "thumbs"), tuple(head), rows


def _beyond(row: dict[str, Any]) -> str:
    return "*" if row["diff_lo"] > 0 or row["diff_hi"] < 0 else " "


def _star(row: dict[str, Any]) -> str:
    known = row["gain"] is not None
    return "*" if known and wording.direction(row["gain_lo"], row["gain_hi"]) else " "


def short(value: float, sign: str = "-") -> str:
    """Three decimals without the leading zero, as such tables are printed; a dash for what is not known.

    value    number
    sign     "+" to write it before what is not negative too
    """
    if value != value:
        return "–"
    text = f"{value:{sign}.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text
