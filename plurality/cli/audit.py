"""`plurality audit`: predictions and demographics in, a report of who is served how well out."""

import argparse
from typing import Any

from plurality.cli.settings import add_former, add_labels, add_seed, at_least, read_labels_of, say
from plurality.io.paths import expanded

FORMER = {"--draws": "--n-bootstrap", "--publish": "--min-users-flag", "--suppress": "--min-users-show"}

FAILED = "failed_gates"  # in the result: those that make the exit code 3

EXAMPLE = "plurality audit compare/predictions.parquet --users users.parquet --by age,gender --out audit/"


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "predictions",
        nargs="+",
        help="table with user_id, prob_first, label; or with user_id, score_chosen, score_rejected. "
        "`diff OLD NEW` instead compares two saved audits, `page AUDIT…` sets several on one page",
    )
    parser.add_argument("--users", help="table with user_id and demographics")
    parser.add_argument(
        "--by", action="append", help="comma-separated demographic columns of the users table (default: all)"
    )
    parser.add_argument(
        "--models", nargs="+", help="models to set side by side, the first as baseline; names in the predictions"
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
    parser.add_argument(
        "--rows", action="append", default=[], help="column of predictions to slice comparisons by, such as topic; "
        "two joined by + are the pair that they name, model_a+model_b; repeatable",
    )  # fmt: skip
    parser.add_argument(
        "--reference", action="append", default=[], metavar="ATTRIBUTE=LEVEL",
        help="group that the others of its attribute are compared with; repeatable",
    )  # fmt: skip
    parser.add_argument("--pairs", action="store_true", help="compare all pairs of groups of each other attribute")
    parser.add_argument("--exclude-missing", action="store_true", help="tell of no group of missing answers")
    parser.add_argument("--margin", type=float, default=0.05, help="gap in utility that matters (default 0.05)")
    sampled = parser.add_argument_group("sampling design", "columns of the users table")
    sampled.add_argument("--weights", metavar="COLUMN", help="sampling weights of people")
    sampled.add_argument("--strata", metavar="COLUMN", help="strata (default: one)")
    sampled.add_argument("--psu", metavar="COLUMN", help="clusters that were drawn (default: people)")
    sampled.add_argument("--fpc", metavar="COLUMN", help="clusters in the population of the stratum, or share drawn")
    sampled.add_argument("--replicates", metavar="COLUMNS", help="replicate weights, comma-separated, or PREFIX*")
    sampled.add_argument("--scale", type=float, help="factor of the sum over replicates, as 1/(R-1) of a bootstrap")
    sampled.add_argument(
        "--lonely",
        choices=("error", "adjust", "remove"),
        default="error",
        help="stratum of one cluster (default error)",
    )
    parser.add_argument(
        "--fail-if", action="append", default=[], metavar="GATE",
        help='condition under which to exit with 3, such as "worst_group.utility < .6"; repeatable',
    )  # fmt: skip
    parser.add_argument("--gates", help='TOML file with fail_if = ["worst_group.utility < .6", …]')
    add_labels(parser)
    parser.add_argument(
        "--out", type=expanded, help="output folder for the report; for diff, a parquet file; for page, an HTML file"
    )
    for former, new in FORMER.items():
        add_former(parser, former, new)
    add_seed(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Audit, print the verdict, save the report."""
    import plurality.analyses.audit.report  # noqa: F401 - where matplotlib or jinja2 is missing, that shows now
    from plurality.analyses.audit.compute import MARKER, audit
    from plurality.analyses.audit.gates import Gate, check_gates, read_gates
    from plurality.analyses.audit.slices import Disclosure
    from plurality.errors import InputError
    from plurality.io.atomic import check_target

    if args.predictions[0] == "diff" and len(args.predictions) == 3:
        return _diff(args)
    if args.predictions[0] == "page" and len(args.predictions) > 1:
        return _page(args)
    if len(args.predictions) > 1:
        raise InputError("audit: give one table of predictions, `diff OLD NEW` or `page AUDIT…` with saved audits")
    if args.out is None:
        raise InputError("audit: --out names the folder for the report; see `plurality audit --help`")
    args.predictions = args.predictions[0]
    labels = read_labels_of(args)
    gates = [*map(Gate.read, args.fail_if), *(read_gates(args.gates) if args.gates else [])]
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
            models=args.models,
            rows=[tuple(one.split("+")) if "+" in one else one for one in args.rows],
            reference=_references(args.reference),
            pairs=args.pairs,
            exclude_missing=args.exclude_missing,
            margin=args.margin,
            design=_design(args),
            progress=not args.json,
        )
    except InputError as error:  # an audit is handed tables; here they have the names of files
        table, colon, rest = str(error).partition(": ")
        given = ("predictions", "users", "candidates", "margins")
        place = vars(args)[table] if table in given else table
        raise InputError(f"{place}{colon}{rest}") from None
    held = check_gates(result, gates)
    result.save(args.out, labels=labels)
    say(args, result, *(f"gate {one.gate.text!r} {one.said}" for one in held), f"report: {args.out / 'index.html'}")
    found = {"report": str(args.out / "index.html"), "verdict": list(result.verdict), "notes": list(result.notes)}
    if not gates:
        return found
    return found | {FAILED: [one.said for one in held if one.failed], "gates": [one.said for one in held]}


def _design(args: argparse.Namespace) -> Any:
    """The columns of the sampling design; None where none is named."""
    from plurality.analyses.audit.designs import DesignColumns
    from plurality.analyses.inputs import read_table
    from plurality.errors import InputError

    named = [args.strata, args.psu, args.fpc, args.replicates]
    if args.weights is None:
        if any(named):
            raise InputError(
                "audit: a sampling design without --weights; name the column, of ones where all weigh alike"
            )
        return None
    replicates = [] if args.replicates is None else args.replicates.split(",")
    if args.users is not None and args.replicates is not None and args.replicates.endswith("*"):
        columns = read_table(args.users, "users").columns
        replicates = [name for name in columns if name.startswith(args.replicates[:-1])]
        if not replicates:
            raise InputError(f"audit: no column of {args.users} begins with {args.replicates[:-1]!r}; name them")
    return DesignColumns(args.weights, args.strata, args.psu, args.fpc, replicates, args.scale, lonely=args.lonely)


def _references(given: list[str]) -> dict[str, str] | None:
    from plurality.errors import InputError

    found = [one.partition("=") for one in given]
    if any(not equals for _, equals, _ in found):
        raise InputError(f"--reference {given}: write ATTRIBUTE=LEVEL, such as gender=men")
    return {attribute: level for attribute, _, level in found} or None


def _diff(args: argparse.Namespace) -> dict[str, Any]:
    """Two saved audits side by side."""
    from plurality.analyses.audit.difference import audit_difference

    found = audit_difference(*args.predictions[1:])
    say(args, found)
    if args.out is not None:
        found.save(args.out)
        say(args, f"table: {args.out}")
    return {"changes": found.table.to_dicts(), "notes": list(found.notes)}


def _page(args: argparse.Namespace) -> dict[str, Any]:
    """Several saved audits on one page."""
    from plurality.analyses.audit.saved_page import audit_page
    from plurality.errors import InputError

    if args.out is None:
        raise InputError("audit: --out names the HTML file to write; see `plurality audit --help`")
    audit_page(args.predictions[1:], args.out, labels=read_labels_of(args))
    say(args, f"page: {args.out}")
    return {"page": str(args.out)}
