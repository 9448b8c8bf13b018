"""UltraFeedback from small files in the published format, against pairs worked out by hand."""

import json

import polars as pl
import pytest

from plurality.datasets import load
from plurality.datasets.ultrafeedback import ASPECTS, PARTS, frames
from plurality.errors import InputError, InputWarning


def completion(response, *ratings):
    """A reply with its ratings of helpfulness, honesty, instruction following and truthfulness."""
    annotations = {
        aspect: {"Rating": rating if isinstance(rating, str) else str(rating), "Rationale": "because"}
        for aspect, rating in zip(ASPECTS, ratings, strict=True)
    }
    annotations["helpfulness"] |= {"Type": ["1"], "Rationale For Rating": "it helps"}
    return {
        "annotations": annotations, "custom_system_prompt": "Be kind.", "critique": "fine", "fine-grained_score": 4.0,
        "model": f"model of {response}", "overall_score": 7.0, "principle": "honesty", "response": response,
    }  # fmt: skip


def row(prompt, *completions, source="evol_instruct"):
    return {
        "source": source, "instruction": prompt, "models": ["m"] * len(completions), "completions": list(completions),
        "correct_answers": ["None"], "incorrect_answers": ["None"],
    }  # fmt: skip


TEA = row(
    "茶?",
    completion("a", 5, 1, 4, 4),  # mean 3.5, the best
    completion("b", 3, 3, 4, 3),  # 3.25
)
SEA = row(
    "sea?",
    completion("c", 5, 5, 5, 5),
    completion("d", 1, 1, 1, 1),  # all agree
    completion("", 3, 3, 3, 3),
    completion("f", 5, 5, "N/A", 5),  # of the highest mean too, but later
)
NONE = row("lone?", completion("g", 2, 2, 2, 2))
SAME = row("same?", completion("h", 5, 1, 1, 1), completion("h", 1, 5, 5, 5))


