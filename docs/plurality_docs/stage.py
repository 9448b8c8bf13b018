"""Put the pages of the site together: those of docs/pages, and those made from cards, notebooks, parsers and code.

Nothing is listed here: a folder with a card, a notebook, a command or a module with an `__all__` has its page by
being there. `python docs/plurality_docs/stage.py build/docs/source`, then sphinx-build; see `make docs`.
"""

import re
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
ROOT = HERE.parent
sys.path[:0] = [str(ROOT), str(HERE)]

from plurality_docs import api, commands, families  # noqa: E402

Pages = dict[str, str]  # path in the site -> text


def cards(kind: str) -> Pages:
    """The page of each folder of models/ or datasets/ that has a card."""
    made = {}
    for card in sorted((ROOT / kind).glob("*/card.md")):
        name = card.parent.name
        after = families.appendix(name) if kind == "models" else ""
        made[f"{kind}/{name}.md"] = relink(card.read_text(encoding="utf-8"), card) + after
    return made


def relink(text: str, page: Path) -> str:
    """Links between files of the repository as links between pages; what has no page is named as code."""

    def link(found: re.Match[str]) -> str:
        label, target, anchor = found["label"], found["target"], found["anchor"] or ""
        if target.startswith(("http", "#", "mailto:")) or not target:
            return found[0]
        place = (page.parent / target).resolve()
        if place.is_relative_to(HERE / "pages"):
            return found[0]
        if found["picture"]:
            return f"![{label}](/{place.name})"
        inside = place.relative_to(ROOT).as_posix() if place.is_relative_to(ROOT) else ""
        if match := re.fullmatch(r"(models|datasets)/(\w+)(?:/card\.md)?", inside):
            return f"[{label}](/{match[1]}/{match[2]}.md{anchor})"
        if match := re.fullmatch(r"analyses/(\w+)\.ipynb", inside):
            return f"[{label}](/notebooks/{match[1]}.ipynb)"
        if inside in ("CHANGELOG.md", "CONTRIBUTING.md"):
            return f"[{label}](/{inside.lower()})"
        return f"{label} (`{inside or target}`)"

    return re.sub(r"(?P<picture>!?)\[(?P<label>[^\]]+)\]\((?P<target>[^)#\s]*)(?P<anchor>#[^)]*)?\)", link, text)


def documents() -> Pages:
    """The files of the repository's root that are pages of the site too."""
    wanted = [path for path in (ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md") if path.is_file()]
    return {path.name.lower(): relink(path.read_text(encoding="utf-8"), path) for path in wanted}


def stage(target: Path) -> None:
    """Write all pages to a new folder."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(HERE / "pages", target)
    for page in (HERE / "pages").rglob("*.md"):
        own = target / page.relative_to(HERE / "pages")
        own.write_text(relink(page.read_text(encoding="utf-8"), page), encoding="utf-8")
    for book in sorted((ROOT / "analyses").glob("*.ipynb")):
        shutil.copy(book, target / "notebooks")
    for picture in HERE.glob("*.png"):
        shutil.copy(picture, target)
    made = cards("models") | cards("datasets") | documents() | api.pages() | commands.pages()
    for path, text in made.items():
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    stage(Path(sys.argv[1]))
