"""A comparison in a terminal and in a notebook: one block a cell, a line a model, its controls beside it."""

from collections.abc import Iterator
from io import StringIO
from typing import Any

import polars as pl
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from plurality.analyses import wording
from plurality.analyses.audit.labels import CONTROLS, brief, control_of, model_name
from plurality.escaping import markup, visible
from plurality.evaluation.blocks import Block, answer_blocks, curve_blocks, harm_block, short
from plurality.evaluation.comparison_frames import ComparisonFrames

WIDTH, NAME_WIDTH = 80, 18  # a long name is cut, the numbers beside it never
SMALL_ACCURACY, SMALL_NATS = 0.002, 0.002  # differences too small to matter, however sure they are


def as_text(comparison: ComparisonFrames) -> str:
    """Plain text of at most WIDTH columns."""
    stream = StringIO()
    console = Console(  # a notebook would show what is written to the stream, and leave that empty
        file=stream, width=WIDTH, no_color=True, highlight=False, legacy_windows=False, force_jupyter=False
    )
    console.print(_render(comparison))
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip().split("\n"))


def as_html(comparison: ComparisonFrames) -> str:
    """A fragment for notebooks, in the colours of the page around it."""
    parts = [_html_table(title, _head(comparison), rows) for title, rows in _blocks(comparison)]
    parts += [_html_table(*block) for block in _below(comparison)]
    return "".join(parts) + "".join(f"<p>{markup(line)}</p>" for line in notes(comparison))


def _html_table(title: str, names: tuple[str, ...], rows: list[list[str]]) -> str:
    head = "".join(f"<th>{markup(h)}</th>" for h in ("", *names))
    body = "".join("<tr>" + "".join(map(_td, row, range(len(row)))) + "</tr>" for row in rows)
    return f"<p><b>{markup(title)}</b></p><table><tr>{head}</tr>{body}</table>"


def _td(text: str, column: int) -> str:
    return f"<td style='text-align:{'right' if column else 'left'}'>{markup(text)}</td>"


def _render(comparison: ComparisonFrames) -> RenderableType:
    parts: list[RenderableType] = [_text_table(title, _head(comparison), rows) for title, rows in _blocks(comparison)]
    parts += [_text_table(*block) for block in _below(comparison)]
    *said, legend = notes(comparison)
    return Group(*parts, *map(_plain, said), Text(legend))


def notes(comparison: ComparisonFrames) -> list[str]:
    """What is said below the tables: costs, what is left out, what is to be known, and what the words mean."""
    return [_costs(comparison), *_left_out(comparison), *_notes(comparison), _legend(comparison)]


def _head(comparison: ComparisonFrames) -> tuple[str, ...]:
    versus = f"vs {_baseline(comparison)[0]}"
    return "Accuracy", versus, "Nats", versus, "ECE", "Worst⅒", "Pop.", "Other", "Shuf."


def _baseline(comparison: ComparisonFrames) -> tuple[str, str]:
    """What all lines are compared with, in a heading and in a sentence."""
    if comparison.about.get("baseline") == "base":
        return "base", "the base reward alone, which every other line starts from"
    return "BT", "Bradley–Terry"


def _below(comparison: ComparisonFrames) -> Iterator[Block]:
    """The blocks below those of the cells."""
    yield from answer_blocks(comparison.answers, f"vs {_baseline(comparison)[0]}")
    for block in (_gains(comparison.gains), harm_block(comparison.harmed)):
        if block is not None:
            yield block
    yield from curve_blocks(comparison.curves, comparison.about.get("support_draws", 0))


def _plain(words: str) -> Text:
    """Words for a terminal, which they cannot command."""
    return Text(visible(words))


def _text_table(title: str, names: tuple[str, ...], rows: list[list[str]]) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        padding=(0, 0),
        pad_edge=False,
        title=_plain(title),
        title_justify="left",
        min_width=min(WIDTH, len(title) + 1),
    )
    table.add_column("", no_wrap=True, max_width=NAME_WIDTH)
    for name in names:
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(_plain(cell) for cell in row))
    return table


def _costs(comparison: ComparisonFrames) -> str:
    by_model = comparison.fits.group_by("model", maintain_order=True)
    fits = by_model.agg(pl.col("seconds").mean(), pl.col("peak_mib").max())
    costs = "; ".join(f"{model_name(m)} {s:.1f} s, {p:.0f} MiB" for m, s, p in fits.iter_rows())
    return f"Fit time and peak memory: {costs}."


def _left_out(comparison: ComparisonFrames) -> list[str]:
    return [f"Left out: {name}, as {reason}." for name, reason in comparison.about.get("left_out", {}).items()]


def _notes(comparison: ComparisonFrames) -> list[str]:
    """What is to be known of scorers."""
    return [f"{name}: {note}." for name, note in comparison.about.get("notes", {}).items()]


def _gains(gains: pl.DataFrame) -> Block | None:
    """What own codes add to the population's, a line a model and kind of user, on units that are new."""
    new = gains.filter(pl.col("cell").str.contains(", unseen ", literal=True))
    rows = [
        [model_name(str(model)), str(cell).partition(" user")[0], *_change(a, 100, 1), *_change(b, 1, 3), brief_word]
        for (model, cell), a, b, said in _judged(new if new.height else gains)
        for brief_word in [said.partition(" (")[0]]  # the interval stands beside it
    ]
    if not rows:
        return None
    title = "Does it help to know the user? Own codes over the population's code"
    return title, ("users", "points", "95 %", "nats", "95 %", ""), rows


