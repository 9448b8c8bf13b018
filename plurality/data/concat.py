"""Several sets of comparisons as one, each with an objective of its own and all in one space of embeddings."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import polars as pl

from plurality.arrays import Array, Float, Int
from plurality.data.answers import swapped_levels
from plurality.data.comparisons import Comparisons
from plurality.data.items import Items
from plurality.data.joined_answers import joined_answers, joined_silent
from plurality.data.keys import Keys, combine, text_keys
from plurality.errors import InputError

if TYPE_CHECKING:
    from plurality.encoders import EmbeddingServer, Encoder, LsaSpec, TransformersSpec


SAME_SCORE = 1e-3  # by which scores of one text may differ, for what they are: rounding, another machine


class _Rows(NamedTuple):
    """Unique keys of all sets in order, and for each set the row of every one of its keys."""

    keys: Keys
    of_set: list[Int]

    @staticmethod
    def of(keys: Sequence[Keys]) -> "_Rows":
        unique, row = np.unique(np.concatenate(keys), return_inverse=True)
        ends = np.cumsum([len(k) for k in keys])[:-1]
        return _Rows(unique, [part.astype(np.int64) for part in np.split(row, ends)])

    def gather(self, parts: Sequence[Array]) -> Array:
        """What each set says of its keys (m, ...), a row a unique key; of a key in several sets the first says it."""
        out = np.empty((len(self.keys), *parts[0].shape[1:]), dtype=parts[0].dtype)
        for rows, part in zip(reversed(self.of_set), reversed(parts), strict=True):
            out[rows] = part
        return out


def concat(
    sets: Sequence[Comparisons],
    *,
    objectives: Sequence[str] | None = None,
    encoder: "str | Path | LsaSpec | TransformersSpec | EmbeddingServer | Encoder | None" = None,
    same_users: bool = False,
    seed: int = 0,
    progress: bool = False,
) -> Comparisons:
    """The comparisons of several sets as one set, whose `objective` says which of them a comparison came from.

    Sets embedded by one encoder are joined as they are, the same text once; so are ready-made embeddings of one width.
    Otherwise name an `encoder`, which embeds all texts again: vectors of two encoders have nothing to do with each
    other. Raises InputError for sets that cannot share embeddings, and for names that are not one a set.

    sets          comparisons
    objectives    a name for each set, to which objectives of its own are added: "name/own"; default: their sources
    encoder       name, spec or instance, fitted on the texts of all sets if it is fitted
    same_users    whether an id means the same person in every set; otherwise ids become "name/id"
    seed          of an encoder that is fitted
    progress      show a progress bar while embedding

    >>> import numpy as np, plurality as pl8
    >>> rows = {"user_id": ["ada", "bo"], "prompt": ["Tea?", "Tea?"], "chosen": [0, 1], "rejected": [1, 0]}
    >>> tea = pl8.read(rows, embeddings=np.eye(2))
    >>> both = pl8.concat([tea, tea], objectives=["helpful", "harmless"])
    >>> both.objectives, len(both), both.user_ids
    (('harmless', 'helpful'), 4, ['helpful/ada', 'helpful/bo', 'harmless/ada', 'harmless/bo'])
    """
    names = _names(sets, objectives)
    _check_embeddings(sets, encoder is not None)
    ready_made = [data.texts is None for data in sets]
    marks = [text_keys([name]) for name in names]
    item_keys, prompt_keys = (
        [combine(mark, keys) if bare else keys for keys, mark, bare in zip(all_keys, marks, ready_made, strict=True)]
        for all_keys in ([data.item_keys for data in sets], [data.prompt_keys for data in sets])
    )
    items, prompts = _Rows.of(item_keys), _Rows.of(prompt_keys)
    prompt = items.gather([rows[data.prompt] for data, rows in zip(sets, prompts.of_set, strict=True)])
    texts = None if any(ready_made) else _texts(sets, items)
    if encoder is None:
        made_by = sets[0].encoder
        vectors = items.gather([data.items for data in sets])
        asked = [data.prompts for data in sets if data.prompts is not None]
        prompt_vectors = prompts.gather(asked) if len(asked) == len(sets) else None
    else:
        from plurality import encoders

        whole = Items(texts, items.keys, prompt, prompts.keys)
        made_by = encoders.create(encoder, whole.corpus, seed=seed, progress=progress)
        vectors = whole.embed(made_by, progress=progress)
        with_prompts = all(data.prompts is not None for data in sets)
        prompt_vectors = whole.embed_prompts(made_by, progress=progress) if with_prompts else None
    users, places = _users(sets, names, same_users)
    first, second = (
        np.concatenate([rows[getattr(data, side)] for data, rows in zip(sets, items.of_set, strict=True)])
        for side in ("first", "second")
    )
    swap = items.keys[first] > items.keys[second]
    label = np.concatenate([data.label for data in sets])
    objective, told = _objectives(sets, names)
    return Comparisons(
        items=vectors,
        first=np.where(swap, second, first),
        second=np.where(swap, first, second),
        user=np.concatenate([place[data.user] for place, data in zip(places, sets, strict=True)]),
        label=np.where(swap, 1 - label, label),
        weight=np.concatenate([data.weight for data in sets]),
        group=np.concatenate([_groups(data, mark) for data, mark in zip(sets, marks, strict=True)]),
        prompt=prompt,
        users=users,
        item_keys=items.keys,
        prompt_keys=prompts.keys,
        texts=texts,
        prompts=prompt_vectors,
        encoder=made_by,
        source=" + ".join(names),
        duplicates=sum(data.duplicates for data in sets),
        objective=objective,
        objectives=told,
        unread=tuple(dict.fromkeys(column for data in sets for column in data.unread)),
        attributes=_attributes(sets),
        answers=swapped_levels(joined_answers(sets), swap),
        silent=joined_silent(sets, places),
        grade=_grade(sets),
        base=_base(sets, items),
    )


def _names(sets: Sequence[Comparisons], objectives: Sequence[str] | None) -> list[str]:
    if isinstance(sets, Comparisons) or not sets or not all(isinstance(data, Comparisons) for data in sets):
        raise InputError("concat joins a list of comparisons, as read gives them; give [one, other]")
    if objectives is None:
        sources = [data.source for data in sets]
        return sources if len(set(sources)) == len(sets) else [f"set {place}" for place in range(1, len(sets) + 1)]
    names = [objectives] if isinstance(objectives, str) else list(objectives)
    if len(names) != len(sets) or len(set(names)) < len(names) or not all(map(_is_name, names)):
        raise InputError(
            f"objectives {names} are not one name for each of {len(sets)} sets; give as many, all different"
        )
    return names


def _is_name(name: object) -> bool:
    return isinstance(name, str) and bool(name.strip())


def _check_embeddings(sets: Sequence[Comparisons], again: bool) -> None:
    """Raise InputError unless all sets have texts to embed again, or embeddings that mean the same."""
    bare = next((place for place, data in enumerate(sets, 1) if data.texts is None), None)
    if again:
        if bare is not None:
            raise InputError(
                f"set {bare} has ready-made embeddings and no texts; leave out encoder=, or embed it elsewhere"
            )
        return
    made_by = [None if data.encoder is None else data.encoder.fingerprint for data in sets]
    other = next((place for place, mark in enumerate(made_by, 1) if mark != made_by[0]), None)
    remedy = "name encoder= to embed all texts with one" if bare is None else "embed all with one model"
    if other is not None:
        raise InputError(f"sets 1 and {other} are embedded by different encoders; {remedy}")
    widths = [data.dim for data in sets]
    if len(set(widths)) > 1:
        raise InputError(f"embeddings of {' and '.join(map(str, widths))} dimensions cannot be joined; {remedy}")
    if bare is not None and not all(data.texts is None for data in sets):
        raise InputError(f"set {bare} has no texts and others have; {remedy}")


def _texts(sets: Sequence[Comparisons], items: _Rows) -> pl.DataFrame:
    frames = [data.texts for data in sets if data.texts is not None]
    row = pl.Series("row", np.concatenate(items.of_set))
    return pl.concat(frames).with_columns(row).unique("row", keep="first", maintain_order=True).sort("row").drop("row")


def _users(sets: Sequence[Comparisons], names: Sequence[str], same: bool) -> tuple[pl.DataFrame, list[Int]]:
    """Everybody in order of the sets, and the row among them of each user of a set."""
    frames = [
        data.users if same else data.users.with_columns(user_id=pl.format("{}/{}", pl.lit(name), "user_id"))
        for data, name in zip(sets, names, strict=True)
    ]
    table = _stacked(frames)
    said = [pl.col(name).drop_nulls() for name in table.columns[1:]]
    grouped = table.group_by("user_id", maintain_order=True)
    for name, values in zip(table.columns[1:], said, strict=True):
        contradicted = grouped.agg(values.n_unique()).filter(pl.col(name) > 1)
        if contradicted.height:
            who = contradicted["user_id"][0]
            raise InputError(
                f"user {who!r} has several values of {name!r} in the sets; leave out same_users, or mend it"
            )
    everybody = grouped.agg(values.first() for values in said)
    row = dict(zip(everybody["user_id"].to_list(), range(everybody.height), strict=True))
    places = [np.array([row[u] for u in frame["user_id"].to_list()], dtype=np.int64) for frame in frames]
    return everybody, places


def _attributes(sets: Sequence[Comparisons]) -> pl.DataFrame | None:
    """What is said of the rows of any set, null where a set says nothing."""
    if all(data.attributes is None for data in sets):
        return None
    place = "row in its set"  # a frame of no columns has no height
    frames = [
        pl.DataFrame({place: np.arange(len(data))})
        if data.attributes is None
        else data.attributes.with_columns(pl.Series(place, np.arange(len(data))))
        for data in sets
    ]
    return _stacked(frames).drop(place)


def _grade(sets: Sequence[Comparisons]) -> Float | None:
    """How strong preferences are, NaN of sets that do not say."""
    if all(data.grade is None for data in sets):
        return None
    return np.concatenate([np.full(len(data), np.nan) if data.grade is None else data.grade for data in sets])


def _base(sets: Sequence[Comparisons], items: _Rows) -> Float | None:
    """Base scores of all items. Raises InputError where some sets have them and others not."""
    scored = [data.base for data in sets if data.base is not None]
    if not scored:
        return None
    if len(scored) < len(sets):
        bare = next(place for place, data in enumerate(sets, 1) if data.base is None)
        raise InputError(f"set {bare} has no base scores and others have; score it too, or leave them out of all")
    found = items.gather(scored)
    for place, (rows, own) in enumerate(zip(items.of_set, scored, strict=True), 1):
        there = np.isfinite(own) & np.isfinite(found[rows])
        if (np.abs(own - found[rows])[there] > SAME_SCORE * (1 + np.abs(own[there]))).any():
            raise InputError(f"set {place} scores a text otherwise than a set before it; have one base score all sets")
        found[rows] = np.where(np.isfinite(own), own, found[rows])
    return found


def _stacked(frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """Frames one below the other; a column of numbers in one and text in another becomes text."""
    kinds: dict[str, set[pl.DataType]] = {}
    for frame in frames:
        for name, dtype in frame.schema.items():
            kinds.setdefault(name, set()).add(dtype)
    mixed = [name for name, dtypes in kinds.items() if len(dtypes) > 1 and not all(d.is_numeric() for d in dtypes)]
    texts = [frame.with_columns(pl.col(n for n in mixed if n in frame.columns).cast(pl.String)) for frame in frames]
    return pl.concat(texts, how="diagonal_relaxed")


def _groups(data: Comparisons, mark: Keys) -> Keys:
    """Groups that are prompts stay, which sets may share; ids of groups mean something in their own set only."""
    is_prompt = data.group == data.prompt_keys[data.prompt[data.first]]
    return np.where(is_prompt & (data.texts is not None), data.group, combine(mark, data.group))


def _objectives(sets: Sequence[Comparisons], names: Sequence[str]) -> tuple[Int, tuple[str, ...]]:
    told = [
        np.full(len(data), name, dtype=object)
        if data.objective is None
        else np.array([f"{name}/{own}" for own in data.objectives], dtype=object)[data.objective]
        for data, name in zip(sets, names, strict=True)
    ]
    unique, place = np.unique(np.concatenate(told).astype(str), return_inverse=True)
    return place.astype(np.int64), tuple(unique.tolist())
