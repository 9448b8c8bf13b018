"""The parts of an audit beside its table: planted truths, plain functions, brute force, and what must not be told."""

import json

import krippendorff
import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from plurality.analyses.audit.compute import audit
from plurality.analyses.audit.slices import Disclosure
from plurality.analyses.calibration.slopes import slope
from plurality.errors import InputError, InputWarning

FEW = Disclosure(min_users_flag=5, min_users_show=3)


def people(users, **levels):
    return pl.DataFrame({"user_id": [f"u{k}" for k in range(users)], **levels})


def shared(users=120, each=60, pairs=80, group_spread=1.5, bias=0.0, seed=0):
    """Answers about shared pairs by two groups whose tastes are `group_spread` logits apart, half displayed turned."""
    rng = np.random.default_rng(seed)
    side = np.where(np.arange(users) % 2, 1, -1)
    user, pair = np.repeat(np.arange(users), each), rng.integers(0, pairs, users * each)
    common, apart = rng.normal(0, 1, pairs), rng.normal(0, group_spread, pairs)
    shown = rng.random(len(user)) < 0.5
    gap = common[pair]
    odds = gap + side[user] * apart[pair] + bias * (2 * shown - 1)
    label = (rng.random(len(user)) < expit(odds)).astype(float)
    table = pl.DataFrame({"user_id": np.array([f"u{k}" for k in range(users)])[user], "prob_first": expit(gap),
                          "gap": gap, "label": label, "pair": pair, "shown_first": shown})  # fmt: skip
    return table, people(users, camp=["right" if s > 0 else "left" for s in side])


# temperatures


@pytest.fixture(scope="module")
def steep():
    """People of `a` are half as decided as stated, those of `b` twice; three of `c`, and the few who cover them."""
    rng = np.random.default_rng(3)
    group = np.array(["a"] * 60 + ["b"] * 60 + ["c"] * 3 + ["d"] * 12)
    user = np.repeat(np.arange(len(group)), 40)
    gap = rng.normal(0, 1.5, len(user))
    factor = np.where(group == "a", 0.5, 2.0)[user]
    label = (rng.random(len(user)) < expit(factor * gap)).astype(float)
    ids = np.array([f"u{k}" for k in range(len(group))])
    table = pl.DataFrame({"user_id": ids[user], "prob_first": expit(gap), "gap": gap, "label": label})
    return table, people(len(group), group=group)


def test_temperatures_of_groups_are_the_planted_ones(steep):
    found = audit(*steep, n_bootstrap=50).sections["temperature"].frame
    rows = {row["level"]: row for row in found.iter_rows(named=True)}
    for level, truth in (("a", 2.0), ("b", 0.5)):
        assert rows[level]["lo"] < truth < rows[level]["hi"]
        assert rows[level]["q"] < 1e-6
    table = steep[0].join(steep[1], on="user_id").filter(pl.col("group") == "a")
    plain = slope(table["gap"], table["label"], users=table["user_id"])
    assert rows["a"]["estimate"] == pytest.approx(1 / plain.slope)
    assert (rows["a"]["lo"], rows["a"]["hi"]) == pytest.approx(plain.temperature_interval)


def test_temperatures_of_withheld_groups_are_not_told(steep):
    result = audit(*steep, n_bootstrap=50)
    hidden = result.sections["temperature"].frame.filter("suppressed")
    assert set(hidden["level"]) == {"c", "d"}
    assert hidden.select("estimate", "lo", "hi", "n_users", "p", "q", "shrunk").null_count().row(0) == (
        (hidden.height,) * 7
    )
    assert result.table.filter(metric="temperature").equals(result.sections["temperature"].frame)


def test_certainties_without_gaps_have_no_temperature(steep):
    certain = steep[0].drop("gap").with_columns(prob_first=pl.col("prob_first").round())
    assert "temperature" not in audit(certain, n_bootstrap=20).sections


# confidence and slices


