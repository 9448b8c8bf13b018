"""From the rows of a table to `Comparisons`: checked, each item once, sides in an order that says nothing."""

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from plurality.arrays import Array, Float, Int
from plurality.data.comparisons import Comparisons
from plurality.data.embeddings import open_embeddings
from plurality.data.items import Items, by_key, unique_items
from plurality.data.keys import Keys
from plurality.data.pairs import CHOSEN, row_pairs, side_names, text_pairs
from plurality.data.readers import chats, columns
from plurality.data.readers.columns import raise_where
from plurality.data.readers.tables import open_frame
from plurality.data.store import is_store, load
from plurality.data.unread import mistaken, unread
from plurality.errors import InputError, InputWarning
from plurality.io.visible import THOUGHT_TAGS, Tags, visible

if TYPE_CHECKING:
    from plurality.encoders import Encoder, LsaSpec, TransformersSpec

Repeats = Literal["drop", "keep"]
Blank = Literal["error", "drop", "keep"]
StrengthAs = Literal["weight", "label"]


@dataclass(frozen=True, eq=False)
class Completions:
    """N completions to score, each for one user.

    frame     the rows as given
    items     what can be seen of them, each once
    item      (N,) row in items, −1 where nothing can be seen: blank, or a thought that has not ended
    prompt    (N,) code of each row's prompt
    user_ids  N ids
    source    file, or word for a frame
    """

    frame: pl.DataFrame
    items: Items
    item: Int
    prompt: Int
    user_ids: list[str]
    source: str


@dataclass(frozen=True, eq=False)
class _Judgements:
    """What a table says besides the items: (N,) columns, labels for the side its first column holds."""

    user: Int
    label: Float
    weight: Float
    group: Keys | None
    objective: Int | None
    objectives: tuple[str, ...]
    users: pl.DataFrame
    keep: NDArray[np.bool_]
    place: str
    unread: tuple[str, ...]


