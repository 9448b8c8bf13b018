"""The reward that trainers call: against u = ⟨x, z⟩ by hand, and nothing that cannot be scored gets a number."""

import multiprocessing
import pickle
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from plurality.encoders import LsaSpec
from plurality.encoders import transformers as transformers_module
from plurality.errors import InputError, InputWarning
from plurality.models.pal.head import PromptDirection
from plurality.rl.messages import Pairs
from plurality.rl.reward_function import RewardFunction


@dataclass(frozen=True)
class WeightedMean:
    """The simplest rule."""

    name: str = "weighted_mean"

    def __call__(self, utilities, weights, groups):
        assert utilities.dtype == weights.dtype == np.float64
        assert groups.dtype == np.int64
        return weights @ utilities / weights.sum()


def truth(encoder, completions, codes):
    """⟨x_i, z_i⟩ of each completion and code."""
    return (encoder.encode([""] * len(completions), completions) * np.array(codes)).sum(1)


@pytest.fixture
def said(texts):
    return texts(8, 1)


@pytest.fixture
def users():
    return ["ann", "bob", "ann", "bob", "ann", "ann", "7", "bob"]


def test_each_completion_is_scored_for_its_user(model, lsa, codes, said, users):
    f = RewardFunction(model)
    rewards = f(prompts=["p"] * 8, completions=said, completion_ids=[[1]] * 8, user_id=users, other=[None] * 8)
    assert all(type(r) is float for r in rewards)
    np.testing.assert_allclose(rewards, truth(lsa, said, [codes[u] for u in users]), atol=1e-5)
    np.testing.assert_allclose(rewards, model.score(lsa.encode(said, said), np.arange(8), users), atol=1e-6)


def test_messages_are_scored_as_strings_are(model, said, users):
    f = RewardFunction(model)
    plain = f(["p"] * 8, said, user_id=users)
    system, user = {"role": "system", "content": "s"}, {"role": "user", "content": "p"}
    parts = {"role": "user", "content": [{"type": "text", "text": "p"}]}
    prompts = [[user], [system, user], [parts], np.array([user]), [user], [system, user], [user], [parts]]
    replies = [[{"role": "assistant", "content": text}] for text in said]
    assert f(prompts, replies, user_id=users) == plain


def test_turns_before_the_reply_belong_to_the_prompt():
    ask, call = {"role": "user", "content": "q"}, {"role": "assistant", "content": "let me see"}
    found, reply = {"role": "tool", "content": "42"}, {"role": "assistant", "content": "it is 42"}
    pairs = Pairs.of(["q", [ask], [ask]], [[call, found, reply], [call, found, reply], "it is 42"])
    assert pairs.prompts == [[ask, call, found], [ask]]
    assert pairs.completions == ["it is 42", "it is 42"]
    assert pairs.row.tolist() == [0, 0, 1]


@given(st.lists(st.tuples(st.sampled_from("pqr"), st.sampled_from(["a", "b", " ", ""])), max_size=12))
def test_pairs_give_every_completion_back(rows):
    pairs = Pairs.of([p for p, _ in rows], [c for _, c in rows])
    assert len(set(zip(pairs.prompt_of_each(), pairs.completions, strict=True))) == len(pairs.completions)
    assert set(pairs.prompts) == {p for p, c in rows if c.strip()}
    for row, (prompt, completion) in zip(pairs.row, rows, strict=True):
        if completion.strip():
            assert (pairs.prompt_of_each()[row], pairs.completions[row]) == (prompt, completion)
        else:
            assert row == -1


class Counting:
    """An encoder that counts what it is asked."""

    def __init__(self, encoder):
        self.encoder, self.dim, self.fingerprint, self.asked = encoder, encoder.dim, encoder.fingerprint, []

    def describe(self):
        return self.encoder.describe()

    def encode(self, prompts, completions, progress=False):
        self.asked.append(list(zip(prompts, completions, strict=True)))
        return self.encoder.encode(prompts, completions)

    def encode_prompts(self, prompts, progress=False):
        self.asked.append(list(prompts))
        return self.encoder.encode_prompts(prompts)

    def save(self, folder):
        self.encoder.save(folder)


def test_each_pair_is_embedded_once_a_call(model, lsa):
    encoder = Counting(lsa)
    RewardFunction(model, encoder)(["p", "p", "q", "p"], ["red", "blue", "red", "red"], user_id=["ann", "bob"] * 2)
    assert encoder.asked == [[("p", "red"), ("p", "blue"), ("q", "red")]]


