"""What people say other than one pair at a time: choices from sets, rankings, thumbs and ratings, in any mixture.

Each becomes things on ordered levels (`plurality.data.ordered_pairs`), rows of a table several things:
    pairs       chosen, rejected (label ½ is a tie) or first, second, label
    choices     completions, chosen (one of them; of texts also its place, from 0)
    rankings    ranking: completions, best first, those of one place as a list of their own; beside completions, some
                of them, or the rank of each from 1: one that has none is below all others
    thumbs      completion, label (1 accepted, 0 not)
    ratings     completion, rating, on any scale of the person's own
All thumbs of a person, for one `objective`, are one answer, and so are all ratings.
"""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from plurality.arrays import Float, Int
from plurality.data.pairs import CHOSEN, FIRST
from plurality.data.readers import chats, columns
from plurality.data.readers.columns import Part, raise_where
from plurality.errors import InputError

BASE_SCORES = ("score", "scores", "score_chosen", "score_rejected", "score_first", "score_second")
KINDS = ("pair", "choice", "ranking", "thumbs", "rating")
ANSWERS = ("completions", "completion", "ranking", "rating")


@dataclass(frozen=True, eq=False)
class Things:
    """n things that answers are about, in the order of the table.

    what      (n,) texts, or rows of ready-made embeddings
    row       (n,) row of the table
    answer    (n,) number of the answer
    level     (n,) within it, larger is better
    score     (n,) of a base reward; None if the table has none
    kind      (N,) of each row of the table, its place in KINDS
    """

    what: pl.Series
    row: Int
    answer: Int
    level: Float
    kind: Int
    score: Float | None = None

    @property
    def alone(self) -> NDArray[np.bool_]:
        """Whether each row of the table is one thing of an answer, not all of it: (N,)."""
        return self.kind >= KINDS.index("thumbs")

    def of(self, rows: NDArray[np.bool_]) -> "Things":
        """Some of the things."""
        return replace(
            self,
            what=self.what.filter(pl.Series(rows)),
            row=self.row[rows],
            answer=self.answer[rows],
            level=self.level[rows],
            score=None if self.score is None else self.score[rows],
        )


def there(frame: pl.DataFrame) -> bool:
    """Whether any row says something else than a pair."""
    given = {name for name in (*ANSWERS, "chosen", "label") if columns.given(frame, name)}
    several = "ranking" in given or {"completions", "chosen"} <= given
    one = "completion" in given and bool(given & {"label", "rating"})
    return (several or one) and not is_pair(frame).all()


def things(frame: pl.DataFrame, place: str, person: Int, *, ready_made: bool, blank_too: bool) -> Things:
    """The things that every row is about. Raises InputError for a row that says nothing, or two things at once.

    frame        table
    place        its name
    person       (N,) number of whoever answers, and what for
    ready_made   whether things are row numbers of embeddings, not texts
    blank_too    whether a text of white space only is one
    """
    kinds = {"pair": is_pair(frame), **_kinds(frame, place)}
    parts, kind = [], np.zeros(frame.height, dtype=np.int64)
    for name, read in zip(KINDS, (_pairs, _choices, _rankings, _alone, _alone), strict=True):
        rows = kinds[name].arg_true().to_numpy().astype(np.int64)
        kind[rows] = KINDS.index(name)
        if len(rows):
            parts += read(frame[rows], Part(place, rows))
    checked = [_checked(part.what, part.place, ready_made, blank_too) for part in parts]
    alike = len({values.dtype for values in checked}) == 1
    what = pl.concat(checked if alike else [values.cast(pl.String) for values in checked])
    row = np.concatenate([part.place.rows for part in parts])
    level = np.concatenate([part.level for part in parts])
    alone = (kinds["thumbs"] | kinds["rating"]).to_numpy()
    answer = np.where(alone[row], frame.height + 2 * person[row] + (kind == KINDS.index("rating"))[row], row)
    order = np.argsort(row, kind="stable")
    score = _scores(parts)
    odd = [name for name in BASE_SCORES if score is None and columns.given(frame, name)]
    if odd:
        remedy = (
            "give scores beside completions, score beside a completion, score_chosen and score_rejected beside a pair"
        )
        raise InputError(f"{place}: column {odd[0]} scores nothing that the rows have; {remedy}")
    return Things(what[order], row[order], answer[order], level[order], kind, None if score is None else score[order])


@dataclass(frozen=True, eq=False)
class _Read:
    """Things as they stand, the rows they are of, and their levels."""

    what: pl.Series
    place: Part
    level: Float
    score: Float | None = None