def read(  # noqa: PLR0913
    source: Any,
    *,
    users: Any = None,
    encoder: "str | Path | LsaSpec | TransformersSpec | Encoder | None" = None,
    embeddings: Array | str | Path | None = None,
    prompt_embeddings: Array | str | Path | None = None,
    prompts: bool = False,
    repeats: Repeats = "drop",
    blank: Blank = "error",
    strength_as: StrengthAs = "weight",
    cache: Path | Literal[False] | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Comparisons:
    """Read comparisons from a parquet, JSON lines or CSV file, a frame, a Hugging Face Dataset or a store.

    Columns: `user_id`; `prompt` with `chosen`, `rejected` (a `label` of 1/2 marks a tie), or with `first`,
    `second`, `label` = P(first preferred). Texts are strings or message lists as in TRL, also with its
    implicit prompt. Optional: `weight` > 0, `group_id` (siblings; default: the prompt), `objective` (what was
    asked) and `strength` s in
    (0, 1], which multiplies the weight, or with strength_as="label" gives 1/2 + s (label - 1/2).
    `users` is a table of the same kinds keyed by `user_id`; without it users are known by their id only.

    `encoder` (name, spec or instance; default "lsa", fitted on these texts) embeds each item once, and with
    `prompts` each prompt. With ready-made `embeddings` (M, d) the sides are row numbers from 0, and `prompt`
    is one into `prompt_embeddings` (Q, d), or any id; items in no comparison count as under prompt 0.
    Rows that repeat another in every column are dropped with an InputWarning unless repeats="keep". So are rows with a
    text of white space only where blank="drop"; "keep" embeds such a text as zeros, and "error" raises.
    Other columns are not read: the result names them in `unread`, and an InputWarning those that look like one that is.
    Raises InputError for bad input, naming file, row (from 1) and remedy.

    source      path, frame, Dataset or store
    cache       folder where transformer embeddings are kept; None is ~/.cache/plurality, False none
    seed        of an encoder that is fitted
    progress    show a progress bar while embedding

    >>> import numpy as np, plurality as pl8
    >>> rows = {"user_id": ["ada", "bo"], "prompt": ["Tea?", "Tea?"], "chosen": [0, 1], "rejected": [1, 0]}
    >>> pl8.read(rows, embeddings=np.eye(2))
    Comparisons(2 by 2 users, 2 items × 2, 1 prompts)
    """
    _check_choices(repeats, blank, strength_as)
    ready_made = embeddings is not None or prompt_embeddings is not None
    if ready_made and blank != "error":
        raise InputError(f"blank={blank!r} is about texts, and ready-made embeddings have none; leave it out")
    if ready_made and (encoder is not None or prompts):
        raise InputError("ready-made embeddings need no encoder; give the one or the other")
    if is_store(source):
        if users is not None or encoder is not None or prompts or ready_made:
            raise InputError(f"{source} is a store, with its own users and embeddings; give nothing else")
        return load(source)
    frame, place = open_frame(source, "comparisons")
    for note in mistaken(frame, place):
        warnings.warn(InputWarning(note), stacklevel=2)
    judgements = _judgements(frame, place, users, "keep" if blank == "drop" else repeats, strength_as)
    if ready_made:
        return _ready_made(frame, judgements, embeddings, prompt_embeddings)
    items, first, second, kept = text_pairs(frame, place, blank_too=blank == "keep", drop=blank == "drop")
    if blank == "drop":
        if not kept.all():
            warnings.warn(
                InputWarning(f"{place}: {np.sum(~kept):,} rows have an empty text and are dropped"), stacklevel=2
            )
        judgements = _judgements(frame.filter(pl.Series(kept)), place, users, repeats, strength_as)
    from plurality import encoders

    made_by = encoders.create(
        "lsa" if encoder is None else encoder, items.corpus, cache=cache, seed=seed, progress=progress
    )
    vectors = items.embed(made_by, progress=progress)
    prompt_vectors = items.embed_prompts(made_by, progress=progress) if prompts else None
    return _comparisons(judgements, items, first, second, vectors, prompt_vectors, made_by)


def read_completions(source: Any, thought_tags: Tags = THOUGHT_TAGS) -> Completions:
    """Read completions to score: `user_id, prompt, completion`, texts as in `read`, from the same kinds of source.

    Thoughts are left out of completions, as in `plurality.io.visible`. Raises InputError as `read` does, and
    where nothing can be seen of any completion.

    source          table of them
    thought_tags    (opening, closing) of thoughts; () scores all that is written
    """
    frame, place = open_frame(source, "candidates")
    user_ids = columns.ids(frame, "user_id", place).to_list()
    asked = columns.column(frame, "prompt", place)
    chat, prompt = chats.is_chat(asked), chats.prompts(asked, place)
    written = chats.completions(columns.column(frame, "completion", place), place, blank_too=True)
    completion = pl.Series("completion", [visible(text, thought_tags) for text in written], dtype=pl.String)
    seen = ~columns.blank(completion)
    if not seen.any():
        raise InputError(f"{place}: nothing can be seen of any completion, all are empty or thoughts; give replies")
    items, (rows,) = unique_items(prompt.filter(seen), [completion.filter(seen)], chat)
    item = np.full(frame.height, -1, dtype=np.int64)
    item[seen.arg_true().to_numpy()] = rows
    return Completions(frame, items, item, by_key(prompt)[2], user_ids, place)


def _ready_made(
    frame: pl.DataFrame,
    judgements: _Judgements,
    embeddings: Array | str | Path | None,
    prompt_embeddings: Array | str | Path | None,
) -> Comparisons:
    if embeddings is None:
        raise InputError("prompt_embeddings go with ready-made embeddings; for texts say prompts=True")
    vectors = open_embeddings(embeddings, "embeddings")
    prompt_vectors, n_prompts = None, None
    if prompt_embeddings is not None:
        prompt_vectors = open_embeddings(prompt_embeddings, "prompt_embeddings")
        n_prompts = len(prompt_vectors)
    items, first, second = row_pairs(frame, judgements.place, len(vectors), n_prompts)
    return _comparisons(judgements, items, first, second, vectors, prompt_vectors, None)


def _comparisons(
    judgements: _Judgements,
    items: Items,
    first: Int,
    second: Int,
    vectors: Array,
    prompt_vectors: Array | None,
    encoder: "Encoder | None",
) -> Comparisons:
    """Put the sides in the order of their keys and the labels with them, and drop what repeats."""
    swap = items.keys[first] > items.keys[second]
    group = items.prompt_keys[items.prompt[first]] if judgements.group is None else judgements.group
    data = Comparisons(
        items=vectors,
        first=np.where(swap, second, first),
        second=np.where(swap, first, second),
        user=judgements.user,
        label=np.where(swap, 1 - judgements.label, judgements.label),
        weight=judgements.weight,
        group=group,
        prompt=items.prompt,
        users=judgements.users,
        item_keys=items.keys,
        prompt_keys=items.prompt_keys,
        texts=items.texts,
        prompts=prompt_vectors,
        encoder=encoder,
        source=judgements.place,
        duplicates=int(np.sum(~judgements.keep)),
        objective=judgements.objective,
        objectives=judgements.objectives,
        unread=judgements.unread,
    )
    return data.take(judgements.keep) if data.duplicates else data


def _judgements(frame: pl.DataFrame, place: str, users: Any, repeats: Repeats, strength_as: StrengthAs) -> _Judgements:
    label, weight = _labels(frame, place, strength_as)
    user_ids = columns.ids(frame, "user_id", place)
    group = None
    if columns.given(frame, "group_id"):
        _, keys, row = by_key(columns.ids(frame, "group_id", place))
        group = keys[row]
    objective, objectives = None, tuple[str, ...]()
    if columns.given(frame, "objective"):
        asked = columns.ids(frame, "objective", place)
        names = asked.unique().sort()
        objective, objectives = names.search_sorted(asked).to_numpy().astype(np.int64), tuple(names.to_list())
    table, user = _users(users, user_ids, place)
    keep = frame.select(pl.struct(pl.all()).is_first_distinct()).to_series().to_numpy(writable=True)
    if repeats == "keep":
        keep = np.ones(len(keep), dtype=bool)
    elif not keep.all():
        note = f"{place}: {np.sum(~keep):,} rows repeat another in every column and are dropped; "
        warnings.warn(InputWarning(note + 'read with repeats="keep" if they count'), stacklevel=3)
    return _Judgements(user, label, weight, group, objective, objectives, table, keep, place, unread(frame))


def _labels(frame: pl.DataFrame, place: str, strength_as: StrengthAs) -> tuple[Float, Float]:
    """P(the first column's side preferred) and weight, (N,) each."""
    ordered = side_names(frame, place) == CHOSEN
    lowest = 0.5 if ordered else 0.0
    label = pl.Series("label", np.ones(frame.height))
    if not ordered or columns.given(frame, "label"):
        label = columns.numbers(frame, "label", place)
    remedy = "1/2 is a tie, 1 says that chosen is preferred" if ordered else "give P(first preferred)"
    raise_where(~label.is_between(lowest, 1), place, f"label lies outside [{lowest:g}, 1]", remedy)
    weight = pl.Series("weight", np.ones(frame.height))
    if columns.given(frame, "weight"):
        weight = columns.numbers(frame, "weight", place)
        raise_where(weight <= 0, place, "weight is not positive", "give a positive weight or drop the row")
    if columns.given(frame, "strength"):
        strength = columns.numbers(frame, "strength", place)
        outside = (strength <= 0) | (strength > 1)
        raise_where(outside, place, "strength lies outside (0, 1]", "rescale it; a tie is a label of 1/2")
        if strength_as == "label":
            label = 0.5 + strength * (label - 0.5)
        else:
            weight = weight * strength
    return label.to_numpy(writable=True), weight.to_numpy(writable=True)


def _users(users: Any, user_ids: pl.Series, place: str) -> tuple[pl.DataFrame, Int]:
    """The users table, `user_id` first, and the row in it of each of the ids (N,)."""
    if users is None:
        table, name = user_ids.unique().sort().to_frame(), ""
    else:
        frame, name = open_frame(users, "users")
        known = columns.ids(frame, "user_id", name)
        again = ~known.is_first_distinct()
        if again.any():
            raise_where(again, name, f"user_id {known.filter(again)[0]!r} appears twice", "keep one row a user")
        table = frame.select(known, pl.all().exclude("user_id"))
    places = table.select("user_id").with_row_index("row")
    row = user_ids.to_frame().join(places, on="user_id", how="left", maintain_order="left")["row"]
    if row.null_count():
        unknown = user_ids.filter(row.is_null())
        others = f", like {unknown.n_unique() - 1:,} others" if unknown.n_unique() > 1 else ""
        cause = f"user {unknown[0]!r} is not in {name}{others}"
        raise_where(row.is_null(), place, cause, "add every user to the users table or drop their rows")
    return table, row.cast(pl.Int64).to_numpy(writable=True)


def _check_choices(repeats: str, blank: str, strength_as: str) -> None:
    for name, value, choices in (
        ("repeats", repeats, get_args(Repeats)),
        ("blank", blank, get_args(Blank)),
        ("strength_as", strength_as, get_args(StrengthAs)),
    ):
        if value not in choices:
            raise InputError(f"{name}={value!r} is unknown; choose {' or '.join(map(repr, choices))}")
