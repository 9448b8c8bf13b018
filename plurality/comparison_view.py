"""A comparison in a terminal and in a notebook: one block a cell, a line a model, controls indented."""

from html import escape
from io import StringIO
from typing import TYPE_CHECKING, Any

import polars as pl
from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from plurality.comparison import Comparison

HEAD = ("Accuracy", "vs BT", "Nats", "vs BT", "Brier", "ECE (null)", "Worst⅒")
WIDTH, NAME_WIDTH = 80, 22  # a long name is cut, the numbers beside it never
SMALL_ACCURACY, SMALL_NATS = 0.002, 0.002  # differences that nobody would notice, however sure they are


def as_text(comparison: "Comparison") -> str:
    """Plain text of at most WIDTH columns."""
    stream = StringIO()
    Console(file=stream, width=WIDTH, no_color=True, highlight=False, legacy_windows=False).print(_render(comparison))
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip().split("\n"))


def as_html(comparison: "Comparison") -> str:
    """A fragment for notebooks, in the colours of the page around it."""
    parts = []
    for title, rows in _blocks(comparison):
        head = "".join(f"<th>{escape(h)}</th>" for h in ("", *HEAD))
        body = "".join("<tr>" + "".join(map(_td, row, range(len(row)))) + "</tr>" for row in rows)
        parts.append(f"<p><b>{escape(title)}</b></p><table><tr>{head}</tr>{body}</table>")
    said = "".join(f"<li>{escape(line)}</li>" for line in comparison.verdict)
    return "".join(parts) + f"<ul>{said}</ul><p>{escape(_legend(comparison))}</p>"


def _td(text: str, column: int) -> str:
    return f"<td style='text-align:{'right' if column else 'left'}'>{escape(text)}</td>"


def _render(comparison: "Comparison") -> RenderableType:
    parts: list[RenderableType] = []
    for title, rows in _blocks(comparison):
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 0), pad_edge=False, title=title, title_justify="left")
        table.add_column("", no_wrap=True, max_width=NAME_WIDTH)
        for name in HEAD:
            table.add_column(name, justify="right", no_wrap=True)
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        parts.append(table)
    by_model = comparison.fits.group_by("model", maintain_order=True)
    fits = by_model.agg(pl.col("seconds").mean(), pl.col("peak_mib").max())
    costs = "; ".join(f"{m} {s:.1f} s, {p:.0f} MiB" for m, s, p in fits.iter_rows())
    said = [Text(f"• {line}") for line in comparison.verdict]
    if said:
        parts += [Text("Does it help to know the user?", style="bold"), *said, Text()]
    return Group(*parts, Text(f"Fit time and peak memory: {costs}."), Text(_legend(comparison)))


def verdict(gains: pl.DataFrame) -> list[str]:
    """Own codes against the population's, a sentence a model and cell: gained, lost, or nothing either way."""
    said = []
    for (model, cell), part in gains.group_by("model", "cell", maintain_order=True):
        by = {row["metric"]: row for row in part.iter_rows(named=True)}
        accuracy, loss = by["accuracy"], by["log_loss"]
        better = accuracy["lo"] > 0 or loss["hi"] < 0
        worse = accuracy["hi"] < 0 or loss["lo"] > 0
        small = abs(accuracy["gain"]) < SMALL_ACCURACY and abs(loss["gain"]) < SMALL_NATS
        what = "nothing gained" if better == worse or small else "a gain" if better else "a loss"
        said.append(
            f"{model}, {cell}: own code over the population's {100 * accuracy['gain']:+.1f} points "
            f"[{100 * accuracy['lo']:+.1f}, {100 * accuracy['hi']:+.1f}], {loss['gain']:+.3f} nats "
            f"[{loss['lo']:+.3f}, {loss['hi']:+.3f}]: {what}."
        )
    return said


def _legend(comparison: "Comparison") -> str:
    about = comparison.about
    return (
        "Accuracy and nats (log-loss) are means over users, ± half the 95 % interval, which resamples users. vs BT: "
        "paired difference to Bradley–Terry, * where its interval leaves out 0. ECE: folded calibration error, and "
        "what a calibrated model would show. Worst⅒: accuracy of the worst tenth of users. Split by "
        f"{about['split']}, folds: {about['folds']}; unseen users adapted on up to {about['support']} comparisons."
    )


def _blocks(comparison: "Comparison") -> list[tuple[str, list[list[str]]]]:
    blocks = []
    for (cell,), part in comparison.table.group_by("cell", maintain_order=True):
        first = part.row(0, named=True)
        title = f"{str(cell).capitalize()} · {first['n_users']:,} users, {first['n_comparisons']:,} comparisons"
        rows = []
        for (model,), lines in part.group_by("model", maintain_order=True):
            by_metric = {line["metric"]: line for line in lines.iter_rows(named=True)}
            rows.append([_name(str(model), by_metric["accuracy"]["control"]), *_numbers(by_metric)])
        blocks.append((title, rows))
    return blocks


def _name(model: str, control: bool) -> str:
    return f"  {model.rpartition(' · ')[2]}" if control else model


def _numbers(m: dict[str, dict[str, Any]]) -> list[str]:
    accuracy, loss, ece = m["accuracy"], m["log_loss"], m["ece"]
    return [
        f"{_short(accuracy['estimate'])} ±{_short((accuracy['hi'] - accuracy['lo']) / 2)}",
        _difference(accuracy),
        _short(loss["estimate"]),
        _difference(loss),
        _short(m["brier"]["estimate"]),
        f"{_short(ece['estimate'])} ({_short(ece['null_expectation'])})",
        _short(m["worst_decile"]["estimate"]),
    ]


def _short(value: float, sign: str = "-") -> str:
    """Three decimals without the leading zero, as such tables are printed; a dash for what is not known."""
    if value != value:
        return "–"
    text = f"{value:{sign}.3f}"
    return text.replace("0.", ".", 1) if abs(value) < 1 else text


def _difference(row: dict[str, Any]) -> str:
    if row["diff"] is None:
        return "–"
    star = "*" if row["diff_lo"] > 0 or row["diff_hi"] < 0 else " "
    return _short(row["diff"], "+") + star
