"""The page in a browser without a network: what a reader does, by mouse and by keyboard alone."""

import polars as pl
import pytest

from tests.analyses.page.conftest import NASTY
from tests.browser import chromium, tab


@pytest.fixture(scope="module")
def started():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def browser(started):
    return started[0]


@pytest.fixture(scope="module")
def expect(started):
    return started[1]


@pytest.fixture(scope="module")
def address(page, tmp_path_factory):
    path = tmp_path_factory.mktemp("explorer") / "page.html"
    path.write_bytes(page.encode())
    return path.as_uri()


@pytest.fixture
def opened(browser, address):
    with tab(browser, address) as page:
        yield page


def lines(view):
    """Text of the first column of the table."""
    return view.locator(".grid tbody tr td:first-child").all_inner_texts()


def numbers(view, place):
    """The estimates that stand in a column of the table."""
    return [
        float(text.split()[0].replace("−", "-"))
        for text in view.locator(f".grid tbody td:nth-child({place})").all_inner_texts()
    ]


def test_a_reader_chooses_model_cell_attribute_and_metric(opened, audits):
    view = opened.locator("#slices")
    for head, value in (("Model", "flat"), ("Cell", "unseen"), ("Attribute", "group"), ("Metric", "Brier score")):
        view.get_by_label(head, exact=True).select_option(value)
    rows = audits[3].table.filter(metric="brier", attribute="group")
    overall = audits[3].table.filter(metric="brier", attribute="(overall)")
    assert lines(view) == ["(all users)", *rows["level"]]
    assert numbers(view, 3) == [pytest.approx(v, abs=6e-4) for v in [*overall["estimate"], *rows["estimate"]]]
    assert view.locator(".chart svg a").count() == 1 + rows.height
    assert "Brier score (squared probability)" in view.locator(".chart svg").last.text_content()


def test_a_name_that_is_markup_is_text(opened):
    view = opened.locator("#slices")
    assert NASTY in lines(view)
    assert NASTY in view.locator(".chart").text_content()
    assert opened.locator("b").count() == 0


def test_the_table_is_sorted_and_the_chart_follows(opened, expect):
    view = opened.locator("#slices")
    head = view.locator("th", has_text="estimate").first
    head.click()
    expect(head).to_have_attribute("aria-sort", "ascending")
    up = numbers(view, 3)
    assert up == sorted(up)
    names = [
        label.split(":")[0] for label in (a.get_attribute("aria-label") for a in view.locator(".chart svg a").all())
    ]
    assert [text.split(":")[0] for text in lines(view)] == names
    head.click()
    expect(head).to_have_attribute("aria-sort", "descending")
    assert numbers(view, 3) == up[::-1]


def test_what_is_not_known_sorts_last_both_ways(opened, expect):
    view = opened.locator("#slices")
    head = view.locator("th", has_text="difference")
    for order in ("ascending", "descending"):
        head.click()
        expect(head).to_have_attribute("aria-sort", order)
        assert lines(view)[-1] == "(all users)"  # which does not differ from itself


def test_the_table_is_filtered_by_words_and_by_users(opened, audits):
    view = opened.locator("#slices")
    view.get_by_label("Filter").fill("nor")
    assert lines(view) == ["north"]
    assert view.locator(".chart svg a").count() == 1
    view.get_by_label("Filter").fill("")
    counts = audits[0].table.filter(metric="utility", provenance="observed", attribute="region")["n_users"].drop_nulls()
    view.get_by_label("users ≥").fill(str(counts.max()))
    assert len(lines(view)) == 1 + (counts == counts.max()).sum()
    view.get_by_label("Filter").fill("nowhere")
    assert "Nothing to show" in view.locator(".chart").inner_text()


def test_pointing_at_a_dot_tells_interval_and_count(opened, audits):
    view = opened.locator("#slices")
    row = (
        audits[0]
        .table.filter(metric="utility", provenance="observed", attribute="region", level="north")
        .row(0, named=True)
    )
    view.locator('.chart svg a[aria-label^="north"]').hover()
    said = view.locator(".said").inner_text()
    assert said.startswith(f"north: {row['estimate']:.3f} [{row['lo']:.3f}, {row['hi']:.3f}] · {row['n_users']} users")
    tip = view.locator(".chart svg [aria-label='tip']").text_content()
    assert f"{row['estimate']:.3f}" in tip


def test_colours_turn_to_greys(opened):
    def inks():
        return set(
            opened.eval_on_selector_all(
                "#slices .chart svg a path",
                "all => all.map(one => one.getAttribute('stroke') || getComputedStyle(one).stroke)",
            )
        )

    def is_grey(ink):
        red, green, blue = (
            (int(ink[k : k + 2], 16) for k in (1, 3, 5)) if ink.startswith("#") else map(int, ink[4:-1].split(","))
        )
        return red == green == blue

    assert not all(map(is_grey, inks()))
    opened.get_by_label("Colours").select_option("grey")
    assert inks()
    assert all(map(is_grey, inks()))


