"""The client that waits and the one that is awaited, over httpx."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

from plurality.client import calls
from plurality.client.calls import BestOfN, Call, KnownUser, NextQuestion, Prompt, Rewards, ServerError, Taken

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")
How = Literal["information", "random"]


class _Settings:
    """Where a server is, and how patiently it is asked."""

    def __init__(self, url: str, token: str | None, timeout_s: float, retries: int, transport: Any) -> None:
        self.url, self.retries, self._transport = url.rstrip("/") + "/", retries, transport
        self._headers = {} if token is None else {"authorization": f"Bearer {token}"}
        self._timeout = timeout_s

    def _wait(self, attempt: int) -> float:
        """Seconds before the next attempt, or −1 where there is none."""
        return min(0.1 * 2**attempt, 5.0) if attempt < self.retries else -1.0

    def _read(self, call: Call[T], answer: "httpx.Response") -> T:
        if answer.is_success and call.raw:
            return call.read(answer.content)
        try:
            said = answer.json()
        except ValueError:
            said = None
        if not answer.is_success or said is None:
            raise calls.refused(self.url + call.path, answer.status_code, said)
        return call.read(said)

    def _unreachable(self, error: Exception) -> ServerError:
        return ServerError(f"{self.url} cannot be reached ({error or type(error).__name__}); is the server running?")


class Client(_Settings):
    """A client of `plurality serve` that waits for answers; `AsyncClient` has the same methods to await.

    url         of the server, such as "http://127.0.0.1:5000"
    token       of its token file, or a user's key; None where it asks for none
    timeout_s   seconds to wait for an answer
    retries     times that a request is sent again, where the server could not be reached, was busy or too slow; a
                user's answers count once all the same, as they go under one request id
    transport   an httpx transport, for tests; None: the network

    Methods raise InputError where the server says what is wrong with a request, and `ServerError` where it fails.

    >>> Client("http://127.0.0.1:5000").url
    'http://127.0.0.1:5000/'
    """

    def __init__(
        self, url: str, *, token: str | None = None, timeout_s: float = 60.0, retries: int = 5, transport: Any = None
    ) -> None:
        import httpx

        super().__init__(url, token, timeout_s, retries, transport)
        self._http = httpx.Client(
            base_url=self.url, headers=self._headers, timeout=timeout_s, transport=transport, trust_env=False
        )

    def score(
        self,
        user_ids: Sequence[str],
        prompts: Sequence[Prompt],
        completions: Sequence[str],
        *,
        base: Sequence[float] | None = None,
    ) -> Rewards:
        """Rewards of completions, each for its user.

        user_ids       (n,) whose reward
        prompts        (n,) strings or message lists
        completions    (n,) texts
        base           (n,) scores of the base reward, for a model that starts from one
        """
        return self._call(calls.score(user_ids, prompts, completions, base))

    def best_of_n(
        self, user_id: str, prompt: Prompt, completions: Sequence[str], *, base: Sequence[float] | None = None
    ) -> BestOfN:
        """The completion that a user would like best.

        user_id        whose
        prompt         string or message list
        completions    (n,) texts
        base           (n,) scores of the base reward
        """
        return self._call(calls.best_of_n(user_id, prompt, completions, base))

    def feedback(
        self,
        user_id: str,
        answers: Sequence[Mapping[str, Any]] = (),
        *,
        about: Mapping[str, str] | None = None,
        request_id: str | None = None,
    ) -> Taken:
        """Tell what a user answered; when this returns it is stored, and counts for what is asked for next.

        user_id       who answered
        answers       each a prompt with chosen and rejected, with completions and chosen, with a ranking, or with a
                      completion and its rating or label
        about         what the user says of themselves, by name
        request_id    a name of your own; None: a random one
        """
        return self._call(calls.feedback(user_id, answers, about, request_id))

    def next_question(
        self,
        user_id: str,
        candidates: Sequence[tuple[Prompt, Sequence[str]]] | None = None,
        *,
        how: How = "information",
        seed: int = 0,
    ) -> NextQuestion:
        """The question whose answer is expected to say most of a user.

        user_id       whom to ask
        candidates    (prompt, completions) of each; None: those of the server's study
        how           "information" or "random"
        seed          of random questions
        """
        return self._call(calls.next_question(user_id, candidates, how, seed))

    def user(self, user_id: str) -> KnownUser:
        """What is known of a user.

        user_id    the user
        """
        return self._call(calls.user(user_id))

    def erase(self, user_id: str) -> int:
        """Erase a user; gives how many answers there were.

        user_id    the user
        """
        return self._call(calls.erase(user_id))

    def reload(self, *, fitted_through: int | None = None) -> str:
        """Have the server load its model again; gives what it is now.

        fitted_through    number of the last answer that it was fitted on
        """
        return self._call(calls.reload(fitted_through))

    def export(self) -> bytes:
        """All answers as a parquet file, which `plurality.read` takes."""
        return self._call(calls.export())

    def health(self) -> dict[str, Any]:
        """How the server is."""
        return self._call(calls.health())

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _call(self, call: Call[T]) -> T:
        import httpx

        for attempt in range(self.retries + 1):
            wait = self._wait(attempt)
            try:
                answer = self._http.request(call.method, call.path, json=call.body)
                if answer.status_code not in calls.AGAIN or wait < 0:
                    return self._read(call, answer)
            except httpx.TransportError as error:
                if wait < 0:
                    raise self._unreachable(error) from None
            time.sleep(wait)
        raise AssertionError("the last attempt returns or raises")


class AsyncClient(_Settings):
    """`Client` with methods to await.

    url         of the server
    token       of its token file, or a user's key; None where it asks for none
    timeout_s   seconds to wait for an answer
    retries     times that a request is sent again
    transport   an httpx transport, for tests; None: the network
    """

    def __init__(
        self, url: str, *, token: str | None = None, timeout_s: float = 60.0, retries: int = 5, transport: Any = None
    ) -> None:
        import httpx

        super().__init__(url, token, timeout_s, retries, transport)
        self._http = httpx.AsyncClient(
            base_url=self.url, headers=self._headers, timeout=timeout_s, transport=transport, trust_env=False
        )

    async def score(
        self,
        user_ids: Sequence[str],
        prompts: Sequence[Prompt],
        completions: Sequence[str],
        *,
        base: Sequence[float] | None = None,
    ) -> Rewards:
        """Rewards of completions, each for its user.

        user_ids       (n,) whose reward
        prompts        (n,) strings or message lists
        completions    (n,) texts
        base           (n,) scores of the base reward, for a model that starts from one
        """
        return await self._call(calls.score(user_ids, prompts, completions, base))

    async def best_of_n(
        self, user_id: str, prompt: Prompt, completions: Sequence[str], *, base: Sequence[float] | None = None
    ) -> BestOfN:
        """The completion that a user would like best.

        user_id        whose
        prompt         string or message list
        completions    (n,) texts
        base           (n,) scores of the base reward
        """
        return await self._call(calls.best_of_n(user_id, prompt, completions, base))

    async def feedback(
        self,
        user_id: str,
        answers: Sequence[Mapping[str, Any]] = (),
        *,
        about: Mapping[str, str] | None = None,
        request_id: str | None = None,
    ) -> Taken:
        """Tell what a user answered; when this returns it is stored, and counts for what is asked for next.

        user_id       who answered
        answers       each a prompt with chosen and rejected, with completions and chosen, with a ranking, or with a
                      completion and its rating or label
        about         what the user says of themselves, by name
        request_id    a name of your own; None: a random one
        """
        return await self._call(calls.feedback(user_id, answers, about, request_id))

    async def next_question(
        self,
        user_id: str,
        candidates: Sequence[tuple[Prompt, Sequence[str]]] | None = None,
        *,
        how: How = "information",
        seed: int = 0,
    ) -> NextQuestion:
        """The question whose answer is expected to say most of a user.

        user_id       whom to ask
        candidates    (prompt, completions) of each; None: those of the server's study
        how           "information" or "random"
        seed          of random questions
        """
        return await self._call(calls.next_question(user_id, candidates, how, seed))

    async def user(self, user_id: str) -> KnownUser:
        """What is known of a user.

        user_id    the user
        """
        return await self._call(calls.user(user_id))

    async def erase(self, user_id: str) -> int:
        """Erase a user; gives how many answers there were.

        user_id    the user
        """
        return await self._call(calls.erase(user_id))

    async def reload(self, *, fitted_through: int | None = None) -> str:
        """Have the server load its model again; gives what it is now.

        fitted_through    number of the last answer that it was fitted on
        """
        return await self._call(calls.reload(fitted_through))

    async def export(self) -> bytes:
        """All answers as a parquet file, which `plurality.read` takes."""
        return await self._call(calls.export())

    async def health(self) -> dict[str, Any]:
        """How the server is."""
        return await self._call(calls.health())

    async def aclose(self) -> None:
        """Close connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.aclose()

    async def _call(self, call: Call[T]) -> T:
        import httpx

        for attempt in range(self.retries + 1):
            wait = self._wait(attempt)
            try:
                answer = await self._http.request(call.method, call.path, json=call.body)
                if answer.status_code not in calls.AGAIN or wait < 0:
                    return self._read(call, answer)
            except httpx.TransportError as error:
                if wait < 0:
                    raise self._unreachable(error) from None
            await asyncio.sleep(wait)
        raise AssertionError("the last attempt returns or raises")
