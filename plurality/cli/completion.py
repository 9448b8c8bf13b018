"""`plurality completion`: what a shell has to read so that Tab completes commands, options and model names."""

import argparse
import os
from typing import Any

EXAMPLE = "plurality completion bash >> ~/.bashrc"
SHELLS = ("bash", "zsh", "fish")


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("shell", choices=SHELLS, help="the shell that is to complete")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Print the shell's code, for its start-up file (fish: a file in ~/.config/fish/completions)."""
    from argcomplete import shellcode

    code = shellcode(["plurality"], shell=args.shell)
    if not args.json:
        print(code)
    return {"shell": args.shell, "code": code}


def answer(parser: argparse.ArgumentParser) -> None:
    """Answer the shell that asks for completions of $COMP_LINE, and end the process."""
    from argcomplete import autocomplete

    autocomplete(parser)


def asked() -> list[str] | None:
    """The words on the line that a shell wants completed, or None where none does."""
    return os.environ.get("COMP_LINE", "").split() if "_ARGCOMPLETE" in os.environ else None
