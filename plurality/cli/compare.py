"""`plurality compare`: several models and their controls on one split, one table."""

import argparse
from typing import Any

from plurality.cli.settings import (
    add_device,
    add_former,
    add_labels,
    add_no_verify,
    add_seed,
    at_least,
    read_labels_of,
    say,
    spec_of,
)
from plurality.io.experiment_log import TRACKERS
from plurality.io.paths import expanded

EXAMPLE = "plurality compare store/ --models pal,low_rank --split prompt --out compare/"


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("store", type=expanded, help="data store written by `plurality embed`")
    parser.add_argument(
        "--models", default="all", help="comma-separated model families (default: all that can use the data)"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="MODEL.NAME=VALUE",
        help="hyperparameter of one model, such as pal.n_prototypes=8 (repeatable)",
    )
    parser.add_argument(
        "--split",
        default="prompt",
        choices=("prompt", "group", "item", "row", "time"),
        help="unit that test comparisons are held out by (default prompt)",
    )
    parser.add_argument(
        "--test-size", type=float, default=0.2, help="share of units held out for testing (default 0.2)"
    )
    parser.add_argument("--unseen-users", type=float, default=0.2, help="share of users held out (default 0.2)")
    parser.add_argument(
        "--support",
        type=_support,
        default=20,
        metavar="N[,N…]",
        help="comparisons that each unseen user is adapted on (default 20); several, as 0,1,5,20, give few-shot curves",
    )
    parser.add_argument(
        "--support-draws",
        type=at_least(1),
        default=20,
        help="draws of each unseen user's answers behind the curves (default 20)",
    )
    parser.add_argument(
        "--scorer",
        action="append",
        default=[],
        metavar="NAME=FILE",
        help="a table with prompt, completion and score of another reward, which stands beside the models (repeatable)",
    )
    parser.add_argument("--folds", type=at_least(1), default=1, help="number of disjoint test folds (default 1)")
    parser.add_argument("--no-shuffled", action="store_true", help="skip the control fits on shuffled users")
    parser.add_argument(
        "--n-bootstrap", type=at_least(1), default=1000, help="number of bootstrap resamples of users (default 1000)"
    )
    parser.add_argument("--jobs", type=at_least(1), default=1, help="number of models fitted side by side (default 1)")
    parser.add_argument(
        "--time-limit", type=float, metavar="SECONDS", help="begin no further model or fold after these"
    )
    parser.add_argument("--log", choices=TRACKERS, help="experiment tracker, if installed, that is told of all of it")
    add_former(parser, "--test", "--test-size")
    add_former(parser, "--draws", "--n-bootstrap")
    add_device(parser)
    add_labels(parser)
    parser.add_argument("--out", type=expanded, help="output folder for tables, predictions, figures and a page")
    add_seed(parser)
    add_no_verify(parser)


def _support(text: str) -> int | list[int]:
    """A number of comparisons, or several apart by commas."""
    sizes = [at_least(0)(part.strip()) for part in text.split(",")]
    return sizes if "," in text else sizes[0]


def _scorer(given: str) -> tuple[str, Any]:
    """Name and scores of NAME=FILE. Raises InputError for another form and a file that cannot be read."""
    from plurality.data.readers.tables import open_frame
    from plurality.errors import InputError

    name, equals, file = given.partition("=")
    if not (name and equals and file):
        raise InputError(f"--scorer {given}: write NAME=FILE, such as skywork=scores.parquet")
    return name, open_frame(file, "scores")[0]


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Load, fit everything, print the table, save."""
    from plurality.data.store import load
    from plurality.errors import InputError
    from plurality.evaluation.compare import compare
    from plurality.evaluation.comparison_table import MARKER
    from plurality.io.atomic import check_target
    from plurality.models import families
    from plurality.reward.registry import family_name

    if args.out:
        import plurality.analyses.figures
        import plurality.evaluation.comparison_page  # noqa: F401 - where matplotlib or jinja2 is missing, that shows now

        check_target(args.out, MARKER)
    labels = read_labels_of(args)
    everything = args.models == "all"
    names = list(families()) if everything else [family_name(n) for n in args.models.split(",") if n.strip()]
    settings: dict[str, list[str]] = {name: [] for name in names}
    for setting in args.set:
        name, dot, rest = setting.partition(".")
        name = name if name in settings else name.lower().replace("-", "_")
        if not dot or name not in settings:
            raise InputError(f"--set {setting}: write MODEL.NAME=VALUE with a model of --models {args.models}")
        settings[name].append(rest)
    specs, unusable = {}, {}
    for name in names:
        try:
            specs[name] = spec_of(name, settings[name])
        except InputError as reason:  # a package that is broken leaves the others their comparison
            if not everything or settings[name]:
                raise
            unusable[name] = str(reason)
    scorers = dict(map(_scorer, args.scorer))
    if len(scorers) < len(args.scorer):
        raise InputError(f"--scorer {' --scorer '.join(args.scorer)}: two have one name; give each its own")
    result = compare(
        load(args.store, verify=not args.no_verify),
        specs,
        split=args.split,
        test_size=args.test_size,
        unseen_users=args.unseen_users,
        support=args.support,
        support_draws=args.support_draws,
        scorers=scorers or None,
        folds=args.folds,
        shuffled=not args.no_shuffled,
        leave_out=everything,
        n_bootstrap=args.n_bootstrap,
        time_limit=args.time_limit,
        log=args.log,
        n_jobs=args.jobs,
        seed=args.seed,
        device=args.device,
        progress=not args.json,
    )
    result.about["left_out"] |= unusable
    if args.out:
        result.save(args.out, labels=labels)
    say(args, result)
    if args.out:
        say(args, f"tables, predictions and figures written to {args.out}, a page to explore them to index.html")
    table, answers = (frame.fill_nan(None).to_dicts() for frame in (result.table, result.answers))
    return {"out": args.out, "about": result.about, "table": table, "answers": answers, "verdict": result.verdict}
