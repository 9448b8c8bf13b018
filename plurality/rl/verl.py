"""verl: `reward.custom_reward_function.path=pkg://plurality.rl.verl`, name `compute_score` or `compute_score_async`.

verl hands over no prompt and no user but those in `extra_info`; `to_parquet` writes training sets that have them.
"""

import asyncio
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from plurality.errors import InputError
from plurality.io.paths import expanded
from plurality.rl.environment import settings_here
from plurality.rl.messages import Pairs
from plurality.rl.one_by_one import OneByOne, Sample
from plurality.rl.reward_function import RewardFunction

__all__ = ["compute_score", "compute_score_async", "to_parquet"]

OTHERS = {"reward_router_address", "reward_model_tokenizer"}  # what verl hands over where it runs a reward model itself


def compute_score(
    data_source: str, solution_str: str, ground_truth: Any, extra_info: Any, **reward_kwargs: Any
) -> dict[str, float]:
    """Reward of one completion for the user in `extra_info`: {"score": reward, "known_user": 1 or 0, "no_text": 0}.

    `reward_kwargs` are settings of `plurality.rl.environment.EnvironmentSettings`, such as reward="my_reward/"; those
    not given are the environment's. A completion of which nothing can be seen has no_text 1 and the reward `blank`,
    which must be set, as verl takes a number for every sample. Raises InputError for a sample without user, or without
    the prompt that the model reads.

    data_source     not looked at
    solution_str    the completion
    ground_truth    not looked at
    """
    asked = _asked(reward_kwargs)
    sample = asked.sample(None, solution_str, extra_info)
    return _answer(asked.function, sample, asked.now(sample))


async def compute_score_async(
    data_source: str, solution_str: str, ground_truth: Any, extra_info: Any, **reward_kwargs: Any
) -> dict[str, float]:
    """As `compute_score`, with concurrent calls gathered into one forward pass of the encoder.

    Rules that look at a batch as a whole see those that were gathered.

    data_source      not looked at
    solution_str     the completion
    ground_truth     not looked at
    extra_info       user and prompt, as `to_parquet` wrote them
    reward_kwargs    settings, as in `compute_score`
    """
    asked = _asked(reward_kwargs)
    sample = asked.sample(None, solution_str, extra_info)
    return _answer(asked.function, sample, await asked.soon(sample))


def _asked(reward_kwargs: Mapping[str, Any]) -> OneByOne:
    settings = settings_here().but({k: v for k, v in reward_kwargs.items() if k not in OTHERS})
    remedy = "write the training set with plurality.rl.verl.to_parquet"
    return OneByOne.of(None, "verl", row="extra_info", remedy=remedy, settings=settings)


def _answer(function: RewardFunction, sample: Sample, reward: float) -> dict[str, float]:
    known = function.knows(sample.columns.get(function.user_column))
    unseen = Pairs.of([sample.prompt], [sample.completion], function.thought_tags).row[0] < 0
    return {"score": reward, "known_user": float(known), "no_text": float(unseen)}


def to_parquet(frame: Any, path: str | Path) -> Path:
    """Write rows of user_id and prompt as verl's training set, the user and the prompt within `extra_info`.

    Prompts are strings (one user message) or message lists; optional columns data_source, ability and ground_truth
    are taken over. Raises InputError for missing or empty values, and for a path that is no .parquet.

    path    file to write

    frame    rows of prompt, user and whatever else
    """
    import polars as pl

    from plurality.data.readers import chats, columns
    from plurality.data.readers.tables import open_frame
    from plurality.io.atomic import check_file, whole_file

    path = expanded(path)
    if path.suffix != ".parquet":
        raise InputError(f"{path}: verl reads parquet; give a name that ends in .parquet")
    check_file(path)
    rows, place = open_frame(frame, "training set")
    prompt = columns.column(rows, "prompt", place)
    chats.prompts(prompt, place)  # checked: all text, none empty
    message = pl.struct(role=pl.lit("user"), content=pl.col("prompt"))
    if chats.is_chat(prompt):
        each = pl.element().struct
        messages = pl.col("prompt").list.eval(pl.struct(role=each.field("role"), content=each.field("content")))
    else:
        messages = pl.concat_list(message)
    user = columns.ids(rows, "user_id", place)

    def taken(name: str, otherwise: str) -> pl.Expr:
        return pl.col(name).cast(pl.String) if name in rows.columns else pl.lit(otherwise)

    written = (
        rows.with_columns(user.alias("user_id"), prompt=messages)
        .with_row_index("index")
        .select(
            data_source=taken("data_source", "plurality"),
            prompt=pl.col("prompt"),
            ability=taken("ability", "preference"),
            reward_model=pl.struct(style=pl.lit("model"), ground_truth=taken("ground_truth", "")),
            extra_info=pl.struct(pl.col("index").cast(pl.Int64), "user_id", "prompt"),
        )
    )
    with whole_file(path) as new:
        written.write_parquet(new)
    return path


def __getattr__(name: str) -> Any:
    """`RewardManager`, made when it is asked for, as verl must be there for it."""
    if name == "RewardManager":
        return _reward_manager()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@lru_cache(maxsize=1)
def _reward_manager() -> type:
    try:
        from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase
    except ImportError:
        raise InputError("plurality.rl.verl.RewardManager needs verl 0.9 or newer; install it") from None

    class RewardManager(RewardManagerBase):
        """Rewards by user and prompt from the batch's own columns, `user_id` and `raw_prompt`, else `extra_info`.

        Configured as reward.reward_manager.{source=importlib, name=RewardManager, module.path=pkg://plurality.rl.verl}
        and by the environment variables of `plurality.rl.environment.EnvironmentSettings`.
        """

        def __init__(
            self,
            config: Any,
            tokenizer: Any,
            compute_score: Any = None,
            reward_router_address: str | None = None,
            reward_model_tokenizer: Any = None,
        ) -> None:
            super().__init__(config, tokenizer, compute_score)

        async def run_single(self, data: Any) -> dict[str, Any]:
            """{"reward_score": reward, "reward_extra_info": {...}} of the last sample in `data`."""
            item = data[-1:][0]
            columns, response = item.non_tensor_batch, item.batch["responses"]
            written = int(item.batch["attention_mask"][-response.shape[-1] :].sum())
            text = await asyncio.to_thread(self.tokenizer.decode, response[:written], skip_special_tokens=True)
            info = {**(columns.get("extra_info") or {})}
            needed = _asked({}).function.row_columns
            info |= {name: columns[name] for name in needed if columns.get(name) is not None}
            if columns.get("raw_prompt") is not None:
                info["prompt"] = columns["raw_prompt"]
            answer = await compute_score_async("", text, "", info)
            return {"reward_score": answer["score"], "reward_extra_info": answer}

    return RewardManager
