"""Graded pairs: two offset comparisons are the cumulative logit, cut points are found, and strengths tell more."""

import numpy as np
import polars as pl
import pytest
import torch
from scipy.special import expit

import plurality as pl8
from plurality.data.comparisons import Comparisons
from plurality.data.graded import Grades, offset_comparisons
from plurality.errors import InputError, InputWarning
from plurality.models import DPL, LCPO
from plurality.reward.links import nll
from plurality.reward.responses import cumulative_logit

CUTS = (0.5, 1.5, 3.0)


def world(seed=1, people=1, each=500, width=4, sd=1.5, cuts=CUTS, personal=0.0):
    """People with tastes, what they say of pairs, and how strongly."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(300, width))
    taste = (
        np.sqrt(1 - personal) * generator.normal(size=width) + generator.normal(size=(people, width)) * personal**0.5
    )
    taste *= sd / np.sqrt(2 * np.square(taste).sum(1, keepdims=True))
    user = np.repeat(np.arange(people), each)
    first = generator.integers(300, size=len(user))
    second = (first + 1 + generator.integers(299, size=len(user))) % 300
    gap = ((x[first] - x[second]) * taste[user]).sum(1)
    said = gap + generator.logistic(size=len(user))
    level = (np.abs(said)[:, None] > np.array(cuts)).sum(1).astype(float)
    rows = {
        "user_id": [f"u{u:02d}" for u in user],
        "first": first,
        "second": second,
        "label": np.where(level == 0, 0.5, (said > 0).astype(float)),
        "strength": level,
    }
    return pl.DataFrame(rows), x, gap, np.abs(said)


def read(frame, x):
    return pl8.read(frame, embeddings=x, strength_as="level", repeats="keep")


def test_offset_comparisons_are_the_cumulative_logit():
    frame, x, _, _ = world(each=60)
    data = read(frame, x)
    grades = Grades.of(data).with_cuts(CUTS)
    assert grades.levels == (1.0, 2.0, 3.0)
    w = np.array([0.3, -1.0, 0.5, 0.2])
    made = offset_comparisons(data, grades)
    gap = (np.asarray(made.items)[made.first] - np.asarray(made.items)[made.second]) @ w + made.base_gap
    ours = nll(torch.as_tensor(gap), torch.as_tensor(made.label)).sum()
    gap = (np.asarray(data.items)[data.first] - np.asarray(data.items)[data.second]) @ w
    signed = torch.as_tensor(np.where(data.label < 0.5, -gap, gap))
    bounds = torch.tensor([-0.5, 0.5, 1.5, 3.0, torch.inf], dtype=torch.float64)
    level = torch.as_tensor(grades.level(data))
    exact = cumulative_logit(signed, bounds[level], bounds[level + 1])
    constant = torch.log(-torch.expm1(bounds[level] - bounds[level + 1]))  # does not know the gap
    assert float(ours) == pytest.approx(float((exact + constant).sum()), rel=1e-9)
    back = offset_comparisons(data.swapped(), grades).swapped()
    assert sorted(zip(back.first, back.offset, back.label, strict=True)) == sorted(
        zip(made.first, made.offset, made.label, strict=True)
    )


@pytest.fixture(scope="module")
def fitted():
    frame, x, gap, _ = world()
    return frame, x, gap, pl8.BradleyTerry().fit(read(frame, x))


def test_cut_points_are_found_and_strengths_tell_more(fitted):
    frame, x, gap, graded = fitted
    np.testing.assert_allclose(graded.report["graded"]["cuts"], CUTS, atol=0.3)
    sides = pl8.BradleyTerry().fit(pl8.read(frame.drop("strength"), embeddings=x, repeats="keep"))
    error = {}
    for name, reward in (("graded", graded), ("sides", sides)):
        utility = reward.utility(x, ["u00"])[0]
        error[name] = np.std(utility[frame["first"].to_numpy()] - utility[frame["second"].to_numpy()] - gap)
    assert error["graded"] < 0.9 * error["sides"]
    assert graded.n_comparisons.tolist() == [500]


@pytest.mark.parametrize(
    ("spec", "learns"),
    [
        (pl8.LCPO(), False),
        (pl8.DPL(), False),
        (pl8.Ensemble(spec="lcpo"), False),
        (pl8.Ensemble(spec="low_rank"), True),
    ],
)
def test_who_learns_them(spec, learns):
    assert spec.learns_grades() is learns


def test_they_are_exact_for_sides_alone(fitted):
    frame, x, _, _ = fitted
    plain = frame.with_columns(pl.when(pl.col("strength") > 0).then(1.0).otherwise(0.0).alias("strength"))
    plain = plain.filter(pl.col("strength") > 0)
    one, other = (pl8.BradleyTerry().fit(data) for data in (read(plain, x), read(plain.drop("strength"), x)))
    assert "graded" not in one.report  # one level without ties says nothing
    np.testing.assert_array_equal(one.utility(x, ["u00"]), other.utility(x, ["u00"]))


def test_personal_codes_learn_them_and_adapt_does(tmp_path):
    frame, x, gap, _ = world(people=30, each=20, personal=0.7, sd=2.0)
    data = read(frame, x)
    old, new = (data.of_users([f"u{u:02d}" for u in part]) for part in (range(22), range(22, 30)))
    graded = pl8.LowRank(rank=3).fit(old).adapt(new)
    sides = pl8.read(frame.drop("strength"), embeddings=x, repeats="keep")
    without = pl8.LowRank(rank=3).fit(sides.of_users(old.user_ids)).adapt(sides.of_users(new.user_ids))
    nats = []
    users = new.user_ids
    pairs = np.random.default_rng(5).integers(300, size=(2, 400))
    by_user = {u: np.arange(600)[frame["user_id"] == u] for u in users}
    for reward in (graded, without):
        utility = reward.utility(x, users)
        loss = 0.0
        for row, u in zip(utility, users, strict=True):
            rows = by_user[u]
            d = x[frame["first"][rows].to_numpy()] - x[frame["second"][rows].to_numpy()]
            own = np.linalg.lstsq(d, gap[rows], rcond=None)[0]
            p = expit((x[pairs[0]] - x[pairs[1]]) @ own)
            g = row[pairs[0]] - row[pairs[1]]
            loss += np.mean(p * np.logaddexp(0, -g) + (1 - p) * np.logaddexp(0, g)) / len(users)
        nats.append(loss)
    assert nats[0] < nats[1] - 0.005
    assert graded.n_comparisons[-1] == 20
    back = pl8.load(graded.save_pretrained(tmp_path / "reward"))
    assert back.report["graded"] == graded.report["graded"]
    store = Comparisons.load(data.save(tmp_path / "store"))
    np.testing.assert_array_equal(store.grade, data.grade)


def test_magnitudes_have_the_persons_own_scale():
    frame, x, _, size = world(people=20, each=40, cuts=(0.0,))
    generator = np.random.default_rng(0)
    own = np.exp(generator.normal(size=20))
    user = np.repeat(np.arange(20), 40)
    plain, scaled = (
        Grades.of(read(frame.with_columns(pl.Series("strength", values)), x)) for values in (size, size * own[user])
    )
    assert (plain.own is None, len(plain.levels)) == (False, 5)
    data = [read(frame.with_columns(pl.Series("strength", v)), x) for v in (size, size * own[user])]
    same = plain.level(data[0]) == scaled.level(data[1])
    assert same.mean() > 0.75  # shrinkage leaves a little of the person's unit
    units = Grades.of(read(frame.with_columns(pl.Series("strength", 1000 * size)), x))
    np.testing.assert_allclose(np.array(units.levels), plain.levels, rtol=1e-9)  # of own usual strengths


def test_bad_strengths():
    rows = {"user_id": ["a"], "first": [0], "second": [1], "label": [1.0], "strength": [-2.0]}
    with pytest.raises(InputError, match="strength is negative"):
        read(pl.DataFrame(rows), np.eye(2))
    with pytest.raises(InputError, match="strength is 0"):
        read(pl.DataFrame(rows | {"strength": [0.0]}), np.eye(2))
    tie = read(pl.DataFrame(rows | {"label": [0.5], "strength": [7.0]}), np.eye(2))
    assert tie.grade.tolist() == [0]
    assert read(pl.DataFrame(rows).drop("strength"), np.eye(2)).grade is None


@pytest.mark.parametrize("spec", [LCPO(unidentified="report", decay=1.0), DPL(decay=1.0)])
def test_families_that_learn_sides_alone_say_so(spec):
    frame, x, _, _ = world(people=4, each=60)
    with pytest.warns(InputWarning, match=f"{spec.name} learns which side is preferred, and not how strongly"):
        spec.fit(read(frame, x))
    spec.fit(read(frame.with_columns(strength=1.0), x))  # says nothing, and nothing is said