def test_cells_of_confidence_are_those_of_the_rows(steep):
    table, listed = steep
    found = audit(table, listed, n_bootstrap=20).sections["multicalibration"].frame
    rows = table.join(listed, on="user_id").with_columns(
        c=pl.max_horizontal("prob_first", 1 - pl.col("prob_first")),
        z=pl.when(pl.col("prob_first") > 0.5).then("label").otherwise(1 - pl.col("label")),
    )
    edges = np.quantile(rows["c"], np.linspace(0, 1, 7), method="inverted_cdf")
    name = found["confidence"].unique(maintain_order=True)[3]
    assert name == f"{edges[3]:.2f}–{edges[4]:.2f}"
    cell = rows.filter((pl.col("group") == "a") & (pl.col("c") > edges[3]) & (pl.col("c") <= edges[4]))
    own = cell.group_by("user_id").agg((pl.col("z") - pl.col("c")).sum())["z"].to_numpy()
    row = found.row(by_predicate=(pl.col("level") == "a") & (pl.col("confidence") == name), named=True)
    assert row["gap"] == pytest.approx(own.sum() / cell.height)
    assert row["error"] == pytest.approx(np.sqrt((own**2).sum()) / cell.height)
    assert row["mass"] == pytest.approx(cell.height / table.height)
    assert row["n_users"] == len(own)
    assert row["q"] < 0.01
    assert "c" not in set(found["level"])  # withheld


def test_a_few_people_who_agree_are_no_certainty(steep):
    found = audit(*steep, n_bootstrap=20, disclosure=FEW).sections["multicalibration"].frame
    known = found.filter(pl.col("in_error").is_finite())
    assert (known["in_error"].abs() <= known["n_users"].sqrt() + 1e-9).all()  # a sum of n scores over its own length


# position


@pytest.mark.parametrize("bias", [0.0, 0.5])
def test_what_is_displayed_first_is_favoured_by_what_was_planted(bias):
    table, listed = shared(group_spread=0.0, bias=bias)
    result = audit(table, listed, n_bootstrap=20)
    row = result.overall.filter(metric="position_bias").row(0, named=True)
    assert row["lo"] < bias < row["hi"]
    assert row["hi"] - row["lo"] < 0.2
    turned = table.with_columns(
        prob_first=1 - pl.col("prob_first"),
        label=1 - pl.col("label"),
        gap=-pl.col("gap"),
        shown_first=~pl.col("shown_first"),
    )
    again = audit(turned, listed, n_bootstrap=20).overall.filter(metric="position_bias").row(0, named=True)
    assert again["estimate"] == pytest.approx(row["estimate"])
    assert any("displayed first" in sentence for sentence in result.verdict)


def test_display_orders_that_nobody_noted_are_left_out():
    table, listed = shared(bias=0.5)
    half = table.with_columns(shown_first=pl.col("shown_first").cast(pl.Float64)).with_columns(
        shown_first=pl.when(pl.int_range(pl.len()) % 2 == 0).then(0.5).otherwise("shown_first")
    )
    rows = [audit(t, listed, n_bootstrap=20).overall.filter(metric="position_bias").row(0, named=True)
            for t in (half, half.filter(pl.col("shown_first") != 0.5))]  # fmt: skip
    assert rows[0]["n_comparisons"] == table.height // 2
    assert rows[0]["estimate"] == pytest.approx(rows[1]["estimate"])


# shared pairs


def test_agreement_about_shared_pairs_is_that_of_the_library():
    table, listed = shared(users=40, each=30, pairs=60)
    table = table.unique(["user_id", "pair"], maintain_order=True)
    said = audit(table, listed, n_bootstrap=50).sections["shared_pairs"].said[0]
    wide = table.pivot("pair", index="user_id", values="label").drop("user_id").to_numpy().astype(float)
    expected = krippendorff.alpha(wide, level_of_measurement="nominal")
    assert f"alpha {expected:.2f}" in said


def test_the_group_that_shares_a_taste_is_found():
    table, listed = shared()
    listed = listed.with_columns(coin=pl.Series(np.random.default_rng(1).choice(["x", "y"], listed.height)))
    section = audit(table, listed, n_bootstrap=200).sections["shared_pairs"]
    share = {row["attribute"]: row for row in section.frame.filter(component="× group").iter_rows(named=True)}
    assert share["camp"]["lo"] > 0.1
    assert share["coin"]["lo"] < 0 < share["coin"]["hi"] + 0.02
    assert section.said[1].startswith("camp explains")
    parts = section.frame.filter(attribute="(none)")["share"]
    assert parts.sum() == pytest.approx(1)


