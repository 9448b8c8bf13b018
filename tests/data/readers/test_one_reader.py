"""Every place that takes a table takes every format, reads the same from it, and reads all of it."""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from plurality.analyses.audit.compute import audit
from plurality.analyses.audit.population import read_margins
from plurality.analyses.factors.regression import factors
from plurality.analyses.features import differences
from plurality.analyses.inference.permutation import separations
from plurality.analyses.inputs import read_predictions, read_table
from plurality.analyses.scores import predictions_from_scores
from plurality.analyses.social_choice.candidates import read_candidates as read_rewards
from plurality.data.read import read, read_completions
from plurality.data.readers.tables import open_frame
from plurality.errors import InputError
from plurality.rl.verl import to_parquet

FILES = ("t.parquet", "t.pq", "t.PARQUET", "t.csv", "t.CSV", "t.csv.gz", "t.CSV.GZ", "t.jsonl", "t.ndjson", "t.json")
FILES += ("t.json.gz", "t.jsonl.gz", "t.JSON.GZ")
MEMORY: dict[str, Callable[[pl.DataFrame], Any]] = {
    "polars": lambda frame: frame,
    "lazy": lambda frame: frame.lazy(),
    "pandas": lambda frame: pd.DataFrame(frame.to_dict(as_series=False)),
    "mapping": lambda frame: frame.to_dict(as_series=False),
    "pyarrow": lambda frame: pa.table(frame.to_dict(as_series=False)),
    "dataset": lambda frame: datasets.Dataset.from_dict(frame.to_dict(as_series=False)),
}


def written(frame: pl.DataFrame, path: Path) -> Path:
    kind = path.name.lower().removesuffix(".gz").rsplit(".", 1)[1]
    if kind in ("parquet", "pq"):
        frame.write_parquet(path)
        return path
    text = frame.write_csv() if kind == "csv" else frame.write_ndjson()
    path.write_bytes(gzip.compress(text.encode()) if path.suffix.lower() == ".gz" else text.encode())
    return path


def in_format(frame: pl.DataFrame, form: str, folder: Path) -> Any:
    return MEMORY[form](frame) if form in MEMORY else written(frame, folder / form)


N = 130  # beyond what a reader of the first hundred rows sees
IDS = [f"{k % 30:03d}" for k in range(N)]  # 007 is not 7
LATE = [None] * 110 + [2.5] * (N - 110)
CODES = ["01", "1", "02"]
LABELS = [float(k % 2) for k in range(N - 1)] + [0.5]
PREDICTIONS = pl.DataFrame(
    {
        "user_id": IDS,
        "prob_first": [round(0.2 + 0.005 * k, 3) for k in range(N)],
        "label": LABELS,
        "weight": [1.0] * 110 + [2.5] * (N - 110),
        "pair": CODES * 43 + ["1"],
    }
)
USERS = pl.DataFrame(
    {
        "user_id": [f"{k:03d}" for k in range(30)],
        "code": CODES * 10,
        "age": [20 + k for k in range(30)],
        "height": [1.5 + k / 100 for k in range(30)],
        "member": ["true", "no", "yes"] * 10,
    }
)
SCORES = pl.DataFrame(
    {
        "user_id": IDS,
        "score_chosen": [0.5 * (k % 7) - 0.25 for k in range(N)],
        "score_rejected": [0.25 * (k % 5) for k in range(N)],
        "code": CODES * 43 + ["1"],
    }
)
TEXTS = pl.DataFrame(
    {
        "user_id": IDS,
        "prompt": [str(k % 4) for k in range(N)],
        "chosen": [f"{k}.0" for k in range(N)],
        "rejected": [f"0{k}" for k in range(N)],
        "label": [1.0] * (N - 1) + [0.5],
        "weight": [1.0] * 110 + [2.5] * (N - 110),
    }
)
REWARDS = pl.DataFrame(
    [
        {"user_id": f"{u:03d}", "prompt": p, "candidate": c, "reward": 0.25 * u - p.count("1")}
        for u in range(4)
        for p in ("01", "1")
        for c in CODES
    ]
)
MARGINS = pl.DataFrame({"attribute": ["code"] * 3, "level": CODES, "share": [0.25, 0.25, 0.5]})
COMPLETIONS = TEXTS.select("user_id", "prompt", completion="chosen")
DIFFERENCES = pl.DataFrame({"words": [float(k % 3 - 1) for k in range(N)], "lists": [0.5 * (k % 2) for k in range(N)]})


def comparisons_of(source: Any, letters: Any) -> Any:
    data = read(source, encoder=letters)
    texts = data.texts["completion"]
    return (
        texts.gather(data.first).to_list(), texts.gather(data.second).to_list(), data.label.tolist(),
        data.weight.tolist(), data.users["user_id"].gather(data.user).to_list(),
    )  # fmt: skip


