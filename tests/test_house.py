"""The rules of the house as code: who may import whom, what is written nowhere, and that the README runs."""

import ast
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Iterator
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import plurality
from plurality.datasets import NAMES
from plurality.datasets import options as data_set_options
from plurality.errors import InputWarning
from plurality.reward.registry import built_in

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "plurality"
SOURCES = {path.relative_to(PACKAGE).as_posix(): path for path in sorted(PACKAGE.rglob("*.py"))}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in SOURCES.items()}

LAYERS = (  # a room imports, at the top of its files, from the rows above, a folder also from itself
    "errors escaping arrays arviz_draws deprecation jax_precision moved",
    "argument_kinds client io",
    "encoders",
    "data",
    "analyses",
    "reward",
    "fitting",
    "models",
    "evaluation elicitation sklearn",
    "datasets",
    "testing rl",
    "data_checks reproduce serving",
    "cli",
    "__init__ __main__",
)
FACADES = {  # files that may import one another: `Comparisons` offers what is done with them
    frozenset(("data/comparisons.py", "data/splits.py", "data/store.py")),
}
RANK = {module: rank for rank, row in enumerate(LAYERS) for module in row.split()}
REMOTE_CODE = {f"rl/huggingface/remote_code/{name}_plurality.py" for name in ("configuration", "modeling")}
ONLY_IN = {
    "matplotlib": {"analyses/figures/"},  # a folder, of which some files use it
    "transformers": {"encoders/transformers.py", "rl/huggingface/checkpoint.py"} | REMOTE_CODE,
    "ray": {"io/engines.py", "rl/nemo_rl.py"},
    "starlette": {"serving/"},
    "sqlalchemy": {"serving/state.py", "serving/state_tables.py"},
    "pydantic": {"serving/"},
    "uvicorn": {"cli/serve.py"},
}
LIGHT = ("torch", "transformers", "matplotlib", "sklearn", "scipy", "polars", "numpy", "pandas", "jax", "rich")
FORBIDDEN_CALLS = {
    "torch.manual_seed",
    "np.random.seed",
    "torch.load",
    "torch.save",
    "hasattr",
    "setattr",
    "eval",
    "exec",
}
TRAINER_CALLS = {
    f"rl/{name}.py" for name in ("reward_function", "trl", "openrlhf", "verl", "mixing", "slime", "areal", "swift")
}  # trainers pass what they like
FORBIDDEN_MODULES = {"pickle", "joblib", "cloudpickle", "dill", "random"}
TEXT = {".py", ".md", ".toml", ".json", ".txt", ".jinja", ".ipynb", ".yml", ".yaml", ".cfg", ""}


def walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
            yield node
            yield from walk(node)


def imports(nodes: Iterator[ast.AST]) -> set[str]:
    """Dotted names of what import statements among the nodes name, `from a import b` as a.b."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room(name: str) -> str:
    """The module of the package, or its folder, that a dotted name or a file belongs to."""
    return name.removeprefix("plurality.").replace("/", ".").split(".")[0]


@pytest.mark.parametrize("name", TREES)
def test_imports_run_one_way(name):
    """What `import plurality.x` pulls in; imports inside functions and for types alone may point anywhere."""
    mine = room(name)
    assert mine in RANK, f"{name} has no layer; give it one"
    for other in imports(iter(TREES[name].body)):
        theirs = room(other)
        if other.startswith("plurality.") and theirs != mine and theirs != "__version__":
            assert RANK[theirs] < RANK[mine], f"{name} imports {other}, which is not below it"


@pytest.mark.parametrize("name", [name for name in TREES if name.startswith("analyses/")])
def test_analyses_know_no_model(name):
    names = imports(walk(TREES[name]))
    own = {room(n) for n in names if n.startswith("plurality.") and not n.startswith("plurality.data.readers.")}
    assert own <= {"analyses", "arrays", "deprecation", "errors", "escaping", "io", "jax_precision", "arviz_draws"}
    assert not {n.split(".")[0] for n in names} & {"torch", "transformers"}


def test_readers_stand_alone():
    """So that analyses read tables as everybody does and still know no model."""
    for name in (name for name in TREES if name.startswith("data/readers/")):
        own = {n for n in imports(walk(TREES[name])) if n.startswith("plurality.")}
        assert all(n.startswith("plurality.data.readers") or room(n) in {"errors", "io"} for n in own), name
    code = "import sys, plurality.data.readers.tables, plurality.analyses.inputs; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "False"


def test_one_helper_reads_the_home_folder():
    """`~` means the same wherever a path is taken."""
    calls = {n for n, path in SOURCES.items() if ".expanduser(" in path.read_text(encoding="utf-8")}
    assert calls == {"io/paths.py"}


def test_tables_are_opened_by_one_reader():
    """But for stores and models, whose files are this package's own, and data sets as they were published."""
    opened = re.compile(r"\b(?:pl|pj|pa)\.(?:read|scan)_(?:csv|parquet|ndjson|json)\(|pl\.from_pandas\(")
    calls = {n for n, path in SOURCES.items() if opened.search(path.read_text(encoding="utf-8"))}
    own = {"data/store.py", "reward/persistence.py", "datasets/_tools/about.py", "datasets/_tools/json_rows.py"}
    assert calls - own == {"data/readers/csv_files.py", "data/readers/json_lines.py", "data/readers/tables.py"}


