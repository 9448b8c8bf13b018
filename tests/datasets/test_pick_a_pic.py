"""Pick-a-Pic from a small table in the published format, against pairs worked out by hand; vectors by uid."""

import datetime as dt

import numpy as np
import polars as pl
import pytest

import plurality as pl8
from plurality.datasets import load
from plurality.datasets.pick_a_pic import frames, write_vectors
from plurality.errors import InputError

# user, caption, image 0, image 1, label 0 (None: there is none)
GIVEN = [
    (7, "a cat 猫", "u-b", "u-a", 1.0),
    (7, "a cat 猫", "u-b", "u-c", 0.0),
    (8, "a cat 猫", "u-c", "u-a", 0.5),
    (8, "a dog", "u-d", "u-a", 0.0),  # an image under another caption
    (8, "a dog", "u-d", "u-d", 1.0),
    (9, " ", "u-d", "u-e", 1.0),
    (9, "a dog", "u-d", "u-e", None),
    (9, "a dog", "u-e", "u-d", 1.0),
]
IMAGES = ["u-c", "u-a", "u-unused", "u-b", "u-d"]
VECTORS = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)


def published(given=GIVEN):
    user, caption, first, second, label = zip(*given, strict=True)
    n = len(given)
    return pl.DataFrame(
        {
            "are_different": [True] * n, "best_image_uid": first, "caption": caption,
            "created_at": [dt.datetime(2023, 1, 1)] * n, "has_label": [p is not None for p in label],
            "image_0_uid": first, "image_0_url": ["https://x"] * n, "image_1_uid": second,
            "image_1_url": ["https://y"] * n, "jpg_0": [b"\xff\xd8"] * n, "jpg_1": [b"\xff\xd8"] * n,
            "label_0": label, "label_1": [None if p is None else 1 - p for p in label], "model_0": ["sd"] * n,
            "model_1": ["xl"] * n, "ranking_id": range(n), "user_id": user, "num_example_per_prompt": [1] * n,
            "__index_level_0__": range(n),
        },
        schema_overrides={"label_0": pl.Float64, "label_1": pl.Float64},
    )  # fmt: skip


def write(folder, table=None):
    table = published() if table is None else table
    (folder / "data").mkdir(exist_ok=True)
    table[:3].write_parquet(folder / "data" / "train-00000-of-00002-0a.parquet")
    table[3:].write_parquet(folder / "data" / "train-00001-of-00002-0b.parquet")
    published(GIVEN[:1]).write_parquet(folder / "data" / "validation_unique-00000-of-00001.parquet")
    return folder


def embedded(path, uids=IMAGES, vectors=VECTORS, **changed):
    pl.DataFrame({"image_uid": uids, "embedding": list(vectors)} | changed).write_parquet(path)
    return str(path)


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path)


@pytest.fixture
def vectors(tmp_path):
    return embedded(tmp_path / "clip.parquet")


def told(made):
    return sorted(made.collect().select("user_id", "prompt", "chosen_uid", "rejected_uid", "label").rows())


CAT = "a cat 猫"
PAIRS = [("7", CAT, "u-b", "u-a", 1), ("7", CAT, "u-c", "u-b", 1)]
PAIRS += [("8", "a dog", "u-a", "u-d", 1), ("9", "a dog", "u-e", "u-d", 1)]


def test_the_preferred_with_the_other(folder):
    made = frames(folder)
    assert told(made) == PAIRS
    assert made.dropped == {
        "comparisons without a label": 1, "comparisons under a blank caption": 1,
        "comparisons of an image with itself": 1, "ties": 1,
    }  # fmt: skip
    assert ("8", CAT, "u-c", "u-a", 0.5) in told(frames(folder, ties="keep"))
    rows = made.collect().sort("ranking_id")
    assert rows["chosen_model"].to_list() == ["sd", "xl", "xl", "sd"]
    assert rows["rejected_model"].to_list() == ["xl", "sd", "sd", "xl"]
    assert sorted(made.users["user_id"]) == ["7", "8", "9"]
    assert told(frames(folder, split="validation_unique")) == PAIRS[:1]


def test_sides_are_rows_of_images_under_captions(folder):
    items = sorted({(p[side], p[1]) for p in PAIRS for side in (2, 3)})  # by uid, then caption
    rows = frames(folder).collect()
    for side in ("chosen", "rejected"):
        expected = [items.index((uid, prompt)) for uid, prompt in rows.select(f"{side}_uid", "prompt").iter_rows()]
        assert rows[side].to_list() == expected


