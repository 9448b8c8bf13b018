"""`plurality score`: how sure a reward is, and rewards by objectives, as columns."""

import numpy as np
import polars as pl
import pytest

import plurality
from plurality.encoders import LsaSpec
from plurality.models import MORE, BradleyTerry


@pytest.fixture(scope="module")
def place(town, tmp_path_factory):
    """A personal model, one of two objectives, and candidates of which the last is blank."""
    folder = tmp_path_factory.mktemp("columns")
    data = plurality.read(town / "comparisons.parquet", users=town / "users.parquet", encoder=LsaSpec(dim=8))
    BradleyTerry(decay=3.0, temperature=True).fit(data).save_pretrained(folder / "personal")
    MORE(source="age", multi_head=True, decay=3.0, steps=20).fit(data).save_pretrained(folder / "several")
    rows = pl.read_parquet(town / "comparisons.parquet").head(5).select("user_id", "prompt", completion="chosen")
    pl.concat([rows, rows.tail(1).with_columns(completion=pl.lit(" "))]).write_parquet(folder / "candidates.parquet")
    return folder


@pytest.fixture
def scored(place, command, tmp_path):
    def run(model, *arguments):
        out = tmp_path / "scored.parquet"
        done = command("score", place / model, place / "candidates.parquet", "--out", out, *arguments)
        assert done.code == 0, done.err
        return pl.read_parquet(out)

    return run


@pytest.mark.filterwarnings("ignore:.*empty or a thought")
def test_sd_is_a_column(place, scored):
    found, model = scored("personal", "--sd"), plurality.load(place / "personal")
    assert found.columns[-2:] == ["reward", "sd"]
    assert found["sd"].to_list()[-1] is None
    texts = found.head(5)
    items = model.text_encoder().encode(texts["prompt"].to_list(), texts["completion"].to_list())
    reward, sd = model.score(items, np.arange(5), texts["user_id"].to_list(), return_sd=True)
    np.testing.assert_allclose(texts["sd"], sd, rtol=1e-4)
    np.testing.assert_allclose(texts["reward"], reward, rtol=1e-4, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*empty or a thought")
def test_objectives_are_columns(place, scored):
    names = plurality.load(place / "several").objectives
    found = scored("several", "--objectives", "all", "--direction", f"{names[0]}=3,{names[1]}=-4")
    assert found.columns[-len(names) - 1 :] == ["reward", *(f"reward_{name}" for name in names)]
    first, second = (found[f"reward_{name}"].head(5).to_numpy() for name in names[:2])
    np.testing.assert_allclose(found["reward"].head(5), 0.6 * first - 0.8 * second, atol=1e-6)
    one = scored("several", "--objectives", names[1])
    assert one.columns[-2:] == ["reward", f"reward_{names[1]}"]
    np.testing.assert_allclose(one[f"reward_{names[1]}"].head(5), second)


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("personal", ["--objectives", "all"], "this model has none; fit more with --set multi_head=true"),
        ("several", ["--objectives", "kind"], "there is no 'kind'; the model has"),
        ("several", ["--direction", "kind=1"], "there is no objective 'kind'"),
        ("several", ["--direction", "kind"], "is no direction; write one as helpful=0.8,honest=0.6"),
        ("several", ["--direction", "kind=1", "--sd"], "leave one out"),
    ],
)
def test_what_is_not_there(place, command, tmp_path, model, arguments, message):
    out = tmp_path / "scored.parquet"
    done = command("score", place / model, place / "candidates.parquet", "--out", out, *arguments)
    assert done.code == 2
    assert message in done.err
    assert not out.exists()