def test_unknown_users(model, lsa, said, mean_code, codes):
    ids = ["ann", "who?", None, 7]
    by_population = RewardFunction(model)(["p"] * 4, said[:4], user_id=ids)
    expected = truth(lsa, said[:4], [codes["ann"], mean_code, mean_code, codes["7"]])
    np.testing.assert_allclose(by_population, expected, atol=1e-5)
    without = RewardFunction(model, unknown="none")(["p"] * 4, said[:4], user_id=ids)
    assert without == [by_population[0], None, None, by_population[3]]
    with pytest.raises(InputError, match=r"2 users are not known .* 'who\?'"):
        RewardFunction(model, unknown="error")(["p"] * 4, said[:4], user_id=ids)
    assert RewardFunction(model, unknown="none")(["p"], ["red"], user_id=["who?"]) == [None]


def test_a_missing_user_column_is_no_unknown_user(model):
    f = RewardFunction(model)
    with pytest.raises(InputError, match=r"column user_id .*there are: topic.*remove_unused_columns=False"):
        f(["p"], ["red"], topic=["x"])
    with pytest.raises(InputError, match="2 values for 1"):
        f(["p"], ["red"], user_id=["ann", "bob"])
    for odd in (1.0, True, ["ann"]):
        with pytest.raises(InputError, match="not an id"):
            f(["p"], ["red"], user_id=[odd])
    other = RewardFunction(model, user_column="rater")
    assert other(["p"], ["red"], rater=["bob"]) == f(["p"], ["red"], user_id=["bob"])
    assert f(["p"] * 2, ["red", "red"], user_id="bob") == [f(["p"], ["red"], user_id=["bob"])[0]] * 2


def test_a_model_of_countries_asks_for_the_country(plant, lsa, codes, mean_code):
    """With its users taken for countries, every user would be scored as an unknown one, unnoticed."""
    by_country = plant(lsa, codes, mean_code, unit="country")
    f = RewardFunction(by_country)
    with pytest.raises(InputError, match="column country"):
        f(["p"], ["red"], user_id=["ann"])
    assert f(["p"], ["red"], country=["ann"]) == RewardFunction(plant(lsa, codes, mean_code))(
        ["p"], ["red"], user_id=["ann"]
    )


def test_blank_completions_have_no_reward_unless_one_is_given(model):
    said, who = ["red", " \n", "", "blue"], ["ann"] * 4
    rewards = RewardFunction(model)(["p"] * 4, said, user_id=who)
    assert [r is None for r in rewards] == [False, True, True, False]
    given = RewardFunction(model, blank=-3.0)(["p"] * 4, said, user_id=who)
    assert given == [rewards[0], -3.0, -3.0, rewards[3]]
    assert RewardFunction(model, blank=-3.0, unknown="none")(["p"] * 2, ["", ""], user_id=["ann", "x"]) == [-3.0, None]
    assert RewardFunction(model)([], [], user_id=[]) == []
    assert RewardFunction(model)(["p"], [""], user_id=["ann"]) == [None]


@pytest.mark.parametrize(
    ("prompts", "completions", "message"),
    [
        (["p"], [3], r"completions\[0\]"),
        (["p"], [[]], r"completions\[0\]"),
        (["p"], [[{"role": "user", "content": "x"}]], "role 'user'"),
        (["p"], [[{"role": "assistant", "content": None}]], "not text"),
        (["p"], [[{"role": "assistant", "content": [{"type": "image"}]}]], "not text"),
        ([3], ["red"], r"prompts\[0\]"),
        ([[{"content": "x"}]], ["red"], r"prompts\[0\]"),
        (["p", "q"], ["red"], "2 prompts for 1"),
        ("p", ["red"], "one string"),
    ],
)
def test_what_is_no_text_is_an_error(model, prompts, completions, message):
    with pytest.raises(InputError, match=message):
        RewardFunction(model)(prompts, completions, user_id=["ann"])


def test_win_probability_against_a_pool(model, lsa, codes, said, users, texts):
    pool = texts(9, 2)
    f = RewardFunction(model, normalise="win", reference=(["p"] * 9, pool))
    rewards = f(["p"] * 8, said, user_id=users)
    x, r = lsa.encode(said, said), lsa.encode(pool, pool)
    expected = [expit(x[i] @ codes[u] - r @ codes[u]).mean() for i, u in enumerate(users)]
    np.testing.assert_allclose(rewards, expected, atol=1e-6)
    by_model = model.win_probability(x, r, users)[np.arange(8), np.arange(8)]
    np.testing.assert_allclose(rewards, by_model, atol=1e-6)
    np.testing.assert_allclose(
        RewardFunction(model, normalise="win", reference=r)(["p"] * 8, said, user_id=users), rewards
    )


