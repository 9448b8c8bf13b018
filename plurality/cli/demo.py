"""`plurality demo`: an end-to-end demo on simulated or own data, from text to audit report, without a download."""

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plurality.cli.settings import add_seed, at_least, say
from plurality.io.paths import expanded

if TYPE_CHECKING:
    import polars as pl

EXAMPLE = "plurality demo --out demo/"


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--out", type=expanded, default=Path("demo"), help="output folder (default demo/)")
    parser.add_argument("--users", type=at_least(1), default=300, help="number of simulated users (default 300)")
    parser.add_argument(
        "--comparisons", type=at_least(1), default=60, help="comparisons per simulated user (default 60)"
    )
    parser.add_argument("--data", type=expanded, help="folder with your own comparisons.parquet and users.parquet")
    parser.add_argument(
        "--split",
        default="prompt",
        choices=("prompt", "group", "item"),
        help="unit that test comparisons are held out by (default prompt)",
    )
    add_seed(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """The README's commands, one after the other."""
    import polars as pl

    from plurality import cli
    from plurality.io.atomic import whole_folder

    out: Path = args.out
    comparisons, people = _given(args.data) if args.data else _simulated(args)
    newcomer = pl.col("user_id") == comparisons["user_id"][0]  # whom nothing is fitted to
    new, comparisons = comparisons.filter(newcomer).head(20), comparisons.filter(~newcomer)
    with whole_folder(out / "data", marker="demo.json") as folder:
        comparisons.write_parquet(folder / "comparisons.parquet")
        people.write_parquet(folder / "users.parquet")
        new.write_parquet(folder / "new_user.parquet")
        new.select("user_id", "prompt", completion="chosen").write_parquet(folder / "candidates.parquet")
    data, users = str(out / "data" / "comparisons.parquet"), str(out / "data" / "users.parquet")
    jobs = min(os.cpu_count() or 1, 4)
    store, seed = str(out / "store"), ["--seed", str(args.seed)]
    steps = [
        ["embed", data, "--users", users, "--encoder", "lsa", "--out", store, *seed],
        ["fit", "pal", store, "--out", str(out / "reward"), "--set", "n_prototypes=4", *seed],
        ["compare", store, *_panels(people), "--split", args.split, "--jobs", str(jobs),
         "--out", str(out / "compare"), *seed],
        ["audit", str(out / "compare" / "predictions.parquet"), "--users", users, "--model", "pal",
         "--out", str(out / "audit"), *seed],
        ["adapt", str(out / "reward"), str(out / "data" / "new_user.parquet"), "--out", str(out / "reward2")],
        ["score", str(out / "reward2"), str(out / "data" / "candidates.parquet"), "--out", str(out / "scored.parquet")],
    ]  # fmt: skip
    for step in steps:
        say(args, "", f"$ plurality {' '.join(step)}")
        cli.run(cli.parse([*step, "--json"] if args.json else step))
    report = out / "audit" / "index.html"
    say(
        args,
        "",
        f"Done. Open {report} for who is served how well, {out / 'compare' / 'comparison.png'} for the models.",
    )
    return {"report": str(report), "out": str(out)}


def _panels(people: "pl.DataFrame") -> list[str]:
    """Whom people were recruited with is MORE's source: region, or the first thing that is known of them."""
    known = people.columns[1:]
    return ["--set", f"more.source={'region' if 'region' in known else known[0]}"] if known else []


def _simulated(args: argparse.Namespace) -> "tuple[pl.DataFrame, pl.DataFrame]":
    from plurality.datasets.simulated import text as planted_text

    say(args, f"Simulating {args.users} people who disagree about {args.comparisons} pairs of answers each …")
    people = planted_text.simulate(n_users=args.users, n_comparisons=args.comparisons, seed=args.seed)
    return people.comparisons, people.users


def _given(folder: Path) -> "tuple[pl.DataFrame, pl.DataFrame]":
    from plurality.data.readers.columns import column
    from plurality.data.readers.tables import open_frame

    comparisons, place = open_frame(folder / "comparisons.parquet", "comparisons")
    for name in ("user_id", "prompt", "chosen"):  # of which new users and candidates are made
        column(comparisons, name, place)
    people, _ = open_frame(folder / "users.parquet", "users")
    return comparisons, people
