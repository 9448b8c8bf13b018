"""What a client asks and what it is answered, without how it is sent: one method a route, for both clients."""

from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from types import MethodType
from typing import Any, Concatenate, Generic, Literal, ParamSpec, Protocol, TypeVar, overload
from urllib.parse import quote
from uuid import uuid4

from plurality.errors import InputError

P = ParamSpec("P")
T = TypeVar("T")
Message = Mapping[str, str]
Prompt = str | Sequence[Message]
How = Literal["information", "random"]
AGAIN = (429, 502, 503, 504)  # answers after which a request is sent again


class ServerError(RuntimeError):
    """A server that cannot be reached, or failed.

    message   what happened
    status    HTTP status; None where there was no answer
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Rewards:
    """Rewards of n completions.

    rewards   (n,) as the server gives them: log-odds, or win probabilities
    scores    (n,) the probability that goes with each
    known     (n,) whether something is known of its user; None where the server does not say
    """

    rewards: list[float]
    scores: list[float]
    known: list[bool | None]


@dataclass(frozen=True)
class BestOfN:
    """The best completion.

    index        its place, from 0
    completion   its text
    rewards      (n,) of each; None where nothing can be seen of it
    """

    index: int
    completion: str
    rewards: list[float | None]


@dataclass(frozen=True)
class Taken:
    """What became of an answer.

    user_id       who answered
    counted       False where it was there already, from a request that was sent before
    answers       how many of the user's are stored now
    uncertainty   what is not known of the user, of what is not known of a new one; None where all have one reward
    """

    user_id: str
    counted: bool
    answers: int
    uncertainty: float | None


@dataclass(frozen=True)
class NextQuestion:
    """What to ask next.

    index         place among the candidates; None: nothing is left to ask
    prompt        of the question
    completions   to choose from, or the one to rate
    bits          what the answer is expected to tell of the user; None where nothing is left
    why           why this question, in words
    answered      questions answered so far
    """

    index: int | None
    prompt: Prompt | None
    completions: list[str]
    bits: float | None
    why: str
    answered: int


@dataclass(frozen=True)
class KnownUser:
    """What is known of a user.

    user_id       who
    answers       how many are stored
    about         what they said of themselves, by name
    words         all of it in words
    comparisons   known of them, with those that the model was fitted on
    uncertainty   what is not known, of what is not known of a new user
    code          as a person reads it
    """

    user_id: str
    answers: int
    about: dict[str, str]
    words: str
    comparisons: int | None = None
    uncertainty: float | None = None
    code: dict[str, float] | None = None


@dataclass(frozen=True)
class Call(Generic[T]):
    """A request, and what its answer means.

    method   "GET", "POST" or "DELETE"
    path     below the server's address
    body     sent as JSON; None: none
    read     what an answer means: of its JSON, or where it is raw of its bytes
    raw      whether the answer is no JSON
    """

    method: str
    path: str
    body: dict[str, Any] | None
    read: Callable[[Any], T]
    raw: bool = False


class Waiting(Protocol):
    """A client that waits for an answer."""

    def send(self, call: Call[T]) -> T:
        """What the answer to a call means."""


class Awaited(Protocol):
    """A client whose answer is awaited."""

    def send(self, call: Call[T]) -> Coroutine[Any, Any, T]:
        """The same, to await."""


class asked(Generic[P, T]):  # a decorator
    """Makes of a method that describes a call one that sends it: of a `Call[T]` a T, or for `Awaited` one to await."""

    def __init__(self, describe: Callable[Concatenate[Any, P], Call[T]]) -> None:
        self.__func__, self.__doc__ = describe, describe.__doc__

        @wraps(describe)
        def method(client: Any, /, *args: P.args, **kwargs: P.kwargs) -> Any:
            return client.send(describe(client, *args, **kwargs))

        self._method = method

    @overload
    def __get__(self, client: None, owner: type) -> Callable[Concatenate[Any, P], Call[T]]: ...
    @overload
    def __get__(self, client: Waiting, owner: type | None = None) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: Awaited, owner: type | None = None) -> Callable[P, Coroutine[Any, Any, T]]: ...
    def __get__(self, client: Any, owner: type | None = None) -> Any:
        return self.__func__ if client is None else MethodType(self._method, client)


class Calls:
    """What a server can be asked: of `Client` each method gives what its `Call` holds, of `AsyncClient` that to await.

    Methods raise InputError where the server says what is wrong with a request, and `ServerError` where it fails.
    """

    @asked
    def score(
        self,
        user_ids: Sequence[str],
        prompts: Sequence[Prompt],
        completions: Sequence[str],
        *,
        base: Sequence[float] | None = None,
    ) -> Call[Rewards]:
        """Rewards of completions, each for its user.

        user_ids       (n,) whose reward
        prompts        (n,) strings or message lists
        completions    (n,) texts
        base           (n,) scores of the base reward, for a model that starts from one
        """
        if not len(user_ids) == len(prompts) == len(completions) == len(completions if base is None else base):
            raise InputError(
                f"{len(user_ids)} users, {len(prompts)} prompts and {len(completions)} completions (and base scores, "
                "if any) are not as many; give one of each"
            )
        scores = [None] * len(completions) if base is None else list(base)
        rows = [
            {"user_id": u, "prompt": _plain(p), "completion": c, **({} if b is None else {"base": b})}
            for u, p, c, b in zip(user_ids, prompts, completions, scores, strict=True)
        ]
        read = lambda said: Rewards(said["rewards"], said["scores"], said["known_user"])  # noqa: E731
        return Call("POST", "score", {"rows": rows}, read)

    @asked
    def best_of_n(
        self, user_id: str, prompt: Prompt, completions: Sequence[str], *, base: Sequence[float] | None = None
    ) -> Call[BestOfN]:
        """The completion that a user would like best.

        user_id        whose
        prompt         string or message list
        completions    (n,) texts
        base           (n,) scores of the base reward
        """
        body = {"user_id": user_id, "prompt": _plain(prompt), "completions": list(completions)}
        body |= {} if base is None else {"base": list(base)}
        return Call("POST", "best_of_n", body, lambda said: BestOfN(**said))

    @asked
    def feedback(
        self,
        user_id: str,
        answers: Sequence[Mapping[str, Any]] = (),
        *,
        about: Mapping[str, str] | None = None,
        request_id: str | None = None,
    ) -> Call[Taken]:
        """Tell what a user answered; when this returns it is stored, and counts for what is asked for next.

        user_id       who answered
        answers       each a prompt with chosen and rejected, with completions and chosen, with a ranking, or with a
                      completion and its rating or label
        about         what the user says of themselves, by name
        request_id    a name of your own; None: a random one, the same each time that the request is sent
        """
        body: dict[str, Any] = {"user_id": user_id, "request_id": request_id or uuid4().hex}
        body["answers"] = [{**answer, "prompt": _plain(answer.get("prompt", ""))} for answer in answers]
        body |= {} if about is None else {"about": dict(about)}
        return Call("POST", "feedback", body, lambda said: Taken(**said))

    @asked
    def next_question(
        self,
        user_id: str,
        candidates: Sequence[tuple[Prompt, Sequence[str]]] | None = None,
        *,
        how: How = "information",
        seed: int = 0,
    ) -> Call[NextQuestion]:
        """The question whose answer is expected to say most of a user.

        user_id       whom to ask
        candidates    (prompt, completions) of each; None: those of the server's study
        how           "information" or "random"
        seed          of random questions
        """
        body: dict[str, Any] = {"user_id": user_id, "how": how, "seed": seed}
        if candidates is not None:
            body["candidates"] = [{"prompt": _plain(p), "completions": list(each)} for p, each in candidates]
        return Call("POST", "next_question", body, _question)

    @asked
    def user(self, user_id: str) -> Call[KnownUser]:
        """What is known of a user.

        user_id    the user
        """
        return Call("GET", f"users/{quote(user_id, safe='')}", None, lambda said: KnownUser(**said))

    @asked
    def erase(self, user_id: str) -> Call[int]:
        """Erase a user; gives how many answers there were.

        user_id    the user
        """
        return Call("DELETE", f"users/{quote(user_id, safe='')}", None, lambda said: int(said["erased_answers"]))

    @asked
    def reload(self, *, fitted_through: int | None = None) -> Call[str]:
        """Have the server load its model again; gives what it is now.

        fitted_through    number of the last answer that it was fitted on
        """
        body = {} if fitted_through is None else {"fitted_through": fitted_through}
        return Call("POST", "reload", body, lambda said: str(said["model"]))

    @asked
    def export(self) -> Call[bytes]:
        """All answers as a parquet file, which `plurality.read` takes."""
        return Call("GET", "answers", None, lambda said: said, raw=True)

    @asked
    def health(self) -> Call[dict[str, Any]]:
        """How the server is."""
        return Call("GET", "health", None, lambda said: said)


def _question(said: dict[str, Any]) -> NextQuestion:
    asked, done = said["question"], said["progress"]["answered"]
    if asked is None:
        return NextQuestion(None, None, [], None, said["why"], done)
    return NextQuestion(asked["index"], asked["prompt"], asked["completions"], said["bits"], said["why"], done)


def refused(url: str, status: int, said: Any) -> InputError | ServerError:
    """The error that an answer is."""
    reason = said.get("error") if isinstance(said, dict) else None
    message = f"{url}: {reason or 'no reason is given; is it a plurality server?'} (HTTP {status})"
    return InputError(message) if 400 <= status < 500 and status != 429 else ServerError(message, status)


def _plain(prompt: Prompt) -> Any:
    return prompt if isinstance(prompt, str) else [dict(message) for message in prompt]