def file_of(dotted: str) -> str | None:
    """The file of the package that a dotted name is, or is defined in."""
    parts = dotted.split(".")[1:]
    for path in ("/".join(parts), "/".join(parts[:-1])):
        for name in (f"{path}.py", f"{path}/__init__.py"):
            if name in SOURCES:
                return name
    return None


def test_files_import_in_no_circle():
    """Imports inside functions and for type checkers count too, so that a file can be read after what it stands on."""
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for name, tree in TREES.items():
        used = {file_of(n) for n in imports(ast.walk(tree)) if n.startswith("plurality.")} - {None, name}
        facade = next((f for f in FACADES if name in f), frozenset())
        sorter.add(name, *(other for other in used if other not in facade))
    sorter.prepare()  # raises CycleError, which names the files


def test_heavy_libraries_have_one_place_each():
    libraries = {name: {n.split(".")[0] for n in imports(walk(tree))} for name, tree in TREES.items()}
    for library, places in ONLY_IN.items():
        used = {name for name, found in libraries.items() if library in found}
        assert used
        for name in used:
            assert any(name == place or (place.endswith("/") and name.startswith(place)) for place in places), name


def test_import_plurality_is_light():
    code = f"import sys, plurality, plurality.cli; print([m for m in {LIGHT} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", TREES)
def test_what_is_written_nowhere(name):
    assert not {n.split(".")[0] for n in imports(ast.walk(TREES[name]))} & FORBIDDEN_MODULES
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func).replace("numpy.", "np.")
            assert called not in FORBIDDEN_CALLS or (name, called) == ("testing/check_model.py", "setattr"), (
                f"{called}, {node.lineno}"
            )
            assert not any(k.arg == "allow_pickle" and ast.unparse(k.value) != "False" for k in node.keywords)
        if isinstance(node, ast.FunctionDef) and name not in TRAINER_CALLS | REMOTE_CODE:  # the library's signatures
            # `load("prism", source, pairs=...)` hands options on, checked against the arguments the loader names
            options = (name, node.name) in (
                ("datasets/__init__.py", "load"),
                ("datasets/__init__.py", "frames"),
                ("deprecation.py", "renamed"),
                ("deprecation.py", "call"),
                ("client/calls.py", "method"),  # typed by a ParamSpec
            )
            assert options or node.args.kwarg is None, f"**{node.args.kwarg} in line {node.lineno}; name the arguments"


def test_files_are_small():
    lines = {name: len(path.read_text(encoding="utf-8").splitlines()) for name, path in SOURCES.items()}
    assert {name: count for name, count in lines.items() if count > 400} == {}


@pytest.mark.parametrize("folder", ["models", "datasets", "analyses"])
def test_rooms_of_documents_are_no_packages(folder):
    """With an __init__.py, `datasets/` would stand before the library of that name."""
    assert not list((ROOT / folder).rglob("__init__.py"))


@pytest.mark.parametrize("family", built_in())
def test_a_family_has_its_name_in_every_room(family):
    rooms = [PACKAGE / "models" / family / "spec.py", ROOT / "tests" / "models" / family / f"test_{family}.py"]
    rooms += [ROOT / "models" / family / name for name in ("card.md", "recipe.toml", "golden.json")]
    assert [str(path.relative_to(ROOT)) for path in rooms if not path.is_file()] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_data_set_has_its_name_in_every_room(name):
    rooms = [PACKAGE / "datasets" / f"{name}.py", ROOT / "tests" / "datasets" / f"test_{name}.py"]
    rooms += [ROOT / "datasets" / name / "card.md"]
    assert [str(path.relative_to(ROOT)) for path in rooms if not path.is_file()] == []
    assert all(p.default is not p.empty for p in data_set_options(name).values())
    about = import_module(f"plurality.datasets.{name}").ABOUT
    card = rooms[-1].read_text(encoding="utf-8")
    assert all(fact in card for fact in (about.hub, *about.files) if fact)
    assert f"| Checked against | {about.checked.value}:" in card
    assert ("as published" in about.source) == (about.checked.name != "READERS")


