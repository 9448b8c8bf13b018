"""What a person reads of a comparison, against lines written out by hand."""

import re

import polars as pl
import pytest

from plurality.evaluation.comparison_table import METRICS, Comparison
from plurality.evaluation.views import WIDTH, as_html, as_text, verdict

CELL = "seen user, unseen prompt"
CONTROL = "pal · population code"
NAN = float("nan")


def lines(model, accuracy, log_loss, *, control=False, cell=CELL, ece=(0.1, 0.05), users=1234):
    """A model's rows of the table; accuracy and log-loss are (estimate, lo, hi, diff, diff_lo, diff_hi)."""
    given = {"accuracy": accuracy, "log_loss": log_loss, "ece": (ece[0], 0.0, 0.2, None, None, None)}
    for metric in METRICS:
        estimate, lo, hi, diff, diff_lo, diff_hi = given.get(metric, (0.25, 0.2, 0.3, None, None, None))
        yield {
            "model": model, "control": control, "cell": cell, "metric": metric, "n_users": users,
            "n_comparisons": 56789, "estimate": estimate, "lo": lo, "hi": hi,
            "null_expectation": ece[1] if metric == "ece" else NAN,
            "diff": diff, "diff_lo": diff_lo, "diff_hi": diff_hi,
        }  # fmt: skip


def gain(model, accuracy, log_loss, cell=CELL):
    for metric, (value, lo, hi) in (("accuracy", accuracy), ("log_loss", log_loss)):
        yield {"model": model, "cell": cell, "metric": metric, "gain": value, "lo": lo, "hi": hi}


def comparison(*models, gains=()):
    table = pl.DataFrame([row for rows in models for row in rows], infer_schema_length=None)
    fitted = table.filter(~pl.col("control"))["model"].unique(maintain_order=True)
    fits = pl.DataFrame({"model": fitted}).with_columns(seconds=pl.lit(1.25), peak_mib=pl.lit(33.3))
    found = pl.DataFrame([row for rows in gains for row in rows], infer_schema_length=None)
    about = {"split": "item", "folds": 5, "support": 20}
    return Comparison(table, found if len(found) else pl.DataFrame(schema=GAINS), pl.DataFrame(), fits, about)


GAINS = {"model": pl.String, "cell": pl.String, "metric": pl.String, "gain": float, "lo": float, "hi": float}
BASELINE = ("bradley_terry", (0.6, 0.59, 0.61, None, None, None), (0.66, 0.65, 0.67, None, None, None))
PAL = ("pal", (0.7, 0.68, 0.72, 0.1, 0.09, 0.11), (0.5996, 0.55, 0.65, -0.0604, -0.08, -0.04))


@pytest.fixture
def shown():
    return comparison(
        lines(*BASELINE),
        lines(*PAL),
        lines(CONTROL, (0.6, 0.59, 0.61, 0.0, -0.01, 0.01), (0.66, 0.65, 0.67, 0.001, -0.001, 0.003), control=True),
        lines(*BASELINE, cell="unseen user, unseen prompt", users=7),
        gains=[gain("pal", (0.1, 0.05, 0.15), (-0.06, -0.08, -0.04))],
    )


def words(line):
    return " ".join(line.split())


def test_every_number_is_where_it_belongs(shown):
    text = as_text(shown).split("\n")
    assert text[0] == "Seen user, unseen prompt · 1,234 users, 56,789 comparisons"
    assert words(text[2]) == "Accuracy vs BT Nats vs BT ECE Worst⅒ Pop. Other Shuf."
    assert words(text[4]) == "Bradley–Terry .600 ±.010 – .660 – .100 .250"
    assert words(text[5]) == "PAL .700 ±.020 +.100* .600 -.060* .100 .250 .600"
    assert text[7] == "Unseen user, unseen prompt · 7 users, 56,789 comparisons"


def test_below_the_table_stand_verdict_cost_and_protocol(shown):
    below = words(as_text(shown).split("Does it help to know the user?")[1])
    assert "PAL seen +10.0 [+5.0, +15.0] -0.060 [-0.080, -0.040] a gain" in below
    assert "Fit time and peak memory: Bradley–Terry 1.2 s, 33 MiB; PAL 1.2 s, 33 MiB." in below
    assert "Split by item, folds: 5; unseen users adapted on up to 20 comparisons." in below
    assert "Does it help" not in as_text(comparison(lines(*BASELINE)))


