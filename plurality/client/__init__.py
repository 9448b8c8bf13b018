"""A client of `plurality serve`: rewards, answers and questions over HTTP, with retries that count once."""

from plurality.client.calls import BestOfN, Call, Calls, KnownUser, Message, NextQuestion, Rewards, ServerError, Taken
from plurality.client.clients import AsyncClient, Client

__all__ = [
    "AsyncClient",
    "BestOfN",
    "Call",
    "Calls",
    "Client",
    "KnownUser",
    "Message",
    "NextQuestion",
    "Rewards",
    "ServerError",
    "Taken",
]
