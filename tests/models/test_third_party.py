"""A family of another package, registered as an entry point alone, in everything that a family of this one does."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import ClassVar

import pytest
import torch

import plurality
from plurality.encoders import LsaSpec
from plurality.errors import InputError, InputWarning
from plurality.models import families, spec_class
from plurality.models.bradley_terry import BradleyTerry
from plurality.reward import registry
from plurality.reward.heads import Head, PooledHead
from plurality.reward.registry import GROUP
from plurality.rl.reward_function import RewardFunction
from plurality.testing.check_model import CHECKS

TOY = '''
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from plurality import Spec
from plurality.fitting.fit import fit
from plurality.fitting.objective import FitPlan
from plurality.fitting.tuning import Candidate
from plurality.reward.heads import Head


class Care(Head):
    """u = (1 + z) w·x: how much a person cares, and in which direction."""

    def __init__(self, width):
        super().__init__()
        self.n_embedding, self.n_codes = width, 1
        self.weight = nn.Parameter(torch.zeros(width))
        self.register_buffer("scale", torch.ones(width))

    def features(self, items, prompts):
        return (items @ (self.weight / self.scale))[:, None]

    def coefficients(self, codes):
        return 1 + codes

    def penalty(self, decay):
        return decay * self.weight.square().sum() / 2

    def standardise(self, first, second, prompts, weight):
        self.scale.copy_((weight @ (first - second).square() / weight.sum()).sqrt())

    def show(self, codes):
        return {"care": 1 + codes[:, 0]}


@dataclass(frozen=True)
class Toy(Spec):
    decay: float = 10.0
    name: ClassVar[str] = "toy"

    def head(self, width, generator):
        return Care(width)

    def learn(self, data, run):
        candidate = Candidate("toy", lambda g: self.head(data.dim, g), self.decay)
        return fit([candidate], data, FitPlan(decays=(self.decay,)), run)
'''
RECIPE = """
model = "toy"

[[case]]
name = "one taste"
population = "taste_groups"
settings = {}
planted = { n_users = 40, shares = [1.0], width = 5 }
"""
GOLDEN = {"one taste": {"seen": {"expected": 0.6, "tol": 0.0, "source": "better than chance"}}}


def install(site: Path, modules: dict[str, str], points: dict[str, str], name: str = "toy") -> None:
    """What `pip install` leaves of a package in a folder of packages: its modules, and who it is."""
    about = site / f"{name}-0.1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1\n")
    lines = [f"{key} = {value}" for key, value in points.items()]
    (about / "entry_points.txt").write_text("\n".join([f"[{GROUP}]", *lines, ""]))
    for module, text in modules.items():
        (site / f"{module}.py").write_text(text)


def test_what_is_installed_while_python_runs_is_found(tmp_path, monkeypatch):
    """Though nobody is asked twice as long as no folder of packages changes."""
    monkeypatch.syspath_prepend(tmp_path)
    assert "late" not in families()
    asked = []
    monkeypatch.setattr(registry, "entry_points", lambda **group: asked.append(group) or entry_points(**group))
    assert "late" not in families()
    assert asked == []
    install(tmp_path, {}, {"late": "late:Late"}, name="late")
    assert families()["late"].value == "late:Late"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder of packages in which the toy is installed, for this process and for those it starts."""
    folder = tmp_path_factory.mktemp("site")
    install(folder, {"toy": TOY}, {"toy": "toy:Toy"})
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        patch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)
        yield folder
        sys.modules.pop("toy", None)


@pytest.fixture(scope="module")
def data(town):
    return plurality.read(town / "comparisons.parquet", users=town / "users.parquet", encoder=LsaSpec(dim=8))


@pytest.fixture(scope="module")
def model(site, data):
    return spec_class("toy")().fit(data)


def test_it_passes_every_check_and_saving_among_them(site):
    assert plurality.check_model(spec_class("toy")()) == [*CHECKS, "no global state is touched"]


