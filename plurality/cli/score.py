"""`plurality score`: a reward for every row of user, prompt and completion, and which of them is best."""

import argparse
import warnings
from typing import TYPE_CHECKING, Any

from plurality.cli.encoders import add_model_encoder, model_encoder
from plurality.cli.settings import add_direction, add_no_verify, add_thought_tags, at_least, say, thought_tags
from plurality.io.paths import expanded

if TYPE_CHECKING:
    import polars as pl

    from plurality.arrays import Float, Int
    from plurality.data.read import Completions
    from plurality.reward.reward_model import RewardModel

EXAMPLE = "plurality score reward/ candidates.parquet --out scored.parquet"


def add(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument("model", help="fitted model folder, or hub id org/name")
    parser.add_argument(
        "candidates",
        help="parquet, JSONL or CSV with user_id, prompt, completion, and score for a model on top of a base reward",
    )
    parser.add_argument(
        "--out", required=True, type=expanded, help="output parquet: the input rows with a `reward` column (log-odds)"
    )
    parser.add_argument(
        "--unknown",
        choices=("error", "population"),
        default="error",
        help="unknown users: raise an error (default) or give the population's reward",
    )
    parser.add_argument(
        "--best-of-n",
        nargs="?",
        type=at_least(1),
        const=0,
        metavar="N",
        help="add `rank` and `best` among each user's completions of a prompt (with N: among the first N)",
    )
    parser.add_argument(
        "--sd",
        action="store_true",
        help="add a column `sd`: how far a reward may be off, as a gap to the mean item of the fit (log-odds)",
    )
    parser.add_argument(
        "--objectives",
        metavar="NAME[,NAME]",
        help="all, or names: add a column `reward_NAME` for each objective of a model that has several",
    )
    add_direction(parser)
    add_thought_tags(parser)
    parser.add_argument(
        "--only-best", action="store_true", help="with --best-of-n: write only the best row of each user and prompt"
    )
    add_model_encoder(parser)
    add_no_verify(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Load, embed each unique item once, score, save."""
    import numpy as np
    import polars as pl

    from plurality.data.read import read_completions
    from plurality.errors import InputError, InputWarning
    from plurality.io.atomic import check_file, whole_file
    from plurality.reward.reward_model import load
    from plurality.rl.rules.asked import rule_for

    if args.out.suffix != ".parquet":
        raise InputError(f"{args.out}: scores are written as parquet; give a name that ends in .parquet")
    if args.only_best and args.best_of_n is None:
        raise InputError("--only-best needs --best-of-n, which says what is best")
    if args.sd and args.direction is not None:
        raise InputError("--sd is of a user's own reward, and --direction rewards objectives; leave one out")
    check_file(args.out)
    model = load(args.model, verify=not args.no_verify, encoder=model_encoder(args))
    by_direction = rule_for(model.head, None, direction=args.direction)
    names = _objectives(args.objectives, model)
    encoder = model.text_encoder()
    tags = thought_tags(args)
    candidates = read_completions(args.candidates, tags)
    group, place = (None, None) if args.best_of_n is None else _groups(candidates, args.best_of_n)
    if by_direction is None:
        model.codes(candidates.user_ids, args.unknown)  # raises for unknown users before any text is embedded
    items = candidates.items.embed(encoder, progress=not args.json)
    prompts = None
    if model.head.uses_prompts:
        prompts = candidates.items.embed_prompts(encoder, progress=not args.json)[candidates.items.prompt]
    base = None if model.base is None or by_direction is not None else candidates.base()
    made: dict[str, Float] = {}
    some = np.maximum(candidates.item, 0)  # of what cannot be seen any item's, and then none
    if args.sd:
        made["reward"], made["sd"] = model.score(
            items, some, candidates.user_ids, prompts=prompts, base=base, unknown=args.unknown, return_sd=True
        )
    elif by_direction is None:
        made["reward"] = model.score(items, some, candidates.user_ids, prompts=prompts, base=base, unknown=args.unknown)
    if names or by_direction is not None:
        each = model.by_objective(items, prompts=prompts)[candidates.item].T
        if by_direction is not None:
            made["reward"] = by_direction(each, np.ones(len(each)), np.arange(len(each)))
        made |= {f"reward_{name}": each[model.objectives.index(name)] for name in names}
    unseen = candidates.item < 0
    _check_finite(candidates.source, np.where(unseen, 0.0, made["reward"]))
    scored = candidates.frame.with_columns(
        pl.Series(name, np.where(unseen, np.nan, values)).fill_nan(None) for name, values in made.items()
    )
    if unseen.any():
        what = f"{int(unseen.sum()):,} completions are empty or a thought that has not ended"
        warnings.warn(InputWarning(f"{candidates.source}: {what}; they have no reward"), stacklevel=2)
    if group is not None and place is not None:
        scored = _ranked(scored, group, place, args.best_of_n)
        scored = scored.filter("best") if args.only_best else scored
    with whole_file(args.out) as new:
        scored.write_parquet(new)
    say(args, f"{scored.height:,} rewards for {scored['user_id'].n_unique():,} users written to {args.out}")
    return {"scored": str(args.out), "rows": scored.height, "without_reward": int(unseen.sum())}


def _objectives(given: str | None, model: "RewardModel") -> tuple[str, ...]:
    """The objectives that a column is asked for. Raises InputError for one that the model does not have."""
    from plurality.errors import InputError

    if given is None:
        return ()
    if not model.objectives:
        raise InputError("--objectives: this model has none; fit more with --set multi_head=true")
    names = model.objectives if given == "all" else tuple(name.strip() for name in given.split(","))
    if strange := [name for name in names if name not in model.objectives]:
        raise InputError(f"--objectives: there is no {strange[0]!r}; the model has {', '.join(model.objectives)}")
    return names


def _check_finite(source: str, reward: "Float") -> None:
    """Raise InputError naming the first row (from 1) whose reward is not a number to train on."""
    import numpy as np

    from plurality.errors import InputError

    finite = np.isfinite(reward)
    if not finite.all():
        row = int(np.argmin(finite))
        raise InputError(f"{source}: row {row + 1}: the reward is {reward[row]}, not finite; look for huge embeddings")


def _groups(candidates: "Completions", least: int) -> "tuple[Int, Int]":
    """Which user and prompt each row is of, and its place among their rows, from 0. Raises InputError for too few."""
    import numpy as np

    from plurality.errors import InputError
    from plurality.rl.best_of_n import ranks

    users = np.unique(candidates.user_ids, return_inverse=True)[1]
    prompts = candidates.prompt
    _, first, group, count = np.unique(
        users * (prompts.max() + 1) + prompts, return_index=True, return_inverse=True, return_counts=True
    )
    if (count < least).any():
        few = first[count < least].min()
        raise InputError(
            f"{candidates.source}: row {few + 1}: user {candidates.user_ids[few]!r} has "
            f"{count[group[few]]} completions of this prompt, "
            f"fewer than --best-of-n {least}; give a smaller number, or none to rank all"
        )
    return group, ranks(group, np.zeros(len(group))) - 1


def _ranked(scored: "pl.DataFrame", group: "Int", place: "Int", most: int) -> "pl.DataFrame":
    """The rows with `rank` and `best`.

    A rank is 1 for the best; null beyond the first `most` of a group where that is not 0, and without a reward.
    """
    import numpy as np
    import polars as pl

    from plurality.rl.best_of_n import ranks

    looked_at = (place < most if most else np.ones(len(place), dtype=bool)) & scored["reward"].is_not_null().to_numpy()
    reward = np.where(looked_at, scored["reward"].to_numpy(), -np.inf)
    rank = pl.Series("rank", ranks(group, reward))
    looked = pl.Series(looked_at)
    return scored.with_columns(pl.when(looked).then(rank).alias("rank"), (looked & (rank == 1)).alias("best"))
