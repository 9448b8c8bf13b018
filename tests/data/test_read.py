"""Reading: each item once, sides and tables in the order of keys, labels and weights as the table says."""

from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plurality.data.comparisons import Comparisons
from plurality.data.keys import combine, text_keys
from plurality.data.read import read, read_completions
from plurality.data_checks.check import check_data
from plurality.encoders import LsaSpec
from plurality.errors import InputError, InputWarning

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


def test_keys_order_and_embeddings_by_hand(letters):
    data = read(pl.DataFrame(ROWS), encoder=letters, prompts=True)
    pairs = [("tea?", "green"), ("tea?", "black"), ("tea?", "mint"), ("sea?", "calm"), ("sea?", "wild")]
    keys = [combine(text_keys([p]), text_keys([c]))[0] for p, c in pairs]
    assert data.item_keys.tolist() == sorted(keys)
    assert list(zip(data.texts["prompt"], data.texts["completion"], strict=True)) == [
        pairs[i] for i in np.argsort(keys)
    ]
    assert data.prompt_keys.tolist() == sorted(text_keys(["tea?", "sea?"]).tolist())
    assert (data.first < data.second).all()  # by key, since items stand in the order of their keys
    green = data.texts["completion"].index_of("green")
    assert data.items[green, ord("e") - ord("a")] == 2
    assert data.items.dtype == data.prompts.dtype == np.float32
    tea = int(np.flatnonzero(data.prompt_keys == text_keys(["tea?"])[0])[0])
    assert data.prompt[green] == tea
    assert data.prompts[tea, ord("t") - ord("a")] == 1
    assert (data.group == data.prompt_keys[data.prompt[data.first]]).all()
    assert data.users["user_id"].to_list() == ["ann", "bob", "cyd"]
    assert data.user.tolist() == [0, 1, 0, 2]
    assert data.encoder is letters


def test_first_second_and_label_say_the_same_as_chosen_and_rejected(letters, facts):
    sides = {"user_id": ["u"] * 4, "prompt": ["p"] * 4, "first": ["a", "b", "a", "c"], "second": ["b", "a", "c", "d"]}
    data = read(pl.DataFrame({**sides, "label": [1.0, 0, 0.5, 0.25]}), encoder=letters, repeats="keep")
    assert facts(data) == [
        ("u", "p", {"a": 1, "b": 0}, 1),
        ("u", "p", {"a": 1, "b": 0}, 1),
        ("u", "p", {"a": 0.5, "c": 0.5}, 1),
        ("u", "p", {"c": 0.25, "d": 0.75}, 1),
    ]
    booleans = read(pl.DataFrame({**sides, "label": [True, False, True, True]}), encoder=letters)
    assert facts(booleans)[1] == ("u", "p", {"a": 1, "b": 0}, 1)


def test_ties_strength_weight_and_group(letters, facts):
    extra = {"label": [0.5, 1, 1, 1], "strength": [1.0, 0.5, 0.2, 1], "weight": [1, 2, 5, 3], "group_id": [7, 7, 8, 8]}
    frame = pl.DataFrame({**ROWS, **extra})
    by_weight = facts(read(frame, encoder=letters))
    assert [p for _, _, sides, _ in by_weight for p in sides.values()][:2] == [0.5, 0.5]
    assert [w for *_, w in by_weight] == pytest.approx([1, 1, 1, 3])
    by_label = read(frame, encoder=letters, strength_as="label")
    assert [sides[c] for (_, _, sides, _), c in zip(facts(by_label), ROWS["chosen"], strict=True)] == pytest.approx(
        [0.5, 0.75, 0.6, 1]
    )
    assert by_label.weight.tolist() == [1, 2, 5, 3]
    assert by_label.group.tolist() == text_keys(["7", "7", "8", "8"]).tolist()


def test_optional_columns_that_are_null_throughout_are_absent(letters, facts):
    frame = pl.DataFrame(ROWS).with_columns(strength=None, weight=None, group_id=None, label=None, objective=None)
    assert facts(read(frame, encoder=letters)) == EXPECTED