def _change(row: dict[str, Any], scale: float, digits: int) -> tuple[str, str]:
    value, lo, hi = (f"{scale * row[k]:+.{digits}f}" for k in ("gain", "lo", "hi"))
    return value, f"[{lo}, {hi}]"


def verdict(gains: pl.DataFrame) -> list[str]:
    """Own codes against the population's, a sentence a model and cell: gained, lost, or neither shown."""
    said = []
    for (model, cell), accuracy, loss, what in _judged(gains):
        points, of_points = _change(accuracy, 100, 1)
        nats, of_nats = _change(loss, 1, 3)
        own = f"own code over the population's {points} points {of_points}, {nats} nats {of_nats}"
        said.append(f"{model}, {cell}: {own}: {what}.")
    return said


def _judged(gains: pl.DataFrame) -> Iterator[tuple[tuple[object, ...], dict[str, Any], dict[str, Any], str]]:
    """(model, cell), its gain in accuracy and in log-loss, and what that comes to."""
    for key, part in gains.group_by("model", "cell", maintain_order=True):
        by = {row["metric"]: row for row in part.iter_rows(named=True)}
        accuracy, loss = by["accuracy"], by["log_loss"]
        small = abs(accuracy["gain"]) < SMALL_ACCURACY and abs(loss["gain"]) < SMALL_NATS
        changes = [(accuracy["lo"], accuracy["hi"]), (-loss["hi"], -loss["lo"])]  # fewer nats are better
        yield key, accuracy, loss, wording.gain(changes, lambda most: f"{100 * most:.1f} points", small)


def _legend(comparison: ComparisonFrames) -> str:
    about = comparison.about
    harmed = (
        "Harmed: share of users whose log-loss own codes raise over the population's, noise taken off; loss up: share "
        "whose loss went up on these rows, luck included. "
    )
    curves = (
        "By number of answers: on new units, means over draws of which answers, then over users; who has fewer gives "
        "all; * where the interval of the difference to the population's code (Pop.) leaves out 0. "
    )
    answers = (
        "Of answers: top is the share of choices whose best score was chosen; τ and ρ (Kendall, Spearman) are rank "
        "correlations within a person's answer, 0 by chance; nats of a choice, ranking or rating: of a rating with cut "
        "points learned from other people, and the person's shift and scale, which no reward holds, averaged out. "
    )
    brief_baseline, baseline = _baseline(comparison)
    return (
        "Accuracy and nats (log-loss) are means over users, ± half the 95 % interval, which resamples users. "
        f"vs {brief_baseline}: paired difference to {baseline}, * where its interval leaves out 0. ECE: folded "
        "calibration error, * above "
        "what a calibrated model shows. Worst⅒: accuracy of the worst tenth of users. Pop., Other, Shuf.: accuracy of "
        "the same model with the population's code for all users, with another user's, and fitted on shuffled users; "
        "what does not beat them is not personal, and a model without them gave all users one reward. "
        f"{harmed if comparison.harmed.height else ''}"
        f"{curves if comparison.curves.height else ''}{answers if comparison.answers.height else ''}Split by "
        f"{about['split']}, folds: {about['folds']}; unseen users adapted on up to {about['support']} comparisons."
    )


def _blocks(comparison: ComparisonFrames) -> list[tuple[str, list[list[str]]]]:
    blocks = []
    for (cell,), part in comparison.table.group_by("cell", maintain_order=True):
        first = part.row(0, named=True)
        title = f"{str(cell).capitalize()} · {first['n_users']:,} users, {first['n_comparisons']:,} comparisons"
        by_model = {
            str(model): {line["metric"]: line for line in lines.iter_rows(named=True)}
            for (model,), lines in part.group_by("model", maintain_order=True)
        }
        rows = []
        for model, by_metric in by_model.items():
            if control_of(model, by_model) is None:
                beside = [by_model.get(f"{model} · {kind}") for kind in CONTROLS]
                accuracies = ["" if c is None else short(c["accuracy"]["estimate"]) for c in beside]
                rows.append([brief(model), *_numbers(by_metric), *accuracies])
        blocks.append((title, rows))
    return blocks


def _numbers(m: dict[str, dict[str, Any]]) -> list[str]:
    accuracy, loss, ece = m["accuracy"], m["log_loss"], m["ece"]
    above = ece["lo"] is not None and ece["null_expectation"] is not None and ece["lo"] > ece["null_expectation"]
    return [
        f"{short(accuracy['estimate'])} ±{short((accuracy['hi'] - accuracy['lo']) / 2)}",
        _difference(accuracy),
        short(loss["estimate"]),
        _difference(loss),
        short(ece["estimate"]) + ("*" if above else " "),
        short(m["worst_decile"]["estimate"]),
    ]


def _difference(row: dict[str, Any]) -> str:
    if row["diff"] is None:
        return "–"
    said = short(row["diff"], "+")
    sure = (row["diff_lo"] > 0 or row["diff_hi"] < 0) and bool(said.strip("+-.0"))  # of nothing, rounding is sure
    return said + ("*" if sure else " ")
