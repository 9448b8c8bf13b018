"""Every command from end to end on a small population, its numbers against those of the Python API."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from polars.testing import assert_frame_equal

import plurality
from plurality.analyses.audit.slices import Disclosure
from plurality.cli import COMMANDS, main, parse
from plurality.cli.settings import spec_of
from plurality.encoders import LsaSpec
from plurality.models import PAL, BradleyTerry

SPEC, SETTINGS = PAL(n_prototypes=2, decay=3.0), ["--set", "n_prototypes=2", "--set", "decay=3"]
COMPARED = [
    *["--models", "pal", "--set", "pal.n_prototypes=2", "--set", "pal.decay=3"],
    *["--no-shuffled", "--n-bootstrap", 40],
]


def strict(text):
    """One JSON object on one line, without NaN, which JSON has not."""
    assert text.count("\n") == 1
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def steps(town, folder):
    """The README's commands, sized down."""
    users = town / "users.parquet"
    return {
        "embed": [town / "comparisons.parquet", "--users", users, "--dim", 16, "--out", folder / "store"],
        "fit": ["pal", folder / "store", "--out", folder / "reward", *SETTINGS],
        "compare": [folder / "store", "--out", folder / "compare", *COMPARED],
        "audit": [folder / "compare" / "predictions.parquet", "--users", users, "--by", "gender,conversation",
                  "--min-users-flag", 5, "--min-users-show", 3, "--n-bootstrap", 40, "--out", folder / "audit"],
        "adapt": [folder / "reward", town / "new_users.parquet", "--out", folder / "reward2"],
        "score": [folder / "reward2", town / "candidates.parquet", "--out", folder / "scored.parquet"],
    }  # fmt: skip


@pytest.fixture(scope="module")
def road(town, command, tmp_path_factory):
    """The folder of a walk through all commands, and what each printed with --json."""
    folder = tmp_path_factory.mktemp("road")
    printed = {}
    for name, arguments in steps(town, folder).items():
        done = command(name, *arguments, "--json")
        said = [line for line in done.err.splitlines() if "too few to hold items out" not in line]  # so small a town
        assert (done.code, said) == (0, []), done
        printed[name] = strict(done.out)
    return folder, printed


@pytest.fixture(scope="module")
def data(town):
    return plurality.read(town / "comparisons.parquet", users=town / "users.parquet", encoder=LsaSpec(dim=16))


@pytest.fixture(scope="module")
def model(data):
    return SPEC.fit(data)


def same_model(a, b):
    assert a.spec == b.spec
    assert_frame_equal(a.users, b.users)  # the determinants in it may round by where memory lies
    for name in ("codes", "covariance"):
        assert torch.equal(getattr(a.posterior, name), getattr(b.posterior, name))
    for name, value in a.head.state_dict().items():
        assert torch.equal(value, b.head.state_dict()[name])


def test_embed_writes_what_read_gives(road, data):
    folder, printed = road
    store = plurality.Comparisons.load(folder / "store")
    np.testing.assert_array_equal(store.items, data.items)
    assert store.items.ctypes.data % 64 == 0  # as fresh memory lies, since products round by that
    for name in ("first", "second", "user", "label", "weight", "group"):
        np.testing.assert_array_equal(getattr(store, name), getattr(data, name))
    assert store.users.equals(data.users)
    expected = {
        "comparisons": 288,
        "users": 24,
        "items": len(data.items),
        "dim": 16,
        "duplicates_dropped": 0,
        "columns_not_read": [],
        "shard": None,
    }
    assert printed["embed"] == {"store": str(folder / "store"), **expected}


def test_fit_writes_the_fitted_model(road, model):
    folder, printed = road
    same_model(plurality.load(folder / "reward"), model)
    assert printed["fit"]["users"] == 24
    assert printed["fit"]["seconds"] > 0


def test_compare_of_sizes_and_scores_of_another(road, data, command, tmp_path):
    """A table of scores by text and curves, as the Python API has them."""
    scores = data.texts.select("prompt", "completion").with_columns(score=pl.col("completion").str.len_chars())
    scores.write_csv(tmp_path / "scores.csv")
    more = [
        "--support",
        "0,2,5",
        "--support-draws",
        3,
        "--scorer",
        f"length={tmp_path / 'scores.csv'}",
        "--split",
        "item",
    ]
    models = ["--models", "bradley_terry", "--n-bootstrap", 10, "--out", tmp_path / "out", "--json"]
    done = command("compare", road[0] / "store", *more, *models)
    assert done.code == 0, done.err
    result = plurality.compare(
        data, [], scorers={"length": scores}, support=[0, 2, 5], support_draws=3, split="item", n_bootstrap=10
    )
    table = pl.read_parquet(tmp_path / "out" / "table.parquet")
    assert_frame_equal(table, result.table, abs_tol=1e-5)
    assert_frame_equal(pl.read_parquet(tmp_path / "out" / "few_shot.parquet"), result.curves, abs_tol=1e-5)
    assert (tmp_path / "out" / "few_shot.png").is_file()
    assert strict(done.out)["about"]["notes"] == result.about["notes"]


