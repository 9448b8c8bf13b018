"""`plurality score --best-of-n`: rank and best of each user's completions of a prompt."""

import numpy as np
import polars as pl
import pytest

import plurality
from plurality.encoders import LsaSpec
from plurality.models import BradleyTerry


@pytest.fixture(scope="module")
def place(town, tmp_path_factory):
    """A fitted model, and per user three completions of two prompts, users' rows mixed."""
    folder = tmp_path_factory.mktemp("best")
    data = plurality.read(town / "comparisons.parquet", users=town / "users.parquet", encoder=LsaSpec(dim=16))
    BradleyTerry(decay=3.0, temperature=True).fit(data).save_pretrained(folder / "reward")
    texts = pl.read_parquet(town / "comparisons.parquet").unique("prompt", maintain_order=True).head(2)
    rows = [
        {"user_id": user, "prompt": row["prompt"], "completion": text}
        for text in ("chosen", "rejected", "prompt")
        for row in texts.iter_rows(named=True)
        for user in data.user_ids[:3]
    ]
    rows = [{**row, "completion": _text(texts, row)} for row in rows]
    pl.DataFrame(rows).write_parquet(folder / "candidates.parquet")
    return folder


def _text(texts, row):
    return texts.filter(pl.col("prompt") == row["prompt"])[row["completion"]][0]


def test_rank_and_best_by_user_and_prompt(place, command, tmp_path):
    out = tmp_path / "scored.parquet"
    done = command("score", place / "reward", place / "candidates.parquet", "--best-of-n", "--out", out)
    assert done.code == 0, done.err
    scored = pl.read_parquet(out)
    assert scored.columns == ["user_id", "prompt", "completion", "reward", "rank", "best"]
    wanted = scored.select(pl.col("reward").rank("ordinal", descending=True).over("user_id", "prompt"))["reward"]
    assert scored["rank"].to_list() == wanted.to_list()
    assert sorted(scored["rank"]) == sorted([1, 2, 3] * 6)
    assert (scored["best"] == (scored["rank"] == 1)).all()


def test_the_first_n_and_only_the_best(place, command, tmp_path):
    out, arguments = tmp_path / "scored.parquet", ["score", place / "reward", place / "candidates.parquet"]
    assert command(*arguments, "--best-of-n", 2, "--out", out).code == 0
    scored = pl.read_parquet(out)
    assert scored["rank"].to_list()[12:] == [None] * 6
    assert not scored["best"].tail(6).any()
    assert command(*arguments, "--best-of-n", 2, "--only-best", "--out", out).code == 0
    best = pl.read_parquet(out)
    assert best.equals(scored.filter("best"))
    assert best.height == 6
    most = scored.head(12).group_by("user_id", "prompt").agg(pl.col("reward").max())
    both = best.join(most, on=["user_id", "prompt"], suffix="_most")
    np.testing.assert_array_equal(both["reward"], both["reward_most"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--best-of-n", "4"], "row 1: user 'user-0000' has 3 completions of this prompt, fewer than --best-of-n 4"),
        (["--best-of-n", "0"], "'0' is not a whole number of 1 or more"),
        (["--only-best"], "--only-best needs --best-of-n"),
    ],
)
def test_what_cannot_be_ranked(place, command, tmp_path, arguments, message):
    out = tmp_path / "scored.parquet"
    done = command("score", place / "reward", place / "candidates.parquet", "--out", out, *arguments)
    assert done.code == 2
    assert message in done.err
    assert not out.exists()
