"""An encoder that remembers the texts it saw last: what was embedded for a question is at hand for its answer."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from plurality.encoders.protocol import Encoder, Prompt, Vectors


class RememberingEncoder:
    """`encoder` with the vectors of the last texts in memory.

    encoder    what embeds texts that are new
    most       bytes of vectors that are kept; those that were not asked for longest go first
    """

    def __init__(self, encoder: Encoder, most: int = 256 * 2**20) -> None:
        self.encoder, self._room = encoder, max(1, most // (4 * encoder.dim))
        self._replies: OrderedDict[Any, np.ndarray] = OrderedDict()
        self._looking, self._embedding = Lock(), Lock()
        self._prompts: OrderedDict[Any, np.ndarray] = OrderedDict()

    @property
    def dim(self) -> int:
        """Width of vectors."""
        return self.encoder.dim

    @property
    def fingerprint(self) -> str:
        """The encoder's."""
        return self.encoder.fingerprint

    def describe(self) -> dict[str, Any]:
        """The encoder's."""
        return self.encoder.describe()

    def encode(self, prompts: Sequence[Prompt], completions: Sequence[str], progress: bool = False) -> Vectors:
        """Vectors (n, dim) of completions, each the reply to its prompt."""
        keys = [(hashable(prompt), said) for prompt, said in zip(prompts, completions, strict=True)]
        return self._remembered(
            self._replies,
            keys,
            lambda new: self.encoder.encode([prompts[i] for i in new], [completions[i] for i in new]),
        )

    def encode_prompts(self, prompts: Sequence[Prompt], progress: bool = False) -> Vectors:
        """Vectors (n, dim) of prompts by themselves."""
        keys = [hashable(prompt) for prompt in prompts]
        return self._remembered(self._prompts, keys, lambda new: self.encoder.encode_prompts([prompts[i] for i in new]))

    def save(self, folder: Path) -> None:
        """Save the encoder."""
        self.encoder.save(folder)

    def _remembered(
        self, kept: "OrderedDict[Any, np.ndarray]", keys: list[Any], embed: Callable[..., Vectors]
    ) -> Vectors:
        unique = dict.fromkeys(keys)
        with self._looking:
            found = {key: kept[key] for key in unique if key in kept}
        new = {key: i for i, key in reversed(list(enumerate(keys))) if key not in found}
        if new:
            with self._embedding:  # encoders are not made for two threads; what is there already waits for none
                vectors = np.array(embed(list(new.values())), dtype=np.float32)
            found |= dict(zip(new, vectors, strict=True))
        with self._looking:
            for key in unique:
                kept[key] = found[key]
                kept.move_to_end(key)
            while len(kept) > self._room:
                kept.popitem(last=False)
        return np.array([found[key] for key in keys], dtype=np.float32).reshape(len(keys), self.dim)


def hashable(prompt: Prompt) -> Any:
    """The prompt as something that can be looked up."""
    return prompt if isinstance(prompt, str) else tuple((m["role"], m["content"]) for m in prompt)


def as_prompt(key: Any) -> Prompt:
    """The prompt that `hashable` made this of."""
    return key if isinstance(key, str) else [{"role": role, "content": content} for role, content in key]
