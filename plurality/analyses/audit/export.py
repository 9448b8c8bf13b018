"""Tables of an audit to take away: CSV and Excel in which no cell is a formula, and LaTeX."""

import io
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
import polars as pl

from plurality.errors import InputError
from plurality.escaping import visible
from plurality.io.atomic import whole_file
from plurality.io.paths import expanded

__all__ = ["write_table"]

FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what a spreadsheet takes for the start of one
TEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
       "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "×": r"$\times$", "−": "$-$"}  # fmt: skip
XML, ROOT = '<?xml version="1.0" encoding="UTF-8"?>', "http://schemas.openxmlformats.org"
TYPE, LINK = "application/vnd.openxmlformats", f"{ROOT}/officeDocument/2006/relationships"
PACKAGE, MAIN = f"{ROOT}/package/2006", f"{ROOT}/spreadsheetml/2006/main"
PARTS = {
    "[Content_Types].xml": f'{XML}<Types xmlns="{PACKAGE}/content-types"><Default Extension="rels" ContentType="{TYPE}-'
    f'package.relationships+xml"/><Default Extension="xml" ContentType="{TYPE}-officedocument.spreadsheetml.sheet.main'
    f'+xml"/><Override PartName="/xl/worksheets/sheet1.xml" ContentType="{TYPE}-officedocument.spreadsheetml.worksheet'
    '+xml"/></Types>',
    "_rels/.rels": f'{XML}<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="r1" '
    f'Type="{LINK}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
    "xl/workbook.xml": f'{XML}<workbook xmlns="{MAIN}" xmlns:r="{LINK}"><sheets><sheet name="audit" sheetId="1" '
    'r:id="r1"/></sheets></workbook>',
    "xl/_rels/workbook.xml.rels": f'{XML}<Relationships xmlns="{PACKAGE}/relationships"><Relationship Id="r1" '
    f'Type="{LINK}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>',
}


def write_table(table: pl.DataFrame, path: str | Path, *, digits: int = 3) -> Path:
    """Write a table as .csv, .xlsx or .tex, by the name's ending; text from outside stays text.

    In CSV a cell of text that a spreadsheet would take for a formula begins with an apostrophe; in Excel text is stored
    as text. Numbers are whole in both; in LaTeX (booktabs) they have `digits` decimals, and null and NaN are dashes.
    Raises InputError for another ending and for columns that hold lists.

    table     any flat table, such as `audit.table` or a section's frame
    path      file to write
    digits    decimals in LaTeX
    """
    path = expanded(path)
    nested = [name for name, kind in table.schema.items() if kind.is_nested()]
    if nested:
        raise InputError(f"{path}: column {nested[0]} holds lists; leave it out")
    kinds = {".csv": _csv, ".xlsx": _xlsx, ".tex": lambda frame: _tex(frame, digits)}
    if path.suffix not in kinds:
        raise InputError(f"{path}: tables are written as {', '.join(kinds)}; give a name that ends so")
    content = kinds[path.suffix](table)
    with whole_file(path) as new:
        new.write_bytes(content)
    return path


def _csv(table: pl.DataFrame) -> bytes:
    text = [name for name, kind in table.schema.items() if kind in (pl.String, pl.Categorical, pl.Enum)]
    risky = r"^[=+\-@\t\r]"
    safe = [
        pl.when(pl.col(c).str.contains(risky)).then(pl.format("'{}", c)).otherwise(pl.col(c)).alias(c) for c in text
    ]
    named = {name: f"'{name}" for name in table.columns if name.startswith(FORMULA)}
    return table.cast(dict.fromkeys(text, pl.String)).with_columns(safe).rename(named).write_csv().encode()


def _xlsx(table: pl.DataFrame) -> bytes:
    def cell(value: object) -> str:
        if value is None or (isinstance(value, float) and not np.isfinite(value)):
            return "<c/>"
        if isinstance(value, bool):
            return f'<c t="b"><v>{int(value)}</v></c>'
        if isinstance(value, int | float):
            return f"<c><v>{value!r}</v></c>"
        return f'<c t="inlineStr"><is><t xml:space="preserve">{escape(visible(str(value)))}</t></is></c>'

    rows = [table.columns, *table.iter_rows()]
    body = "".join(f"<row>{''.join(map(cell, row))}</row>" for row in rows)
    sheet = f'{XML}<worksheet xmlns="{MAIN}"><sheetData>{body}</sheetData></worksheet>'
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as book:
        for name, part in {**PARTS, "xl/worksheets/sheet1.xml": sheet}.items():
            book.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), part, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _tex(table: pl.DataFrame, digits: int) -> bytes:
    def plain(text: str) -> str:
        return "".join(TEX.get(letter, letter) for letter in visible(text))

    def cell(value: object) -> str:
        if value is None or (isinstance(value, float) and np.isnan(value)):
            return "--"
        if isinstance(value, float):
            return f"${value:.{digits}f}$" if np.isfinite(value) else r"$\infty$"
        return plain(str(value))

    sides = "".join("r" if kind.is_numeric() else "l" for kind in table.dtypes)
    lines = [" & ".join(map(cell, row)) + r" \\" for row in table.iter_rows()]
    head = " & ".join(map(plain, table.columns)) + r" \\"
    parts = [
        rf"\begin{{tabular}}{{{sides}}}",
        r"\toprule",
        head,
        r"\midrule",
        *lines,
        r"\bottomrule",
        r"\end{tabular}",
        "",
    ]
    return "\n".join(parts).encode()
