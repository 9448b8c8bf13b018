"""The part of a page that its reader works with: data, scripts and the policy under which they run."""

import json
import math
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from hashlib import sha256
from importlib.resources import files
from typing import Any

import jinja2
import polars as pl

from plurality.analyses.audit.slices import CROSS
from plurality.analyses.page.view import View, written
from plurality.errors import InputError
from plurality.escaping import in_script, markup, visible

SCRIPTS = ("vendored/d3.min.js", "vendored/plot.min.js", "vendored/datatables.min.js", "explore.js")
MOST_ROWS = 6000  # of a table that stands in the page for readers without JavaScript
VERSIONS = ("model", "cell")  # what a row that is followed keeps, where both tables have it
Labels = Mapping[str, Mapping[str, str]]


def checked_labels(labels: Labels) -> Labels:
    """The labels. Raises InputError for a language that has no mapping of words.

    labels    {language: {word: label}}
    """
    for language, words in labels.items():
        if not isinstance(words, Mapping) or not all(isinstance(w, str) for pair in words.items() for w in pair):
            raise InputError(
                f"labels: {language!r} is no mapping of words to labels; give {{'de': {{'age': 'Alter'}}}}"
            )
    return labels


@dataclass(frozen=True)
class Explorer:
    """Views with all that a page needs to show them.

    views     tables, in the order in which they stand
    labels    {language as in BCP 47, such as "de": {word of the page: what it is called there}}
    """

    views: Sequence[View]
    labels: Labels

    def __post_init__(self) -> None:
        checked_labels(self.labels)

    @cached_property
    def data(self) -> str:
        """What the page's script reads, as JSON that ends no script."""
        labels = {tag: dict(words) for tag, words in self.labels.items()}
        about = {"views": [_about(view) for view in self.views], "labels": labels, "cross": CROSS, "versions": VERSIONS}
        return in_script(json.dumps(_all_visible(about), ensure_ascii=False, allow_nan=False, separators=(",", ":")))

    @property
    def scripts(self) -> list[str]:
        """Libraries and what uses them."""
        return [script(name) for name in SCRIPTS]

    @property
    def policy(self) -> str:
        """What a browser lets the page do: run these scripts, show its own figures, nothing else."""
        sums = (b64encode(sha256(text.encode()).digest()).decode() for text in self.scripts)
        allowed = " ".join(f"'sha256-{one}'" for one in sums)
        return (
            f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
            "form-action 'none'"
        )


def render(name: str, explorer: Explorer, content: Mapping[str, Any]) -> str:
    """The page of a template that extends analyses/page/base.html.jinja.

    name        of the template, from the package's root
    explorer    what a reader works with
    content     what else the template shows
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("plurality", ""), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, finalize=_shown,
    )  # fmt: skip
    return environment.get_template(name).render(
        explorer=explorer, lines=lines, heads=heads, first_version=first_version, **content
    )


@dataclass(frozen=True, repr=False)
class Displayed:
    """A page inside a notebook, in a frame from which it sees and changes nothing of the notebook.

    page     whole HTML
    title    what it is, for readers who do not see it
    """

    page: str
    title: str
    height: int = 900

    def __repr__(self) -> str:
        return f"<{self.title} of {len(self.page) / 1e6:.1f} MB to explore in a notebook; `to_html` writes a file>"

    def _repr_html_(self) -> str:
        return (
            f'<iframe sandbox="allow-scripts" title="{markup(self.title)}" srcdoc="{markup(self.page)}" '
            f'style="width:100%;height:{self.height}px;border:1px solid #8888"></iframe>'
        )


@cache
def script(name: str) -> str:
    """The text of a script beside this file."""
    return (files("plurality.analyses.page") / name).read_text("utf-8")


def _shown(value: object) -> object:
    """What a template writes, with control characters of text from outside written out."""
    return visible(value) if type(value) is str else value


def first_version(view: View) -> pl.DataFrame:
    """The rows that stand in the page for readers without JavaScript: of its first model and cell, at most MOST_ROWS.

    view    its view
    """
    chosen = [choice.name for choice in view.choices if choice.name in VERSIONS]
    return view.frame.filter(*(pl.col(name) == view.frame[name].first() for name in chosen)).head(MOST_ROWS)


def heads(view: View) -> list[str]:
    """What stands above the columns of a table without JavaScript.

    view    its view
    """
    return [*(choice.head for choice in view.choices), *(column.head for column in view.columns)]


def lines(view: View) -> Iterator[list[str]]:
    """The rows of a table without JavaScript.

    view    its view
    """
    decimals = view.decimals()
    for row in first_version(view).iter_rows(named=True):
        places = decimals[str(row[view.unit_by]) if view.unit_by else ""]
        cells = [written(row[choice.name], "text") for choice in view.choices]
        for column in view.columns:
            text = written(row[column.name], column.kind, places)
            if column.low and row[column.low] is not None and not math.isnan(row[column.low]):
                text += f" [{', '.join(written(row[end], column.kind, places) for end in (column.low, column.high))}]"
            cells.append(text)
        yield cells


def _all_visible(value: Any) -> Any:
    """The same with control characters of all its text written out, so that a name is the same wherever it stands."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, Mapping):
        return {visible(key): _all_visible(one) for key, one in value.items()}
    return [_all_visible(one) for one in value] if isinstance(value, list | tuple) else value


def _about(view: View) -> dict[str, Any]:
    told = ("name", "title", "line", "unit_by", "mark", "marks", "reference", "zero", "follow", "parts")
    return {name: getattr(view, name) for name in told} | {
        "value": asdict(view.value),
        "along": asdict(view.along) if view.along else None,
        "columns": [asdict(column) for column in view.columns],
        "choices": [asdict(choice) for choice in view.choices],
        "units": dict(view.units),
        "decimals": view.decimals(),
        "height": view.frame.height,
        "data": {name: _packed(view.frame[name]) for name in view.used},
    }


def _packed(series: pl.Series) -> Any:
    """Numbers to six digits, NaN as null; text as different words and which of them each row has."""
    if series.dtype.is_numeric():
        return [_number(value) for value in series.to_list()]
    if series.dtype == pl.List:
        words = series.explode().drop_nulls().unique(maintain_order=True).to_list()
        place = {word: k for k, word in enumerate(words)}
        codes: list[Any] = [[place[word] for word in row or ()] for row in series.to_list()]
    else:
        words = series.cast(pl.String).drop_nulls().unique(maintain_order=True).to_list()
        place = {word: k for k, word in enumerate(words)}
        codes = [place.get(word, -1) for word in series.cast(pl.String).to_list()]
    return {"words": words, "codes": codes}


def _number(value: float | None) -> float | str | None:
    if value is None or math.isnan(value):
        return None
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"  # JSON has no number for it
    return value if isinstance(value, int) else float(f"{value:.6g}")
