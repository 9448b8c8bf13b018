"""What the server does: one short function a route, from a checked body to what is answered."""

import dataclasses
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from plurality.errors import InputError
from plurality.io.visible import visible
from plurality.rl.openrlhf_protocol import Row
from plurality.serving import describing, pages, tables
from plurality.serving.access import Client
from plurality.serving.engine import Live
from plurality.serving.metrics import CONTENT_TYPE
from plurality.serving.questions import Question, Questions
from plurality.serving.rejected import Rejected
from plurality.serving.schema import (
    BestOfNBody,
    FeedbackBody,
    GetRewardBody,
    NextQuestionBody,
    ReloadBody,
    ScoreBody,
    parsed,
)
from plurality.serving.service import Endpoint, Service
from plurality.serving.state import Told
from plurality.serving.trainer_bodies import PLAIN, READERS, read_plain


def _own(client: Client, user_id: str) -> None:
    if client.user_id not in (None, user_id):
        raise Rejected(403, "this key is another user's; ask about its own user")


async def trainer(service: Service, client: Client, request: Request, body: bytes) -> Any:
    """What a trainer posts, answered as it expects."""
    asked = READERS[request.url.path](body, service.protocol)
    known = service.known(asked.rows)
    answers = await service.rewards(client, asked.rows)
    if asked.rows and isinstance(service.engine.rewarder, Live):
        known = {"known_user": [float(bool(a.known)) for a in answers]}
    return asked.answer([a.reward for a in answers], [a.score for a in answers], known)


async def plain(service: Service, client: Client, request: Request, body: bytes) -> Any:
    """What is answered without the model."""
    return read_plain(request.url.path, body)


async def score(service: Service, client: Client, request: Request, body: bytes) -> Any:
    """Rewards of rows of user, prompt and completion."""
    asked = parsed(ScoreBody, body)
    rows = [_row(service, r.user_id, r.prompt, r.completion, r.base) for r in asked.rows]
    service.known(rows)
    answers = await service.rewards(client, rows)
    return {
        "rewards": [a.reward for a in answers],
        "scores": [a.score for a in answers],
        "known_user": [
            a.known if a.known is not None else _is_known(service, r) for a, r in zip(answers, rows, strict=True)
        ],
    }


async def best_of_n(service: Service, client: Client, request: Request, body: bytes) -> Any:
    """The user's best completion of a prompt."""
    asked = parsed(BestOfNBody, body)
    base: list[float | None] = [*asked.base] if asked.base else [None] * len(asked.completions)
    if len(base) != len(asked.completions):
        raise InputError("base and completions are of different length; give a score to each completion")
    pairs = zip(asked.completions, base, strict=True)
    rows = [_row(service, asked.user_id, asked.prompt, c, b) for c, b in pairs]
    service.known(rows)
    seen = [i for i, row in enumerate(rows) if row.completion.strip()]
    if not seen:
        raise InputError("nothing can be seen of any completion, all are empty or thoughts; give replies")
    answers = await service.rewards(client, [rows[i] for i in seen])
    rewards: list[float | None] = [None] * len(rows)
    for i, answer in zip(seen, answers, strict=True):
        rewards[i] = answer.reward
    best = max(seen, key=lambda i: (rewards[i], -i))
    return {"index": best, "completion": asked.completions[best], "rewards": rewards}


def _row(service: Service, user_id: str, prompt: Any, completion: str, base: float | None) -> Row:
    text = prompt if isinstance(prompt, str) else [message.model_dump() for message in prompt]
    return Row(text, visible(completion, service.protocol.thought_tags), user_id, base)


def _is_known(service: Service, row: Row) -> bool | None:
    return None if service.users is None else row.user_id in service.users


