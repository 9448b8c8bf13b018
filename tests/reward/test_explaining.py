"""What a code means: planted directions are called by their names, noise by none, in every family with codes."""

import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import spearmanr

import plurality as pl8
from plurality.datasets.simulated import populations
from plurality.errors import InputError
from plurality.models import LCPO, PAL, BradleyTerry, Hierarchical, LowRank, MaxMin
from plurality.reward.fitted import Trace
from plurality.reward.posterior import Posterior, Prior
from plurality.reward.reward_model import RewardModel

N_USERS, N_PROMPTS, EACH = 150, 60, 5


class Hidden:
    """An encoder of "word word … #3": how many words, and what two hidden traits of text 3 are."""

    dim, fingerprint = 3, "hidden"

    def __init__(self) -> None:
        self.traits = np.random.default_rng(5).standard_normal((N_PROMPTS * EACH, 2))

    def describe(self):
        return {"kind": "hidden", "name": "hidden"}

    def encode(self, prompts, completions, progress=False):
        rows = [(np.log1p(c.count(" ")), *self.traits[int(c.rsplit("#", 1)[1])]) for c in completions]
        return np.array(rows, dtype=np.float32)

    def encode_prompts(self, prompts, progress=False):
        raise NotImplementedError

    def save(self, folder):
        raise NotImplementedError


@pytest.fixture(scope="module")
def data():
    """Texts of 1 to 40 words; users of whom age and place are known."""
    rng = np.random.default_rng(6)
    texts = [f"{'word ' * rng.integers(1, 40)}#{k}" for k in range(N_PROMPTS * EACH)]
    rows = {"user_id": [], "prompt": [], "chosen": [], "rejected": []}
    for k in range(N_PROMPTS * EACH):
        other = k + 1 if (k + 1) % EACH else k + 1 - EACH
        for name, value in zip(rows, (f"u{k % N_USERS}", f"p{k // EACH}", texts[k], texts[other]), strict=True):
            rows[name].append(value)
    people = {"user_id": [f"u{k}" for k in range(N_USERS)]}
    people |= {"age": rng.choice(["18-29", "30-59", "60+"], N_USERS), "place": rng.choice(["north", "south"], N_USERS)}
    return pl8.read(rows, users=people, encoder=Hidden())


@pytest.fixture(scope="module")
def model(data):
    """u = 2 age's axis on trait 0 + length + noise on trait 1: directions known, and turned so that no entry is one."""
    rng = np.random.default_rng(7)
    age = data.users["age"].replace_strict({"18-29": -1.0, "30-59": 0.0, "60+": 1.0}, return_dtype=pl.Float64)
    noise = rng.standard_normal((N_USERS, 3)) * [1, 1, 0.5]
    for people in data.users.with_row_index().group_by("age", "place").agg("index")["index"]:
        noise[people.to_numpy()] -= noise[people.to_numpy()].mean(0)  # of no level, not even by chance
    codes = noise + np.outer(2 * age.to_numpy(), [0, 1, 0])
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    spec = LowRank(rank=3, weights="signed")
    head = spec.head(3, torch.Generator()).requires_grad_(False).eval()
    head.projector.linear.copy_(torch.as_tensor(turn.T * 3**0.5))
    posterior = Posterior(torch.as_tensor(codes @ turn), torch.eye(3).double().repeat(N_USERS, 1, 1))
    ids = tuple(data.users["user_id"])
    prior = Prior.isotropic(3, 1.0)
    return RewardModel(spec, head, ids, posterior, prior, np.full(N_USERS, 2), Trace(), data.encoder)


def test_planted_directions_have_their_names(model, data):
    found = pl8.explain(model, data, "u3")
    names = dict(found.directions.select("direction", "names").rows())
    assert names["direction_0"] == ["age"]
    assert set(names["direction_1"]) == {"words", "characters"}
    assert names["direction_2"] == []
    sd = np.array([(4 * 2 / 3 + 1) ** 0.5, 0.72, 0.5]) * (1 - 1 / EACH) ** 0.5  # of people times items within a prompt
    assert found.directions["movement"].to_list() == pytest.approx(sd.tolist(), abs=0.15)
    length = found.features.filter(direction="direction_1", feature="words")
    assert abs(length["r"][0]) > 0.95
    assert length["lo"][0] * length["hi"][0] > 0
    words = data.texts["completion"].str.count_matches(" ").to_numpy()
    ends = found.ends.filter(direction="direction_1")
    sign = np.sign(length["r"][0])
    high, low = (words[ends.filter(end=end)["item"].to_numpy()].mean() for end in ("high", "low"))
    assert sign * (high - low) > 20
    levels = found.levels.filter(direction="direction_0", attribute="age")
    assert levels["level"].to_list() == ["18-29", "30-59", "60+"]
    assert abs(spearmanr(levels["mean"], [0, 1, 2]).statistic) == pytest.approx(1)
    said = " ".join(str(found).split())
    assert "By age (p = 0.002): highest" in said
    assert re.search(r"It (rises|falls) with (words|characters) \(r", said)
    assert "User u3:" in said
    assert "Nothing that was looked at goes with it beyond chance." in said
    assert max(len(line) for line in str(found).split("\n")) <= 80
    html = found._repr_html_()
    assert "direction_1" in html
    assert html.count("<table>") == 3


