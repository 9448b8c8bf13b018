"""Users who are described in words: a persona that nobody has heard of has a taste before its first answer."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

import plurality as pl8
from plurality.data.demographics import describe
from plurality.errors import InputError

WIDTH, ABOUT = 4, 20  # of items, and of the vectors that describe people


def planted(n_users: int, each: int, seed: int) -> tuple[pl8.Comparisons, np.ndarray]:
    """Tastes that are three quarters what three directions of people's descriptions say; log-odds (N,) too."""
    taste_of = np.random.default_rng(0).normal(size=(3, WIDTH))
    rng = np.random.default_rng(seed)
    inner = rng.normal(size=(n_users, 3))
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(ABOUT, ABOUT)))[0]
    said = np.hstack([4 * inner, 0.3 * rng.normal(size=(n_users, ABOUT - 3))]) @ turn + 2
    taste = (3**0.5 * inner @ taste_of / 3**0.5 + rng.normal(size=(n_users, WIDTH))) / 2
    items = rng.normal(size=(2 * n_users * each, WIDTH)).astype(np.float32)
    user = np.repeat(np.arange(n_users), each)
    gap = ((items[0::2] - items[1::2]) * taste[user]).sum(1)
    rows = {
        "user_id": [f"{seed}-{u}" for u in user],
        "first": np.arange(0, len(items), 2),
        "second": np.arange(1, len(items), 2),
        "label": (rng.random(len(gap)) < expit(gap)).astype(float),
    }
    users = pl.DataFrame(
        {"user_id": [f"{seed}-{u}" for u in range(n_users)], "about": said.astype(np.float32).tolist()}
    )
    data = pl8.read(rows, users=users, embeddings=items)
    return data, np.where(data.first % 2 == 0, gap, -gap)


def nats(log_odds: np.ndarray, data: pl8.Comparisons) -> float:
    return float(np.logaddexp(0, -(2 * data.label - 1) * log_odds).mean())


@pytest.fixture(scope="module")
def world():
    train, _ = planted(120, 15, 3)
    return train, pl8.Hierarchical().fit(train, seed=0)


def test_a_description_is_worth_what_it_says_before_any_answer(world):
    _, model = world
    new, gap = planted(80, 30, 4)
    told = nats(model.log_odds(new, unknown="population"), new)
    blind = nats(model.log_odds(replace(new, users=new.users.select("user_id")), unknown="population"), new)
    assert told < blind - 0.04
    half = np.arange(len(new)) % 30 < 10
    after = model.adapt(new.take(half))
    assert nats(after.log_odds(new.take(~half)), new.take(~half)) < told - 0.01  # answers sharpen it
    assert nats(gap, new) < told
    assert model.report["demographics"]["lo"] > 0


def test_descriptions_of_others_cost_nothing_and_are_not_credited(world):
    train, _ = world
    order = np.random.default_rng(0).permutation(train.users.height)
    shuffled = replace(train, users=train.users.with_columns(about=train.users["about"].gather(order)))
    model = pl8.Hierarchical().fit(shuffled)
    test, _ = planted(80, 30, 4)
    blind = replace(test, users=test.users.select("user_id"))
    cost = nats(model.log_odds(test, unknown="population"), test) - nats(
        model.log_odds(blind, unknown="population"), test
    )
    assert cost < 0.02  # of 32 coefficients that 120 people leave unsure; a true description gains twice that
    assert not model.report["demographics"]["lo"] > 0


def test_the_words_stay_with_their_owner(world, tmp_path):
    train, model = world
    again = pl8.load(model.save_pretrained(tmp_path / "reward"))
    np.testing.assert_array_equal(again.log_odds(train.take(np.arange(50))), model.log_odds(train.take(np.arange(50))))
    store = pl8.Comparisons.load(train.save(tmp_path / "store"))
    assert store.users["about"].to_list() == train.users["about"].to_list()
    with pytest.raises(InputError, match="vectors of 3 numbers, and the model knows those of 20"):
        again.beliefs(pl.DataFrame({"user_id": ["new"], "about": [[0.0, 1.0, 2.0]]}), "population")


def test_directions_are_those_of_a_principal_component_analysis():
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(200, 6)) * [5, 4, 3, 2, 1, 0.5] + 7
    users = pl.DataFrame({"user_id": [str(i) for i in range(200)], "v": vectors.tolist()})
    (factor,) = describe(users, None)
    oracle = PCA(6, whiten=True, svd_solver="full").fit(vectors)
    mine, theirs = factor.matrix(users), oracle.transform(vectors) * (200 / 199) ** 0.5  # ours divides by n
    np.testing.assert_allclose(np.abs(mine), np.abs(theirs), atol=1e-9)
    gaps = users.with_columns(v=pl.when(pl.int_range(200) == 3).then(None).otherwise(pl.col("v")))
    assert not factor.matrix(gaps)[3].any()  # a user who says nothing is the average


def test_a_column_of_text_becomes_vectors(letters):
    users = pl.DataFrame({"user_id": ["a", "b", "c"], "self": ["abba", None, "  "]})
    found = pl8.embed_users(users, "self", letters)
    assert found["self"].to_list()[0][:2] == [2.0, 2.0]
    assert found["self"].to_list()[1:] == [None, None]
    with pytest.raises(InputError, match="no column 'bio'"):
        pl8.embed_users(users, "bio", letters)
    with pytest.raises(InputError, match="nobody has a text"):
        pl8.embed_users(users[1:], "self", letters)
    rows = {"user_id": ["a"], "prompt": ["p"], "chosen": ["x"], "rejected": ["y"]}
    data = pl8.read(rows, users=users, encoder=letters, user_text="self")
    assert data.users["self"].to_list()[0][:2] == [2.0, 2.0]


def test_ids_are_no_description_and_nan_no_vector(letters):
    users = pl.DataFrame({"user_id": ["a", "b"]})
    with pytest.raises(InputError, match="no column 'user_id'"):
        pl8.embed_users(users, "user_id", letters)
    told = pl.DataFrame({"user_id": [str(i) for i in range(20)], "v": [[float("nan"), 1.0]] * 20})
    with pytest.raises(InputError, match="NaN or infinite numbers"):
        describe(told, None)
