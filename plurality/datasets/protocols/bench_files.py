"""RewardBench's published tables with embeddings: read once, scored for any user."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from plurality.analyses.inference.bootstrap import Floats
from plurality.arrays import Array, Int
from plurality.data.embeddings import open_embeddings
from plurality.data.items import unique_items
from plurality.data.readers import chats, columns
from plurality.data.readers.tables import open_frame
from plurality.datasets.protocols.reward_bench import BenchScores, Questions, reward_bench, reward_bench_2
from plurality.errors import InputError

if TYPE_CHECKING:
    from plurality.encoders import Encoder


@dataclass(frozen=True, eq=False)
class Bench:
    """A RewardBench with an embedding for every answer.

    items      (M, d)
    chosen     (N,) row of the chosen answer, version 1; of version 2 (R,) row of every answer
    rejected   (N,) version 1; None for version 2
    subset     (N,) version 1
    questions  version 2
    """

    items: Array
    chosen: Int
    rejected: Int | None = None
    subset: Array | None = None
    questions: Questions | None = None

    def score(self, rewards: Floats) -> BenchScores:
        """Scores (..., sections) of rewards (..., M) of the items."""
        if self.questions is not None:
            return reward_bench_2(rewards[..., self.chosen], self.questions)
        assert self.rejected is not None
        assert self.subset is not None
        return reward_bench(rewards[..., self.chosen], rewards[..., self.rejected], self.subset)


def read_bench(
    source: Any,
    *,
    encoder: "Encoder | None" = None,
    embeddings: Array | str | Path | None = None,
    progress: bool = False,
) -> Bench:
    """RewardBench 1 or 2 from its table, a file or frame, embedded by a model's `text_encoder()` or with cached
    embeddings.

    Version 1 has the columns prompt, chosen, rejected, subset (of the filtered split); version 2 prompt, id, subset,
    and in chosen and rejected lists of answers. With `embeddings` (M, d) the answers are row numbers, and no prompt is
    needed. Raises InputError for a missing column, a bad row, or not exactly one of encoder and embeddings.
    """
    if (encoder is None) == (embeddings is None):
        raise InputError("read_bench: give the encoder of the model, or embeddings with row numbers as answers")
    frame, place = open_frame(source, "RewardBench")
    subset = columns.column(frame, "subset", place)
    sides = [columns.column(frame, name, place) for name in ("chosen", "rejected")]
    lists = isinstance(sides[0].dtype, pl.List)
    if lists != isinstance(sides[1].dtype, pl.List):
        raise InputError(f"{place}: of chosen and rejected one holds lists; give the published table")
    long = frame.select(pl.int_range(pl.len()).alias("row"), *sides)
    if lists:
        long = pl.concat(
            [long.select("row", answer=name, correct=pl.lit(name == "chosen")).explode("answer")
             for name in ("chosen", "rejected")]
        ).sort("row", maintain_order=True)  # fmt: skip
        answers = [columns.column(long, "answer", place)]
    else:
        answers = sides
    if encoder is None:
        assert embeddings is not None
        items = open_embeddings(embeddings, "embeddings")
        named = [a.to_frame() for a in answers]
        rows = [columns.row_numbers(f, f.columns[0], place, len(items), "embeddings") for f in named]
    else:
        asked = columns.column(frame, "prompt", place)
        prompt = chats.prompts(asked, place)
        if lists:
            prompt = prompt.gather(long["row"])
        made, rows = unique_items(prompt, [chats.completions(a, place) for a in answers], chats.is_chat(asked))
        items = made.embed(encoder, progress=progress)
    if not lists:
        return Bench(items, rows[0], rows[1], subset.cast(pl.String).to_numpy())
    ids = columns.ids(frame, "id", place)
    names = np.asarray(subset.cast(pl.String).to_list()), np.asarray(ids.to_list())
    question = long["row"].to_numpy().astype(np.int64)
    return Bench(items, rows[0], questions=Questions(question, long["correct"].to_numpy(), *names))
