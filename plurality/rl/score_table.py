"""Rewards of a table of completions, however long: by batches of rows, from file to file, in the memory of one batch.

The table is gone through twice: once to look at every row, so that nothing is embedded where one has a fault, and once
to score. What must be kept of all rows is small: who is in the table, with best-of-n the rewards and a key a row, for a
model on top of a base reward the scores. Where a batch ends depends on the number of a row alone, so that the numbers
are the same whatever the file's format and row groups, and whoever computes them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from plurality.arrays import Float, Int
from plurality.data.keys import Keys, combine, text_keys
from plurality.data.read import Completions, completions_of, nothing_seen
from plurality.data.readers.batches import Batches
from plurality.encoders.progress import meter
from plurality.errors import InputError
from plurality.io.atomic import whole_file
from plurality.io.engines import LOCAL, Engine, in_order
from plurality.io.visible import THOUGHT_TAGS, Tags
from plurality.reward.scoring import Unknown
from plurality.rl.best_of_n import ranks
from plurality.rl.rules.asked import Weights, rule_for

if TYPE_CHECKING:
    from plurality.reward.reward_model import RewardModel

__all__ = ["RowScorer", "ScoredTable", "score_table"]


@dataclass(frozen=True, eq=False)
class RowScorer:
    """Which columns a model adds to rows of `user_id, prompt, completion`.

    model         fitted model, whose encoder embeds the texts
    unknown       what a user that it does not know gets: "error" raises InputError, "population" the population's
    sd            whether there is a column `sd`, how far a reward may be off
    objectives    names of the model's objectives that have a column `reward_NAME` each
    direction     objective -> weight, for a `reward` of these whoever the user is
    thought_tags  (opening, closing) of thoughts, which are not scored

    Raises InputError for objectives and directions that the model does not have, and for `sd` with `direction`.
    """

    model: "RewardModel"
    unknown: Unknown = "error"
    sd: bool = False
    objectives: tuple[str, ...] = ()
    direction: Weights | None = None
    thought_tags: Tags = THOUGHT_TAGS

    def __post_init__(self) -> None:
        if self.sd and self.direction is not None:
            raise InputError("sd is of a user's own reward, and a direction rewards objectives; leave one out")
        if strange := [name for name in self.objectives if name not in self.model.objectives]:
            told = ", ".join(self.model.objectives) or "none"
            raise InputError(f"there is no objective {strange[0]!r}; the model has {told}")
        rule_for(self.model.head, None, direction=self.direction)

    @property
    def on_base(self) -> bool:
        """Whether the scores of a base reward are needed."""
        return self.model.base is not None and self.direction is None

    def columns(self, rows: Completions, base: Float | None = None, *, progress: bool = False) -> dict[str, Float]:
        """Values of the columns (N,), in log-odds, NaN where nothing can be seen of a completion.

        rows        what is scored
        base        (M,) scores of the base reward of the items, where the model starts from one
        progress    show a progress bar; off by default

        Raises InputError for unknown users, if asked, and for a reward that is not finite, naming its row.
        """
        model, encoder, seen = self.model, self.model.text_encoder(), np.flatnonzero(rows.item >= 0)
        made: dict[str, Float] = {}
        if len(seen):
            items, prompts = rows.items.embed(encoder, progress=progress), None
            if model.head.uses_prompts:
                prompts = rows.items.embed_prompts(encoder, progress=progress)[rows.items.prompt]
            place, users = rows.item[seen], [rows.user_ids[row] for row in seen.tolist()]
            if self.sd:
                made["reward"], made["sd"] = model.score(
                    items, place, users, prompts=prompts, base=base, unknown=self.unknown, return_sd=True
                )
            elif self.direction is None:
                made["reward"] = model.score(items, place, users, prompts=prompts, base=base, unknown=self.unknown)
            made |= self._of_objectives(items, prompts, place)
            _check_finite(rows, seen, made["reward"])
        out = {name: np.full(len(rows.item), np.nan) for name in self.names}
        for name, values in made.items():
            out[name][seen] = values
        return out

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return ("reward", *(("sd",) if self.sd else ()), *(f"reward_{name}" for name in self.objectives))

    def _of_objectives(self, items: Any, prompts: Any, place: Int) -> dict[str, Float]:
        rule = rule_for(self.model.head, None, direction=self.direction)
        if rule is None and not self.objectives:
            return {}
        each = self.model.by_objective(items, prompts=prompts)[place].T
        made = {f"reward_{name}": each[self.model.objectives.index(name)] for name in self.objectives}
        if rule is not None:
            made["reward"] = rule(each, np.ones(len(each)), np.arange(len(each)))
        return made


@dataclass(frozen=True)
class ScoredTable:
    """What was written.

    rows              how many
    users             how many people they are for
    without_reward    rows of the input of which nothing can be seen
    """

    rows: int
    users: int
    without_reward: int


def score_table(
    scorer: RowScorer,
    source: Any,
    out: Path,
    *,
    best_of_n: int | None = None,
    only_best: bool = False,
    engine: Engine = LOCAL,
    progress: bool = False,
) -> ScoredTable:
    """Write the rows of a table with the scorer's columns, as parquet; parquet is read in parts, see `Batches`.

    scorer       which columns
    source       table of `user_id, prompt, completion`, and `score` for a model on top of a base reward
    out          file to write, whole or not at all
    best_of_n    add `rank`, 1 the best of a user's completions of a prompt, and `best`, among the first so many of
                 each; 0: among all
    only_best    with `best_of_n`, write only the best rows
    engine       where texts are embedded and scored; of a cluster all machines must see the file
    progress     show a progress bar; off by default

    Raises InputError for bad rows, naming the first, before anything is embedded.
    """
    if only_best and best_of_n is None:
        raise InputError("only_best needs best_of_n, which says what is best")
    batches = Batches(source, "candidates")
    survey = _survey(batches, scorer, keys=best_of_n is not None)
    groups = None if best_of_n is None else _Groups.of(survey, batches, best_of_n)
    alone = len(batches) == 1 and engine.kind == "local"
    table = batches if engine.kind == "local" else source
    work = _Work(scorer, table, batches.step, survey.base, progress and alone)
    with whole_file(out) as new, _Writer(new) as writer:
        made = in_order(work, range(len(batches)), engine)
        with meter("scoring", batches.rows, batches.rows, progress and not alone) as advance:
            told = _told(made, batches, advance)
            if groups is None:
                for (frame, _), columns in zip(batches, told, strict=True):
                    writer.write(_with(frame, columns))
            else:
                everything = list(told)
                rank, best = groups.ranked(np.concatenate([columns["reward"] for columns in everything]))
                for (frame, place), columns in zip(batches, everything, strict=True):
                    ranked = _with(frame, columns).with_columns(rank=rank[place.rows], best=best[place.rows])
                    writer.write(ranked.filter("best") if only_best else ranked)
    return ScoredTable(writer.rows, len(survey.users), survey.unseen)


@dataclass(frozen=True)
class _Base:
    """Mean score of the base reward of each item, by its key in order: (M,)."""

    keys: Keys
    scores: Float

    def of(self, rows: Completions) -> Float:
        return self.scores[np.searchsorted(self.keys, rows.items.keys)]


class _Work:
    """Columns of a batch by its number. A worker elsewhere opens the table itself."""

    def __init__(self, scorer: RowScorer, source: Any, step: int, base: _Base | None, progress: bool) -> None:
        self.scorer, self.source, self.step, self.base, self.progress = scorer, source, step, base, progress

    def __call__(self, number: int) -> dict[str, Float]:
        if not isinstance(self.source, Batches):
            self.source = Batches(self.source, "candidates", self.step)
        frame, place = self.source[number]
        rows = completions_of(frame, place, self.scorer.thought_tags)
        return self.scorer.columns(rows, None if self.base is None else self.base.of(rows), progress=self.progress)


def _told(made: Iterator[dict[str, Float]], batches: Batches, advance: Any) -> Iterator[dict[str, Float]]:
    for columns in made:
        yield columns
        advance(len(columns["reward"]), len(columns["reward"]))


def _with(frame: pl.DataFrame, columns: dict[str, Float]) -> pl.DataFrame:
    return frame.with_columns(pl.Series(name, values).fill_nan(None) for name, values in columns.items())


class _Writer:
    """Frames of one schema, one after the other, into a parquet file; one without rows has the columns all the same."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, 0
        self._file: pq.ParquetWriter | None = None

    def __enter__(self) -> "_Writer":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def write(self, frame: pl.DataFrame) -> None:
        table = frame.to_arrow()
        if self._file is None:
            self._file = pq.ParquetWriter(self.path, table.schema, compression="zstd")
        if frame.height:
            self._file.write_table(table)
        self.rows += frame.height


