"""Tables that are taken away hold no formula, the JSON keeps its schema, and methods say what was chosen."""

import json
import zipfile
from importlib.resources import files
from xml.etree import ElementTree as ET

import numpy as np
import polars as pl
import pytest

from plurality.analyses.audit.compute import audit
from plurality.analyses.audit.export import write_table
from plurality.errors import InputError

TABLE = pl.DataFrame(
    {
        "level": ["=1+1", "-a", "@x", "a & b_c", None, "plain"],
        "n": [1, 2, 3, 4, 5, 6],
        "estimate": [0.25, None, np.nan, -1.5, np.inf, 2.0],
        "hidden": [True, False, None, True, True, False],
    }
)


def test_csv_has_no_formula(tmp_path):
    back = pl.read_csv(write_table(TABLE.rename({"n": "=n"}), tmp_path / "t.csv"))
    assert back["level"].to_list() == ["'=1+1", "'-a", "'@x", "a & b_c", None, "plain"]
    assert back.columns[1] == "'=n"
    assert back["estimate"].to_list()[3] == -1.5


def test_excel_stores_text_as_text_and_numbers_as_numbers(tmp_path):
    book = zipfile.ZipFile(write_table(TABLE, tmp_path / "t.xlsx"))
    for name in book.namelist():
        ET.fromstring(book.read(name))
    sheet = book.read("xl/worksheets/sheet1.xml").decode()
    assert "<f>" not in sheet
    assert sheet.count('t="inlineStr"') == 4 + 5
    assert "a &amp; b_c" in sheet
    assert "<c><v>0.25</v></c>" in sheet
    assert sheet.count("<row>") == 7
    assert write_table(TABLE, tmp_path / "u.xlsx").read_bytes() == (tmp_path / "t.xlsx").read_bytes()


def test_latex_escapes_and_other_endings_are_errors(tmp_path):
    text = write_table(TABLE, tmp_path / "t.tex", digits=2).read_text()
    assert r"a \& b\_c & 4 & $-1.50$ & True \\" in text
    assert text.startswith(r"\begin{tabular}{lrrl}")
    assert r"@x & 3 & -- & -- \\" in text
    with pytest.raises(InputError, match="ends so"):
        write_table(TABLE, tmp_path / "t.doc")
    with pytest.raises(InputError, match="holds lists"):
        write_table(pl.DataFrame({"a": [[1]]}), tmp_path / "t.csv")


def test_the_json_of_an_audit_keeps_its_schema_and_says_what_was_done(simulate, tmp_path):
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    predictions, users = simulate(users=60, rows=4)
    result = audit(predictions, users, ways=1, n_bootstrap=20, margin=0.04)
    content = json.loads((result.save(tmp_path / "a") / "audit.json").read_text())
    jsonschema.validate(content, json.loads((files("plurality.analyses.audit") / "schema.json").read_text()))
    assert content["methods"] == result.methods
    for choice in ("240 comparisons by 60 people", "20 resamples", "4 points", "fewer than 11", "region, group"):
        assert choice in result.methods