def test_users_table_keeps_its_order_columns_and_people_without_comparisons(letters, tmp_path):
    table = pl.DataFrame({"age": [3, 1, 2, 9], "user_id": ["cyd", "ann", "bob", "dan"]})
    table.write_ndjson(tmp_path / "u.jsonl")
    for users in (table, tmp_path / "u.jsonl", table.to_pandas()):
        data = read(pl.DataFrame(ROWS), users=users, encoder=letters)
        assert data.users.rows() == [("cyd", 3), ("ann", 1), ("bob", 2), ("dan", 9)]
        assert data.user.tolist() == [1, 2, 1, 0]
        assert data.user_ids == ["cyd", "ann", "bob"]


@pytest.mark.parametrize(
    ("users", "message"),
    [
        ({"user_id": ["ann", "cyd", "ann"]}, "^users: row 3: user_id 'ann' appears twice; keep one row a user"),
        ({"user_id": ["ann", "cyd"]}, "^comparisons: row 2: user 'bob' is not in users; add every user"),
        ({"user_id": ["ann"]}, r"row 2: user 'bob' is not in users, like 1 others \(2 rows in all\); add"),
        ({"user_id": ["ann", None]}, "^users: row 2: user_id is null"),
        ({"id": ["ann"]}, "^users: column user_id is missing, the columns are id; add or rename it"),
    ],
)
def test_bad_users(letters, users, message):
    with pytest.raises(InputError, match=message):
        read(pl.DataFrame(ROWS), users=pl.DataFrame(users), encoder=letters)


def test_arguments_that_contradict(letters, tmp_path, facts):
    frame = pl.DataFrame(ROWS)
    with pytest.raises(InputError, match="repeats='no' is unknown; choose 'drop' or 'keep'"):
        read(frame, encoder=letters, repeats="no")
    with pytest.raises(InputError, match="strength_as='x' is unknown; choose 'weight' or 'label'"):
        read(frame, encoder=letters, strength_as="x")
    with pytest.raises(InputError, match="prompt_embeddings go with ready-made embeddings; for texts"):
        read(frame, prompt_embeddings=np.ones((2, 2)))
    with pytest.raises(InputError, match="ready-made embeddings need no encoder"):
        read(frame, embeddings=np.ones((2, 2)), encoder=letters)
    store = read(frame, encoder=letters).save(tmp_path / "store")
    assert facts(read(store)) == EXPECTED
    with pytest.raises(InputError, match="is a store, with its own users and embeddings; give nothing else"):
        read(store, encoder=letters)


def test_an_encoder_that_breaks_its_word_is_caught(letters):
    class Bad(type(letters)):
        def encode(self, prompts, completions, progress=False):
            return self.answer

    bad = Bad()
    bad.answer = np.ones((3, 27))
    with pytest.raises(InputError, match=r"embeddings of shape \(3, 27\) for 5 texts, not \(5, 27\)"):
        read(pl.DataFrame(ROWS), encoder=bad)
    bad.answer = np.where(np.arange(5)[:, None] == 3, np.nan, np.ones((5, 27)))
    with pytest.raises(InputError, match="NaN or infinite values for text 3"):
        read(pl.DataFrame(ROWS), encoder=bad)


TABLES = st.lists(
    st.tuples(
        st.sampled_from("uvwxyz"),
        st.sampled_from(["p", "q", "r"]),
        st.permutations(["a", "b", "cc", "dd", "eee"]),
        st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    ),
    min_size=1,
    max_size=12,
)
QUICK = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def sides_frame(rows: list) -> pl.DataFrame:
    columns = {"user_id": [r[0] for r in rows], "prompt": [r[1] for r in rows]}
    columns |= {"first": [r[2][0] for r in rows], "second": [r[2][1] for r in rows]}
    return pl.DataFrame({**columns, "label": [r[3] for r in rows]})


@QUICK
@given(TABLES, st.randoms(use_true_random=False))
def test_the_order_of_rows_changes_nothing_but_the_order_of_rows(letters, rows, random):
    order = list(range(len(rows)))
    random.shuffle(order)
    frame = sides_frame(rows)
    data = read(frame, encoder=letters, repeats="keep")
    moved = read(frame[order], encoder=letters, repeats="keep")
    assert (moved.items == data.items).all()
    assert moved.texts.equals(data.texts)
    assert moved.users.equals(data.users)
    for name in ("item_keys", "prompt_keys", "prompt"):
        assert (getattr(moved, name) == getattr(data, name)).all()
    for name in ("first", "second", "user", "label", "weight", "group"):
        assert (getattr(moved, name) == getattr(data, name)[order]).all()


