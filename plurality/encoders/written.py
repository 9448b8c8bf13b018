"""What encoders share that write texts out themselves: prompts and completions to texts, texts to vectors."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

from plurality.encoders.cache import EmbeddingCache
from plurality.encoders.protocol import Prompt, Vectors


class WrittenOut(ABC):
    """An encoder x = e(text), where `texts` writes a completion out as the reply to its prompt; vectors (n, dim)."""

    _cache: EmbeddingCache | None

    def encode(self, prompts: Sequence[Prompt], completions: Sequence[str], progress: bool = False) -> Vectors:
        """Embed each completion under the template, (n, dim) float32.

        InputError names a row that is not text or has no finite vector, and a model or server that fails; InputWarning
        counts the texts of which beginnings were cut, where that is known.

        prompts        (n,) strings or message lists
        completions    (n,) strings, one to each prompt
        progress       show a progress bar; off by default
        """
        return self._embed(self.texts(prompts, completions), "completions", progress)

    def encode_prompts(self, prompts: Sequence[Prompt], progress: bool = False) -> Vectors:
        """Embed each prompt by itself, (n, dim) float32; errors and warnings as in `encode`.

        prompts     (n,) strings or message lists
        progress    show a progress bar; off by default
        """
        return self._embed(self.prompt_texts(prompts), "prompts", progress)

    def uncached(self) -> Self:
        """The same encoder without a cache on disk, for texts that do not come back; what is loaded is shared."""
        other = copy.copy(self)
        other._cache = None
        return other

    @abstractmethod
    def texts(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[str]:
        """What `encode` embeds, written out under the template; for an engine elsewhere that embeds texts.

        prompts        (n,) strings or message lists
        completions    (n,) strings, one to each prompt
        """

    @abstractmethod
    def prompt_texts(self, prompts: Sequence[Prompt]) -> list[str]:
        """What `encode_prompts` embeds.

        prompts    (n,) strings or message lists
        """

    @abstractmethod
    def _embed(self, texts: list[str], what: str, progress: bool) -> Vectors:
        """Vectors (n, dim) of texts; messages call them `what`."""
