"""The simulated readers: their texts, their choices and their tastes are what the truth says."""

import os

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal
from scipy.special import expit
from scipy.stats import binom, chi2, chi2_contingency
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression, RidgeCV

from plurality.datasets.simulated.text import DEMOGRAPHICS, TASTES, TRAITS, PlantedText, simulate
from plurality.errors import InputError


@pytest.fixture(scope="module")
def population() -> PlantedText:
    return simulate(seed=0)


@pytest.fixture(scope="module")
def crowd() -> PlantedText:
    """Many people and few choices: for shares and associations."""
    return simulate(n_users=4000, n_comparisons=2, n_prompts=20, seed=1)


def item_rows(population: PlantedText, side: str) -> np.ndarray:
    items, comparisons = population.items, population.comparisons
    row = {key: n for n, key in enumerate(zip(items["prompt"], items["completion"], strict=True))}
    return np.array([row[key] for key in zip(comparisons["prompt"], comparisons[side], strict=True)])


def user_rows(population: PlantedText) -> np.ndarray:
    row = {user: n for n, user in enumerate(population.users["user_id"])}
    return np.array([row[user] for user in population.comparisons["user_id"]])


def test_row_counts_and_columns(population: PlantedText) -> None:
    assert population.comparisons.columns == ["user_id", "prompt", "chosen", "rejected", "group_id"]
    assert set(population.comparisons.dtypes) == {pl.String}
    assert population.comparisons.height == 300 * 60
    assert set(population.comparisons.group_by("user_id").len()["len"]) == {60}
    assert population.users.columns == ["user_id", *DEMOGRAPHICS]
    assert population.users["user_id"].n_unique() == population.users.height == 300
    assert population.items.columns == ["prompt", "completion", *TRAITS]
    assert set(population.items.group_by("prompt").len()["len"]) == {6}
    assert population.items["prompt"].n_unique() == 200
    assert population.weights.shape == (300, len(TRAITS))
    assert population.types.shape == population.careless.shape == (300,)


def test_same_seed_same_population() -> None:
    one, two, other = (simulate(n_users=30, n_comparisons=20, n_prompts=15, seed=seed) for seed in (5, 5, 6))
    assert_frame_equal(one.comparisons, two.comparisons)
    assert_frame_equal(one.users, two.users)
    assert_frame_equal(one.items, two.items)
    np.testing.assert_array_equal(one.weights, two.weights)
    assert not one.comparisons.equals(other.comparisons)


def test_more_people_leave_the_texts_as_they_were() -> None:
    few, many = (simulate(n_users=n, n_comparisons=5, n_prompts=15, seed=2) for n in (3, 40))
    assert_frame_equal(few.items, many.items)


def test_a_comparison_is_of_two_answers_to_its_prompt_and_occurs_once(population: PlantedText) -> None:
    chosen, rejected = item_rows(population, "chosen"), item_rows(population, "rejected")
    assert (chosen != rejected).all()
    assert (population.comparisons["chosen"] != population.comparisons["rejected"]).all()
    pairs = np.sort(np.column_stack([chosen, rejected]), axis=1)
    pairs = np.column_stack([user_rows(population), pairs])
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    named = population.comparisons.select("prompt", "group_id").unique()
    assert named["prompt"].n_unique() == named["group_id"].n_unique() == named.height


def test_texts_are_whole_and_differ(population: PlantedText) -> None:
    items = population.items
    assert items.select("prompt", "completion").is_unique().all()
    text = pl.concat([items["completion"], items["prompt"]])
    assert text.str.strip_chars().str.len_chars().min() > 10
    assert not text.str.contains(r"[{}|]|  |\.\.|\bi (guess|am|would)\b|np\.").any()
    assert items["completion"].str.contains(r"(?s)^[A-Z].*[.!]$").all()


def test_every_pair_is_used_when_all_are_asked_for() -> None:
    small = simulate(n_users=3, n_comparisons=2 * 3, n_prompts=2, responses_per_prompt=3, seed=0)
    pairs = np.sort(np.column_stack([item_rows(small, "chosen"), item_rows(small, "rejected")]), axis=1)
    assert {tuple(pair) for pair in pairs[:6].tolist()} == {(0, 1), (0, 2), (1, 2), (3, 4), (3, 5), (4, 5)}


