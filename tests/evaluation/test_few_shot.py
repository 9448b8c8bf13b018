"""Few-shot curves: one call for all draws gives what a call a draw gives, and planted tastes are learned as told."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from plurality.datasets.simulated import populations as planted
from plurality.errors import InputError
from plurality.evaluation.compare import compare
from plurality.evaluation.few_shot import METRICS, Supports, curve_table, sizes_of
from plurality.evaluation.fold import BASELINE
from plurality.models import PAL, BradleyTerry, Hierarchical

SPEC = PAL(n_prototypes=2, preference=3, decay=3.0)


@pytest.fixture(scope="module")
def data():
    return planted.taste_groups(50, shares=(0.5, 0.5), width=6, scale=3.0, seed=4)[0].sample(40, seed=6).data


@pytest.fixture(scope="module")
def parts(data):
    """Training part, and supports of ten unseen users with about 25 answers each."""
    cells = data.cells("row", support=len(data))
    return cells.train, Supports((0, 3, 1000), 4, cells.support, cells.tests["unseen user, unseen row"], "", seed=0)


@pytest.fixture(scope="module")
def model(parts):
    return SPEC.fit(parts[0])


def there(test):
    """The rows without the users who have none: how a code's spread is cut into points depends on these too."""
    return replace(test, users=test.users[test.present], user=np.searchsorted(test.present, test.user))


def log_odds_of_draws(supports, model, size):
    """A call a draw: the longer way."""
    out, test = [], there(supports.test)
    for order in supports.order:
        given = supports.pool.take(order < size)
        out.append((model.adapt(given) if len(given) else model).log_odds(test, unknown="population"))
    return np.array(out)


def row_of(curve, supports, odds):
    """Mean over draws and rows of a user, by a loop."""
    test = supports.test
    for user in np.unique(test.user):
        own = test.user == user
        hit = [np.where(o[own] > 0, test.label[own], 1 - test.label[own]).mean() for o in odds]
        nats = [np.logaddexp(0, -np.where(test.label[own] > 0.5, 1, -1) * o[own]).mean() for o in odds]
        yield test.users["user_id"][int(user)], np.mean(hit), np.mean(nats)


@pytest.mark.parametrize("entries", [10, 10**8])
def test_all_draws_at_once_give_what_each_gives(parts, model, monkeypatch, entries):
    """Whatever the number of draws that are held at once."""
    monkeypatch.setattr("plurality.evaluation.few_shot.ENTRIES", entries)
    supports = parts[1]
    curve = supports.adapted(model)
    for size in supports.sizes:
        part = {row["user_id"]: row for row in curve.filter(pl.col("support") == size).iter_rows(named=True)}
        odds = log_odds_of_draws(supports, model, size)
        for user, hit, nats in row_of(curve, supports, odds):
            assert part[user]["accuracy"] == pytest.approx(hit, abs=1e-9)
            assert part[user]["log_loss"] == pytest.approx(nats, abs=1e-5)


def test_who_has_fewer_answers_gives_all(parts, model):
    supports = parts[1]
    curve = supports.adapted(model).filter(pl.col("support") == 1000)
    count = np.bincount(supports.pool.user, minlength=supports.pool.users.height)
    answers = dict(zip(supports.pool.users["user_id"], count, strict=True))
    assert curve["answers"].to_list() == [answers[u] for u in curve["user_id"]]
    whole = supports.flat(model.adapt(supports.pool).log_odds(there(supports.test))).filter(pl.col("support") == 1000)
    np.testing.assert_allclose(curve["log_loss"], whole["log_loss"], atol=1e-5)


def test_a_size_holds_the_smaller_ones_and_draws_differ(parts):
    supports = parts[1]
    places = [np.sort(supports.order[:, supports.pool.user == u]) for u in supports.pool.present]
    for place in places:
        np.testing.assert_array_equal(place, np.broadcast_to(np.arange(place.shape[1]), place.shape))
    assert len({tuple(order) for order in supports.order}) == supports.draws


def test_draws_do_not_know_the_order_of_rows(parts, model):
    supports = parts[1]
    moved = supports.pool.take(np.random.default_rng(0).permutation(len(supports.pool)))
    one, other = (s.adapted(model)["log_loss"] for s in (supports, replace(supports, pool=moved)))
    np.testing.assert_allclose(one, other, atol=1e-6)


def test_units_that_are_known_learn_nothing_and_codes_need_no_user_of_their_own(data, parts):
    supports = parts[1]
    model = replace(SPEC, unit="group").fit(parts[0])
    curve = supports.adapted(model)
    flat = supports.flat(model.log_odds(supports.test, unknown="population"))
    assert curve.equals(flat)


def test_units_that_are_new_learn_from_all_their_users(parts):
    train, supports = parts
    one = train.users["group"].to_numpy()[train.user] == train.users["group"][0]
    model = replace(SPEC, unit="group").fit(train.take(one))
    curve = supports.adapted(model)
    odds = [
        (model.adapt(new) if len(new := model.unknown_users(supports.pool.take(order < 3))) else model).log_odds(
            supports.test, unknown="population"
        )
        for order in supports.order
    ]
    part = {row["user_id"]: row for row in curve.filter(pl.col("support") == 3).iter_rows(named=True)}
    for user, _, nats in row_of(curve, supports, odds):
        assert part[user]["log_loss"] == pytest.approx(nats, abs=1e-5)


