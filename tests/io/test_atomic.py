"""Folders and files that appear whole or not at all."""

import json
import os
from pathlib import Path

import pytest

from plurality.errors import InputError
from plurality.io import replace
from plurality.io.atomic import check_file, check_target, whole_file, whole_folder

MARK = "mark.json"


def write(target, text):
    with whole_folder(target, marker=MARK) as new:
        (new / MARK).write_text(json.dumps({"text": text}))
        (new / "deep").mkdir()
        (new / "deep" / "data").write_text(text)


def text_of(target):
    return json.loads((target / MARK).read_text())["text"]


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_a_new_folder_and_its_parents_appear(tmp_path):
    write(tmp_path / "a" / "b", "one")
    assert (tmp_path / "a" / "b" / "deep" / "data").read_text() == "one"
    assert names(tmp_path / "a") == ["b"]
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o755


def test_an_empty_folder_is_filled_and_an_old_one_of_the_kind_replaced(tmp_path):
    (tmp_path / "b").mkdir()
    write(tmp_path / "b", "one")
    write(tmp_path / "b", "two")
    assert names(tmp_path / "b") == ["deep", MARK]
    assert text_of(tmp_path / "b") == "two"
    assert names(tmp_path) == ["b"]


def test_it_is_not_there_before_it_is_whole(tmp_path):
    with whole_folder(tmp_path / "b", marker=MARK) as new:
        (new / MARK).write_text('{"text": "half"}')
        assert not (tmp_path / "b").exists()
    assert text_of(tmp_path / "b") == "half"


@pytest.mark.parametrize("error", [ValueError("ours"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_one_and_nothing_else(tmp_path, error):
    write(tmp_path / "b", "one")

    def fail():
        with whole_folder(tmp_path / "b", marker=MARK) as new:
            (new / MARK).write_text("half")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert text_of(tmp_path / "b") == "one"
    assert names(tmp_path) == ["b"]


def test_a_full_disk_is_an_input_error_of_one_line(tmp_path):
    def fail():
        with whole_folder(tmp_path / "b", marker=MARK) as new:
            (new / MARK).write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(InputError, match=r"/b: cannot be written \(No space left on device\)") as caught:
        fail()
    assert "\n" not in str(caught.value)
    assert names(tmp_path) == []


@pytest.mark.parametrize("at_once", [True, False])
def test_an_old_folder_is_replaced_in_one_step_or_two(tmp_path, monkeypatch, at_once):
    if at_once:
        monkeypatch.setattr(os, "rename", None)  # there is no moment without a target
    else:
        monkeypatch.setattr(replace, "exchange", lambda *_: False)
    for text in ("one", "two", "three"):
        write(tmp_path / "b", text)
    assert text_of(tmp_path / "b") == "three"
    assert names(tmp_path) == ["b"]


def test_if_the_last_step_fails_the_old_one_comes_back(tmp_path, monkeypatch):
    write(tmp_path / "b", "one")
    rename = os.rename

    def fails_into_place(source, target):
        if Path(source).name == "new":
            raise OSError(5, "Input/output error")
        return rename(source, target)

    monkeypatch.setattr(replace, "exchange", lambda *_: False)
    monkeypatch.setattr(os, "rename", fails_into_place)
    with pytest.raises(InputError, match="Input/output error"):
        write(tmp_path / "b", "two")
    assert text_of(tmp_path / "b") == "one"
    assert names(tmp_path) == ["b"]


def test_what_is_not_ours_is_left_alone(tmp_path):
    other, file = tmp_path / "thesis", tmp_path / "notes.txt"
    other.mkdir()
    (other / "chapter1").write_text("years of work")
    file.write_text("notes")
    for target in (other, file):
        for call in (lambda t=target: write(t, "one"), lambda t=target: check_target(t, MARK)):
            with pytest.raises(InputError, match="was not written by this command; choose another"):
                call()
    assert (other / "chapter1").read_text() == "years of work"
    assert file.read_text() == "notes"
    assert names(tmp_path) == ["notes.txt", "thesis"]


def test_a_parent_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    for call in (
        lambda: write(tmp_path / "file" / "b", "one"),
        lambda: check_target(tmp_path / "file" / "b", MARK),
        lambda: check_file(tmp_path / "file" / "b.parquet"),
    ):
        with pytest.raises(InputError, match=r"file/b.*cannot be written") as caught:
            call()
        assert "\n" not in str(caught.value)
    assert names(tmp_path) == ["file"]


def test_the_folder_one_stands_in_is_not_taken_away(tmp_path, monkeypatch):
    (tmp_path / "here" / "deeper").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here" / "deeper")
    for target in (Path(), Path(".."), tmp_path / "here"):
        with pytest.raises(InputError, match="choose another"):
            write(target, "one")
    write(Path("new"), "one")
    assert names(tmp_path / "here" / "deeper") == ["new"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_parent_without_permission(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(InputError, match="Permission denied"):
            write(tmp_path / "b", "one")
    finally:
        tmp_path.chmod(0o700)


def test_a_link_to_a_folder_is_replaced_and_what_it_pointed_to_kept(tmp_path):
    write(tmp_path / "real", "one")
    (tmp_path / "b").symlink_to(tmp_path / "real")
    write(tmp_path / "b", "two")
    assert text_of(tmp_path / "real") == "one"
    assert text_of(tmp_path / "b") == "two"


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "out.csv"
    with whole_file(target) as new:
        new.write_text("one")
        assert not target.exists()

    def fail():
        with whole_file(target) as new:
            new.write_text("half")
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011 - any error of the block
        fail()
    assert target.read_text() == "one"
    assert names(tmp_path) == ["out.csv"]
    with pytest.raises(InputError, match="is a folder; give the name of a file"):
        check_file(tmp_path)
