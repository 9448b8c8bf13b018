"""Scores of the base reward that a model starts from, asked for as a trainer asks for rewards."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plurality.arrays import Float
from plurality.errors import InputError
from plurality.rl.messages import Pairs
from plurality.rl.reference import column

BaseReward = str | Callable[..., Sequence[float | None]]
"""A reward function as TRL calls it, with prompts=, completions= and the columns; or a column that holds the scores."""


@dataclass(frozen=True)
class BaseScores:
    """Where scores come from; None: the model has no base, or the rule looks at none."""

    source: BaseReward | None

    @staticmethod
    def of(source: BaseReward | None, *, wanted: bool, needed: bool) -> "BaseScores":
        """What was given, checked.

        source    a callable, the name of a column, or None
        wanted    whether the model has a base reward
        needed    whether rewards depend on it

        Raises InputError where it is missing, or given to a model that has none.
        """
        if source is not None and not wanted:
            raise InputError("this model starts from no base reward; leave base out, or fit it to base scores")
        if source is None and needed:
            raise InputError(
                "this model starts from a base reward: give it as base=, a function that is called with prompts and "
                "completions, or the name of a column of its scores"
            )
        if not (source is None or isinstance(source, str) or callable(source)):
            raise InputError(f"base={source!r:.80} is no function and no column's name; give one of them")
        return BaseScores(source if needed else None)

    def of_rows(
        self, texts: Pairs, asked: Sequence[tuple[Sequence[Any], Sequence[Any]]], columns: Mapping[str, Any]
    ) -> Float:
        """A score for each row of texts, as it was written, thoughts and all: (n,); zeros where none is needed.

        texts      all that is asked
        asked      (prompts, completions) of the rows, and after them of their opponents if they have any
        columns    what else the trainer hands over

        Raises InputError where a text that is rewarded has no finite score.
        """
        if self.source is None:
            return np.zeros(len(texts.row))
        if isinstance(self.source, str):
            if len(asked) > 1:
                raise InputError(f"base column {self.source!r} scores no opponents; give base as a function")
            given = [column(dict(columns), self.source, len(asked[0][1]))]
        else:
            passed = {k: v for k, v in columns.items() if k != "log_metric"}
            given = [self.source(prompts=list(p), completions=list(c), **passed) for p, c in asked]
        each = np.concatenate([_numbers(values, len(c)) for values, (_, c) in zip(given, asked, strict=True)])
        bad = (texts.row >= 0) & ~np.isfinite(each)
        if bad.any():
            row = int(bad.argmax())
            raise InputError(f"the base reward gave {each[row]} for completion {row} (from 0); it must score each")
        return np.where(texts.row >= 0, each, 0.0)


def _numbers(values: Any, count: int) -> NDArray[np.float64]:
    try:
        found = np.array([np.nan if value is None else float(value) for value in values])
    except (TypeError, ValueError):
        raise InputError(f"the base reward gave {values!r:.80}; it must give a number a completion") from None
    if len(found) != count:
        raise InputError(f"the base reward gave {len(found)} scores for {count} completions; it must score each")
    return found
