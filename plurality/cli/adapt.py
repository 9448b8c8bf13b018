"""`plurality adapt`: new users from a few comparisons, shared weights untouched."""

import argparse
from typing import Any

from plurality.cli.settings import say
from plurality.io.paths import expanded


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("model", help="model folder that `fit` wrote, or hub id org/name")
    parser.add_argument("comparisons", help="the new users' comparisons, in the format of `embed`")
    parser.add_argument("--embeddings", help=".npy or .safetensors, when the columns hold row numbers instead of texts")
    parser.add_argument("--out", required=True, type=expanded, help="model folder to write")


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Load, embed with the model's own encoder, adapt, save."""
    from plurality.data.read import read
    from plurality.io.atomic import check_target
    from plurality.reward.persistence import HEAD
    from plurality.reward.reward_model import load

    check_target(args.out, HEAD)
    model = load(args.model)
    if args.embeddings:
        support = read(args.comparisons, embeddings=args.embeddings)
    else:
        support = read(args.comparisons, encoder=model.text_encoder(), prompts=model.head.uses_prompts, progress=True)
    adapted = model.adapt(support)
    adapted.save_pretrained(args.out)
    say(args, adapted, f"{len(support.present)} users adapted, written to {args.out}")
    return {"model": str(args.out), "adapted": len(support.present), "users": len(adapted.user_ids)}
