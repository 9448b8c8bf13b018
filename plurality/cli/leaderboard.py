"""`plurality leaderboard`: systems that wrote responses, ranked by everybody and by each group."""

import argparse
from typing import Any

from plurality.cli.settings import say
from plurality.io.paths import expanded

EXAMPLE = (
    "plurality leaderboard battles.parquet --users users.parquet --by age --text response_a,response_b --out ranks.csv"
)
TABLES = (".parquet", ".csv", ".xlsx", ".tex")


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "comparisons", help="table with user_id, model_a, model_b and label (P of a) or winner (model_a, model_b, tie)"
    )
    parser.add_argument("--users", help="table with user_id and demographics")
    parser.add_argument(
        "--by", action="append", help="comma-separated columns of the users table (default: all with few levels)"
    )
    parser.add_argument(
        "--style", help="comma-separated features that are held fixed: columns NAME_a and NAME_b of the comparisons"
    )
    parser.add_argument(
        "--text",
        metavar="A,B",
        help="columns with the responses of a and b, whose length, lists and the like are held fixed",
    )
    parser.add_argument(
        "--ridge", type=float, default=0.0, help="penalty on ratings, for systems that always win (default 0)"
    )
    parser.add_argument("--level", type=float, default=0.95, help="coverage of the intervals (default 0.95)")
    parser.add_argument(
        "--min-users-show",
        type=int,
        default=11,
        help="withhold groups, and systems in them, of fewer users (default 11)",
    )
    parser.add_argument("--out", type=expanded, help="table to write: .parquet, .csv, .xlsx or .tex")
    parser.add_argument("--figure", type=expanded, help="figure of ranks by group to write: .png or .svg")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Rank, print, save."""
    from plurality.analyses.audit.export import write_table
    from plurality.analyses.audit.slices import Disclosure
    from plurality.analyses.inputs import read_table
    from plurality.analyses.leaderboards import leaderboard
    from plurality.errors import InputError
    from plurality.io.atomic import check_file, whole_file

    for path, kinds in ((args.out, TABLES), (args.figure, (".png", ".svg"))):
        if path is not None:
            if path.suffix not in kinds:
                raise InputError(f"{path}: written as {', '.join(kinds)}; give a name that ends so")
            check_file(path)
    frame = read_table(args.comparisons, "comparisons")
    least = args.min_users_show
    found = leaderboard(
        frame,
        args.users,
        by=[c for group in args.by for c in group.split(",")] if args.by else None,
        style=_style(frame, args),
        ridge=args.ridge,
        level=args.level,
        disclosure=Disclosure(min_users_flag=max(20, least), min_users_show=least),
    )
    if args.out is not None:
        if args.out.suffix == ".parquet":
            with whole_file(args.out) as new:
                found.table.write_parquet(new)
        else:
            write_table(found.table, args.out)
    if args.figure is not None:
        from plurality.analyses.figures import as_bytes

        with whole_file(args.figure) as new:
            new.write_bytes(as_bytes(found.figure(), args.figure.suffix[1:]))
    written = [f"{what}: {path}" for what, path in (("table", args.out), ("figure", args.figure)) if path is not None]
    say(args, found, *written)
    return {name: getattr(found, name).to_dicts() for name in ("table", "groups", "style")} | {
        "notes": list(found.notes)
    }


def _style(frame: Any, args: argparse.Namespace) -> Any:
    """Differences of the features that are held fixed, a row a comparison; None without any."""
    import polars as pl

    from plurality.analyses.features import differences, features
    from plurality.analyses.inputs import listed
    from plurality.errors import InputError

    names = [] if args.style is None else args.style.split(",")
    texts = [] if args.text is None else args.text.split(",")
    if len(texts) not in (0, 2):
        raise InputError(f"--text {args.text}: give two columns, of the responses of a and of b")
    wanted = [*texts, *(f"{name}_{side}" for name in names for side in "ab")]
    missing = [name for name in wanted if name not in frame.columns]
    if missing:
        raise InputError(f"comparisons: no column {listed(missing)}; it has {listed(frame.columns)}")
    sides = [
        pl.concat(
            [features(frame[text]) for text in texts[k : k + 1]]
            + [frame.select(pl.col(f"{name}_{side}").alias(name) for name in names)] * bool(names),
            how="horizontal",
        )
        for k, side in enumerate("ab")
        if wanted
    ]
    if not sides:
        return None
    found = differences(*sides)
    return found.select(name for name in found.columns if (found[name] != 0).any())
