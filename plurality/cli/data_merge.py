"""Make a store of its shards, which `plurality embed --shard` wrote."""

import argparse
from typing import Any

from plurality.cli.settings import say
from plurality.io.paths import expanded

EXAMPLE = "plurality data merge shard1/ shard2/ shard3/ shard4/ --out store/"


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("shards", nargs="+", type=expanded, help="folders of all shards, in any order")
    parser.add_argument("--out", required=True, type=expanded, help="data store to write")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Check that they belong together, copy."""
    from plurality.data.shards import merge_shards
    from plurality.data.store import META
    from plurality.io.atomic import check_target

    check_target(args.out, META)
    merge_shards(args.shards, args.out)
    say(args, f"store of {len(args.shards)} shards written to {args.out}")
    return {"store": str(args.out), "shards": len(args.shards)}
