"""Rankings against statsmodels and a planted order, with style held fixed and few people left out."""

import json

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm

from plurality.analyses.audit.slices import Disclosure
from plurality.analyses.leaderboards import leaderboard
from plurality.cli import main
from plurality.errors import InputError

TRUE = np.array([1.2, 0.4, -0.2, -1.4])
NAMES = ["ant", "bee", "cow", "dog"]


def battles(users=120, each=25, seed=0, rare=0):
    """Group b prefers the reverse; responses of "dog" are long, and length alone is worth 2."""
    rng = np.random.default_rng(seed)
    user = np.repeat(np.arange(users), each)
    a = rng.integers(0, 4, len(user))
    b = (a + rng.integers(1, 4, len(user))) % 4
    group = np.where(np.arange(users) % 2 == 0, "a", "b")
    length = rng.normal(0, 0.5, len(user)) + (a == 3) - (b == 3)
    theta = np.where(group[user][:, None] == "a", TRUE, TRUE[::-1])
    rows = np.arange(len(user))
    gap = theta[rows, a] - theta[rows, b] + 2 * length
    label = (rng.random(len(user)) < 1 / (1 + np.exp(-gap))).astype(float)
    ids = np.array([f"u{k}" for k in range(users)])
    frame = pl.DataFrame(
        {"user_id": ids[user], "model_a": np.array(NAMES)[a], "model_b": np.array(NAMES)[b], "label": label}
    )
    return frame, pl.DataFrame({"user_id": ids, "group": group}), pl.DataFrame({"length": length})


@pytest.fixture(scope="module")
def ranked():
    frame, users, style = battles()
    return frame, users, style, leaderboard(frame, users, style=style)


def test_ratings_are_those_of_a_logistic_regression_with_people_as_clusters(ranked):
    frame, users, style, found = ranked
    mine = (frame.join(users, on="user_id")["group"] == "a").to_numpy()
    x = np.zeros((frame.height, 4))
    for sign, column in ((1, "model_a"), (-1, "model_b")):
        for k, name in enumerate(NAMES):
            x[:, k] += sign * (frame[column] == name).to_numpy()
    design = np.hstack([x[:, :3], style.to_numpy()])[mine]
    fit = sm.GLM(frame["label"].to_numpy()[mine], design, family=sm.families.Binomial()).fit(
        cov_type="cluster", cov_kwds={"groups": frame["user_id"].rank("dense").to_numpy()[mine].astype(int)}
    )
    raw = np.append(fit.params[:3], 0)
    rows = found.table.filter(level="a").sort("system")
    np.testing.assert_allclose(rows["rating"], raw - raw.mean(), atol=1e-6)
    gap = rows["rating"].to_numpy() - TRUE + TRUE.mean()
    assert (np.abs(gap) < 3.5 * rows["se"].to_numpy()).all()
    turn = np.vstack([np.eye(3), np.zeros(3)]) - 0.25
    errors = np.sqrt(np.diag(turn @ fit.cov_params()[:3, :3] @ turn.T))
    np.testing.assert_allclose(rows["se"], errors, rtol=0.08)  # CR3 is a little wider


def test_groups_rank_in_their_own_order_and_style_is_held_fixed(ranked):
    frame, users, _, found = ranked
    order = {g: found.table.filter(level=g).sort("rank")["system"].to_list() for g in "ab"}
    assert order == {"a": NAMES, "b": NAMES[::-1]}
    ranks = found.table.filter(level="a").sort("rank")
    assert ranks["rank_lo"].to_list() == [1, 2, 3, 4]
    assert ranks["rank_hi"].to_list() == [1, 2, 3, 4]
    groups = {row["level"]: row for row in found.groups.iter_rows(named=True)}
    assert groups["a"]["separability"] == 1
    assert groups["a"]["kendall"] == -groups["b"]["kendall"]
    assert found.style["coefficient"][0] > 0
    plain = leaderboard(frame, users).table.filter(level="a").sort("rank")
    assert plain["system"][3] != "dog"  # its length carries it
    assert "put another system than" in str(found)
    assert found.figure() is not None


def test_a_group_that_chooses_otherwise_is_named_beyond_chance():
    frame, users, style = battles(users=200, seed=3)
    few = users.with_columns(keep=(pl.col("group") == "a") | (pl.int_range(pl.len()) % 4 == 1))
    kept = frame.join(few, on="user_id", maintain_order="left")["keep"]
    found = leaderboard(frame.filter(kept), users, style=style.filter(kept))
    row = found.groups.filter(level="b").row(0, named=True)
    assert (found.groups["top"][0], row["top"]) == ("ant", "dog")
    assert row["q"] < 0.01
    assert row["top_against"] == pytest.approx(2.6, abs=0.8)


def test_order_of_sides_and_rows_changes_nothing(ranked):
    frame, users, style, found = ranked
    turned = frame.select("user_id", model_a="model_b", model_b="model_a", label=1 - pl.col("label")).reverse()
    again = leaderboard(turned, users, style=style.select(-pl.all()).reverse())
    np.testing.assert_allclose(again.table["rating"], found.table["rating"], atol=1e-8)
    np.testing.assert_allclose(again.table["se"], found.table["se"], rtol=1e-6)


