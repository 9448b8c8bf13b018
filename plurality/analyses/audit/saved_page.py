"""One page of several audits that were saved, made of the files that they published."""

from collections.abc import Sequence
from pathlib import Path

import plurality
from plurality.analyses.audit.difference import read_saved
from plurality.analyses.audit.page_views import Published, views_of
from plurality.analyses.inputs import read_table
from plurality.analyses.page.explorer import Explorer, Labels, render
from plurality.errors import InputError
from plurality.io.atomic import whole_file
from plurality.io.paths import expanded

__all__ = ["audit_page"]


def audit_page(folders: Sequence[str | Path], path: str | Path, *, labels: Labels | None = None) -> Path:
    """Write one self-contained page on which a reader chooses between saved audits, by model and cell.

    It holds what these folders publish. Audits of one model and cell are told apart by the names of their folders.
    Raises InputError for a folder in which no audit is.

    folders    that `plurality audit --out` or `Audit.save` wrote
    path       file to write
    labels     {language as in BCP 47, "de": {word of the page: label}}
    """
    if isinstance(folders, str | Path) or not folders:
        raise InputError("audit_page: give a list of folders that `audit --out` or Audit.save wrote")
    audits, said = list[Published](), list[tuple[str, list[str]]]()
    for folder in folders:
        table, about = read_saved(folder)
        model, cell = about.get("model"), about.get("cell")
        if any((one.model, one.cell) == (model, cell) for one in audits):
            model = f"{model or 'the model'} ({folder})"
        sections = sorted((expanded(folder) / "sections").glob("*.parquet"))
        tables = {one.stem: read_table(one, "audit") for one in sections}
        audits.append(Published(model, cell, {"table": table} | tables))
        title = " · ".join(part for part in (model or "the model", cell) if part)
        said.append((title, [*about.get("verdict", ()), *about.get("notes", ())]))
    explorer, path = Explorer(views_of(audits), labels or {}), expanded(path)
    content = {"said": said, "version": plurality.__version__}
    with whole_file(path) as new:
        new.write_bytes(render("analyses/audit/saved_page.html.jinja", explorer, content).encode())
    return path
