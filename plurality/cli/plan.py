"""`plurality plan`: how many people of which group, with how many answers each, until a gap is known."""

import argparse
from typing import Any

from plurality.cli.settings import at_least, say
from plurality.io.paths import expanded

EXAMPLE = "plurality plan compare/predictions.parquet --users users.parquet --by age --within .05 --out plan.png"


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("predictions", help="table with user_id, prob_first, label, as `plurality audit` reads it")
    parser.add_argument("--users", required=True, help="table with user_id and demographics")
    parser.add_argument("--by", required=True, help="demographic columns (comma-separated): levels against the rest")
    parser.add_argument("--within", type=float, help="half-width that each gap's interval is to have")
    parser.add_argument("--gap", type=float, help="instead: the smallest gap that an audit of all groups is to show")
    parser.add_argument("--power", type=float, default=0.8, help="chance of showing it (default 0.8)")
    parser.add_argument("--metric", choices=("accuracy", "log_loss"), default="accuracy", help="default accuracy")
    parser.add_argument(
        "--answers", type=at_least(1), nargs="+", default=[5, 10, 20, 50], help="answers a person (default 5 10 20 50)"
    )
    parser.add_argument("--model", help="model whose predictions these are (default: the first that is not a control)")
    parser.add_argument("--cell", help="test cell (default: seen users, unseen items or prompts)")
    parser.add_argument("--out", type=expanded, help="figure to write, .png or .svg")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Plan, print what it takes, draw the curve."""
    from plurality.analyses.planning import plan
    from plurality.errors import InputError
    from plurality.io.atomic import check_file, whole_file

    if args.out is not None:
        if args.out.suffix not in (".png", ".svg"):
            raise InputError(f"{args.out}: figures are written as .png or .svg; give a name that ends so")
        check_file(args.out)
    found = plan(
        args.predictions,
        args.users,
        by=args.by.split(",") if "," in args.by else args.by,
        within=args.within,
        gap=args.gap,
        power=args.power,
        metric=args.metric,
        answers=args.answers,
        model=args.model,
        cell=args.cell,
    )
    say(args, found)
    if args.out is not None:
        from plurality.analyses.figures import as_bytes

        with whole_file(args.out) as new:
            new.write_bytes(as_bytes(found.figure(), args.out.suffix[1:]))
        say(args, f"figure written to {args.out}")
    return {"plan": found.table.to_dicts(), **found.about}
