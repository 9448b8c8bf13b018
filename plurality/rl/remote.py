"""Embeddings from a server that speaks OpenAI's `/v1/embeddings`, such as vLLM's, TEI's or SGLang's."""

import asyncio
import json
import math
import os
from asyncio import AbstractEventLoop, Semaphore
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from plurality.arrays import Array
from plurality.data.items import checked_vectors
from plurality.encoders import TransformersEncoder
from plurality.encoders.protocol import Template
from plurality.encoders.text import check_not_blank, contents, conversations, prompt_conversations
from plurality.errors import InputError
from plurality.reward.reward_model import RewardModel
from plurality.rl.embedding import uncached
from plurality.rl.messages import Pairs

if TYPE_CHECKING:
    import httpx

__all__ = ["EmbeddingServer"]

AGAIN = (408, 425, 429, 500, 502, 503, 504)  # what another try may mend


@dataclass(frozen=True)
class EmbeddingServer:
    """Where embeddings are to be had, and how.

    url             the whole address, such as http://localhost:8000/v1/embeddings
    model           the name that the server knows the model by
    stands_for      the encoder's recorded name, where the server calls it something else
    template        what is embedded, for a reward model whose encoder is not recorded
    use_activation  sent along unless None; False asks vLLM for vectors that are not normalised
    concurrency     requests at once; batch: texts a request; timeout_s: of one request
    retries         further tries after a failure, the first `backoff_s` seconds later, then twice that, and so on
    key_variable    environment variable that holds the key, if the server wants one
    transport       an httpx transport in place of the network, for tests

    batch        texts in a request
    timeout_s    seconds that a request may take
    """

    url: str
    model: str
    stands_for: str | None = None
    template: Template | None = None
    use_activation: bool | None = False
    concurrency: int = 8
    batch: int = 64
    timeout_s: float = 60.0
    retries: int = 3
    backoff_s: float = 0.5
    key_variable: str | None = None
    transport: Any = None

    def __post_init__(self) -> None:
        if min(self.concurrency, self.batch) < 1 or self.retries < 0 or not self.timeout_s > 0 or self.backoff_s < 0:
            raise InputError(
                f"embedding server: concurrency={self.concurrency} and batch={self.batch} must be 1 or more, "
                f"timeout_s={self.timeout_s} positive, retries={self.retries} and "
                f"backoff_s={self.backoff_s} not negative"
            )


class RemoteEncoder:
    """Embeds pairs by a server, as the reward model's own encoder would.

    Texts are written out here, with the recorded template; a chat template needs the model's tokenizer at hand (its
    folder, not its weights in memory). The server's model name is compared with the recorded one, the width with the
    model's. Pooling, precision and truncation are the server's and cannot be seen from here: start it with those that
    `encoder.describe()` names.
    """

    def __init__(self, server: EmbeddingServer, reward: RewardModel) -> None:
        self.server, self.dim = server, reward.head.n_embedding
        record: dict[str, Any] = {} if reward.encoder is None else reward.encoder.describe()
        if record.get("kind") == "lsa":
            raise InputError("this model's encoder is lsa, which no embedding server has; use RewardFunction")
        self._recorded = record.get("name")
        served = server.stands_for or server.model
        if self._recorded is not None and not _same(served, self._recorded):
            raise InputError(
                f"{server.url}: serves {served!r}, but the model was fitted on {self._recorded!r}; serve that one, or "
                "say stands_for= if it only has another name there"
            )
        self._unit_length = bool(record.get("normalise"))
        template = record.get("template", server.template)
        if template is None:
            raise InputError(
                "this model does not record how its texts were written out; say template='conversation' or "
                "'completion' of the EmbeddingServer"
            )
        self._template: Template = template
        self._chat: TransformersEncoder | None = None
        if record.get("chat_template") and reward.encoder is not None:
            chat = uncached(reward.encoder)
            self._chat = chat if isinstance(chat, TransformersEncoder) else None
        self._sessions = _Sessions(server)

    async def embed(self, texts: Pairs, *, with_prompts: bool) -> tuple[Array, Array | None]:
        """Embeddings (m, d) of the pairs, and where asked for (m, d) of their prompts.

        Raises InputError when the server fails again and again, or answers with anything but one finite vector of
        the model's width a text.
        """
        written = [self._write(texts)] + ([self._write_prompts(texts)] if with_prompts else [])
        vectors = await asyncio.gather(*(self._vectors(part) for part in written))
        return vectors[0], vectors[1][texts.prompt] if with_prompts else None

    def _write(self, texts: Pairs) -> list[str]:
        if self._chat is not None:
            return self._chat.texts(texts.prompt_of_each(), texts.completions)
        if self._template == "completion":
            return texts.completions
        return [contents(c) for c in conversations(texts.prompt_of_each(), texts.completions)]

    def _write_prompts(self, texts: Pairs) -> list[str]:
        if self._chat is not None:
            return self._chat.prompt_texts(texts.prompts)
        written = [contents(c) for c in prompt_conversations(texts.prompts)]
        check_not_blank(written, "prompts")
        return written

    async def _vectors(self, texts: Sequence[str]) -> Array:
        step = self.server.batch
        parts = [self._part(texts[start : start + step]) for start in range(0, len(texts), step)]
        vectors = np.concatenate([np.empty((0, self.dim), dtype=np.float32), *await asyncio.gather(*parts)])
        if self._unit_length:
            vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors

    async def _part(self, texts: Sequence[str]) -> Array:
        asked: dict[str, Any] = {"model": self.server.model, "input": list(texts), "encoding_format": "float"}
        if self.server.use_activation is not None:
            asked["use_activation"] = self.server.use_activation
        if self._chat is not None:
            asked["add_special_tokens"] = False  # the template wrote them
        answer = await self._sessions.post(asked)
        return self._read(answer, len(texts))

    def _read(self, answer: Any, count: int) -> Array:
        url = self.server.url
        try:
            rows = sorted(answer["data"], key=lambda row: row["index"])
            if [row["index"] for row in rows] != list(range(count)):
                raise InputError(f"{url}: answered {len(rows)} embeddings for {count} texts; it must give one a text")
            vectors = np.array([row["embedding"] for row in rows], dtype=np.float32)
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{url}: the answer is not a list of embeddings ({type(error).__name__}: {error}); "
                "is this the address of /v1/embeddings?"
            ) from None
        if vectors.ndim != 2 or vectors.shape[1] != self.dim:
            raise InputError(
                f"{url}: {self.server.model!r} gives embeddings of shape {vectors.shape}, but the model was fitted on "
                f"width {self.dim}; serve the encoder it was fitted on"
            )
        return checked_vectors(vectors, count, self.dim)


