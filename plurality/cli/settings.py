"""Arguments several commands share: model settings from `--set name=value`, seeds, readable output."""

import argparse
import sys
import types
from collections.abc import Iterable
from dataclasses import fields
from typing import Any, get_args, get_type_hints

from plurality.errors import InputError
from plurality.models import spec_class


def add_seed(parser: argparse.ArgumentParser) -> None:
    """`--seed`."""
    parser.add_argument("--seed", type=int, default=0, help="the same seed and data give the same bits (default 0)")


def spec_of(name: str, settings: Iterable[str]) -> Any:
    """The spec of a family with `name=value` settings, values read by the field's type.

    Raises InputError for an unknown model or setting, or a value of another type.
    """
    cls = spec_class(name)
    hints = get_type_hints(cls)
    known = {f.name: hints[f.name] for f in fields(cls)}
    values = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or key not in known:
            raise InputError(f"--set {setting}: {name} has the settings {', '.join(known)}; write one as name=value")
        values[key] = _value(text, known[key], setting)
    return cls(**values)


def _value(text: str, hint: Any, setting: str) -> Any:
    kinds = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if text.lower() == "none" and type(None) in kinds:
        return None
    if bool in kinds:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise InputError(f"--set {setting}: give true or false")
    for kind in (k for k in (int, float, str) if k in kinds):
        try:
            return kind(text)
        except ValueError:
            continue
    raise InputError(f"--set {setting}: {text!r} is not a {' or '.join(k.__name__ for k in kinds)}")


def say(args: argparse.Namespace, *lines: object) -> None:
    """Print for a person, unless a machine listens."""
    if not args.json:
        for line in lines:
            print(line)
        sys.stdout.flush()