def test_weights_of_people_count_for_shared_pairs_and_those_of_comparisons_are_said_not_to():
    table, listed = shared(users=40, each=30, pairs=60)
    user = table["user_id"].rank("dense").to_numpy().astype(int)
    plain = audit(table, listed, n_bootstrap=0).sections["shared_pairs"]
    of_people = table.with_columns(weight=pl.Series(1.0 + user % 5))
    weighted = audit(of_people, listed, n_bootstrap=0).sections["shared_pairs"]
    assert np.abs(weighted.frame["share"].to_numpy() - plain.frame["share"].to_numpy()).max() > 1e-3
    assert weighted.said[0].split("alpha ")[1].split(";")[0] != plain.said[0].split("alpha ")[1].split(";")[0]
    of_rows = table.with_columns(weight=pl.Series(1.0 + np.arange(table.height) % 3))
    same = audit(of_rows, listed, n_bootstrap=0).sections["shared_pairs"]
    assert same.frame.equals(plain.frame)
    assert "the column weight is not read" in same.said[-1]


def test_columns_of_candidates_that_are_not_read_are_named(town):
    rows, listed, cube, _ = town
    heavy = cube.with_columns(weight=pl.lit(2.0))
    notes = audit(rows, listed, candidates=heavy, n_bootstrap=0).notes
    assert "Columns of candidates that are not read: 'weight'." in notes
    assert not any("candidates" in note for note in audit(rows, listed, candidates=cube, n_bootstrap=0).notes)


def test_of_very_many_pairs_some_are_looked_at_whole(monkeypatch):
    table, listed = shared(users=60, each=60, pairs=90)
    whole = audit(table, listed, n_bootstrap=20).sections["shared_pairs"].frame
    monkeypatch.setattr("plurality.analyses.audit.shared_pairs.MOST", 1800)  # of 3,600 rows
    some = audit(table, listed, n_bootstrap=20).sections["shared_pairs"].frame
    assert (whole["n_pairs"] == 90).all()
    assert some["n_pairs"].is_between(30, 50).all()
    assert (some["n_users"] == 60).all()


def test_pairs_that_nobody_shares_say_nothing():
    table, listed = shared(users=20)
    alone = table.with_columns(pair=pl.int_range(pl.len()))
    assert "shared_pairs" not in audit(alone, listed, n_bootstrap=20, disclosure=FEW).sections
    with pytest.raises(InputError, match=r"pair is empty in row 2"):
        audit(table.with_columns(pair=pl.when(pl.int_range(pl.len()) != 2).then("pair")), listed, n_bootstrap=20)


# population


def test_raked_means_are_those_of_the_margins(planted):
    table, listed = planted
    result = audit(
        table, listed, n_bootstrap=200, margins={"region": {"east": 0.1, "north": 0.2, "south": 0.6, "west": 0.1}}
    )
    frame = result.sections["population"].frame
    means = dict(result.users.group_by("region").agg(pl.col("utility").mean()).iter_rows())
    expected = 0.1 * means["east"] + 0.2 * means["north"] + 0.6 * means["south"] + 0.1 * means["west"]
    row = frame.row(by_predicate=pl.col("attribute") == "observed utility", named=True)
    assert row["population"] == pytest.approx(expected)
    assert row["lo"] < expected < row["hi"]
    assert row["sample"] == pytest.approx(result.users["utility"].mean())
    assert any("Raked" in sentence for sentence in result.verdict)


def test_shares_of_withheld_levels_are_not_told(steep, tmp_path):
    table = pl.DataFrame({"attribute": ["group"] * 4, "level": ["a", "b", "c", "d"], "share": [0.1, 0.1, 0.7, 0.1]})
    table.write_csv(tmp_path / "margins.csv")
    with pytest.warns(InputWarning, match="a share is off"):  # fifteen people cannot be most of them under the cap
        result = audit(*steep, n_bootstrap=50, margins=tmp_path / "margins.csv")
    rows = result.sections["population"].frame.filter(kind="share")
    assert rows["level"].to_list() == ["a", "b", "(withheld groups together)"]
    assert rows["population"].to_list() == pytest.approx([0.1, 0.1, 0.8])
    assert rows["sample"].to_list()[2] is None
    assert rows["n_users"].to_list()[2] is None
    assert "cannot all be met" in " ".join(result.verdict)


