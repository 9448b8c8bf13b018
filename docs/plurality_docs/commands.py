"""The command line's reference, from the parsers themselves: every command, argument and option."""

import argparse
import re
from collections.abc import Iterator

from plurality.cli import COMMANDS, _parser


def pages() -> dict[str, str]:
    """path -> text."""
    head = ["# Command line", "", "Every command takes `--help`; bad input ends it with code 2 and one line.", ""]
    summary = ["| command | what it does |", "|---|---|"]
    summary += [f"| [{name}](#plurality-{name}) | {what} |" for name, what in COMMANDS.items()]
    bodies = [line for name in COMMANDS for line in _command(_of(name), 2)]
    return {"command_line.md": "\n".join([*head, *summary, "", *bodies])}


def _of(name: str) -> argparse.ArgumentParser:
    """The parser of one command, with its arguments."""
    groups = (a for a in _parser([name])._actions if isinstance(a, argparse._SubParsersAction))
    found: argparse.ArgumentParser = next(groups).choices[name]
    return found


def _command(parser: argparse.ArgumentParser, level: int) -> Iterator[str]:
    yield from (f"{'#' * level} {parser.prog}", "", _text(parser.description or ""), "")
    below = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    plain = [a for a in parser._actions if a not in below and a.help != argparse.SUPPRESS and a.dest != "help"]
    if plain:
        yield from ("| argument | default | what it says |", "|---|---|---|")
        yield from (_row(parser, action) for action in plain)
        yield ""
    for action in below:
        yield from (line for command in action.choices.values() for line in _command(command, level + 1))


def _row(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    value = parser._get_formatter()._format_args(action, _metavar(action)) if action.nargs != 0 else ""
    spelled = ", ".join(f"{option} {value}".strip() for option in action.option_strings) or _metavar(action)
    silent = action.default is None or action.default is False or action.default in ([], argparse.SUPPRESS)
    default = "required" if action.required else "" if silent else f"`{action.default}`"
    shown = parser._get_formatter()._expand_help(action) if action.help else ""
    return f"| `{_cell(spelled)}` | {default} | {_text(shown)} |"


def _metavar(action: argparse.Action) -> str:
    if action.metavar:
        return str(action.metavar)
    if action.choices:
        return "{" + ",".join(map(str, action.choices)) + "}"
    return action.dest.upper() if action.option_strings else action.dest


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _text(text: str) -> str:
    """Help as Markdown: nothing in it is markup but backticks."""
    parts = text.split("`")
    escaped = [re.sub(r"([*|_\[])", r"\\\1", part.replace("<", "&lt;")) for part in parts]
    return "`".join(part if i % 2 else escaped[i] for i, part in enumerate(parts))