def test_win_probability_against_the_row_s_own_reference(model, lsa, codes, said, users, texts):
    other = texts(8, 3)
    f = RewardFunction(model, normalise="win", reference="baseline")
    rewards = f(["p"] * 8, said, user_id=users, baseline=other)
    x, r = lsa.encode(said, said), lsa.encode(other, other)
    expected = [expit((x[i] - r[i]) @ codes[u]) for i, u in enumerate(users)]
    np.testing.assert_allclose(rewards, expected, atol=1e-6)
    assert f(["p"], ["red"], user_id=["ann"], baseline=["red"]) == [pytest.approx(0.5)]
    with pytest.raises(InputError, match="baseline"):
        f(["p"], ["red"], user_id=["ann"])
    for empty in (None, " "):
        with pytest.raises(InputError, match="baseline"):
            f(["p"], ["red"], user_id=["ann"], baseline=[empty])
    everybody = RewardFunction(model, normalise="win", reference="baseline", rule=WeightedMean())
    z = np.array(list(codes.values()))
    np.testing.assert_allclose(everybody(["p"] * 8, said, baseline=other), expit(z @ (x - r).T).mean(0), atol=1e-6)


def test_standardised_rewards_do_not_know_scale_or_shift(plant, lsa, codes, mean_code, said, users, texts):
    """Neither a user's scale nor, with inputs moved, a shift changes a z score."""
    pool = texts(30, 4)
    x, r = lsa.encode(said, said), lsa.encode(pool, pool)
    expected = [(x[i] @ codes[u] - (r @ codes[u]).mean()) / (r @ codes[u]).std() for i, u in enumerate(users)]
    for size in (1.0, 50.0):
        scaled = plant(lsa, {u: size * z for u, z in codes.items()}, mean_code)
        f = RewardFunction(scaled, normalise="z", reference=(["p"] * 30, pool))
        np.testing.assert_allclose(f(["p"] * 8, said, user_id=users), expected, atol=1e-4)
    with pytest.raises(InputError, match="same for all reference items"):
        RewardFunction(scaled, normalise="z", reference=(["p"] * 2, ["red", "red"]))(["p"], ["blue"], user_id=["ann"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"normalise": "win"}, "reference="),
        ({"normalise": "z", "reference": "column"}, "pool"),
        ({"normalise": "z", "reference": (["p"], ["red"])}, "too few"),
        ({"normalise": "win", "reference": ([], [])}, "too few"),
        ({"normalise": "win", "reference": (["p"], [" "])}, "is empty"),
        ({"normalise": "win", "reference": 3}, "cannot be read"),
        ({"normalise": "win", "reference": np.zeros((3, 99), np.float32)}, "width 6"),
        ({"reference": "column"}, "raw"),
        ({"normalise": "win?"}, "not a valid option"),
        ({"unknown": "ignore"}, "not a valid option"),
        ({"population": pl.DataFrame({"user_id": ["ann"]})}, "rule="),
    ],
)
def test_settings_that_contradict_one_another_are_an_error(model, arguments, message):
    with pytest.raises(InputError, match=message):
        RewardFunction(model, **arguments)


def test_a_rule_over_all_users(model, lsa, codes, said):
    f = RewardFunction(model, rule=WeightedMean())
    z = np.array(list(codes.values()))
    rewards = f(["p"] * 8, said)
    np.testing.assert_allclose(rewards, (z @ lsa.encode(said, said).T).mean(0), atol=1e-5)
    assert f(["p"] * 8, said, user_id=["whoever"] * 8) == rewards
    twice = f(["p"] * 9, [*said, said[0]])
    assert twice[8] == pytest.approx(twice[0], abs=1e-6)
    with_blank = f(["p"] * 9, [*said[:3], "", *said[3:]])
    np.testing.assert_allclose([r for r in with_blank if r is not None], rewards, atol=1e-6)


