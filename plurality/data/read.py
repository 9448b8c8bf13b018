"""From the rows of a table to `Comparisons`: checked, each item once, sides in an order that says nothing."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np
import polars as pl

from plurality.arrays import Array, Float, Int
from plurality.data import responses
from plurality.data.answers import answer_rows, silent_answers, swapped_levels
from plurality.data.comparisons import Comparisons
from plurality.data.embeddings import open_embeddings
from plurality.data.items import Items, by_key, unique_items
from plurality.data.judgements import Judgements, Repeats, StrengthAs, judgements_of
from plurality.data.keys import Keys, text_keys
from plurality.data.ordered_pairs import ordered_pairs
from plurality.data.pairs import ready_items, row_pairs, side_scores, text_pairs, thing_texts
from plurality.data.pending import PendingEmbeddings
from plurality.data.readers import chats, columns
from plurality.data.readers.tables import open_frame
from plurality.data.responses import Things
from plurality.data.store import is_store, load
from plurality.data.unread import mistaken
from plurality.data.user_texts import embed_users
from plurality.errors import InputError, InputWarning
from plurality.io.visible import THOUGHT_TAGS, Tags, visible

if TYPE_CHECKING:
    from plurality.encoders import EmbeddingServer, Encoder, LsaSpec, TransformersSpec

Blank = Literal["error", "drop", "keep"]


@dataclass(frozen=True, eq=False)
class Completions:
    """N completions to score, each for one user.

    frame        the rows as given
    items        what can be seen of them, each once
    item         (N,) row in items, −1 where nothing can be seen: blank, or a thought that has not ended
    prompt_keys  (N,) stable key of each row's prompt
    user_ids     N ids
    source       file, or word for a frame, a `Part` where these are some of its rows
    """

    frame: pl.DataFrame
    items: Items
    item: Int
    prompt_keys: Keys
    user_ids: list[str]
    source: str

    def base(self) -> Float:
        """Scores of the base reward, the column `score`, of each item: (M,). Raises InputError where one is missing."""
        seen = np.flatnonzero(self.item >= 0)
        found = self.items.scored(self.item[seen], self.scores()).base
        assert found is not None
        return found

    def scores(self) -> Float:
        """The column `score` of the rows of which something can be seen. Raises InputError where one is missing."""
        seen = np.flatnonzero(self.item >= 0)
        whole = (
            self.source
            if isinstance(self.source, columns.Part)
            else columns.Part(self.source, np.arange(len(self.item)))
        )
        part = columns.Part(self.source, whole.rows[seen], partial=whole.partial)
        return columns.numbers(self.frame[seen], "score", part).to_numpy()


def read(  # noqa: PLR0913
    source: Any,
    *,
    users: Any = None,
    encoder: "str | Path | LsaSpec | TransformersSpec | EmbeddingServer | Encoder | None" = None,
    embeddings: Array | str | Path | None = None,
    prompt_embeddings: Array | str | Path | None = None,
    prompts: bool = False,
    repeats: Repeats = "drop",
    blank: Blank = "error",
    strength_as: StrengthAs = "weight",
    user_text: str | None = None,
    cache: Path | Literal[False] | None = None,
    seed: int = 0,
    progress: bool = False,
    pending: bool = False,
) -> Comparisons:
    """Read comparisons from a parquet, JSON lines or CSV file, a frame, a Hugging Face Dataset or a store.

    Columns: `user_id`; `prompt` with `chosen`, `rejected` (a `label` of 1/2 marks a tie), or with `first`,
    `second`, `label` = P(first preferred). Texts are strings or message lists as in TRL, also with its
    implicit prompt. Optional: `weight` > 0, `group_id` (siblings; default: the prompt), `objective` (what was
    asked) and `strength` s in (0, 1], which multiplies the weight, or with strength_as="label" gives
    1/2 + s (label - 1/2). With strength_as="level" s is any number above 0, an ordered level or a magnitude, and models
    learn how strong preferences are too (`plurality.data.graded`).
    Rows may also be choices (`completions`, `chosen`), rankings (`ranking`), thumbs (`completion`, `label`) or ratings
    (`completion`, `rating`), mixed as they come: see `plurality.data.responses`.
    Scores of a reward you own are what every model then starts from: `score_chosen`, `score_rejected` (`score_first`,
    `score_second`), `score` of a completion, `scores` of completions; an item scored several times has the mean.
    `users` is a table of the same kinds keyed by `user_id`; without it users are known by their id only.

    `encoder` (name, address of a server, spec or instance; default "lsa", fitted on these texts) embeds each item once,
    and with `prompts` each prompt. With ready-made `embeddings` (M, d) the sides are row numbers from 0, and `prompt`
    is one into `prompt_embeddings` (Q, d), or any id; items in no comparison count as under prompt 0.
    Rows that repeat another in every column are dropped with an InputWarning unless repeats="keep". So are rows with a
    text of white space only where blank="drop"; "keep" embeds such a text as zeros, and "error" raises.
    Other columns of single values are kept as `attributes` of the rows, for audits and split="time". No model looks at
    them: the result names them in `unread`, and an InputWarning those that look like one that is.
    Raises InputError for bad input, naming file, row (from 1) and remedy.

    source      path, frame, Dataset or store
    user_text   column of the users table that describes users in words, to be embedded by the same encoder for families
                that go by what users are (`plurality.data.user_texts`); None: none
    cache       folder where transformer embeddings are kept; None is ~/.cache/plurality, False none
    seed        of an encoder that is fitted
    progress    show a progress bar while embedding
    pending     embed when the result is saved, block by block straight into the file, so that memory does not grow with
                the rows; until then nothing but `save` can be done with it

    >>> import numpy as np, plurality as pl8
    >>> rows = {"user_id": ["ada", "bo"], "prompt": ["Tea?", "Tea?"], "chosen": [0, 1], "rejected": [1, 0]}
    >>> pl8.read(rows, embeddings=np.eye(2))
    Comparisons(2 by 2 users, 2 items × 2, 1 prompts)
    """
    _check_choices(repeats, blank, strength_as)
    ready_made = embeddings is not None or prompt_embeddings is not None
    if ready_made and blank != "error":
        raise InputError(f"blank={blank!r} is about texts, and ready-made embeddings have none; leave it out")
    if user_text is not None and (ready_made or is_store(source)):
        raise InputError("user_text needs the encoder of the texts; give a users table from embed_users instead")
    if ready_made and (encoder is not None or prompts):
        raise InputError("ready-made embeddings need no encoder; give the one or the other")
    if is_store(source):
        if users is not None or encoder is not None or prompts or ready_made:
            raise InputError(f"{source} is a store, with its own users and embeddings; give nothing else")
        return load(source)
    frame, place = open_frame(source, "comparisons")
    for note in mistaken(frame, place):
        warnings.warn(InputWarning(note), stacklevel=2)
    if ready_made:
        return _ready_made(frame, place, _Options(users, repeats, blank, strength_as), embeddings, prompt_embeddings)
    judgements, items, first, second = _of_texts(frame, place, _Options(users, repeats, blank, strength_as))
    from plurality import encoders

    made_by = encoders.create(
        "lsa" if encoder is None else encoder, items.corpus, cache=cache, seed=seed, progress=progress
    )
    prompt_vectors = None
    if pending:  # an array once it is saved
        vectors = cast(Array, PendingEmbeddings(items, made_by, progress=progress))
        if prompts:
            prompt_vectors = cast(Array, PendingEmbeddings(items, made_by, "prompts", progress=progress))
    else:
        vectors = items.embed(made_by, progress=progress)
        prompt_vectors = items.embed_prompts(made_by, progress=progress) if prompts else None
    data = _comparisons(judgements, items, first, second, vectors, prompt_vectors, made_by)
    if user_text is None:
        return data
    return replace(data, users=embed_users(data.users, user_text, made_by, progress=progress))


def read_completions(source: Any, thought_tags: Tags = THOUGHT_TAGS) -> Completions:
    """Read completions to score: `user_id, prompt, completion`, texts as in `read`, from the same kinds of source.

    Thoughts are left out of completions, as in `plurality.io.visible`. Raises InputError as `read` does, and
    where nothing can be seen of any completion.

    source          table of them
    thought_tags    (opening, closing) of thoughts; () scores all that is written
    """
    found = completions_of(*open_frame(source, "candidates"), thought_tags)
    if not len(found.items.keys):
        raise InputError(nothing_seen(found.source))
    return found


def completions_of(frame: pl.DataFrame, place: str, thought_tags: Tags) -> Completions:
    """Completions of a frame, or of a part of one, which may have nothing that can be seen.

    frame           rows of them
    place           what messages call the table; a `Part` says which of its rows these are
    thought_tags    as in `read_completions`
    """
    user_ids = columns.ids(frame, "user_id", place).to_list()
    asked = columns.column(frame, "prompt", place)
    chat, prompt = chats.is_chat(asked), chats.prompts(asked, place)
    written = chats.completions(columns.column(frame, "completion", place), place, blank_too=True)
    completion = pl.Series("completion", [visible(text, thought_tags) for text in written], dtype=pl.String)
    seen = ~columns.blank(completion)
    items, (rows,) = unique_items(prompt.filter(seen), [completion.filter(seen)], chat)
    item = np.full(frame.height, -1, dtype=np.int64)
    item[seen.arg_true().to_numpy()] = rows
    _, keys, of_prompt = by_key(prompt)
    return Completions(frame, items, item, keys[of_prompt], user_ids, place)


def nothing_seen(place: str) -> str:
    """What is wrong with a table of completions of which nothing can be seen."""
    return f"{place}: nothing can be seen of any completion, all are empty or thoughts; give replies"


@dataclass(frozen=True)
class _Options:
    """How rows are read, as in `read`."""

    users: Any
    repeats: Repeats
    blank: Blank
    strength_as: StrengthAs


def _of_texts(frame: pl.DataFrame, place: str, how: _Options) -> tuple[Judgements, Items, Int, Int]:
    """What is said of which texts; the item rows (n,) of both sides."""
    if responses.there(frame):
        said = judgements_of(frame, place, how.users, how.repeats, how.strength_as)
        found = responses.things(frame, place, said.person, ready_made=False, blank_too=how.blank != "error")
        items, shown, kept = thing_texts(frame, place, found.what, found.row, drop=how.blank == "drop")
        _warn_of_blank(place, int(np.sum(~kept)))
        return _answered(said, found.of(kept), items, shown)
    drop = how.blank == "drop"
    said = judgements_of(frame, place, how.users, "keep" if drop else how.repeats, how.strength_as)
    items, first, second, kept = text_pairs(frame, place, blank_too=how.blank == "keep", drop=drop)
    if drop:
        _warn_of_blank(place, int(np.sum(~kept)))
        frame = frame.filter(pl.Series(kept))
        said = judgements_of(frame, place, how.users, how.repeats, how.strength_as)
    return said, items.scored(np.concatenate([first, second]), side_scores(frame, place)), first, second


def _warn_of_blank(place: str, count: int) -> None:
    if count:
        warnings.warn(InputWarning(f"{place}: {count:,} rows have an empty text and are dropped"), stacklevel=4)


def _answered(said: Judgements, found: Things, items: Items, shown: Int) -> tuple[Judgements, Items, Int, Int]:
    """Answers as weighted pairs of the items (n,) that they are about."""
    used = said.keep[found.row]
    found, shown = found.of(used), shown[used]
    items = items.scored(shown, found.score)
    better, worse, weight = ordered_pairs(found.answer, found.level, said.weight[found.row], items.keys[shown])
    same = shown[better] == shown[worse]  # a text twice in a set, or rated twice
    better, worse, weight = better[~same], worse[~same], weight[~same]
    row = found.row[better]
    silent = len(np.setdiff1d(found.row, np.r_[row, found.row[worse]]))
    if silent:
        note = f"{said.place}: {silent:,} rows prefer nothing to anything and are left out; "
        warnings.warn(InputWarning(note + "all that one answer is about is on one level"), stacklevel=4)
    if not len(row):
        raise InputError(f"{said.place}: nobody prefers anything to anything; give answers that differ")
    if said.group is not None:
        group = said.group[row]
    else:  # all that a person rates are siblings
        own = text_keys(said.users["user_id"].to_list())[said.user]
        group = np.where(found.alone[row], own[row], items.prompt_keys[items.prompt[shown[better]]])
    told = replace(
        said.at(row, found.row[worse], weight, group),
        answers=answer_rows(found, better, worse),
        silent=silent_answers(found, better, worse, said.user),
    )
    return told, items, shown[better], shown[worse]


def _ready_made(
    frame: pl.DataFrame,
    place: str,
    how: _Options,
    embeddings: Array | str | Path | None,
    prompt_embeddings: Array | str | Path | None,
) -> Comparisons:
    if embeddings is None:
        raise InputError("prompt_embeddings go with ready-made embeddings; for texts say prompts=True")
    said = judgements_of(frame, place, how.users, how.repeats, how.strength_as)
    vectors = open_embeddings(embeddings, "embeddings")
    prompt_vectors, n_prompts = None, None
    if prompt_embeddings is not None:
        prompt_vectors = open_embeddings(prompt_embeddings, "prompt_embeddings")
        n_prompts = len(prompt_vectors)
    if responses.there(frame):
        found = responses.things(frame, place, said.person, ready_made=True, blank_too=False)
        part = columns.Part(place, found.row)
        shown = columns.row_numbers(found.what.to_frame(), "completion", part, len(vectors), "embeddings")
        items = ready_items(frame, place, len(vectors), n_prompts, [(shown, found.row)])
        said, items, first, second = _answered(said, found, items, shown)
    else:
        items, first, second = row_pairs(frame, place, len(vectors), n_prompts)
        items = items.scored(np.concatenate([first, second]), side_scores(frame, place))
    return _comparisons(said, items, first, second, vectors, prompt_vectors, None)


def _comparisons(
    judgements: Judgements,
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
        duplicates=judgements.duplicates,
        objective=judgements.objective,
        objectives=judgements.objectives,
        unread=judgements.unread,
        attributes=judgements.attributes,
        answers=swapped_levels(judgements.answers, swap),
        silent=judgements.silent,
        grade=judgements.grade,
        base=items.base,
    )
    return data if judgements.keep.all() else data.take(judgements.keep)


def _check_choices(repeats: str, blank: str, strength_as: str) -> None:
    for name, value, choices in (
        ("repeats", repeats, get_args(Repeats)),
        ("blank", blank, get_args(Blank)),
        ("strength_as", strength_as, get_args(StrengthAs)),
    ):
        if value not in choices:
            raise InputError(f"{name}={value!r} is unknown; choose {' or '.join(map(repr, choices))}")
