"""Help, suggestions and completion: what somebody meets who does not know the commands yet."""

import json
import os
import shlex
import shutil
import subprocess
import sys

import polars as pl
import pytest

from plurality.cli import COMMANDS, _module, parse
from plurality.errors import InputError
from plurality.models import families, spec_class


def test_without_a_command_it_prints_help(command):
    done = command()
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("usage: plurality")
    for name in COMMANDS:
        assert f"\n    {name}" in done.out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("fti pal STORE", "did you mean fit?"),
        ("compare STORE --modles pal", "unrecognized arguments: --modles pal (did you mean --models?)"),
        ("compare STORE --split promt", "did you mean prompt?"),
        ("data prsim FOLDER --out OUT", "did you mean prism?"),
        ("fit low-rnk STORE --out OUT", "did you mean low_rank?"),
        ("compare STORE --models pla", "did you mean pal?"),
        ("completion bsh", "did you mean bash?"),
    ],
)
def test_a_mistyped_word_is_met_with_the_closest_one(command, line, said):
    done = command(*line.split())
    assert (done.code, done.out) == (2, "")
    assert done.err.count("\n") == 1
    assert said in done.err, done.err


def test_what_is_like_nothing_gets_no_suggestion(command):
    for line in ("xyzzy", "compare STORE --xyzzy 1", "fit xyzzy STORE --out OUT"):
        assert "did you mean" not in command(*line.split()).err


def test_models_are_found_however_they_are_written():
    for name in ("low-rank", "Low_Rank", "LOW-RANK"):
        assert spec_class(name) is spec_class("low_rank")
    with pytest.raises(InputError, match=r"'LowRank' is unknown \(did you mean low_rank\?\); choose one of"):
        spec_class("LowRank")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_an_example_that_parses(command, capsys, name):
    with pytest.raises(SystemExit):
        command(name, "--help")
    example = _module(name).EXAMPLE
    assert parse(shlex.split(example.partition(" >>")[0])[1:]).command == name


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_code_is_printed(command, shell):
    done = command("completion", shell)
    assert (done.code, done.err) == (0, "")
    assert "plurality" in done.out
    program = shutil.which(shell)
    if program:
        subprocess.run([program, "-n"], input=done.out, text=True, check=True)


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("plurality ", set(COMMANDS)),
        ("plurality comp", {"compare", "completion"}),
        ("plurality fit ", set(families())),
        ("plurality compare STORE --spl", {"--split"}),
    ],
)
def test_words_are_completed(line, offered, tmp_path):
    """As argcomplete's code in the shell asks: the line in the environment, the answers in a file."""
    answers = tmp_path / "answers"
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_SUPPRESS_SPACE": "1", "COMP_TYPE": "9"}
    asked |= {"COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_STDOUT_FILENAME": str(answers)}
    subprocess.run([sys.executable, "-m", "plurality"], env={**os.environ, **asked}, check=True)
    assert offered <= {word.strip() for word in answers.read_text().split("\n")}


def test_columns_that_nothing_reads_are_told_once(command, tmp_path):
    texts = {"chosen": ["tea now", "tea then"], "rejected": ["rain now", "rain then"]}
    rows = {"user_id": ["u", "v"], "prompt": ["p", "q"], **texts}
    pl.DataFrame({**rows, "tie": [0, 1], "annotator2": ["x", "y"]}).write_csv(tmp_path / "rows.csv")
    done = command("embed", tmp_path / "rows.csv", "--out", tmp_path / "store", "--json")
    notes = [line for line in done.err.splitlines() if "not read" in line]
    assert done.code == 0
    assert len(notes) == 2
    assert "column tie is not read; a tie is a row with a label of 1/2" in notes[0]
    assert notes[1].endswith("rows.csv: columns not read: tie, annotator2")
    assert json.loads(done.out)["columns_not_read"] == ["tie", "annotator2"]