def test_it_is_saved_loaded_compared_and_rewards(model, data, tmp_path):
    again = plurality.load(model.save_pretrained(tmp_path / "reward"))
    assert (again.prefer(data) == model.prefer(data)).all()
    assert again.users.columns == ["user_id", "care", "n_comparisons", "uncertainty"]
    result = plurality.compare(data, [spec_class("toy")()], shuffled=False, n_bootstrap=20)
    assert {"bradley_terry", "toy"} <= set(result.table["model"])
    user = model.user_ids[0]
    rewards = RewardFunction(again, user_column="user_id")(prompts=["Hello"], completions=["A poem"], user_id=[user])
    assert len(rewards) == 1


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own."""
    line = [sys.executable, "-m", "plurality", *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, check=False, cwd=Path(__file__).resolve().parents[2])


@pytest.mark.slow
def test_it_is_in_every_command(site, town, data, tmp_path):
    store, reward = data.save(tmp_path / "store"), tmp_path / "reward"
    recipe = tmp_path / "recipe"
    recipe.mkdir()
    (recipe / "recipe.toml").write_text(RECIPE)
    (recipe / "golden.json").write_text(json.dumps(GOLDEN))
    walk = {
        "fit": ["toy", store, "--set", "decay=3", "--out", reward],
        "score": [reward, town / "candidates.parquet", "--unknown", "population", "--out", tmp_path / "scored.parquet"],
        "reproduce": [recipe],
    }
    for command, arguments in walk.items():
        done = run(command, *arguments)
        said = [line for line in done.stderr.splitlines() if not line.endswith(" s")]  # its stages
        assert (done.returncode, said) == (0, []), f"{command}: {done.stderr}"
    assert plurality.load(reward).spec.decay == 3
    assert "toy" in run("fit", "--help").stdout
    line = [sys.executable, "-m", "plurality", "serve", str(reward), "--port", "0"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        answers = server.stdout.readline()
        server.terminate()
    assert " answers at http://127.0.0.1:" in answers


BROKEN = {
    "absent": ("nowhere:Absent", "absent", None),
    "wrong": ("wrong:Wrong", "wrong", "1 / 0"),
    "plain": ("plain:Plain", "plain", "class Plain: ..."),
}


@pytest.fixture
def broken(site, tmp_path, monkeypatch):
    """Three more packages, none of which can be used."""
    for name, (point, module, text) in BROKEN.items():
        install(tmp_path, {module: text} if text else {}, {name: point}, name)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("absent", "nowhere:Absent cannot be imported .*ModuleNotFoundError.* repair or uninstall"),
        ("wrong", "wrong:Wrong cannot be imported .*ZeroDivisionError.* repair or uninstall"),
        ("plain", "plain:Plain is not a Spec whose name is 'plain'"),
    ],
)
def test_a_broken_package_fails_when_it_is_asked_for_alone(broken, name, complaint):
    assert spec_class("toy").name == "toy"
    with pytest.raises(InputError, match=complaint):
        spec_class(name)


def test_compare_takes_every_family_and_says_which_it_could_not(broken, data, command, tmp_path, monkeypatch):
    few = {name: point for name, point in families().items() if name in {"bradley_terry", "toy", *BROKEN}}
    monkeypatch.setattr("plurality.models.families", lambda: few)
    arguments = ["compare", data.save(tmp_path / "store"), "--no-shuffled", "--n-bootstrap", 10]
    done = command(*arguments, "--json")
    assert (done.code, done.err) == (0, "")
    result = json.loads(done.out)
    assert {"bradley_terry", "toy"} <= {row["model"] for row in result["table"]}
    assert result["about"]["left_out"].keys() == BROKEN.keys()
    assert command(*arguments, "--models", "toy,wrong").code == 2


def test_a_built_in_family_keeps_its_name_and_says_so(site, tmp_path, monkeypatch):
    install(tmp_path, {}, {"bradley_terry": "toy:Toy"}, "taker")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.warns(InputWarning, match="'bradley_terry' is plurality's own, not toy:Toy"):
        assert spec_class("bradley_terry") is BradleyTerry


def test_a_name_of_two_packages_is_neither_s(site, tmp_path, monkeypatch):
    install(tmp_path, {}, {"toy": "other:Toy"}, "second")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"several packages \(other:Toy, toy:Toy\); uninstall all but one"):
        spec_class("toy")


def test_what_could_not_be_loaded_is_not_saved(model, tmp_path):
    refused = {
        "build another head": replace(model, spec=BradleyTerry(hidden=3)),
        "report cannot be written": replace(model, report={"loss": float("nan")}),
    }
    for complaint, bad in refused.items():
        with pytest.raises(InputError, match=complaint):
            bad.save_pretrained(tmp_path / "reward")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", ["features", "penalty", "standardise", "show"])
def test_a_head_without_a_method_fails_the_check(missing):
    lacking = type("Lacking", (PooledHead,), {missing: getattr(Head, missing)})

    @dataclass(frozen=True)
    class Incomplete(BradleyTerry):
        name: ClassVar[str] = "incomplete"

        def head(self, width: int, generator: torch.Generator) -> PooledHead:
            return lacking(width, hidden=0, temperature=False, generator=generator)

    with pytest.raises(AssertionError, match=rf"the head cannot be built: .*abstract.*{missing}"):
        plurality.check_model(Incomplete())