def test_where_a_user_stands(model, data):
    found = pl8.explain(model, data, "u3", permutations=9)
    coordinates = model.posterior.codes.numpy()
    worth = model.head.projector(torch.as_tensor(data.items)).double().numpy()
    own = (coordinates[3] - coordinates.mean(0)) @ worth.T  # how the user differs from the mean one, by hand
    own = own - np.array([own[data.prompt == q].mean() for q in range(N_PROMPTS)])[data.prompt]
    values = np.zeros(len(own))
    every = pl8.explain(model, data, "u3", permutations=9, ends=len(own))
    for row in found.user.to_dicts():
        of = every.ends.filter(direction=row["direction"])
        values[of["item"]] += row["position"] * of["value"].to_numpy()
        assert 0 <= row["below"] <= 1
    np.testing.assert_allclose(values, own, atol=1e-4)


def test_small_levels_are_withheld(model, data):
    few = data.users.with_columns(
        group=pl.Series(["rare"] * 5 + ["some"] * 15 + ["many"] * (N_USERS - 20)),
        pair=pl.Series(["rare"] * 5 + ["many"] * (N_USERS - 5)),
    )
    found = pl8.explain(model, replace(data, users=few), by=["group", "pair"], permutations=9)
    assert "rare" not in found.levels["level"]
    assert set(found.levels.filter(attribute="group")["level"]) <= {"many"}  # "some" would give "rare" away
    assert found.levels.filter(attribute="pair").height == 0


def test_without_texts_items_have_numbers_and_features_are_the_reader_s(model, data):
    bare = replace(data, texts=None)
    found = pl8.explain(model, bare, permutations=99)
    assert found.features.height == 0
    assert "item " in str(found)
    length = {"length": data.items[:, 0], "noise": np.random.default_rng(0).standard_normal(len(data.items))}
    own = pl8.explain(model, bare, features=length, permutations=99)
    assert own.directions["names"].to_list() == [["age"], ["length"], []]
    with pytest.raises(InputError, match="1 rows for 300 items"):
        pl8.explain(model, bare, features={"length": [1.0]})


def test_order_and_names_change_nothing(model, data):
    order = np.random.default_rng(1).permutation(len(data))
    a, b = pl8.explain(model, data, permutations=9), pl8.explain(model, data.take(order), permutations=9)
    assert str(a) == str(b)


@pytest.fixture(scope="module")
def small():
    people, _ = populations.taste_groups(40, shares=(0.5, 0.5), width=6)
    return people.sample(12, seed=3)


SPECS = {
    "temperature": BradleyTerry(decay=3.0, temperature=True),
    "pal": PAL(n_prototypes=2, preference=3, decay=3.0),
    "maxmin": MaxMin(n_groups=2, n_init=1, decay=3.0),
    "low_rank": LowRank(rank=2, decay=3.0),
    "simplex": LowRank(rank=2, weights="simplex", decay=3.0),
    "hierarchical": Hierarchical(dimensions=2),
}


@pytest.mark.parametrize("name", [n if n != "hierarchical" else pytest.param(n, marks=pytest.mark.slow) for n in SPECS])
def test_every_family_with_codes(small, name):
    """Directions together make what differs between users, wherever utility is linear in the code that is shown."""
    model = SPECS[name].fit(small.data)
    found = pl8.explain(model, small.data, small.data.user_ids[0], permutations=19, ends=len(small.data.items))
    shown = [c for c in model.users.columns if c not in ("user_id", "n_comparisons", "uncertainty")]
    assert found.directions.height == len(shown)
    if not model.head.rotatable:
        assert found.directions["direction"].to_list() == shown
    u = model.utility(small.data.items).astype(float)
    u = u[0] - u.mean(0)
    u -= u.mean()  # all items are of one prompt
    made = np.zeros(len(u))
    for row in found.user.to_dicts():
        of = found.ends.filter(direction=row["direction"])
        made[of["item"]] += row["position"] * of["value"].to_numpy()
    np.testing.assert_allclose(made, u, atol=2e-3 * np.abs(u).max() + 1e-4)


def test_what_is_no_straight_line_is_said_aloud(small):
    model = PAL(n_prototypes=2, preference=3, decay=3.0, utility="norm").fit(small.data)
    (note,) = pl8.explain(model, small.data, permutations=9).notes[-1:]
    assert "of what differs between users: utility is no straight line in these codes." in note
    assert not pl8.explain(SPECS["pal"].fit(small.data), small.data, permutations=9).notes[1:]


def test_one_reward_for_all_has_nothing_to_explain(small):
    with pytest.raises(InputError, match="shows no code of its users, as all have one reward"):
        pl8.explain(BradleyTerry(decay=3.0).fit(small.data), small.data)
    model = SPECS["low_rank"].fit(small.data)
    with pytest.raises(InputError, match="user 'nobody' has no code"):
        pl8.explain(model, small.data, "nobody")


def test_a_reliability_moves_no_utility(small):
    model = LCPO(decay=1.0, eta_starts=(0.9,), unidentified="report").fit(small.data, diagnostics=False)
    found = pl8.explain(model, small.data, permutations=19)
    assert found.directions["movement"].to_list() == [0.0]
    assert "reliability moves no utility" in str(found)


def test_the_command_prints_and_writes_a_page(model, data, command, tmp_path):
    bare = replace(data, encoder=None)
    bare.save(tmp_path / "store")
    replace(model, encoder=None).save_pretrained(tmp_path / "reward")
    page = tmp_path / "codes.html"
    arguments = ["explain", tmp_path / "reward", tmp_path / "store", "--user", "u3", "--by", "age"]
    done = command(*arguments, "--out", page)
    assert done.code == 0, done.err
    assert "direction_0 moves utilities by" in done.out
    assert "<title>What codes mean</title>" in page.read_text(encoding="utf-8")
    assert '"names": ["age"]' in command(*arguments, "--json").out
    assert "ends in .html" in command(*arguments, "--out", tmp_path / "codes.pdf").err
