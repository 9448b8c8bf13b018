"""`plurality export`: a fitted reward as a Hugging Face checkpoint that trainers and benchmarks load."""

import argparse
from dataclasses import asdict
from typing import Any

from plurality.cli.settings import say
from plurality.io.paths import expanded

KINDS = ("baked", "custom", "adapters")


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("model", help="model folder that `fit` or `adapt` wrote, or hub id org/name")
    parser.add_argument("--out", required=True, type=expanded, help="folder to write")
    parser.add_argument(
        "--kind",
        required=True,
        choices=KINDS,
        help="baked: a plain classifier of one person's reward; custom: everybody's, with its own code; "
        "adapters: a plain classifier and a LoRA for everybody",
    )
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument("--user", help="a user's reward (of custom: where nobody is named; of adapters: theirs alone)")
    whose.add_argument("--group", metavar="COLUMN=VALUE", help="the mean reward of a group of the users table")
    whose.add_argument("--population", action="store_true", help="the population's reward")
    parser.add_argument("--users", help="users table, for --group")
    parser.add_argument("--backbone", type=expanded, help="where the encoder's model lies now, if not where it was")
    parser.add_argument(
        "--tolerance", type=float, default=1e-4, help="largest error of a gap of two probes, log-odds (default 1e-4)"
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Load, write, compare."""
    from plurality.errors import InputError
    from plurality.io.atomic import check_target
    from plurality.reward.reward_model import load
    from plurality.rl.huggingface import export_adapters, export_baked, export_custom
    from plurality.rl.huggingface.parity import REPORT

    if args.kind == "baked" and not (args.user or args.group or args.population):
        raise InputError("export: a baked checkpoint holds one reward; give --user, --group or --population")
    if args.kind == "adapters" and args.group:
        raise InputError("export: adapters are of users; give --user, nothing for everybody, or another --kind")
    check_target(args.out, REPORT)
    reward = load(args.model)
    shared = {"backbone": args.backbone, "tolerance": args.tolerance, "progress": not args.json}
    if args.kind == "adapters":
        done = export_adapters(reward, args.out, user_ids=[args.user] if args.user else None, **shared)
    else:
        export = export_baked if args.kind == "baked" else export_custom
        done = export(reward, args.out, user=args.user, group=_pair(args.group), users=args.users, **shared)
    error = f"gaps of {done.parity.probes} probes differ by {done.parity.max_difference:.1e} log-odds at most"
    say(args, f"{done.kind}, {done.whose}: written to {done.folder}; {error}", *done.notes)
    return {**asdict(done), "folder": str(done.folder)}


def _pair(group: str | None) -> tuple[str, str] | None:
    from plurality.errors import InputError

    if group is None:
        return None
    column, equals, value = group.partition("=")
    if not equals:
        raise InputError(f"--group {group}: write it as COLUMN=VALUE")
    return column, value
