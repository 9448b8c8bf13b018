"""Ready-made embeddings: arrays and files, with row numbers for sides."""

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

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
        "e.bin": "embeddings in .bin are unknown; give .npy or .safetensors",
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
