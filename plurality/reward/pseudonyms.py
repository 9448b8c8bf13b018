"""User ids under another name: what is published of a model names no user who is not asked for."""

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar

import torch

from plurality.errors import InputError
from plurality.reward.fitted import Parts, Trace

SHORTEST_KEY = 16  # bytes; a shorter key can be tried out as an id can
TELLING = 3  # characters from which on an id inside a sentence is taken for one
Model = TypeVar("Model", bound=Parts)


def hash_user_id(user_id: str, key: str | bytes) -> str:
    """The pseudonym of a user: the first 128 bits, in hex, of HMAC-SHA256(key, user_id).

    A plain hash would hide no user, since ids are guessable: whoever has a list of candidates hashes them all. Under a
    secret key only its owner can, who finds a user's row in a published model by this very function. Text is encoded
    as UTF-8.

    user_id    the id as the users table has it
    key        the secret, 16 bytes or more, such as `secrets.token_hex(32)`; keep it apart from the model

    Raises InputError for a shorter key.
    """
    secret = key.encode() if isinstance(key, str) else key
    if len(secret) < SHORTEST_KEY:
        raise InputError(
            f"user_id_key: {len(secret)} bytes can be guessed; give {SHORTEST_KEY} or more, as of secrets.token_hex(32)"
        )
    return hmac.new(secret, user_id.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:32]


def pseudonymised(model: Model, key: str | bytes | None = None) -> Model:
    """The model with every user id hashed, in users, report and trace, and its users in the order of the hashes.

    model    any model; its predictions stay as they are
    key      the secret of `hash_user_id`; None draws one and forgets it, so that no one can find a user again
    """
    key = secrets.token_bytes(32) if key is None else key
    names = {u: hash_user_id(u, key) for u in model.user_ids}
    hashed = list(names.values())
    order = sorted(range(len(hashed)), key=hashed.__getitem__)  # the order of the ids would be a hint
    return replace(
        model,
        user_ids=tuple(hashed[i] for i in order),
        posterior=model.posterior.of(torch.as_tensor(order, dtype=torch.int64)),
        n_comparisons=model.n_comparisons[order],
        report=_renamed(model.report, names),
        trace=Trace(_renamed(model.trace.rows, names)),
    )


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    """JSON-like values with user ids replaced, among keys and inside sentences too."""
    if isinstance(value, dict):
        fresh = {_renamed(k, names): _renamed(v, names) for k, v in value.items()}
        return dict(sorted(fresh.items())) if any(k in names for k in value) else fresh
    if isinstance(value, list | tuple):
        return [_renamed(v, names) for v in value]
    if not isinstance(value, str):
        return value
    if value in names:
        return names[value]
    for user_id in (u for u in names if len(u) >= TELLING and not u.isdecimal() and u in value):
        value = re.sub(rf"(?<!\w){re.escape(user_id)}(?!\w)", names[user_id], value)
    return value
