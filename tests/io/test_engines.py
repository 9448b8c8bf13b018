"""Work on a Ray cluster gives the bytes of work done here; where ray is not installed, its test is skipped."""

import sys
import warnings

import polars as pl
import pytest

import plurality as pl8
from plurality.cli import main
from plurality.data import pending
from plurality.data.readers import batches
from plurality.errors import InputError, InputWarning
from plurality.io.engines import Engine, in_order


class Square:
    """What a worker does; the task 3 is warned of, −1 is refused."""

    def __call__(self, task):
        if task == 3:
            warnings.warn(InputWarning("three"), stacklevel=1)
        if task < 0:
            raise InputError("row 1: a negative")
        return task * task


def test_here_it_is_lazy_and_in_order():
    asked = []
    made = in_order(Square(), (asked.append(i) or i for i in range(3)))
    assert (next(made), asked) == (0, [0])
    assert list(made) == [1, 4]


@pytest.mark.parametrize("wrong", [{"kind": "dask"}, {"workers": 2}, {"kind": "ray", "workers": 0}])
def test_what_is_no_engine(wrong):
    with pytest.raises(InputError, match=r"engine|workers"):
        Engine(**wrong)


def test_without_ray_one_line_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(InputError, match=r"engine ray needs ray: pip install 'plurality-rm\[ray\]'"):
        list(in_order(Square(), [1], Engine("ray")))


@pytest.fixture(scope="module")
def cluster():
    """A cluster of two CPUs on this machine."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray = pytest.importorskip("ray", reason="ray is not installed")
        pytest.importorskip("ray.data", reason="ray's data extra is not installed")
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
        yield
        ray.shutdown()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.usefixtures("cluster")
def test_ray_gives_the_same_bytes(tmp_path, monkeypatch, town):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", InputWarning)
        assert list(in_order(Square(), list(range(8)), Engine("ray", 2))) == [i * i for i in range(8)]
    assert [str(note.message) for note in caught if note.category is InputWarning] == ["three"]
    with pytest.raises(InputError, match=r"^row 1: a negative$"):
        list(in_order(Square(), [1, -1], Engine("ray", 2)))
    monkeypatch.setattr(pending, "BLOCK", 40)
    monkeypatch.setattr(batches, "BATCH", 25)
    made = {}
    for engine in ("local", "ray"):
        more = ["--engine", engine, "--json"]
        store, scored = tmp_path / f"store {engine}", tmp_path / f"{engine}.parquet"
        embed = ["embed", str(town / "comparisons.parquet"), "--dim", "8", "--prompts", "--out", str(store)]
        assert main([*embed, *more]) == 0
        if engine == "local":
            data = pl8.Comparisons.load(store)
            pl8.BradleyTerry(decay=1.0, temperature=True).fit(data).save_pretrained(tmp_path / "reward")
            text = pl.read_parquet(town / "comparisons.parquet")
            rows = text.select("user_id", "prompt", completion="chosen")
            rows.write_parquet(tmp_path / "rows.parquet", row_group_size=60)
        score = ["score", str(tmp_path / "reward"), str(tmp_path / "rows.parquet"), "--out", str(scored)]
        assert main([*score, *more]) == 0
        made[engine] = (store / "embeddings.safetensors").read_bytes(), scored.read_bytes()
    assert made["local"] == made["ray"]
