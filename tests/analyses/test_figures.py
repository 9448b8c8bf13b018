"""Figures: what stands where, nothing over anything else, the same bytes twice, no global state."""

import subprocess
import sys
import xml.etree.ElementTree as ET
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from plurality.analyses.audit.compute import audit
from plurality.analyses.audit.labels import forest_lines, number, shorten, told_apart
from plurality.analyses.figures import (
    as_bytes,
    bump,
    comparison,
    few_shot,
    forest,
    front,
    growth,
    heat,
    latent_map,
    lorenz,
    reliability,
    save_figure,
    shares,
)
from plurality.errors import InputError


@pytest.fixture(scope="module")
def result(planted):
    predictions, people = planted
    rare = pl.when(pl.int_range(pl.len()) < 5).then(pl.lit("rare and long of name")).otherwise(pl.col("group"))
    return audit(predictions, people.with_columns(group=rare), n_bootstrap=100)


def compared():
    """Estimates of two models and two controls in four cells."""
    rng = np.random.default_rng(0)
    cells = [f"{u} users, {p} prompts" for u in ("seen", "unseen") for p in ("seen", "unseen")]
    rows = [
        (model, cell, metric, at, at - 0.02, at + 0.02, " · " in model)
        for cell in cells
        for model in ("VPL", "VPL · shuffled users", "VPL · population code", "PAL with four prototypes", "BT · warm")
        for metric, base in (("accuracy", 0.7), ("log_loss", 0.55))
        for at in [base + rng.normal(0, 0.02)]
    ]
    names = ["model", "cell", "metric", "estimate", "lo", "hi", "control"]
    return pl.DataFrame(rows, schema=names, orient="row")


def answered():
    """Curves of five models, the population's code of one, and the baseline."""
    models = [
        "bradley_terry",
        "VPL",
        "VPL · population code",
        "PAL with four prototypes",
        "low_rank",
        "BT · warm",
        "dpl",
    ]
    rows = [
        (model, metric, size, at, at - 0.02, at + 0.02, *([None] * 2 if model != "VPL" else [size - 2.5, size + 1]))
        for model in models
        for metric, base in (("accuracy", 0.6), ("log_loss", 0.65))
        for size in (0, 1, 2, 5, 10, 20, 50)
        for at in [base + 0.01 * np.log1p(size)]
    ]
    names = ["model", "metric", "support", "estimate", "lo", "hi", "gain_lo", "gain_hi"]
    return pl.DataFrame(rows, schema=names, orient="row")


GROUPS = ["everybody", "women", "men", "18-29", "30-49", "50+", "prefer not to say"]


def made_up(width):
    """The figures of frames that are no audit's own."""
    rng = np.random.default_rng(0)
    rules = ["mean", "power −1", "Nash", "worst fifth", "maximin", "Borda", "approval", "personal"]
    matrix = pl.DataFrame([{"rule": r, "group": g, "mean": rng.uniform(0.5, 0.8)} for r in rules for g in GROUPS])
    ranks = [
        {"normalisation": n, "group": g, "rank": rank + 1}
        for n in ("win probability", "percentile", "min–max", "regret")
        for rank, g in enumerate(rng.permutation(GROUPS))
    ]
    grown = [
        {"n": n, "group": g, "cell": cell, "estimate": at, "lo": at - 0.02, "hi": at + 0.02}
        for cell in ("seen user", "unseen user")
        for k, g in enumerate(GROUPS)
        for n in (0, 1, 4, 20)
        for at in [0.6 + 0.01 * k * np.log1p(n)]
    ]
    grown = pl.DataFrame(grown)
    seen = grown.filter(pl.col("cell") == "seen user")
    points = [(r, m, m - 0.01, m + 0.01, w, w - 0.02, w + 0.02) for r in rules for m, w in [rng.uniform(0.5, 0.8, 2)]]
    columns = ["rule", "mean", "mean_lo", "mean_hi", "worst", "worst_lo", "worst_hi"]
    parts = pl.DataFrame(
        {"component": ["item", "item × group"], "share": [0.4, 0.6], "lo": [0.3, None], "hi": [0.5, 0.7]}
    )
    z = rng.normal(size=(90, 3))
    titles = {"x_title": "candidates N", "y_title": "utility", "width": width}
    return {
        "heat": heat(matrix, "rule", "group", "mean", row_title="who decides", column_title="who benefits",
                     value_title="Mean win probability", width=width),
        "bump": bump(pl.DataFrame(ranks), "normalisation", "group", "rank", column_title="normalisation",
                     rank_title="rank (1 worst off)", width=width),
        "growth": growth(seen, "n", "group", **titles),
        "growth of few": growth(seen.filter(pl.col("group").is_in(GROUPS[:3])), "n", "group", level=0.6, **titles),
        "growth in panels": growth(grown, "n", "group", panel="cell", **titles),
        "front": front(pl.DataFrame(points, schema=columns, orient="row"), normalisation="percentile", width=width),
        "shares": shares(parts, title="share of the variance of preferences", width=width),
        "latent": latent_map(z, rng.choice(GROUPS, 90), attribute="age", test="p = .5", width=width),
    }  # fmt: skip