@QUICK
@given(TABLES)
def test_the_order_of_sides_changes_nothing(letters, rows):
    frame = sides_frame(rows)
    data = read(frame, encoder=letters, repeats="keep")
    turned = read(
        frame.rename({"first": "second", "second": "first"}).with_columns(label=1 - pl.col("label")),
        encoder=letters,
        repeats="keep",
    )
    for name in ("first", "second", "label"):
        assert (getattr(turned, name) == getattr(data, name)).all()
    assert (data.item_keys[data.first] < data.item_keys[data.second]).all()


@QUICK
@given(TABLES)
def test_repeats_are_dropped_once_counted_and_announced(letters, rows):
    frame = sides_frame(rows)
    distinct = frame.unique().height
    everything = read(frame, encoder=letters, repeats="keep")
    assert len(everything) == frame.height
    assert everything.duplicates == 0
    if distinct == frame.height:
        assert len(read(frame, encoder=letters)) == distinct
        return
    with pytest.warns(InputWarning, match=f'{frame.height - distinct:,} rows repeat .*repeats="keep"'):
        data = read(frame, encoder=letters)
    assert (len(data), data.duplicates) == (distinct, frame.height - distinct)
    assert (data.items == everything.items).all()


def test_rows_that_differ_in_any_column_are_no_repeats(letters):
    frame = pl.DataFrame({**ROWS, "asked_at": [1, 2, 3, 4]})
    assert len(read(pl.concat([frame, frame.with_columns(pl.col("asked_at") + 9)]), encoder=letters)) == 8


def test_winners_stand_first_as_often_as_second(letters):
    """Of 4,000 fair coins the share of heads has a standard deviation of 0.008."""
    n = 4000
    frame = pl.DataFrame({"user_id": ["u"] * n, "prompt": ["p"] * n}).with_columns(
        chosen=pl.format("good {}", pl.int_range(n)), rejected=pl.format("bad {}", pl.int_range(n))
    )
    assert abs(read(frame, encoder=letters).label.mean() - 0.5) < 4 * 0.008


def test_new_comparisons_with_an_encoder_that_is_fitted_already():
    spec = LsaSpec(dim=2, min_df=1, max_ngram=1)
    with pytest.warns(InputWarning, match=r"lsa: 1 of 5 completions \(20\.0%\) get a zero vector"):
        data = read(pl.DataFrame(ROWS), encoder=spec)
    new = read(pl.DataFrame({k: v[:1] for k, v in ROWS.items()}), encoder=data.encoder)
    assert new.encoder is data.encoder
    rows = np.searchsorted(data.item_keys, new.item_keys)
    assert np.allclose(new.items, data.items[rows], atol=1e-6)


def test_candidates(letters):
    chat = [{"role": "user", "content": "tea?"}]
    rows = {"user_id": [3, 1, 3], "prompt": [chat] * 3, "completion": ["mint", "green", "green"]}
    candidates = read_completions(pl.DataFrame(rows))
    assert candidates.user_ids == ["3", "1", "3"]
    assert candidates.items.texts["completion"].gather(candidates.item).to_list() == rows["completion"]
    vectors = candidates.items.embed(letters)
    assert vectors.shape == (2, 27)
    assert Counter(text for _, text in letters.seen) == {"green": 1, "mint": 1}
    assert letters.seen[0][0] == chat
    assert candidates.items.embed_prompts(letters).shape == (1, 27)
    unseen = read_completions(pl.DataFrame({**rows, "completion": ["<think>c</think>a", "", "<think>b"]}))
    assert (unseen.item.tolist(), len(set(unseen.prompt_keys.tolist()))) == ([0, -1, -1], 1)
    assert unseen.items.texts["completion"].to_list() == ["a"]
    with pytest.raises(InputError, match=r"^candidates: nothing can be seen of any completion"):
        read_completions(pl.DataFrame({**rows, "completion": ["<think>a", "", " "]}))
    with pytest.raises(InputError, match=r"^candidates: column completion is missing"):
        read_completions(pl.DataFrame(rows).drop("completion"))