def test_public_names_are_what_they_say():
    """A module called as a public name would stand in its place as soon as it is imported."""
    assert set(plurality.__all__) == set(plurality._HOME)
    assert not {room(name) for name in SOURCES} & set(plurality.__all__)
    for name in plurality.__all__:
        for _ in range(2):
            assert not isinstance(getattr(plurality, name), ModuleType)


def offered(package: str) -> set[str]:
    """What a package of ours gives away under names of its own: by its stub, or by imports in its __init__."""
    stub = PACKAGE / package / "__init__.pyi"
    tree = ast.parse(stub.read_text(encoding="utf-8")) if stub.is_file() else TREES[f"{package}/__init__.py"]
    return {alias.asname or alias.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for alias in n.names}


@pytest.mark.parametrize("stub", sorted(PACKAGE.glob("*/**/__init__.pyi")), ids=lambda path: path.parent.name)
def test_a_lazy_package_offers_no_name_of_a_module_of_its_own(stub):
    """Importing that module would put it in the place of what the package offers."""
    package = stub.parent.relative_to(PACKAGE).as_posix()
    modules = {path.stem for path in stub.parent.glob("*.py")} | {path.name for path in stub.parent.iterdir()}
    assert offered(package) & modules == set()
    module = import_module(f"plurality.{package.replace('/', '.')}")
    assert set(module.__all__) == offered(package)
    assert not any(isinstance(getattr(module, name), ModuleType) for name in module.__all__)


def test_every_function_of_the_analyses_is_offered_or_used():
    """What tests alone call exists for nobody: the package of a function offers it, or the library uses it."""
    taken = {n for tree in TREES.values() for n in imports(ast.walk(tree))}
    unused = []
    for name, tree in TREES.items():
        folder, _, file = name.rpartition("/")
        if not folder.startswith("analyses/") or file == "__init__.py":
            continue
        module = f"plurality.{name.removesuffix('.py').replace('/', '.')}"
        inside = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                used = module in taken or f"{module}.{node.name}" in taken or node.name in inside
                if not used and node.name not in offered(folder):
                    unused.append(f"{name}: {node.name}")
    assert unused == []


def test_the_wheel_holds_the_package_alone():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["plurality"]
    assert project["project"]["scripts"] == {"plurality": "plurality.cli:main"}


def documents() -> Iterator[Path]:
    """Files of the repository, not of what is installed or generated beside it."""
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()}
    for path in sorted(ROOT.iterdir()):
        if path.name in (".ci", ".gitignore") or (not path.name.startswith(".") and path.name not in ignored):
            yield from (p for p in [path, *path.rglob("*")] if p.is_file() and "__pycache__" not in p.parts)


def test_nothing_names_a_machine():
    place = re.compile("|".join(f"/{name}/" for name in ("work", "root", "home", "Users")))
    named = [path for path in documents() if path.suffix in TEXT and place.search(path.read_text(encoding="utf-8"))]
    assert named == []


def test_links_lead_somewhere():
    for page in (path for path in documents() if path.suffix == ".md"):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            if not target.startswith("http"):
                assert (page.parent / target).exists(), f"{page.name} links to {target}"


def blocks(language: str) -> list[str]:
    """Fenced blocks of the README in a language."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def reader(town, tmp_path, monkeypatch):
    """A reader of the README in a folder with the files it speaks of."""
    shutil.copytree(town, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def commands_in(text: str) -> list[list[str]]:
    """Arguments of each `plurality` command in the bash blocks of a page."""
    found = re.findall(r"^```bash\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for block in found for line in block.replace("\\\n", " ").splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith("plurality ")]


def test_the_readme_s_commands_run(reader, command):
    for arguments in commands_in((ROOT / "README.md").read_text(encoding="utf-8")):
        done = command(*arguments)
        assert done.code == 0, f"{arguments}: {done.err}"
    assert (reader / "audit" / "index.html").is_file()


def test_commands_are_shown():
    """In the README or on a page of the site, whose tests run them; the site lists all options of all commands."""
    pages = [ROOT / "README.md", *(ROOT / "docs" / "pages").rglob("*.md")]
    shown = {arguments[0] for page in pages for arguments in commands_in(page.read_text(encoding="utf-8"))}
    assert shown >= {"data", "embed", "fit", "compare", "audit", "adapt", "score"}


def test_the_readme_s_python_runs(reader):
    assert blocks("python")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # few texts support few dimensions
        for block in blocks("python"):
            exec(compile(block, "README.md", "exec"), {})