def drawings(result, width):
    return made_up(width) | {
        "forest": forest(result.table, width=width),
        "reliability": reliability(result.reliability, width=width),
        "lorenz": lorenz(result.lorenz, result.overall, width=width),
        "comparison": comparison(compared(), width=width),
        "few shot": few_shot(answered(), width=width),
    }


@pytest.mark.parametrize("width", [3.5, pytest.param(7.0, marks=pytest.mark.slow)])
def test_labels_stay_inside_the_figure_and_apart(result, width):
    for name, figure in drawings(result, width).items():
        assert isinstance(figure, Figure)
        renderer = FigureCanvasAgg(figure).get_renderer()
        figure.draw(renderer)
        frame = figure.bbox
        for axes in figure.findobj(lambda a: hasattr(a, "get_xticklabels")):
            for axis, low, high in ((axes.yaxis, "y0", "y1"), (axes.xaxis, "x0", "x1")):
                view = sorted(axis.get_view_interval())
                drawn = [t.label1 for t in axis.get_major_ticks() if view[0] <= t.get_loc() <= view[1]]
                boxes = [t.get_window_extent(renderer) for t in drawn if t.get_visible() and t.get_text()]
                boxes.sort(key=lambda b: getattr(b, low))
                for box in boxes:
                    assert box.x0 > frame.x0 - 1, name
                    assert box.x1 < frame.x1 + 1, name
                slanted = any(t.get_rotation() for t in drawn)  # boxes of slanted words overlap, words do not
                for before, after in pairwise([] if slanted else boxes):
                    assert getattr(before, high) <= getattr(after, low) + 1.5, (name, width)
            for text in [*axes.texts, axes.title, axes.xaxis.label]:
                box = text.get_window_extent(renderer)
                assert box.x1 < frame.x1 + 1, (name, text.get_text())


def test_axes_are_named_with_their_units(result):
    figures = drawings(result, 7.0)
    assert figures["forest"].get_supxlabel() == "Observed utility (served response preferred)"
    assert "probability" in figures["reliability"].get_supxlabel()
    assert figures["reliability"].get_supylabel()
    assert [axes.get_xlabel() for axes in figures["lorenz"].axes] == ["Users, worst served first (share)"] * 2
    drawn = figures["few shot"]
    assert drawn.get_supxlabel() == "Answers of the user"
    assert [axes.get_ylabel() for axes in drawn.axes if axes.get_ylabel()] == [
        "Accuracy (share\nof comparisons)"
    ] * 2 + ["Log-loss (nats)"] * 2
    parts = figures["comparison"].subfigs
    assert [p.get_supxlabel() for p in parts] == ["Accuracy (share of comparisons)", "Log-loss (nats)"]


