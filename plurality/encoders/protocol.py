"""What an encoder is, and the words it shares with the rest of the package."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Message = Mapping[str, str]
Prompt = str | Sequence[Message]
"""A string (one user message) or a chat: `[{"role": "user", "content": "..."}, ...]`."""

Corpus = tuple[Sequence[Prompt], Sequence[str]]
"""Prompts and completions, one pair per row: what an encoder that must be fitted is fitted on."""

CorpusSource = Corpus | Callable[[], Corpus]

Template = Literal["conversation", "completion"]
"""What is embedded: the completion as the reply to its prompt, or the completion alone."""

Vectors = NDArray[np.float32]


@runtime_checkable
class Encoder(Protocol):
    """A frozen map from texts to vectors.

    `fingerprint` is a SHA-256 over everything that determines a vector: two encoders with one
    fingerprint give the same vectors (to the rounding of the machine), wherever they are stored.
    """

    @property
    def dim(self) -> int: ...

    @property
    def fingerprint(self) -> str: ...

    def describe(self) -> dict[str, Any]:
        """What the encoder is, JSON-able: kind, name, settings, versions.

        (docstring)    What the encoder is, JSON-able: kind, name, settings, versions.
        """

    def encode(self, prompts: Sequence[Prompt], completions: Sequence[str], progress: bool = False) -> Vectors:
        """Embed each completion as the reply to its prompt, (n, dim) float32.

        (docstring)    Embed each completion as the reply to its prompt, (n, dim) float32.
        prompts        (n,) strings or message lists
        completions    (n,) strings, one to each prompt
        progress       show a progress bar; off by default
        """

    def encode_prompts(self, prompts: Sequence[Prompt], progress: bool = False) -> Vectors:
        """Embed each prompt by itself, (n, dim) float32.

        (docstring)    Embed each prompt by itself, (n, dim) float32.
        prompts        (n,) strings or message lists
        progress       show a progress bar; off by default
        """

    def save(self, folder: Path) -> None:
        """Write what `plurality.encoders.load` needs.

        (docstring)    Write what `plurality.encoders.load` needs.
        folder         new folder to write
        """
