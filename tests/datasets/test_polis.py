"""Polis from a small export as published, and on the real consultations where they are."""

import polars as pl
import pytest

from plurality.datasets.polis import frames
from plurality.errors import InputError, InputWarning

COMMENTS = pl.DataFrame(
    {
        "timestamp": [1, 2, 3, 4],
        "comment-id": [0, 1, 2, 3],
        "author-id": [9, 9, 9, 9],
        "agrees": [2, 1, 0, 1],
        "disagrees": [0, 1, 2, 0],
        "moderated": [1, 1, 0, 1],
        "comment-body": ["Raise it,\nnow.", 'A "fair" wage', "Don't", " "],
    }
)
# when, statement, voter, vote: ann changes her mind on 1
VOTES = [(10, 0, 5, 1), (11, 1, 5, -1), (12, 2, 5, -1), (13, 1, 5, 1), (10, 0, 6, 1), (9, 2, 6, -1), (8, 1, 6, 0)]
VOTES += [(7, 3, 6, 1)]


def write(folder, votes=VOTES, comments=COMMENTS, name="tea"):
    (folder / name).mkdir(exist_ok=True)
    table = pl.DataFrame(votes, schema=["timestamp", "comment-id", "voter-id", "vote"], orient="row")
    table.write_csv(folder / name / "votes.csv")
    comments.write_csv(folder / name / "comments.csv")
    return folder


def told(made):
    return sorted(made.collect().select("user_id", "prompt", "chosen", "rejected", "weight").rows())


PAIRS = [
    ("tea:5", "tea", 'A "fair" wage', "Don't", 0.5),
    ("tea:5", "tea", "Raise it,\nnow.", "Don't", 0.5),
    ("tea:6", "tea", "Raise it,\nnow.", "Don't", 1.0),
]


def test_agreed_is_preferred_to_disagreed_and_the_last_vote_counts(tmp_path):
    made = frames(write(tmp_path), block=0)
    assert told(made) == PAIRS
    assert made.dropped == {
        "votes on statements without a text": 1, "votes that the person changed later": 1, "passes": 1,
        "pairs of two agreed or two disagreed with": 1,
    }  # fmt: skip
    assert made.users.rows() == [("tea:5", "tea"), ("tea:6", "tea")]
    assert told(frames(tmp_path / "tea", block=0)) == PAIRS
    write(tmp_path, name="cake")
    assert {row[1] for row in told(frames(tmp_path))} == {"tea", "cake"}
    assert told(frames(tmp_path, conversation="tea", block=0)) == PAIRS
    with pytest.raises(InputError, match="conversation 'beer' is not there; name one of cake, tea"):
        frames(tmp_path, conversation="beer")


def test_an_export_that_turns_votes_round_is_read_by_its_own_counts(tmp_path):
    turned = [(when, statement, voter, -vote) for when, statement, voter, vote in VOTES]
    with pytest.warns(InputWarning, match="say that a vote of -1 is agreement; votes are read so"):
        made = frames(write(tmp_path, turned), block=0)
    assert told(made) == PAIRS


def test_what_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"votes\.csv: row 9: vote is none of -1, 0, 1; correct"):
        frames(write(tmp_path, [*VOTES, (1, 1, 1, 2)]))
    with pytest.raises(InputError, match=r"comments\.csv: row 5: comment-id is that of an earlier row; keep one"):
        frames(write(tmp_path, comments=pl.concat([COMMENTS, COMMENTS[:1]])))
    with pytest.raises(InputError, match=r"comments\.csv: column comment-body is missing or empty; give the publ"):
        frames(write(tmp_path, comments=COMMENTS.drop("comment-body")))
    (tmp_path / "none").mkdir()
    with pytest.raises(InputError, match=r"none holds no votes\.csv; give the folder of a consultation"):
        frames(tmp_path / "none")


def test_the_published_votes_hold_every_comparison_of_the_conversion(real_data):
    made = frames(real_data("raw") / "polis", block=0)
    assert (made.collect().height, made.users.height) == (7_265, 187)
    name = "15-per-hour-seattle"
    ours = frames(real_data("polis"), conversation=name).collect()
    sides = ["user_id", "prompt", "chosen", "rejected"]
    assert ours.join(made.collect(), on=sides, how="semi").height == ours.height == 928


def test_the_real_consultations(real_data):
    made = frames(real_data("polis"))
    rows = made.collect()
    assert (rows.height, made.users.height, made.dropped) == (131_373, 3_242, {})
    assert rows["prompt"].n_unique() == made.users["conversation"].n_unique() == 13


def test_one_consultation(real_data):
    whole = frames(real_data("polis"))
    name = whole.users["conversation"][0]
    one = frames(real_data("polis"), conversation=name)
    assert one.collect()["prompt"].unique().to_list() == [name]
    assert one.collect().height == whole.collect().filter(pl.col("prompt") == name).height
    assert set(one.collect()["user_id"]) <= set(one.users["user_id"])
    with pytest.raises(InputError, match="conversation 'nowhere': no comparison is left for polis"):
        frames(real_data("polis"), conversation="nowhere")
