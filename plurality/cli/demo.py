"""`plurality demo`: the whole road on a simulated population, text to report, with no download."""

import argparse
from pathlib import Path
from typing import Any

from plurality.cli.settings import add_seed, at_least, say


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder to write (default demo/)")
    parser.add_argument("--users", type=at_least(1), default=300, help="simulated people (default 300)")
    parser.add_argument("--comparisons", type=at_least(1), default=60, help="comparisons each (default 60)")
    add_seed(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """The README's commands, one after the other, on planted text."""
    from plurality import cli
    from plurality.datasets import planted_text
    from plurality.folders import whole_folder

    out: Path = args.out
    say(args, f"Simulating {args.users} people who disagree about {args.comparisons} pairs of answers each …")
    people = planted_text.simulate(n_users=args.users, n_comparisons=args.comparisons, seed=args.seed)
    new = people.comparisons.filter(people.comparisons["user_id"] == people.users["user_id"][0]).head(20)
    with whole_folder(out / "data", marker="new_user.parquet") as folder:
        people.save(folder)
        new.write_parquet(folder / "new_user.parquet")
        new.select("user_id", "prompt", completion="chosen").write_parquet(folder / "candidates.parquet")
    data, users = str(out / "data" / "comparisons.parquet"), str(out / "data" / "users.parquet")
    store, seed = str(out / "store"), ["--seed", str(args.seed)]
    steps = [
        ["embed", data, "--users", users, "--encoder", "lsa", "--out", store, *seed],
        ["fit", "pal", store, "--out", str(out / "reward"), "--set", "n_prototypes=4", *seed],
        ["compare", store, "--models", "bradley_terry,pal", "--split", "prompt", "--out", str(out / "compare"), *seed],
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
