"""Scores of a table do not know how it came: the same bits for any file of the same rows, the same up to rounding where
batches end elsewhere, since a BLAS sums a matrix of another shape in another order."""

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import plurality as pl8
from plurality.data.readers import batches
from plurality.encoders import LsaSpec
from plurality.errors import InputError
from plurality.rl.score_table import RowScorer, score_table


@pytest.fixture(scope="module")
def words():
    rng = np.random.default_rng(0)
    said = np.array([" ".join(rng.choice(["red", "blue", "sour", "sweet", "loud", "soft"], 5)) for _ in range(60)])
    return pl.DataFrame(
        {
            "user_id": [f"u{i % 5}" for i in range(300)],
            "prompt": [f"Which {i % 12}?" for i in range(300)],
            "chosen": said[rng.integers(0, 30, 300)],
            "rejected": said[rng.integers(30, 60, 300)],
            "score_chosen": rng.normal(size=300),
            "score_rejected": rng.normal(size=300),
        }
    )


@pytest.fixture(scope="module")
def models(words):
    plain, encoder = words.drop("score_chosen", "score_rejected"), LsaSpec(dim=6, min_df=1)
    data = pl8.read(plain, encoder=encoder, prompts=True)
    more = pl8.read(words.with_columns(objective=pl.Series(["a", "b"] * 150)), encoder=encoder)
    return {
        "personal": pl8.BradleyTerry(decay=1.0, temperature=True).fit(data),
        "base": pl8.BradleyTerry(decay=1.0).fit(pl8.read(words, encoder=encoder)),
        "several": pl8.MORE(multi_head=True, decay=3.0, steps=20).fit(more),
    }


@pytest.fixture
def rows(words):
    """Rows with other columns, the same completion again and again, and a few of which nothing can be seen."""
    frame = words.select("user_id", "prompt", completion="chosen", score="score_chosen", kind=pl.lit("x"))
    frame = frame.unique(["user_id", "prompt", "completion"], keep="first", maintain_order=True)
    empty = pl.when(pl.int_range(pl.len()) % 50 < 2).then(pl.lit(" ")).otherwise("completion")
    level = pl.lit("low").cast(pl.Enum(["low", "high"]))
    return frame.with_columns(completion=empty, level=level, chat=pl.struct(a="user_id"))


CASES = [
    ("personal", {"sd": True}, {}),
    ("personal", {}, {"best_of_n": 0}),
    ("personal", {}, {"best_of_n": 2, "only_best": True}),
    ("base", {}, {}),
    ("several", {"objectives": ("b",), "direction": {"a": 1.0, "b": -2.0}}, {}),
]


@pytest.mark.filterwarnings("ignore::plurality.errors.InputWarning")
@pytest.mark.parametrize(("model", "settings", "more"), CASES)
def test_batches_change_nothing(models, rows, tmp_path, monkeypatch, model, settings, more):
    scorer = RowScorer(models[model], **settings)
    whole = score_table(scorer, rows, tmp_path / "whole.parquet", **more)
    assert whole.without_reward == rows.filter(completion=" ").height > 5
    monkeypatch.setattr(batches, "BATCH", 17)
    assert score_table(scorer, rows, tmp_path / "cut.parquet", **more) == whole
    want, found = (pl.read_parquet(tmp_path / f"{name}.parquet") for name in ("whole", "cut"))
    assert found.schema == want.schema
    assert found.select(rows.columns).schema == rows.schema
    assert_frame_equal(found, want, rel_tol=1e-5, abs_tol=1e-6)
    for group in (5, 23, 400):
        rows.write_parquet(tmp_path / "rows.parquet", row_group_size=group)
        assert score_table(scorer, tmp_path / "rows.parquet", tmp_path / "file.parquet", **more) == whole
        assert_frame_equal(pl.read_parquet(tmp_path / "file.parquet"), found, check_exact=True)


@pytest.mark.filterwarnings("ignore::plurality.errors.InputWarning")
def test_what_the_model_says(models, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "BATCH", 2)  # whole batches of nothing
    model = models["personal"]
    score_table(RowScorer(model), rows, tmp_path / "out.parquet")
    found = pl.read_parquet(tmp_path / "out.parquet")["reward"]
    seen = (rows["completion"] != " ").to_numpy()
    some = rows.filter(seen)
    items = model.text_encoder().encode(some["prompt"].to_list(), some["completion"].to_list())
    want = model.score(items, np.arange(len(items)), some["user_id"].to_list())
    np.testing.assert_allclose(found.drop_nulls(), want, rtol=1e-5, atol=1e-6)
    assert (found.is_null().to_numpy() == ~seen).all()


@pytest.mark.filterwarnings("ignore::plurality.errors.InputWarning")
@pytest.mark.parametrize(
    ("column", "value", "more", "message"),
    [
        ("user_id", "new", {}, "1 users are not known to this model, first 'new'"),
        ("completion", None, {}, r"rows\.parquet: row 261: completion is null \(12 rows or more\)"),
        ("prompt", "Lone?", {"best_of_n": 3}, r"row 277: user '\w+' has [12] completions of this prompt, fewer than"),
    ],
)
def test_faults_are_told_before_anything_is_embedded(models, rows, tmp_path, monkeypatch, column, value, more, message):
    monkeypatch.setattr(batches, "BATCH", 17)
    monkeypatch.setattr(RowScorer, "columns", lambda *_, **__: pytest.fail("something was embedded"))
    rows = rows.with_columns(user_id=pl.lit("u0")) if "best_of_n" in more else rows
    late = pl.when(pl.int_range(pl.len()) >= 260 + 16 * ("best_of_n" in more)).then(pl.lit(value)).otherwise(column)
    rows.with_columns(late.alias(column)).write_parquet(tmp_path / "rows.parquet")
    with pytest.raises(InputError, match=message):
        score_table(RowScorer(models["personal"]), tmp_path / "rows.parquet", tmp_path / "out.parquet", **more)
    assert not (tmp_path / "out.parquet").exists()


@pytest.mark.filterwarnings("ignore::plurality.errors.InputWarning")
def test_nothing_can_be_seen(models, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "BATCH", 17)
    with pytest.raises(InputError, match="candidates: nothing can be seen of any completion"):
        score_table(RowScorer(models["personal"]), rows.with_columns(completion=pl.lit(" ")), tmp_path / "out.parquet")
