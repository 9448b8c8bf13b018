"""Who may ask for what, and how much: tokens with scopes, keys for one user, and a rate for each client."""

import base64
import binascii
import hmac
import tomllib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Any

from plurality.errors import InputError
from plurality.io.paths import expanded

__all__ = ["SCOPES", "Client", "Tokens", "Turnstile", "read_tokens"]

SCOPES = ("score", "feedback", "admin")
SHORTEST = 16  # characters of a token


@dataclass(frozen=True)
class Client:
    """Who asks.

    name      for limits and the log
    scopes    what may be asked for
    user_id   the only user who may be asked about; None: any
    """

    name: str
    scopes: frozenset[str] = frozenset(SCOPES)
    user_id: str | None = None

    def may(self, scope: str) -> bool:
        """Whether it is the client's; an admin has all.

        scope    "score", "feedback" or "admin"
        """
        return scope in self.scopes or "admin" in self.scopes


class Tokens:
    """Secrets and whose they are, compared in constant time.

    known    (secret, client) of each
    """

    def __init__(self, known: Iterable[tuple[str, Client]]) -> None:
        self._known = [(secret.encode(), client) for secret, client in known]

    def client(self, authorization: str) -> Client | None:
        """Whose an Authorization header is: a Bearer token or key, or a token as the password of Basic.

        authorization    the header; "" for none
        """
        kind, _, given = authorization.strip().partition(" ")
        given = given.strip()
        if kind.lower() == "basic":
            given = _password(given)
        elif kind.lower() != "bearer":
            return None
        found, user = None, _user_of(given)
        for secret, client in self._known:  # all are compared, so that time does not tell which
            if hmac.compare_digest(sha256(secret).digest(), sha256(given.encode()).digest()):
                found = client
            signed = "" if user is None or not client.may("feedback") else _key(secret, user)
            if signed and hmac.compare_digest(signed.encode(), given.encode()):
                found = Client(f"{client.name}/participant", frozenset({"feedback"}), user)
        return found

    def key(self, user_id: str) -> str:
        """A key that may give the answers of this user and nothing else, signed by the first token for feedback.

        user_id    the user
        """
        for secret, client in self._known:
            if client.may("feedback"):
                return _key(secret, user_id)
        raise InputError("no token has the scope feedback, so none can sign a key; add one to the token file")


def read_tokens(source: str | Path) -> Tokens:
    """Tokens of a TOML file: a table for each client, with its `token` and its `scopes`.

    source    the file

    Raises InputError for short tokens, one that two clients have, and other scopes.
    """
    path = expanded(source)
    try:
        tables: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not TOML"
        raise InputError(f"{path}: cannot be read ({reason}); give a file with [NAME], token and scopes") from None
    known = []
    for name, table in tables.items():
        token, scopes = (table.get("token"), table.get("scopes")) if isinstance(table, dict) else (None, None)
        if not isinstance(token, str) or len(token) < SHORTEST:
            raise InputError(f"{path}: [{name}] has no token of {SHORTEST} characters or more; make one at random")
        if not isinstance(scopes, list) or not scopes or not set(scopes) <= set(SCOPES):
            raise InputError(f"{path}: [{name}] has no scopes; list some of {', '.join(SCOPES)}")
        known.append((token, Client(name, frozenset(scopes))))
    if not known:
        raise InputError(f"{path}: holds no token; add [NAME], token and scopes")
    if len({token for token, _ in known}) < len(known):
        raise InputError(f"{path}: two clients have the same token; give each its own")
    return Tokens(known)


@dataclass
class Turnstile:
    """How much each client may ask for.

    per_second   requests, on average; 0: any number
    most_rows    rows of one client that may wait; None: as many as may wait at all
    rows         those that wait, by client
    """

    per_second: float = 0.0
    most_rows: int | None = None
    rows: Counter[str] = field(default_factory=Counter)
    _left: dict[str, tuple[float, float]] = field(default_factory=dict)

    def admits(self, client: str) -> bool:
        """Whether one more request of the client is within its rate; ten seconds' worth may come at once.

        client    its name
        """
        if not self.per_second:
            return True
        now, most = monotonic(), max(1.0, 10 * self.per_second)
        if len(self._left) > 10_000:  # those who have their whole allowance again need no entry
            self._left = {c: (n, t) for c, (n, t) in self._left.items() if n + (now - t) * self.per_second < most}
        left, then = self._left.get(client, (most, now))
        left = min(most, left + (now - then) * self.per_second)
        self._left[client] = (left - (left >= 1), now)
        return left >= 1


def _key(secret: bytes, user_id: str) -> str:
    name = base64.urlsafe_b64encode(user_id.encode()).decode().rstrip("=")
    return f"{name}.{hmac.new(secret, user_id.encode(), sha256).hexdigest()}"


def _user_of(key: str) -> str | None:
    name, dot, _ = key.rpartition(".")
    if not dot:
        return None
    try:
        return base64.urlsafe_b64decode(name + "=" * (-len(name) % 4)).decode()
    except (binascii.Error, ValueError):
        return None


def _password(given: str) -> str:
    try:
        return base64.b64decode(given, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""
