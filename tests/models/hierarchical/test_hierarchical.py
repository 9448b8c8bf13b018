"""Hierarchical Bayes against planted people: zero-shot from demographics, whether they help, and what cannot work."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from plurality.datasets.simulated import demographics as planted_people
from plurality.datasets.simulated import populations as planted
from plurality.errors import InputError
from plurality.models import BradleyTerry, Hierarchical, LowRank
from plurality.reproduce.measures import accuracy, log_loss
from plurality.reward.reward_model import load

USERS, UNSEEN, EACH = 150, 100, 40


def world(told, width=6, seed=0):
    seen, new = planted_people.people(USERS, told=told, width=width, seed=seed, unseen=UNSEEN)
    return seen, new, seen.sample(EACH, seed=1), new.sample(60, seed=2)


@pytest.fixture(scope="module")
def half():
    seen, new, train, query = world(0.5)
    return seen, new, train, query, Hierarchical().fit(train.data)


def test_unseen_users_are_known_by_their_demographics(half):
    """The planted means given region and age are the most that can be known; a standard error is .006."""
    _, new, _, query, model = half
    odds = model.log_odds(query.data, unknown="population")
    best = accuracy(planted_people.told(new, query), query.data)
    assert accuracy(odds, query.data) > best - 0.02
    hidden = replace(query.data, users=query.data.users.select("user_id"))
    blind = model.log_odds(hidden, unknown="population")
    assert accuracy(odds, query.data) > accuracy(blind, query.data) + 0.02
    assert log_loss(odds, query.data) < log_loss(blind, query.data) - 0.03


def test_few_comparisons_add_to_what_demographics_tell(half):
    _, new, _, query, model = half
    after = [model.adapt(new.sample(n, seed=5).data) if n else model for n in (0, 5, 20)]
    nats = [log_loss(m.log_odds(query.data, unknown="population"), query.data) for m in after]
    assert nats[0] > nats[1] > nats[2]
    blind = LowRank().fit(half[2].data).adapt(new.sample(5, seed=5).data)
    assert nats[1] < log_loss(blind.log_odds(query.data), query.data)


def test_uncertainty_shrinks_with_evidence(half):
    _, new, _, _, model = half
    names = new.users["user_id"].to_list()
    spread = [
        float(m.beliefs(new.users, "population").covariance.diagonal(dim1=1, dim2=2).mean())
        for m in (model, model.adapt(new.sample(5, seed=5).data), model.adapt(new.sample(30, seed=5).data))
    ]
    assert spread[0] > spread[1] > spread[2]
    assert set(names) <= set(model.adapt(new.sample(5, seed=5).data).user_ids)


def test_seen_users_are_predicted_as_well_as_their_number_of_labels_allows(half):
    seen, _, train, _, model = half
    test = seen.sample(60, seed=7)
    assert accuracy(model.log_odds(test.data), test.data) > test.accuracy() - 0.03
    pooled = BradleyTerry().fit(train.data)
    assert accuracy(model.log_odds(test.data), test.data) > accuracy(pooled.log_odds(test.data), test.data) + 0.05


def test_whether_demographics_help_is_answered_with_an_interval(half):
    *_, model = half
    answer = model.report["demographics"]
    assert 0 < answer["lo"] < answer["gain"] < answer["hi"]
    assert answer["users"] == USERS
    assert "demographics help beyond the population" in answer["verdict"]
    _, _, train, _ = world(0.0)
    nothing = Hierarchical().fit(train.data).report["demographics"]
    assert nothing["lo"] < 0.001  # learning what tells nothing costs a little
    assert abs(nothing["gain"]) < 0.02
    assert "demographics do not help" in nothing["verdict"]


def test_without_diagnostics_the_question_is_not_asked_and_rewards_are_the_same(half):
    _, _, train, query, model = half
    unasked = Hierarchical().fit(train.data, diagnostics=False)
    assert unasked.report["demographics"] == {"verdict": "not asked, as diagnostics=False"}
    odds = [m.log_odds(query.data, unknown="population") for m in (model, unasked)]
    assert np.array_equal(*odds)


def test_the_gain_is_that_of_users_never_seen(half):
    """What the report says of held-out users is what fresh ones show, within both standard errors."""
    _, _, train, query, model = half
    blind = Hierarchical(by=("panel",), folds=0).fit(train.data)  # a column that says nothing
    fresh = [log_loss(m.log_odds(query.data, unknown="population"), query.data) for m in (blind, model)]
    answer = model.report["demographics"]
    assert fresh[0] - fresh[1] == pytest.approx(answer["gain"], abs=1.5 * (answer["hi"] - answer["lo"]))


def test_effects_of_what_matters_have_intervals_off_zero(half):
    *_, model = half
    size = {(e["factor"], e["level"]): e["size"] for e in model.report["effects"]}
    assert max(v for (f, _), v in size.items() if f == "panel") < 0.5 * max(size.values())
    found = [e for e in model.report["effects"] if e["factor"] == "region"]
    assert any(lo > 0 or hi < 0 for e in found for lo, hi in zip(e["lo"], e["hi"], strict=True))
    assert all(lo < hi for e in model.report["effects"] for lo, hi in zip(e["lo"], e["hi"], strict=True))
    assert model.report["explained"] == pytest.approx(0.5, abs=0.15)


@pytest.mark.slow
def test_wide_embeddings_are_reduced():
    _, new, train, query = world(0.5, width=64, seed=1)
    model = Hierarchical().fit(train.data)
    assert 1 <= model.spec.dimensions <= 8
    best = accuracy(planted_people.told(new, query), query.data)
    assert accuracy(model.log_odds(query.data, unknown="population"), query.data) > best - 0.05


def test_cells_of_a_table_may_have_the_codes(half):
    """With unit= a row of the table is a level, and what all of its users share is known of it."""
    train = half[2]
    cell = pl.col("region") + " " + pl.col("panel")
    users = train.data.users.with_columns(cell=cell, also=pl.col("region"))
    model = Hierarchical(unit="cell", by=("also",), folds=0).fit(replace(train.data, users=users))
    assert len(model.user_ids) == 12
    pooled = BradleyTerry().fit(train.data)
    assert accuracy(model.log_odds(replace(train.data, users=users)), train.data) > 0.01 + accuracy(
        pooled.log_odds(train.data), train.data
    )


@pytest.mark.slow
@pytest.mark.parametrize("inference", ["nuts", "svi"])
def test_samplers_fit_through_the_same_door(inference, tmp_path):
    """Enough steps to go through; how good samplers are is tested in tests/bayes."""
    seen, new = planted_people.people(60, width=3, dimensions=2, seed=0, unseen=20)
    train, query = seen.sample(20, seed=1).data, new.sample(20, seed=2).data
    few = {"draws": 250, "chains": 2} if inference == "nuts" else {"steps": 3000}
    spec = Hierarchical(inference=inference, folds=0, **few)
    if inference == "nuts":
        with pytest.warns(match="draws are not to be relied on"):
            model = spec.fit(train)
        assert {"rhat_max", "ess_min", "divergences"} <= set(model.report)
    else:
        model = spec.fit(train)
        assert model.report["elbo"] >= model.report["elbo_halfway"] - 20
    by_bayes = Hierarchical(folds=0).fit(train)
    odds = model.log_odds(query, unknown="population")
    assert np.corrcoef(odds, by_bayes.log_odds(query, unknown="population"))[0, 1] > 0.97
    model.save_pretrained(tmp_path / "reward")
    np.testing.assert_allclose(load(tmp_path / "reward").log_odds(query, unknown="population"), odds, atol=1e-6)


@pytest.mark.slow
def test_draws_are_named():
    seen, _ = planted_people.people(20, width=3, dimensions=2, seed=0)
    with pytest.warns(match="draws are not to be relied on"):
        draws = Hierarchical(draws=50, chains=2, inference="nuts").sample(seen.sample(8, seed=1).data)
    assert set(draws["posterior"]["z"].coords["user"].values) == set(seen.users["user_id"])
    assert list(draws["posterior"]["ratio"].coords["factor"].values) == ["region", "age", "panel"]


def test_without_demographics_it_says_what_would_do():
    data = planted.taste_groups(30, width=4)[0].sample(10, seed=0).data
    with pytest.raises(InputError, match=r"no column but user_id; give demographics .*or fit low_rank"):
        Hierarchical().fit(replace(data, users=data.users.select("user_id")))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"inference": "gibbs"}, "inference 'gibbs' is unknown; choose one of empirical, nuts, svi"),
        ({"draws": 100}, "draws is of inference='nuts' alone"),
        ({"inference": "nuts", "steps": 100}, "steps is of inference='svi' alone"),
        ({"inference": "nuts", "chains": 1}, "one chain cannot show whether draws mix; take 2"),
        ({"dimensions": 0}, "dimensions 0 must be 1 or more"),
        ({"folds": 1}, "folds 1 must be 0, or 2 or more"),
        ({"by": ()}, "by= names no column"),
    ],
)
def test_settings_that_make_no_sense(settings, message):
    with pytest.raises(InputError, match=message):
        Hierarchical(**settings)
