"""Arguments of commands whose work a Ray cluster may do."""

import argparse

from plurality.cli.settings import at_least
from plurality.io.engines import Engine


def add_engine(parser: argparse.ArgumentParser) -> None:
    """`--engine` and `--workers`."""
    parser.add_argument(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="where texts are embedded: here (default), or on the Ray cluster of RAY_ADDRESS (a local one without it), "
        "with the same result",
    )
    parser.add_argument(
        "--workers",
        type=at_least(1),
        metavar="N",
        help="with --engine ray: copies of the encoder (default: one a GPU, or a CPU where there is no GPU)",
    )


def engine_of(args: argparse.Namespace) -> Engine:
    """The engine that is asked for. Raises InputError for workers of none."""
    return Engine(args.engine, args.workers)
