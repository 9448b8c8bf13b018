"""What a page holds: the published tables and nothing withheld, escaped, under a policy that lets nothing else run."""

import json
import re
import tomllib
from base64 import b64encode
from hashlib import sha256
from html import unescape
from importlib.resources import files

import polars as pl
import pytest

from plurality.analyses.audit.metrics import ALL_METRICS
from plurality.analyses.page.explorer import Displayed, Explorer
from plurality.analyses.page.view import Choice, Column, View, written
from plurality.errors import InputError
from plurality.escaping import in_script, visible
from tests.analyses.page.conftest import EVIL, NASTY

ROOM = files("plurality.analyses.page")
TITLES = {metric.key: metric.title for metric in ALL_METRICS}


def frame_of(view):
    """The rows of a view as the page has them."""
    columns = {}
    for name, packed in view["data"].items():
        if isinstance(packed, list):
            columns[name] = [float(v) if isinstance(v, str) else v for v in packed]
        else:
            words = packed["words"]
            columns[name] = [
                [words[c] for c in code] if isinstance(code, list) else None if code < 0 else words[code]
                for code in packed["codes"]
            ]
    return pl.DataFrame(columns, strict=False)


def same(mine, theirs):
    """Whether numbers agree to six digits, and what is not known is known to neither."""
    known = theirs is not None and theirs == theirs
    return (mine is None) == (not known) and (not known or mine == pytest.approx(theirs, rel=1e-5, abs=1e-12))


def view_named(data, name):
    return next(view for view in data["views"] if view["name"] == name)


def test_the_page_holds_the_tidy_tables_and_nothing_withheld(data, audits):
    mine = frame_of(view_named(data, "slices"))
    shown = pl.concat(
        [a.table.filter(~pl.col("suppressed")).with_columns(model=pl.lit(a.meta["model"])) for a in audits]
    )
    assert mine.height == shown.height < sum(a.table.height for a in audits)
    assert mine["model"].to_list() == shown["model"].to_list()
    for ours, row in zip(mine.iter_rows(named=True), shown.iter_rows(named=True), strict=True):
        assert (ours["attribute"], ours["level"]) == (row["attribute"], visible(row["level"]))
        assert ours["metric"] == TITLES[row["metric"], row["provenance"]]
        for name in (
            "n_users",
            "n_comparisons",
            "estimate",
            "lo",
            "hi",
            "diff_vs_ref",
            "p",
            "q",
            "shrunk",
            "detectable",
        ):
            assert same(ours[name], row[name]), name


def test_no_number_of_a_withheld_slice_is_anywhere_in_the_page(data, audits):
    hidden = audits[0].table.filter("suppressed", metric="accuracy").select("attribute", "level")
    assert hidden.height > 3
    secret = {(a, visible(b)) for a, b in hidden.iter_rows()}
    for view in data["views"]:
        frame = frame_of(view)
        if "level" in frame.columns and "attribute" in frame.columns:
            assert secret & set(frame.select("attribute", "level").iter_rows()) == set(), view["name"]
        if "n_users" in frame.columns:
            assert frame["n_users"].min() >= audits[0].disclosure.min_users_show
        if "suppressed" in frame.columns or "user_id" in frame.columns:
            pytest.fail(f"{view['name']} has columns of people or of what is withheld")


def test_every_view_is_one_of_a_published_table(data, audits):
    published = {"slices": audits[0].table, "bins": audits[0].reliability}
    published |= {name: section.frame for name, section in audits[0].sections.items()}
    assert {view["name"] for view in data["views"]} == {"slices", "rows_topic", "models", "contrasts", "bins"}
    for view in data["views"]:
        numbers = {name for name, packed in view["data"].items() if isinstance(packed, list)}
        assert numbers <= set(published[view["name"]].columns), view["name"]


def test_a_combination_leads_to_its_parts(data, audits):
    frame = frame_of(view_named(data, "slices"))
    crossed = frame.filter(pl.col("parts").list.len() > 0)
    assert crossed.height
    for attribute, level, parts in crossed.select("attribute", "level", "parts").unique().iter_rows():
        names, levels = zip(*(part.split("\t") for part in parts), strict=True)
        assert " × ".join(names) == attribute
        assert " × ".join(f"“{one}”" if " × " in one else one for one in levels) == level


def test_text_from_outside_stays_text(page, data):
    assert page.count("<script") == 5 + 2  # ours and two words in the table library's code
    assert page.count("</script") == 5
    assert "\x00" not in page
    assert "\u202e" not in page
    levels = view_named(data, "slices")["data"]["level"]["words"]
    assert NASTY in levels
    assert visible(EVIL) in levels