@pytest.mark.parametrize(
    ("margins", "said"),
    [
        ({"region": {"east": 1.0}}, "region: users of level 'north' have no share"),
        ({"planet": {"mars": 1.0}}, "planet: no such column"),
        ({"level": ["a"], "share": [1.0]}, "margins: no column attribute"),
        ({"attribute": ["region"] * 2, "level": ["east"] * 2, "share": [0.5, 0.5]}, "margins: the level of row 0"),
        ({"attribute": ["region"], "level": ["east"], "share": ["all"]}, "margins: share is 'all' in row 0"),
    ],
)
def test_margins_that_do_not_fit_are_refused(planted, margins, said):
    with pytest.raises(InputError, match=said):
        audit(*planted, n_bootstrap=20, margins=margins)


# candidates


@pytest.fixture(scope="module")
def town():
    """Two camps of opposite tastes and two groups too small to show value four candidates of ten prompts."""
    rng = np.random.default_rng(5)
    camp = np.array(["left"] * 30 + ["right"] * 20 + ["hermit"] * 3 + ["monk"] * 12)
    quality = rng.normal(0, 1, (10, 4))
    sign = np.where(camp == "left", 1, -1)
    reward = sign[:, None, None] * quality + rng.normal(0, 0.3, (len(camp), 10, 4))
    u, p, k = (x.ravel() for x in np.indices(reward.shape))
    cube = pl.DataFrame({"user_id": [f"u{i}" for i in u], "prompt": p, "candidate": k, "reward": reward.ravel()})
    rows = pl.DataFrame({"user_id": np.repeat([f"u{i}" for i in range(len(camp))], 20)})
    rows = rows.with_columns(prob_first=pl.Series(rng.uniform(0.1, 0.9, rows.height)))
    rows = rows.with_columns(label=(pl.Series(rng.random(rows.height)) < pl.col("prob_first")).cast(pl.Float64))
    return rows, people(len(camp), camp=camp), cube, reward


def test_who_decides_is_by_brute_force(town):
    rows, listed, cube, reward = town
    result = audit(rows, listed, candidates=cube, n_bootstrap=50)
    frame = result.sections["who_decides"].frame
    win = (expit(reward[:, :, :, None] - reward[:, :, None, :]).sum(-1) - 0.5) / 3  # not against itself
    camp = listed["camp"].to_numpy()
    own = np.stack([win[camp == c].mean(0) for c in ("left", "right")])
    for c, name in enumerate(("left", "right")):
        pick = own[c].argmax(1)
        for group in ("left", "right"):
            expected = np.take_along_axis(win[camp == group], pick[None, :, None], 2).mean()
            there = (pl.col("selector") == name) & (pl.col("group") == group)
            row = frame.row(by_predicate=there, named=True)
            assert row["mean"] == pytest.approx(expected)
            assert row["lo"] <= row["mean"] <= row["hi"]
    assert "Deciding alone" in " ".join(result.verdict)


def test_candidates_make_their_figures_and_hide_the_few(town, tmp_path):
    rows, listed, cube, _ = town
    result = audit(rows, listed, candidates=cube, n_bootstrap=50)
    names = {"who_decides", "aggregation", "best_of_n", "normalisations"}
    assert names <= set(result.figures())
    for name in names:
        groups = result.sections[name].frame
        assert "hermit" not in {v for c in groups.select(pl.col(pl.String)).iter_columns() for v in c.to_list()}
    folder = result.save(tmp_path / "out")
    assert names <= {path.stem for path in (folder / "figures").glob("*.svg")}
    assert "hermit" not in json.dumps(json.loads((folder / "audit.json").read_text())["verdict"])


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda cube: cube.drop("reward"), "candidates: no column reward"),
        (lambda cube: pl.concat([cube, cube[:1]]), "candidates: row 0 stands twice"),
        (lambda cube: cube.with_columns(reward=pl.lit(float("nan"))), "candidates: reward is nan in row 0"),
        (lambda cube: cube.with_columns(reward=pl.lit("high")), "candidates: reward is 'high' in rows 0, 1"),
        (lambda cube: cube.clear(), "candidates has no rows; give a table"),
    ],
)
def test_candidates_that_cannot_be_used_are_refused(town, spoil, said):
    rows, listed, cube, _ = town
    with pytest.raises(InputError, match=said):
        audit(rows, listed, candidates=spoil(cube), n_bootstrap=20)


def test_candidates_need_people_in_groups(town):
    rows, _, cube, _ = town
    with pytest.raises(InputError, match="no attribute to group users by"):
        audit(rows, candidates=cube, n_bootstrap=20)
