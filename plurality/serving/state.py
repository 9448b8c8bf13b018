"""What a server remembers: who answered what, and an audit log, in any database that SQLAlchemy reaches.

Answers are appended and never changed; a user's code is a function of all of them, so that no two writers can lose
one. A user's row carries the number of their last answer, which is written under a lock on that row: who has seen
that number has seen all before it.
"""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, IntegrityError, SQLAlchemyError

from plurality.errors import InputError
from plurality.serving.state_tables import SCHEMA_VERSION, answers, codes, erased, log, meta, requests, tables, users

__all__ = ["Code", "State", "Told", "Written", "open_state"]


@dataclass(frozen=True)
class Told:
    """What one request says of one user.

    user_id      who answered
    request_id   the same for a request that is sent again
    rows         answers, each a row as `plurality.read` takes it, without the user
    about        what else the user said of themselves, by name
    client       who asked, for the log
    """

    user_id: str
    request_id: str
    rows: tuple[dict[str, Any], ...]
    about: dict[str, str] | None = None
    client: str = ""

    @property
    def content(self) -> str:
        """A digest of what is said, to tell a request that is sent again from another under its name."""
        return _digest(json.dumps([self.user_id, self.rows, self.about], sort_keys=True))


@dataclass(frozen=True)
class Written:
    """How a request ended.

    status    200; 409 for another one under its name; 410 for a user who was erased since
    again     whether it was there already
    before    number of the user's last answer until then
    last      and since
    """

    status: int
    again: bool = False
    before: int = 0
    last: int = 0


@dataclass(frozen=True, eq=False)
class Code:
    """What is believed of a user, by one model.

    last_answer    number of the last answer that it is from
    n_comparisons  comparisons known of the user
    mean           (C,) in code space
    covariance     (C, C)
    """

    last_answer: int
    n_comparisons: int
    mean: np.ndarray
    covariance: np.ndarray


