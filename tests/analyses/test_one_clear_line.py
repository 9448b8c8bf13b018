"""Input that cannot give a right answer is one line that names it, never a traceback or a plausible number."""

import numpy as np
import polars as pl
import pytest

from plurality.analyses.agreement.agreement import krippendorff_alpha
from plurality.analyses.audit.compute import audit
from plurality.analyses.inference.bootstrap import cluster_draws, interval
from plurality.analyses.inference.raking import kish, rake
from plurality.analyses.social_choice.candidate_sets import CandidateSets
from plurality.analyses.social_choice.selectors import who_decides
from plurality.analyses.welfare.inequality import gini_absolute, gini_negative
from plurality.analyses.welfare.spread import spread_noise
from plurality.analyses.welfare.welfare import gini, gini_noise, gini_shrunk, lorenz_noise, shrink, worst_group
from plurality.errors import InputError

IDS = [f"u{k}" for k in range(30)]
ROWS = {"user_id": IDS * 2, "prob_first": [0.7] * 30 + [0.3] * 30, "label": [1, 0] * 30}
USERS = {"user_id": IDS, "g": ["a"] * 15 + ["b"] * 15}
CUBE = {"user_id": np.repeat(IDS, 4), "prompt": [0, 0, 1, 1] * 30, "candidate": [0, 1] * 60, "reward": [0.1, 0.2] * 60}
SETS = CandidateSets.of([1.0, 2.0, 3.0], ["a", "a", "b"], None)
HALVES = {"x": 0.5, "y": 0.5}


def audited(rows=None, **options):
    return audit(ROWS | (rows or {}), USERS, n_bootstrap=20, **options)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: audited({"weight": [1e300] * 60}), r"weight is 1e\+300 in rows 0, .* it must lie in \[0, 1e\+12\]"),
        (lambda: audited({"pair": [[1, 2]] * 60}), "predictions: pair is List"),
        (lambda: audited(margins={"g": {"a": "half", "b": 0.5}}), "margins: g: level 'a' has the share 'half'"),
        (lambda: audited(margins={"g": {"a": None, "b": 0.5}}), "margins: g: level 'a' has the share None"),
        (
            lambda: audited(candidates=CUBE | {"candidate": [None, *CUBE["candidate"][1:]]}),
            "candidate is missing in row 0",
        ),
        (lambda: audited(candidates=CUBE | {"candidate": [[1]] * 120}), "candidates: candidate is List"),
        (lambda: worst_group([0.5, 0.6], [0.1, 0.1], level=95), "level: 95"),
        (lambda: worst_group([0.5, 0.6], [0.1, 0.1], draws=0), "draws: 0; give at least 1"),
        (lambda: worst_group([0.5, 0.6], [0.1]), "estimates: shape"),
        (lambda: worst_group([0.5, 0.6], [0.1, 0.1], n_users=[3]), "n_users: shape"),
        (lambda: gini_noise([5, 5], 0.5, draws=0), "draws: 0; give at least 1"),
        (lambda: lorenz_noise([5, 5], 0.5, [0, 1], draws=0), "draws: 0; give at least 1"),
        (lambda: spread_noise([5, 5], 0.5, draws=0), "draws: 0; give at least 1"),
        (lambda: shrink([0.5, 0.6, 0.7], [0.1, 0.1]), "estimates: shape"),
        (lambda: shrink([0.5, 0.6], [0.1, -0.1]), r"se: row 1 is -0\.1"),
        (lambda: gini_shrunk([0.5, 0.6, 0.7], [0.1, 0.1]), "utility: shapes"),
        (lambda: gini_shrunk([0.5, 0.6], [0.1, 0.1], [1.0]), "utility: shapes"),
        (lambda: gini([0.1, 0.5], [0.2, 0.3]), r"weights: they add up to 0\.5 for 2 people"),
        (lambda: gini_absolute([0.1, 0.5], [0.5, 0.5]), "weights: they add up to 1 for 2 people"),
        (lambda: gini_negative([-0.1, 0.5], [0.5, 0.5]), "weights: they add up to 1 for 2 people"),
        (lambda: kish([[1, 2], [3, 4]]), "weights: shape"),
        (lambda: SETS.per_user([1.0, np.nan, 2.0], "weights"), "weights: row 1 is missing"),
        (lambda: SETS.per_user([np.nan, np.nan, 2.0], "weights"), "weights: row 0 is missing"),
        (lambda: cluster_draws([1.0, 2.0], [1.0, 1.0], draws=-1, seed=0), "bootstrap: 2 users and -1 draws"),
    ],
)
def test_one_line_says_what_and_where(call, said):
    with pytest.raises(InputError, match=said) as found:
        call()
    assert "\n" not in str(found.value)


def test_shares_have_a_gini_when_it_is_not_corrected():
    assert gini([0.1, 0.5], [0.5, 0.5], corrected=False) == pytest.approx(gini([0.1, 0.5], corrected=False))
    assert np.isnan(gini([0.3]))


def test_a_constant_predictor_is_audited():
    """Means of groups that differ by rounding alone are shrunk to one value."""
    for p in (0.5, 0.7, 1.0):
        result = audit({"user_id": IDS * 6, "prob_first": [p] * 180, "label": [1, 0, 1] * 60}, USERS, n_bootstrap=20)
        shown = result.table.filter(metric="utility", provenance="model")
        assert shown["shrunk"].drop_nulls().to_list() == pytest.approx([p] * (shown.height - 1))
    found = shrink([0.7577288453082915, 0.7577288453082916], [1e-16, 1e-18])
    assert found.tau == 0
    assert np.ptp(found.value) < 1e-12


def test_raked_weights_stay_within_the_cap():
    users = pl.DataFrame({"a": ["x"] + ["y"] * 99})
    with pytest.warns(UserWarning, match="a share is off"):
        found = rake(users, {"a": HALVES}, trim=1.5)
    assert found.weights.max() <= 1.5
    assert found.weights.mean() == pytest.approx(1)


def test_no_resamples_mean_no_interval_everywhere():
    found = audit(ROWS, USERS, n_bootstrap=0, candidates=CUBE, margins={"g": {"a": 0.5, "b": 0.5}})
    some = audit(ROWS, USERS, n_bootstrap=20)
    overall = found.overall.filter(pl.col("metric") != "temperature")
    assert overall["lo"].is_nan().all()
    same = some.overall.filter(pl.col("metric") != "temperature")["estimate"].to_list()
    assert overall["estimate"].to_list() == pytest.approx(same, nan_ok=True)
    assert all("nan" not in sentence.split() for sentence in found.verdict)
    assert str(found)
    assert set(found.figures()) >= {"groups", "lorenz"}
    assert who_decides(np.zeros((4, 2, 2)), list("aabb"), n_bootstrap=0)["lo"].is_nan().all()
    assert np.isnan(krippendorff_alpha([0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 1, 1], n_bootstrap=0).lo)
    assert np.isnan(interval(cluster_draws([1.0, 2.0], [1.0, 1.0], draws=0, seed=0))).all()
