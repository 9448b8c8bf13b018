"""Audits that were saved, on one page; and labels as a file has them."""

import json
import re

import polars as pl
import pytest

from plurality.analyses.audit import audit_page
from plurality.analyses.page.labels import read_labels
from plurality.errors import InputError
from tests.analyses.page.test_explorer import frame_of, view_named


@pytest.fixture(scope="module")
def folders(audits, tmp_path_factory):
    place = tmp_path_factory.mktemp("saved")
    return [audits[0].save(place / "first"), audits[3].save(place / "second")]


def data_of(path):
    return json.loads(re.search(r'id="explorer-data">(.*?)</script>', path.read_text("utf-8"), re.DOTALL)[1])


def test_saved_audits_stand_on_one_page(folders, audits, tmp_path):
    path = audit_page(folders, tmp_path / "page.html", labels={"de": {"users": "Leute"}})
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
    data = data_of(path)
    assert {view["name"] for view in data["views"]} == {"slices", "rows_topic", "models", "contrasts"}
    mine = frame_of(view_named(data, "slices"))
    shown = [audit.table.filter(~pl.col("suppressed")).height for audit in (audits[0], audits[3])]
    assert mine.group_by("model", "cell", maintain_order=True).len().rows() == [
        ("sharp", "seen", shown[0]),
        ("flat", "unseen", shown[1]),
    ]


def test_audits_of_one_model_are_told_apart_by_their_folders(folders, tmp_path):
    data = data_of(audit_page([folders[0], folders[0]], tmp_path / "page.html"))
    assert set(view_named(data, "slices")["data"]["model"]["words"]) == {"sharp", f"sharp ({folders[0]})"}


@pytest.mark.parametrize("folders", [[], "audit/"])
def test_no_list_of_folders_raises(folders, tmp_path):
    with pytest.raises(InputError, match="give a list of folders"):
        audit_page(folders, tmp_path / "page.html")


def test_a_folder_without_an_audit_raises_and_leaves_nothing(folders, tmp_path):
    with pytest.raises(InputError, match="no audit is there"):
        audit_page([folders[0], tmp_path], tmp_path / "page.html")
    assert not list(tmp_path.iterdir())


def test_labels_of_a_file(tmp_path):
    path = tmp_path / "labels.toml"
    path.write_text('[de]\nage = "Alter"\n"18-24" = "18–24"\n[fr]\nage = "âge"\n', "utf-8")
    assert read_labels(path) == {"de": {"age": "Alter", "18-24": "18–24"}, "fr": {"age": "âge"}}


@pytest.mark.parametrize(("text", "why"), [("[de", "no TOML"), ('age = "Alter"', "labels: 'age' is no mapping")])
def test_a_file_of_something_else_raises(tmp_path, text, why):
    path = tmp_path / "labels.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(InputError, match=why):
        read_labels(path)
    with pytest.raises(InputError, match="absent"):
        read_labels(tmp_path / "absent.toml")