def _same(one: str, other: str) -> bool:
    """Whether two names are of one model: a hub id, or a folder of the same last part."""
    return one.rstrip("/").split("/")[-1] == other.rstrip("/").split("/")[-1]


class _Sessions:
    """A client an event loop, with its limit on requests at once; none is pickled."""

    def __init__(self, server: EmbeddingServer) -> None:
        self.server = server
        self._open: WeakKeyDictionary[AbstractEventLoop, tuple[httpx.AsyncClient, Semaphore]] = WeakKeyDictionary()

    def __getstate__(self) -> dict[str, Any]:
        return {"server": self.server}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["server"])  # type: ignore[misc]

    async def post(self, asked: dict[str, Any]) -> Any:
        """The server's JSON answer, after as many tries as it takes or is allowed."""
        import httpx

        client, gate = self._session()
        trouble = ""
        for attempt in range(self.server.retries + 1):
            if attempt:
                await asyncio.sleep(math.ldexp(self.server.backoff_s, attempt - 1))
            try:
                async with gate:
                    response = await client.post(self.server.url, json=asked)
            except httpx.HTTPError as error:
                trouble = f"{type(error).__name__}: {error}".rstrip(": ")
                continue
            except httpx.InvalidURL as error:
                raise InputError(f"{self.server.url}: is not an address ({error}); give the whole URL") from None
            if response.status_code == 200:
                return _json(self.server.url, response.text)
            trouble = f"{response.status_code}: {' '.join(response.text.split())[:200]}"
            if response.status_code not in AGAIN:
                raise InputError(
                    f"{self.server.url}: did not embed the texts ({trouble}); correct the address, model or texts"
                )
        raise InputError(
            f"{self.server.url}: no embeddings after {self.server.retries + 1} tries ({trouble}); is the server up?"
        )

    def _session(self) -> "tuple[httpx.AsyncClient, Semaphore]":
        import httpx

        loop = asyncio.get_running_loop()
        if loop not in self._open:
            key = os.environ.get(self.server.key_variable) if self.server.key_variable else None
            client = httpx.AsyncClient(
                transport=self.server.transport,
                timeout=self.server.timeout_s,
                headers={"Authorization": f"Bearer {key}"} if key else {},
            )
            self._open[loop] = client, Semaphore(self.server.concurrency)
        return self._open[loop]


def _json(url: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise InputError(f"{url}: the answer is not JSON; is this the address of /v1/embeddings?") from None