def test_systems_and_groups_of_few_people_are_not_told():
    frame, users, _ = battles(users=60, each=10, seed=1)
    others = (pl.col(c) == "cow" for c in ("model_a", "model_b"))
    rare = frame.filter(~pl.any_horizontal(*others) | pl.col("user_id").is_in(["u0", "u1", "u2"]))
    small = users.with_columns(group=pl.when(pl.int_range(pl.len()) < 5).then(pl.lit("rare")).otherwise("group"))
    found = leaderboard(rare, small)
    hidden = found.table.filter(pl.col("suppressed"))
    assert hidden.filter(system="cow", attribute="(overall)").height == 1
    assert "rare" in hidden["level"].to_list()
    assert hidden.select("rating", "se", "lo", "rank", "n_users").null_count().sum_horizontal()[0] == 5 * hidden.height
    assert found.table.filter(~pl.col("suppressed"))["n_users"].min() >= 11


def test_what_cannot_be_ranked_is_said():
    frame, _, _ = battles(users=20, each=5)
    with pytest.raises(InputError, match="model_b"):
        leaderboard(frame.drop("model_b"))
    with pytest.raises(InputError, match="the same"):
        leaderboard(frame.with_columns(model_b="model_a"))
    with pytest.raises(InputError, match="ridge"):
        leaderboard(frame.with_columns(label=(pl.col("model_a") < pl.col("model_b")).cast(pl.Float64)))


def test_a_system_few_of_a_group_judged_does_not_follow_from_the_other_group():
    """Everybody who judged "dog" less those of the other group would be the few who were left out."""
    frame, users, _ = battles()
    mine = frame.join(users, on="user_id")
    dog = (pl.col("model_a") == "dog") | (pl.col("model_b") == "dog")
    few = [f"u{k}" for k in range(0, 10, 2)]
    some = mine.filter(~dog | (pl.col("group") == "b") | pl.col("user_id").is_in(few)).drop("group")
    found = leaderboard(some, users).table.filter(system="dog")
    shown = dict(found.select("level", "suppressed").iter_rows())
    assert shown == {"(all users)": False, "a": True, "b": True}
    told = leaderboard(some, users, disclosure=Disclosure(complementary=False)).table.filter(system="dog")
    whole, rest = (told.filter(level=level)["n_users"][0] for level in ("(all users)", "b"))
    assert whole - rest == len(few)  # what would have been told


def test_ratings_with_style_are_those_of_arena_rank(ranked):
    """ContextualBradleyTerry of arena-rank 0.1.1 on these rows (reg=0, gtol=1e-12), its ratings less their mean."""
    _, _, style, found = ranked
    rating = [0.051341255004266645, 0.03802299134356234, 0.0302677126553625, -0.11963195900319148]
    table = found.table.filter(attribute="(overall)").sort("system")
    np.testing.assert_allclose(table["rating"], rating, atol=1e-8)
    a_deviation = np.sqrt((style["length"] ** 2).mean())
    assert found.style["coefficient"][0] == pytest.approx(1.3294351302746863 * a_deviation, rel=1e-7)


def test_winners_are_labels():
    frame, users, _ = battles(users=60)
    winner = frame["label"].replace_strict({1.0: "model_a", 0.0: "model_b"}, return_dtype=pl.String)
    winner[0] = "tie (bothbad)"
    named = frame.drop("label").with_columns(winner=winner)
    label = frame["label"].clone()
    label[0] = 0.5
    assert leaderboard(named, users).table.equals(leaderboard(frame.with_columns(label=label), users).table)
    winner[3] = "left"
    with pytest.raises(InputError, match="winner is 'left' in row 3"):
        leaderboard(named.with_columns(winner=winner), users)


def test_the_command_ranks_with_style_held_fixed(ranked, tmp_path, capsys):
    frame, users, style, found = ranked
    sides = frame.with_columns(length_a=style["length"], length_b=pl.lit(0.0))
    sides.write_parquet(tmp_path / "battles.parquet")
    users.write_parquet(tmp_path / "users.parquet")
    given = ["leaderboard", str(tmp_path / "battles.parquet"), "--users", str(tmp_path / "users.parquet")]
    out = ["--out", str(tmp_path / "ranks.csv"), "--figure", str(tmp_path / "ranks.png")]
    assert main([*given, "--style", "length", *out, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    np.testing.assert_allclose([row["rating"] for row in told["table"]], found.table["rating"], atol=1e-6)
    assert pl.read_csv(tmp_path / "ranks.csv").height == found.table.height
    assert (tmp_path / "ranks.png").stat().st_size > 1000
    assert main([*given, "--style", "width"]) == 2
    assert "no column 'width_a', 'width_b'" in capsys.readouterr().err
    texts = frame.with_columns(a=pl.lit("one two three"), b=pl.lit("- one\n- two\n- three\nfour"))
    flip = pl.int_range(pl.len()) % 2 == 0
    texts = texts.with_columns(a=pl.when(flip).then("a").otherwise("b"), b=pl.when(flip).then("b").otherwise("a"))
    texts.write_parquet(tmp_path / "battles.parquet")
    assert main([*given, "--text", "a,b", "--json", "--ridge", "0.1"]) == 0
    held = [row["feature"] for row in json.loads(capsys.readouterr().out)["style"]]
    assert "lists" in held
    assert "headings" not in held  # of which there are none
