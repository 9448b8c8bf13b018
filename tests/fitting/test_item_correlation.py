"""Items that recur: on planted rankings codes lose nothing and still find a taste; elsewhere no fit is made."""

from dataclasses import replace

import numpy as np
import polars as pl
from scipy.special import log_expit

from plurality.datasets.simulated import low_rank
from plurality.datasets.simulated.populations import taste_groups
from plurality.datasets.simulated.rankings import rankings
from plurality.errors import InputError
from plurality.evaluation.controls import population_beliefs
from plurality.fitting import item_correlation
from plurality.fitting.tuning import FitOptions
from plurality.models import Hierarchical, LowRank, MaxMin
from plurality.reward.fitted import Trace

RUN = FitOptions(new_items_for="user")


def people(scale, n=60):
    seen, new = low_rank.deviations(n, rank=1, width=3, scale=scale, mean=1.0, seed=0, unseen=100)
    says_nothing = pl.DataFrame({"panel": [str(i % 2) for i in range(n)]})
    return replace(seen, known=says_nothing), new


def losses(model, new):
    """Nats in expectation that own codes lose to the population's: unseen users rank 8 items, and are asked of 2 more.

    The pair asked of is of items in no comparison of theirs that the code is inferred from. The labels' chance is
    known and is not drawn, so what is left of noise is that of users' tastes.
    """
    sample = rankings(new, items=10, seed=5)
    data = sample.data
    held = (data.first > 7) & (data.second > 7)
    support, test = data.take((data.first < 8) & (data.second < 8)), data.take(held)
    known = model.adapt(support)
    own, population = known.log_odds(test), known.log_odds(test, beliefs=population_beliefs(known, test))
    nats = [-(sample.p[held] * log_expit(o) + (1 - sample.p[held]) * log_expit(-o)).mean() for o in (own, population)]
    return nats[0] - nats[1]


def test_codes_do_not_take_views_of_items_for_a_taste():
    """One taste: hierarchical's codes would lose .03 nats and more to the population's; they lose less than .01."""
    seen, new = people(1e-9)
    data = rankings(seen, seed=1).data
    model = Hierarchical(folds=0).fit(data, new_items_for="user")
    assert model.item_correlation >= 3
    assert losses(replace(model, item_correlation=0.0), new) > 0.03
    assert losses(model, new) < 0.01


def test_a_taste_is_still_found():
    """Tastes of sd 2 beside the views of items: codes gain, and more than if all comparisons counted in full."""
    seen, new = people(2.0)
    model = Hierarchical(folds=0).fit(rankings(seen, seed=1).data, new_items_for="user")
    in_full = replace(model, item_correlation=0.0)
    assert losses(model, new) < min(-0.02, losses(in_full, new) + 0.003)


def test_without_recurring_items_nothing_is_fitted():
    data = people(2.0, 20)[0].sample(20, seed=0).data
    trace = Trace()

    def fit(part, run):
        raise AssertionError("there is nothing to choose")

    assert item_correlation.choose(fit, data, RUN, trace) == 0
    assert not trace.rows


def test_too_little_to_hold_out_counts_in_full():
    trace = Trace()
    few = rankings(people(1.0, 3)[0], items=4, seed=0).data
    assert item_correlation.choose(MaxMin()._fit_to, few, RUN, trace) == 0
    assert "too few" in trace.rows[0]["stage"]


def test_a_family_that_cannot_be_fitted_to_a_part_counts_in_full():
    trace = Trace()

    def fit(part, run):
        raise InputError("users are all of one kind")

    assert item_correlation.choose(fit, rankings(people(1.0, 45)[0], seed=0).data, RUN, trace) == 0
    assert "cannot be fitted" in trace.rows[0]["stage"]


def test_held_out_users_and_items_are_apart():
    data = rankings(people(1.0, 60)[0], seed=0).data
    train, rounds = item_correlation._held_out(data, RUN)
    assert len(rounds) == 4
    new = set(rounds[1].known.present.tolist())
    assert len(new) == 20
    assert not new & set(train.present.tolist())
    for part in rounds:
        known, tested = ({(u, i) for side in (d.first, d.second) for u, i in zip(d.user, side, strict=True)}
                         for d in (part.known, part.test))  # fmt: skip
        assert not known & tested
    assert set(rounds[1].test.present.tolist()) <= new < set(rounds[0].test.present.tolist()) | new


def test_neither_names_nor_order_nor_repetition_matter():
    """Users held out are those of the same answers; the item split that is new to a user goes by names, so not that."""
    data = rankings(people(1.0, 60)[0], seed=0).data
    order = np.random.default_rng(0).permutation(len(data))
    marks = item_correlation.user_marks(data)
    np.testing.assert_array_equal(item_correlation.user_marks(data.take(order)), marks)
    np.testing.assert_array_equal(item_correlation.user_marks(data.take(np.repeat(order, 2))), marks)
    assert len(np.unique(marks)) == 60


def test_a_part_is_fitted_with_what_was_chosen_for_all(monkeypatch):
    """Fewer people may not show what they differ in, and would then say nothing of codes that hold it."""
    asked = []
    monkeypatch.setattr(item_correlation, "choose", lambda fit, *rest: asked.append(fit) or 0.0)
    two, _ = taste_groups(20, shares=(0.5, 0.5), width=3, scale=3.0, seed=0, unseen=1)
    spec = LowRank(decay=5.0, weights="deviations")
    model = spec.fit(two.sample(20, seed=1).data)
    assert model.head.n_codes > 0
    assert asked[0].__self__ == replace(spec, rank=model.head.n_codes)
