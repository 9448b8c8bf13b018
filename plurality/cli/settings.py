"""Arguments several commands share: model settings from `--set name=value`, seeds, readable output."""

import argparse
import sys
import types
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from plurality.deprecation import GOES
from plurality.errors import InputError
from plurality.escaping import visible
from plurality.io.visible import THOUGHT_TAGS, Tags, tags_of
from plurality.models import spec_class

if TYPE_CHECKING:
    from plurality.analyses.page.explorer import Labels
    from plurality.data.comparisons import Comparisons

WORDS = {int: "whole number", float: "number", str: "text"}


def add_seed(parser: argparse.ArgumentParser) -> None:
    """`--seed`."""
    parser.add_argument(
        "--seed",
        type=at_least(0),
        default=0,
        help="random seed; the same seed and data give identical results (default 0)",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """`--device` for fits."""
    parser.add_argument("--device", type=_device, default="cpu", help="torch device: cpu (default), cuda or mps")


def add_no_verify(parser: argparse.ArgumentParser) -> None:
    """`--no-verify` for what is read from a folder of hashed files."""
    parser.add_argument(
        "--no-verify", action="store_true", help="do not compare files with the hashes that they were written with"
    )


def add_thought_tags(parser: argparse.ArgumentParser) -> None:
    """`--thought-tags`, which `thought_tags` reads."""
    parser.add_argument(
        "--thought-tags",
        nargs="*",
        metavar="TAG",
        help="opening and closing tags of thoughts, which are not scored (default: those of common reasoning models; "
        "none: score all that is written)",
    )


def add_direction(parser: argparse.ArgumentParser) -> None:
    """`--direction` over the objectives of a model."""
    parser.add_argument(
        "--direction",
        type=_direction,
        metavar="NAME=V[,NAME=V]",
        help="reward the objectives of a model that has several, weighed on the unit sphere, whoever the user is",
    )


def _direction(text: str) -> dict[str, float]:
    parts = [part.rpartition("=") for part in text.split(",")]
    try:
        made = {name.strip(): float(value) for name, _, value in parts}
    except ValueError:
        made = {}
    if len(made) < len(parts) or "" in made:
        raise argparse.ArgumentTypeError(f"{text!r} is no direction; write one as helpful=0.8,honest=0.6")
    return made


def thought_tags(args: argparse.Namespace) -> Tags:
    """The tags given, or those of common reasoning models."""
    return THOUGHT_TAGS if args.thought_tags is None else tags_of(args.thought_tags, "--thought-tags")


class _Former(argparse.Action):
    """Stores what is given under an option's former spelling, and says the new one."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        new = "--" + self.dest.replace("_", "-")
        warnings.warn(f"{option_string} is now {new}; {GOES}", DeprecationWarning, stacklevel=1)
        vars(namespace)[self.dest] = self.const if self.nargs == 0 else values


def add_former(parser: argparse.ArgumentParser, former: str, new: str) -> None:
    """Accept the option `new` under its spelling of the last minor version, with a warning and out of sight."""
    known = next(action for action in parser._actions if new in action.option_strings)
    parser.add_argument(
        former, action=_Former, dest=known.dest, nargs=known.nargs, const=known.const, type=known.type or str,
        choices=known.choices, default=argparse.SUPPRESS, help=argparse.SUPPRESS,
    )  # fmt: skip


def at_least(least: int) -> Callable[[str], int]:
    """The type of an argument that is a whole number with a lower bound."""

    def whole(text: str) -> int:
        if not text.removeprefix("-").isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of {least} or more")
        return int(text)

    return whole


def _device(name: str) -> str:
    """A device that tensors can be put on, tried out before an hour of fitting."""
    from plurality.reward.tensors import check_device

    try:
        check_device(name)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return name


def spec_of(name: str, settings: Iterable[str]) -> Any:
    """The spec of a family with `name=value` settings, values read by the field's type.

    Raises InputError for an unknown model or setting, or a value of another type.
    """
    cls = spec_class(name)
    hints = get_type_hints(cls)
    values = values_of(name, {f.name: hints[f.name] for f in fields(cls)}, settings)
    needed = [f.name for f in fields(cls) if f.default is MISSING and f.default_factory is MISSING]
    if missing := [key for key in needed if key not in values]:
        raise InputError(f"{name} needs a value of {', '.join(missing)}; give --set {missing[0]}=VALUE")
    return cls(**values)


def values_of(name: str, known: Mapping[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """`name=value` settings as values of the types that are `known`. Raises InputError as `spec_of` does."""
    values = {}
    for setting in settings:
        key, equals, text = setting.partition("=")
        if not equals or key not in known:
            has = f"has the settings {', '.join(known)}" if known else "has no settings"
            raise InputError(f"--set {setting}: {name} {has}; write one as name=value")
        values[key] = _value(text, known[key], setting)
    return values


def _value(text: str, hint: Any, setting: str) -> Any:
    kinds = get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if text.lower() == "none" and type(None) in kinds:
        return None
    for kind in kinds:
        if get_origin(kind) is tuple:
            return tuple(_value(part.strip(), get_args(kind)[0], setting) for part in text.split(",") if part.strip())
        if get_origin(kind) is Literal:
            return text  # the spec says which are allowed
    if bool in kinds:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise InputError(f"--set {setting}: give true or false")
    for kind in (k for k in (int, float, str) if k in kinds):
        try:
            return kind(text)
        except ValueError:
            continue
    raise InputError(f"--set {setting}: {text!r} is not a {' or '.join(WORDS[k] for k in kinds if k in WORDS)}")


def say(args: argparse.Namespace, *lines: object) -> None:
    """Print for a person, unless a machine listens."""
    if not args.json:
        for line in lines:
            print(visible(str(line)))
        sys.stdout.flush()


def say_unread(data: "Comparisons") -> None:
    """Name the columns that nothing was made of, where a machine that listens to the result is not disturbed."""
    if data.unread:
        print(visible(f"note: {data.source}: columns not read: {', '.join(data.unread)}"), file=sys.stderr)


def add_labels(parser: argparse.ArgumentParser) -> None:
    """`--labels`, words of a page in other languages."""
    parser.add_argument(
        "--labels", metavar="FILE", help='TOML file with words of the page in other languages: [de] and age = "Alter"'
    )


def read_labels_of(args: argparse.Namespace) -> "Labels | None":
    """The labels of the file that `--labels` names."""
    if not args.labels:
        return None
    from plurality.analyses.page.labels import read_labels

    return read_labels(args.labels)
