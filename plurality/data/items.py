"""Items: unique pairs of prompt and completion, in the order of their keys, each embedded once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from plurality.arrays import Array, Float, Int, as_array
from plurality.data.keys import Keys, combine, text_keys
from plurality.data.readers import chats
from plurality.errors import InputError

if TYPE_CHECKING:
    from plurality.encoders import Corpus, Encoder, Prompt


@dataclass(frozen=True, eq=False)
class Items:
    """M items under Q prompts, both ordered by key, so that the order of a file's rows leaves no trace.

    texts     polars frame `prompt, completion, chat`, a row an item; `chat` marks prompts that are JSON
              messages; None for ready-made embeddings
    keys      (M,) stable 64-bit keys
    prompt    (M,) row in prompt_keys of each item
    prompt_keys   (Q,)
    base      (M,) scores of a reward that one owns, NaN where nothing is said; None if there is none
    """

    texts: pl.DataFrame | None
    keys: Keys
    prompt: Int
    prompt_keys: Keys
    base: Float | None = None

    def scored(self, rows: Int, scores: Float | None) -> "Items":
        """The same with base scores (n,) of the items at `rows`; of an item scored several times their mean."""
        if scores is None:
            return self
        count = np.bincount(rows, minlength=len(self.keys))
        total = np.bincount(rows, scores, minlength=len(self.keys))
        return replace(self, base=np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0))

    def part(self, start: int, stop: int) -> "Items":
        """The items from row `start` to before `stop`, with the prompts that they are under."""
        used, prompt = np.unique(self.prompt[start:stop], return_inverse=True)
        keys, texts = self.keys[start:stop], self._known_texts()[start:stop]
        return Items(texts, keys, prompt.astype(np.int64), self.prompt_keys[used])

    def prompt_part(self, start: int, stop: int) -> "Items":
        """An item of each prompt from row `start` to before `stop`."""
        rows = np.unique(self.prompt, return_index=True)[1][start:stop]
        keys = self.prompt_keys[start:stop]
        return Items(self._known_texts()[rows], self.keys[rows], np.arange(stop - start), keys)

    def corpus(self) -> "Corpus":
        """Prompts and completions as an encoder takes them, M of each."""
        prompts = self.prompts()
        return [prompts[row] for row in self.prompt], self._known_texts()["completion"].to_list()

    def prompts(self) -> "list[Prompt]":
        """The Q prompts, message lists as lists."""
        one_each = np.unique(self.prompt, return_index=True)[1]
        rows = self._known_texts()[one_each]
        pairs = zip(rows["prompt"], rows["chat"], strict=True)
        return [chats.messages(text) if chat else text for text, chat in pairs]

    def embed(self, encoder: "Encoder", *, progress: bool = False) -> Array:
        """Embedding of every item, (M, d) float32; of a blank completion zeros."""
        prompts, completions = self.corpus()
        there = [row for row, text in enumerate(completions) if text.strip()]
        some = [prompts[row] for row in there], [completions[row] for row in there]
        return _placed(encoder.encode(*some, progress=progress), there, len(completions), encoder.dim)

    def embed_prompts(self, encoder: "Encoder", *, progress: bool = False) -> Array:
        """Embedding of every prompt, (Q, d) float32; of a blank one zeros."""
        prompts = self.prompts()
        there = [row for row, prompt in enumerate(prompts) if not _silent(prompt)]
        vectors = encoder.encode_prompts([prompts[row] for row in there], progress=progress)
        return _placed(vectors, there, len(prompts), encoder.dim)

    def _known_texts(self) -> pl.DataFrame:
        if self.texts is None:
            raise InputError("items of ready-made embeddings have no texts; embed them where the texts are")
        return self.texts


def unique_items(prompt: pl.Series, completions: Sequence[pl.Series], chat: bool) -> tuple[Items, list[Int]]:
    """The items of checked columns, (N,) each, and for every completion column its item rows (N,)."""
    prompts, prompt_keys, prompt_row = by_key(prompt)
    answers, answer_keys, answer_row = by_key(pl.concat([c.alias("completion") for c in completions]))
    pair = np.tile(prompt_row, len(completions)) * len(answers) + answer_row
    unique, row = np.unique(pair, return_inverse=True)
    of_prompt, of_answer = np.divmod(unique, len(answers))
    keys = combine(prompt_keys[of_prompt], answer_keys[of_answer])
    order = np.argsort(keys, kind="stable")
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    texts = pl.DataFrame(
        {"prompt": prompts[of_prompt[order]], "completion": answers[of_answer[order]]},
    ).with_columns(chat=pl.lit(chat))
    rows = np.split(place[row], len(completions))
    return Items(texts, keys[order], of_prompt[order], prompt_keys), rows


def by_key(values: pl.Series) -> tuple[pl.Series, Keys, Int]:
    """Unique texts in the order of their keys, the keys, and the place of every value among them."""
    unique = values.unique()
    keys = text_keys(unique)
    order = np.argsort(keys, kind="stable")
    unique, name = unique[order], values.name
    places = pl.DataFrame({name: unique, "place": np.arange(len(unique))})
    found = values.to_frame().join(places, on=name, how="left", maintain_order="left")
    return unique, keys[order], found["place"].to_numpy(writable=True)


def _silent(prompt: "Prompt") -> bool:
    return not (prompt if isinstance(prompt, str) else "".join(message["content"] for message in prompt)).strip()


def _placed(vectors: Array, rows: list[int], count: int, dim: int) -> Array:
    """Checked vectors at their rows of (count, dim), and zeros elsewhere."""
    vectors = checked_vectors(vectors, len(rows), dim)
    if len(rows) == count:
        return vectors
    placed = np.zeros((count, dim), dtype=np.float32)
    placed[rows] = vectors
    return placed


def checked_vectors(vectors: Array, count: int, dim: int) -> Array:
    """What an encoder gave, (count, dim) float32, checked: it may be of another package."""
    vectors = as_array(vectors).astype(np.float32, copy=False)
    if vectors.shape != (count, dim) or not dim:
        raise InputError(
            f"the encoder gave embeddings of shape {vectors.shape} for {count} texts, not "
            f"({count}, {dim}); it must give one vector of its width per text"
        )
    if not np.isfinite(vectors).all():
        row = int(np.argmin(np.isfinite(vectors).all(axis=1)))
        raise InputError(f"the encoder gave NaN or infinite values for text {row}; use a higher precision")
    return vectors