def test_vectors_to_comparisons(folder, vectors, tmp_path):
    made = frames(folder, vectors=vectors)
    assert told(made) == PAIRS[:3]
    assert made.dropped["comparisons with an image without a vector"] == 1
    data = load("pick_a_pic", folder, vectors=vectors, embeddings=tmp_path / "items.npy")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.parquet", "data", "items.npy"]
    rows = made.collect()
    of = dict(zip(IMAGES, VECTORS, strict=True))
    for row in range(len(data)):
        won = data.first if data.label[row] == 1 else data.second
        lost = data.second if data.label[row] == 1 else data.first
        assert (data.items[won[row]] == of[rows["chosen_uid"][row]]).all()
        assert (data.items[lost[row]] == of[rows["rejected_uid"][row]]).all()
    assert len(np.unique(data.prompt)) == 2


def test_images_need_vectors_and_a_place_for_them(folder, vectors, tmp_path):
    with pytest.raises(pl8.InputError, match="items are rows of vectors; give vectors= and"):
        load("pick_a_pic", folder, vectors=vectors)
    with pytest.raises(pl8.InputError, match="name an encoder, or give vectors="):
        load("pick_a_pic", folder, embeddings=tmp_path / "items.npy")


def test_the_commands_of_the_card(folder, vectors, tmp_path, command):
    done = command("data", "pick_a_pic", folder, "--out", tmp_path / "pic", "--set", f"vectors={vectors}", "--json")
    assert (done.code, done.err) == (0, "")
    files = [tmp_path / "pic" / "comparisons.parquet", "--users", tmp_path / "pic" / "users.parquet"]
    done = command(
        "embed", *files, "--embeddings", tmp_path / "pic" / "embeddings.npy", "--out", tmp_path / "store", "--json"
    )
    assert done.code == 0
    assert "columns not read: ranking_id, chosen_uid, chosen_model" in done.err
    assert len(pl8.Comparisons.load(tmp_path / "store")) == 3


def test_uids_are_never_embedded_as_texts(folder, letters):
    with pytest.raises(InputError, match=r"row 1: chosen is .* where text belongs"):
        load("pick_a_pic", folder, encoder=letters)


def test_pieces_are_one_matrix(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("plurality.datasets.pick_a_pic.BATCH", 2)
    whole = embedded(tmp_path / "clip.parquet")
    made = frames(folder, vectors=whole)
    path = write_vectors(made, whole, tmp_path / "out.npy")
    items = ["u-a", "u-a", "u-b", "u-c", "u-d"]
    np.testing.assert_array_equal(np.load(path), VECTORS[[IMAGES.index(uid) for uid in items]])


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"image_uid": ["u-a"] * 5}, r"bad\.parquet: row 2: image_uid is that of an earlier row; keep one of them"),
        ({"image_uid": list("vwxyz")}, r"bad\.parquet: 5 images have no vector, u-a among them; make the frames with"),
        ({"embedding": [[1.0, 2.0]] * 4 + [[1.0]]}, "row 5: embedding is not 2 finite numbers; embed the image again"),
        ({"embedding": [[1.0, 2.0]] * 4 + [[1.0, np.nan]]}, "row 5: embedding is not 2 finite numbers"),
        ({"embedding": [1.0] * 5}, r"row 1: embedding is 1\.0 where a list of a number belongs"),
    ],
)
@pytest.mark.parametrize("batch", [2, 99])
def test_vectors_that_are_wrong(folder, vectors, tmp_path, monkeypatch, changed, message, batch):
    monkeypatch.setattr("plurality.datasets.pick_a_pic.BATCH", batch)
    made = frames(folder, vectors=vectors)
    bad = embedded(tmp_path / "bad.parquet", **changed)
    with pytest.raises(InputError, match=message):
        write_vectors(made, bad, tmp_path / "out.npy")
    assert not (tmp_path / "out.npy").exists()


def test_what_is_an_error(folder):
    with pytest.raises(InputError, match="split='dev' is unknown; choose train, validation, test"):
        frames(folder, split="dev")
    write(folder, published().with_columns(label_1=pl.lit(1.0)))
    with pytest.raises(InputError, match=r"row 1: label_0, label_1 are none of 1, 0 and 0, 1 and 0\.5, 0\.5; correct"):
        frames(folder)
    write(folder, published().drop("caption"))
    with pytest.raises(InputError, match="column caption is missing, the columns are are_different, best_image_uid"):
        frames(folder)
    write(folder, published().with_columns(image_1_uid=pl.concat_list("image_1_uid")))
    with pytest.raises(InputError, match=r"row 1: image_1_uid is \['u-a'\] where an id"):
        frames(folder)