def test_a_rule_over_a_weighted_population_with_groups(model, lsa, codes, said, mean_code):
    seen = {}

    @dataclass(frozen=True)
    class Spy(WeightedMean):
        def __call__(self, utilities, weights, groups):
            seen.update(weights=weights, groups=groups)
            return super().__call__(utilities, weights, groups)

    people = pl.DataFrame(
        {"user_id": ["bob", "ann", "newcomer"], "weight": [1.0, 3.0, 0.5], "group": ["town", "farm", "town"]}
    )
    logged = {}
    with pytest.warns(InputWarning, match="1 of 3 users"):
        f = RewardFunction(model, rule=Spy(), population=people)
    rewards = f(["p"] * 8, said, log_metric=logged.__setitem__)
    u = np.array([codes["bob"], codes["ann"], mean_code]) @ lsa.encode(said, said).T
    np.testing.assert_allclose(rewards, np.array([1, 3, 0.5]) @ u / 4.5, atol=1e-5)
    assert seen["weights"].tolist() == [1, 3, 0.5]
    assert seen["groups"].tolist() == [1, 0, 1]
    assert logged["weighted_mean/group/farm"] == pytest.approx(u[1].mean(), abs=1e-5)
    assert logged["weighted_mean/group/town"] == pytest.approx((u[0].mean() + 0.5 * u[2].mean()) / 1.5, abs=1e-5)
    with pytest.raises(InputError, match="'newcomer'"):
        RewardFunction(model, rule=Spy(), population=people, unknown="error")


@pytest.mark.parametrize(
    ("people", "message"),
    [
        ({"user_id": ["ann", "ann"]}, "appears twice"),
        ({"user_id": ["ann"], "weight": [-1.0]}, "negative"),
        ({"user_id": ["ann"], "weight": [0.0]}, "all weights are 0"),
        ({"name": ["ann"]}, "user_id is missing"),
    ],
)
def test_populations_that_are_none(model, people, message):
    with pytest.raises(InputError, match=message):
        RewardFunction(model, rule=WeightedMean(), population=pl.DataFrame(people))


def test_a_rule_normalises_before_it_weighs(model, lsa, codes, said, texts):
    pool = texts(9, 2)
    x, r = lsa.encode(said, said), lsa.encode(pool, pool)
    z = np.array(list(codes.values()))
    win = RewardFunction(model, rule=WeightedMean(), normalise="win", reference=(["p"] * 9, pool))
    expected = expit((z @ x.T)[:, :, None] - (z @ r.T)[:, None, :]).mean((0, 2))
    np.testing.assert_allclose(win(["p"] * 8, said), expected, atol=1e-6)
    standard = RewardFunction(model, rule=WeightedMean(), normalise="z", reference=(["p"] * 9, pool))
    u, v = z @ x.T, z @ r.T
    np.testing.assert_allclose(
        standard(["p"] * 8, said), ((u - v.mean(1, keepdims=True)) / v.std(1, keepdims=True)).mean(0), atol=1e-4
    )


@pytest.mark.parametrize("bad", [np.zeros(3), np.full(8, np.nan)])
def test_a_rule_that_gives_no_rewards_is_named(model, said, bad):
    class Broken(WeightedMean):
        def __call__(self, utilities, weights, groups):
            return bad

    with pytest.raises(InputError, match="'weighted_mean'"):
        RewardFunction(model, rule=Broken())(["p"] * 8, said)


def test_metrics_are_logged_where_the_trainer_takes_them(model, said):
    logged = {}
    f = RewardFunction(model, name="taste")
    rewards = f(["p"] * 4, said[:4], user_id=["ann", "x", "bob", "y"], log_metric=logged.__setitem__)
    assert logged == {"taste/mean": pytest.approx(np.mean(rewards)), "taste/unknown_users": 0.5}
    assert f.__name__ == "taste"
    assert RewardFunction(model, rule=WeightedMean()).__name__ == "weighted_mean"
    logged.clear()
    f(["p"], [""], user_id=["ann"], log_metric=logged.__setitem__)
    assert logged == {"taste/unknown_users": 0.0, "taste/no_text": 1.0}  # no mean of nothing


def test_another_encoder_is_an_error_and_both_are_named(model, lsa, texts):
    corpus = ["p"] * 200, texts(200, 0)
    other = LsaSpec(dim=6, min_df=1, max_ngram=1, template="conversation").fit(corpus, seed=0)
    with pytest.raises(InputError, match=r"template completion .*template conversation"):
        RewardFunction(model, other)
    again = LsaSpec(dim=6, min_df=1, max_ngram=1).fit((corpus[0], corpus[1]), seed=0)
    assert RewardFunction(model, again)(["p"], ["red"], user_id=["ann"])
    unrecorded = replace(model, encoder=None)
    with pytest.raises(InputError, match="encoder="):
        RewardFunction(unrecorded)
    assert RewardFunction(unrecorded, lsa)(["p"], ["red"], user_id=["ann"])
    narrow = LsaSpec(dim=3, min_df=1, max_ngram=1).fit(corpus, seed=0)
    with pytest.raises(InputError, match="3 dimensions"):
        RewardFunction(unrecorded, narrow)


