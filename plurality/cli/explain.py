"""`plurality explain`: what the codes of a reward's users mean, on the items that people compared."""

import argparse
from typing import Any

from plurality.cli.encoders import add_model_encoder, model_encoder, read_for
from plurality.cli.settings import add_no_verify, add_seed, say
from plurality.io.paths import expanded

EXAMPLE = "plurality explain reward/ store/ --out codes.html"


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("model", help="fitted model folder, or hub id org/name")
    parser.add_argument(
        "store", help="data store with the items that are looked at and what is known of users, or a table of texts"
    )
    parser.add_argument("--users", help="users table, where the items are no store")
    parser.add_argument("--user", metavar="ID", help="also tell where this user stands")
    parser.add_argument(
        "--by", action="append", help="comma-separated columns of the users table that may be named (default: all)"
    )
    parser.add_argument("--out", type=expanded, help="output page (.html); without it the result is printed alone")
    add_seed(parser)
    add_model_encoder(parser)
    add_no_verify(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Load both, explain, print, save."""
    from plurality.errors import InputError
    from plurality.io.atomic import check_file, whole_file
    from plurality.reward.explaining import explain
    from plurality.reward.reward_model import load

    if args.out is not None:
        if args.out.suffix != ".html":
            raise InputError(f"{args.out}: the page is HTML; give a name that ends in .html")
        check_file(args.out)
    model = load(args.model, verify=not args.no_verify, encoder=model_encoder(args))
    by = [name for group in args.by for name in group.split(",")] if args.by else None
    data = read_for(model, args.store, users=args.users, progress=not args.json)
    found = explain(model, data, args.user, by=by, seed=args.seed)
    if args.out is not None:
        with whole_file(args.out) as new:
            new.write_text(found.page(), encoding="utf-8")
    say(args, found, *([f"page written to {args.out}"] if args.out else []))
    return {
        "page": None if args.out is None else str(args.out),
        "directions": found.directions.to_dicts(),
        "user": None if found.user is None else found.user.to_dicts(),
    }
