"""The command line: one file a command, each a thin walk over the Python API."""

import argparse
import io
import json
import os
import re
import sys
import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any, NoReturn, TextIO

import plurality
from plurality.cli.completion import answer, asked
from plurality.cli.signals import Terminated, terminable
from plurality.errors import InputError, InputWarning, suggestion
from plurality.escaping import visible

COMMANDS = {
    "demo": "run an end-to-end demo: simulate data, embed, fit, compare, audit, adapt, score",
    "data": "convert a public data set to comparisons and users, or check a store's data quality",
    "embed": "embed comparisons with a frozen encoder and write a data store",
    "fit": "fit a reward model to a data store",
    "compare": "compare models with control baselines on one train/test split",
    "audit": "audit predictions by demographic group and write a report (HTML, figures, parquet)",
    "plan": "say how many people of a group, with how many answers, it takes until its gap is known",
    "leaderboard": "rank the systems that wrote responses, for everybody and each group, style held fixed",
    "adapt": "add new users to a fitted model from a few comparisons each",
    "score": "score completions with a fitted model (best-of-n ranking with --best-of-n)",
    "explain": "say what the codes of a fitted model's users mean, and who has which",
    "annotate": "add margins and the chance that each label is right to pairs, for DPO and reward trainers",
    "export": "export a fitted model as a Hugging Face checkpoint for RL trainers",
    "serve": "serve rewards over HTTP for RL trainers",
    "reproduce": "run a model's recipe and compare it with its golden numbers",
    "completion": "print shell completion code for bash, zsh or fish",
}


EXTRAS = {"matplotlib": "plot", "jinja2": "plot", "transformers": "hf", "datasets": "hf", "huggingface_hub": "hf"}
EXTRAS |= {"starlette": "serve", "uvicorn": "serve"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command (none: print help); returns 0, 2 after a line on stderr for bad input, 3 for a failed gate."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without ± must not cost the result
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments and (words := asked()) is not None:
        answer(_parser(words[1:]))
    if not arguments:
        _parser([]).print_help()
        return 0
    try:
        with warnings.catch_warnings(), terminable():
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", InputWarning)
            warnings.filterwarnings("always", category=DeprecationWarning, module=r"plurality\.cli\.")
            warnings.showwarning = _note
            args = parse(arguments)
            result = run(args)
        if args.json:
            print(json.dumps(result, default=str))
        sys.stdout.flush()
    except InputError as error:
        return _fail(str(error))
    except BrokenPipeError:  # the reader has gone, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("plurality: interrupted; nothing half-written is left", file=sys.stderr)
        return 130
    except Terminated:
        print("plurality: terminated; nothing half-written is left", file=sys.stderr)
        return 143
    except OSError as error:
        return _fail(
            f"{error.filename or 'a file'}: {error.strerror or error}; check that it is there and that you may use it"
        )
    except (MemoryError, RuntimeError) as error:
        if not _is_of_memory(error):
            raise
        return _fail("there is not enough memory; take fewer rows, a smaller encoder or dim, or a larger machine")
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        return _fail(f"{error.name} is not installed; pip install 'plurality-rm[{EXTRAS[error.name]}]'")
    return 3 if result.get("failed_gates") else 0


def _is_of_memory(error: Exception) -> bool:
    """Whether memory ran out: torch and XLA say so in words."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in words or "can't allocate memory" in words


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments of one command. Raises InputError for arguments that it does not take."""
    return _parser(arguments).parse_args(arguments)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run one command; returns what `--json` prints."""
    result: dict[str, Any] = _module(args.command).run(args)
    return result


class _Parser(argparse.ArgumentParser):
    """Raises InputError for wrong usage, so that this too is one line, and suggests the word that was meant."""

    def error(self, message: str) -> NoReturn:
        meant = ""
        if choice := re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message):
            meant = suggestion(choice[1], re.findall(r"[\w-]+", choice[2]))
        elif option := re.match(r"unrecognized arguments: (\S+)", message):
            meant = suggestion(option[1].partition("=")[0], _options(self))
        raise InputError(f"{message}{meant}; see `{self.prog} --help`")


def _options(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Every option that a parser and those of its commands show in their help."""
    for action in parser._actions:
        if action.help != argparse.SUPPRESS:
            yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _options(command)


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """All commands by name; only the one that is asked for is imported, so that --help is quick."""
    parser = _Parser(
        prog="plurality",
        description="Reward models that know whose preference they predict.",
        epilog="`plurality COMMAND --help` shows a command's options and an example; start with `plurality demo`.",
    )
    parser.add_argument("--version", action="version", version=f"plurality {plurality.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    wanted = next((a for a in arguments if a in COMMANDS), None)
    for name, what in COMMANDS.items():
        command = commands.add_parser(
            name,
            help=what,
            description=what,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument("--json", action="store_true", help="print the result as one JSON object")
        if name == wanted:
            module = _module(name)
            module.add(command)
            command.epilog = f"example:\n  {module.EXAMPLE}"
    return parser


def _module(name: str) -> Any:
    return import_module(f"plurality.cli.{name}")


def _note(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(visible(f"note: {message}"), file=sys.stderr)


def _fail(message: str) -> int:
    print(visible(f"plurality: {' '.join(message.split())}"), file=sys.stderr)
    return 2