def test_labels_turn_into_another_language(opened):
    view = opened.locator("#slices")
    opened.get_by_label("Labels").select_option("de")
    assert "Norden" in lines(view)
    assert "Norden" in view.locator(".chart").text_content()
    assert view.get_attribute("lang") == "de"
    assert "Gegend × Gruppe" in view.get_by_label("Attribute").inner_text()
    assert view.locator("th", has_text="Leute").count() == 1
    opened.get_by_label("Labels").select_option("")
    assert "north" in lines(view)


def test_by_keyboard_alone_a_slice_is_reached_followed_and_left(opened, audits):
    view = opened.locator("#slices")
    view.get_by_label("Metric").focus()
    opened.keyboard.type("Accuracy")
    assert view.get_by_label("Metric").input_value() == "Accuracy"
    for _ in range(3):  # filter, users, first dot
        opened.keyboard.press("Tab")
    assert view.locator(".said").inner_text().startswith("(all users)")
    opened.keyboard.press("ArrowDown")
    opened.keyboard.press("ArrowDown")
    name = opened.evaluate("document.activeElement.getAttribute('aria-label')").split(":")[0]
    assert view.locator(".said").inner_text().startswith(name)
    opened.keyboard.press("Enter")
    panel = view.locator(".panel")
    assert panel.is_visible()
    assert opened.evaluate("document.activeElement.tagName") == "H3"
    opened.keyboard.press("Escape")
    assert not panel.is_visible()
    assert opened.evaluate("document.activeElement.getAttribute('aria-label')").startswith(name)
    opened.keyboard.press("Tab")
    opened.keyboard.press("Tab")  # the table's first head
    opened.keyboard.press("Enter")
    view.locator("th[aria-sort]").wait_for()
    assert view.locator("th[aria-sort]").count() == 1


def test_a_slice_leads_to_all_that_is_published_of_it(opened, audits):
    view = opened.locator("#slices")
    view.locator(".grid button", has_text="north").click()
    text = view.locator(".panel").inner_text()
    for title in ("Groups of users", "Within it", "By topic of the comparison", "Models side by side", "By confidence"):
        assert title in text
    body = view.locator(".panel tbody").first
    rows = audits[0].table.filter(attribute="region", level="north").filter(~pl.col("suppressed"))
    assert body.locator("tr").count() == rows.height
    crossed = audits[0].table.filter(~pl.col("suppressed"), metric="utility", provenance="observed")
    within = view.locator(".panel tbody").nth(1).locator("tr td:first-child").all_inner_texts()
    assert within == [level for level in crossed["level"] if level.startswith("north × ")]


def test_a_narrow_page_does_not_scroll_sideways(opened):
    opened.set_viewport_size({"width": 390, "height": 800})
    opened.wait_for_function(
        "document.querySelector('#slices .chart svg:last-of-type').getBoundingClientRect().width < 390"
    )
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_print_shows_every_row_and_what_was_chosen(opened):
    view = opened.locator("#slices")
    view.get_by_label("Attribute").select_option(label="all")
    assert view.locator(".grid tbody tr").count() == 25
    opened.evaluate("dispatchEvent(new Event('beforeprint'))")
    opened.emulate_media(media="print")
    assert view.locator(".grid tbody tr").count() > 25
    assert "Attribute: all" in view.locator(".chosen").inner_text()
    assert not view.locator(".controls").is_visible()
    opened.evaluate("dispatchEvent(new Event('afterprint'))")


def test_without_javascript_the_tables_are_there(browser, address, audits):
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(address)
    shown = audits[0].table.filter(~pl.col("suppressed"))
    assert plain.locator("#slices noscript tbody tr").count() == shown.height
    assert plain.locator("#slices noscript table").is_visible()
    context.close()


def test_every_control_has_a_name_and_every_table_heads(opened):
    unlabelled = "[...document.querySelectorAll('select, input')].filter(one => !one.labels.length).length"
    silent = "one => !(one.textContent || one.getAttribute('aria-label'))"
    unnamed = f"[...document.querySelectorAll('button, a[role]')].filter({silent}).length"
    assert opened.evaluate(unlabelled) == 0
    assert opened.evaluate(unnamed) == 0
    assert opened.evaluate("[...document.querySelectorAll('table')].every(one => one.querySelector('th'))")
    ids = opened.evaluate("[...document.querySelectorAll('[id]')].map(one => one.id)")
    assert len(ids) == len(set(ids))


def test_a_notebook_s_frame_works_as_the_page_does(browser, page, tmp_path):
    from plurality.analyses.page.explorer import Displayed

    path = tmp_path / "notebook.html"
    path.write_text(f"<!doctype html><title>notebook</title>{Displayed(page, 'Audit')._repr_html_()}", "utf-8")
    notebook = browser.new_page()
    notebook.goto(path.as_uri())
    view = notebook.frame_locator("iframe").locator("#slices")
    view.get_by_label("Metric").select_option("Accuracy")
    assert view.locator(".chart svg a").count() > 2
    notebook.close()
