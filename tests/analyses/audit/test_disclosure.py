"""Withheld slices against somebody who reads everything that is written, and solves for them."""

import re
import zipfile

import numpy as np
import polars as pl
import pytest

from benchmarks.disclosure import ROWS, Written, bounds, solved, town
from plurality.analyses.audit.compute import audit
from plurality.analyses.audit.export import write_table
from plurality.analyses.audit.merging import WITHHELD
from plurality.analyses.audit.slices import Disclosure, slices
from plurality.analyses.audit.withholding import withheld, withheld_bins
from plurality.analyses.inference.raking import kish

LEAST = 11


@pytest.mark.parametrize("seed", range(6))
def test_nothing_withheld_can_be_solved_for(seed):
    assert solved(seed) == []


@pytest.mark.parametrize("seed", range(4))
def test_nor_where_comparisons_are_sliced_too(seed):
    assert solved(seed, topics=True) == []


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "topics"), [*((s, False) for s in range(6, 220)), *((s, True) for s in range(4, 60))])
def test_nothing_withheld_can_be_solved_for_in_many_populations(seed, topics):
    assert solved(seed, topics) == []


def test_what_is_left_of_two_withheld_levels_is_people_enough():
    """Everybody less a shown level is two withheld ones; less a shown cell of one of these, it was two people."""
    cells = {("v0", "v0"): 23, ("v0", "v1"): 1, ("v0", "v2"): 50, ("v1", "v0"): 1, ("v1", "v2"): 4, ("v2", "v2"): 4}
    rows = [cell for cell, n in cells.items() for _ in range(n)]
    people = pl.DataFrame({"a0": [a for a, _ in rows], "a1": [b for _, b in rows]})
    groups = slices(people, len(rows))
    state = withheld(groups, Disclosure())
    told = {(a, v) for a, v, s in zip(groups.attribute, groups.level, state, strict=True) if s == 0}
    assert ("a0 × a1", "v0 × v0") not in told
    assert ("a1", "v2") in told


def test_the_attacker_solves_what_is_not_protected():
    predictions, people = town(1)
    result = audit(predictions, people, n_bootstrap=20, disclosure=Disclosure(complementary=False))
    hidden = result.table.filter("suppressed", metric="accuracy").select("attribute", "level").iter_rows()
    asked = [dict(zip(a.split(" × "), v.split(" × "), strict=True)) for a, v in hidden]
    assert any(one.low == one.high for one in bounds(Written.of(result, predictions), asked))


# the case of the issue: two withheld levels, one population with known shares


def two_withheld(share_a=0.3):
    n = {"a": 6, "b": 8, "c": 60, "d": 70}
    group = [g for g, size in n.items() for _ in range(size)]
    ids = [f"u{k}" for k in range(len(group))]
    rng = np.random.default_rng(0)
    label = np.concatenate(
        [rng.permutation(np.arange(20 * s) < h) for s, h in zip(n.values(), (42, 102, 600, 800), strict=True)]
    )
    predictions = pl.DataFrame({"user_id": np.repeat(ids, 20), "prob_first": 0.7, "label": label.astype(float)})
    margins = {"group": {"a": share_a, "b": 0.1, "c": 0.3, "d": 0.6 - share_a}}
    return predictions, pl.DataFrame({"user_id": ids, "group": group}), margins


def test_a_raked_mean_says_nothing_that_the_shown_levels_do_not():
    predictions, people, margins = two_withheld()
    result = audit(predictions, people, margins=margins, n_bootstrap=20)
    table = result.table.filter(metric="accuracy")
    hidden = table.filter("suppressed")["level"].to_list()
    assert hidden == ["a", "b"]
    shown = {row["level"]: (row["n_users"], row["estimate"]) for row in table.iter_rows(named=True)}
    n, mean = shown["(all users)"]
    rest_n = n - shown["c"][0] - shown["d"][0]
    rest = (n * mean - sum(shown[g][0] * shown[g][1] for g in "cd")) / rest_n
    expected = 0.4 * rest + 0.3 * shown["c"][1] + 0.3 * shown["d"][1]
    frame = result.sections["population"].frame
    raked = frame.row(by_predicate=pl.col("attribute") == "accuracy", named=True)["population"]
    assert raked == pytest.approx(expected, abs=1e-9)
    weights = np.repeat([0.4 / rest_n, 0.3 / 60, 0.3 / 70], [rest_n, 60, 70])
    assert f"information of {kish(weights):.0f} of {n} users" in " ".join(result.verdict)
    assert frame.filter(kind="share")["level"].to_list() == [WITHHELD, "c", "d"]
    other = audit(predictions, people, margins=two_withheld(0.2)[2] | {}, n_bootstrap=20)
    assert other.sections["population"].frame.filter(kind="share")["population"][0] == pytest.approx(0.3)


