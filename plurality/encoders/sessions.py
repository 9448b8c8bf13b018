"""Requests to an embedding server: several at once, tried again when that may help, the key sent to its host alone."""

import asyncio
import json
import math
from asyncio import AbstractEventLoop, Semaphore
from collections.abc import Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np

from plurality.encoders.protocol import Vectors
from plurality.encoders.server import EmbeddingServer
from plurality.errors import InputError

if TYPE_CHECKING:
    import httpx

AGAIN = (408, 425, 429, 500, 502, 503, 504)  # what another try may mend
LONGEST_WAIT_S = 60.0


class Sessions:
    """A client an event loop, with its limit on requests at once; none is pickled."""

    def __init__(self, server: EmbeddingServer, *, send_key: bool = True) -> None:
        self.server, self.send_key = server, send_key
        self._open: WeakKeyDictionary[AbstractEventLoop, tuple[httpx.AsyncClient, Semaphore]] = WeakKeyDictionary()

    def __getstate__(self) -> dict[str, Any]:
        return {"server": self.server, "send_key": self.send_key}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["server"], send_key=state["send_key"])  # type: ignore[misc]

    async def embed(self, texts: Sequence[str], dim: int | None, *, special: bool) -> Vectors:
        """Vectors (n, dim) of the texts, in requests of a batch each."""
        step = self.server.batch
        parts = [texts[start : start + step] for start in range(0, len(texts), step)]
        tasks = [asyncio.ensure_future(self._part(part, dim, special)) for part in parts]
        try:
            found = await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        if not found:
            return np.empty((0, dim or 0), dtype=np.float32)
        return np.concatenate(found)

    def embed_now(self, texts: Sequence[str], dim: int | None, *, special: bool) -> Vectors:
        """`embed` for who does not wait in an event loop."""

        async def once() -> Vectors:
            try:
                return await self.embed(texts, dim, special=special)
            finally:
                await self._close()

        return _in_thread(once())

    def models(self) -> list[str]:
        """The names of what the server serves. Raises InputError where it does not say."""

        async def once() -> Any:
            try:
                return await self.get(self.server.url.partition("?")[0].removesuffix("/embeddings") + "/models")
            finally:
                await self._close()

        answer = _in_thread(once())
        try:
            return [str(model["id"]) for model in answer["data"]]
        except (KeyError, TypeError):
            raise InputError(f"{self.server.url}: does not say which models it serves; name the model") from None

    async def get(self, url: str) -> Any:
        """The JSON that is there."""
        return await self._ask("GET", url, None)

    async def _part(self, texts: Sequence[str], dim: int | None, special: bool) -> Vectors:
        answer = await self._ask("POST", self.server.url, self.server.body(texts, special=special))
        return self.server.vectors(answer, len(texts), dim)

    async def _ask(self, method: str, url: str, asked: dict[str, Any] | None) -> Any:
        """The server's JSON answer, after as many tries as it takes or is allowed."""
        import httpx

        client, gate, key = *self._session(), self._key()
        trouble, wait = "", 0.0
        for attempt in range(self.server.retries + 1):
            if attempt:
                await asyncio.sleep(max(wait, math.ldexp(self.server.backoff_s, attempt - 1)))
            try:
                async with gate:
                    response = await client.request(method, url, json=asked)
            except httpx.HTTPError as error:
                trouble, wait = f"{type(error).__name__}: {error}".rstrip(": "), 0.0
                continue
            except (httpx.InvalidURL, UnicodeError) as error:
                raise InputError(f"{url}: is not an address ({error}); give the whole URL") from None
            text = response.text
            if response.status_code == 200:
                found = _json(text)
                if found is not None:
                    return found
                trouble, wait = "the answer ends in the middle", 0.0
                if text.lstrip()[:1] in ("{", "["):
                    continue
                raise InputError(f"{url}: the answer is not JSON; is this the address of /v1/embeddings?")
            trouble, wait = f"{response.status_code}: {_told(text, key)}", _asked_wait(response.headers)
            if 300 <= response.status_code < 400:
                raise InputError(
                    f"{url}: points elsewhere ({response.status_code}), and no key goes there; give that URL"
                )
            if response.status_code not in AGAIN:
                raise InputError(f"{url}: did not embed the texts ({trouble}); correct the address, model or texts")
        raise InputError(f"{url}: no embeddings after {self.server.retries + 1} tries ({trouble}); is the server up?")

    def _key(self) -> str | None:
        return self.server.key() if self.send_key else None

    def _session(self) -> "tuple[httpx.AsyncClient, Semaphore]":
        try:
            import httpx
        except ImportError:
            raise InputError('an embedding server needs httpx: pip install "plurality-rm[remote]"') from None

        loop = asyncio.get_running_loop()
        if loop not in self._open:
            key = self._key()
            client = httpx.AsyncClient(
                transport=self.server.transport,
                timeout=self.server.timeout_s,
                headers={"Authorization": f"Bearer {key}"} if key else {},
                follow_redirects=False,  # another host must not get the texts, nor the key
            )
            self._open[loop] = client, Semaphore(self.server.concurrency)
        return self._open[loop]

    async def _close(self) -> None:
        client, _ = self._open.pop(asyncio.get_running_loop(), (None, None))
        if client is not None:
            await client.aclose()


def _in_thread(work: Coroutine[Any, Any, Any]) -> Any:
    """The result of a coroutine, also where an event loop runs already, as in a notebook."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def _told(text: str, key: str | None) -> str:
    """What a server says of a failure, without the key, which some servers repeat."""
    return " ".join((text.replace(key, "***") if key else text).split())[:200]


def _asked_wait(headers: Any) -> float:
    try:
        return min(max(float(headers.get("retry-after", 0)), 0.0), LONGEST_WAIT_S)
    except ValueError:  # a date
        return 0.0