def audit_of(**changed: Any) -> Any:
    tables = {"predictions": PREDICTIONS, "users": USERS} | changed
    return audit(**tables, n_bootstrap=3, ways=1, by=None if "by" in changed else ["code"]).table.rows()


@dataclass(frozen=True)
class Reading:
    """A place that takes a table, a table for it, and what it makes of the table."""

    frame: pl.DataFrame
    result: Callable[..., Any]


PLACES = {
    "open_frame": Reading(USERS, lambda t, **_: open_frame(t, "users")[0].rows()),
    "read": Reading(TEXTS, lambda t, letters, **_: comparisons_of(t, letters)),
    "read users": Reading(
        USERS, lambda t, letters, **_: read(TEXTS, users=t, encoder=letters).users.to_dict(as_series=False)
    ),
    "score candidates": Reading(
        COMPLETIONS, lambda t, **_: (lambda c: (c.user_ids, c.items.texts.rows(), c.item.tolist()))(read_completions(t))
    ),
    "audit predictions": Reading(PREDICTIONS, lambda t, **_: audit_of(predictions=t)),
    "audit users": Reading(USERS, lambda t, **_: audit_of(users=t)),
    "predictions": Reading(
        PREDICTIONS, lambda t, **_: [str(v) for v in vars(read_predictions(read_table(t, "predictions"))[0]).values()]
    ),
    "margins": Reading(MARGINS, lambda t, **_: read_margins(t)),
    "rewards": Reading(REWARDS, lambda t, **_: (lambda c: (c.ids, c.reward.tolist()))(read_rewards(t))),
    "scores": Reading(SCORES, lambda t, **_: predictions_from_scores(t).rows()),
    "factors": Reading(
        PREDICTIONS, lambda t, **_: factors(t, DIFFERENCES, USERS, by=["code"], n_bootstrap=2).table.rows()
    ),
    "factors' differences": Reading(DIFFERENCES, lambda t, **_: factors(PREDICTIONS, t, n_bootstrap=2).table.rows()),
    "differences": Reading(DIFFERENCES, lambda t, **_: differences(t, DIFFERENCES * 2).rows()),
    "separations": Reading(
        USERS,
        lambda t, **_: separations(
            np.arange(30.0)[:, None] % 4, USERS["user_id"].to_list(), t, by=["code"], permutations=5
        ).rows(),
    ),
    "verl": Reading(
        TEXTS, lambda t, folder, **_: pl.read_parquet(to_parquet(t, folder / "verl.parquet"))["extra_info"].to_list()
    ),
}
EXPECTED: dict[str, str] = {}


@pytest.mark.parametrize("form", [*MEMORY, *FILES])
@pytest.mark.parametrize("name", PLACES)
def test_every_place_reads_the_same_from_every_format(name, form, tmp_path, letters):
    place = PLACES[name]
    if name not in EXPECTED:
        EXPECTED[name] = repr(place.result(place.frame, letters=letters, folder=tmp_path))
    source = in_format(place.frame, form, tmp_path)
    assert repr(place.result(source, letters=letters, folder=tmp_path)) == EXPECTED[name]


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


@pytest.mark.parametrize("what", ["users", "comparisons", "predictions"])
def test_a_key_that_comes_late_is_there(tmp_path, what):
    rows = [{"user_id": str(k)} | ({"region": "north"} if k >= 120 else {}) for k in range(N)]
    frame, _ = open_frame(lines(tmp_path / "t.jsonl", rows), what)
    assert frame["region"].to_list() == [None] * 120 + ["north"] * 10


def test_types_that_come_late_count(tmp_path):
    ages = [*range(120), "65+"]
    rows = [{"user_id": str(k), "age": age, "label": k % 2 if k < 120 else 0.5} for k, age in enumerate(ages)]
    text = pl.DataFrame({"age": list(map(str, ages)), "label": [str(row["label"]) for row in rows]})
    text.write_csv(tmp_path / "t.csv")
    for path in (lines(tmp_path / "t.jsonl", rows), tmp_path / "t.csv"):
        frame, _ = open_frame(path, "users")
        assert frame["age"].to_list() == list(map(str, ages))
        assert frame["label"].to_list() == [float(row["label"]) for row in rows]
    dates = [{"user_id": "u", "since": since} for since in ("2020-01-01", "long ago")]
    assert open_frame(lines(tmp_path / "d.jsonl", dates[:1]), "users")[0]["since"].to_list() == ["2020-01-01"]
    assert open_frame(lines(tmp_path / "d.jsonl", dates), "users")[0]["since"].to_list() == ["2020-01-01", "long ago"]


