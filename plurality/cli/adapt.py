"""`plurality adapt`: users from a few comparisons, new ones or more of those known, shared weights untouched."""

import argparse
from typing import Any

from plurality.cli.encoders import add_model_encoder, model_encoder, read_for
from plurality.cli.settings import add_no_verify, say, say_unread
from plurality.io.paths import expanded

EXAMPLE = "plurality adapt reward/ new_users.parquet --out reward2/"


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("model", help="fitted model folder, or hub id org/name")
    parser.add_argument(
        "comparisons", help="comparisons of users, new or known, in the format of `plurality embed`, or a store"
    )
    parser.add_argument(
        "--embeddings", help="precomputed embeddings (.npy, .safetensors), if the columns hold their row numbers"
    )
    parser.add_argument("--replace", action="store_true", help="infer known users anew from these comparisons alone")
    parser.add_argument(
        "--forget", type=float, default=0.0, metavar="SHARE", help="share of what is known that is lost first (0)"
    )
    parser.add_argument("--out", required=True, type=expanded, help="output folder for the adapted model")
    add_model_encoder(parser)
    add_no_verify(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Load, embed with the model's own encoder, adapt, save."""
    from plurality.data.read import read
    from plurality.io.atomic import check_target
    from plurality.reward.persistence import CONFIG
    from plurality.reward.reward_model import load

    check_target(args.out, CONFIG)
    model = load(args.model, verify=not args.no_verify, encoder=model_encoder(args))
    if args.embeddings:
        support = read(args.comparisons, embeddings=args.embeddings)
    else:
        support = read_for(model, args.comparisons, progress=not args.json)
    say_unread(support)
    adapted = model.adapt(support, replace=args.replace, forget=args.forget)
    adapted.save_pretrained(args.out)
    new = len(adapted.user_ids) - len(model.user_ids)
    count = len(support.by_unit(model.spec.unit).present)
    done = "replaced" if args.replace else "updated"
    say(args, adapted, f"{new:,} new users, {count - new:,} {done}, written to {args.out}")
    return {"model": str(args.out), "adapted": count, "new": new, done: count - new, "users": len(adapted.user_ids)}
