"""Check a store's data quality: format leaks, annotator consistency, headroom for personalisation."""

import argparse
from typing import Any

from plurality.cli.settings import add_former, add_no_verify, add_seed, at_least, say
from plurality.io.paths import expanded

EXAMPLE = "plurality data check store/"


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("store", type=expanded, help="data store written by `plurality embed`")
    parser.add_argument(
        "--split",
        choices=("group", "prompt", "item"),
        help="unit that test comparisons are held out by (default: item if items recur)",
    )
    parser.add_argument(
        "--folds", type=at_least(1), default=2, help="cross-validation folds of the headroom estimate (default 2)"
    )
    parser.add_argument(
        "--n-bootstrap", type=at_least(1), default=1000, help="number of bootstrap resamples of users (default 1000)"
    )
    parser.add_argument("--no-headroom", action="store_true", help="skip the headroom estimate, which fits models")
    add_former(parser, "--no-room", "--no-headroom")
    parser.add_argument("--out", type=expanded, help="output folder for the tables (parquet)")
    add_former(parser, "--draws", "--n-bootstrap")
    add_seed(parser)
    add_no_verify(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Load, check, print, save the tables."""
    from plurality.data.store import load
    from plurality.data_checks.check import check_data
    from plurality.io.atomic import check_target, whole_folder

    marker = "checked.json"
    if args.out:
        check_target(args.out, marker)
    found = check_data(
        load(args.store, verify=not args.no_verify),
        split=args.split,
        folds=args.folds,
        n_bootstrap=args.n_bootstrap,
        estimate_room=not args.no_headroom,
        seed=args.seed,
        progress=not args.json,
    )
    tables = found.frames()
    if args.out:
        with whole_folder(args.out, marker=marker) as new:
            for name, table in tables.items():
                table.write_parquet(new / f"{name}.parquet")
    say(args, found.summary(), *([f"tables written to {args.out}"] if args.out else []))
    verdicts = {"format": found.format.verdict if found.format else None, "room": found.room and found.room.verdict}
    told = {name: table.fill_nan(None).to_dicts() for name, table in tables.items()}
    return {"suspicious": found.suspicious, "verdicts": verdicts, "sentences": found.sentences, "tables": told}
