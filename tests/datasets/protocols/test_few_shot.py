"""Few-shot curves against planted truth, and against adapting user by user."""

import numpy as np
import polars as pl
import pytest

from plurality.data.splits import rank_within
from plurality.datasets.protocols.few_shot import few_shot, few_shot_of_cells, forgotten
from plurality.datasets.simulated import populations as planted
from plurality.errors import InputError
from plurality.evaluation import controls
from plurality.models.bradley_terry import BradleyTerry
from plurality.models.low_rank import LowRank


@pytest.fixture(scope="module")
def town():
    """A fitted model of a rank-1 population, a pooled one, and the comparisons of 60 new users, support and test."""
    seen, new = planted.low_rank(80, rank=1, width=6, scale=4.0, seed=0, unseen=60)
    train = seen.sample(40, seed=1).data
    sample = new.sample(60, seed=2)
    rank = np.tile(np.arange(60), 60)
    models = {
        "low_rank": LowRank(rank=1, weights="deviations").fit(train, seed=0),
        "bradley_terry": BradleyTerry(decay=20.0).fit(train, seed=0),
    }
    test = sample.data.take(rank >= 25)
    truth = float(np.mean((sample.gap > 0)[rank >= 25] == (test.label > 0.5)))
    return models, sample.data.take(rank < 25), test, truth


def value(table: pl.DataFrame, model: str, size: int, metric: str = "accuracy", users: str = "unseen") -> float:
    rows = table.filter(model=model, size=size, metric=metric, users=users)
    return float(rows["estimate"].item())


def test_the_curve_climbs_to_the_truth(town):
    models, support, test, truth = town
    table = few_shot(models, support, test, sizes=(0, 2, 20), draws=5, n_bootstrap=100).table
    start, some, most = (value(table, "low_rank", size) for size in (0, 2, 20))
    assert start == pytest.approx(0.5, abs=0.08)  # tastes are symmetric around nothing
    assert start + 0.05 < some < most
    assert most == pytest.approx(truth, abs=0.04)
    losses = [value(table, "low_rank", size, "log_loss") for size in (0, 2, 20)]
    assert losses == sorted(losses, reverse=True)
    assert set(table["n_users"]) == {60}
    assert (table["lo"] <= table["estimate"]).all()
    assert (table["estimate"] <= table["hi"]).all()


def test_another_users_code_gains_nothing_and_one_reward_is_flat(town):
    models, support, test, _ = town
    table = few_shot(models, support, test, sizes=(0, 20), draws=3, n_bootstrap=100).table
    other = f"low_rank · {controls.ANOTHER}"
    assert value(table, other, 20) == pytest.approx(0.5, abs=0.08)
    assert value(table, other, 0) == value(table, "low_rank", 0)
    assert value(table, "bradley_terry", 0) == value(table, "bradley_terry", 20)
    assert dict(table.select("model", "control").unique().iter_rows()) == {
        "low_rank": False, other: True, "bradley_terry": False,
    }  # fmt: skip


def test_one_draw_is_adapt_of_the_first_in_its_order(town):
    """The estimate of one draw and size, by hand: a user's own support alone, adapted and scored alone."""
    models, support, test, _ = town
    model = models["low_rank"]
    table = few_shot({"m": model}, support, test, sizes=(3,), draws=1, n_bootstrap=10, seed=7).table
    from plurality.datasets.protocols.few_shot import _order

    rank = _order(support, 7)
    hits = []
    for user in support.user_ids[:4] + support.user_ids[4:]:
        mine = support.take((support.user == support.user_rows([user])[0]) & (rank < 3))
        assert len(mine) == 3
        asked = test.of_users([user])
        gap = forgotten(model).adapt(mine).log_odds(asked)
        hits.append(np.mean((gap > 0) == (asked.label > 0.5)))
    assert value(table, "m", 3) == pytest.approx(np.mean(hits), abs=1e-9)


def test_supports_are_nested_and_differ_by_draw(town):
    from plurality.datasets.protocols.few_shot import _order

    support = town[1]
    orders = [_order(support, seed) for seed in (0, 1)]
    for order in orders:
        for user in range(3):
            assert sorted(order[support.user == user]) == list(range(25))
    assert not np.array_equal(*orders)
    shuffled = np.random.default_rng(0).permutation(len(support))
    assert np.array_equal(_order(support.take(shuffled), 0), orders[0][shuffled])
    assert rank_within(np.array([0, 1, 0]), np.array([2.0, 1.0, 1.0])).tolist() == [1, 0, 0]


def test_known_users_are_forgotten_first(town):
    models, support, test, _ = town
    knowing = models["low_rank"].adapt(support)
    tables = [few_shot({"m": m}, support, test, sizes=(0, 5), draws=2, n_bootstrap=10).table
              for m in (knowing, models["low_rank"])]  # fmt: skip
    assert tables[0].equals(tables[1])


def test_cells_give_both_kinds_of_users():
    data = planted.low_rank(60, rank=1, width=6, scale=4.0, seed=0, unseen=1)[0].sample(60, seed=1).data
    cells = data.cells("group", test_size=0.3, unseen_users=0.3, support=20, seed=0)
    model = LowRank(rank=1, weights="deviations").fit(cells.train, seed=0)
    found = few_shot_of_cells({"low_rank": model}, cells, sizes=(0, 10), draws=2, n_bootstrap=50)
    assert set(found.table["users"]) == {"seen", "unseen"}
    for users in ("seen", "unseen"):
        assert value(found.table, "low_rank", 10, users=users) > value(found.table, "low_rank", 0, users=users) + 0.1
    assert "low_rank" in repr(found)


def test_units_of_users_have_a_curve():
    """Codes of groups: the support of a group is that of its members together."""
    seen, _ = planted.taste_groups(40, shares=(0.5, 0.5), width=6, scale=4.0, seed=0)
    data = seen.sample(30, seed=1).data
    train, rest = data.split("group", test_size=0.5, seed=0)
    model = LowRank(rank=1, weights="deviations", unit="group").fit(train, seed=0)
    table = few_shot({"m": model}, train, rest, sizes=(0, 50), draws=2, n_bootstrap=20).table
    assert set(table["n_users"]) == {2}
    assert value(table, "m", 50) > 0.7


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sizes": (0, 26)}, "no user with a test comparison has 26 of support, the most is 25"),
        ({"sizes": ()}, "give sizes of 0 or more"),
        ({"sizes": (-1,)}, "give sizes of 0 or more"),
        ({"draws": 0}, "at least one draw"),
    ],
)
def test_impossible_curves(town, settings, message):
    models, support, test, _ = town
    with pytest.raises(InputError, match=message):
        few_shot(models, support, test, **settings)


def test_other_peoples_tables_are_an_error(town):
    models, support, test, _ = town
    with pytest.raises(InputError, match="different users tables"):
        few_shot(models, support.with_users([f"x{i}" for i in range(60)]), test, sizes=(1,))


def test_the_figure_has_a_panel_for_each_kind(town):
    from plurality.analyses import figures

    if "growth" not in dir(figures):
        pytest.skip("the figure of curves is not there yet")
    models, support, test, _ = town
    found = few_shot(models, support, test, sizes=(0, 5), draws=2, n_bootstrap=10)
    assert found.figure().axes
    with pytest.raises(InputError, match="metric 'auc' is unknown"):
        found.figure("auc")
