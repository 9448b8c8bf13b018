"""Several sets as one: whose, under which objective, in one space."""

import numpy as np
import polars as pl
import pytest

import plurality as pl8
from plurality.data.comparisons import Comparisons
from plurality.encoders import LsaSpec
from plurality.errors import InputError

TEA = {
    "user_id": ["ann", "bob", "ann"],
    "prompt": ["tea?", "tea?", "cake?"],
    "chosen": ["green", "black", "plum"],
    "rejected": ["black", "green", "cheese"],
}
SEA = {
    "user_id": ["bob", "cyd"],
    "prompt": ["tea?", "sea?"],
    "chosen": ["green", "salt"],
    "rejected": ["mint", "sand"],
    "group_id": ["g", "g"],
    "objective": ["taste", "fact"],
}
BOTH = ["group_id", "objective"]


@pytest.fixture
def sets(letters):
    tea = pl8.read(TEA, users={"user_id": ["ann", "bob"], "age": [30, 40]}, encoder=letters)
    return [
        tea,
        pl8.read(SEA, users={"user_id": ["bob", "cyd"], "age": [40, None], "port": ["Kiel", None]}, encoder=letters),
    ]


def told(data):
    """(user, objective, prompt, chosen, rejected) of every comparison."""
    texts = data.texts.select("prompt", "completion").rows()
    chosen, rejected = np.where(data.label == 1, (data.first, data.second), (data.second, data.first))
    return [
        (data.users["user_id"][u], data.objectives[o], texts[c][0], texts[c][1], texts[r][1])
        for u, o, c, r in np.array([data.user, data.objective, chosen, rejected]).T.tolist()
    ]


def test_every_comparison_is_there_under_its_objective(sets, letters):
    both = pl8.concat(sets, objectives=["tea", "sea"])
    assert told(both) == [
        ("tea/ann", "tea", "tea?", "green", "black"),
        ("tea/bob", "tea", "tea?", "black", "green"),
        ("tea/ann", "tea", "cake?", "plum", "cheese"),
        ("sea/bob", "sea/taste", "tea?", "green", "mint"),
        ("sea/cyd", "sea/fact", "sea?", "salt", "sand"),
    ]
    assert both.objectives == ("sea/fact", "sea/taste", "tea")
    assert len(both.items) == 7  # "green" under "tea?" is one item of both
    assert both.texts.unique().height == 7
    assert (np.diff(both.item_keys.astype(object)) > 0).all()
    assert (both.item_keys[both.first] < both.item_keys[both.second]).all()
    expected = letters.encode(both.texts["prompt"].to_list(), both.texts["completion"].to_list())
    np.testing.assert_array_equal(both.items, expected)
    assert both.encoder is letters
    assert both.users.rows() == [
        ("tea/ann", 30, None), ("tea/bob", 40, None), ("sea/bob", 40, "Kiel"), ("sea/cyd", None, None)
    ]  # fmt: skip
    assert both.group[0] == both.group[1] != both.group[3] == both.group[4]


def test_people_of_several_sets(sets):
    both = pl8.concat(sets, same_users=True)
    assert both.users.rows() == [("ann", 30, None), ("bob", 40, "Kiel"), ("cyd", None, None)]
    assert [row[0] for row in told(both)] == ["ann", "bob", "ann", "bob", "cyd"]
    assert both.objectives == ("set 1", "set 2/fact", "set 2/taste")
    older = pl8.concat([sets[0], sets[0].with_users(["ann", "bob"])], same_users=True)
    assert older.users.height == 2
    other = sets[1].users.with_columns(age=pl.lit("old"))
    with pytest.raises(InputError, match="user 'bob' has several values of 'age' in the sets; leave out same_users"):
        pl8.concat([sets[0], pl8.read(SEA, users=other, encoder=sets[0].encoder)], same_users=True)


@pytest.mark.filterwarnings("ignore:dim=20 was asked:plurality.errors.InputWarning")
def test_sets_of_two_encoders_are_embedded_again():
    spec = LsaSpec(dim=20, min_df=1)
    sets = [pl8.read(rows, encoder=spec) for rows in (TEA, SEA)]
    with pytest.raises(InputError, match="sets 1 and 2 are embedded by different encoders; name encoder= to embed all"):
        pl8.concat(sets)
    both = pl8.concat(sets, encoder=spec)
    alone = pl8.read(pl.concat([pl.DataFrame(TEA), pl.DataFrame(SEA)], how="diagonal").drop(BOTH), encoder=spec)
    assert both.texts.equals(alone.texts)
    np.testing.assert_allclose(both.items, alone.items, atol=1e-6)


def test_ready_made_embeddings_of_one_width():
    rows = {"user_id": ["ann", "bob"], "chosen": [0, 2], "rejected": [1, 0]}
    one, other = (pl8.read(rows, embeddings=np.eye(3) * scale) for scale in (1, 2))
    both = pl8.concat([one, other], objectives=["a", "b"])
    assert len(both.items) == 6
    chosen = np.where(both.label == 1, both.first, both.second)
    np.testing.assert_array_equal(both.items[chosen], [[1, 0, 0], [0, 0, 1], [2, 0, 0], [0, 0, 2]])
    assert len(np.unique(both.prompt_keys)) == 2
    with pytest.raises(InputError, match="embeddings of 3 and 4 dimensions cannot be joined; embed all with one model"):
        pl8.concat([one, pl8.read(rows, embeddings=np.eye(4))])
    with pytest.raises(InputError, match="set 1 has ready-made embeddings and no texts; leave out encoder="):
        pl8.concat([one, other], encoder="lsa")


def test_what_is_an_error(sets):
    for names in (["a"], ["a", "a"], "tea", ["a", ""]):
        with pytest.raises(InputError, match="are not one name for each of 2 sets; give as many, all different"):
            pl8.concat(sets, objectives=names)
    for none in ([], sets[0]):
        with pytest.raises(
            InputError, match=r"concat joins a list of comparisons, as read gives them; give \[one, other\]"
        ):
            pl8.concat(none)
    rows = {"user_id": ["ann", "bob"], "chosen": [0, 2], "rejected": [1, 0]}
    with pytest.raises(InputError, match="are embedded by different encoders; embed all with one model"):
        pl8.concat([sets[0], pl8.read(rows, embeddings=np.zeros((3, 27)))])


def test_it_is_stored_and_more_balances_its_objectives(tmp_path, letters):
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((40, 5))
    sets = []
    for taste in (0, 1):  # each set prefers along an axis of its own
        pairs = rng.choice(40, (200, 2))
        pairs = pairs[pairs[:, 0] != pairs[:, 1]]
        better = vectors[pairs[:, 0], taste] > vectors[pairs[:, 1], taste]
        rows = {
            "user_id": ["u"] * len(pairs),
            "chosen": np.where(better, *pairs.T),
            "rejected": np.where(better, *pairs.T[::-1]),
        }
        sets.append(pl8.read(rows, embeddings=vectors, repeats="keep"))
    both = pl8.concat(sets, objectives=["wit", "warmth"])
    both.save(tmp_path / "store")
    again = Comparisons.load(tmp_path / "store")
    assert again.objectives == ("warmth", "wit")
    np.testing.assert_array_equal(again.objective, both.objective)
    model = pl8.MORE(steps=50, decay=1.0).fit(again, seed=0)
    right = (model.prefer(again) > 0.5) == (again.label > 0.5)
    assert all(right[again.objective == place].mean() > 0.6 for place in (0, 1))
