"""Ready-made embeddings: arrays and files, with row numbers for sides."""

import ml_dtypes
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pyarrow import feather
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_torch

from plurality.data import tensor_files
from plurality.data.embeddings import open_embeddings
from plurality.data.keys import mix, text_keys
from plurality.data.read import read
from plurality.errors import InputError

RNG = np.random.default_rng(0)
VECTORS = RNG.standard_normal((5, 3)).astype(np.float32)
NUMBERS = {"user_id": ["ann", "bob", "ann"], "chosen": [0, 1, 4], "rejected": [1, 3, 3]}


@pytest.mark.parametrize("form", ["array", "float64", "npy", "safetensors", "csv"])
def test_ready_made_embeddings(tmp_path, form):
    frame, embeddings = pl.DataFrame(NUMBERS), VECTORS
    if form == "float64":
        embeddings = VECTORS.astype(np.float64)
    if form == "npy":
        embeddings = tmp_path / "e.npy"
        np.save(embeddings, VECTORS)
    if form == "safetensors":
        embeddings = str(tmp_path / "e.safetensors")
        save_file({"embeddings": VECTORS, "other": VECTORS}, embeddings)
    if form == "csv":
        frame.write_csv(tmp_path / "c.csv")
        frame = tmp_path / "c.csv"
    data = read(frame, embeddings=embeddings)
    assert data.items.dtype == np.float32
    assert (data.items == VECTORS).all()
    assert (form in ("array", "csv")) == np.shares_memory(data.items, VECTORS)
    assert data.item_keys.tolist() == mix(np.arange(5)).tolist()
    assert (data.item_keys[data.first] < data.item_keys[data.second]).all()
    chosen = np.where(data.label == 1, data.first, data.second)
    rejected = np.where(data.label == 1, data.second, data.first)
    assert (chosen.tolist(), rejected.tolist()) == (NUMBERS["chosen"], NUMBERS["rejected"])
    assert data.texts is data.encoder is data.prompts is None
    assert len(data.prompt_keys) == 1


NARROW = {"float16": VECTORS.astype(np.float16), "bfloat16": VECTORS.astype(ml_dtypes.bfloat16)}


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("form", ["npy", "safetensors", "array", "tensor", "map"])
def test_half_precision_is_read(tmp_path, name, form):
    """Every value that a half can hold is the same number as float32."""
    narrow = NARROW[name]
    tensor = torch.from_numpy(VECTORS).to(getattr(torch, name))
    path = tmp_path / f"e.{'safetensors' if form == 'safetensors' else 'npy'}"
    np.save(path, narrow) if path.suffix == ".npy" else save_torch({"embeddings": tensor, "n": torch.ones(2)}, path)
    given = {"array": narrow, "tensor": tensor, "map": np.load(path, mmap_mode="r") if path.suffix == ".npy" else None}
    data = read(pl.DataFrame(NUMBERS), embeddings=given.get(form, path))
    assert data.items.dtype == np.float32
    np.testing.assert_array_equal(data.items, narrow.astype(np.float32))


def test_wide_bfloat16_is_converted_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(tensor_files, "BLOCK_BYTES", 30)
    values = torch.from_numpy(RNG.standard_normal((50, 3)).astype(np.float32)).bfloat16()
    save_torch({"embeddings": values}, tmp_path / "e.safetensors")
    np.testing.assert_array_equal(open_embeddings(tmp_path / "e.safetensors", "e"), values.float().numpy())
    values[7, 1] = float("nan")
    save_torch({"embeddings": values}, tmp_path / "e.safetensors")
    with pytest.raises(InputError, match=r"e\.safetensors: embedding 7 \(from 0\) holds NaN"):
        open_embeddings(tmp_path / "e.safetensors", "e")


def test_a_map_is_not_copied(tmp_path):
    np.save(tmp_path / "e.npy", VECTORS)
    mapped = np.load(tmp_path / "e.npy", mmap_mode="r")
    assert np.shares_memory(open_embeddings(mapped, "e"), mapped)


@pytest.mark.parametrize("inner", [pa.float32(), pa.float64(), pa.float16()], ids=str)
@pytest.mark.parametrize("size", [3, -1])
def test_arrow_lists_are_read_from_files_and_memory(tmp_path, inner, size):
    rows = [[inner.to_pandas_dtype()(x) for x in row] for row in VECTORS.tolist()]
    column = pa.array(rows, type=pa.list_(inner, size))
    expected = VECTORS.astype(inner.to_pandas_dtype()).astype(np.float32)
    table = pa.table({"id": list("abcde"), "embedding": column, "tags": [["x"]] * 5})
    pq.write_table(table, tmp_path / "e.parquet")
    feather.write_feather(table, tmp_path / "e.feather")
    sources = [column, table["embedding"], pl.Series(column), tmp_path / "e.parquet", str(tmp_path / "e.feather")]
    for source in sources:
        np.testing.assert_array_equal(open_embeddings(source, "e"), expected)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"embeddings": [[1.0, 2.0], [1.0]]}, r"embedding 1 \(from 0\) is missing, or not as long as the first"),
        ({"embeddings": [[1.0, 2.0], None]}, r"embedding 1 \(from 0\) is missing, or not as long as the first"),
        ({"embeddings": [[1.0, 2.0], [None, 1.0]]}, r"embedding 1 \(from 0\) is missing"),
        ({"embeddings": [["a"], ["b"]]}, r"a column of List\(String\) holds no embeddings; give lists of floats"),
        ({"embeddings": [[1], [2]]}, r"embeddings of type int64 are not floats"),
        ({"a": [[1.0]], "b": [[2.0]]}, r"has the columns a, b; name the one with lists of numbers 'embeddings'"),
        ({"a": [1.0]}, r"has the columns a; name the one with lists of numbers 'embeddings'"),
    ],
)
def test_columns_that_are_no_embeddings(tmp_path, columns, message):
    pl.DataFrame(columns).write_parquet(tmp_path / "e.parquet")
    with pytest.raises(InputError, match=rf"e\.parquet:? {message}"):
        open_embeddings(tmp_path / "e.parquet", "e")


