"""The body of a request, as OpenRLHF posts it: `{"query": [...], "prompts": [...], "labels": [...]}`."""

from typing import Any

from plurality.errors import InputError
from plurality.rl.openrlhf_protocol import OpenRLHFProtocol, Row, kind, strict_json


def rows_of(body: bytes, protocol: OpenRLHFProtocol) -> list[Row]:
    """The rows of a request's body. Raises InputError that names the key or row (from 0) it cannot use."""
    request = strict_json(body, "the body")
    if not isinstance(request, dict):
        raise InputError("the body is not a JSON object; send {query: [...], prompts: [...], labels: [...]}")
    return protocol.rows(*(_list(request, key) for key in ("query", "prompts", "labels")))


def _list(request: dict[str, Any], key: str) -> list[Any]:
    if key not in request:
        raise InputError(f"{key!r} is missing; send query, prompts and labels, one entry per completion")
    if not isinstance(request[key], list):
        raise InputError(f"{key!r} is {kind(request[key])}, not a list; send one entry per completion")
    return request[key]
