"""The pages of the site say what is so: their code runs, the errors they quote exist, the floor plan is the house's."""

import re
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from pkgutil import resolve_name

import pytest

import plurality
from plurality.cli import COMMANDS
from plurality.errors import InputWarning
from plurality.reward.registry import built_in
from tests.docs.blocks import ROOT, blocks
from tests.test_house import LAYERS

DOCS = ROOT / "docs"
PAGES = {p.relative_to(DOCS / "pages").as_posix(): p.read_text(encoding="utf-8") for p in DOCS.rglob("pages/**/*.md")}


@pytest.fixture
def reader(town, tmp_path, monkeypatch):
    """A reader of a page in a folder with the files it speaks of."""
    shutil.copytree(town, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


LONG = [f"howto/{name}.md" for name in ("researcher", "comparing", "own_reward")]  # a quarter of a minute and more
LONG += ["start.md"]  # the README is much the same
RUN = [
    pytest.param(name, marks=pytest.mark.slow if name in LONG else ())
    for name, text in PAGES.items()
    if blocks(text, "python", "bash")
]


@pytest.mark.parametrize("page", RUN)
def test_the_code_of_a_page_runs(page, reader, command):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputWarning)  # few texts support few dimensions
        for language, block in blocks(PAGES[page], "python", "bash"):
            if language == "python":
                exec(compile(block, page, "exec"), {})
                continue
            for line in block.replace("\\\n", " ").splitlines():
                done = command(*shlex.split(line, comments=True)[1:])
                assert done.code == 0, f"{line}: {done.err}"


def test_errors_in_the_faq_are_in_the_code():
    source = "\n".join(p.read_text(encoding="utf-8") for p in (ROOT / "plurality").rglob("*.py"))
    source = re.sub(r'" *\n\s*f?"', "", source)  # strings over several lines
    quoted = [row for row in PAGES["faq.md"].splitlines() if re.match(r"\| `", row)]
    assert len(quoted) > 15
    for row in quoted:
        for part in re.findall(r"`([^`]+)`", row)[0].split("…"):
            assert part.strip() in source, f"the FAQ quotes {part!r}, which no message says"


CARDS = [*ROOT.glob("models/*/card.md"), *ROOT.glob("datasets/*/card.md"), ROOT / "README.md", ROOT / "AGENTS.md"]
WRITTEN = {p.relative_to(ROOT).as_posix(): p.read_text(encoding="utf-8") for p in CARDS} | PAGES


@pytest.mark.parametrize("page", WRITTEN)
def test_names_of_the_package_exist(page):
    """What cards and pages call by its full name can be imported by it, none of it under a name it had before."""
    for name in sorted(set(re.findall(r"\bplurality(?:\.[A-Za-z_]\w*)+", WRITTEN[page]))):
        resolve_name(name)


def test_the_floor_plan_is_the_house_s():
    rows = re.findall(r"^\| \d+ \| ([^|]+) \|", PAGES["architecture.md"], flags=re.MULTILINE)
    assert tuple(row.replace("`", "").strip() for row in rows) == LAYERS


@pytest.mark.slow
def test_the_site_builds(tmp_path):
    """As `make docs` builds it; nothing is fetched."""
    pytest.importorskip("sphinx")
    pytest.importorskip("myst_nb")
    source, site = tmp_path / "source", tmp_path / "html"
    stage = [sys.executable, str(DOCS / "plurality_docs" / "stage.py"), str(source)]
    sphinx = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-c", str(DOCS), str(source), str(site)]
    for call in (stage, sphinx):
        done = subprocess.run(call, capture_output=True, text=True, cwd=ROOT, check=False)
        assert done.returncode == 0, done.stderr[-3000:]
    for family in built_in():
        assert (site / "models" / f"{family}.html").is_file()
    for notebook in (ROOT / "analyses").glob("*.ipynb"):
        assert (site / "notebooks" / f"{notebook.stem}.html").is_file()
    commands = (site / "command_line.html").read_text(encoding="utf-8")
    assert all(f'id="plurality-{name}"' in commands for name in COMMANDS)
    assert not re.search(r'(src|href)="https?://[^"]*\.(js|css)"', commands), "a page loads something from elsewhere"
    read = (site / "api" / "plurality.html").read_text(encoding="utf-8")
    assert 'id="plurality.read"' in read


def test_every_page_is_reached():
    """By a toctree, written or globbed; what the site makes is tested by its build."""
    listed = set(re.findall(r"^(?:\w+/)?\w+$", PAGES["index.md"], flags=re.MULTILINE))
    assert {p.removesuffix(".md") for p in PAGES if p != "index.md" and Path(p).parent == Path()} <= listed


def test_the_overview_has_every_command_and_every_name_of_the_front_door():
    text = PAGES["overview.md"]
    commands = [name for name in COMMANDS if not re.search(rf"`plurality {name}\b", text)]
    names = [name for name in plurality.__all__ if f"`plurality.{name}`" not in text]
    assert commands + names == []