def test_prompts_are_embedded_where_the_head_looks_at_them(model, lsa, said, users, texts):
    head = PromptDirection(6, prototypes=6, preference=3, hidden=0, angle=True, generator=torch.Generator())
    aware = replace(model, head=head.requires_grad_(False))
    asked = [*texts(4, 5), *texts(4, 5)]
    encoder = Counting(lsa)
    rewards = RewardFunction(aware, encoder)(asked, said, user_id=users)
    assert encoder.asked[1] == asked[:4]
    x, p = lsa.encode(said, said), lsa.encode_prompts(asked)
    expected = aware.utility(x, users, prompts=p)[np.arange(8), np.arange(8)]
    np.testing.assert_allclose(rewards, expected, atol=1e-4)
    pool = texts(5, 6)
    win = RewardFunction(aware, normalise="win", reference=([*asked[:4], "loud"], pool))(asked, said, user_id=users)
    r, rp = lsa.encode(pool, pool), lsa.encode_prompts([*asked[:4], "loud"])
    expected = aware.win_probability(x, r, users, prompts=p, reference_prompts=rp)[np.arange(8), np.arange(8)]
    np.testing.assert_allclose(win, expected, atol=1e-5)
    by_arrays = RewardFunction(aware, normalise="win", reference=(r, rp))(asked, said, user_id=users)
    np.testing.assert_allclose(by_arrays, win, atol=1e-6)


@settings(max_examples=20, deadline=None)
@given(order=st.permutations(range(8)))
def test_the_order_of_a_batch_changes_nothing(model, order):
    f = RewardFunction(model)
    said, users = ["red", "blue", "sour", "sweet", "loud", "hard", "red,red", "red,blue"], ["ann", "bob", "7", "x"] * 2
    whole = f(["p"] * 8, said, user_id=users)
    shuffled = f(["p"] * 8, [said[i] for i in order], user_id=[users[i] for i in order])
    np.testing.assert_allclose(shuffled, [whole[i] for i in order], atol=1e-6)


def test_a_folder_and_a_pickle_of_it_give_the_same(model, folder, said, users):
    expected = RewardFunction(model)(["p"] * 8, said, user_id=users)
    f = RewardFunction(folder)
    f(["p"], ["red"], user_id="ann")
    assert pickle.loads(pickle.dumps(f))._working is None  # another process loads its own
    for each in (f, pickle.loads(pickle.dumps(f)), pickle.loads(pickle.dumps(RewardFunction(model)))):
        np.testing.assert_allclose(each(["p"] * 8, said, user_id=users), expected, atol=1e-6)
        assert each.__name__ == "user_reward"
        assert not isinstance(each, torch.nn.Module)


def test_it_works_in_a_spawned_child(folder, texts):
    pool = texts(5, 2)
    f = RewardFunction(folder, normalise="win", reference=(["p"] * 5, pool))
    here = f(["p", "p"], ["red", "sour"], user_id=["ann", "bob"])
    with multiprocessing.get_context("spawn").Pool(1) as children:
        there = children.apply(f, (["p", "p"], ["red", "sour"]), {"user_id": ["ann", "bob"]})
    np.testing.assert_allclose(there, here, atol=1e-6)


def test_transformers_encoders_are_pickled_without_weights_and_write_no_cache(policy, plant, tmp_path, monkeypatch):
    monkeypatch.setenv("PLURALITY_CACHE", str(tmp_path / "cache"))
    spec = transformers_module.TransformersSpec(str(policy))
    encoder = transformers_module.TransformersEncoder(spec)
    z = np.random.default_rng(0).normal(size=16)
    model = plant(encoder, {"ann": z}, 0 * z, width=16)
    folder = model.save_pretrained(tmp_path / "reward")
    cached = {path: path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file()}  # of the probe
    f = RewardFunction(folder)
    rewards = f(["ab", "ba"], ["aab", "b"], user_id=["ann", "ann"])
    assert {path: path.read_bytes() for path in (tmp_path / "cache").rglob("*") if path.is_file()} == cached
    np.testing.assert_allclose(rewards, encoder.uncached().encode(["ab", "ba"], ["aab", "b"]) @ z, atol=1e-4)
    weights = sum(p.numel() * 4 for p in f._working._backbone().parameters())
    used = RewardFunction(model, f._working)
    used(["ab"], ["b"], user_id=["ann"])
    again = pickle.dumps(used)
    assert len(again) < len(pickle.dumps(model)) + len(pickle.dumps(encoder._tokenizer)) + weights / 2
    np.testing.assert_allclose(pickle.loads(again)(["ab"], ["aab"], user_id=["ann"]), rewards[:1], atol=1e-5)