def test_forest_names_groups_and_those_withheld(result):
    axes = forest(result.table).axes[0]
    labels = [t.get_text() for t in axes.get_yticklabels()]
    assert labels[:2] == ["All users", "region"]
    assert {"east", "north", "south", "west"} <= set(labels)
    hidden = [label for label in labels if label.startswith("withheld")]
    assert len(hidden) == 1
    assert "(overall)" not in labels
    with pytest.raises(InputError, match="no metric 'joy'"):
        forest(result.table, metric="joy")


def test_a_forest_of_many_groups_ends_with_their_number():
    rows = pl.DataFrame(
        {
            "attribute": ["(overall)", *["town"] * 100],
            "level": ["(all users)", *(f"t{k}" for k in range(100))],
            "estimate": 0.5, "lo": 0.4, "hi": 0.6, "shrunk": 0.5, "n_users": 30, "flag": None, "suppressed": False,
        }
    )  # fmt: skip
    lines = forest_lines(rows, 30)
    assert len(lines) == 61
    assert lines[-1].label == "42 more lines in the table"


def test_reliability_shows_everybody_first_and_every_group(result):
    titles = [axes.get_title("left") for axes in reliability(result.reliability).axes if axes.get_visible()]
    assert titles[0] == "All users"
    assert {"east", "north", "south", "west"} < set(titles)
    assert not any(title.startswith("rare") for title in titles)


def test_an_interval_far_beyond_the_others_ends_in_an_arrow():
    rows = pl.DataFrame(
        {
            "metric": "utility", "provenance": "observed", "attribute": ["(overall)", *["town"] * 4],
            "level": ["(all users)", "a", "b", "c", "d"], "estimate": [0.6, 0.5, 0.6, 0.7, 0.65],
            "lo": [0.55, 0.4, 0.5, 0.6, -900.0], "hi": [0.65, 0.6, 0.7, 0.8, np.inf],
            "shrunk": 0.6, "n_users": 30, "flag": None, "suppressed": False,
        }
    )  # fmt: skip
    (axes,) = forest(rows).axes
    low, high = axes.get_xlim()
    assert low < 0.4  # the others as they are
    assert high > 0.8
    assert high - low < 2
    assert [line.get_marker() for line in axes.lines].count(">") == 1
    assert [line.get_marker() for line in axes.lines].count("<") == 1


def test_names_that_are_cut_stay_apart():
    names = ["conversation: hivemind.taxes", "conversation: hivemind.water", "short", "conversation about the sea"]
    cut = told_apart(names, 18)
    assert cut == ["conve…vemind.taxes", "conve…vemind.water", "short", "conversation abou…"]
    assert max(map(len, cut)) == 18


def test_controls_stand_on_their_models_line_and_the_best_is_marked():
    table = compared()
    panel = comparison(table).subfigs[0].axes[0]
    labels = [t.get_text() for t in panel.get_yticklabels()]
    assert labels == ["VPL", "PAL with four prototypes", "BT · warm"]
    marks = {line.get_marker(): line.get_ydata()[0] for line in panel.lines if line.get_markerfacecolor() == "white"}
    assert marks == {"D": 0, "s": 0, "o": 2}
    here = table.filter(pl.col("metric") == "accuracy", pl.col("cell") == "seen users, seen prompts")
    best = here.filter("control")["estimate"].max()
    assert any(line.get_linestyle() == "--" and line.get_xdata()[0] == best for line in panel.lines)


def test_the_same_figure_gives_the_same_bytes(result):
    for kind, head in (("svg", b"<?xml"), ("png", b"\x89PNG")):
        first, second = (as_bytes(lorenz(result.lorenz, result.overall), kind) for _ in range(2))
        assert first == second
        assert first.startswith(head)


