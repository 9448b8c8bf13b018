"""`plurality score`: a reward for every row of user, prompt and completion."""

import argparse
from pathlib import Path
from typing import Any

from plurality.cli.settings import say


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("model", type=Path, help="model folder that `fit` or `adapt` wrote")
    parser.add_argument("candidates", help="parquet, JSONL or CSV: user_id, prompt, completion")
    parser.add_argument("--out", required=True, type=Path, help="parquet to write: the rows and `reward` (log-odds)")
    parser.add_argument(
        "--unknown",
        choices=("error", "population"),
        default="error",
        help="users the model does not know: refuse (default), or give the population's reward",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Load, embed each unique item once, score, save."""
    import polars as pl

    from plurality.errors import InputError
    from plurality.folders import check_file, whole_file
    from plurality.persistence import load
    from plurality.reading import read_candidates

    if args.out.suffix != ".parquet":
        raise InputError(f"{args.out}: scores are written as parquet; give a name that ends in .parquet")
    check_file(args.out)
    model = load(args.model)
    encoder = model.text_encoder()
    candidates = read_candidates(args.candidates)
    model.codes(candidates.user_ids, args.unknown)  # unknown users are refused before any text is embedded
    items = candidates.items.embed(encoder, progress=not args.json)
    prompts = None
    if model.head.uses_prompts:
        prompts = candidates.items.embed_prompts(encoder, progress=not args.json)[candidates.items.prompt]
    reward = model.score(items, candidates.item, candidates.user_ids, prompts=prompts, unknown=args.unknown)
    scored = candidates.frame.with_columns(pl.Series("reward", reward))
    with whole_file(args.out) as new:
        scored.write_parquet(new)
    say(args, f"{scored.height:,} rewards for {scored['user_id'].n_unique():,} users written to {args.out}")
    return {"scored": str(args.out), "rows": scored.height}
