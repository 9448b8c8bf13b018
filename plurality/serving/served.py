"""What a server serves, what it takes on, and what it has beside its model."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from plurality.serving.access import Tokens
from plurality.serving.engine import Live
from plurality.serving.study import Study

__all__ = ["Learning", "Limits", "Served"]


@dataclass(frozen=True)
class Limits:
    """What the server takes on.

    max_batch   rows in one call of the reward model
    max_wait_s  how long a silence it waits out for callers that it has just answered, so that they share a batch
    max_queue   rows accepted and not yet answered; more are rejected with 503
    max_body    bytes of a request's body; more are rejected with 413 as they come in
    timeout_s   seconds for the body to arrive (408) and for its answer (504), together
    client_queue  rows of one client that may wait; more are rejected with 429. None: as many as may wait at all
    client_rate   requests a second of one client, ten seconds' worth at once; more are rejected with 429. 0: any number
    """

    max_batch: int = 64
    max_wait_s: float = 0.02
    max_queue: int = 4096
    max_body: int = 4 * 2**20
    timeout_s: float = 60.0
    client_queue: int | None = None
    client_rate: float = 0.0


@dataclass(frozen=True)
class Served:
    """What is known of the reward model that is served.

    users     the users it knows; None: unknown, so that none can be rejected before the model is asked
    unknown   users it does not know are rejected with 422, or have the population's reward
    scale     "log_odds": scores are σ(reward); "probability": rewards are win probabilities, and the scores too
    about     more for GET /health, such as the model's and encoder's name
    """

    users: Collection[str] | None = None
    unknown: Literal["error", "population"] = "error"
    scale: Literal["log_odds", "probability"] = "log_odds"
    about: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Learning:
    """What a server of a `Live` rewarder has beside it.

    study    the questions that /ask shows; None: none
    tokens   who may ask for what; None: everybody for everything, as on loopback
    load     makes the next `Live` when the model is loaded again; None: it cannot be
    groups   group of each user, for the metrics
    group_by  what users said of themselves that is their group in the metrics, where `groups` has none
    """

    study: Study | None = None
    tokens: Tokens | None = None
    load: Callable[[], Live] | None = None
    groups: Mapping[str, str] = field(default_factory=dict)
    group_by: str | None = None
