"""Texts of white space only, which real sets have: an error, rows left out, or zeros."""

import warnings

import numpy as np
import polars as pl
import pytest

from plurality.data.read import read
from plurality.data.store import load
from plurality.encoders import LsaSpec
from plurality.errors import InputError, InputWarning

ROWS = pl.DataFrame(
    {
        "user_id": ["ann", "bob", "cyd", "ann", "dan"],
        "prompt": ["tea?", "tea?", " ", "rain?", "tea?"],
        "chosen": ["green tea", "", "stay in", "an umbrella", "mint tea"],
        "rejected": ["mint tea", "green tea", "go out", "stay in", "\n"],
    }
)
GOOD = ROWS.filter(pl.Series([True, False, False, True, False]))


def test_blank_texts_are_an_error_unless_asked(letters):
    with pytest.raises(InputError, match="row 3: prompt is empty"):
        read(ROWS, encoder=letters)
    with pytest.raises(InputError, match="blank='ignore' is unknown"):
        read(ROWS, encoder=letters, blank="ignore")
    with pytest.raises(InputError, match="about texts"):
        read({"user_id": ["a"], "chosen": [0], "rejected": [1]}, embeddings=np.eye(2), blank="drop")


def test_rows_with_one_are_dropped_and_counted(letters, facts):
    with pytest.warns(InputWarning, match="3 rows have an empty text and are dropped"):
        data = read(ROWS, encoder=letters, blank="drop")
    alone = read(GOOD, encoder=letters)
    assert facts(data) == facts(alone)
    assert data.users.equals(alone.users)
    assert data.item_keys.tolist() == alone.item_keys.tolist()
    assert all(text.strip() for pair in letters.seen for text in pair)
    with pytest.raises(InputError, match="each row has an empty text"):
        read(ROWS[1:3], encoder=letters, blank="drop")


def test_rows_are_named_as_the_file_has_them(letters):
    same = pl.concat([ROWS, pl.DataFrame([["eve", "tea?", "x", "x"]], schema=ROWS.schema, orient="row")])
    for blank in ("drop", "keep"):
        with pytest.raises(InputError, match="row 6: chosen and rejected are the same"):
            read(same, encoder=letters, blank=blank)
        with pytest.raises(InputError, match="row 5: weight is not positive"):
            read(ROWS.with_columns(weight=pl.Series([1, 1, 1, 1, 0])), encoder=letters, blank=blank)


@pytest.mark.parametrize("template", ["completion", "conversation"])
def test_kept_ones_are_zeros(template, tmp_path):
    spec = LsaSpec(dim=4, min_df=1, template=template)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "lsa: .* prompts .* get a zero vector", InputWarning)
        data = read(ROWS, encoder=spec, prompts=True, blank="keep")
    assert len(data) == 5
    blank = ~data.texts["completion"].str.contains(r"\S").to_numpy()
    assert blank.sum() == 2
    assert not data.items[blank].any()
    assert data.items[~blank].any(1).all()
    if template == "conversation":  # else its vocabulary has no prompt's words
        assert (~data.prompts.any(1)).sum() == 1
    data.save(tmp_path / "store")
    np.testing.assert_array_equal(load(tmp_path / "store").items, data.items)


def test_chats(letters):
    def turn(text):
        return [{"role": "user", "content": text}]

    chats = ROWS.with_columns(prompt=pl.Series([turn(text) for text in ROWS["prompt"]]))
    with pytest.warns(InputWarning, match="3 rows"):
        assert len(read(chats, encoder=letters, blank="drop")) == 2
    assert len(read(chats, encoder=letters, prompts=True, blank="keep")) == 5


def test_the_command(command, tmp_path):
    said = pl.col("chosen", "rejected")
    ROWS.with_columns(pl.when(said.str.contains(r"\S")).then(said + ", please, ...").otherwise(said)).write_parquet(
        tmp_path / "rows.parquet"
    )
    arguments = ["embed", tmp_path / "rows.parquet", "--out", tmp_path / "store"]
    assert command(*arguments).code == 2
    done = command(*arguments, "--blank", "drop")
    assert (done.code, "3 rows have an empty text and are dropped" in done.err) == (0, True), done.err
    assert len(load(tmp_path / "store")) == 2