def test_polis_from_end_to_end(tmp_path, real_data):
    folder = real_data("polis")
    spec = LsaSpec(dim=8, max_ngram=1)
    with pytest.warns(InputWarning, match=r"lsa: 28 of 2,380 completions \(1\.2%\) get a zero vector"):
        data = read(folder / "comparisons.parquet", users=folder / "users.parquet", encoder=spec)
    frame = pl.read_parquet(folder / "comparisons.parquet")
    assert (len(data), data.users.height, len(data.prompt_keys)) == (frame.height, 3242, 13)
    pairs = pl.concat([frame.select("prompt", completion=side) for side in ("chosen", "rejected")])
    assert len(data.items) == pairs.n_unique()
    winner = np.where(data.label == 1, data.first, data.second)
    assert data.texts["completion"].gather(winner).equals(frame["chosen"], check_names=False)
    assert abs(data.label.mean() - 0.5) < 0.1
    data.save(tmp_path / "polis")
    again = Comparisons.load(tmp_path / "polis")
    assert (again.items == data.items).all()
    train, test = again.split("item", seed=1)
    users = np.concatenate([train.user, train.user]) * len(data.items)
    trained = set((users + np.concatenate([train.first, train.second])).tolist())
    for side in (test.first, test.second):
        assert trained.isdisjoint((test.user * len(data.items) + side).tolist())


def test_the_objective_of_every_row_is_kept(letters):
    asked = ["style", "truth", "style", "calm"]
    data = read(pl.DataFrame(ROWS).head(4).with_columns(objective=pl.Series(asked)), encoder=letters)
    assert data.objectives == ("calm", "style", "truth")
    assert [data.objectives[k] for k in data.objective] == asked
    assert data.take([2, 3]).objective.tolist() == [1, 0]
    assert read(pl.DataFrame(ROWS), encoder=letters).objective is None


def test_columns_that_nothing_reads_are_named(letters, tmp_path):
    more = {"tie_break": [1, 0, 0, 1], "weight": [1, 2, 1, 1], "weight_2": [3, 3, 3, 3], "annotator2": list("abcd")}
    data = read(pl.DataFrame({**ROWS, **more}), encoder=letters)
    assert data.unread == ("tie_break", "weight_2", "annotator2")
    assert repr(data).endswith("2 prompts; unread columns: tie_break, weight_2, annotator2)")
    assert "annotator2" in data._repr_html_()
    checked = " ".join(check_data(data, estimate_room=False).summary().split())  # whichever way its lines are broken
    assert "no model looks at: tie_break, weight_2, annotator2" in checked
    assert data.take([0]).unread == data.unread == read(data.save(tmp_path / "store")).unread
    many = read(pl.DataFrame({**ROWS, **{f"c{k}": list("abcd") for k in range(6)}}), encoder=letters)
    assert repr(many).endswith("unread columns: c0, c1, c2, c3 and 2 more)")


def test_all_columns_that_are_read_leave_nothing_to_say(letters):
    numbers = {name: [0.5] * 4 for name in ("label", "weight", "strength")}
    data = read(pl.DataFrame({**ROWS, **numbers, "group_id": [1] * 4, "objective": ["wit"] * 4}), encoder=letters)
    assert data.unread == ()
    assert "unread" not in repr(data)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("wieght", "weight"), ("Label", "label"), ("groupid", "group_id"), ("tie", "a label of 1/2"), ("label2", "label")],
)
def test_a_column_that_was_meant_to_count_is_warned_of(letters, name, meant):
    with pytest.warns(InputWarning, match=f"comparisons: column {name} is not read; .*{meant}"):
        read(pl.DataFrame({**ROWS, name: [1, 0, 0, 1]}), encoder=letters)


def test_ratings_on_several_scales_are_warned_of(letters):
    rated = {"user_id": ["ann"] * 4, "prompt": ["tea?"] * 4, "completion": list("abcd"), "rating": [5, 1, 6, 9]}
    scale = ["1-5", "1-5", "1-10", "1-10"]
    with pytest.warns(
        InputWarning, match="column scale is not read; a person's ratings are all compared, .* objective"
    ):
        read(pl.DataFrame({**rated, "scale": scale}), encoder=letters)
    data = read(pl.DataFrame({**rated, "objective": scale}), encoder=letters)
    name = data.texts["completion"].to_list()
    assert {frozenset((name[a], name[b])) for a, b in zip(data.first, data.second, strict=True)} == {
        frozenset("ab"),
        frozenset("cd"),
    }


@pytest.mark.parametrize("name", ["length", "group", "tier", "country", "subject"])
def test_a_column_of_ones_own_is_not(letters, name):
    assert read(pl.DataFrame({**ROWS, name: list("abcd")}), encoder=letters).unread == (name,)
