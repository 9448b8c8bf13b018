"""`plurality annotate`: pairs with what a reward says of their labels, as TRL's DPO and reward trainers read them."""

import argparse
from typing import Any

from plurality.cli.encoders import add_model_encoder, model_encoder, read_for
from plurality.cli.settings import add_no_verify, say
from plurality.io.paths import expanded

EXAMPLE = "plurality annotate pairs.parquet --reward reward/ --out annotated.parquet"


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("pairs", help="comparisons of users in the format of `plurality embed`, or a store")
    parser.add_argument("--reward", required=True, help="fitted model folder, or hub id org/name")
    parser.add_argument(
        "--out",
        required=True,
        type=expanded,
        help="output parquet: prompt, chosen, rejected, margin (log-odds), prob_chosen, prob_right, weight",
    )
    parser.add_argument(
        "--relabelled",
        type=expanded,
        metavar="FILE",
        help="also write a copy with the sides exchanged where the label is more likely wrong (a reward of lcpo)",
    )
    parser.add_argument("--users", help="users table, where the reward is by a column of it or uses demographics")
    parser.add_argument("--embeddings", help="precomputed embeddings, if the columns hold their row numbers")
    parser.add_argument("--prompt-embeddings", help="those of prompts, if the reward looks at prompts")
    parser.add_argument(
        "--unknown",
        choices=("error", "population"),
        default="error",
        help="unknown users: raise an error (default) or take the population's reward",
    )
    add_model_encoder(parser)
    add_no_verify(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Load, read with the reward's own encoder, annotate, save."""
    from plurality.data.read import read
    from plurality.errors import InputError
    from plurality.io.atomic import check_file, whole_file
    from plurality.reward.annotating import annotate
    from plurality.reward.reward_model import load

    targets = [args.out] if args.relabelled is None else [args.out, args.relabelled]
    for target in targets:
        if target.suffix != ".parquet":
            raise InputError(f"{target}: pairs are written as parquet; give a name that ends in .parquet")
        check_file(target)
    if len(set(targets)) < len(targets):
        raise InputError(f"{args.out}: --out and --relabelled are one file; give the copy a name of its own")
    model = load(args.reward, verify=not args.no_verify, encoder=model_encoder(args))
    if args.embeddings:
        data = read(
            args.pairs,
            users=args.users,
            embeddings=args.embeddings,
            prompt_embeddings=args.prompt_embeddings,
            repeats="keep",
        )
    else:
        data = read_for(model, args.pairs, users=args.users, repeats="keep", progress=not args.json)
    for target in targets:
        made = annotate(model, data, relabel=target is args.relabelled, unknown=args.unknown)
        with whole_file(target) as new:
            made.write_parquet(new)
    say(args, f"{made.height:,} pairs of {made['user_id'].n_unique():,} users written to {args.out}")
    result = {"annotated": str(args.out), "rows": made.height}
    if args.relabelled is not None:
        changed = int(made["relabelled"].sum())
        say(args, f"{changed:,} of them relabelled in {args.relabelled}")
        result |= {"relabelled": str(args.relabelled), "rows_relabelled": changed}
    return result