@dataclass
class _Survey:
    """What is known of a table before it is scored.

    users     everybody in it, in order of appearance
    unseen    rows of which nothing can be seen
    group     (N,) key of each row's user and prompt, where it is asked for
    base      scores of the base reward, where the model starts from one
    """

    users: dict[str, None] = field(default_factory=dict)
    unseen: int = 0
    group: Keys | None = None
    base: _Base | None = None


def _survey(batches: Batches, scorer: RowScorer, *, keys: bool) -> _Survey:
    """Look at every row. Raises InputError for the first bad one, for unknown users, and where nothing can be seen."""
    found, groups = _Survey(), []
    scored: list[tuple[Keys, Float]] = []
    for frame, place in batches:
        rows = completions_of(frame, place, scorer.thought_tags)
        found.users |= dict.fromkeys(rows.user_ids)
        found.unseen += int(np.sum(rows.item < 0))
        if keys:
            groups.append(combine(text_keys(rows.user_ids), rows.prompt_keys))
        if scorer.on_base:
            scored.append((rows.items.keys[rows.item[rows.item >= 0]], rows.scores()))
    if found.unseen == batches.rows:
        raise InputError(nothing_seen(batches.place))
    if scorer.direction is None:
        scorer.model.codes(list(found.users), scorer.unknown)
    if keys:
        found.group = np.concatenate(groups)
    if scored:
        key, row = np.unique(np.concatenate([key for key, _ in scored]), return_inverse=True)
        total = np.bincount(row, np.concatenate([score for _, score in scored]))
        found.base = _Base(key, total / np.bincount(row))
    return found


