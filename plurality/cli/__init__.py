"""The command line: one file a command, each a thin walk over the Python API."""

import argparse
import io
import json
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any, NoReturn, TextIO

import plurality
from plurality.errors import InputError, InputWarning

COMMANDS = {
    "demo": "simulate a population, fit, compare and audit it: the whole road in one go",
    "data": "a public data set as published -> comparisons and users, or a store",
    "embed": "comparisons and users -> a store with frozen embeddings",
    "fit": "a store -> a fitted reward model",
    "compare": "several models and their controls on one split -> one table",
    "audit": "predictions and demographics -> who is served how well (HTML, figures, parquet)",
    "adapt": "a fitted model and new users' comparisons -> a model that knows them too",
    "export": "a fitted model -> a Hugging Face checkpoint that trainers load",
    "reproduce": "run a model's recipe and set it beside its golden numbers",
    "score": "a fitted model and candidates -> a reward for every user and completion",
    "serve": "a fitted model -> rewards over HTTP, as RL trainers ask for them",
}


EXTRAS = {"matplotlib": "plot", "jinja2": "plot", "transformers": "hf", "datasets": "hf", "huggingface_hub": "hf"}
EXTRAS |= {"starlette": "serve", "uvicorn": "serve"}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns 0, or 2 after one line on stderr for input that cannot be used."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without ± must not cost the result
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("always", InputWarning)
            warnings.filterwarnings("always", category=DeprecationWarning, module=r"plurality\.cli\.")
            warnings.showwarning = _note
            args = parse(list(sys.argv[1:] if argv is None else argv))
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
    except OSError as error:
        return _fail(
            f"{error.filename or 'a file'}: {error.strerror or error}; check that it is there and that you may use it"
        )
    except ModuleNotFoundError as error:
        if error.name not in EXTRAS:
            raise
        return _fail(f"{error.name} is not installed; pip install 'plurality-rm[{EXTRAS[error.name]}]'")
    return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The arguments of one command. Raises InputError for arguments that it does not take."""
    return _parser(arguments).parse_args(arguments)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run one command; returns what `--json` prints."""
    result: dict[str, Any] = _module(args.command).run(args)
    return result


class _Parser(argparse.ArgumentParser):
    """Raises InputError for wrong usage, so that this too is one line."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see `{self.prog} --help`")


def _parser(arguments: Sequence[str]) -> argparse.ArgumentParser:
    """All commands by name; only the one that is asked for is imported, so that --help is quick."""
    parser = _Parser(prog="plurality", description="Reward models that know whose preference they predict.")
    parser.add_argument("--version", action="version", version=f"plurality {plurality.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    asked = next((a for a in arguments if a in COMMANDS), None)
    for name, what in COMMANDS.items():
        command = commands.add_parser(name, help=what, description=what)
        command.add_argument("--json", action="store_true", help="print the result as one JSON object")
        if name == asked:
            _module(name).add(command)
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
    print(f"note: {message}", file=sys.stderr)


def _fail(message: str) -> int:
    print(f"plurality: {' '.join(message.split())}", file=sys.stderr)
    return 2