def test_prompts_of_ready_made_embeddings():
    frame = pl.DataFrame({**NUMBERS, "rejected": [1, 0, 3], "prompt": ["p", "p", "q"]})
    data = read(frame, embeddings=VECTORS)
    assert data.prompt_keys[data.prompt[data.first]].tolist() == text_keys(["p", "p", "q"]).tolist()
    rows = read(frame.with_columns(prompt=pl.Series([1, 1, 0])), embeddings=VECTORS, prompt_embeddings=VECTORS[:2])
    assert rows.prompt[rows.first].tolist() == [1, 1, 0]
    assert (rows.prompts == VECTORS[:2]).all()


@pytest.mark.parametrize(
    ("frame", "embeddings", "message"),
    [
        (
            {**NUMBERS, "chosen": ["a", "b", "c"]},
            VECTORS,
            "chosen is text, but with ready-made embeddings it is the row number .*name an encoder",
        ),
        (
            {**NUMBERS, "chosen": [0, 5, 4]},
            VECTORS,
            r"row 2: chosen is 5, but embeddings have 5 rows \(0 to 4\); .*length",
        ),
        ({**NUMBERS, "rejected": [1, 2, -1]}, VECTORS, "row 3: rejected is -1, but embeddings have 5 rows"),
        ({**NUMBERS, "rejected": [1, 1, 3]}, VECTORS, "row 2: chosen and rejected are the same"),
        ({**NUMBERS, "chosen": [0.0, 1.0, 2.0]}, VECTORS, r"chosen is a number \(Float64\), but .* row number"),
        ({**NUMBERS, "prompt": ["p", "p", "q"]}, VECTORS, "row 2: an item of this row is also under another prompt; "),
        (NUMBERS, VECTORS[0], r"embeddings: embeddings of shape \(3,\) are not a matrix"),
        (NUMBERS, VECTORS[:, :0], r"embeddings of shape \(5, 0\) are not a matrix"),
        (NUMBERS, VECTORS.astype(int), "embeddings of type int64 are not floats"),
        (NUMBERS, np.full((5, 3), 1e300), r"embedding 0 \(from 0\) holds NaN or infinite values"),
        (NUMBERS, np.where(np.eye(5, 3) * [0, 0, 1] > 0, np.nan, VECTORS), r"embedding 2 \(from 0\) holds NaN"),
    ],
)
def test_bad_ready_made_embeddings(frame, embeddings, message):
    with pytest.raises(InputError, match=message):
        read(pl.DataFrame(frame), embeddings=embeddings)


def test_prompt_embeddings_need_row_numbers_of_one_prompt_an_item():
    frame = pl.DataFrame({**NUMBERS, "prompt": [0, 0, 2]})
    with pytest.raises(InputError, match=r"row 3: prompt is 2, but prompt_embeddings have 2 rows \(0 to 1\)"):
        read(frame, embeddings=VECTORS, prompt_embeddings=VECTORS[:2])
    with pytest.raises(InputError, match="row 2: an item of this row is also under another prompt"):
        read(frame, embeddings=VECTORS, prompt_embeddings=VECTORS[:3])
    with pytest.raises(InputError, match="column prompt is missing"):
        read(frame.drop("prompt"), embeddings=VECTORS, prompt_embeddings=VECTORS[:3])


def test_bad_embedding_files(tmp_path):
    frame = pl.DataFrame(NUMBERS)
    whole = tmp_path / "e.npy"
    np.save(whole, VECTORS)
    (tmp_path / "cut.npy").write_bytes(whole.read_bytes()[:-4])
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    save_file({"x": VECTORS}, tmp_path / "x.safetensors")
    save_file({"embeddings": VECTORS}, tmp_path / "e.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "e.safetensors").read_bytes()[:-1])
    (tmp_path / "no.safetensors").write_bytes(b"nonsense" * 9)
    for name, message in {
        "cut.npy": "cannot be read",
        "objects.npy": "cannot be read",
        "absent.npy": "does not exist",
        "x.safetensors": "has the tensors x; name the one to use `embeddings`",
        "cut.safetensors": "is truncated after .* bytes",
        "no.safetensors": "is not a safetensors file",
        "absent.safetensors": "is missing",
        "e.txt": r"embeddings in .txt are unknown; give .npy, .safetensors or a column of lists in .parquet, .pq, .fea",
        "e.bin": r"embeddings in .bin are a pickle, which can run code .*; convert .*save_file\(\{'embeddings': tensor",
        "e.PT": r"embeddings in .PT are a pickle, .* and give e\.safetensors",
    }.items():
        with pytest.raises(InputError, match=message):
            read(frame, embeddings=tmp_path / name)


@pytest.mark.parametrize(
    "shape",
    [
        "(-4, 4)",
        "(4611686018427387904, 4)",
        "(4294967296, 4294967296)",
        "(2.5, 4)",
        "(True, 4)",
        "(9, 9)",
        "(3, 4)",
        "(" * 5000,
    ],
)
def test_headers_of_npy_files_that_make_no_sense(tmp_path, shape):
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".encode()
    text += b" " * (-(11 + len(text)) % 64) + b"\n"
    (tmp_path / "e.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(64))
    with pytest.raises(InputError, match=r"e\.npy cannot be read") as caught:
        read(pl.DataFrame(NUMBERS), embeddings=tmp_path / "e.npy")
    assert "\n" not in str(caught.value)