def test_truth_is_the_logistic_of_the_weighted_trait_gap(population: PlantedText) -> None:
    level = population.items.select(TRAITS).to_numpy()
    gap = level[item_rows(population, "chosen")] - level[item_rows(population, "rejected")]
    expected = expit((gap * population.weights[user_rows(population)]).sum(axis=1))
    np.testing.assert_allclose(population.truth(population.comparisons), expected, rtol=1e-12)
    swapped = population.comparisons.rename({"chosen": "rejected", "rejected": "chosen"})
    np.testing.assert_allclose(population.truth(swapped), 1 - expected, atol=1e-12)


def test_choice_rates_are_the_planted_probabilities(population: PlantedText) -> None:
    """Bins of comparisons in an order blind to the label: Σ (wins - expected)² / variance is chi-square."""
    first_won = item_rows(population, "chosen") < item_rows(population, "rejected")
    truth = population.truth(population.comparisons)
    probability = np.where(first_won, truth, 1 - truth)
    bins = np.digitize(probability, np.linspace(0, 1, 21)[1:-1])
    wins, expected = np.bincount(bins, first_won, 20), np.bincount(bins, probability, 20)
    variance = np.bincount(bins, probability * (1 - probability), 20)
    assert chi2.sf(((wins - expected) ** 2 / variance).sum(), 20) > 0.001
    assert 0.80 < ((probability > 0.5) == first_won).mean() < 0.86


def test_shares_of_types_and_careless_people(crowd: PlantedText) -> None:
    low, high = binom.ppf([0.0005, 0.9995], 4000, 0.15)
    assert low <= (crowd.types == "plain").sum() <= high
    low, high = binom.ppf([0.0005, 0.9995], 4000, 0.05)
    assert low <= crowd.careless.sum() <= high
    assert not crowd.weights[crowd.careless].any()
    assert set(crowd.types) == set(TASTES)
    larger = simulate(n_users=4000, n_comparisons=1, n_prompts=2, minority=0.4, careless=0, seed=3)
    low, high = binom.ppf([0.0005, 0.9995], 4000, 0.4)
    assert low <= (larger.types == "plain").sum() <= high
    assert not larger.careless.any()


def test_the_minority_opposes_everybody_else_on_warmth_and_examples(crowd: PlantedText) -> None:
    careful = ~crowd.careless
    minority = crowd.types == "plain"
    for trait in ("warmth", "examples"):
        weight = crowd.weights[:, TRAITS.index(trait)]
        assert weight[careful & minority].max() < 0 < weight[careful & ~minority].min()


@pytest.mark.parametrize("column", ["age", "region", "education"])
def test_tastes_depend_moderately_on(column: str, crowd: PlantedText) -> None:
    table = np.array(
        [
            [((crowd.users[column] == value).to_numpy() & (crowd.types == kind)).sum() for kind in TASTES]
            for value in DEMOGRAPHICS[column]
        ]
    )
    test = chi2_contingency(table)
    assert test.pvalue < 1e-6
    assert 0.08 < np.sqrt(test.statistic / table.sum() / 3) < 0.3  # Cramér's V, four types


def test_tastes_do_not_depend_on_gender(crowd: PlantedText) -> None:
    table = crowd.users.with_columns(type=pl.Series(crowd.types)).group_by("gender", "type").len()
    wide = table.pivot("type", index="gender", values="len").fill_null(0).drop("gender")
    assert chi2_contingency(wide.to_numpy()).pvalue > 0.001


def test_some_cells_are_small_enough_to_be_suppressed(population: PlantedText) -> None:
    for column, value in (("gender", "prefer not to say"), ("gender", "non-binary"), ("region", "islands")):
        assert 0 < (population.users[column] == value).sum() < 20


@pytest.fixture(scope="module")
def embedded(population: PlantedText) -> np.ndarray:
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2)
    counts = words.fit_transform(population.items["completion"])
    return TruncatedSVD(128, random_state=0).fit_transform(counts)


