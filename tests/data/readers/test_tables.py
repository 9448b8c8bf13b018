"""Every kind of table gives the same comparisons, and what is none is an error of one line."""

import errno
import gzip
import os
from pathlib import Path

import datasets
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from plurality.data.read import read
from plurality.data.readers.tables import open_frame
from plurality.errors import InputError

# three people, two prompts, five items
ROWS = {
    "user_id": ["ann", "bob", "ann", "cyd"],
    "prompt": ["tea?", "tea?", "sea?", "sea?"],
    "chosen": ["green", "black", "calm", "wild"],
    "rejected": ["black", "mint", "wild", "calm"],
}


EXPECTED = [
    ("ann", "tea?", {"green": 1, "black": 0}, 1),
    ("bob", "tea?", {"black": 1, "mint": 0}, 1),
    ("ann", "sea?", {"calm": 1, "wild": 0}, 1),
    ("cyd", "sea?", {"wild": 1, "calm": 0}, 1),
]


def write(frame: pl.DataFrame, path: Path) -> Path:
    match path.suffixes:
        case [".parquet"]:
            frame.write_parquet(path)
        case [".jsonl"] | [".json"]:
            frame.write_ndjson(path)
        case [".csv"]:
            frame.write_csv(path)
        case [".jsonl", ".gz"]:
            path.write_bytes(gzip.compress(frame.write_ndjson().encode()))
        case [".csv", ".gz"]:
            path.write_bytes(gzip.compress(frame.write_csv().encode()))
    return path


@pytest.mark.parametrize("name", ["c.parquet", "c.jsonl", "c.json", "c.csv", "c.jsonl.gz", "c.csv.gz"])
def test_every_file_format_gives_the_same(tmp_path, letters, name, facts):
    path = write(pl.DataFrame(ROWS), tmp_path / name)
    data = read(path, encoder=letters)
    assert facts(data) == EXPECTED
    assert data.source == str(path)
    assert len(letters.seen) == len(set(letters.seen)) == 5  # each item is embedded once


@pytest.mark.parametrize(
    "source",
    [
        pl.DataFrame(ROWS),
        pl.LazyFrame(ROWS),
        pl.DataFrame(ROWS).cast({"user_id": pl.Categorical, "prompt": pl.Categorical}),
        pl.DataFrame(ROWS).with_columns(chosen=pl.Series(ROWS["chosen"], dtype=pl.Object), x=pl.lit(1)),
        pd.DataFrame(ROWS),
        ROWS,
        pa.table(ROWS),
        datasets.Dataset.from_dict(ROWS),
        datasets.Dataset.from_dict({k: v[::-1] for k, v in ROWS.items()}).select([3, 2, 1, 0]),
    ],
    ids=["polars", "lazy", "categories", "objects", "pandas", "mapping", "pyarrow", "dataset", "selected dataset"],
)
def test_every_frame_gives_the_same(letters, source, facts):
    assert facts(read(source, encoder=letters)) == EXPECTED


def test_numbers_as_ids_and_leading_zeros_in_csv(tmp_path, letters, facts):
    (tmp_path / "c.csv").write_text('user_id,prompt,chosen,rejected\n007,p,1,"2, or\n3"\n7,p,1,4\n')
    (tmp_path / "u.csv").write_text("user_id,age\n7,30\n007,40\n")
    data = read(tmp_path / "c.csv", users=tmp_path / "u.csv", encoder=letters)
    assert facts(data) == [("007", "p", {"1": 1, "2, or\n3": 0}, 1), ("7", "p", {"1": 1, "4": 0}, 1)]
    assert data.users.rows() == [("7", 30), ("007", 40)]
    whole = read(
        pl.DataFrame({**ROWS, "user_id": [1, 2, 1, 3]}),
        users=pl.DataFrame({"user_id": ["3", "2", "1"]}),
        encoder=letters,
    )
    assert whole.user.tolist() == [2, 1, 2, 0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.jsonl", b'{"a": 1}\n{"a":\n', "row 2: the line is not JSON .*; write one object a line"),
        ("c.jsonl", b'{"prompt": "\xe9"}\n', "row 1: the line is not UTF-8; write"),
        ("c.jsonl", b'[{"a": 1}]', "row 1: the line is a list; write one object a line"),
        ("c.jsonl", b"", "has no rows; give"),
        ("c.jsonl.gz", b"\x1f\x8b\x08\x00", r"cannot be read \(.*; write the file again"),
        ("c.csv", b"", "has no rows; give"),
        ("c.csv", b"user_id,prompt,chosen,rejected\n", "has no rows; give"),
        ("c.csv", b"user_id,prompt,chosen,rejected\nu,p,,a\n", "row 1: chosen is null; fill"),
        ("c.csv", b"user_id,prompt,chosen,rejected,label\nu,p,b,a,x\n", "row 1: label is not a number; give"),
        ("c.csv", b"user_id,prompt\nu,\xe9,c\n", r"cannot be read \(.*; write the file again"),
        ("c.parquet", b"PAR1", r"cannot be read \(.*; write the file again"),
        ("c.xlsx", b"", "the format .xlsx is unknown; give .parquet, .feather, .jsonl, .csv"),
    ],
)
def test_bad_files(tmp_path, letters, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=f"{name}:? {message}") as caught:
        read(tmp_path / name, encoder=letters)
    assert "\n" not in str(caught.value)


def test_sources_that_are_none(tmp_path, letters):
    with pytest.raises(InputError, match=r"absent\.csv does not exist; give the path of the comparisons"):
        read(tmp_path / "absent.csv", encoder=letters)
    with pytest.raises(InputError, match=r"is a folder without meta\.json, so no store; give a file"):
        read(tmp_path, encoder=letters)
    with pytest.raises(InputError, match="comparisons of type list cannot be read; give a file"):
        read([ROWS], encoder=letters)
    with pytest.raises(InputError, match="comparisons is a DatasetDict; give one Dataset"):
        read(datasets.DatasetDict({"train": datasets.Dataset.from_dict(ROWS)}), encoder=letters)
    with pytest.raises(InputError, match="the lazy frame cannot be collected"):
        read(pl.LazyFrame(ROWS).select("absent"), encoder=letters)
    with pytest.raises(InputError, match="row 2: chosen is a number, in the rows before it is text"):
        read(pd.DataFrame({**ROWS, "chosen": ["a", 5, "b", "c"]}), encoder=letters)
    objects = pl.Series("chosen", ["a", ["x"], "b", "c"], dtype=pl.Object)
    with pytest.raises(InputError, match="row 2: chosen is a list, in the rows before it is text"):
        read(pl.DataFrame(ROWS).with_columns(objects), encoder=letters)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO])
@pytest.mark.parametrize("name", ["c.csv", "c.jsonl", "c.parquet"])
def test_what_the_system_refuses_is_neither_absence_nor_damage(tmp_path, monkeypatch, name, number):
    path = tmp_path / name
    path.write_bytes(b"x")

    def refuse(*args, **kwargs):
        raise OSError(number, os.strerror(number), str(path))

    for place in ("polars.read_csv", "polars.read_parquet", "pathlib.Path.open"):
        monkeypatch.setattr(place, refuse)
    with pytest.raises(InputError, match=rf"{name}: cannot be read \({os.strerror(number)}\); ") as caught:
        open_frame(path, "comparisons")
    assert "write the file again" not in str(caught.value)


def test_a_closed_folder_is_not_an_absent_file(tmp_path, monkeypatch):
    def refuse(self, **kwargs):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(InputError, match=r"c.csv: cannot be read \(Permission denied\); give one that you may read"):
        open_frame(tmp_path / "c.csv", "comparisons")
