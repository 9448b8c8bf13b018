"""Whole answers judged by hand, and by scipy."""

import numpy as np
import polars as pl
import pytest
from scipy.stats import kendalltau, spearmanr

import plurality as pl8
from plurality.data.answered_things import answered_things
from plurality.evaluation.answers import tabulate_answers
from plurality.reward.predictions import prediction_rows

M = 30


def answers(seed=0, people=12):
    """A little of everything, and each person's utilities."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(M, 3))
    utility = x @ generator.normal(size=(3, people)) * 1.5
    rows = []
    for u in range(people):
        who = {"user_id": f"u{u:02d}"}
        for i in generator.permutation(M)[:8]:
            noisy = utility[i, u] + generator.logistic()
            rows.append(who | {"completion": int(i), "rating": float(1 + (noisy > np.array([-1, 0, 1])).sum())})
        for _ in range(3):
            some = generator.permutation(M)[:4]
            noisy = utility[some, u] + generator.gumbel(size=4)
            rows.append(who | {"completions": some.tolist(), "chosen": int(some[noisy.argmax()])})
            rows.append(who | {"ranking": generator.permutation(M)[:5].tolist()})
        first, second = generator.permutation(M)[:2].tolist()
        rows.append(who | {"chosen": first, "rejected": second})
    return pl8.read(pl.from_dicts(rows, infer_schema_length=None), embeddings=x), utility


@pytest.fixture(scope="module")
def table():
    data, utility = answers()
    own = utility[data.first, data.user] - utility[data.second, data.user]
    lines = [
        prediction_rows(data, gap).select(
            pl.lit(name).alias("model"), pl.lit(False).alias("control"), pl.lit(0).alias("fold"),
            pl.lit("seen user, unseen item").alias("cell"), pl.all(),
        )
        for name, gap in {"truth": own, "nothing": 0 * own, "half": own / 2}.items()
    ]  # fmt: skip
    return data, utility, tabulate_answers(pl.concat(lines), baseline="nothing", n_bootstrap=50, seed=0)


def one(table, kind, model, metric):
    return table.filter(answer_kind=kind, model=model, metric=metric).row(0, named=True)


def test_correlations_are_those_of_scipy(table):
    data, utility, found = table
    for kind in ("rating", "ranking"):
        things = answered_things(data, kind)
        taus, rhos = {}, {}
        for (user, _), part in things.group_by("user", "answer"):
            u, y = utility[part["item"].to_numpy(), user], part["level"].to_numpy()
            rhos.setdefault(user, []).append(spearmanr(u, y).statistic)
            pairs = np.subtract.outer(y, y)
            comparable = (pairs != 0).sum() / (len(y) * (len(y) - 1))
            taus.setdefault(user, []).append(kendalltau(u, y).statistic / np.sqrt(comparable))  # τ-b is less by ties
        for metric, by_user in (("kendall", taus), ("spearman", rhos)):
            expected = np.mean([np.mean(values) for values in by_user.values()])
            assert one(found, kind, "truth", metric)["estimate"] == pytest.approx(expected, abs=1e-6)


def test_choices_by_hand(table):
    data, utility, found = table
    things = answered_things(data, "choice")
    nats, top = {}, {}
    for (user, _), part in things.group_by("user", "answer"):
        u, y = utility[part["item"].to_numpy(), user], part["level"].to_numpy()
        nats.setdefault(user, []).append(np.log(np.exp(u).sum()) - u[y.argmax()])
        top.setdefault(user, []).append(u.argmax() == y.argmax())
    for metric, by_user in (("log_loss", nats), ("top_1", top)):
        expected = np.mean([np.mean(values) for values in by_user.values()])
        assert one(found, "choice", "truth", metric)["estimate"] == pytest.approx(expected, abs=1e-6)
    assert one(found, "choice", "nothing", "log_loss")["estimate"] == pytest.approx(np.log(4))
    assert one(found, "choice", "nothing", "top_1")["estimate"] == pytest.approx(1 / 4)
    assert one(found, "ranking", "nothing", "log_loss")["estimate"] == pytest.approx(np.log(120))
    assert one(found, "ranking", "nothing", "spearman")["estimate"] == 0


def test_ratings_are_told_by_utilities_in_any_unit(table):
    found = table[2]
    truth, half, nothing = (one(found, "rating", name, "log_loss")["estimate"] for name in ("truth", "half", "nothing"))
    assert truth < nothing - 0.05
    assert half == pytest.approx(truth, abs=0.01)
    row = one(found, "rating", "truth", "kendall")
    assert (row["n_users"], row["n_answers"]) == (12, 12 * 8)
    assert row["diff"] == pytest.approx(row["estimate"])
    assert row["diff_lo"] > 0
    assert one(found, "pair", "truth", "accuracy")["n_answers"] == 12


def test_compare_shows_them(tmp_path):
    data, _ = answers()
    result = pl8.compare(data, [], split="item", test_size=0.5, n_bootstrap=20, unseen_users=0)
    kinds = set(result.answers["answer_kind"])
    assert {"rating", "choice", "ranking"} <= kinds
    text = str(result)
    for shown in ("Ratings · seen user, unseen item", "Choices · seen user", "correlations within a person's answer"):
        assert shown in text
        assert shown in result._repr_html_().replace("&#x27;", "'")
    folder = result.save(tmp_path / "comparison")
    assert pl.read_parquet(folder / "answers.parquet").equals(result.answers)
    pairs = data.take(np.array([kind == "pair" for kind in data.answers["answer_kind"]]))
    assert set(pairs.answers["answer_kind"]) == {"pair"}
    assert {"answer_kind", "level_first", "item_second"} <= set(result.predictions.columns)
