"""Published tables from files, folders and the hub; and what a bad one is told."""

import gzip
import json

import huggingface_hub
import polars as pl
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from plurality.datasets._tools.about import folder_of, open_table
from plurality.datasets._tools.nested import MESSAGES
from plurality.datasets._tools.schema import FLAG, ID, NUMBER, TEXT, raise_at_first, require
from plurality.errors import InputError, InputWarning
from plurality.io.visible import text_of

ROWS = [
    {"id": 1, "text": "héllo\nworld", "score": 2.5, "ok": True},
    {"id": 2, "text": "2020-01-01", "score": 3, "ok": False},
]
COLUMNS = {"id": ID, "text": TEXT, "score": NUMBER, "ok": FLAG}
EXPECTED = [("1", "héllo\nworld", 2.5, True), ("2", "2020-01-01", 3.0, False)]


def write(folder, name, rows=ROWS):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    frame = pl.DataFrame(rows) if rows is ROWS else None
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    match name.split(".", 1)[1]:
        case "parquet":
            frame.write_parquet(path)
        case "jsonl":
            path.write_bytes(lines)
        case "jsonl.gz":
            path.write_bytes(gzip.compress(lines))
        case "csv":
            frame.write_csv(path)
        case "csv.gz":
            path.write_bytes(gzip.compress(frame.write_csv().encode()))
    return path


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "jsonl.gz", "csv", "csv.gz"])
def test_every_format_gives_the_same_from_file_or_folder(tmp_path, suffix):
    path = write(tmp_path, f"deep/down/t.{suffix}")
    for source in (path, tmp_path, str(tmp_path)):
        table = open_table(source, "t", COLUMNS, optional={"note": TEXT})
        assert table.frame.select(*COLUMNS, "note").collect().rows() == [(*row, None) for row in EXPECTED]
        assert table.place == str(path)


def test_parts_are_one_table(tmp_path):
    for part in (0, 1):
        pl.DataFrame(ROWS[part : part + 1]).write_parquet(tmp_path / f"train-0000{part}.parquet")
    table = open_table(tmp_path, ("train-*.parquet", "train"), COLUMNS)
    assert table.frame.select(*COLUMNS).collect().rows() == EXPECTED
    assert table.place == f"{tmp_path} (2 files)"


def test_a_hub_id_is_fetched(tmp_path, monkeypatch):
    write(tmp_path, "data/t.jsonl")
    asked = {}

    def fetch(repo, *, repo_type, revision, allow_patterns):
        asked.update(repo=repo, repo_type=repo_type, revision=revision, patterns=allow_patterns)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    table = open_table("some/set@abc", "t", COLUMNS)
    assert table.frame.select(*COLUMNS).collect().rows() == EXPECTED
    assert (asked["repo"], asked["repo_type"], asked["revision"]) == ("some/set", "dataset", "abc")
    assert {"t.jsonl", "**/t.parquet"} <= set(asked["patterns"])

    def no_download(*_, **__):
        raise LocalEntryNotFoundError("no such thing\nat all")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", no_download)
    with pytest.raises(
        InputError, match=r"some/set is not a local path, and the hub does not give it \(no such thing\); c"
    ):
        folder_of("some/set", ["t"])


def test_sources_that_are_none(tmp_path):
    for source in ("nowhere", "./some/where", tmp_path / "x", "a/b.csv"):
        with pytest.raises(InputError, match="does not exist; give a file or folder"):
            folder_of(source, ["t"])
    (tmp_path / "other.txt").write_text("x")
    with pytest.raises(InputError, match=r"holds no t \(.*\), but other.txt; give the published files"):
        open_table(tmp_path, "t", COLUMNS)
    with pytest.raises(InputError, match=r"other\.txt: the format is unknown; give \.parquet"):
        open_table(tmp_path / "other.txt", "t", COLUMNS)
    write(tmp_path, "a/t.csv")
    write(tmp_path, "b/t.csv")
    with pytest.raises(InputError, match=r"holds t\.csv 2 times; give the path of one"):
        open_table(tmp_path, "t", COLUMNS)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1")
    with pytest.raises(InputError, match=r"bad\.parquet cannot be read \(.*\); fetch the file again"):
        open_table(tmp_path / "bad.parquet", "t", COLUMNS)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "a"}, {"text": ["a", "b"]}], r"row 2: text is \['a', 'b'\] where text belongs; correct"),
        ([{"text": ["a", "b"]}] * 2, r"row 1: text is \['a', 'b'\] where text belongs; correct"),
        ([{"text": "a"}, {"text": 3}], "row 2: text is 3 where text belongs; correct"),
        ([{"text": None}, {"text": None}], "row 1: text is null where text belongs; correct"),
        ([{"text": "a"}, ["text"]], "row 2: the line is not an object; write"),
        ([{"texts": "a"}], "column text is missing, the columns are texts; give"),
    ],
)
def test_json_lines_that_are_wrong(tmp_path, rows, message):
    path = write(tmp_path, "t.jsonl", rows)
    with pytest.raises(InputError, match=rf"t\.jsonl: {message}"):
        open_table(path, "t", {"text": TEXT})


