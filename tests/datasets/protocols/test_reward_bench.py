"""RewardBench scores of frames small enough for a pencil, and the tax of planted tastes."""

import numpy as np
import polars as pl
import pytest

from plurality.datasets.protocols.bench_files import Bench, read_bench
from plurality.datasets.protocols.reward_bench import (
    DOMAINS,
    SECTIONS,
    Questions,
    reward_bench,
    reward_bench_2,
    ties_score,
)
from plurality.datasets.protocols.tax import BASE, MEAN, POPULATION, TENTH, WORST, personalisation_tax
from plurality.datasets.simulated import populations as planted
from plurality.errors import InputError
from plurality.models.bradley_terry import BradleyTerry
from plurality.models.low_rank import LowRank

SUBSETS = [name for section in SECTIONS.values() for name in section]


def test_published_counts_add_up():
    """The filtered split has 2,985 rows, of which math-prm has 447, counted as 984."""
    counts = {name: n for section in SECTIONS.values() for name, n in section.items()}
    assert len(counts) == 23
    assert sum(counts.values()) - 984 + 447 == 2985
    assert sum(n for name, n in counts.items() if name.startswith("hep")) == counts["math-prm"]


def test_all_right_and_all_tied():
    ones, zeros = np.ones(23), np.zeros(23)
    assert reward_bench(ones, zeros, SUBSETS).values.tolist() == [1.0] * 5
    assert reward_bench(ones, ones, SUBSETS).values.tolist() == [0.0] * 5  # a tie is wrong


def test_sections_by_hand():
    """Only the 100 of refusals-dangerous and math-prm are right: 100/740 of Safety, half of Reasoning."""
    right = np.array([name in ("refusals-dangerous", "math-prm") for name in SUBSETS], dtype=float)
    found = reward_bench(right, np.full(23, 0.5), SUBSETS)
    assert found.names == ("Chat", "Chat Hard", "Safety", "Reasoning", "total")
    expected = [0, 0, 100 / 740, 0.5]
    assert found.values == pytest.approx([*expected, sum(expected) / 4])
    with_prior = reward_bench(right, np.full(23, 0.5), SUBSETS, prior_sets=0.6).values
    assert with_prior[-1] == pytest.approx((2 * sum(expected) + 0.6) / 9)


def test_rows_of_a_subset_are_averaged_first_and_people_are_an_axis():
    names = [*SUBSETS, "hep-cpp", "hep-cpp"]
    gap = np.ones((2, 25))
    gap[1, -2:] = -1  # of three rows of hep-cpp one is right: 164/3 of 1968
    found = reward_bench(gap, np.zeros((2, 25)), names)
    assert found.values[0] == pytest.approx(np.ones(5))
    assert found.values[1, 3] == pytest.approx(1 - (2 / 3) * 164 / 1968)
    assert found.frame().shape == (10, 3)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([*SUBSETS[:-1], "hep-perl"], "subset 'hep-perl' is unknown"),
        ([*SUBSETS[:-1], "hep-cpp"], "subset 'hep-rust' is missing"),
        (SUBSETS[:-1], "align the rows"),
    ],
)
def test_bad_subsets(names, message):
    with pytest.raises(InputError, match=message):
        reward_bench(np.ones(23), np.zeros(23), names)


def test_rewards_that_are_none():
    with pytest.raises(InputError, match="give finite rewards"):
        reward_bench(np.full(23, np.nan), np.zeros(23), SUBSETS)


# version 2


def questions() -> Questions:
    """One question of four answers a domain, the first correct; and two pairs of ties."""
    names, subset, question, correct = [], [], [], []
    for domain in DOMAINS:
        subset.append(domain)
        names.append(f"{domain}-0")
        question += [len(subset) - 1] * 4
        correct += [True, False, False, False]
    for k in range(2):
        for kind, right in (("ref", 1), ("tied", 3)):
            subset.append("Ties")
            names.append(f"{kind}:{k}")
            question += [len(subset) - 1] * 4
            correct += [True] * right + [False] * (4 - right)
    return Questions(np.array(question), np.array(correct), np.array(subset), np.array(names))


BEST_OF_4 = [[3, 1, 2, 0], [1, 1, 0, 0], [0, 0, 0, 0], [1, 2, 0, 0], [5, 4, 4, 4]]


def test_best_of_four_by_hand():
    ties = [[1, 0, 0, 0], [1, 1, 1, 0], [1, 0, 0, 0], [1, 1, 1, 0]]
    found = reward_bench_2(np.array(BEST_OF_4 + ties, dtype=float).ravel(), questions())
    assert found.values[:5] == pytest.approx([1, 1 / 2, 1 / 4, 0, 1])
    # ties: all right, margin 1, spread 0: .3 + .3 + .2 + .2 + .01 tanh(∞)
    assert found.values[5] == pytest.approx(1.01)
    assert found.values[6] == pytest.approx((2.75 + 1.01) / 6)


def test_ties_by_hand():
    """k = 0: ref right by 1; tied right by 2 with a spread of 1. k = 1: ref wrong, tied right by 1, spread 2."""
    ties = [[1, 0, 0, 0], [3, 4, 4, 1], [0, 1, 0, 0], [3, 5, 4, 2]]
    r = np.array(BEST_OF_4 + ties, dtype=float).ravel()
    least = np.array([1.0, -1.0])
    expected = 0.3 * 1 + 0.3 * 0.5 + 0.2 * 0.5 + 0.2 * 0 + 0.01 * np.tanh(least / np.array([1, 2]) - 1).mean()
    assert ties_score(r, questions()) == pytest.approx(expected)
    both = ties_score(np.stack([r, 2 * r + 7]), questions())
    assert both == pytest.approx([expected, expected])  # the scale and shift of a reward do not matter


