"""`plurality export`: a fitted reward as a Hugging Face checkpoint that trainers and benchmarks load."""

import argparse
from dataclasses import asdict
from typing import Any

from plurality.cli.settings import add_no_verify, say
from plurality.io.paths import expanded

KINDS = ("baked", "custom", "adapters")

EXAMPLE = "plurality export reward/ --kind baked --population --out checkpoint/"


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("model", help="fitted model folder, or hub id org/name")
    parser.add_argument("--out", required=True, type=expanded, help="output folder for the checkpoint")
    parser.add_argument(
        "--kind",
        required=True,
        choices=KINDS,
        help="baked: a standard classifier with one user's, group's or the population's reward; custom: all users, "
        "with custom modelling code; adapters: a standard classifier and a LoRA adapter per user",
    )
    whose = parser.add_mutually_exclusive_group()
    whose.add_argument(
        "--user", help="user id to export (custom: the default user; adapters: only this user's adapter)"
    )
    whose.add_argument("--group", metavar="COLUMN=VALUE", help="export the mean reward of a group of the users table")
    whose.add_argument("--population", action="store_true", help="export the population's reward")
    parser.add_argument("--users", help="users table with demographics, for --group")
    parser.add_argument("--backbone", type=expanded, help="folder of the encoder's model, if it has moved")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="maximum parity error in log-odds (default 1e-4)")
    add_no_verify(parser)


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
        raise InputError("export: adapters are of users; give --user, neither for all users, or another --kind")
    check_target(args.out, REPORT)
    reward = load(args.model, verify=not args.no_verify)
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
