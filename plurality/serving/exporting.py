"""Stored answers as a table that `plurality.read` takes, and what users said of themselves beside it."""

import asyncio
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import polars as pl

from plurality.errors import InputError
from plurality.serving.state import State

__all__ = ["answers_frame", "in_thread", "users_frame"]

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
    """A row an answer, in the order in which they came; columns that no answer uses are left out.

    rows    what `State.export` gives

    Raises InputError where there is none.
    """
    if not rows:
        raise InputError("the state holds no answer, so there is nothing to export")
    chat = any(not isinstance(row["prompt"], str) for row in rows)
    prompts = [
        [{"role": "user", "content": row["prompt"]}] if chat and isinstance(row["prompt"], str) else row["prompt"]
        for row in rows
    ]
    columns = {
        name: pl.Series(name, [row.get(name) for row in rows], dtype=kind, strict=False)
        for name, kind in COLUMNS.items()
    }
    used = [series for series in columns.values() if series.null_count() < len(rows)]
    return pl.DataFrame([*used[:3], pl.Series("prompt", prompts), *used[3:]])


def users_frame(state: State) -> pl.DataFrame:
    """A row a user, with what they said of themselves.

    state    where it is
    """
    about = state.everybody()
    names = sorted({name for said in about.values() for name in said} - {"user_id"})
    columns: dict[str, list[str | None]] = {name: [said.get(name) for said in about.values()] for name in names}
    schema = dict.fromkeys(["user_id", *names], pl.String)
    return pl.DataFrame({"user_id": list(about), **columns}, schema=schema)


async def in_thread(state: State) -> tuple[bytes, int]:
    """The answers as a parquet file, and the number of the last; made beside what the server does meanwhile.

    state    where they are
    """

    def made() -> tuple[bytes, int]:
        frame, file = answers_frame(list(state.export())), BytesIO()
        frame.write_parquet(file)
        return file.getvalue(), int(frame["answer_id"].max() or 0)  # type: ignore[arg-type]

    return await asyncio.to_thread(made)
