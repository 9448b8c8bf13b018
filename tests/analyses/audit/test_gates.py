"""Gates and the difference of two saved audits, in Python and at the command line."""

import json

import polars as pl
import pytest

from plurality.analyses.audit.compute import audit
from plurality.analyses.audit.difference import audit_difference
from plurality.analyses.audit.gates import Gate, check_gates, read_gates
from plurality.cli import main
from plurality.errors import InputError


@pytest.fixture(scope="module")
def found(simulate):
    predictions, users = simulate(users=90, rows=8, seed=4)
    users = users.with_columns(group=pl.when(pl.int_range(pl.len()) < 6).then(pl.lit("rare")).otherwise("group"))
    return audit(predictions, users, ways=1, n_bootstrap=100)


def value(found, gate):
    return check_gates(found, [gate])[0].value


def test_a_gate_is_held_against_the_row_and_bound_that_it_names(found):
    table = found.table.filter(metric="utility", provenance="observed")
    groups = table.filter(pl.col("attribute") != "(overall)", ~pl.col("suppressed"))
    assert value(found, "overall.utility < .6") == table["estimate"][0]
    assert value(found, "overall.utility.lo<=.6") == table["lo"][0]
    assert value(found, "worst_group.utility < .6") == groups["estimate"].min()
    assert value(found, "worst_group[region].utility.hi < .6") == groups.filter(attribute="region")["hi"].min()
    assert value(found, "worst_group.log_loss > .6") == found.table.filter(
        pl.col("attribute") != "(overall)", metric="log_loss")["estimate"].max()  # fmt: skip
    assert (
        value(found, "region=south.accuracy >= 0")
        == found.table.filter(metric="accuracy", level="south")["estimate"][0]
    )
    failing, passing = check_gates(found, ["region=south.utility < 0.99", "overall.utility.lo < 0.01"])
    assert failing.failed
    assert "estimate" in failing.said
    assert not passing.failed
    assert "lo 0." in passing.said


def test_what_cannot_be_evaluated_fails(found):
    hidden = check_gates(found, ["group=rare.utility < .1"])[0]
    assert hidden.failed
    assert hidden.value is None
    assert "withheld or undefined" in hidden.said


@pytest.mark.parametrize(
    ("text", "words"),
    [("utility < .6", "cannot be read"),
     ("overall.joy < 1", "give a metric"), ("overall.utility.middle < 1", "a bound"),
     ("overall.utility < much", "no number"), ("overall.utility < nan", "no limit")],
)  # fmt: skip
def test_gates_that_cannot_be_read(text, words):
    with pytest.raises(InputError, match=words):
        Gate.read(text)


def test_groups_and_metrics_that_are_not_there(found):
    for text, words in (("region=up.utility < 1", "no group"), ("worst_group[age].utility < 1", "no groups"),
                        ("overall.position_bias > 1", "has no position_bias")):  # fmt: skip
        with pytest.raises(InputError, match=words):
            check_gates(found, [text])


def test_the_command_exits_with_3_and_says_which(simulate, tmp_path, capsys):
    predictions, users = simulate(users=40, rows=5, seed=4)
    predictions.write_parquet(tmp_path / "p.parquet")
    users.write_parquet(tmp_path / "u.parquet")
    (tmp_path / "gates.toml").write_text('fail_if = ["overall.accuracy < 0.01"]\n')
    line = ["audit", str(tmp_path / "p.parquet"), "--users", str(tmp_path / "u.parquet"),
            "--out", str(tmp_path / "out"), "--ways", "1",
            "--n-bootstrap", "20", "--gates", str(tmp_path / "gates.toml")]  # fmt: skip
    assert main([*line, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["failed_gates"] == []
    assert main([*line, "--fail-if", "worst_group.utility < .99", "--json"]) == 3
    assert len(json.loads(capsys.readouterr().out)["failed_gates"]) == 1
    assert main([*line, "--fail-if", "worst_group.utility ~ .99"]) == 2
    (tmp_path / "gates.toml").write_text("fail_if = 3\n")
    with pytest.raises(InputError, match="no list fail_if"):
        read_gates(tmp_path / "gates.toml")
    assert main(["audit", "diff", str(tmp_path / "out"), str(tmp_path / "out")]) == 0
    assert "Audits: old beside new" in capsys.readouterr().out


def test_a_difference_is_of_rows_shown_in_both(simulate, tmp_path):
    predictions, users = simulate(users=90, rows=6, seed=5)
    worse = predictions.with_columns(prob_first=1 - pl.col("prob_first"), gap=-pl.col("gap"))
    old, new = (audit(p, users, ways=1, n_bootstrap=100) for p in (predictions, worse))
    folders = [old.save(tmp_path / "old"), new.save(tmp_path / "new")]
    found = audit_difference(*folders)
    row = found.table.filter(metric="accuracy", attribute="(overall)").row(0, named=True)
    values = [a.table.filter(metric="accuracy", attribute="(overall)").row(0, named=True) for a in (old, new)]
    assert row["change"] == pytest.approx(values[1]["estimate"] - values[0]["estimate"])
    assert (row["hi"] - row["lo"]) ** 2 == pytest.approx(sum((v["hi"] - v["lo"]) ** 2 for v in values))
    assert row["p"] < 1e-6
    assert "changed beyond chance" in str(found)


def test_a_difference_tells_of_no_few_people(simulate, tmp_path):
    predictions, users = simulate(users=90, rows=4, seed=6)
    fewer = predictions.filter(~pl.col("user_id").is_in(["u1", "u2", "u3"]))
    folders = [
        audit(p, users, ways=1, n_bootstrap=20).save(tmp_path / n) for p, n in ((predictions, "a"), (fewer, "b"))
    ]
    found = audit_difference(*folders)
    assert (found.table["n_users_old"] == found.table["n_users_new"]).all()
    assert "(all users)" not in found.table["level"].to_list()
    assert "shown in both" in str(found)
    some = predictions.filter(~pl.col("user_id").is_in([f"u{k}" for k in range(30)]))
    found = audit_difference(folders[0], audit(some, users, ways=1, n_bootstrap=20).save(tmp_path / "c"))
    apart = (found.table["n_users_old"] - found.table["n_users_new"]).abs()
    assert ((apart == 0) | (apart >= 11)).all()
    assert any("left out" in note for note in found.notes)


def test_a_difference_of_all_groups_but_one_tells_of_none(tmp_path):
    """One person more in one group, 14 in the other: everybody less the other group is that person."""
    ids = [f"u{k}" for k in range(115)]
    users = pl.DataFrame({"user_id": ids, "g": ["a"] * 50 + ["b"] * 65})
    predictions = pl.DataFrame({"user_id": ids, "prob_first": 0.7, "label": [1.0, 0.0, 1.0, 1.0, 0.0] * 23})
    old = predictions.filter(~pl.col("user_id").is_in([ids[0], *ids[-14:]]))
    folders = [
        audit(p, users, n_bootstrap=20).save(tmp_path / name) for name, p in (("old", old), ("new", predictions))
    ]
    found = audit_difference(*folders).table.filter(metric="utility", provenance="observed")
    assert found["level"].to_list() == ["(all users)"]
    assert "1 slice" not in str(found)