@dataclass(frozen=True)
class _Groups:
    """Which user and prompt each row is of, and its place among their rows, from 0: (N,)."""

    group: Int
    place: Int
    most: int

    @staticmethod
    def of(survey: _Survey, batches: Batches, most: int) -> "_Groups":
        """Raises InputError where somebody has fewer completions of a prompt than are to be looked at."""
        assert survey.group is not None
        _, first, group, count = np.unique(survey.group, return_index=True, return_inverse=True, return_counts=True)
        if (count < most).any():
            few = int(first[count < most].min())
            user = next(frame["user_id"][few - int(at.rows[0])] for frame, at in batches if few <= at.rows[-1])
            raise InputError(
                f"{batches.place}: row {few + 1}: user {str(user)!r} has "
                f"{count[group[few]]} completions of this prompt, "
                f"fewer than --best-of-n {most}; give a smaller number, or none to rank all"
            )
        return _Groups(group, ranks(group, np.zeros(len(group))) - 1, most)

    def ranked(self, reward: Float) -> tuple[pl.Series, pl.Series]:
        """Rank of each row, 1 the best, null beyond the first `most` and without a reward; and whether it is best."""
        looked = (self.place < self.most if self.most else np.ones(len(reward), dtype=bool)) & ~np.isnan(reward)
        rank = ranks(self.group, np.where(looked, reward, -np.inf))
        told = pl.Series("rank", rank).set(pl.Series(~looked), None)
        return told, pl.Series("best", looked & (rank == 1))


def _check_finite(rows: Completions, seen: Int, reward: Float) -> None:
    """Raise InputError naming the first row (from 1) whose reward is not a number to train on."""
    finite = np.isfinite(reward)
    if not finite.all():
        at = int(np.argmin(finite))
        row = getattr(rows.source, "rows", np.arange(len(rows.item)))[seen[at]]
        raise InputError(
            f"{rows.source}: row {row + 1}: the reward is {reward[at]}, not finite; look for huge embeddings"
        )
