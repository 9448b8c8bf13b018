"""`plurality reproduce NAME`: run a model family's recipe and compare the results with its golden numbers."""

import argparse
from dataclasses import asdict
from typing import Any

from plurality.cli.settings import add_seed, say
from plurality.io.paths import expanded

EXAMPLE = "plurality reproduce pal"


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "folder", type=expanded, help="model family such as pal, or a folder with recipe.toml and golden.json"
    )
    add_seed(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Run the cases, print the table; a number out of tolerance is an error."""
    from plurality.errors import InputError
    from plurality.reproduce.recipes import reproduce

    results = []
    for result in reproduce(args.folder, seed=args.seed):
        results.append(result)
        verdict = "ok" if result.holds else "MISSED"
        slack = {"more": "−", "less": "+", "same": "±"}[result.better]
        say(
            args,
            f"{verdict:6} {result.case}, {result.measure}: {result.measured:.3f}, "
            f"expected {result.expected:.3f} {slack} {result.tol:.3f} ({result.source})",
        )
    missed = [r for r in results if not r.holds]
    if missed:
        raise InputError(f"{args.folder}: {len(missed)} of {len(results)} numbers miss their golden value")
    return {"results": [asdict(r) | {"holds": r.holds} for r in results]}
