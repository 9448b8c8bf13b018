"""`plurality export` against the Python functions, and its one line on bad input."""

import json

import pytest
from safetensors.torch import load_file

import plurality as pl8
from plurality.rl.huggingface import export_baked

TABLE = "{}/users.parquet"


@pytest.fixture(scope="module")
def saved(backbone, fitted, table, tmp_path_factory):
    """A reward's folder with the users table beside it."""
    folder = tmp_path_factory.mktemp("reward")
    fitted(pl8.LowRank(rank=2, decay=3.0), backbone("qwen2")).save_pretrained(folder / "reward")
    table.write_parquet(folder / "users.parquet")
    return folder


@pytest.mark.parametrize(
    ("whose", "asked"),
    [
        (["--user", "u4"], {"user": "u4"}),
        (["--population"], {}),
        (
            ["--group", "camp=few", "--users", "{}/users.parquet"],
            {"group": ("camp", "few"), "users": "{}/users.parquet"},
        ),
    ],
)
def test_it_writes_what_python_writes(saved, whose, asked, command, tmp_path):
    def there(value):
        return value.format(saved) if isinstance(value, str) else value

    done = command("export", saved / "reward", "--kind", "baked", "--out", tmp_path / "a", *map(there, whose), "--json")
    assert done.code == 0, done.err
    printed = json.loads(done.out)
    expected = export_baked(
        pl8.load(saved / "reward"), tmp_path / "b", **{key: there(value) for key, value in asked.items()}
    )
    assert printed["parity"]["max_difference"] == expected.parity.max_difference
    assert printed["folder"] == str(tmp_path / "a")
    one, two = (load_file(tmp_path / name / "model.safetensors")["score.weight"] for name in "ab")
    assert one.equal(two)


@pytest.mark.parametrize("kind", ["custom", "adapters"])
def test_the_other_kinds_need_nobody_named(saved, kind, command, tmp_path):
    done = command("export", saved / "reward", "--kind", kind, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert f"{kind}, " in done.out
    again = command("export", saved / "reward", "--kind", kind, "--user", "u1", "--out", tmp_path / "out")
    assert again.code == 0, again.err  # what this command wrote it may replace


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--kind", "baked"], "holds one reward; give --user, --group or --population"),
        (["--kind", "baked", "--user", "nobody"], "'nobody'"),
        (["--kind", "baked", "--group", "few"], "write it as COLUMN=VALUE"),
        (["--kind", "baked", "--group", "camp=few"], "(--users)"),
        (["--kind", "adapters", "--group", "camp=few"], "adapters are of users"),
        (["--kind", "baked", "--population", "--user", "u1"], "not allowed with"),
        (["--kind", "gguf"], "invalid choice"),
        (["--kind", "baked", "--population", "--tolerance", "0"], "utility gaps differ"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(saved, arguments, message, command, tmp_path):
    done = command("export", saved / "reward", "--out", tmp_path / "out", *arguments)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_left_alone(saved, command, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("years")
    done = command("export", saved / "reward", "--kind", "baked", "--population", "--out", tmp_path / "out")
    assert (done.code, done.out) == (2, "")
    assert (tmp_path / "out" / "thesis.txt").read_text() == "years"