def test_demographics_are_the_zero_of_the_curve(parts):
    """Without answers a user is predicted from what is known of them, which is not the population's code."""
    train, supports = parts
    model = Hierarchical().fit(train)
    curve = supports.adapted(model)
    flat = supports.flat(model.log_odds(there(supports.test), unknown="population"))
    assert curve.filter(pl.col("support") == 0).equals(flat.filter(pl.col("support") == 0))
    for size in (3, 1000):
        odds = log_odds_of_draws(supports, model, size)
        part = {row["user_id"]: row for row in curve.filter(pl.col("support") == size).iter_rows(named=True)}
        for user, _, nats in row_of(curve, supports, odds):
            assert part[user]["log_loss"] == pytest.approx(nats, abs=1e-5)


@pytest.fixture(scope="module")
def compared(data):
    arguments = {"split": "row", "n_bootstrap": 100, "shuffled": False}
    few = compare(data, {"pal": SPEC}, support=[10, 0, 2], support_draws=8, **arguments)
    return few, compare(data, {"pal": SPEC}, support=10, **arguments)


def test_planted_tastes_are_learned_from_few_answers(compared):
    curves = compared[0].curves.filter(pl.col("model") == "pal", pl.col("metric") == "accuracy")
    assert curves["support"].to_list() == [0, 2, 10]
    first, second, third = curves["estimate"]
    assert first + 0.05 < second < third
    assert curves["gain_lo"][2] > 0
    assert curves["diff_lo"][2] > 0
    assert abs(curves["gain"][0]) < 1e-9  # no answer, no difference


def test_other_lines_are_flat_and_people_the_same(compared):
    curves = compared[0].curves
    assert curves["n_users"].n_unique() == 1
    for line in (BASELINE, "pal · population code"):
        part = curves.filter(pl.col("model") == line)
        assert part.group_by("metric").agg(pl.col("estimate").n_unique())["estimate"].to_list() == [1, 1]
    table = compared[0].table.filter(pl.col("cell") == "unseen user, unseen row", pl.col("model") == BASELINE)
    for metric in METRICS:  # the same rows as in the cell
        cell = table.row(by_predicate=pl.col("metric") == metric, named=True)
        row = curves.row(by_predicate=(pl.col("metric") == metric) & (pl.col("model") == BASELINE)
                         & (pl.col("support") == 2), named=True)  # fmt: skip
        assert row["estimate"] == pytest.approx(cell["estimate"])
        assert (row["lo"], row["hi"]) == (pytest.approx(cell["lo"]), pytest.approx(cell["hi"]))


def test_one_number_gives_the_table_that_the_largest_size_gives(compared):
    few, one = compared
    assert few.table.equals(one.table)
    assert few.predictions.equals(one.predictions)
    assert one.curves.is_empty()
    assert (few.about["support"], few.about["supports"], one.about["supports"]) == (10, [0, 2, 10], [])
    with pytest.raises(InputError, match=r"no few-shot curves.*support=\[0, 5, 20\]"):
        one.few_shot_figure()


def test_curves_are_shown_and_saved(compared, tmp_path):
    few, one = compared
    for shown in (str(few), few._repr_html_()):
        assert "Accuracy by number of answers · 10 unseen users, 8 draws" in " ".join(shown.split())
        assert "users with so many" in shown
    assert max(map(len, str(few).splitlines())) <= 80
    assert "by number of answers" not in str(one)
    folder = few.save(tmp_path / "few")
    assert pl.read_parquet(folder / "few_shot.parquet").equals(few.curves)
    assert (folder / "few_shot.png").read_bytes().startswith(b"\x89PNG")
    assert not (one.save(tmp_path / "one") / "few_shot.png").exists()


def test_curve_table_by_hand():
    """Two users in two folds, one of them in both; weights are those of rows."""

    def rows(line, values):
        users, weights = ["a", "b", "a"], [1.0, 2.0, 3.0]
        return pl.DataFrame(
            {"model": line, "control": line != BASELINE, "support": [1] * 3, "user_id": users, "answers": [1, 0, 1],
             "accuracy": values, "log_loss": values, "weight": weights}
        )  # fmt: skip

    lines = [rows(BASELINE, [0.0, 0.5, 1.0]), rows("m", [1.0, 0.5, 1.0]), rows("m · population code", [1.0, 1.0, 1.0])]
    table = curve_table(pl.concat(lines), baseline=BASELINE, population="population code", n_bootstrap=50, seed=0)
    own = table.row(by_predicate=(pl.col("model") == "m") & (pl.col("metric") == "accuracy"), named=True)
    assert own["estimate"] == pytest.approx((1.0 + 0.5) / 2)
    assert own["diff"] == pytest.approx((1.0 - 0.75 + 0.5 - 0.5) / 2)
    assert own["gain"] == pytest.approx((0.0 - 0.5) / 2)
    assert (own["n_users"], own["n_reaching"], own["answers"]) == (2, 1, 0.5)
    base = table.row(by_predicate=(pl.col("model") == BASELINE) & (pl.col("metric") == "accuracy"), named=True)
    assert (base["diff"], base["gain"]) == (None, None)


@pytest.mark.parametrize("wrong", [[], [1, 1], [-1, 2], [2.5], ["5"]])
def test_what_are_no_sizes_is_an_error(wrong):
    with pytest.raises(InputError, match="are not sizes; give different whole numbers of 0 or more"):
        sizes_of(wrong, 20)


def test_draws_and_unseen_users_are_needed(data, monkeypatch):
    with pytest.raises(InputError, match="support_draws=0; give 1 or more"):
        sizes_of([0, 5], 0)
    monkeypatch.setattr(BradleyTerry, "learn", None)  # said before anything is fitted
    with pytest.raises(InputError, match=r"no unseen user has both answers and tests.*hold out more users"):
        compare(data, [BradleyTerry()], split="row", support=[0, 5], unseen_users=0.0)