def test_long_names_cost_no_number():
    name = "eight prototypes in sixteen dimensions, with decay"
    wide = comparison(
        lines(*BASELINE), lines(name, *PAL[1:]), lines(f"{name} · population code", *PAL[1:], control=True)
    )
    text = as_text(wide)
    assert max(map(len, text.split("\n"))) <= WIDTH
    rows = [row for row in text.split("\n") if "+.100*" in row]
    numbers = ".700 ±.020 +.100* .600 -.060* .100 .250"
    assert [words(row) for row in rows] == [f"eight prototypes … {numbers} .700"]


def test_a_model_whose_name_has_a_dot_is_no_control():
    text = as_text(comparison(lines(*BASELINE), lines("pal · wide", *PAL[1:])))
    assert "\n PAL · wide " in text


def test_large_small_and_unknown_numbers():
    far = lines("far", (0.9996, NAN, NAN, 0.3996, NAN, NAN), (11.2, 1.0, 31.0, 10.54, 2.0, 20.0), ece=(NAN, NAN))
    row = next(r for r in as_text(comparison(lines(*BASELINE), far)).split("\n") if "far" in r)
    assert words(row) == "far 1.000 ±– +.400 11.200 +10.540* – .250"


NOTHING, MORE, LESS = (0.01, -0.01, 0.03), (0.05, 0.02, 0.08), (-0.05, -0.08, -0.02)


@pytest.mark.parametrize(
    ("accuracy", "log_loss", "said"),
    [
        (MORE, LESS, "a gain"),
        (MORE, NOTHING, "a gain"),
        (NOTHING, LESS, "a gain"),
        (LESS, MORE, "a loss"),
        (NOTHING, MORE, "a loss"),
        (LESS, NOTHING, "a loss"),
        (NOTHING, NOTHING, "no gain shown (could be up to 3.0 points)"),
        ((0.018, -0.009, 0.047), NOTHING, "no gain shown (could be up to 4.7 points)"),
        (MORE, MORE, "a gain in one and a loss in the other"),
        ((0.001, 0.0005, 0.0015), (-0.001, -0.0015, -0.0005), "a small gain"),  # sure, but too small to matter
        ((0.0, NAN, NAN), (0.0, NAN, NAN), "no gain can be shown"),
    ],
)
def test_verdict(accuracy, log_loss, said):
    (line,) = verdict(pl.DataFrame(list(gain("pal", accuracy, log_loss))))
    assert line.startswith(f"pal, {CELL}: own code over the population's {100 * accuracy[0]:+.1f} points [")
    assert line.endswith(f": {said}.")


def test_a_sentence_a_model_and_cell():
    rows = [gain(model, MORE, LESS, cell) for model in ("a", "b") for cell in ("x", "y")]
    said = verdict(pl.DataFrame([row for part in rows for row in part]))
    assert [line.split(":")[0] for line in said] == ["a, x", "a, y", "b, x", "b, y"]


def test_html_says_the_same(shown):
    page = as_html(shown)
    assert page.count("<table>") == page.count("</table>") == 3
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", page)]
    in_text = [words(row) for row in as_text(shown).split("\n") if re.match("^ ?(Bradley–Terry|PAL) ", row)]
    assert [words(" ".join(row)) for row in rows if row] == in_text
    assert shown._repr_html_() == page
    assert str(shown) == repr(shown) == as_text(shown)


def test_html_escapes_names():
    page = as_html(comparison(lines(*BASELINE), lines("<b>&pal</b>", *PAL[1:])))
    assert "&lt;b&gt;&amp;pal&lt;/b&gt;" in page
    assert "<b>&pal" not in page


def test_a_notebook_gets_the_text_and_nothing_beside_it(shown, monkeypatch):
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)  # where rich shows what it was to write elsewhere
    assert as_text(shown).startswith("Seen user, unseen prompt")


def test_rounding_has_no_star():
    tiny = (0.6, 0.59, 0.61, 0.0, 1e-9, 3e-9)
    text = as_text(comparison(lines(*BASELINE), lines("low_rank", tiny, (0.66, 0.65, 0.67, -1e-4, -2e-4, -1e-5))))
    assert "+.000*" not in text
    assert "-.000*" not in text
