"""MultiPref from a small parquet file in the published format, against pairs worked out by hand."""

import json

import polars as pl
import pytest

from plurality.datasets import load
from plurality.datasets.multipref import frames
from plurality.errors import InputError

CLEAR, SLIGHT, TIE, WORSE = "A-is-clearly-better", "A-is-slightly-better", "Tie", "B-is-slightly-better"


def judgement(evaluator, overall, helpful=TIE, truthful=TIE, harmless=TIE):
    made = {"evaluator": evaluator, "time_spent": 60, "timestamp": "2024-04-01"}
    for aspect, pref in zip(
        ("overall", "helpful", "truthful", "harmless"), (overall, helpful, truthful, harmless), strict=True
    ):
        made[f"{aspect}_pref"] = pref
        made |= {f"{aspect}_confidence": "fairly-confident", f"{aspect}_checked_reasons": ["Clarity"]}
        made |= {f"{aspect}_own_reason": ""}
    return made


def row(number, prompt, a, b, normal, expert, prompt_id=None):
    return {
        "comparison_id": f"c{number}", "prompt_id": prompt_id or f"p{number}", "text": prompt,
        "completion_a": a, "model_a": "tulu", "completion_b": b, "model_b": "gpt", "source": "sharegpt",
        "category": "Open QA", "subject_study": None, "highest_level_degree": None,
        "normal_worker_annotations": normal, "expert_worker_annotations": expert,
    }  # fmt: skip


ROWS = [
    row(1, "茶?", "green", "black", [judgement("n1", CLEAR, WORSE), judgement("n2", TIE)], [judgement("e1", SLIGHT)]),
    row(2, "sea?", "in", "", [judgement("n1", CLEAR)], []),  # an empty reply
    row(3, "茶?", "hot", "cold", [judgement("n2", WORSE, None)], [judgement("n2", WORSE)], prompt_id="p1"),
    row(4, "moon?", "same", "same", [], [judgement("e1", CLEAR)]),
]


def write(folder, rows=ROWS):
    pl.DataFrame(rows, infer_schema_length=None).write_parquet(folder / "train-00000-of-00001.parquet")
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path)


def told(made):
    columns = ("user_id", "objective", "chosen", "rejected", "label", "strength")
    return sorted(made.collect().select(columns).rows())


def test_the_file_of_an_earlier_revision(tmp_path):
    lines = (json.dumps(row) + "\n" for row in ROWS)
    (tmp_path / "MultiPref-Train.jsonl").write_text("".join(lines), encoding="utf-8")
    write(tmp_path)
    expected = told(frames(tmp_path))
    (tmp_path / "train-00000-of-00001.parquet").unlink()
    assert told(frames(tmp_path)) == expected


def test_overall_judgements_by_hand(folder):
    made = frames(folder, objectives="overall")
    assert told(made) == [
        ("e1", "overall", "green", "black", 1.0, 0.5),
        ("n1", "overall", "green", "black", 1.0, 1.0),
        ("n2", "overall", "cold", "hot", 1.0, 0.5),  # as a normal worker
        ("n2", "overall", "cold", "hot", 1.0, 0.5),  # and as an expert
    ]
    assert made.dropped == {"pairs with a blank text": 1, "pairs of equal texts": 1, "ties": 1}
    rows = made.collect()
    assert set(rows["group_id"]) == {"p1"}
    assert set(rows.filter(pl.col("chosen") == "cold").select("chosen_model", "rejected_model").rows()) == {
        ("gpt", "tulu")
    }


def test_every_aspect_and_ties(folder):
    made = frames(folder, ties="keep")
    assert made.dropped["judgements without a preference"] == 1
    helpful = [r for r in told(made) if r[1] == "helpful"]
    assert helpful == [
        ("e1", "helpful", "green", "black", 0.5, 1.0),
        ("n1", "helpful", "black", "green", 1.0, 0.5),
        ("n2", "helpful", "green", "black", 0.5, 1.0),
        ("n2", "helpful", "hot", "cold", 0.5, 1.0),
    ]
    assert {r[1] for r in told(made)} == {"overall", "helpful", "truthful", "harmless"}


def test_workers(folder):
    assert {r[0] for r in told(frames(folder, workers="expert", objectives="overall"))} == {"e1", "n2"}
    users = frames(folder, objectives="overall").users
    assert users.rows() == [("e1", "expert"), ("n1", "normal"), ("n2", None)]  # n2 is told to be both
    assert frames(folder, objectives="overall", workers="normal").users.rows() == [("n1", "normal"), ("n2", "normal")]


def test_judgements_by_nobody(tmp_path):
    rows = [row(1, "?", "a", "b", [judgement(None, CLEAR), judgement("n1", CLEAR)], [])]
    made = frames(write(tmp_path, rows), objectives="overall")
    assert made.dropped == {"judgements without an evaluator": 1}
    assert made.users.rows() == [("n1", "normal")]


def test_other_configurations_beside_it_are_not_read(tmp_path):
    (tmp_path / "data").mkdir()
    write(tmp_path / "data")
    write(tmp_path, [{"text": "one label a pair"}])
    assert frames(tmp_path, objectives="overall").count() == 4


def test_to_comparisons(folder, letters, facts):
    data = load("multipref", folder, encoder=letters, objectives="overall")
    assert sorted((u, frozenset(s.items()), w) for u, _, s, w in facts(data)) == sorted(
        [
            ("e1", frozenset({("green", 1), ("black", 0)}), 0.5),
            ("n1", frozenset({("green", 1), ("black", 0)}), 1.0),
            ("n2", frozenset({("cold", 1), ("hot", 0)}), 0.5),
            ("n2", frozenset({("cold", 1), ("hot", 0)}), 0.5),
        ]
    )
    assert data.objectives == ("overall",)


def test_what_is_wrong_is_named(tmp_path):
    bad = row(5, "x?", "a", "b", [judgement("n1", "A-is-better")], [])
    with pytest.raises(InputError, match=r"parquet: row 5: preference is 'A-is-better' where one of A-is-clearly-be"):
        frames(write(tmp_path, [*ROWS, bad]))
    with pytest.raises(InputError, match=r"row 1: completion_b is \['b', 'c'\] where text belongs; correct"):
        frames(write(tmp_path, [r | {"completion_b": ["b", "c"]} for r in ROWS]))
    without = [{k: v for k, v in r.items() if k != "prompt_id"} for r in ROWS]
    with pytest.raises(InputError, match="column prompt_id is missing, the columns are comparison_id, text"):
        frames(write(tmp_path, without))
    with pytest.raises(InputError, match="workers='crowd' is unknown; choose all, normal, expert"):
        frames(write(tmp_path), workers="crowd")
