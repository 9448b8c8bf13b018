"""`plurality score`: a reward for every row of user, prompt and completion, and which of them is best."""

import argparse
import warnings
from typing import TYPE_CHECKING, Any

from plurality.cli.encoders import add_model_encoder, model_encoder
from plurality.cli.engines import add_engine, engine_of
from plurality.cli.settings import add_direction, add_no_verify, add_thought_tags, at_least, say, thought_tags
from plurality.io.paths import expanded

if TYPE_CHECKING:
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
    add_engine(parser)
    add_model_encoder(parser)
    add_no_verify(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Load, look at all rows, then embed, score and write some thousand at a time."""
    from plurality.errors import InputError, InputWarning
    from plurality.io.atomic import check_file
    from plurality.reward.reward_model import load
    from plurality.rl.score_table import RowScorer, score_table

    if args.out.suffix != ".parquet":
        raise InputError(f"{args.out}: scores are written as parquet; give a name that ends in .parquet")
    if args.only_best and args.best_of_n is None:
        raise InputError("--only-best needs --best-of-n, which says what is best")
    if args.sd and args.direction is not None:
        raise InputError("--sd is of a user's own reward, and --direction rewards objectives; leave one out")
    check_file(args.out)
    model = load(args.model, verify=not args.no_verify, encoder=model_encoder(args))
    scorer = RowScorer(
        model, args.unknown, args.sd, _objectives(args.objectives, model), args.direction, thought_tags(args)
    )
    done = score_table(
        scorer,
        args.candidates,
        args.out,
        best_of_n=args.best_of_n,
        only_best=args.only_best,
        engine=engine_of(args),
        progress=not args.json,
    )
    if done.without_reward:
        what = f"{done.without_reward:,} completions are empty or a thought that has not ended"
        warnings.warn(InputWarning(f"{args.candidates}: {what}; they have no reward"), stacklevel=2)
    say(args, f"{done.rows:,} rewards for {done.users:,} users written to {args.out}")
    return {"scored": str(args.out), "rows": done.rows, "without_reward": done.without_reward}


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