def _scores(parts: list[_Read]) -> Float | None:
    """Base scores of the things of all parts, None if there are none. Raises InputError where some have one alone."""
    if all(part.score is None for part in parts):
        return None
    for part in parts:
        if part.score is None:
            bad = pl.repeat(True, len(part.level), dtype=pl.Boolean, eager=True)
            raise_where(bad, part.place, "has no base score and others have", "score it too, or leave them out of all")
    return np.concatenate([part.score for part in parts if part.score is not None])


def _score(frame: pl.DataFrame, name: str, place: str) -> Float | None:
    return columns.numbers(frame, name, place).to_numpy() if columns.given(frame, name) else None


def _each_score(frame: pl.DataFrame, place: Part, where: Int) -> Float | None:
    """Base scores of the completions in lists, the list of each being `where`."""
    if not columns.given(frame, "scores"):
        return None
    score, of, _ = _exploded(columns.column(frame, "scores", place), place, "scores")
    count, wanted = (np.bincount(rows, minlength=frame.height) for rows in (of, where))
    raise_where(
        pl.Series(count != wanted), place, "scores and completions are of different length", "give a score to each"
    )
    return _score(score.to_frame(), "scores", Part(place, place.rows[of]))


def is_pair(frame: pl.DataFrame) -> pl.Series:
    """Whether each row has both sides of a pair."""
    found = _has(frame, "rejected") & columns.given(frame, "chosen")
    return found | (_has(frame, "second") & columns.given(frame, "first"))


def _has(frame: pl.DataFrame, name: str) -> pl.Series:
    """Whether each row says something in a column that may be missing."""
    if name in frame.columns:
        return frame[name].is_not_null()
    return pl.repeat(False, frame.height, dtype=pl.Boolean, eager=True)


def _kinds(frame: pl.DataFrame, place: str) -> dict[str, pl.Series]:
    has = {name: _has(frame, name) for name in (*ANSWERS, "chosen", "label")}
    open_ = ~is_pair(frame)
    also = ~open_ & (has["ranking"] | (has["completion"] & has["rating"]))
    raise_where(also, place, "a pair stands beside a ranking or a rating", "give each a row of its own")
    several, one = open_ & (has["completions"] | has["ranking"]), open_ & has["completion"]
    raise_where(
        several & one, place, "a completion stands beside completions or a ranking", "give each a row of its own"
    )
    ranking = several & has["ranking"]
    choice = several & ~ranking & has["chosen"]
    alone = one & (has["rating"] | has["label"])
    remedy = (
        "give chosen and rejected, completions and which of them is chosen, a ranking, or a completion and its rating "
        "or label"
    )
    raise_where(open_ & ~(ranking | choice | alone), place, "nothing is preferred to anything", remedy)
    return {"choice": choice, "ranking": ranking, "thumbs": alone & ~has["rating"], "rating": alone & has["rating"]}


def _pairs(frame: pl.DataFrame, place: Part) -> list[_Read]:
    """The better first; a label says how sure that is, and is kept by the row."""
    read = []
    for sides in (CHOSEN, FIRST):
        if not all(name in frame.columns for name in sides):
            continue
        here = frame[sides[1]].is_not_null().arg_true().to_numpy().astype(np.int64)
        for name, level in zip(sides, (1.0, 0.0), strict=True):
            part = Part(place, place.rows[here])
            some, levels = frame[here], np.full(len(here), level)
            read.append(_Read(columns.column(some, name, part), part, levels, _score(some, f"score_{name}", part)))
    return read


def _choices(frame: pl.DataFrame, place: Part) -> list[_Read]:
    what, where, position = _exploded(frame["completions"], place, "completions")
    chosen = frame["chosen"]
    if chosen.dtype.is_integer() and not what.dtype.is_integer():
        count = frame["completions"].list.len()
        raise_where((chosen < 0) | (chosen >= count), place, "chosen is no place in completions", "count from 0")
        level = position == chosen.to_numpy()[where]
    else:
        said, options = _plain(chosen, place), _plain(what, Part(place, place.rows[where]))
        level = (options == said[where]).fill_null(False).to_numpy()
        found = np.bincount(where, level, minlength=frame.height)
        raise_where(pl.Series(found == 0), place, "chosen is none of completions", "write it as it stands there")
    return [_Read(what, Part(place, place.rows[where]), level.astype(float), _each_score(frame, place, where))]


