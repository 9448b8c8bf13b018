"""`Comparisons`: who preferred what to what, with a frozen embedding for every item."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from plurality.arrays import Array, Float, Int
from plurality.data.answers import swapped_levels
from plurality.data.keys import Keys, text_keys
from plurality.data.unread import few_of
from plurality.deprecation import renamed
from plurality.errors import InputError
from plurality.escaping import markup, visible
from plurality.io.engines import LOCAL, Engine

if TYPE_CHECKING:
    from plurality.data.splits import Cells, NewItemsFor
    from plurality.data.tensor_files import StoreDtype
    from plurality.encoders import Encoder


@dataclass(frozen=True, eq=False, repr=False)
class Comparisons:
    """N comparisons by U users of M items (unique prompt and completion) under Q prompts.

    items       (M, d) float32, frozen embeddings, possibly memory-mapped; shared by every subset
    first       (N,) row in items of the side shown as first; sides are ordered by item key, never by label
    second      (N,) row in items of the other side
    user        (N,) row in users
    label       (N,) P(first preferred) in [0, 1]; a tie is 1/2
    weight      (N,) positive; a weight of 3 means the same as the row three times
    group       (N,) key of siblings (one turn, one conversation), the unit of splitting
    prompt      (M,) row in prompt_keys of each item
    users       (U, ...) polars frame, `user_id` first, then whatever is known of the user
    item_keys, prompt_keys   stable 64-bit keys
    texts       polars frame `prompt, completion`, a row an item; None for ready-made embeddings
    prompts     (Q, d) prompt embeddings, for models whose head looks at the prompt
    encoder     what made the embeddings; None for ready-made ones
    objective   (N,) place in `objectives` of what was asked or where the row came from; None if there is but one

    attributes    frame of N rows, whatever else the table says of them (topic, language, time); None if nothing
    answers       frame of N rows, `plurality.data.answers`: answer_kind, answer (number), level_first, level_second, of
                  what people said other than pairs; None if all is pairs
    silent        frame of answers that prefer nothing to anything: user, answer_kind, level, n; None if there are none
    grade         (N,) how strongly the preferred side is preferred, in ordered levels or a magnitude, 0 for a tie, NaN
                  where nothing is said of it; None if nowhere
    offset        (N,) log-odds that are added to every gap, of a comparison with a cut point (`data.graded`); None
    base          (M,) score that a reward you own gives each item, in its units; NaN for items in no comparison; None

    source        name of where the rows came from, for messages
    duplicates    number of exact repeats that were dropped at reading
    unread        columns of the table that no model looks at, attributes too
    """

    items: Array
    first: Int
    second: Int
    user: Int
    label: Float
    weight: Float
    group: Keys
    prompt: Int
    users: pl.DataFrame
    item_keys: Keys
    prompt_keys: Keys
    texts: pl.DataFrame | None = None
    prompts: Array | None = None
    encoder: "Encoder | None" = None
    source: str = "comparisons"
    duplicates: int = field(default=0)
    objective: Int | None = None
    objectives: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    attributes: pl.DataFrame | None = None
    answers: pl.DataFrame | None = None
    silent: pl.DataFrame | None = None
    grade: Float | None = None
    offset: Float | None = None
    base: Float | None = None

    def __len__(self) -> int:
        return len(self.first)

    @property
    def dim(self) -> int:
        """Width d of the embeddings."""
        return int(self.items.shape[1])

    @property
    def base_gap(self) -> Float:
        """By how much the base reward scores first above second, and the offset: (N,), zeros where there is neither."""
        gap = np.zeros(len(self)) if self.base is None else self.base[self.first] - self.base[self.second]
        return gap if self.offset is None else gap + self.offset

    def with_base(self, scale: float) -> "Comparisons":
        """The same comparisons with base scores times `scale`, which has them in log-odds."""
        return self if self.base is None else replace(self, base=scale * self.base)

    @property
    def user_ids(self) -> list[str]:
        """Ids of the users who have at least one comparison here, in the order of `users`."""
        return self.users["user_id"].gather(self.present).to_list()

    @property
    def present(self) -> Int:
        """Rows in `users` of those who have at least one comparison here, ascending."""
        return np.unique(self.user)

    def take(self, rows: Array) -> "Comparisons":
        """The comparisons at `rows` (indices or mask); items and users are shared, not copied."""
        return replace(
            self,
            first=self.first[rows],
            second=self.second[rows],
            user=self.user[rows],
            label=self.label[rows],
            weight=self.weight[rows],
            group=self.group[rows],
            objective=None if self.objective is None else self.objective[rows],
            attributes=None if self.attributes is None else self.attributes[_places(rows)],
            answers=None if self.answers is None else self.answers[_places(rows)],
            grade=None if self.grade is None else self.grade[rows],
            offset=None if self.offset is None else self.offset[rows],
        )

    def compact_items(self, embedded: Callable[[Int], Array] | None = None) -> "Comparisons":
        """The same comparisons with the items that occur in them and no others.

        embedded    the embeddings to take for these rows of items; None: as they are
        """
        used, place = np.unique(np.concatenate([self.first, self.second]), return_inverse=True)
        return replace(
            self,
            items=self.items[used] if embedded is None else embedded(used),
            first=place[: len(self)],
            second=place[len(self) :],
            prompt=self.prompt[used],
            item_keys=self.item_keys[used],
            texts=None if self.texts is None else self.texts[used],
            base=None if self.base is None else self.base[used],
        )

    def swapped(self) -> "Comparisons":
        """The same comparisons with the sides exchanged, labels with them."""
        return replace(
            self,
            first=self.second,
            second=self.first,
            label=1 - self.label,
            answers=swapped_levels(self.answers),
            offset=None if self.offset is None else -self.offset,
        )

    def in_key_order(self) -> "Comparisons":
        """The rows in the order of their keys, so that sums over them do not know how a file was sorted."""
        asked = np.zeros(len(self)) if self.objective is None else self.objective
        said = [column for column in (self.grade, self.offset) if column is not None]
        by = (*said, asked, self.weight, self.label, self.user_keys()[self.user], self.group)
        return self.take(np.lexsort((*by, self.item_keys[self.second], self.item_keys[self.first])))

    def of_users(self, user_ids: Sequence[str]) -> "Comparisons":
        """The comparisons of these users. Raises InputError for an id that is not in the users table.

        user_ids    ids of users; each must be in the users table
        """
        rows = self.user_rows(user_ids)
        return self.take(np.isin(self.user, rows))

    def user_rows(self, user_ids: Sequence[str]) -> Int:
        """Row in `users` of each id: (n,).

        user_ids    ids of users; each must be in the users table
        """
        index = {u: i for i, u in enumerate(self.users["user_id"].to_list())}
        try:
            return np.array([index[u] for u in user_ids], dtype=np.int64)
        except KeyError as missing:
            raise InputError(f"{self.source}: user {missing} is not in the users table") from None

    def with_users(self, user_ids: Sequence[str]) -> "Comparisons":
        """The same comparisons under other ids, in the order of `users`.

        user_ids    new ids (U,), in the order of `users`
        """
        return replace(self, users=self.users.with_columns(pl.Series("user_id", list(user_ids))))

    def by_unit(self, column: str) -> "Comparisons":
        """The same comparisons with the values of a column of `users` as users: codes then belong to, say, countries.

        Of the other columns those stay that have one value in every unit. Raises InputError for a column that is not
        there, or that is empty for somebody who has comparisons.

        column    column of the users table whose values become the users
        """
        if column == "user_id":
            return self
        if column not in self.users.columns:
            raise InputError(
                f"{self.source}: the users table has no column {column!r} to be the unit of codes; "
                f"it has {', '.join(self.users.columns)}"
            )
        dtype = self.users[column].dtype
        if dtype.is_nested() or dtype in (pl.Binary, pl.Duration, pl.Object):
            raise InputError(
                f"{self.source}: {column!r} of the users table holds {dtype}, no unit; give text or numbers"
            )
        value = self.users[column].cast(pl.String)
        if value.gather(self.present).null_count():
            who = self.users["user_id"].gather(self.present).filter(value.gather(self.present).is_null())[0]
            raise InputError(f"{self.source}: user {who!r} has comparisons but no {column!r}; fill it in or drop them")
        frame = self.users.with_columns(value.alias(column)).filter(value.is_not_null()).drop("user_id")
        units = frame.group_by(column).agg(pl.all().first()).sort(column)
        spread = frame.group_by(column).agg(pl.all().n_unique()).drop(column).max()
        same = [name for name in spread.columns if spread[name][0] == 1]
        units = units.select(pl.col(column).alias("user_id"), column, *same)
        place = units["user_id"].search_sorted(value.fill_null("")).to_numpy().astype(np.int64)
        return replace(self, users=units, user=place[self.user], silent=None)

    def user_keys(self) -> Keys:
        """Stable key of every user in `users`: (U,)."""
        return text_keys(self.users["user_id"].to_list())

    @renamed(by="split", test="test_size", anybody=("new_items_for", {True: "anybody", False: "user"}))
    def split(
        self,
        split: str = "prompt",
        test_size: float = 0.2,
        seed: int = 0,
        *,
        fold: int = 0,
        new_items_for: "NewItemsFor" = "user",
    ) -> "tuple[Comparisons, Comparisons]":
        """Train and test part; see `plurality.data.splits.split`.

        test_size        share of the test part, in (0, 1)
        seed             makes the split the same again
        fold             which of the disjoint test parts, from 0
        new_items_for    whom test items are new to: "user" or "anybody"

        >>> import numpy as np, plurality as pl8
        >>> rows = {"user_id": ["ada", "bo"], "prompt": ["Tea?", "Cake?"], "chosen": [0, 2], "rejected": [1, 3]}
        >>> train, test = pl8.read(rows, embeddings=np.eye(4)).split("prompt", test_size=0.5, seed=0)
        >>> len(train), len(test)
        (1, 1)
        """
        from plurality.data import splits

        return splits.split(self, split=split, test_size=test_size, seed=seed, fold=fold, new_items_for=new_items_for)

    @renamed(by="split", test="test_size")
    def cells(
        self,
        split: str = "prompt",
        test_size: float = 0.2,
        unseen_users: float = 0.2,
        support: int = 20,
        seed: int = 0,
        *,
        fold: int = 0,
    ) -> "Cells":
        """Training part, supports and the four test cells; see `plurality.data.splits.cells`.

        split           unit of splitting: "prompt", "group", "item" or "row"
        test_size       share of the test part, in (0, 1)
        unseen_users    share of users held out
        support         comparisons of each unseen user to infer a code from
        seed            makes the split the same again
        fold            which of the disjoint test parts, from 0
        """
        from plurality.data.splits import cells

        return cells(
            self,
            split=split,
            test_size=test_size,
            unseen_users=unseen_users,
            support=support,
            seed=seed,
            fold=fold,
        )

    def save(self, folder: str | Path, *, dtype: "StoreDtype" = "float32", engine: Engine = LOCAL) -> Path:
        """Write the store that `Comparisons.load` maps back; see `plurality.data.store`.

        folder    store to write
        dtype     of the embeddings in the file: "float32", or half of its size in "float16" or "bfloat16"
        engine    where the texts of `read(pending=True)` are embedded: see `plurality.io.engines`
        """
        from plurality.data.store import save

        return save(self, folder, dtype=dtype, engine=engine)

    @staticmethod
    def load(folder: str | Path, *, verify: bool = True) -> "Comparisons":
        """Open a store, embeddings memory-mapped; see `plurality.data.store`.

        folder    store to read
        verify    compare every file with its SHA-256
        """
        from plurality.data.store import load

        return load(folder, verify=verify)

    def __repr__(self) -> str:
        unread = visible(f"; unread columns: {few_of(self.unread)}") if self.unread else ""
        scored = "" if self.base is None else ", with base scores"
        return (
            f"Comparisons({len(self):,} by {len(self.present):,} users, "
            f"{len(self.items):,} items × {self.dim}, {len(self.prompt_keys):,} prompts{scored}{unread})"
        )

    def _repr_html_(self) -> str:
        count = np.bincount(self.user, minlength=self.users.height)[self.present]
        median = f"{np.median(count):.0f}" if len(count) else "–"
        ties = int((self.label == 0.5).sum())
        cells = {
            "comparisons": f"{len(self):,}",
            "users": f"{len(self.present):,}",
            "median per user": median,
            "items": f"{len(self.items):,} × {self.dim}",
            "prompts": f"{len(self.prompt_keys):,}",
            "ties": f"{ties:,}",
            "known of users": ", ".join(self.users.columns[1:]) or "nothing",
        }
        if self.base is not None:
            cells["base scores"] = "a score an item, of a reward you own"
        if self.unread:
            cells["columns no model looks at"] = ", ".join(self.unread)
        rows = "".join(f"<tr><th style='text-align:left'>{k}</th><td>{markup(v)}</td></tr>" for k, v in cells.items())
        return f"<table>{rows}</table>"


def _places(rows: Array) -> Int:
    rows = np.asarray(rows)
    return np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64)