def test_a_bag_of_words_reads_the_traits_of_answers_to_new_prompts(
    population: PlantedText, embedded: np.ndarray
) -> None:
    level = population.items.select(TRAITS).to_numpy()
    new = np.arange(len(level)) // 6 % 5 == 0
    read = RidgeCV(np.logspace(-4, 2, 7)).fit(embedded[~new], level[~new]).predict(embedded[new])
    missed = ((level[new] - read) ** 2).mean(axis=0)
    explained = 1 - missed / level[new].var(axis=0)
    assert dict(zip(TRAITS, explained > 0.3, strict=True)) == dict.fromkeys(TRAITS, True)


def test_no_single_word_gives_a_trait_away(population: PlantedText) -> None:
    seen = CountVectorizer(binary=True, min_df=20).fit_transform(population.items["completion"]).toarray()
    level = population.items.select(TRAITS).to_numpy()
    correlation = np.corrcoef(seen.T, level.T)[: seen.shape[1], seen.shape[1] :]
    assert np.abs(correlation).max() < 0.85


def test_one_reward_for_all_fails_the_minority_and_a_reward_per_type_does_not(
    population: PlantedText, embedded: np.ndarray
) -> None:
    scaled = embedded / embedded.std()
    gap = scaled[item_rows(population, "chosen")] - scaled[item_rows(population, "rejected")]
    group = population.comparisons["group_id"].to_numpy()
    new = np.isin(group, np.random.default_rng(0).permutation(np.unique(group))[:40])
    kind = population.types[user_rows(population)]

    def right(people: np.ndarray) -> np.ndarray:
        train = gap[people & ~new]
        both, label = np.vstack([train, -train]), np.repeat([1, 0], len(train))
        model = LogisticRegression(C=0.01, fit_intercept=False).fit(both, label)
        return gap @ model.coef_[0] > 0

    pooled = right(np.full(len(gap), True))
    oracle = np.select([kind == t for t in TASTES], [right(kind == t) for t in TASTES])
    assert 0.63 < pooled[new].mean() < 0.72
    assert oracle[new].mean() > pooled[new].mean() + 0.07
    assert pooled[new & (kind == "plain")].mean() < 0.5 < 0.7 < oracle[new & (kind == "plain")].mean()


def test_save_writes_both_frames_and_nothing_else(tmp_path) -> None:
    small = simulate(n_users=4, n_comparisons=3, n_prompts=2, seed=0)
    small.save(tmp_path / "new" / "folder")
    small.save(tmp_path / "new" / "folder")
    files = {path.name: path for path in (tmp_path / "new" / "folder").iterdir()}
    assert set(files) == {"comparisons.parquet", "users.parquet"}
    assert_frame_equal(pl.read_parquet(files["comparisons.parquet"]), small.comparisons)
    assert_frame_equal(pl.read_parquet(files["users.parquet"]), small.users)


def test_a_save_that_fails_leaves_nothing_behind(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(InputError, match="disk full"):
        simulate(n_users=2, n_comparisons=1, n_prompts=1, seed=0).save(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"n_users": 0}, "n_users = 0"),
        ({"n_prompts": 100_000}, "n_prompts = 100000"),
        ({"responses_per_prompt": 1}, "responses_per_prompt = 1"),
        ({"n_prompts": 2, "n_comparisons": 31}, r"n_comparisons = 31 is outside \[1, 30\]"),
        ({"minority": 0.0}, "minority = 0.0"),
        ({"careless": 1.5}, "careless = 1.5"),
        ({"jitter": float("nan")}, "jitter = nan"),
    ],
)
def test_impossible_settings_are_an_error(setting: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        simulate(**setting)


def test_truth_raises_for_what_is_not_of_this_population() -> None:
    small = simulate(n_users=4, n_comparisons=3, n_prompts=2, seed=0)
    rows = small.comparisons
    second = pl.int_range(pl.len()) == 1
    for column in ("user_id", "chosen", "rejected"):
        strange = rows.with_columns(pl.when(second).then(pl.lit("?")).otherwise(column).alias(column))
        with pytest.raises(InputError, match=f"row 1, column {column}"):
            small.truth(strange)
    with pytest.raises(InputError, match="column prompt is missing"):
        small.truth(rows.drop("prompt"))