@pytest.mark.parametrize(
    ("values", "read"),
    [
        (["01", "1", "02"], ["01", "1", "02"]),  # codes
        (["01", "02"], ["01", "02"]),
        (["1.1", "1.10"], ["1.1", "1.10"]),  # versions
        (["+1", "2"], ["+1", "2"]),
        (["1E5", "2E5"], ["1E5", "2E5"]),  # units of a block
        (["99999999999999999999", "1"], ["99999999999999999999", "1"]),  # beyond 64 bits
        (["-0", "0"], ["-0", "0"]),
        (["NaN", "NaN"], ["NaN", "NaN"]),
        (["1", "", "-20"], [1, None, -20]),  # measured
        (["0", "1", ".5"], [0.0, 1.0, 0.5]),
        (["1.70", "1.85", ""], [1.7, 1.85, None]),
        (["1e-07", "0.5"], [1e-7, 0.5]),
        (["true", "false"], ["true", "false"]),
    ],
)
def test_codes_keep_their_text_in_csv_and_measured_numbers_are_numbers(tmp_path, values, read):
    (tmp_path / "t.csv").write_text("user_id,x\n" + "".join(f"u,{value}\n" for value in values))
    assert open_frame(tmp_path / "t.csv", "users")[0]["x"].to_list() == read


def test_user_ids_keep_their_spelling_everywhere(tmp_path):
    (tmp_path / "t.csv").write_text("user_id,prob_first,label,x\n007,0.6,1,a\n7,0.7,0,b\n")
    assert read_predictions(read_table(tmp_path / "t.csv", "predictions"))[0].ids == ("007", "7")
    (tmp_path / "s.csv").write_text("user_id,score_chosen,score_rejected\n1.50,1,2\n1.5,2,1\n")
    assert predictions_from_scores(tmp_path / "s.csv")["user_id"].to_list() == ["1.50", "1.5"]


def test_numbers_that_are_asked_for_may_be_text(tmp_path):
    (tmp_path / "t.csv").write_text("user_id,prob_first,label,weight\nann,0.60,True,01\nbob,0.6,false,1\n")
    data, _ = read_predictions(read_table(tmp_path / "t.csv", "predictions"))
    assert (data.p.tolist(), data.y.tolist(), data.weight.tolist()) == ([0.6, 0.6], [1.0, 0.0], [1.0, 1.0])


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (pd.DataFrame([[1, 2, 3]], columns=["user_id", "age", "age"]), "users: column age is duplicated; rename"),
        (pa.table([["u"], [1], [2]], names=["user_id", "age", "age"]), "users: column age is duplicated; rename"),
        (
            pd.DataFrame({"user_id": ["a", "b"], "age": pd.Series([30, "65+"], dtype=object)}),
            "users: row 2: age is text, in the rows before it is a number; make it one or the other",
        ),
        ({"user_id": ["a", "b"], "age": [30, "65+"]}, "users: row 2: age is text, in the rows before it is a number"),
        ({"user_id": ["a", "b"], "age": [True, 2]}, "users: row 2: age is a number, in the rows before it is true or"),
        ({"user_id": ["a", "b"], "age": [30]}, "users: column age has 1 rows, user_id 2; give columns of one length"),
        ({"user_id": ["a", "b"], "age": 30}, "users: column age is int; give a list of values, one a row"),
        ({"age": {"young": 0.5}}, "users: column age is dict; give a list of values"),
        (pl.DataFrame({"user_id": pl.Series(["a", 3], dtype=pl.Object)}), "users: row 2: user_id is a number, in the"),
        (
            pl.DataFrame({"user_id": ["a"], "x": pl.Series([object()], dtype=pl.Object)}),
            "users: column x holds Python objects of type object; drop it, or make it text",
        ),
        ([{"user_id": "a"}], "users of type list cannot be read; give a file"),
    ],
)
def test_one_clear_line_for_what_is_ambiguous(source, message):
    with pytest.raises(InputError, match=f"^{message}") as caught:
        open_frame(source, "users")
    assert "\n" not in str(caught.value)


def test_a_mapping_may_mix_numbers_and_leave_out_texts():
    frame, _ = open_frame({"label": [*[0] * 101, 0.5], "age": [*["65+"] * 101, float("nan")]}, "users")
    assert frame["label"][-1] == 0.5
    assert frame["age"][-1] is None
    kept, _ = open_frame(pl.DataFrame({"w": pl.Series([1, 2.5], dtype=pl.Object)}), "users")
    assert kept["w"].to_list() == [1.0, 2.5]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"user_id,age,age\nu,1,2\n", "column age is duplicated; rename or drop one"),
        ("t.jsonl", b'{"user_id": "u", "age": 1, "age": 2}\n', "specified twice"),
        ("t.jsonl", b'{"user_id": "u", "age": 1}\n{"user_id": "v", "age": [1]}\n', "row 2: age is a list, in the rows"),
        ("t.jsonl", b'{"user_id": 7}\n{"user_id": "007"}\n', "row 2: user_id is text, in the rows before it is a num"),
    ],
)
def test_files_that_are_ambiguous(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message) as caught:
        open_frame(tmp_path / name, "users")
    assert str(tmp_path / name) in str(caught.value)