def test_compare_writes_the_table(road, data):
    folder, printed = road
    result = plurality.compare(data, {"pal": SPEC}, shuffled=False, n_bootstrap=40)
    table = pl.read_parquet(folder / "compare" / "table.parquet")
    close = {"abs_tol": 1e-6}  # float32 products round by where in memory a mapped store lies
    assert_frame_equal(table, result.table, **close)
    assert_frame_equal(pl.read_parquet(folder / "compare" / "predictions.parquet"), result.predictions, **close)
    assert_frame_equal(pl.DataFrame(printed["compare"]["table"], schema=table.schema), table.fill_nan(None))
    assert printed["compare"]["verdict"] == result.verdict
    assert (folder / "compare" / "comparison.png").read_bytes().startswith(b"\x89PNG")
    record = json.loads((folder / "compare" / "comparison.json").read_text())
    assert record["about"]["models"]["pal"] == repr(SPEC)


def test_audit_writes_the_report(road, town):
    folder, printed = road
    disclosure = Disclosure(min_users_flag=5, min_users_show=3)
    result = plurality.audit(
        folder / "compare" / "predictions.parquet",
        town / "users.parquet",
        by=["gender", "conversation"],
        n_bootstrap=40,
        disclosure=disclosure,
    )
    assert_frame_equal(pl.read_parquet(folder / "audit" / "audit.parquet"), result.table)
    assert result.meta["model"] == "bradley_terry"
    assert printed["audit"]["verdict"] == list(result.verdict)
    page = (folder / "audit" / "index.html").read_text()
    assert "conversation" in page
    assert "user-00" not in page


def test_adapt_and_score_agree_with_each_other_and_with_python(road, town, model):
    """Reward of the chosen − reward of the rejected is the utility gap of the comparison."""
    folder, printed = road
    support = plurality.read(town / "new_users.parquet", encoder=model.encoder)
    adapted = model.adapt(support)
    same_model(plurality.load(folder / "reward2"), adapted)
    assert printed["adapt"] == {"model": str(folder / "reward2"), "adapted": 6, "new": 6, "updated": 0,
                                "users": 30}  # fmt: skip
    scored = pl.read_parquet(folder / "scored.parquet")
    assert scored.drop("reward").equals(pl.read_parquet(town / "candidates.parquet"))
    assert printed["score"]["rows"] == scored.height == 144
    chosen, rejected = np.split(scored["reward"].to_numpy(), 2)
    gap = np.where(support.label == 1, 1, -1) * adapted.gap(support)
    np.testing.assert_allclose(chosen - rejected, gap, atol=1e-5)
    assert np.std(gap) > 0.2