async def feedback(service: Service, client: Client, request: Request, body: bytes) -> Any:
    """Take in what a user says; it counts for all that is asked for after this answer."""
    asked = parsed(FeedbackBody, body)
    _own(client, asked.user_id)
    assert service.state is not None
    rows = tuple(answer.row() for answer in asked.answers)
    told = Told(asked.user_id, asked.request_id, rows, asked.about, client.name)
    texts = [(row["prompt"], text) for row in rows for text in texts_of(row)]
    written, answers, uncertainty = await service.engine.tell(told, texts)
    if written.status == 409:
        raise Rejected(409, f"request_id {asked.request_id!r} was used for other content; give each request its own")
    if written.status == 410:
        raise Rejected(410, "this user was erased after this request; it is not taken in again")
    service.metrics.answers += 0 if written.again else len(rows)
    return {
        "user_id": asked.user_id,
        "counted": not written.again,
        "answers": answers,
        "uncertainty": uncertainty,
    }


def texts_of(row: dict[str, Any]) -> list[str]:
    """The completions that an answer is about."""
    several = row.get("completions") or row.get("ranking")
    return several or [row[name] for name in ("chosen", "rejected", "completion") if name in row]


async def next_question(service: Service, client: Client, request: Request, body: bytes) -> Any:
    """The question whose answer says most."""
    asked = parsed(NextQuestionBody, body)
    _own(client, asked.user_id)
    state = service.state
    own = None
    texts = []
    if asked.candidates is not None:
        candidates = [c.model_dump() for c in asked.candidates]
        own = [Question(c["prompt"], tuple(c["completions"])) for c in candidates]
        texts = [(q.prompt, c) for q in own for c in q.completions]
        if len(texts) > service.max_queue:
            raise Rejected(413, f"{len(texts):,} texts are more than the {service.max_queue:,} that may wait")

    def work(live: Live) -> Any:
        questions = service.questions(live) if own is None else Questions(live.learner, own)
        said = state.said([asked.user_id])
        done = {Question(row["prompt"], tuple(texts_of(row))).key for _, _, row in said}
        model = live.learner.of([asked.user_id])
        return questions, questions.choose(model, asked.user_id, done, how=asked.how, seed=asked.seed), len(done)

    questions, chosen, done = await service.engine.do(work, texts)
    return describing.question(questions, chosen, done, service.learning.study if own is None else None, asked.how)


async def user(service: Service, client: Client, request: Request, body: bytes) -> Any:
    """What is known of a user, in words."""
    user_id = request.path_params["user_id"]
    state = service.state

    def work(live: Live) -> Any:
        state.note("read", user_id, client.name) if state.last_answers([user_id]) else None
        return describing.user(live.learner, user_id)

    found = await service.engine.do(work)
    if found is None:
        raise Rejected(404, "nothing is known of this user: no answer is stored and the model was not fitted on them")
    return found


async def erase(service: Service, client: Client, request: Request, body: bytes) -> Any:
    """Erase a user."""
    user_id = request.path_params["user_id"]
    assert service.state is not None

    def work(live: Live) -> Any:
        return live.learner.forget(user_id, client.name), user_id in set(live.learner.model.user_ids)

    count, fitted = await service.engine.do(work)
    note = (
        "the model's folder was fitted on this user, who now has the population's code here; fit it again without them"
    )
    return {"erased_answers": count, **({"note": note} if fitted else {})}


async def reload(service: Service, client: Client, request: Request, body: bytes) -> Any:
    """Load the model's folder again."""
    asked = parsed(ReloadBody, body)
    return await load_again(service, client.name, asked.fitted_through)


async def load_again(service: Service, client: str = "", fitted_through: int | None = None) -> dict[str, Any]:
    """Serve the model as it is on disk now; codes of users who answered are inferred anew. Old one where it cannot be.

    service         what serves
    client          who asks, for the log
    fitted_through  number of the last answer that the model was fitted on; None: as it was said of it before
    """
    load = service.learning.load
    if load is None:
        raise Rejected(409, "this server cannot load its model again")
    made: list[Live] = []

    def make() -> Live:
        live = load()
        if fitted_through is not None:
            live.learner.fitted_through(fitted_through)
        if live.learner.state is not None:
            live.learner.state.note("reload", None, client, live.learner.fingerprint[:16])
        made.append(live)
        return live

    await service.engine.exchange(make)
    model = made[0].learner.model
    service.users = None if service.users is None else frozenset(model.user_ids)
    service.served = dataclasses.replace(service.served, about={**service.served.about, "model": repr(model)})
    return {"model": repr(model), "fingerprint": made[0].learner.fingerprint[:16]}