def test_a_line_that_is_cut(tmp_path):
    (tmp_path / "t.jsonl").write_text('{"text": "a"}\n{"text": "b')
    with pytest.raises(InputError, match=r"row 2: the line is not JSON \(.*\); fetch"):
        open_table(tmp_path, "t", {"text": TEXT})


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (["1", "x"], NUMBER, "row 2: c is 'x' where a number belongs"),
        ([1.0, float("nan")], NUMBER, "row 2: c is nan where a number belongs"),
        ([[1.0]], NUMBER, r"row 1: c is \[1\.0\] where a number belongs"),
        (["true", "maybe"], FLAG, "row 2: c is 'maybe' where true or false belongs"),
        ([None, None], ID, "row 1: c is null where an id"),
        ([1.5], ID, r"row 1: c is 1\.5 where an id"),
        ([None, ["p"]], TEXT, r"row 2: c is \['p'\] where text belongs"),
        (["p"], [TEXT], "row 1: c is 'p' where a list of text belongs"),
        ([{"a": 1}], {"b": TEXT}, r"row 1: c is \{'a': 1\} where an object with b belongs"),
        ([[{"a": [1]}]], [{"a": TEXT}], "row 1: c is .* where a list of an object with a belongs"),
        (["x" * 99], NUMBER, r"row 1: c is 'x{56}\.\.\. where a number"),
    ],
)
def test_values_that_are_wrong(values, kind, message):
    with pytest.raises(InputError, match=f"place: {message}"):
        require(pl.LazyFrame({"c": values}), {"c": kind}, "place")


def test_optional_columns_may_be_null_and_an_odd_cell_is_missing_and_told():
    frame = pl.LazyFrame({"c": ["1", None], "n": [None, None]})
    made = require(frame, {}, "place", optional={"c": NUMBER, "n": [TEXT], "absent": {"a": TEXT}})[0].collect()
    assert made["c"].to_list() == [1.0, None]
    assert made["absent"].dtype == pl.Struct({"a": pl.String})
    with pytest.warns(InputWarning, match=r"place: row 2: c is 'x' where a number belongs; taken as missing \(2 rows"):
        made = require(pl.LazyFrame({"c": ["3", "x", "y"]}), {}, "place", optional={"c": NUMBER})[0].collect()
    assert made["c"].to_list() == [3.0, None, None]


def test_a_row_that_lacks_something_needed_is_left_out_and_counted():
    frame = pl.LazyFrame({"a": [1, None, 3, 4], "b": [["x"], ["y"], ["z", None], ["w"]], "c": [None, 2, 3, 4]})
    made, dropped = require(frame, {"a": ID, "b": [TEXT]}, "place", optional={"c": NUMBER})
    assert made.select("a", "b", "c").collect().rows() == [("1", ["x"], None), ("4", ["w"], 4.0)]
    assert dropped == {"rows without a": 1, "rows without b": 1}
    with pytest.raises(InputError, match="place: row 4: c is large; mend it"):  # the row of the file, not of the rest
        raise_at_first(made, pl.col("c") > 3, "place", "c is large", "mend it")


LONG = [{"a": f"text {i}", "n": i, "note": i, "about": {"x": i}} for i in range(5)]