def write(folder, rows=(TEA, SEA), rest=(NONE, SAME)):
    tables = {part: [NONE] for part in PARTS} | {"evol_instruct": rows, "flan": rest}
    for part, table in tables.items():
        lines = (json.dumps(line, ensure_ascii=False) + "\n" for line in table)
        (folder / f"{part}.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path)


def told(made):
    columns = ("user_id", "prompt", "chosen", "rejected", "label", "strength", "weight")
    return sorted(made.collect().select(*columns).rows())


P4 = [
    ("helpfulness", "茶?", "a", "b", 1.0, 0.5, 1.0),
    ("honesty", "茶?", "b", "a", 1.0, 0.5, 1.0),
    ("truthfulness", "茶?", "a", "b", 1.0, 0.25, 1.0),
]


def test_aspects_that_disagree_by_hand(folder):
    made = frames(folder)
    assert told(made) == P4
    assert made.dropped == {
        "blank replies": 1,
        "ratings that are missing": 1,
        "comparisons of pairs on which no aspects disagree": 4,
        "pairs of equal texts": 4,
        "ties": 1,
    }
    assert made.users.rows() == [(aspect, aspect) for aspect in ("helpfulness", "honesty", "truthfulness")]
    models = made.collect().sort("user_id").select("chosen_model", "rejected_model", "part").rows()
    assert models[0] == ("model of a", "model of b", "evol_instruct")


def test_two_aspects(folder):
    assert told(frames(folder, users="p2")) == P4[:2]


def test_all_pairs_agreed_or_not(folder):
    made = frames(folder, pairs="all", disagreement=False, users="p2")
    assert [r[:4] for r in told(made)] == [
        ("helpfulness", "sea?", "c", "d"),
        ("helpfulness", "sea?", "f", "d"),
        ("helpfulness", "茶?", "a", "b"),
        ("honesty", "sea?", "c", "d"),
        ("honesty", "sea?", "f", "d"),
        ("honesty", "茶?", "b", "a"),
    ]
    assert made.dropped["ties"] == 2  # c and f
    assert made.dropped["pairs of equal texts"] == 2
    assert {r[6] for r in told(made) if r[1] == "sea?"} == {2 / 3}  # one of three on another level
    kept = [r for r in told(frames(folder, pairs="all", disagreement=False, ties="keep")) if r[4] == 0.5]
    assert ("instruction_following", "茶?", "a", "b", 0.5, 1.0, 1.0) in kept


def test_the_best_with_a_lower_one_drawn(tmp_path):
    four = row("?", *(completion(x, *[5 - i] * 4) for i, x in enumerate("abcd")))
    write(tmp_path, [four | {"instruction": f"{i}?"} for i in range(200)])
    rows = frames(tmp_path, users="p2", disagreement=False, seed=3).collect()
    helped = rows.filter(pl.col("user_id") == "helpfulness")
    assert set(helped["chosen"]) == {"a"}
    counts = dict(helped.group_by("rejected").len().iter_rows())
    assert sum(counts.values()) == 200
    assert counts.keys() == set("bcd")
    assert min(counts.values()) > 40  # 67 expected, sd 6.7
    again = frames(tmp_path, users="p2", disagreement=False, seed=3).collect()
    assert rows.equals(again)
    assert not rows.equals(frames(tmp_path, users="p2", disagreement=False, seed=4).collect())


def test_people_share_the_prompts_of_an_aspect(tmp_path):
    write(tmp_path, [TEA | {"instruction": f"{i}?"} for i in range(40)])
    made = frames(tmp_path, people=3, pairs="all")
    assert made.users.height == 3 * 3
    assert set(made.users.filter(pl.col("aspect") == "honesty")["user_id"]) == {f"honesty/{i}" for i in range(3)}
    rows = made.collect()
    assert rows.height == 40 * 3
    assert rows.group_by("prompt").agg(pl.col("user_id").str.tail(1).n_unique())["user_id"].to_list() == [1] * 40


def test_a_single_file(folder):
    assert told(frames(folder / "evol_instruct.jsonl")) == P4


def test_to_comparisons(folder, letters, facts):
    data = load("ultrafeedback", folder, encoder=letters, users="p2")
    assert {(u, p, frozenset(s.items()), w) for u, p, s, w in facts(data)} == {
        ("helpfulness", "茶?", frozenset({("a", 1), ("b", 0)}), 0.5),
        ("honesty", "茶?", frozenset({("b", 1), ("a", 0)}), 0.5),
    }


def talk(*said):
    return [{"content": text, "role": ("user", "assistant")[i % 2]} for i, text in enumerate(said)]


def binarized(folder, *rows, name="train_prefs"):
    table = [
        {"prompt": c[0]["content"], "prompt_id": "x", "chosen": c, "rejected": r, "messages": c, "score_chosen": s,
         "score_rejected": t} for c, r, s, t in rows
    ]  # fmt: skip
    pl.DataFrame(table).write_parquet(folder / f"{name}-00000-of-00001.parquet")
    return folder


def test_binarized(tmp_path):
    rows = [
        (talk("茶?", "a"), talk("茶?", "b"), 8.5, 5.0),
        (talk("sea?", "a"), talk("sea?", "b"), 8.5, 8.5),
        (talk("sea?", "a"), talk("see?", "b"), 8.5, 8.0),
        (talk("sea?", "a"), talk("sea?", ""), 8.5, 8.0),
    ]
    binarized(tmp_path, *rows)
    binarized(tmp_path, *rows[:1], name="train_sft")  # is not read
    made = frames(tmp_path, binarized="train")
    assert made.collect().rows(named=True) == [
        {"user_id": "gpt-4", "prompt": talk("茶?"), "chosen": "a", "rejected": "b", "label": 1.0}
    ]
    assert made.dropped == {
        "pairs whose sides differ before the last message": 1,
        "pairs with a blank text": 1,
        "ties": 1,
    }
    assert frames(tmp_path, binarized="train", ties="keep").collect()["label"].to_list() == [1.0, 0.5]
    with pytest.raises(InputError, match=r"ultrafeedback: a binarised set has no other option than ties; leave out"):
        frames(tmp_path, binarized="train", people=2)
    with pytest.raises(InputError, match="row 2: score_chosen is below score_rejected; swap the sides"):
        frames(binarized(tmp_path, rows[0], (talk("?", "a"), talk("?", "b"), 1.0, 2.0)), binarized="train")
    with pytest.raises(InputError, match=r"holds no test_prefs-\*\.parquet or test-\*\.parquet"):
        frames(tmp_path, binarized="test")


def test_what_is_wrong_is_named(tmp_path):
    bad = row("?", completion("a", 5, "great", 4, 4), completion("b", 3, 3, 4, 3))
    with pytest.raises(
        InputError, match=r"evol_instruct\.jsonl: row 3: honesty is 'great' where 1 to 5 or N/A belongs"
    ):
        frames(write(tmp_path, [TEA, SEA, bad]))
    listed = row("?", completion(["a", "b"], 5, 5, 4, 4))
    with pytest.raises(InputError, match=r"flan\.jsonl: row 2: completions is .* where a list of an object with respo"):
        frames(write(tmp_path, rest=[TEA, listed]))
    with pytest.raises(InputError, match=r"column instruction is missing, the columns are"):
        frames(write(tmp_path, [{k: v for k, v in TEA.items() if k != "instruction"}]))
    with pytest.raises(InputError, match="people=0 is not a number of users; give 1 or more"):
        frames(write(tmp_path), people=0)
    (tmp_path / "flan.jsonl").unlink()
    with pytest.warns(InputWarning, match=r"but not flan; only they are read"):
        assert "flan" not in frames(tmp_path, disagreement=False).collect()["part"].to_list()
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(InputError, match="holds no evol_instruct"):
        frames(tmp_path)
    with pytest.raises(InputError, match=r"no comparison is left .*on which no aspects disagree 4"):
        frames(write(tmp_path, rows=[SEA], rest=[NONE]))
