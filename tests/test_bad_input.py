"""Bad input never becomes a number: exit code 2, one line that names place and remedy, and no output left behind."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import save_file

import plurality
from plurality.encoders import LsaSpec
from plurality.errors import InputError

TEXTS = pl.DataFrame(
    {
        "user_id": ["ann", "bob", "ann", "cyd", "bob", "cyd"],
        "prompt": ["tea?", "tea?", "rain?", "rain?", "bread?", "bread?"],
        "chosen": ["green tea", "mint tea", "an umbrella", "stay in", "rye bread", "white bread"],
        "rejected": ["mint tea", "green tea", "stay in", "an umbrella", "white bread", "rye bread"],
    }
)
ROWS = pl.DataFrame(
    {"user_id": ["ann", "bob", "ann"], "first": [0, 2, 3], "second": [1, 1, 0], "label": [1.0, 0.0, 0.5]}
)
VECTORS = np.eye(4, 3, dtype=np.float32)
LABELLED = TEXTS.rename({"chosen": "first", "rejected": "second"}).with_columns(label=pl.lit(1.0))
PREDICTIONS = pl.DataFrame({"user_id": ["ann", "bob", "ann"], "prob_first": [0.6, 0.7, 0.2], "label": [1, 1, 0]})


@dataclass(frozen=True)
class Place:
    """Where a test writes bad input, and where the good store, models and tables are."""

    here: Path
    good: Path

    def parquet(self, frame: pl.DataFrame, name="bad.parquet") -> Path:
        frame.write_parquet(self.here / name)
        return self.here / name

    def file(self, name, content) -> Path:
        path = self.here / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def vectors(self, array, name="vectors.npy") -> Path:
        np.save(self.here / name, array)
        return self.here / name

    def copy(self, name) -> Path:
        """A copy of a good folder, to be damaged."""
        return Path(shutil.copytree(self.good / name, self.here / name))

    @property
    def out(self) -> Path:
        return self.here / "deep" / "out"


@pytest.fixture(scope="module")
def good(town, command, tmp_path_factory):
    """A store and a model on texts, the same on ready-made embeddings, and the tables of the town."""
    folder = tmp_path_factory.mktemp("good")
    place = Place(folder, town)
    rows, vectors = place.parquet(ROWS, "rows.parquet"), place.vectors(VECTORS)
    for arguments in (
        ["embed", town / "comparisons.parquet", "--users", town / "users.parquet", "--dim", 16],
        ["embed", rows, "--embeddings", vectors],
        ["fit", "bradley_terry", folder / "embed", "--set", "decay=3", "--set", "temperature=true"],
        ["fit", "bradley_terry", folder / "embed2", "--set", "decay=3"],
    ):
        name = arguments[0] if not (folder / arguments[0]).exists() else f"{arguments[0]}2"
        assert command(*arguments, "--out", folder / name).code == 0
    (folder / "embed").rename(folder / "store")
    (folder / "fit").rename(folder / "reward")
    (folder / "fit2").rename(folder / "reward_of_vectors")
    for table in town.iterdir():
        shutil.copy(table, folder)
    return folder


def embed(frame=TEXTS, name="bad.parquet", **columns):
    """`embed` of a table of which some columns are other ones."""

    def arguments(place):
        return ["embed", place.parquet(frame.with_columns(**columns), name), "--out", place.out]

    return arguments


def embed_file(name, content, *more):
    return lambda place: ["embed", place.file(name, content), *more, "--out", place.out]


def users(frame):
    """`embed` of good comparisons with another users table."""
    table = pl.DataFrame(frame)
    return lambda p: ["embed", p.parquet(TEXTS), "--users", p.parquet(table, "users.parquet"), "--out", p.out]


def ready_made(vectors, frame=ROWS, name="vectors.npy"):
    return lambda p: ["embed", p.parquet(frame), "--embeddings", p.vectors(vectors, name), "--out", p.out]


def with_values(name, values, frame=TEXTS):
    return embed(frame, **{name: pl.Series(values, strict=False)})


def spoilt(value):
    vectors = VECTORS.copy()
    vectors[2, 1] = value
    return vectors


def saved_bytes(place, name):
    save_file({"embeddings": VECTORS}, place.here / name)
    return (place.here / name).read_bytes()


TABLES = {
    "a column is missing": (embed(TEXTS.drop("user_id")), "bad.parquet: column user_id is missing", "add or rename it"),
    "the prompt is missing": (embed(TEXTS.drop("prompt")), "bad.parquet: column prompt is missing", "add it"),
    "a side is missing": (embed(TEXTS.drop("rejected")), "column rejected is missing", "add or rename it"),
    "labels are missing": (embed(LABELLED.drop("label")), "column label is missing", "add or rename it"),
    "numbers for texts": (with_values("chosen", range(6)), "chosen is a number (Int64) where text", "give strings"),
    "lists for texts": (with_values("prompt", [["a", "b"]] * 6), "row 1: prompt is a list", "give strings, or chat"),
    "a number among texts": (
        embed_file("bad.jsonl", json.dumps({**TEXTS.row(0, named=True)}) + '\n{"user_id": "bob", "prompt": 7}\n'),
        "bad.jsonl: row 2: prompt is a number, in the rows before it is text",
        "make it one or the other",
    ),
    "a line that is not JSON": (embed_file("bad.jsonl", '{"user_id": "a"}\n{"user_id'), "row 2: the line is not JSON"),
    "an empty text": (with_values("chosen", [*"abcd", " \n", "f"]), "row 5: chosen is empty", "or drop the row"),
    "no text at all": (with_values("prompt", ["a", None, *"cdef"]), "row 2: prompt is null", "fill it in or drop"),
    "an empty user": (with_values("user_id", [*"abcde", ""]), "row 6: user_id is empty", "fill it in"),
    "users are not ids": (with_values("user_id", [0.5] * 6), "user_id is a number (Float64)", "give text or whole"),
    "both sides the same": (
        with_values("rejected", [*TEXTS["rejected"][:3], "stay in", *TEXTS["rejected"][4:]]),
        "bad.parquet: row 4: chosen and rejected are the same",
        "drop the row",
    ),
    "a label above 1": (
        with_values("label", [1, 0, 0.5, 1.2, 1, 7.0], LABELLED),
        "bad.parquet: row 4: label lies outside [0, 1] (2 rows in all)",
        "give P(first preferred)",
    ),
    "a label that prefers the rejected": (with_values("label", [1, 0.2, 1, 1, 1, 1]), "row 2: label lies outside [0.5"),
    "a label that is not a number": (with_values("label", [1, np.nan, 1, 1, 1, 1], LABELLED), "row 2: label is NaN"),
    "labels in words": (with_values("label", ["1", "yes", *"1111"], LABELLED), "row 2: label is not a number"),
    "a weight of 0": (with_values("weight", [1, 1, 0, 1, 1, 1]), "row 3: weight is not positive"),
    "a weight of 1e200": (with_values("weight", [1, 1, 1e200, 1, 1, 1]), "row 3: weight lies outside [1e-12, 1e+12]"),
    "a strength of 2": (with_values("strength", [1, 1, 1, 1, 1, 2]), "row 6: strength lies outside (0, 1]"),
    "no rows": (embed(TEXTS.clear()), "bad.parquet has no rows", "give a table"),
    "a user twice": (
        users({"user_id": ["ann", "bob", "bob", "cyd"]}),
        "users.parquet: row 3: user_id 'bob' appears twice",
        "keep one row a user",
    ),
    "a user who is not in the table": (
        users({"user_id": ["ann", "bob"]}),
        "bad.parquet: row 4: user 'cyd' is not in",
        "users.parquet (2 rows in all); add every user",
    ),
    "a users table without users": (users({"name": ["ann"]}), "users.parquet: column user_id is missing", "add or"),
}
FILES = {
    "a file that is not there": (
        lambda p: ["embed", p.here / "none.parquet", "--out", p.out],
        "none.parquet does not exist",
        "give the path of the comparisons",
    ),
    "a users table that is not there": (
        lambda p: ["embed", p.parquet(TEXTS), "--users", p.here / "none.csv", "--out", p.out],
        "none.csv does not exist",
        "give the path of the users",
    ),
    "a folder where a file belongs": (
        lambda p: ["embed", p.good, "--out", p.out],
        "is a folder without meta.json",
        "give a file",
    ),
    "a damaged table": (
        embed_file("bad.parquet", b"PAR1" + b"\0" * 50),
        "bad.parquet cannot be read",
        "write the file again",
    ),
    "a format nobody knows": (embed_file("bad.xlsx", b"x"), "bad.xlsx: the format .xlsx is unknown", "give .parquet"),
    "an output folder below a file": (
        lambda p: ["embed", p.parquet(TEXTS), "--out", p.file("file", "") / "out"],
        "file/out: cannot be written (Not a directory)",
        "choose another place",
    ),
    "an output folder that is a file": (
        lambda p: ["fit", "pal", p.good / "store", "--out", p.file("file", "mine")],
        "file: exists and was not written by this command",
        "choose another output folder",
    ),
    "an output file below a file": (
        lambda p: [
            "score", p.good / "reward", p.good / "candidates.parquet", "--out", p.file("file", "") / "s.parquet",
        ],
        "file/s.parquet: cannot be written (Not a directory)",
        "choose another place",
    ),
    "a model nobody has": (
        lambda p: ["embed", p.parquet(TEXTS), "--encoder", "nobody/nothing", "--out", p.out],
        "model 'nobody/nothing' cannot be had from the hub",
        "give a local folder",
    ),
    "a model folder that is not there": (
        lambda p: ["embed", p.parquet(TEXTS), "--encoder", p.here / "model", "--out", p.out],
        "model does not exist",
        "give an existing model folder or a hub id",
    ),
    "texts of which none recurs": (
        embed(TEXTS.head(1), chosen=pl.lit("one"), rejected=pl.lit("two")),
        "no term occurs in 2 of 2 unique texts",
        "give more texts or min_df=1",
    ),
}  # fmt: skip
EMBEDDINGS = {
    "a NaN": (ready_made(spoilt(np.nan)), "vectors.npy: embedding 2 (from 0) holds NaN or infinite", "embed its text"),
    "an infinity": (ready_made(spoilt(-np.inf)), "vectors.npy: embedding 2 (from 0)", "embed its text again"),
    "fewer than items": (
        ready_made(VECTORS[:3]),
        "bad.parquet: row 3: first is 3, but embeddings have 3 rows (0 to 2)",
        "are of different length: give the embeddings of every item",
    ),
    "texts beside them": (
        ready_made(VECTORS, TEXTS),
        "bad.parquet: chosen is text, but with ready-made embeddings it is the row number",
        "name an encoder",
    ),
    "of one dimension": (ready_made(VECTORS[0]), "shape (3,) are not a matrix", "give (items, dimensions)"),
    "of whole numbers": (ready_made(VECTORS.astype(int)), "of type int64 are not floats", "give float32"),
    "that are not there": (
        lambda p: ["embed", p.parquet(ROWS), "--embeddings", p.here / "none.npy", "--out", p.out],
        "none.npy does not exist",
        "give the file",
    ),
    "in a format nobody knows": (
        lambda p: ["embed", p.parquet(ROWS), "--embeddings", p.file("v.pt", b""), "--out", p.out],
        "v.pt: embeddings in .pt are a pickle, which can run code",
        "and give v.safetensors",
    ),
    "cut short (npy)": (
        lambda p: ["embed", p.parquet(ROWS), "--embeddings",
                   p.file("cut.npy", p.vectors(VECTORS).read_bytes()[:-5]), "--out", p.out],
        "cut.npy cannot be read",
        "save the embeddings again",
    ),
    "cut short (safetensors)": (
        lambda p: ["embed", p.parquet(ROWS), "--embeddings",
                   p.file("cut.safetensors", saved_bytes(p, "v.safetensors")[:-1]), "--out", p.out],
        "cut.safetensors is truncated",
        "copy it again",
    ),
    "for another model": (
        lambda p: ["adapt", p.good / "reward", p.parquet(ROWS), "--embeddings", p.vectors(VECTORS), "--out", p.out],
        "embeddings have shape (4, 3), but the model was fitted on width 16",
    ),
    "that texts cannot join": (
        lambda p: ["score", p.good / "reward_of_vectors", p.good / "candidates.parquet", "--out", p.here / "s.parquet"],
        "fitted on ready-made embeddings",
        "give embeddings instead",
    ),
}  # fmt: skip


def score(frame_of):
    """`score` of candidates that are changed."""

    def arguments(place):
        candidates = frame_of(pl.read_parquet(place.good / "candidates.parquet"))
        return ["score", place.good / "reward", place.parquet(candidates), "--out", place.here / "scored.parquet"]

    return arguments


def audit(frame=PREDICTIONS, *more, **columns):
    def arguments(place):
        extra = [part(place) if callable(part) else part for part in more]
        return ["audit", place.parquet(frame.with_columns(**columns)), *extra, "--n-bootstrap", 5, "--out", place.out]

    return arguments


def table_of(**columns):
    return lambda place: place.parquet(pl.DataFrame(columns), "users.parquet")


USES = {
    "fit on what is not a store": (
        lambda p: ["fit", "pal", p.good, "--out", p.out],
        "is not a store, it has no meta.json",
        "give a folder that was saved",
    ),
    "fit on a file": (
        lambda p: ["fit", "pal", p.good / "users.parquet", "--out", p.out],
        "users.parquet is not a store",
        "give a folder",
    ),
    "prompts that were not embedded": (
        lambda p: ["fit", "pal", p.good / "store", "--set", "form=B", "--out", p.out],
        "this model looks at prompts, but they are not embedded",
        "plurality embed --prompts",
    ),
    "a split that leaves nobody to train on": (
        lambda p: ["compare", p.good / "store", "--unseen-users", 0.99, "--out", p.out],
        "store: the split by prompt leaves the training part empty",
        "change the test share or split by another unit",
    ),
    "a split that leaves nothing to test on": (
        lambda p: ["compare", p.good / "embed2", "--out", p.out],
        "embed2: the split by prompt leaves no test comparison",
        "give a larger test share",
    ),
    "an unknown user": (
        score(lambda c: c),
        "6 users are not known to this model, first 'user-0024'",
        "--unknown population",
    ),
    "candidates without a completion": (
        score(lambda c: c.drop("completion")),
        "bad.parquet: column completion is missing",
        "add or rename it",
    ),
    "candidates of which nothing can be seen": (  # one among others has no reward, and a note counts it
        score(lambda c: c.head(2).with_columns(completion=pl.Series(["<think>tea", ""]))),
        "bad.parquet: nothing can be seen of any completion",
        "give replies",
    ),
    "a store for a model": (
        lambda p: ["score", p.good / "store", p.good / "candidates.parquet", "--out", p.here / "s.parquet"],
        "store: no fitted model here (config.json is missing)",
        "give a folder `fit` wrote",
    ),
    "comparisons for candidates": (
        lambda p: ["adapt", p.good / "reward", p.good / "candidates.parquet", "--out", p.out],
        "candidates.parquet: columns chosen and rejected",
        "add or rename them",
    ),
    "predictions without labels": (
        audit(PREDICTIONS.drop("label")),
        "bad.parquet: no column label, found 'user_id'",
        "add it",
    ),
    "a probability of 2": (audit(prob_first=pl.Series([0.5, 0.5, 2.0])), "prob_first is 2.0 in row 2 (first row is 0)"),
    "a probability that is NaN": (audit(prob_first=pl.Series([0.5, np.nan, 1.0])), "NaN or infinite in row 1", "mend"),
    "log-odds that disagree": (audit(gap=pl.Series([0.4055, 0.8473, 1.4])), "disagree in row 2", "gap is the log-odds"),
    "a user twice in the audit": (
        audit(PREDICTIONS, "--users", table_of(user_id=["ann", "bob", "bob"], age=[1, 2, 3])),
        "users.parquet: user_id 'bob' stands on 2 rows",
        "keep one row a user",
    ),
    "an attribute nobody has": (
        audit(PREDICTIONS, "--users", table_of(user_id=["ann", "bob"], age=["30", "40"]), "--by", "height"),
        "'height' is no attribute of the users table; it has 'age'",
    ),
    "a demo on a folder without data": (
        lambda p: ["demo", "--data", p.here, "--out", p.out],
        "comparisons.parquet does not exist",
        "give the path of the comparisons",
    ),
    "a demo on data without users": (
        lambda p: ["demo", "--data", p.parquet(TEXTS.drop("user_id"), "comparisons.parquet").parent, "--out", p.out],
        "comparisons.parquet: column user_id is missing",
        "add or rename it",
    ),
    "a recipe that is not there": (
        lambda p: ["reproduce", p.here / "models" / "pal"],
        "models/pal/recipe.toml: No such file or directory",
        "give a family such as pal, or a folder such as models/pal",
    ),
    "predictions that are not there": (
        lambda p: ["audit", p.here / "none.parquet", "--out", p.out],
        "none.parquet does not exist",
        "give the path of the predictions",
    ),
    "predictions that are a folder": (
        lambda p: ["audit", p.good / "store", "--out", p.out],
        "store is a folder",
        "give a file (.parquet, .feather, .jsonl, .csv",
    ),
    "predictions that are damaged": (
        lambda p: ["audit", p.file("bad.parquet", b"PAR1"), "--out", p.out],
        "bad.parquet cannot be read",
        "write the file again",
    ),
}
CASES = {**TABLES, **FILES, **{f"embeddings {name}": case for name, case in EMBEDDINGS.items()}, **USES}


def everything(folder):
    return {path: path.is_file() and path.read_bytes() for path in folder.rglob("*")}


def fails_with(done, *fragments):
    """Exit code 2 and one line on stderr with all of these in it."""
    assert (done.code, done.out) == (2, ""), done
    assert done.err.startswith("plurality: ")
    assert done.err.count("\n") == 1, done.err
    for fragment in fragments:
        assert fragment in done.err


@pytest.mark.parametrize("name", CASES)
def test_one_line_and_nothing_left_behind(good, command, tmp_path, monkeypatch, name):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    make, *fragments = CASES[name]
    arguments = make(Place(tmp_path, good))
    before = everything(tmp_path)
    fails_with(command(*arguments), *fragments)
    assert everything(tmp_path) == before


STORE_FILES = ("comparisons.parquet", "users.parquet", "items.parquet", "embeddings.safetensors", "meta.json")
MODEL_FILES = ("config.json", "head.safetensors", "users.parquet")
CUTS = (0, 7, 60, 0.5, -2)  # bytes kept, a share of them, or bytes lost


def cut(path, where):
    content = path.read_bytes()
    path.write_bytes(content[: int(where * len(content)) if 0 < where < 1 else where])


@pytest.mark.parametrize("where", CUTS)
@pytest.mark.parametrize("file", STORE_FILES)
def test_a_store_cut_short(good, command, tmp_path, file, where):
    place = Place(tmp_path, good)
    cut(place.copy("store") / file, where)
    fails_with(command("fit", "pal", tmp_path / "store", "--out", place.out), "store", "again")
    assert not place.out.parent.exists()


@pytest.mark.parametrize("where", CUTS)
@pytest.mark.parametrize("file", [*MODEL_FILES, "encoder/encoder.json", "encoder/encoder.safetensors"])
def test_a_model_cut_short(good, command, tmp_path, file, where):
    place, out = Place(tmp_path, good), tmp_path / "scored.parquet"
    cut(place.copy("reward") / file, where)
    done = command("score", tmp_path / "reward", good / "candidates.parquet", "--unknown", "population", "--out", out)
    fails_with(done, str(tmp_path / "reward"), "again")
    assert not out.exists()


@pytest.mark.parametrize(
    ("folder", "record"), [("store", "meta.json"), ("reward", "config.json"), ("reward", "encoder/encoder.json")]
)
def test_files_of_a_newer_version(good, command, tmp_path, folder, record):
    place = Place(tmp_path, good)
    path = place.copy(folder) / record
    path.write_text(json.dumps({**json.loads(path.read_text()), "schema_version": 99}))
    if folder == "store":
        done = command("compare", tmp_path / "store", "--out", place.out)
    else:
        arguments = ["adapt", tmp_path / "reward", good / "new_users.parquet", "--out", place.out]
        fails_with(command(*arguments), str(tmp_path / folder))
        done = command(*arguments, "--no-verify")
    fails_with(done, str(tmp_path / folder), "99", "upgrade")
    assert not place.out.parent.exists()


def test_another_encoder_than_the_model_s(good):
    """An lsa of the same width, fitted on other texts, gives other numbers without another sign of it."""
    model = plurality.load(good / "reward")
    new = plurality.read(good / "new_users.parquet", encoder=LsaSpec(dim=16))
    assert new.dim == model.head.n_embedding
    for use in (model.adapt, model.prefer):
        with pytest.raises(InputError, match=r"embedded by lsa .* the model was fitted on lsa .*; embed again with"):
            use(new)
    assert len(model.adapt(plurality.read(good / "new_users.parquet", encoder=model.encoder)).user_ids) == 30


def test_repeated_rows_count_once_unless_they_are_kept(command, tmp_path):
    place = Place(tmp_path, tmp_path)
    table = place.parquet(pl.concat([TEXTS, TEXTS[1:3], TEXTS[2:3]]))
    arguments = ["embed", table, "--dim", 2, "--out", tmp_path / "store", "--json"]
    dropped, kept = command(*arguments), command(*arguments, "--repeats", "keep")
    note = "3 rows repeat another in every column and are dropped"
    told = f'note: {table}: {note}; read with repeats="keep" if they count'
    zero = "note: lsa: 2 of 6 completions (33.3%) get a zero vector"  # two texts of words that no other has
    for done, notes in ((dropped, [told, zero]), (kept, [zero])):
        for line, begins in zip(done.err.splitlines(), notes, strict=True):
            assert line.startswith(begins)
    counts = [[json.loads(done.out)[key] for key in ("comparisons", "duplicates_dropped")] for done in (dropped, kept)]
    assert counts == [[6, 3], [9, 0]]
    assert len(plurality.Comparisons.load(tmp_path / "store")) == 9
