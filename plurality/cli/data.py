"""`plurality data`: a public data set in, comparisons and users in the external format (or a store) out."""

import argparse
from importlib import import_module
from types import ModuleType
from typing import Any

from plurality.cli.embed import add_encoder
from plurality.cli.settings import say, values_of
from plurality.io.paths import expanded

STORES = {"check": "plurality.cli.data_check", "merge": "plurality.cli.data_merge"}
"""Words about stores that stand where a data set's name does, and the module with `add` and `run` of each."""

EXAMPLE = "plurality data prism FOLDER --out prism/"


def add(parser: argparse.ArgumentParser) -> None:
    """A command for every data set, each with its own settings in its help."""
    from plurality import datasets

    names = parser.add_subparsers(dest="name", required=True, metavar="name")
    for name in datasets.NAMES:
        module = import_module(f"plurality.datasets.{name}")
        settings = ", ".join(f"{p.name}={p.default}" for p in datasets.options(name).values()) or "none"
        what = _first_line(module)
        about = f"{what} Licence: {module.ABOUT.licence}. Settings: {settings}."
        epilog = f"example: plurality data {name} FOLDER --out {name}/"
        parser = names.add_parser(name, help=what, description=about.replace("%", "%%"), epilog=epilog)
        _add_set(parser, module.ABOUT.source)
    for name, where in STORES.items():
        module = import_module(where)
        command = names.add_parser(name, help=_first_line(module), epilog=f"example: {module.EXAMPLE}")
        _add_json(command)
        module.add(command)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Load, then write frames, or a store where an encoder is named."""
    if args.name in STORES:
        done: dict[str, Any] = import_module(STORES[args.name]).run(args)
        return done
    from plurality import datasets
    from plurality.cli import embed
    from plurality.data.store import META
    from plurality.datasets._tools.frames import MARK
    from plurality.errors import InputError
    from plurality.io.atomic import check_target

    if not args.encoder and (flags := embed.encoder_flags(args)):
        raise InputError(f"{', '.join(flags)} without --encoder: name the encoder, or leave out what is its")
    check_target(args.out, META if args.encoder else MARK)
    hints = {name: option.annotation for name, option in datasets.options(args.name).items()}
    seed = {"seed": args.seed} if "seed" in hints else {}
    made = datasets.frames(args.name, args.source, **seed | values_of(args.name, hints, args.set))
    say(args, made.summary())
    told = {"dropped": dict(made.dropped)}
    if args.encoder:
        given = {
            "comparisons": made.collect(),
            "users": made.users,
            "embeddings": None,
            "manifest": None,
            "results": None,
            "shard": None,
        }
        return embed.run(argparse.Namespace(**{**vars(args), **given})) | told
    made.write(args.out)
    say(args, f"comparisons.parquet and users.parquet written to {args.out}")
    facts = {"comparisons": made.count(), "users": made.users.height}
    return {"folder": str(args.out), **facts, **told}


def _add_set(parser: argparse.ArgumentParser, source: str) -> None:
    parser.add_argument("source", help=f"{source}, or a Hugging Face hub id owner/name[@revision]")
    parser.add_argument(
        "--out",
        required=True,
        type=expanded,
        help="output folder: a data store if --encoder is given, otherwise parquet files",
    )
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="loader setting (repeatable)")
    _add_json(parser)
    add_encoder(parser, "lsa, a hub id or a model folder: write a data store with embeddings")


def _first_line(module: ModuleType) -> str:
    return (module.__doc__ or "").split("\n")[0]


def _add_json(parser: argparse.ArgumentParser) -> None:
    """--json may also stand behind the name."""
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print the result as one JSON object"
    )
