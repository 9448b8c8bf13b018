"""Answers as a table that `plurality.read` takes, to learn from and to export; what users said of themselves."""

import asyncio
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import polars as pl

from plurality.errors import InputError
from plurality.serving.state import State

SCORES = {"score_chosen": pl.Float64, "score_rejected": pl.Float64, "scores": pl.List(pl.Float64), "score": pl.Float64}
COLUMNS: dict[str, Any] = {
    "answer_id": pl.Int64,
    "user_id": pl.String,
    "time": pl.Float64,
    "chosen": pl.String,
    "rejected": pl.String,
    "completions": pl.List(pl.String),
    "ranking": pl.List(pl.String),
    "completion": pl.String,
    "rating": pl.Float64,
    "label": pl.Float64,
    **SCORES,
}


def answers_frame(rows: Sequence[dict[str, Any]]) -> pl.DataFrame:
    """A row an answer, in the order of `rows`; columns that no answer uses are left out.

    rows    answers with their user_id, as `State.export` gives them

    Raises InputError where there is none.
    """
    if not rows:
        raise InputError("the state holds no answer, so there is nothing to export")
    if any("label" in row and "rejected" in row for row in rows):  # where one is a tie, others say that they are not
        rows = [{"label": 1.0, **row} if "rejected" in row else row for row in rows]
    chat = any(not isinstance(row["prompt"], str) for row in rows)
    prompts = [
        [{"role": "user", "content": row["prompt"]}] if chat and isinstance(row["prompt"], str) else row["prompt"]
        for row in rows
    ]
    columns = {
        name: pl.Series(name, [row.get(name) for row in rows], dtype=kind, strict=False)
        for name, kind in COLUMNS.items()
    }
    used = {name: series for name, series in columns.items() if series.null_count() < len(rows)}
    return pl.DataFrame({"user_id": used.pop("user_id"), "prompt": prompts, **used})


def users_frame(state: State) -> pl.DataFrame:
    """A row a user, with what they said of themselves.

    state    where it is
    """
    about = state.everybody()
    names = sorted({name for said in about.values() for name in said} - {"user_id"})
    columns: dict[str, list[str | None]] = {name: [said.get(name) for said in about.values()] for name in names}
    schema = dict.fromkeys(["user_id", *names], pl.String)
    return pl.DataFrame({"user_id": list(about), **columns}, schema=schema)


async def parquet(state: State) -> tuple[bytes, int]:
    """The answers as a parquet file, and the number of the last; made beside what the server does meanwhile.

    state    where they are
    """

    def made() -> tuple[bytes, int]:
        frame, file = answers_frame(list(state.export())), BytesIO()
        frame.write_parquet(file)
        return file.getvalue(), int(frame["answer_id"].max() or 0)  # type: ignore[arg-type]

    return await asyncio.to_thread(made)