@pytest.mark.parametrize("odd", ["text", [1], {"deep": 1}])
def test_an_odd_value_in_a_column_that_nobody_reads_does_not_matter(tmp_path, odd):
    rows = [*LONG, {**LONG[0], "note": odd, "about": odd}]
    table = open_table(write(tmp_path, "t.jsonl", rows), "t", {"a": TEXT, "n": NUMBER})
    assert table.frame.select("a", "n").collect().rows() == [(r["a"], float(r["n"])) for r in rows]
    assert table.dropped == {}
    parts = [pl.DataFrame({"a": ["x"], "n": [1], "note": [odd]}), pl.DataFrame({"a": ["y"], "n": [2.5], "note": [1]})]
    for part, frame in enumerate(parts):
        frame.write_parquet(tmp_path / f"train-{part}.parquet")
    table = open_table(tmp_path, "train-*.parquet", {"a": TEXT, "n": NUMBER})
    assert table.frame.select("a", "n").collect().rows() == [("x", 1.0), ("y", 2.5)]


def test_odd_values_in_json_lines_are_missing_where_they_may_be(tmp_path):
    rows = [*LONG, {**LONG[0], "n": "seven", "id": "1"}, {**LONG[0], "n": "7", "id": 2}, {**LONG[0], "id": None}]
    path = write(tmp_path, "t.jsonl", rows)
    with pytest.warns(InputWarning, match=r"t\.jsonl: row 6: n is 'seven' where a number belongs; taken as missing$"):
        table = open_table(path, "t", {"a": TEXT}, optional={"n": NUMBER, "id": ID})
    assert table.frame.select("n", "id").collect().rows()[5:] == [(None, "1"), (7.0, "2"), (0.0, None)]
    with pytest.raises(InputError, match=r"t\.jsonl: row 6: n is 'seven' where a number belongs; correct"):
        open_table(path, "t", {"a": TEXT, "n": NUMBER})


def test_ids_that_look_like_dates_are_ids(tmp_path):
    path = write(tmp_path, "t.jsonl", [{"id": "2020-01-01"}, {"id": "2020-01-02"}])
    assert open_table(path, "t", {"id": ID}).frame.collect()["id"].to_list() == ["2020-01-01", "2020-01-02"]


PARTS = [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]
IMAGE = [{"type": "image", "text": None}]


@pytest.mark.parametrize("name", ["t.jsonl", "t.parquet"])
def test_a_content_in_parts_is_joined_as_everywhere(tmp_path, name):
    rows = [{"m": [{"role": "user", "content": PARTS}, {"role": "model", "content": IMAGE}]}]
    if name == "t.jsonl":
        rows.append({"m": [{"role": "user", "content": "plain"}]})
        path = write(tmp_path, name, rows)
    else:
        path = tmp_path / name
        pl.DataFrame(rows).write_parquet(path)
    made = open_table(path, "t", {"m": MESSAGES}).frame.collect()["m"].to_list()
    assert [message["content"] for message in made[0]] == ["one two", None]
    assert [text_of(PARTS), text_of(IMAGE)] == ["one two", None]
    assert made[1:] == [[{"role": "user", "content": "plain"}]][: len(rows) - 1]


def test_lists_and_objects_that_are_all_empty_have_their_type():
    frame = pl.LazyFrame({"c": [[], []], "n": [None, None]})
    made = require(frame, {"c": [{"a": TEXT}]}, "place", optional={"n": {"a": FLAG}})[0].collect()
    assert made.schema == {"c": pl.List(pl.Struct({"a": pl.String})), "n": pl.Struct({"a": pl.Boolean})}
    assert made["c"].to_list() == [[], []]


def test_whole_numbers_that_a_null_made_floats_are_ids():
    made, dropped = require(pl.LazyFrame({"c": [7.0, None, 12.0]}), {"c": ID}, "place")
    assert (made.collect()["c"].to_list(), dropped) == (["7", "12"], {"rows without c": 1})


def test_the_first_bad_row_is_named():
    frame = pl.LazyFrame({"c": [None, 1, 2, 3]})
    raise_at_first(frame, pl.col("c") > 3, "place", "c is large", "mend it")
    with pytest.raises(InputError, match="place: row 3: c is large; mend it"):
        raise_at_first(frame, pl.col("c") > 1, "place", "c is large", "mend it")
