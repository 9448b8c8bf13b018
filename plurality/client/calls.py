"""What a client asks and what it is answered, without how it is sent: one function a route."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from urllib.parse import quote
from uuid import uuid4

from plurality.errors import InputError

T = TypeVar("T")
Message = Mapping[str, str]
Prompt = str | Sequence[Message]
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
    """A request: method, path, body, and what its answer means; `raw` answers are bytes."""

    method: str
    path: str
    body: dict[str, Any] | None
    read: Callable[[Any], T]
    raw: bool = False


def score(user_ids: Sequence[str], prompts: Sequence[Prompt], completions: Sequence[str], base: Any) -> Call[Rewards]:
    """Rewards of completions, each for its user."""
    if not len(user_ids) == len(prompts) == len(completions) == len(base or completions):
        raise InputError(
            f"{len(user_ids)} users, {len(prompts)} prompts and {len(completions)} completions (and base scores, if "
            "any) are not as many; give one of each"
        )
    scores = [None] * len(completions) if base is None else list(base)
    rows = [
        {"user_id": u, "prompt": _plain(p), "completion": c, **({} if b is None else {"base": b})}
        for u, p, c, b in zip(user_ids, prompts, completions, scores, strict=True)
    ]
    read = lambda said: Rewards(said["rewards"], said["scores"], said["known_user"])  # noqa: E731
    return Call("POST", "score", {"rows": rows}, read)


def best_of_n(user_id: str, prompt: Prompt, completions: Sequence[str], base: Sequence[float] | None) -> Call[BestOfN]:
    """The user's best completion."""
    body = {"user_id": user_id, "prompt": _plain(prompt), "completions": list(completions)}
    body |= {} if base is None else {"base": list(base)}
    return Call("POST", "best_of_n", body, lambda said: BestOfN(**said))


def feedback(
    user_id: str, answers: Sequence[Mapping[str, Any]], about: Mapping[str, str] | None, request_id: str | None
) -> Call[Taken]:
    """What a user says; the id is made once, so that sending it again is safe."""
    body: dict[str, Any] = {"user_id": user_id, "request_id": request_id or uuid4().hex}
    body["answers"] = [{**answer, "prompt": _plain(answer.get("prompt", ""))} for answer in answers]
    body |= {} if about is None else {"about": dict(about)}
    return Call("POST", "feedback", body, lambda said: Taken(**said))


def next_question(
    user_id: str, candidates: Sequence[tuple[Prompt, Sequence[str]]] | None, how: str, seed: int
) -> Call[NextQuestion]:
    """What to ask."""
    body: dict[str, Any] = {"user_id": user_id, "how": how, "seed": seed}
    if candidates is not None:
        body["candidates"] = [{"prompt": _plain(p), "completions": list(each)} for p, each in candidates]
    return Call("POST", "next_question", body, _question)


def _question(said: dict[str, Any]) -> NextQuestion:
    asked, done = said["question"], said["progress"]["answered"]
    if asked is None:
        return NextQuestion(None, None, [], None, said["why"], done)
    return NextQuestion(asked["index"], asked["prompt"], asked["completions"], said["bits"], said["why"], done)


def user(user_id: str) -> Call[KnownUser]:
    """What is known of a user."""
    return Call("GET", f"users/{quote(user_id, safe='')}", None, lambda said: KnownUser(**said))


def erase(user_id: str) -> Call[int]:
    """Erase a user: how many answers there were."""
    return Call("DELETE", f"users/{quote(user_id, safe='')}", None, lambda said: int(said["erased_answers"]))


def reload(fitted_through: int | None) -> Call[str]:
    """Load the model again: what it is now."""
    body = {} if fitted_through is None else {"fitted_through": fitted_through}
    return Call("POST", "reload", body, lambda said: str(said["model"]))


def export() -> Call[bytes]:
    """All answers, as a parquet file."""
    return Call("GET", "answers", None, lambda said: said, raw=True)


def health() -> Call[dict[str, Any]]:
    """How the server is."""
    return Call("GET", "health", None, lambda said: said)


def refused(url: str, status: int, said: Any) -> InputError | ServerError:
    """The error that an answer is."""
    reason = said.get("error") if isinstance(said, dict) else None
    message = f"{url}: {reason or 'no reason is given; is it a plurality server?'} (HTTP {status})"
    return InputError(message) if 400 <= status < 500 and status != 429 else ServerError(message, status)


def _plain(prompt: Prompt) -> Any:
    return prompt if isinstance(prompt, str) else [dict(message) for message in prompt]
