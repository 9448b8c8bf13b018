"""What else a table says of its rows: kept with each comparison, in stores and predictions, and what time splits by."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

import plurality as pl8
from plurality.data.comparisons import Comparisons
from plurality.errors import InputError


def rows(**columns):
    n = 40
    generator = np.random.default_rng(0)
    pairs = np.array([generator.permutation(12)[:2] for _ in range(n)])
    frame = {"user_id": [f"u{i % 5}" for i in range(n)], "chosen": pairs[:, 0], "rejected": pairs[:, 1]}
    return pl.DataFrame({**frame, **columns})


X = np.random.default_rng(1).normal(size=(12, 3))


def test_they_stay_with_their_rows(tmp_path):
    frame = rows(topic=[f"t{i}" for i in range(40)], nested=[[1]] * 40, empty=pl.Series([None] * 40))
    data = pl8.read(frame, embeddings=X)
    assert data.unread == ("topic", "nested", "empty")
    assert data.attributes.columns == ["topic"]
    mask = np.arange(40) % 3 == 0
    for part in (data.take(mask), data.take(np.flatnonzero(mask))):
        assert part.attributes["topic"].to_list() == [f"t{i}" for i in range(0, 40, 3)]
    assert data.take(np.array([7, 2])).swapped().attributes["topic"].to_list() == ["t7", "t2"]
    back = Comparisons.load(data.save(tmp_path / "store"))
    assert back.attributes.equals(data.attributes)
    assert Comparisons.load(back.take(mask).save(tmp_path / "part")).attributes.height == mask.sum()
    assert pl8.read(rows(), embeddings=X, repeats="keep").attributes is None
    (tmp_path / "store" / "attributes.parquet").unlink()
    with pytest.raises(InputError, match=r"attributes\.parquet"):
        Comparisons.load(tmp_path / "store")


def test_of_answers_about_several_things():
    frame = pl.DataFrame(
        {"user_id": ["a", "b"], "completions": [[0, 1, 2], [3, 4]], "chosen": [1, 4], "topic": ["sea", "tea"]}
    )
    data = pl8.read(frame, embeddings=np.eye(5))
    assert data.attributes["topic"].to_list() == ["sea", "sea", "tea"]


def test_predictions_show_them_but_not_under_names_that_audits_read():
    topic = [f"t{i % 2}" for i in range(40)]
    frame = rows(topic=topic, gap=[9.0] * 40, cell=["x"] * 40, shown_first=[1] * 40)
    data = pl8.read(frame, embeddings=X)
    reward = pl8.BradleyTerry(decay=1.0).fit(data)
    found = reward.predictions(data)
    assert found["topic"].to_list() == topic
    assert found["gap"].to_list() == reward.log_odds(data).tolist()
    assert not {"cell", "shown_first"} & set(found.columns)


DAYS = [dt.date(2026, 1, 1) + dt.timedelta(days=i) for i in range(40)]


@pytest.mark.parametrize("time", [list(range(40)), [str(i) for i in range(40)], DAYS, [str(day) for day in DAYS]])
def test_time_splits_before_from_after(time):
    order = np.random.default_rng(2).permutation(40)
    data = pl8.read(rows(time=time, place=range(40))[order], embeddings=X)
    for fold, first, last in ((0, 30, 40), (1, 20, 30), (3, None, 10)):
        if first is None:
            with pytest.raises(InputError, match="training part empty"):
                data.split("time", test_size=0.25, fold=fold)
            continue
        train, test = data.split("time", test_size=0.25, fold=fold)
        assert sorted(train.attributes["place"]) == list(range(first))
        assert sorted(test.attributes["place"]) == list(range(first, last))


def test_rows_of_one_time_stay_together_and_time_must_be_known():
    data = pl8.read(rows(time=[i // 20 for i in range(40)]), embeddings=X, repeats="keep")
    train, test = data.split("time", test_size=0.5)
    assert (len(train), len(test)) == (20, 20)
    with pytest.raises(InputError, match="test part empty"):  # both halves began before it
        data.split("time", test_size=0.25)
    with pytest.raises(InputError, match="a split by time needs a column time"):
        pl8.read(rows(), embeddings=X, repeats="keep").split("time")
    with pytest.raises(InputError, match="1 rows have no time"):
        pl8.read(rows(time=[None, *range(39)]), embeddings=X, repeats="keep").split("time")
    cells = data.cells("time", test_size=0.5, support=2)
    assert set(cells.tests) >= {"seen user, unseen time", "unseen user, unseen time"}


@pytest.mark.parametrize(
    ("time", "last"),
    [
        (["2020-01-01T10:00+09:00", "2020-01-01T02:00Z", "2020-01-01T03:00+00:00"], 2),  # the first is 01:00 there
        (["2020-01-01 09:00:00", "2020-01-01T10:00", "2020-01-01"], 1),
        (["wave 1", "wave 3", "wave 2"], 1),
        (pl.Series(["late", "early", "mid"], dtype=pl.Enum(["early", "mid", "late"])), 0),
        ([True, False, False], 0),
    ],
)
def test_time_sorts_as_it_passes(time, last):
    data = pl8.read(rows()[:3].with_columns(time=pl.Series(time), place=pl.Series([0, 1, 2])), embeddings=X)
    assert data.split("time", test_size=0.34)[1].attributes["place"].to_list() == [last]


@pytest.mark.parametrize(
    ("time", "why"),
    [
        (["31/01/2020", "01/02/2020", "15/03/2019"], "like '31/01/2020', which does not sort"),
        (["Sat Nov 17 05:09:36 WIB 2018", "Mon Jan 1 05:09:36 WIB 2018", "Wed Jun 18 2014"], "does not sort"),
        (["3 May 2020", "4 April 2020", "1 June 2021"], "does not sort"),
        (["2020-01-01T10:00+09:00", "2020-01-01T02:00", "2020-01-02"], "a zone everywhere or nowhere"),
        ([1.0, float("nan"), 2.0], "1 rows have no time"),
    ],
)
def test_time_that_does_not_sort_is_not_split_by(time, why):
    data = pl8.read(rows()[:3].with_columns(time=pl.Series(time)), embeddings=X)
    with pytest.raises(InputError, match=why):
        data.split("time", test_size=0.34)


def test_joined_sets_keep_theirs():
    one = pl8.read(rows(topic=[f"t{i}" for i in range(40)], turn=range(40)), embeddings=X)
    bare = pl8.read(rows(), embeddings=X, repeats="keep")
    other = pl8.read(rows(turn=[f"{i}a" for i in range(40)]), embeddings=X)
    joined = pl8.concat([one, bare, other])
    assert joined.attributes.height == len(joined) == 120
    assert joined.attributes["topic"].to_list() == [f"t{i}" for i in range(40)] + [None] * 80
    assert joined.attributes["turn"].to_list() == [str(i) for i in range(40)] + [None] * 40 + [
        f"{i}a" for i in range(40)
    ]
    assert pl8.concat([bare, bare]).attributes is None


def test_a_comparison_of_two_ratings_is_of_the_later_time():
    rows = {"user_id": ["ann"] * 3, "completion": [0, 1, 2], "rating": [1, 2, 3], "time": ["10", "9", "11"]}
    data = pl8.read(rows, embeddings=np.eye(3))
    pair = [frozenset(sides) for sides in zip(data.first.tolist(), data.second.tolist(), strict=True)]
    of = dict(zip(pair, data.attributes["time"], strict=True))
    assert of == {frozenset((0, 1)): "10", frozenset((0, 2)): "11", frozenset((1, 2)): "11"}
    train, test = data.split("time", test_size=0.7)
    assert train.attributes["time"].to_list() == ["10"]  # nothing that was said later
    assert len(test) == 2