class State:
    """The tables, and everything that is done with them; may be used from several threads and processes.

    engine    of SQLAlchemy; see `open_state`
    """

    def __init__(self, engine: sa.Engine) -> None:
        self._reads, self._writes = engine, engine.execution_options(writes=True)
        with self._writes.begin() as db:
            tables.create_all(db)
            found = db.execute(sa.select(meta.c.value).where(meta.c.name == "schema")).scalar()
            if found is None:
                db.execute(meta.insert().values(name="schema", value=str(SCHEMA_VERSION)))
            elif found != str(SCHEMA_VERSION):
                raise InputError(
                    f"{engine.url!r}: its schema is version {found}, and this plurality writes {SCHEMA_VERSION}; use "
                    "the plurality that wrote it, or export its answers there and start anew"
                )

    def add(self, told: Sequence[Told]) -> list[Written]:
        """Write requests, all in one transaction; when this returns they survive a crash.

        told    requests
        """
        now = time.time()
        with self._writes.begin() as db:
            for user in sorted({t.user_id for t in told}):  # in one order, so that no two writers wait for each other
                _insert(db, users, {"user_id": user, "last_answer": 0, "about": "{}"})
                db.execute(users.update().where(users.c.user_id == user).values(user_id=user))  # locks the row
            ids = [t.user_id for t in told]
            here = _some(db, sa.select(users.c.user_id, users.c.last_answer), users.c.user_id, list(dict.fromkeys(ids)))
            last = {row.user_id: row.last_answer for row in here}
            written = {}
            for i in sorted(range(len(told)), key=lambda i: _digest(told[i].request_id)):
                written[i] = self._add(db, told[i], last[ids[i]], now)
                last[ids[i]] = written[i].last or last[ids[i]]
            empty = users.delete().where(users.c.last_answer == 0, users.c.about == "{}")
            if any(w.status != 200 for w in written.values()):
                db.execute(empty)
        return [written[i] for i in range(len(told))]

    def _add(self, db: sa.Connection, told: Told, before: int, now: float) -> Written:
        digest, content = _digest(told.request_id), told.content
        row = {"digest": digest, "content": content, "user_id": told.user_id, "last_answer": 0}
        if not _insert(db, requests, row):
            found = db.execute(sa.select(requests.c.content).where(requests.c.digest == digest)).scalar()
            return Written(410) if found is None else Written(200, True) if found == content else Written(409)
        last = 0
        for said in told.rows:
            values = {"user_id": told.user_id, "said": json.dumps(said, ensure_ascii=False), "at": now}
            last = db.execute(answers.insert().values(values)).inserted_primary_key[0]  # type: ignore[index]
        user = users.c.user_id == told.user_id
        if told.about:
            known = json.loads(db.execute(sa.select(users.c.about).where(user)).scalar_one())
            db.execute(users.update().where(user).values(about=json.dumps(known | told.about, ensure_ascii=False)))
            last = last or self._next(db)
        if last:
            db.execute(users.update().where(user).values(last_answer=last))
            db.execute(requests.update().where(requests.c.digest == digest).values(last_answer=last))
        self._log(db, "feedback", told.user_id, told.client, f"{len(told.rows)} answers")
        return Written(200, before=before, last=last or before)

    @staticmethod
    def _next(db: sa.Connection) -> int:
        """A number of no answer, for a change of what is known of a user beside their answers."""
        made = db.execute(answers.insert().values(user_id="", said="", at=0.0)).inserted_primary_key
        db.execute(answers.delete().where(answers.c.id == made[0]))  # type: ignore[index]
        return int(made[0])  # type: ignore[index]

    def last_answers(self, user_ids: Sequence[str]) -> dict[str, int]:
        """The number of the last answer of each of these users, for those who have told something.

        user_ids    whose
        """
        query = sa.select(users.c.user_id, users.c.last_answer)
        return {row.user_id: row.last_answer for row in self._some(query, users.c.user_id, user_ids)}

    def said(self, user_ids: Sequence[str]) -> list[tuple[int, str, dict[str, Any]]]:
        """All answers of these users in the order in which they came: number, user and row.

        user_ids    whose
        """
        query = sa.select(answers.c.id, answers.c.user_id, answers.c.said)
        rows = sorted(tuple(row) for row in self._some(query, answers.c.user_id, user_ids))
        return [(number, user, json.loads(said)) for number, user, said in rows]

    def answers_of(self, user_ids: Sequence[str]) -> dict[str, int]:
        """How many answers of each of these users there are, for those who gave any.

        user_ids    whose
        """
        query = sa.select(answers.c.user_id, sa.func.count().label("n")).group_by(answers.c.user_id)
        return {row.user_id: row.n for row in self._some(query, answers.c.user_id, user_ids)}

    def about(self, user_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """What these users said of themselves.

        user_ids    whose
        """
        query = sa.select(users.c.user_id, users.c.about)
        return {user: json.loads(text) for user, text in self._some(query, users.c.user_id, user_ids)}

    def codes(self, user_ids: Sequence[str], model: str) -> dict[str, Code]:
        """Codes of these users as this model had them last.

        user_ids    whose
        model       fingerprint
        """
        found = {}
        for row in self._some(sa.select(codes).where(codes.c.model == model), codes.c.user_id, user_ids):
            mean = np.frombuffer(row.mean)
            spread = np.frombuffer(row.covariance).reshape(len(mean), len(mean))
            found[row.user_id] = Code(row.last_answer, row.n_comparisons, mean, spread)
        return found

    def keep(self, model: str, found: dict[str, Code]) -> None:
        """Keep codes for the next start. They follow from the answers, so it matters to no answer if they are lost.

        model    fingerprint
        found    code of each user
        """
        rows = [
            {
                "user_id": user,
                "model": model,
                "last_answer": code.last_answer,
                "n_comparisons": code.n_comparisons,
                "mean": code.mean.tobytes(),
                "covariance": code.covariance.tobytes(),
            }
            for user, code in sorted(found.items())
        ]
        with self._writes.begin() as db:
            here = {u for (u,) in _some(db, sa.select(users.c.user_id), users.c.user_id, list(found))}
            db.execute(codes.delete().where(codes.c.user_id.in_(list(found))))
            if kept := [row for row in rows if row["user_id"] in here]:  # the others were erased meanwhile
                db.execute(codes.insert(), kept)

    def erase(self, user_id: str, client: str = "") -> int:
        """Forget a user: answers, code, what they said of themselves, their name in the log. How many answers it was.

        A digest of the id stays, so that nothing that a model was fitted on speaks for them again, and digests of their
        requests, so that one that is sent again is not taken for a new one.

        user_id    whom
        client     who asks, for the log
        """
        with self._writes.begin() as db:
            _insert(db, users, {"user_id": user_id, "last_answer": 0, "about": "{}"})
            db.execute(users.update().where(users.c.user_id == user_id).values(last_answer=0))  # locks the row
            count = db.execute(answers.delete().where(answers.c.user_id == user_id)).rowcount
            db.execute(codes.delete().where(codes.c.user_id == user_id))
            db.execute(users.delete().where(users.c.user_id == user_id))
            mine = requests.update().where(requests.c.user_id == user_id)
            db.execute(mine.values(user_id=None, content=None))
            db.execute(log.update().where(log.c.user_id == user_id).values(user_id=None, detail=""))
            _insert(db, erased, {"digest": _digest(user_id), "at": time.time()})
            self._log(db, "erased", None, client, "")
        if self._reads.dialect.name == "sqlite":
            with self._reads.connect() as db:
                db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        return int(count)

    def erased(self, user_ids: Sequence[str]) -> set[str]:
        """Those of these users who were erased once.

        user_ids    of whom
        """
        names = {_digest(user): user for user in user_ids}
        return {names[d] for (d,) in self._some(sa.select(erased.c.digest), erased.c.digest, list(names))}

    def note(self, action: str, user_id: str | None = None, client: str = "", detail: str = "") -> None:
        """A line in the audit log.

        action     what was done
        user_id    to whom
        client     by whom
        detail     more of it
        """
        with self._writes.begin() as db:
            self._log(db, action, user_id, client, detail)

    def get(self, name: str, default: str = "") -> str:
        """A setting that all who use the state share.

        name       of it
        default    where there is none
        """
        with self._reads.connect() as db:
            return db.execute(sa.select(meta.c.value).where(meta.c.name == name)).scalar() or default

    def set(self, name: str, value: str) -> None:
        """Change such a setting.

        name     of it
        value    from now on
        """
        with self._writes.begin() as db:
            if not _insert(db, meta, {"name": name, "value": value}):
                db.execute(meta.update().where(meta.c.name == name).values(value=value))

    def counts(self) -> dict[str, int]:
        """How many users and answers there are, and the number of the last answer."""
        with self._reads.connect() as db:
            n_users = db.execute(sa.select(sa.func.count()).select_from(users)).scalar_one()
            n, last = db.execute(sa.select(sa.func.count(), sa.func.max(answers.c.id)).select_from(answers)).one()
        return {"users": n_users, "answers": n, "last_answer": last or 0}

    def export(self) -> Iterator[dict[str, Any]]:
        """Every answer with its number, its user and the time it came, in the order of their numbers."""
        query = sa.select(answers).order_by(answers.c.id)
        with self._reads.connect() as db:
            for row in db.execute(query):
                said = json.loads(row.said)
                yield {"answer_id": row.id, "user_id": row.user_id, "time": row.at, **said}

    def everybody(self) -> dict[str, dict[str, str]]:
        """What all who answered said of themselves."""
        with self._reads.connect() as db:
            return {u: json.loads(text) for u, text in db.execute(sa.select(users.c.user_id, users.c.about))}

    def logged(self) -> list[dict[str, Any]]:
        """The audit log."""
        with self._reads.connect() as db:
            return [dict(row._mapping) for row in db.execute(sa.select(log).order_by(log.c.id))]

    def close(self) -> None:
        """Give connections back."""
        self._reads.dispose()

    def _some(self, query: Any, column: Any, values: Sequence[str]) -> list[Any]:
        with self._reads.connect() as db:
            return _some(db, query, column, values)

    @staticmethod
    def _log(db: sa.Connection, action: str, user_id: str | None, client: str, detail: str) -> None:
        db.execute(log.insert().values(at=time.time(), action=action, user_id=user_id, client=client, detail=detail))


def open_state(where: str) -> State:
    """The state at a file of SQLite, which is made if it is not there, or at an SQLAlchemy URL.

    where    such as "users.db" or "postgresql+psycopg://user:password@host/name"

    Raises InputError where there is none, or of another schema version.
    """
    try:
        url = sa.make_url(where if "://" in where else f"sqlite:///{where}")
        engine = sa.create_engine(url, **({"connect_args": {"timeout": 30}} if _sqlite(url) else {}))
        if _sqlite(url):
            sa.event.listen(engine, "connect", _prepare)
            sa.event.listen(engine, "begin", _begin)
        try:
            return State(engine)
        except BaseException:
            engine.dispose()
            raise
    except (ArgumentError, ImportError, SQLAlchemyError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"the state cannot be opened ({reason}); give a file, or an SQLAlchemy URL such as "
            "postgresql+psycopg://user@host/name and install its driver"
        ) from None


def _sqlite(url: sa.URL) -> bool:
    return url.get_backend_name() == "sqlite"


def _prepare(connection: Any, record: Any) -> None:
    connection.isolation_level = None  # transactions begin where `_begin` says
    try:
        for line in ("journal_mode=WAL", "synchronous=FULL", "secure_delete=ON", "busy_timeout=30000"):
            connection.execute(f"PRAGMA {line}").close()
    except BaseException:  # the pool forgets it without closing it
        connection.close()
        raise


def _begin(db: sa.Connection) -> None:
    """One who will write takes the lock at once, and so waits for another's transaction instead of failing in it."""
    db.exec_driver_sql("BEGIN IMMEDIATE" if db.get_execution_options().get("writes") else "BEGIN")


def _insert(db: sa.Connection, table: sa.Table, row: dict[str, Any]) -> bool:
    """Whether the row was new."""
    key = table.primary_key.columns[0]
    if db.execute(sa.select(key).where(key == row[key.name])).first() is not None:
        return False
    try:
        with db.begin_nested():
            db.execute(table.insert().values(row))
    except IntegrityError:  # another writer's, a moment ago
        return False
    return True


def _some(db: sa.Connection, query: Any, column: Any, values: Sequence[str], step: int = 500) -> list[Any]:
    """Rows whose column has one of the values, asked for in parts."""
    found: list[Any] = []
    for start in range(0, len(values), step):
        found += db.execute(query.where(column.in_(list(values[start : start + step])))).all()
    return found


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()
