"""`plurality fit`: a store in, a fitted reward model out."""

import argparse
import warnings
from typing import Any

from plurality.cli.settings import add_device, add_former, add_no_verify, add_seed, say, spec_of
from plurality.io.experiment_log import TRACKERS
from plurality.io.paths import expanded
from plurality.models import families

EXAMPLE = "plurality fit pal store/ --out reward/ --set n_prototypes=4"


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    model = parser.add_argument("model", help=f"model family: {', '.join(families())}")
    model.completer = lambda prefix, **_: list(families())  # type: ignore[attr-defined]  # of argcomplete
    parser.add_argument("store", type=expanded, help="data store written by `plurality embed`")
    parser.add_argument("--out", required=True, type=expanded, help="output folder for the fitted model")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="hyperparameter of the model (repeatable)"
    )
    parser.add_argument(
        "--new-items-for",
        choices=("anybody", "user"),
        default="anybody",
        help="tune hyperparameters on items new to all users (anybody, default) or new to the user only (user)",
    )
    add_former(parser, "--new-to", "--new-items-for")
    parser.add_argument("--log", choices=TRACKERS, help="experiment tracker, if installed, that is told of each stage")
    add_device(parser)
    add_seed(parser)
    add_no_verify(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Load, fit, save."""
    from plurality.data.store import load
    from plurality.evaluation.cost import metered
    from plurality.fitting.data_parallel import data_parallel
    from plurality.io.atomic import check_target
    from plurality.reward.persistence import CONFIG

    check_target(args.out, CONFIG)
    spec = spec_of(args.model, args.set)
    with data_parallel() as process:
        first = process.rank == 0
        if not first:
            warnings.simplefilter("ignore")  # the first of torchrun's processes tells and writes
        data = load(args.store, verify=not args.no_verify)
        with metered() as cost:
            model = spec.fit(
                data,
                seed=args.seed,
                new_items_for=args.new_items_for,
                device=args.device,
                progress=first and not args.json,
                log=args.log if first else None,
            )
    if not first:
        raise SystemExit(0)
    model.save_pretrained(args.out)
    say(args, model, f"fitted in {cost.seconds:.1f} s, written to {args.out}")
    return {"model": str(args.out), "users": len(model.user_ids), **vars(cost)}
