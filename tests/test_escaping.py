"""A name that is code stays a name: in HTML, in SVG and in a terminal."""

from html.parser import HTMLParser
from xml.etree import ElementTree as ET

import numpy as np
import polars as pl
import pytest

import plurality as pl8
from plurality.analyses.figures import as_bytes
from plurality.escaping import markup, visible

NAME = "<script>alert(1)</script>\x1b[31m\x01\u202e$x_$ -- ]]>"


class Tags(HTMLParser):
    """Collects the tags of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)


def harmless(text):
    return not any((ord(c) < 32 and c not in "\n\t") or c == "\u202e" for c in text)


@pytest.fixture(scope="module")
def named():
    rng = np.random.default_rng(0)
    ids = [f"u{k}" for k in range(60)]
    predictions = {"user_id": ids * 4, "prob_first": rng.uniform(0.1, 0.9, 240), "label": rng.integers(0, 2, 240)}
    users = {"user_id": ids, NAME: ["a" + NAME] * 30 + ["b"] * 30}
    cube = {"user_id": np.repeat(ids, 6), "prompt": np.tile(np.repeat([0, 1], 3), 60), "candidate": [0, 1, 2] * 120}
    return pl8.audit(predictions, users, candidates=cube | {"reward": rng.normal(size=360)}, n_bootstrap=20,
                     margins={NAME: {"a" + NAME: 0.4, "b": 0.6}})  # fmt: skip


def test_control_characters_are_written_out():
    assert visible("a\x1b[31m\x00\u202eé\n\t") == "a\\x1b[31m\\x00\\u202eé\n\t"
    assert visible("\ud800") == "\\ud800"
    assert markup("<a href='\x07'>&") == "&lt;a href=&#x27;\\x07&#x27;&gt;&amp;"


def test_html_runs_nothing(named, tmp_path):
    data = pl8.read({"user_id": ["a", "b"], "prompt": ["x", "y"], "chosen": [0, 2], "rejected": [1, 3]},
                    users={"user_id": ["a", "b"], NAME: [1, 2]}, embeddings=np.eye(4))  # fmt: skip
    assert "script" not in Tags(data._repr_html_()).tags
    assert "script" not in Tags(named._repr_html_()).tags
    page = named.to_html(tmp_path / "page.html").read_text()
    assert Tags(page).tags.count("script") == 5  # the page's own: its data, three libraries, and what uses them
    assert page.count("<script>") == 4
    assert page.count('<script type="application/json"') == 1
    for text in (data._repr_html_(), named._repr_html_(), page):
        assert harmless(text)


def test_figures_are_xml(named):
    for name, figure in named.figures().items():
        ET.fromstring(as_bytes(figure, "svg"))
        assert as_bytes(figure, "png"), name


def test_a_terminal_is_told_and_not_commanded(named, capsys, tmp_path):
    assert harmless(str(named))
    assert harmless(named.summary())
    from plurality.cli import main

    pl.DataFrame({"user_id": ["a"], NAME: [1]}).write_parquet(tmp_path / "p.parquet")
    assert main(["audit", str(tmp_path / "p.parquet"), "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "\\x1b[31m" in said
    assert harmless(said)
