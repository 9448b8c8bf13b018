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
from plurality.rl.batching import MicroBatcher
from plurality.rl.environment import EnvironmentSettings, function_alone, settings_here
from plurality.rl.messages import Pairs
from plurality.rl.reward_function import RewardFunction

__all__ = ["compute_score", "compute_score_async", "to_parquet"]

OTHERS = {"reward_router_address", "reward_model_tokenizer"}  # what verl hands over where it runs a reward model itself
Sample = tuple[Any, str, Any]  # prompt, completion, user
Outcome = float | None | InputError


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
    settings = _settings(reward_kwargs)
    function = function_alone(settings, "verl")
    sample = _sample(function, solution_str, extra_info)
    return _answer(function, sample, _score(function, [sample])[0])


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
    settings = _settings(reward_kwargs)
    function = function_alone(settings, "verl")
    sample = _sample(function, solution_str, extra_info)
    return _answer(function, sample, await _batcher(settings, asyncio.get_running_loop()).submit(sample))


def _settings(reward_kwargs: Mapping[str, Any]) -> EnvironmentSettings:
    settings = settings_here().but({k: v for k, v in reward_kwargs.items() if k not in OTHERS})
    settings.check_numbers()
    return settings


@lru_cache(maxsize=8)
def _batcher(settings: EnvironmentSettings, loop: asyncio.AbstractEventLoop) -> MicroBatcher[Sample, Outcome]:
    function = function_alone(settings, "verl")
    return MicroBatcher(lambda samples: _score(function, samples))


def _score(function: RewardFunction, samples: list[Sample]) -> list[Outcome]:
    """Rewards of samples; one that cannot be scored spoils no other's."""
    prompts, completions, users = zip(*samples, strict=True)
    try:
        return list(function(prompts, completions, **{function.user_column: list(users)}))
    except InputError as error:
        return [error] if len(samples) == 1 else [_score(function, [sample])[0] for sample in samples]


def _answer(function: RewardFunction, sample: Sample, outcome: Outcome) -> dict[str, float]:
    if isinstance(outcome, InputError):
        raise outcome
    prompt, completion, user = sample
    assert outcome is not None  # as `blank` is set
    unseen = Pairs.of([prompt], [completion], function.thought_tags).row[0] < 0
    return {"score": outcome, "known_user": float(function.knows(user)), "no_text": float(unseen)}


def _sample(function: RewardFunction, solution: str, extra_info: Any) -> Sample:
    info = extra_info if isinstance(extra_info, Mapping) else {}
    user = info.get(function.user_column, info.get("user_id"))
    if user is None and function.needs_user:
        raise InputError(
            f"extra_info has no {function.user_column} (it has {', '.join(map(str, info)) or 'nothing'}); write the "
            "training set with plurality.rl.verl.to_parquet"
        )
    prompt = info.get("prompt")
    if prompt is None and function.reads_prompts:
        raise InputError(
            "extra_info has no prompt, which this reward model reads; write the training set with "
            "plurality.rl.verl.to_parquet"
        )
    return "" if prompt is None else prompt, solution, user


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
            settings = settings_here()
            key = function_alone(settings, "verl").user_column
            info |= {k: columns[k] for k in (key,) if columns.get(k) is not None}
            if columns.get("raw_prompt") is not None:
                info["prompt"] = columns["raw_prompt"]
            answer = await compute_score_async("", text, "", info)
            return {"reward_score": answer["score"], "reward_extra_info": answer}

    return RewardManager