def test_only_the_page_s_own_scripts_may_run(page):
    policy = unescape(re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1])
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    scripts = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    sums = [f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" for script in scripts]
    assert rules["script-src"].split() == sums
    assert len(sums) == 4
    assert not re.search(r"\son\w+=", re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))


@pytest.mark.parametrize("name", ["d3", "plot", "datatables"])
def test_libraries_are_as_they_were_published(name):
    source = tomllib.loads((ROOM / "vendored" / "sources.toml").read_text("utf-8"))[name]
    text = (ROOM / "vendored" / source["file"]).read_bytes()
    assert sha256(text).hexdigest() == source["sha256"]
    assert b"\r" not in text  # a browser would read another text than the policy's sum is of
    assert b"</script" not in text
    assert b"<!--" not in text
    version = source["package"].rpartition("@")[2]
    assert version.encode() in text[:200]
    assert "ermi" in (ROOM / "vendored" / f"{name}.LICENSE.txt").read_text("utf-8")  # "Permission" is hereby granted


def test_json_cannot_end_its_script():
    text = json.dumps({"a": "</script><!--<script>\u2028\u2029&"}, ensure_ascii=False)
    safe = in_script(text)
    assert json.loads(safe) == json.loads(text)
    assert not re.search("[<>&\u2028\u2029]", safe)


def small(frame, **more):
    return View(
        "v",
        "V",
        "",
        frame,
        (Choice("metric", "Metric"),),
        "name",
        Column("x", "x"),
        (Column("name", "n", "text"),),
        "metric",
        **more,
    )


def test_infinity_and_nothing_known_stay_what_they_are():
    frame = pl.DataFrame(
        {"metric": ["a"] * 4, "name": list("abcd"), "x": [float("inf"), -float("inf"), float("nan"), None]}
    )
    packed = json.loads(Explorer([small(frame)], {}).data)["views"][0]["data"]["x"]
    assert [None if v is None else float(v) for v in packed] == [float("inf"), -float("inf"), None, None]


def test_decimals_go_by_the_size_of_a_unit_s_numbers():
    frame = pl.DataFrame(
        {
            "metric": ["share", "share", "sigma", "tiny", "none"],
            "name": list("abcde"),
            "x": [0.61, 0.5, 12.3, 0.00123, None],
        }
    )
    assert small(frame).decimals() == {"share": 3, "sigma": 1, "tiny": 5, "none": 3}


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (0.12345, "number", "0.123"),
        (-0.0001, "number", "0.000"),
        (0.12, "signed", "+0.120"),
        (-0.12, "signed", "−0.120"),
        (1234567, "count", "1,234,567"),
        (0.0004, "p", "<0.001"),
        (None, "number", "–"),
        (float("nan"), "number", "–"),
        (None, "text", ""),
        (float("inf"), "number", "∞"),
        ("a", "text", "a"),
    ],
)
def test_numbers_are_written_as_tables_do(value, kind, text):
    assert written(value, kind) == text


@pytest.mark.parametrize("labels", [{"de": "Alter"}, {"de": {"age": 3}}])
def test_labels_that_are_no_mapping_raise(labels):
    with pytest.raises(InputError, match="labels: 'de' is no mapping of words"):
        Explorer([], labels)


def test_a_notebook_shows_the_page_in_a_frame_that_is_kept_apart(page):
    shown = Displayed(page, "Audit")._repr_html_()
    assert shown.startswith('<iframe sandbox="allow-scripts"')
    assert unescape(re.search(r'srcdoc="([^"]*)"', shown)[1]) == page


def luminance(colour):
    """Relative luminance of #rrggbb, as WCAG 2 defines it."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_marks_and_words_stand_out_on_light_and_dark_paper():
    inks = re.findall(r"#[0-9a-f]{6}", re.search(r"COLOURS = \[(.*?)\]", (ROOM / "explore.js").read_text("utf-8"))[1])
    themes = re.findall(
        r":root \{ color-scheme: [^}]*\}|  :root \{ --ink[^}]*\}", (ROOM / "page.css").read_text("utf-8")
    )
    assert (len(inks), len(themes)) == (9, 3)  # light, dark, print
    for theme in themes[:2]:
        named = dict(re.findall(r"--(\w+): (#\w+)", theme))
        paper = luminance("#ffffff" if named["paper"] == "#fff" else named["paper"])

        def contrast(colour, paper=paper):
            light, dark = sorted((luminance(colour), paper), reverse=True)
            return (light + 0.05) / (dark + 0.05)

        assert min(map(contrast, inks)) >= 3  # of graphics, WCAG 1.4.11
        assert min(contrast(named[word]) for word in ("ink", "muted", "mark")) >= 4.5  # of words, 1.4.3
        assert contrast(named["edge"]) >= 3
