"""Frames of a data set: what they tell, what they write, and the face a user types."""

import json

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from plurality import datasets
from plurality.data.comparisons import Comparisons
from plurality.datasets._tools.frames import Frames, sieve, some
from plurality.errors import InputError

ROWS = pl.DataFrame(
    {
        "user_id": ["ann", "ann", "bob"],
        "prompt": ["tea?"] * 3,
        "chosen": ["green", "mint", "black"],
        "rejected": ["black", "black", "mint"],
        "label": [1.0, 0.5, 1.0],
        "a_rather_long_name_of_a_column_that_is_passed_through": [1, 2, 3],
    }
)
PEOPLE = pl.DataFrame({"user_id": ["ann", "bob"], "age <years>": [30, 40]})
FRAMES = Frames("teas", ROWS.lazy(), PEOPLE, {"rows that are blank": 1200})


@pytest.fixture
def folder(tmp_path):
    """A folder in the toolkit's own format, with a blank answer and one without a choice."""
    odd = pl.DataFrame({"user_id": ["bob"] * 2, "prompt": ["tea?"] * 2, "chosen": [" \n", "x"], "rejected": ["a", "x"]})
    rows = pl.concat([ROWS.drop("label", pl.selectors.starts_with("a_")), odd])
    rows.write_parquet(tmp_path / "comparisons.parquet")
    PEOPLE.write_parquet(tmp_path / "users.parquet")
    return tmp_path


def test_the_summary_tells_what_a_person_asks():
    text = FRAMES.summary()
    assert max(map(len, text.splitlines())) <= 80
    for fact in ("comparisons: 3 by 2 users, median 2 each", "ties: 1", "known of users: age", "blank: 1,200"):
        assert fact in text
    assert repr(FRAMES) == text
    html = FRAMES._repr_html_()
    assert "age &lt;years&gt;" in html
    assert html.count("<tr>") == 5


@pytest.mark.parametrize("rows", [ROWS, ROWS.lazy()])
def test_what_is_written_is_read(tmp_path, rows):
    Frames("teas", rows, PEOPLE, {"x": 1}).write(tmp_path / "out")
    assert_frame_equal(pl.read_parquet(tmp_path / "out" / "comparisons.parquet"), ROWS)
    assert_frame_equal(pl.read_parquet(tmp_path / "out" / "users.parquet"), PEOPLE)
    record = json.loads((tmp_path / "out" / "frames.json").read_text())
    assert (record["name"], record["dropped"]) == ("teas", {"x": 1})
    assert set(record["files"]) == {"comparisons.parquet", "users.parquet"}
    FRAMES.write(tmp_path / "out")  # its own kind may be replaced


def test_nothing_half_written_is_left(tmp_path):
    broken = Frames("teas", ROWS.lazy().with_columns(pl.col("prompt").cast(pl.Int64)), PEOPLE)
    with pytest.raises(pl.exceptions.PolarsError):
        broken.write(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match="was not written by this command"):
        FRAMES.write(tmp_path)


def test_rows_fall_to_their_first_reason_once():
    c = pl.col("c")
    kept, dropped = sieve(pl.LazyFrame({"c": [1, 2, 3, 4, None]}), {"even": c % 2 == 0, "large": c > 2, "never": c > 9})
    assert kept.collect()["c"].to_list() == [1, None]  # a null holds for no reason
    assert dropped == {"even": 2, "large": 1}
    with pytest.raises(InputError, match=r"no comparison is left for teas \(too old 3\); loosen"):
        some(Frames("teas", ROWS.clear(), PEOPLE, {"too old": 3}), "here")


def test_load_embeds(folder, letters, facts):
    data = datasets.load("llmfao", folder, encoder=letters)
    assert isinstance(data, Comparisons)
    assert facts(data)[0] == ("ann", "tea?", {"green": 1, "black": 0}, 1)
    assert (len(data), data.users.columns) == (3, ["user_id", "age <years>"])


def test_names_and_options_are_checked(folder):
    with pytest.raises(InputError, match=r"data set 'teas' is unknown; choose .*polis"):
        datasets.load("teas", folder)
    with pytest.raises(InputError, match="llmfao has no option pairs; its options are ties='drop'"):
        datasets.load("llmfao", folder, pairs="all")
    with pytest.raises(InputError, match=r"prism has no option paris; its options are pairs='chosen_vs_rest', subset="):
        datasets.frames("prism", folder, paris="all")
    assert callable(datasets.frames)  # not the module of that name


def test_data_command_writes_frames(folder, tmp_path, command):
    done = command("data", "popquorn", folder, "--out", tmp_path / "frames", "--json")
    assert (done.code, done.err) == (0, "")
    dropped = {"rows whose chosen is blank": 1, "rows of equal texts": 1}
    facts = {"folder": str(tmp_path / "frames"), "comparisons": 3, "users": 2, "dropped": dropped}
    assert json.loads(done.out) == facts
    assert pl.read_parquet(tmp_path / "frames" / "comparisons.parquet").height == 3


def test_data_command_writes_the_store_that_embed_writes(town, tmp_path, command):
    lsa = ["--encoder", "lsa", "--dim", 8, "--json"]
    done = command("data", "polis", town, "--out", tmp_path / "store", *lsa)
    embedded = command(
        "embed", town / "comparisons.parquet", "--users", town / "users.parquet", "--out", tmp_path / "e", *lsa
    )
    told, expected = json.loads(done.out), json.loads(embedded.out)
    assert told == expected | {"store": str(tmp_path / "store"), "dropped": {}}
    a, b = Comparisons.load(tmp_path / "store"), Comparisons.load(tmp_path / "e")
    assert (a.items == b.items).all()
    assert (a.first == b.first).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["popquorn", "nowhere", "--out", "o"], "nowhere does not exist; give a file or folder"),
        (
            ["popquorn", "FOLDER", "--out", "o", "--set", "x=1"],
            "--set x=1: popquorn has the settings block, ties, weights, seed",
        ),
        (["prism", "FOLDER", "--out", "o", "--set", "x=1"], "prism has the settings pairs, subset"),
        (["prism", "FOLDER", "--out", "o", "--set", "standardise=2"], "give true or false"),
        (["popquorn", "FOLDER", "--out", "o", "--dim", "3"], "--dim without --encoder: name the encoder"),
        (["teas", "FOLDER", "--out", "o"], "invalid choice: 'teas'"),
    ],
)
def test_data_command_has_errors_of_one_line(folder, tmp_path, command, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    done = command("data", *(folder if a == "FOLDER" else a for a in arguments))
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1
    assert not (tmp_path / "o").exists()