async def export(service: Service, client: Client, request: Request, body: bytes) -> Response:
    """All answers as parquet that `plurality.read` takes."""
    state = service.state
    content, last = await tables.parquet(state)
    state.note("export", None, client.name)
    headers = {"x-last-answer": str(last), "content-disposition": 'attachment; filename="answers.parquet"'}
    return Response(content, media_type="application/vnd.apache.parquet", headers=headers)


async def key(service: Service, client: Client, request: Request, body: bytes) -> Any:
    """A key with which one user may answer, and nothing else."""
    tokens = service.learning.tokens
    if tokens is None:
        raise Rejected(409, "this server takes requests without tokens, so users need no key")
    user_id = request.path_params["user_id"]
    made = tokens.key(user_id)
    return {"key": made, "path": f"/ask#{made}"}


async def health(service: Service, client: Client, request: Request, body: bytes) -> Any:
    """Whether it can take more."""
    pending = service.engine.pending
    ready = pending < service.max_queue
    live = service.engine.rewarder
    users = len(live.learner.model.user_ids) if isinstance(live, Live) else None
    users = len(service.users) if service.users is not None else users
    about = {"ready": ready, "pending": pending, "users": users, **service.served.about}
    return (200 if ready else 503), about


async def metrics(service: Service, client: Client, request: Request, body: bytes) -> Response:
    """What is counted."""
    return PlainTextResponse(service.metrics.text(service.engine.pending), headers={"content-type": CONTENT_TYPE})


def endpoints(*, live: bool, study: bool) -> list[Endpoint]:
    """The routes of a server.

    live     whether it has a model that can learn
    study    whether it has a page to answer on
    """
    found = [
        Endpoint("/get_reward", "POST", trainer, "Rewards, as OpenRLHF or slime ask for them", "score", GetRewardBody),
        Endpoint("/verify", "POST", trainer, "A reward, as NeMo-Gym asks for it", "score"),
        *(Endpoint(path, "POST", plain, "NeMo-Gym's, without the model", "score") for path in PLAIN),
        Endpoint("/score", "POST", score, "Rewards of completions, each for its user", "score", ScoreBody),
        Endpoint("/best_of_n", "POST", best_of_n, "A user's best completion of a prompt", "score", BestOfNBody),
        Endpoint("/health", "GET", health, "Whether it can take more"),
        Endpoint("/metrics", "GET", metrics, "Counts and times, for Prometheus", "score"),
    ]
    if live:
        found += [
            Endpoint("/feedback", "POST", feedback, "Take in a user's answers", "feedback", FeedbackBody),
            Endpoint("/next_question", "POST", next_question, "What to ask a user next", "feedback", NextQuestionBody),
            Endpoint("/users/{user_id}", "GET", user, "What is known of a user, in words", "admin"),
            Endpoint("/users/{user_id}", "DELETE", erase, "Erase a user", "admin"),
            Endpoint("/keys/{user_id}", "GET", key, "A key for a user's own answers", "admin"),
            Endpoint("/reload", "POST", reload, "Load the model's folder again", "admin", ReloadBody, slow=True),
            Endpoint("/answers", "GET", export, "All answers, as parquet", "admin", slow=True),
        ]
    if study:
        found += [
            Endpoint("/ask", "GET", pages.ask, "The page to answer on"),
            Endpoint("/study", "GET", pages.study, "What the page shows first"),
        ]

    async def openapi(service: Service, client: Client, request: Request, body: bytes) -> Any:
        return pages.openapi(found)

    async def docs(service: Service, client: Client, request: Request, body: bytes) -> Response:
        return pages.docs(found)

    found += [
        Endpoint("/openapi.json", "GET", openapi, "This interface, for programs"),
        Endpoint("/docs", "GET", docs, "This interface, for people"),
    ]
    return found