def test_no_global_state_is_touched():
    code = (
        "import sys, matplotlib as mpl\n"
        "settings = lambda: {k: mpl.rcParams[k] for k in mpl.rcParams if k != 'backend'}\n"
        "before = settings()\n"
        "import polars as pl, plurality.analyses.figures as f\n"
        "t = pl.DataFrame({'model': ['a'], 'cell': ['c'], 'metric': ['accuracy'], 'estimate': [.5], 'lo': [.4],"
        " 'hi': [.6], 'control': [False]})\n"
        "f.as_bytes(f.comparison(t), 'svg')\n"
        "print(settings() == before, 'matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


def test_words_are_cut_and_numbers_rounded():
    assert shorten("High school diploma", 12) == "High school…"
    assert shorten("College", 12) == "College"
    assert [number(v, 3) for v in (0.12345, -0.5, -0.0001, None, float("nan"))] == [
        "0.123",
        "−0.500",
        "0.000",
        "–",
        "–",
    ]


def test_heat_writes_every_number_and_refuses_two_for_one_place():
    frame = pl.DataFrame({"a": ["x", "x", "y"], "b": ["u", "v", "u"], "value": [0.25, -0.5, None]})
    titles = {"row_title": "a", "column_title": "b", "value_title": "value"}
    figure = heat(frame, "a", "b", "value", signed=True, **titles)
    assert [t.get_text() for t in figure.axes[0].texts] == ["+0.25", "−0.50", "–", "–"]
    with pytest.raises(InputError, match="occur twice"):
        heat(pl.concat([frame, frame]), "a", "b", "value", **titles)


def test_the_front_joins_rules_that_none_beats():
    points = pl.DataFrame({"rule": ["a", "b", "c"], "mean": [0.6, 0.7, 0.59], "worst": [0.5, 0.4, 0.39]})
    points = points.with_columns(**{f"{m}_{e}": pl.col(m) for m in ("mean", "worst") for e in ("lo", "hi")})
    axes = front(points, normalisation="percentile").axes[0]
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[0.6, 0.5], [0.7, 0.4]])


def test_a_latent_map_lays_users_along_their_principal_axes():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(50, 4)) * [0.1, 5.0, 0.1, 1.0]
    figure = latent_map(z, ["a"] * 30 + ["b"] * 20, attribute="g", test="p = .5")
    mine = figure.axes[0].lines[1].get_xydata()
    assert abs(np.corrcoef(mine[:, 0], z[:30, 1])[0, 1]) > 0.999
    with pytest.raises(InputError, match="give a row and a level a user"):
        latent_map(z, ["a"], attribute="g", test="")


@pytest.mark.parametrize(("size", "inches"), [("single", 3.5), ("double", 7.0)])
def test_figures_of_an_audit_are_as_wide_as_a_journal_s_columns(result, size, inches):
    drawn = result.figures(size)
    assert set(drawn) == set(result.figures())
    assert {figure.get_figwidth() for figure in drawn.values()} == {inches}


def test_another_size_raises(result):
    with pytest.raises(InputError, match="give 'single'"):
        result.figures("triple")


def test_a_written_figure_keeps_its_words(result, tmp_path):
    drawn = forest(result.table)
    svg = save_figure(drawn, tmp_path / "groups.svg").read_text("utf-8")
    words = {text.strip() for text in ET.fromstring(svg).itertext() if text.strip()}
    assert {"All users", "region", "north"} <= words
    paths = save_figure(drawn, tmp_path / "paths.svg", text=False).read_text("utf-8")
    assert "All users" not in "".join(ET.fromstring(paths).itertext())
    assert save_figure(drawn, tmp_path / "groups.pdf").read_bytes().startswith(b"%PDF")
    assert save_figure(drawn, tmp_path / "groups.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(InputError, match=r"groups\.jpg: figures are written as"):
        save_figure(drawn, tmp_path / "groups.jpg")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["groups.pdf", "groups.png", "groups.svg", "paths.svg"]
