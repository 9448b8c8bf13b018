"""The page of a comparison: its tables and none of its predictions; chosen from and drawn in a browser."""

import json
import re

import polars as pl
import pytest

from plurality.evaluation.comparison_frames import METRICS
from plurality.evaluation.comparison_page import html
from plurality.evaluation.comparison_table import Comparison
from tests.analyses.page.test_explorer import frame_of, same, view_named
from tests.browser import chromium, tab

BASE, OWN, POPULATION = "bradley_terry", "<b>pal</b>", "<b>pal</b> · population code"
CELLS = ("seen user, unseen item", "unseen user, unseen item")
WRITTEN = {BASE: "Bradley–Terry", OWN: OWN, POPULATION: POPULATION}


def ends(value, name=""):
    return {f"{name}lo": value - 0.02, f"{name}hi": value + 0.03}


@pytest.fixture(scope="module")
def found():
    """Three lines on two cells, a gain, harm, curves of three sizes, fits; predictions that name people."""
    accuracy = {BASE: 0.6, OWN: 0.7, POPULATION: 0.61}
    rows, curves = [], []
    for model, value in accuracy.items():
        who = {"model": model, "control": model == POPULATION}
        change = {"diff": None, "diff_lo": None, "diff_hi": None}
        if model != BASE:
            change = {"diff": value - 0.6} | ends(value - 0.6, "diff_")
        for k, cell in enumerate(CELLS):
            for metric in METRICS:
                at = {"cell": cell, "metric": metric, "n_users": 50, "n_comparisons": 900}
                level = value - 0.05 * k if metric == "accuracy" else 1 - value
                rows.append(who | at | {"estimate": level, "null_expectation": None} | ends(level) | change)
        for size in (0, 5, 20):
            level = value - 0.1 / (1 + size)
            at = {"support": size, "metric": "accuracy", "n_users": 50, "n_reaching": 50 - size}
            gain = {"gain": None, "gain_lo": None, "gain_hi": None}
            curves.append(who | at | {"estimate": level} | ends(level) | gain)
    gains = [
        {"model": OWN, "cell": cell, "metric": m, "gain": 0.09, "lo": 0.05, "hi": 0.12}
        for cell in CELLS
        for m in ("accuracy", "log_loss")
    ]
    harmed = [
        {
            "model": OWN,
            "cell": cell,
            "n_users": 50,
            "change": -0.1,
            "observed": 0.2,
            "harmed": 0.04,
            "lo": 0.0,
            "hi": 0.1,
            "sd": 0.1,
        }
        for cell in CELLS
    ]
    fits = [
        {"model": m, "fold": 0, "seconds": 1.5, "cpu_seconds": 2.5, "peak_mib": 70.0, "users": 50} for m in (BASE, OWN)
    ]
    about = {
        "split": "item",
        "folds": 1,
        "support": 20,
        "support_draws": 5,
        "baseline": BASE,
        "seed": 0,
        "draws": 100,
        "models": {BASE: "BradleyTerry()", OWN: "PAL()"},
    }
    people = pl.DataFrame({"model": [OWN], "user_id": ["secret-person"], "prob_first": [0.123456789]})
    return Comparison(
        pl.DataFrame(rows, infer_schema_length=None), pl.DataFrame(gains), people, pl.DataFrame(fits), about,
        pl.DataFrame(harmed), pl.DataFrame(curves, infer_schema_length=None),
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(found):
    return html(found, {"fr": {"model": "modèle", "Bradley–Terry": "BT"}})


def test_the_page_holds_the_tables_and_no_predictions(found, page):
    data = json.loads(re.search(r'id="explorer-data">(.*?)</script>', page, re.DOTALL)[1])
    frames = {
        "cells": found.table,
        "gains": found.gains,
        "harmed": found.harmed,
        "curves": found.curves,
        "fits": found.fits,
    }
    assert [view["name"] for view in data["views"]] == list(frames)
    for name, theirs in frames.items():
        mine = frame_of(view_named(data, name))
        assert mine["model"].to_list() == [WRITTEN[model] for model in theirs["model"]]
        for column in {"estimate", "lo", "hi", "diff", "gain", "harmed", "seconds", "n_users"} & set(mine.columns):
            assert all(map(same, mine[column], theirs[column])), (name, column)
    assert "secret-person" not in page
    assert "123456" not in re.sub(r"<script>.*?</script>|sha256-\S+", "", page, flags=re.DOTALL)
    assert "<b>pal" not in page
    for sentence in found.verdict:
        assert sentence.replace(OWN, "&lt;b&gt;pal&lt;/b&gt;").replace("'", "&#39;") in page


def test_a_saved_comparison_has_the_page(found, page, tmp_path):
    assert (
        found.to_html(tmp_path / "one.html", labels={"fr": {"model": "modèle", "Bradley–Terry": "BT"}}).read_text(
            "utf-8"
        )
        == page
    )
    assert "Which model predicts whom" in found.explore()._repr_html_()


def test_a_comparison_of_one_size_has_no_curves(found):
    bare = Comparison(found.table, found.gains.clear(), found.predictions, found.fits, found.about)
    page = html(bare)
    assert 'id="cells"' in page
    assert not any(f'id="{name}"' in page for name in ("gains", "harmed", "curves", "answers"))


def test_a_reader_chooses_cell_and_metric_and_sees_curves(page, tmp_path):
    path = tmp_path / "page.html"
    path.write_bytes(page.encode())
    with chromium() as (browser, _), tab(browser, path.as_uri()) as opened:
        view = opened.locator("#cells")
        assert view.locator(".grid tbody td:first-child").all_inner_texts() == list(WRITTEN.values())
        view.get_by_label("Cell").select_option(CELLS[1])
        assert "0.650 [0.630, 0.680]" in view.locator(".grid tbody tr").nth(1).inner_text()
        view.locator(".chart svg a").nth(1).hover()
        assert view.locator(".said").inner_text().startswith(f"{OWN}: 0.650 [0.630, 0.680] · 50 users")
        curves = opened.locator("#curves")
        assert curves.locator(".chart svg a").count() == 9
        dash = (
            "all => all.map(p => p.getAttribute('stroke-dasharray') || p.parentNode.getAttribute('stroke-dasharray'))"
        )
        assert len(set(curves.locator(".chart svg [aria-label=line] path").evaluate_all(dash))) == 3
        curves.get_by_label("Filter").fill("Bradley")
        assert curves.locator(".chart svg a").count() == 3
        opened.get_by_label("Labels").select_option("fr")
        assert view.locator(".grid tbody td:first-child").first.inner_text() == "BT"
