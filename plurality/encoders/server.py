"""Where a server that speaks OpenAI's `/v1/embeddings` is (vLLM, TEI, SGLang, llama.cpp), and how it is asked."""

import base64
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

import numpy as np

from plurality.encoders.protocol import Template, Vectors
from plurality.errors import InputError

__all__ = ["KEY_VARIABLE", "EmbeddingServer", "is_url"]

KEY_VARIABLE = "PLURALITY_ENCODER_KEY"
SECRET = re.compile(r"key|token|secret|passw|sig", re.IGNORECASE)


@dataclass(frozen=True)
class EmbeddingServer:
    """Where embeddings are to be had, and how.

    url             the whole address, such as http://localhost:8000/v1/embeddings
    model           the name that the server knows the model by; "" asks the server, which must have but one
    stands_for      the encoder's recorded name, where the server calls it something else
    template        what is embedded: "conversation" (prompt and completion) or "completion"; None: as recorded, else
                    the first
    max_length      tokens of a text, the last ones, sent along and looked for in the answer; None: the server's limit
    use_activation  sent along unless None; False asks vLLM for vectors that are not normalised
    encoding        "base64" or "float": what is asked for; either is understood
    concurrency     requests at once; batch: texts a request; timeout_s: of one request
    retries         further tries after a failure, the first `backoff_s` seconds later, then twice that, and so on, or
                    as much later as the server asks, up to a minute
    key_variable    environment variable that holds the key; None: PLURALITY_ENCODER_KEY, if there is one. The key
                    itself is never kept
    transport       an httpx transport in place of the network, for tests

    batch        texts in a request
    timeout_s    seconds that a request may take

    Raises InputError for numbers that make no sense, and for an address that carries a password or key.
    """

    url: str
    model: str = ""
    stands_for: str | None = None
    template: Template | None = None
    use_activation: bool | None = False
    concurrency: int = 8
    batch: int = 64
    timeout_s: float = 60.0
    retries: int = 3
    backoff_s: float = 0.5
    key_variable: str | None = None
    transport: Any = field(default=None, repr=False)
    max_length: int | None = None
    encoding: Literal["base64", "float"] = "base64"

    def __post_init__(self) -> None:
        if min(self.concurrency, self.batch) < 1 or self.retries < 0 or not self.timeout_s > 0 or self.backoff_s < 0:
            raise InputError(
                f"embedding server: concurrency={self.concurrency} and batch={self.batch} must be 1 or more, "
                f"timeout_s={self.timeout_s} positive, retries={self.retries} and "
                f"backoff_s={self.backoff_s} not negative"
            )
        if self.max_length is not None and self.max_length < 1:
            raise InputError(f"embedding server: max_length={self.max_length} is no number of tokens; give 1 or more")
        if self.encoding not in ("base64", "float"):
            raise InputError(f"embedding server: encoding={self.encoding!r} is unknown; give 'base64' or 'float'")
        try:
            parts = urlsplit(self.url)
        except ValueError as error:
            raise InputError(f"{self.url}: is not an address ({error}); give the whole URL") from None
        if parts.password or parts.username or any(SECRET.search(name) for name, _ in parse_qsl(parts.query)):
            raise InputError(
                f"{parts.scheme}://{parts.hostname}…: an address is kept with stores and models, so it must hold no "
                f"password or key; put the key into the environment variable {KEY_VARIABLE}"
            )

    def key(self) -> str | None:
        """The key, as it stands in the environment now. Raises InputError where a named variable is not set."""
        found = os.environ.get(self.key_variable or KEY_VARIABLE) or None
        if found is None and self.key_variable is not None:
            raise InputError(f"{self.url}: the environment variable {self.key_variable} holds no key; set it")
        return found

    def body(self, texts: Sequence[str], *, special: bool = True) -> dict[str, Any]:
        """What is sent for these texts.

        texts      what is embedded, at most `batch` of them
        special    False where a chat template wrote the first and last tokens already
        """
        asked: dict[str, Any] = {"model": self.model, "input": list(texts), "encoding_format": self.encoding}
        if self.use_activation is not None:
            asked["use_activation"] = self.use_activation
        if self.max_length is not None:
            asked |= {"truncate_prompt_tokens": self.max_length, "truncation_side": "left"}
        if not special:
            asked["add_special_tokens"] = False
        return asked

    def vectors(self, answer: Any, count: int, dim: int | None) -> Vectors:
        """The vectors (count, dim) of an answer, in the order of the texts, whatever order they came in.

        answer    parsed JSON
        count     texts that were sent
        dim       width that they must have; None: any, as long as it is one

        Raises InputError for anything but one finite vector of this width a text, and where more tokens were read than
        were to be.
        """
        try:
            rows = sorted(answer["data"], key=lambda row: row["index"])
            if [row["index"] for row in rows] != list(range(count)):
                raise InputError(
                    f"{self.url}: answered {len(rows)} embeddings for {count} texts; it must give one a text"
                )
            found = np.array([_numbers(row["embedding"]) for row in rows], dtype=np.float32)
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{self.url}: the answer is not a list of embeddings ({type(error).__name__}: {error}); "
                "is this the address of /v1/embeddings?"
            ) from None
        if found.ndim != 2 or (dim is not None and found.shape[1] != dim):
            wanted = "one width" if dim is None else f"width {dim}"
            raise InputError(
                f"{self.url}: {self.model!r} gives embeddings of shape {found.shape}, but the model was fitted on "
                f"{wanted}; serve the encoder it was fitted on"
            )
        if not np.isfinite(found).all():
            row = int(np.argmin(np.isfinite(found).all(axis=1)))
            raise InputError(f"{self.url}: gave NaN or infinite values for text {row}; serve a higher precision")
        self._check_length(answer, count)
        return found

    def _check_length(self, answer: Any, count: int) -> None:
        usage = answer.get("usage")
        read = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        if self.max_length is not None and isinstance(read, int) and read > count * self.max_length:
            raise InputError(
                f"{self.url}: read {read} tokens of {count} texts, more than max_length={self.max_length} each, so it "
                "does not cut texts when asked to; use a server that takes truncate_prompt_tokens, or start it with "
                "this limit and leave out max_length"
            )


def is_url(encoder: object) -> bool:
    """Whether an encoder is given as the address of a server.

    encoder    what was given as one
    """
    return isinstance(encoder, str) and encoder.startswith(("http://", "https://"))


def same_model(one: str, other: str) -> bool:
    """Whether two names are of one model: a hub id, or a folder of the same last part.

    one      name
    other    name
    """
    return one.rstrip("/").split("/")[-1] == other.rstrip("/").split("/")[-1]


def _numbers(embedding: Any) -> Any:
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4")
    return embedding
