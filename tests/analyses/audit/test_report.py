"""The page of an audit: whole, offline, escaped."""

import re
from html import unescape
from html.parser import HTMLParser

import polars as pl
import pytest

from plurality.analyses.audit.compute import audit
from plurality.analyses.audit.report import html
from plurality.analyses.figures import as_bytes


class Page(HTMLParser):
    """Tags that stay open, every reference, and the text."""

    VOID = ("meta", "img", "br", "link", "input")

    def __init__(self, text):
        super().__init__()
        self.open, self.references, self.text, self.tags = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.references += [value for name, value in attrs if name in ("src", "href", "srcset", "action", "data")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def result(planted):
    predictions, people = planted
    nasty = pl.when(pl.col("region") == "south").then(pl.lit("<script>alert('x')</script> & co")).otherwise("region")
    few = pl.when(pl.int_range(pl.len()) < 4).then(pl.lit("<b>rare</b>")).otherwise("group")
    model = pl.lit("<i>pal</i>")
    return audit(predictions.with_columns(model=model), people.with_columns(region=nasty, group=few), n_bootstrap=100)


@pytest.fixture(scope="module")
def page(result):
    return html(result, {name: as_bytes(drawn, "svg") for name, drawn in result.figures().items()})


def test_the_page_is_well_formed_and_asks_nothing_of_the_network(page, result):
    parsed = Page(page)
    assert parsed.open == []
    pictures = [reference for reference in parsed.references if reference != "#main"]
    assert len(pictures) == 3 + len(result.sections) == 6
    assert all(reference.startswith("data:image/svg+xml;base64,") for reference in pictures)
    own = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)  # libraries name namespaces; the policy binds them
    assert page.count("<script>") == 4
    assert not re.search(r"https?://|//\w+\.|@import|url\(", own)
    assert "default-src 'none'" in unescape(page)


def test_names_are_escaped(page):
    assert "<script>alert" not in page
    assert "<b>rare" not in page
    assert "<i>pal" not in page
    text = "".join(Page(page).text)
    assert "<script>alert('x')</script> & co" in text
    assert "<i>pal</i>" in text


def test_the_verdict_comes_first_and_withheld_groups_are_named(page, result):
    text = "".join(Page(page).text)
    assert text.index(result.verdict[0]) < text.index("Every slice") < text.index("<b>rare</b>")
    for sentence in result.verdict:
        assert sentence in text
    hidden = result.table.filter("suppressed").unique(["attribute", "level"])
    assert hidden.height
    for level in hidden["level"]:
        assert level in text


def test_every_shown_row_stands_in_the_page_without_javascript(page, result):
    shown = result.table.filter(~pl.col("suppressed"))
    table = re.findall(r"<noscript>.*?</noscript>", page, flags=re.DOTALL)[0]
    assert table.count("<tr>") == shown.height + 1
    assert not re.search(r">(nan|None|inf)<", table)


def test_to_html_writes_the_page(result, page, tmp_path):
    path = result.to_html(tmp_path / "page.html")
    assert path.read_text("utf-8") == page
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_the_notebook_fragment_is_escaped_and_well_formed(result):
    fragment = result._repr_html_()
    assert Page(fragment).open == []
    assert "<script>" not in fragment
    assert "<i>pal" not in fragment
    assert "Kuiper ratio" in fragment
