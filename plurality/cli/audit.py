"""`plurality audit`: predictions and demographics in, a report of who is served how well out."""

import argparse
from typing import Any

from plurality.cli.settings import add_former, add_seed, at_least, say
from plurality.io.paths import expanded

FORMER = {"--draws": "--n-bootstrap", "--publish": "--min-users-flag", "--suppress": "--min-users-show"}

EXAMPLE = "plurality audit compare/predictions.parquet --users users.parquet --by age,gender --out audit/"


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "predictions", help="table with user_id, prob_first, label; or with user_id, score_chosen, score_rejected"
    )
    parser.add_argument("--users", help="table with user_id and demographics")
    parser.add_argument(
        "--by", action="append", help="comma-separated demographic columns of the users table (default: all)"
    )
    parser.add_argument("--model", help="model to audit (default: the first that is not a control)")
    parser.add_argument("--cell", help="test cell to audit (default: seen users, unseen items or prompts)")
    parser.add_argument(
        "--ways", type=int, choices=(1, 2, 3), default=2, help="maximum number of crossed columns (default 2)"
    )
    parser.add_argument(
        "--candidates", help="table with user_id, prompt, candidate, reward, for the social-choice analysis"
    )
    parser.add_argument(
        "--margins", help="table with attribute, level, share: population margins for post-stratification"
    )
    parser.add_argument(
        "--min-users-flag", type=int, default=20, help="flag slices of fewer users than this (default 20)"
    )
    parser.add_argument(
        "--min-users-show", type=int, default=11, help="withhold slices of fewer users than this (default 11)"
    )
    parser.add_argument(
        "--n-bootstrap", type=at_least(1), default=1000, help="number of bootstrap resamples of users (default 1000)"
    )
    parser.add_argument("--out", required=True, type=expanded, help="output folder for the report")
    for former, new in FORMER.items():
        add_former(parser, former, new)
    add_seed(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Audit, print the verdict, save the report."""
    import plurality.analyses.audit.report  # noqa: F401 - where matplotlib or jinja2 is missing, that shows now
    from plurality.analyses.audit.compute import MARKER, audit
    from plurality.analyses.audit.slices import Disclosure
    from plurality.errors import InputError
    from plurality.io.atomic import check_target

    check_target(args.out, MARKER)
    try:
        result = audit(
            args.predictions,
            args.users,
            by=[c for group in args.by for c in group.split(",")] if args.by else None,
            ways=args.ways,
            candidates=args.candidates,
            margins=args.margins,
            n_bootstrap=args.n_bootstrap,
            seed=args.seed,
            disclosure=Disclosure(min_users_flag=args.min_users_flag, min_users_show=args.min_users_show),
            model=args.model,
            cell=args.cell,
            progress=not args.json,
        )
    except InputError as error:  # an audit is handed tables; here they have the names of files
        table, colon, rest = str(error).partition(": ")
        given = ("predictions", "users", "candidates", "margins")
        place = vars(args)[table] if table in given else table
        raise InputError(f"{place}{colon}{rest}") from None
    result.save(args.out)
    say(args, result, f"report: {args.out / 'index.html'}")
    return {"report": str(args.out / "index.html"), "verdict": list(result.verdict), "notes": list(result.notes)}