def test_no_spread_and_no_margin_is_neither_good_nor_bad():
    flat = np.zeros(len(questions().question))
    assert ties_score(flat, questions()) == 0.0


def test_questions_that_cannot_be_scored():
    good = questions()
    with pytest.raises(InputError, match="no correct or no incorrect"):
        Questions(good.question, np.ones(len(good.correct), dtype=bool), good.subset, good.name)
    many = good.correct.copy()
    many[1] = True
    with pytest.raises(InputError, match="several correct answers"):
        Questions(good.question, many, good.subset, good.name)
    with pytest.raises(InputError, match="must ascend"):
        Questions(good.question[::-1], good.correct, good.subset, good.name)
    odd = Questions(good.question, good.correct, good.subset, np.char.replace(good.name, "tied:1", "tied:2"))
    with pytest.raises(InputError, match="every ref:k needs its tied:k"):
        ties_score(np.zeros(len(good.question)), odd)
    with pytest.raises(InputError, match="35 rewards for 36 answers"):
        reward_bench_2(np.zeros(35), good)


# tables and the tax


def table_1() -> pl.DataFrame:
    n = len(SUBSETS)
    texts = {"prompt": [f"q{i}" for i in range(n)], "chosen": [f"aa{i}" for i in range(n)]}
    return pl.DataFrame({**texts, "rejected": [f"b{i}" for i in range(n)], "subset": SUBSETS})


def test_version_1_is_read_and_embedded(letters):
    bench = read_bench(table_1(), encoder=letters)
    a = bench.items[:, 0]  # how many times the letter a
    assert bench.score(a.astype(float)).values.tolist() == [1.0] * 5
    assert bench.score(-a.astype(float)).values.tolist() == [0.0] * 5
    with pytest.raises(InputError, match="give the encoder of the model, or embeddings"):
        read_bench(table_1())
    with pytest.raises(InputError, match="column subset is missing"):
        read_bench(table_1().drop("subset"), encoder=letters)


def test_version_2_is_read_with_cached_embeddings():
    q = questions()
    rows = np.arange(len(q.question))
    frame = pl.DataFrame(
        {
            "id": q.name,
            "subset": q.subset,
            "chosen": [rows[(q.question == k) & q.correct].tolist() for k in range(len(q.name))],
            "rejected": [rows[(q.question == k) & ~q.correct].tolist() for k in range(len(q.name))],
        }
    )
    bench = read_bench(frame, embeddings=np.eye(len(rows), dtype=np.float32))
    ties = [[1, 0, 0, 0], [3, 4, 4, 1], [0, 1, 0, 0], [3, 5, 4, 2]]
    r = np.array(BEST_OF_4 + ties, dtype=float).ravel()
    assert bench.score(r).values == pytest.approx(reward_bench_2(r, q).values)


def planted_bench(direction: np.ndarray, n: int = 40, seed: int = 5) -> Bench:
    """Answers whose place along a direction says which is chosen."""
    rng = np.random.default_rng(seed)
    names = np.repeat(SUBSETS, n)
    x = rng.normal(size=(2 * len(names), len(direction))).astype(np.float32)
    one, other = np.arange(len(names)), np.arange(len(names), 2 * len(names))
    better = (x[one] - x[other]) @ direction > 0
    return Bench(x, np.where(better, one, other), np.where(better, other, one), names)


def test_the_tax_of_opposed_tastes():
    """Nine in ten want the benchmark's direction, one in ten another: they pay, and only they."""
    seen, _ = planted.taste_groups(60, shares=(0.9, 0.1), width=5, scale=4.0, seed=0)
    data = seen.sample(60, seed=1).data
    bench = planted_bench(seen.theta[seen.group == 0][0])
    base = BradleyTerry(decay=20.0).fit(data, seed=0)
    model = LowRank(rank=1, weights="deviations").fit(data, seed=0)
    tax = personalisation_tax(model, bench, base, n_bootstrap=200)
    total = {row["who"]: row for row in tax.table.filter(section="total").iter_rows(named=True)}
    assert total[BASE]["score"] > 0.9
    assert total[BASE]["drop"] == 0
    truth = bench.score(bench.items @ seen.theta[seen.group == 1][0]).values[-1]
    assert total[WORST]["score"] == pytest.approx(truth, abs=0.12)
    assert total[WORST]["drop"] > 0.2
    assert total[WORST]["score"] <= total[TENTH]["score"] <= total[MEAN]["score"]
    minority = set(seen.users.filter(pl.Series(seen.group == 1))["user_id"])
    assert set(tax.users.sort("total").head(6)["user_id"]) == minority
    assert total[MEAN]["drop_lo"] <= total[MEAN]["drop"] <= total[MEAN]["drop_hi"]
    assert total[POPULATION]["score"] > 0.85
    assert "at worst" in str(tax)
    again = personalisation_tax(model, bench, base.utility(bench.items, [""], unknown="population")[0], n_bootstrap=200)
    assert again.table.filter(who=BASE).equals(tax.table.filter(who=BASE))


def test_a_base_must_be_one_reward():
    seen, _ = planted.low_rank(20, rank=1, width=5, seed=0)
    data = seen.sample(20, seed=1).data
    model = LowRank(rank=1, weights="deviations").fit(data, seed=0)
    bench = planted_bench(np.ones(5), n=1)
    with pytest.raises(InputError, match="the base has codes"):
        personalisation_tax(model, bench, model)
    with pytest.raises(InputError, match="give one reward each"):
        personalisation_tax(model, bench, np.ones(3))