def _rankings(frame: pl.DataFrame, place: Part) -> list[_Read]:
    among = _has(frame, "completions")
    read = []
    rows = among.arg_true().to_numpy().astype(np.int64)
    if len(rows):
        read.append(_ranked(frame[rows], Part(place, place.rows[rows])))
    rows = (~among).arg_true().to_numpy().astype(np.int64)
    if len(rows):
        part = Part(place, place.rows[rows])
        what, where, position = _exploded(frame["ranking"][rows], part, "ranking")
        score = _each_score(frame[rows], part, where)
        part = Part(place, part.rows[where])
        if isinstance(what.dtype, pl.List) and not chats.is_chat(what):  # those of one place
            what, tied, _ = _exploded(what, part, "ranking")
            part, position = Part(place, part.rows[tied]), position[tied]
            if score is not None:
                bad = pl.Series(np.bincount(tied) > 1)
                remedy = "give them a column completions, and to each its score"
                raise_where(bad, Part(place, place.rows[rows][where]), "completions of one place share a score", remedy)
        read.append(_Read(what, part, -position.astype(float), score))
    return read


def _ranked(frame: pl.DataFrame, place: Part) -> _Read:
    """Completions by their ranks from 1, or by where they stand in a ranking of texts; others are below all those."""
    what, where, _ = _exploded(frame["completions"], place, "completions")
    part = Part(place, place.rows[where])
    rank = columns.as_numbers(frame["ranking"].explode()) if _numeric(frame["ranking"]) else None
    if rank is None:
        said, of, position = _exploded(frame["ranking"], place, "ranking")
        places = pl.DataFrame({"row": of, "text": _plain(said, Part(place, place.rows[of])), "rank": position + 1.0})
        remedy = "write each once and as it stands there"
        again = ~places.select(pl.struct("row", "text").is_first_distinct()).to_series()
        raise_where(again, Part(place, place.rows[of]), "ranking names a completion twice", remedy)
        shown = pl.DataFrame({"row": where, "text": _plain(what, part)})
        unknown = places.join(shown, on=["row", "text"], how="anti")["row"].to_numpy()
        bad = pl.Series(np.isin(np.arange(frame.height), unknown))
        raise_where(bad, place, "ranking names what is none of completions", remedy)
        rank = shown.join(places, on=["row", "text"], how="left", maintain_order="left")["rank"]
    else:
        remedy = "give a rank from 1 to each of completions, empty where it has none"
        same = frame["ranking"].list.len() == frame["completions"].list.len()
        raise_where(~same, place, "ranking and completions are of different length", remedy)
        raise_where((rank < 1) | ~rank.is_finite(), part, "a rank is below 1", remedy)
    level = -rank.fill_null(np.finfo(np.float64).max).to_numpy()
    return _Read(what, part, level, _each_score(frame, place, where))


def _numeric(lists: pl.Series) -> bool:
    return isinstance(lists.dtype, pl.List) and (lists.dtype.inner.is_numeric() or lists.dtype.inner == pl.Null)


def _alone(frame: pl.DataFrame, place: Part) -> list[_Read]:
    level = np.full(frame.height, np.nan)
    for name in ("label", "rating"):  # a rating says more
        if not columns.given(frame, name):
            continue
        here = frame[name].is_not_null().arg_true().to_numpy().astype(np.int64)
        level[here] = columns.numbers(frame[here], name, Part(place, place.rows[here])).to_numpy()
    return [_Read(columns.column(frame, "completion", place), place, level, _score(frame, "score", place))]


def _exploded(lists: pl.Series, place: str, name: str) -> tuple[pl.Series, Int, Int]:
    """The things of lists, the list of each, and its place in it; every list has one at least."""
    raise_where(
        pl.Series([not isinstance(lists.dtype, pl.List | pl.Array)] * len(lists)), place, f"{name} is not a list",
        "give a list of completions",
    )  # fmt: skip
    lists = lists.cast(pl.List(lists.dtype.inner)) if isinstance(lists.dtype, pl.Array) else lists
    count = lists.list.len().to_numpy().astype(np.int64)
    raise_where(pl.Series(count == 0), place, f"{name} is empty", "give two completions at least, or drop the row")
    where = np.repeat(np.arange(len(lists)), count)
    position = np.arange(len(where)) - np.repeat(np.cumsum(count) - count, count)
    return lists.explode(), where, position


def _plain(values: pl.Series, place: str) -> pl.Series:
    """Values that can be told apart: chats as their text."""
    return chats.completions(values, place, blank_too=True) if chats.is_chat(values) else values.cast(pl.String)


def _checked(what: pl.Series, place: str, ready_made: bool, blank_too: bool) -> pl.Series:
    what = what.alias("completion")
    raise_where(what.is_null(), place, "a completion is null", "fill it in or leave it out")
    if ready_made:  # a column with gaps may have made row numbers floats
        whole = what.dtype.is_float() and bool((what == what.round()).all())
        return what.cast(pl.Int64) if whole or what.dtype.is_integer() else what.cast(pl.String)
    return chats.completions(what, place, blank_too=blank_too)