def test_margins_of_thin_cells_are_not_raked_to():
    predictions, people = town(3, users=200, levels=(2, 2))
    thin = people.with_columns(a1=pl.when(pl.int_range(pl.len()) < 8).then(pl.lit("v0")).otherwise(pl.lit("v1")))
    thin = thin.with_columns(a1=pl.when(pl.int_range(pl.len()) > 150).then(pl.lit("v0")).otherwise("a1"))
    thin = thin.with_columns(a0=pl.when(pl.int_range(pl.len()) < 8).then(pl.lit("v0")).otherwise("a0"))
    thin = thin.with_columns(a0=pl.when(pl.int_range(pl.len()) > 150).then(pl.lit("v1")).otherwise("a0"))
    margins = {"a0": {"v0": 0.5, "v1": 0.5}, "a1": {"v0": 0.5, "v1": 0.5}}
    for ways in (1, 2):
        result = audit(predictions, thin, margins=margins, ways=ways, n_bootstrap=20)
        assert "population" not in result.sections
        assert any(note.startswith("Not raked to margins") for note in result.notes)
    even = people.with_columns(a0=pl.Series(["v0", "v1"] * 100), a1=pl.Series(["v0", "v0", "v1", "v1"] * 50))
    assert "population" in audit(predictions, even, margins=margins, n_bootstrap=20).sections


# bins and figures


@pytest.mark.parametrize("users", [8, 11, 40, 400, 1500])
def test_every_step_of_the_lorenz_curve_is_of_enough_people(users):
    predictions, people = town(5, users=users)
    curve = audit(predictions, people, n_bootstrap=20).lorenz
    assert np.diff(curve["users"]).min() * users >= min(LEAST, users) - 1e-9
    assert curve.height == 1 + min(100, max(users // LEAST, 1))


@pytest.mark.parametrize("seed", range(5))
def test_no_bin_that_is_shown_holds_few_people(seed):
    predictions, people = town(seed)
    result = audit(predictions, people, n_bootstrap=20)
    if "multicalibration" in result.sections:
        people_in = result.sections["multicalibration"].frame["n_users"]
        assert people_in.filter(people_in > 0).min() >= LEAST
    assert result.reliability.filter(pl.col("weight") < LEAST).is_empty()
    assert ("reliability" in result.figures()) != result.reliability.is_empty()


def test_bins_of_a_slice_are_all_shown_or_none_and_close_over_every_bin():
    people = pl.DataFrame({"g": ["a"] * 40 + ["b"] * 40 + ["c"] * 40})
    groups = slices(people, 120)
    state = withheld(groups, Disclosure())
    in_bins = np.array([[120, 60], [40, 20], [40, 35], [40, 5]])
    assert withheld_bins(groups, state, in_bins, Disclosure()).tolist() == [0, 2, 0, 1]
    with_few = np.array([[120, 9], [40, 3], [40, 3], [40, 3]])
    assert (withheld_bins(groups, state, with_few, Disclosure()) != 0).all()


def test_notes_count_nobody_of_a_withheld_level():
    predictions, people = town(2, users=120)
    result = audit(predictions, people.head(117), n_bootstrap=20)
    assert not any("3" in note for note in result.notes if "not in the users table" in note)


def test_nothing_that_is_written_has_a_number_of_a_withheld_slice(tmp_path):
    """Every table of every file, and what is taken away as CSV, Excel and LaTeX."""
    predictions, people = town(3, users=300, levels=(3, 3))
    predictions = predictions.with_columns(pl.Series(ROWS, ["t0", "t1", "t2"] * 100))
    other = predictions.with_columns(prob_first=1 - pl.col("prob_first"))
    result = audit(
        models={"one": predictions, "two": other}, users=people, rows=[ROWS], reference=None, pairs=True,
        n_bootstrap=20,
    )  # fmt: skip
    folder = result.save(tmp_path / "audit")
    hidden = set(result.table.filter("suppressed", metric="utility").select("attribute", "level").iter_rows())
    assert len(hidden) > 2
    files = list(folder.rglob("*.parquet"))
    assert {"models.parquet", f"rows_{ROWS}.parquet", "multicalibration.parquet"} < {file.name for file in files}
    for file in files:
        frame = pl.read_parquet(file)
        if {"attribute", "level"} <= set(frame.columns):
            for row in frame.iter_rows(named=True):
                if (row["attribute"], row["level"]) in hidden:
                    numbers = [v for v in row.values() if isinstance(v, int | float) and not isinstance(v, bool)]
                    assert numbers == [], (file.name, row)
    for name in ("t.csv", "t.tex", "t.xlsx"):
        write_table(result.table, tmp_path / name)
    lines = (tmp_path / "t.csv").read_text().splitlines() + (tmp_path / "t.tex").read_text().splitlines()
    with zipfile.ZipFile(tmp_path / "t.xlsx") as book:
        lines += book.read("xl/worksheets/sheet1.xml").decode().split("<row")
    told = [line for line in lines if re.search(r"withheld: n\\?_users", line)]
    assert len(told) == 3 * result.table["suppressed"].sum()
    plain = "".join(told).replace("n_users < 11", "").replace("n\\_users < 11", "").replace("n_users &lt; 11", "")
    assert not re.search(r"\d\.\d", plain)