def test_unknown_users_can_get_the_population_s_reward(road, town, command, tmp_path, model):
    folder, _ = road
    out = tmp_path / "scored.parquet"
    command("score", folder / "reward", town / "candidates.parquet", "--unknown", "population", "--out", out)
    scored = pl.read_parquet(out)
    items, row = scored.select("prompt", "completion").unique(maintain_order=True), "row"
    vectors = model.encoder.encode(items["prompt"].to_list(), items["completion"].to_list())
    expected = model.utility(vectors, ["nobody"], unknown="population")[0]
    places = scored.join(items.with_row_index(row), on=["prompt", "completion"], how="left", maintain_order="left")
    np.testing.assert_allclose(scored["reward"], expected[places[row]], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", COMMANDS)
def test_help(name, capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        main([name, "--help"])
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: plurality {name}")
    assert "--json" in shown
    assert " ".join(COMMANDS[name].split()) in " ".join(shown.split())


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(name in shown for name in COMMANDS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("fit gpt STORE --out O", "model 'gpt' is unknown; choose one of bradley_terry, dpl"),
        ("fit pal STORE --out O --set k=3", "--set k=3: pal has the settings .*; write one as name=value"),
        ("fit pal STORE --out O --set n_prototypes", "--set n_prototypes: pal has the settings"),
        ("fit pal STORE --out O --set n_prototypes=2.5", "'2.5' is not a whole number"),
        ("fit pal STORE --out O --set decay=strong", "'strong' is not a number"),
        ("fit pal STORE --out O --set form=C", "pal: form 'C' is unknown; choose A"),
        ("fit bradley_terry STORE --out O --set temperature=1", "give true or false"),
        ("fit pal STORE --out O --seed -1", "'-1' is not a whole number of 0 or more"),
        ("fit pal STORE --out O --device abacus", "'abacus' cannot be used here .*; leave it out for the CPU"),
        ("fit pal STORE", "required: --out; see `plurality fit --help`"),
        ("compare STORE --split star", r"--split: invalid choice: 'star' \(choose from .*; see `plurality compare --h"),
        ("compare STORE --models pal,gpt", "model 'gpt' is unknown"),
        ("compare STORE --set n_prototypes=2", "write MODEL.NAME=VALUE with a model of --models all"),
        ("compare STORE --set gpt.width=2", "write MODEL.NAME=VALUE"),
        ("compare STORE --set vpl.width=2", "--set width=2: vpl has the settings unit, n_codes"),
        ("compare STORE --test-size 1.5", "test share 1.5 must lie between 0 and 1"),
        ("compare STORE --unseen-users 1", "share of unseen users 1.0"),
        ("compare STORE --support 1,x", "'x' is not a whole number of 0 or more"),
        ("compare STORE --models bradley_terry --support 5,5", r"support=\[5, 5\] are not sizes"),
        ("compare STORE --scorer length", "write NAME=FILE"),
        ("compare STORE --scorer length=nowhere.csv", "nowhere.csv does not exist; give the path of the scores"),
        ("compare STORE --folds 6", r"folds=6, but a test share of 0.2 has 1 to 5"),
        ("compare STORE --folds 0", "'0' is not a whole number of 1 or more"),
        ("compare STORE --n-bootstrap none", "'none' is not a whole number of 1 or more"),
        ("embed X --out O --pooling last", "encoder lsa has no setting for --pooling; leave it out"),
        ("embed X --out O --max-length 9 --dim 4", "encoder lsa has no setting for --max-length; leave it out"),
        ("embed X --out O --embeddings E --encoder lsa", "ready-made embeddings need no encoder"),
        ("embed X --out O --embeddings E --dim 9", "ready-made embeddings need no encoder"),
        ("score M C --out scored.csv", "scored.csv: scores are written as parquet; give a name that ends in .parquet"),
        ("reward STORE", "invalid choice: 'reward'"),
    ],
)
def test_wrong_usage_is_one_line_and_costs_no_time(road, command, tmp_path, arguments, message):
    folder, _ = road
    places = {"STORE": folder / "store", "O": tmp_path / "out"}
    done = command(*(places.get(a, a) for a in arguments.split()))
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("plurality: ")
    assert done.err.count("\n") == 1
    assert re.search(message, done.err), done.err
    assert not list(tmp_path.iterdir())


def test_settings_are_read_by_their_type():
    assert spec_of("bradley_terry", ["temperature=true", "decay=none", "hidden=3"]) == BradleyTerry(3, True)
    assert spec_of("pal", ["decay=0.5", "form=B", "utility=angle"]) == PAL(form="B", utility="angle", decay=0.5)


def files(folder):
    return {p.relative_to(folder): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_same_seed_gives_the_same_files_and_another_seed_others(road, town, command, tmp_path):
    folder, _ = road
    before = {name: files(folder / name) for name in ("store", "reward", "reward2")}
    again = steps(town, tmp_path)
    for name in ("embed", "fit", "adapt"):
        assert command(name, *again[name]).code == 0
    assert {name: files(tmp_path / name) for name in before} == before
    command("fit", *again["fit"], "--seed", 1)
    assert files(tmp_path / "reward")[Path("head.safetensors")] != before["reward"][Path("head.safetensors")]


PEOPLE_READ = {
    "compare": ("Seen user, unseen prompt", "Other Shuf."),
    "audit": ("report: {folder}/audit/index.html",),
}


@pytest.mark.parametrize(("name", "out"), [("embed", "store"), ("fit", "reward"), ("compare", "compare"),
                                           ("audit", "audit"), ("adapt", "reward2")])  # fmt: skip
def test_a_second_run_replaces_the_first(road, town, command, name, out):
    folder, _ = road
    target = folder / out
    before = files(target)
    (target / "mine.txt").write_text("kept beside it by somebody")
    done = command(name, *steps(town, folder)[name])
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert f"{target}: holds mine.txt, which this command did not write; move it away" in done.err
    assert files(target) == {**before, Path("mine.txt"): b"kept beside it by somebody"}
    (target / "mine.txt").unlink()
    done = command(name, *steps(town, folder)[name])
    assert done.code == 0
    assert set(files(target)) == set(before)
    for said in PEOPLE_READ.get(name, ()):
        assert said.format(folder=folder) in done.out
    if name == "audit":
        assert max(map(len, done.out.split("\n"))) <= max(80, len(f"report: {folder}/audit/index.html"))
    assert sorted(p.name for p in folder.iterdir() if p.name.startswith(".")) == []


@pytest.mark.parametrize("name", ["embed", "fit", "compare", "audit", "adapt", "demo"])
def test_a_folder_of_something_else_is_left_alone(road, town, command, tmp_path, name):
    """Among it one of a Hugging Face model, which has a config.json as our models do."""
    folder, _ = road
    everything = {**steps(town, folder), "demo": []}
    target = tmp_path / "data"
    target.mkdir()
    (target / "config.json").write_text('{"model_type": "llama"}')
    (target / "comparisons.parquet").write_bytes(b"mine")
    before = files(tmp_path)
    done = command(name, *everything[name], "--out", tmp_path if name == "demo" else target)
    assert done.code == 2
    assert f"{target}: exists and was not written by this command; choose another output folder" in done.err
    assert files(tmp_path) == before


def test_the_folder_one_is_in_is_no_place_for_output(road, town, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = command("embed", *steps(town, tmp_path)["embed"][:-1], ".")
    assert done.err == "plurality: .: is where you are, or above it; choose another output folder\n"
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_demo(command, tmp_path):
    done = command("demo", "--users", 30, "--comparisons", 12, "--out", tmp_path / "demo", "--json")
    out = tmp_path / "demo"
    assert done.code == 0
    assert all(line.startswith("note: ") for line in done.err.splitlines())  # 30 people teach some families nothing
    assert strict(done.out) == {"report": str(out / "audit" / "index.html"), "out": str(out)}
    assert sorted(p.name for p in out.iterdir()) == ["audit", "compare", "data", "reward", "reward2", "scored.parquet",
                                                     "store"]  # fmt: skip
    assert pl.read_parquet(out / "scored.parquet").height == 12
    assert len(plurality.load(out / "reward2").user_ids) == 30


@pytest.mark.slow
def test_demo_on_one_s_own_data(town, command, tmp_path):
    out = tmp_path / "demo"
    done = command("demo", "--data", town, "--split", "item", "--out", out, "--json")
    assert done.code == 0, done.err
    given = pl.read_parquet(town / "comparisons.parquet")
    newcomer = pl.col("user_id") == given["user_id"][0]
    assert pl.read_parquet(out / "data" / "comparisons.parquet").equals(given.filter(~newcomer))
    assert pl.read_parquet(out / "data" / "new_user.parquet").equals(given.filter(newcomer).head(20))
    cells = pl.read_parquet(out / "compare" / "table.parquet")["cell"].unique()
    assert all("item" in cell for cell in cells)


def test_reproduce_sets_numbers_beside_golden_ones(command, tmp_path):
    """A number below its golden value is an error, after the whole table was shown."""
    recipe = """
        model = "bradley_terry"
        [[case]]
        name = "one taste"
        population = "taste_groups"
        settings = { decay = 30.0 }
        planted = { n_users = 12, shares = [1.0] }
    """
    (tmp_path / "recipe.toml").write_text(recipe)
    better = {"seen": {"expected": 0.6, "tol": 0.1, "source": "better than chance"}}
    perfect = {"unseen": {"expected": 1.01, "tol": 0.0, "source": "nobody"}}
    (tmp_path / "golden.json").write_text(json.dumps({"one taste": better}))
    done = command("reproduce", tmp_path, "--json")
    assert (done.code, done.err) == (0, "")
    (result,) = strict(done.out)["results"]
    assert result["holds"]
    assert 0.5 < result["measured"] <= 1
    (tmp_path / "golden.json").write_text(json.dumps({"one taste": better | perfect}))
    done = command("reproduce", tmp_path)
    assert done.code == 2
    assert done.err == f"plurality: {tmp_path}: 1 of 2 numbers miss their golden value\n"
    assert [line.split()[0] for line in done.out.splitlines()] == ["ok", "MISSED"]


def test_ids_of_a_csv_stay_text(command, tmp_path):
    """007 of the predictions is 007 of a users table in CSV, not 7."""
    ids = [f"{number:03}" for number in range(30)]
    rng = np.random.default_rng(0)
    predictions = pl.DataFrame({"user_id": ids * 4, "prob_first": rng.random(120), "label": rng.integers(0, 2, 120)})
    predictions.write_parquet(tmp_path / "predictions.parquet")
    pl.DataFrame({"user_id": ids, "half": ["a", "b"] * 15}).write_csv(tmp_path / "users.csv")
    arguments = [tmp_path / "predictions.parquet", "--users", tmp_path / "users.csv", "--n-bootstrap", 20]
    assert command("audit", *arguments, "--out", tmp_path / "audit").code == 0
    table = pl.read_parquet(tmp_path / "audit" / "audit.parquet").filter(attribute="half")
    assert set(table["level"]) == {"a", "b"}


def test_demo_stops_with_one_line(command, tmp_path):
    """Two people leave nobody to be unseen, which nothing is said of; one comparison cannot be split."""
    done = command("demo", "--users", 1, "--comparisons", 1, "--out", tmp_path / "demo", "--json")
    assert (done.code, done.out) == (2, "")
    assert done.err.count("plurality: ") == 1


def test_an_interruption_leaves_nothing_half_written(road, town, command, tmp_path, monkeypatch):
    folder, _ = road
    monkeypatch.setattr("plurality.rl.score_table.completions_of", interrupted)
    done = command("score", folder / "reward", town / "candidates.parquet", "--out", tmp_path / "scored.parquet")
    assert (done.code, done.err) == (130, "plurality: interrupted; nothing half-written is left\n")
    assert not list(tmp_path.iterdir())


def interrupted(*_):
    raise KeyboardInterrupt


def test_a_reader_that_has_gone_is_no_error(road, town, tmp_path, monkeypatch, capsys):
    """As `| head` does, after which the output is there all the same."""
    folder, _ = road
    arguments = [*steps(town, folder)["score"][:-1], tmp_path / "scored.parquet"]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        monkeypatch.setattr(sys, "stdout", gone)
        assert main(["score", *map(str, arguments)]) == 0
    assert pl.read_parquet(tmp_path / "scored.parquet").height == 144
    assert capsys.readouterr().err == ""


def test_a_terminal_without_the_signs_still_gets_the_table(road, town, monkeypatch):
    folder, _ = road
    screen = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(screen, encoding="ascii"))
    assert main(["embed", *map(str, steps(town, folder)["embed"])]) == 0
    assert b"120 items ? 16" in screen.getvalue()


@pytest.mark.parametrize("name", ["compare", "audit"])
@pytest.mark.parametrize("library", ["matplotlib", "jinja2"])
def test_a_missing_extra_is_said_before_the_work(road, town, command, monkeypatch, name, library):
    folder, _ = road
    drawing = ("plurality.analyses.figures", "plurality.analyses.audit.report", "plurality.analyses.page")
    drawing += ("plurality.evaluation.comparison_page",)
    for loaded in [m for m in sys.modules if m.startswith(drawing)]:
        monkeypatch.delitem(sys.modules, loaded)
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.setattr("plurality.evaluation.compare.compare", interrupted)
    done = command(name, *steps(town, folder)[name])
    assert (done.code, done.err) == (2, f"plurality: {library} is not installed; pip install 'plurality-rm[plot]'\n")


def test_python_m_plurality():
    environment = {**os.environ, "PYTHONPATH": str(Path(plurality.__file__).parents[1])}
    asked = [sys.executable, "-m", "plurality", "--version"]
    done = subprocess.run(asked, capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == f"plurality {plurality.__version__}\n"


@pytest.mark.parametrize(
    ("line", "former", "new", "value"),
    [
        ("compare STORE", "--test", "--test-size", "0.3"),
        ("compare STORE", "--draws", "--n-bootstrap", "7"),
        ("fit pal STORE --out O", "--new-to", "--new-items-for", "user"),
        ("audit P --out O", "--draws", "--n-bootstrap", "7"),
        ("audit P --out O", "--publish", "--min-users-flag", "5"),
        ("audit P --out O", "--suppress", "--min-users-show", "3"),
        ("data check STORE", "--draws", "--n-bootstrap", "7"),
    ],
)
def test_former_spellings_of_options_are_taken_and_warn(command, capsys, line, former, new, value):
    with pytest.warns(DeprecationWarning, match=f"^{former} is now {new}; the old name goes in 0.3"):
        old = parse([*line.split(), former, value])
    assert old == parse([*line.split(), new, value])
    done = command(*line.split(), former, value)  # a note on stderr, before the error that there is no such folder
    assert done.err.startswith(f"note: {former} is now {new}; the old name goes in 0.3\n")
    with pytest.raises(SystemExit):
        main([*line.split()[: 2 if line.startswith("data") else 1], "--help"])
    assert not re.search(rf"{former}\b(?!-)", capsys.readouterr().out)
