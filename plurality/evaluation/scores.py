"""Scores that somebody else's reward gave, at the comparisons they belong to."""

from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from plurality.arrays import Float, Int, as_array
from plurality.data.comparisons import Comparisons
from plurality.data.readers import chats
from plurality.errors import InputError

__all__ = ["comparison_scores"]

COLUMNS = ("prompt", "completion", "score")


def comparison_scores(name: str, scores: Any, data: Comparisons) -> Float:
    """Scores of the first and the second of every comparison: (N, 2). Raises InputError for what cannot be that.

    name      what messages call the scorer
    scores    (M,) a score for each of `data.items`; (N, 2) for both sides of each comparison; a polars frame with
              prompt, completion and score; or a function that is called as TRL calls it, with prompts= and completions=
    data      comparisons
    """
    called = f"compare: the scorer {name!r}"
    if isinstance(scores, pl.DataFrame):
        return _of_sides(_looked_up(called, scores, data), data)
    if callable(scores):
        return _of_sides(_asked(called, scores, data), data)
    given = _numbers(called, scores)
    n, m = len(data), len(data.items)
    if given.shape not in ((m,), (n, 2)):
        raise InputError(
            f"{called} has scores of shape {given.shape}; give ({m},), one for each of data.items, "
            f"or ({n}, 2), the first's and the second's of each comparison"
        )
    used = given if given.ndim == 2 else given[np.unique(np.concatenate([data.first, data.second]))]
    if not np.isfinite(used).all():
        where = "comparison" if given.ndim == 2 else "item"
        bad = ~np.isfinite(given)
        row = int(np.argmax(bad.any(1) if given.ndim == 2 else bad))
        raise InputError(f"{called} has no finite score for {where} {row} (from 0); score it, or leave it out of data")
    return given if given.ndim == 2 else _of_sides(given, data)


def _of_sides(of_item: Float, data: Comparisons) -> Float:
    return np.stack([of_item[data.first], of_item[data.second]], 1)


def _numbers(called: str, scores: Any) -> Float:
    try:
        return as_array(scores).astype(np.float64)
    except (TypeError, ValueError):
        raise InputError(
            f"{called} is {scores!r:.80}, which scores nothing; give scores, a function of texts, a fitted "
            "RewardModel, a classifier with predict_proba, or an object with prefer"
        ) from None


def _used(called: str, data: Comparisons) -> tuple[Int, pl.DataFrame]:
    """Rows of the items that are compared, and their texts."""
    if data.texts is None:
        raise InputError(
            f"{called} scores texts, but the embeddings of {data.source} came without; give it (M,) scores"
        )
    used = np.unique(np.concatenate([data.first, data.second]))
    return used, data.texts[used]


def _looked_up(called: str, table: pl.DataFrame, data: Comparisons) -> Float:
    """Scores (M,) of a table by the texts they are of; NaN for items that no comparison has."""
    used, texts = _used(called, data)
    if missing := [c for c in COLUMNS if c not in table.columns]:
        raise InputError(f"{called}: its table has no column {', '.join(missing)}; it needs {', '.join(COLUMNS)}")
    if not table["score"].dtype.is_numeric():
        raise InputError(f"{called}: its column score is {table['score'].dtype}; give numbers")
    by_text = table.select(pl.col("prompt", "completion").cast(pl.String), pl.col("score").cast(pl.Float64)).unique()
    if by_text.height > by_text.select("prompt", "completion").unique().height:
        twice = by_text.filter(pl.struct("prompt", "completion").is_duplicated())["completion"][0]
        raise InputError(f"{called} scores {twice!r:.60} twice, and differently; leave one")
    found = texts.select("prompt", "completion").join(
        by_text, on=("prompt", "completion"), how="left", maintain_order="left"
    )
    out = np.full(len(data.items), np.nan)
    out[used] = found["score"].to_numpy()
    lacking = ~np.isfinite(out[used])
    if lacking.any():
        text = texts["completion"][int(np.argmax(lacking))]
        raise InputError(
            f"{called} has no finite score for {int(lacking.sum()):,} of {len(used):,} items, {text!r:.60} among them; "
            "score them too"
        )
    return out


def _asked(called: str, score: Callable[..., Any], data: Comparisons) -> Float:
    """Scores (M,) of a function of texts; NaN for items that no comparison has."""
    used, texts = _used(called, data)
    chat = "chat" in texts.columns
    prompts, completions = list[Any](), list[Any]()
    for row in texts.iter_rows(named=True):  # a conversation is given as messages, as TRL gives it
        talk = chat and row["chat"]
        prompts.append(chats.messages(row["prompt"]) if talk else row["prompt"])
        completions.append([{"role": "assistant", "content": row["completion"]}] if talk else row["completion"])
    given = _numbers(called, score(prompts=prompts, completions=completions))
    if given.shape != (len(used),) or not np.isfinite(given).all():
        what = f"scores of shape {given.shape}" if given.shape != (len(used),) else "scores that are not finite"
        raise InputError(f"{called} gave {what} for {len(used)} texts; it must give one finite number each")
    out = np.full(len(data.items), np.nan)
    out[used] = given
    return out
