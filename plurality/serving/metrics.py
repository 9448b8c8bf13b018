"""What the server counts, in Prometheus' text format."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate
from threading import Lock

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
REWARDS = ("/get_reward", "/verify", "/seed_session", "/close_session", "/aggregate_metrics")  # trainers' own
MIN_USERS = 5  # of a group whose rewards are shown
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Histogram:
    """Counts of observations by upper bound, and their sum; may be observed in one thread and read in another."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0
        self._lock = Lock()

    def observe(self, value: float) -> None:
        """Count one value in the first bucket whose bound it does not exceed."""
        with self._lock:
            self._counts[bisect_left(self._bounds, value)] += 1
            self._sum += value

    def lines(self, name: str, labels: str = "") -> Iterator[str]:
        """Cumulative buckets, sum and count."""
        with self._lock:
            counts, total = list(accumulate(self._counts)), self._sum
        for bound, count in zip([*self._bounds, "+Inf"], counts, strict=True):
            yield f'{name}_bucket{{{labels}{"," if labels else ""}le="{bound}"}} {count}'
        labels = f"{{{labels}}}" if labels else ""
        yield f"{name}_sum{labels} {total!r}"
        yield f"{name}_count{labels} {counts[-1]}"


class GroupReward:
    """Rewards of a group's users, shown once there are enough of them."""

    def __init__(self) -> None:
        self.count, self.total = 0, 0.0
        self._users: set[str] = set()

    def add(self, user_id: str, reward: float) -> None:
        """Count one."""
        self.count, self.total = self.count + 1, self.total + reward
        if not self.is_shown:
            self._users.add(user_id)

    @property
    def is_shown(self) -> bool:
        """Whether so many users are in it that it tells of none."""
        return len(self._users) >= MIN_USERS


class Metrics:
    """The server's counters and histograms."""

    def __init__(self) -> None:
        self.requests: Counter[int] = Counter()
        self.routes: Counter[tuple[str, int]] = Counter()
        self.route_seconds: dict[str, Histogram] = {}
        self.answers = 0
        self.groups: dict[str, GroupReward] = {}
        self.rewards = 0
        self.request_seconds = Histogram(SECONDS)
        self.batch_seconds = Histogram(SECONDS)
        self.batch_rows = Histogram(ROWS)

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count a request to a route, whatever it asks for."""
        self.routes[route, status] += 1
        self.route_seconds.setdefault(route, Histogram(SECONDS)).observe(seconds)
        if route in REWARDS:
            self.requests[status] += 1
            self.request_seconds.observe(seconds)

    def reward(self, group: str, user_id: str, reward: float) -> None:
        """Count a reward for the group of its user."""
        self.groups.setdefault(group, GroupReward()).add(user_id, reward)

    def text(self, pending: int) -> str:
        """The page that Prometheus reads; `pending` rows are accepted and not yet answered."""
        return "\n".join([*self._lines(pending), ""])

    def _lines(self, pending: int) -> Iterator[str]:
        yield from _head(
            "requests_total", "counter", "requests of trainers (/get_reward and NeMo-Gym's) by status of the answer"
        )
        for status, count in sorted(self.requests.items()):
            yield f'plurality_requests_total{{status="{status}"}} {count}'
        yield from _head("http_requests_total", "counter", "requests by route and status of the answer")
        for (route, status), count in sorted(self.routes.items()):
            yield f'plurality_http_requests_total{{route="{route}",status="{status}"}} {count}'
        yield from _head("http_request_seconds", "histogram", "time from a request's arrival to its answer, by route")
        for route, seconds in sorted(self.route_seconds.items()):
            yield from seconds.lines("plurality_http_request_seconds", f'route="{route}"')
        yield from _head("feedback_answers_total", "counter", "answers of users taken in")
        yield f"plurality_feedback_answers_total {self.answers}"
        shown = [(name, group) for name, group in sorted(self.groups.items()) if group.is_shown]
        yield from _head("group_rewards_total", "counter", f"rewards by group of {MIN_USERS} users and more")
        for name, group in shown:
            yield f'plurality_group_rewards_total{{group="{_label(name)}"}} {group.count}'
        yield from _head("group_reward_sum", "gauge", "sum of these rewards")
        for name, group in shown:
            yield f'plurality_group_reward_sum{{group="{_label(name)}"}} {group.total!r}'
        yield from _head("rewards_total", "counter", "rewards given")
        yield f"plurality_rewards_total {self.rewards}"
        yield from _head("pending_rows", "gauge", "rows accepted and not yet answered")
        yield f"plurality_pending_rows {pending}"
        for name, histogram, what in (
            ("request_seconds", self.request_seconds, "time from a trainer's request to its answer"),
            ("batch_seconds", self.batch_seconds, "time the reward model takes for a batch"),
            ("batch_rows", self.batch_rows, "rows in a batch"),
        ):
            yield from _head(name, "histogram", what)
            yield from histogram.lines(f"plurality_{name}")


def _head(name: str, kind: str, what: str) -> Iterator[str]:
    yield f"# HELP plurality_{name} {what}"
    yield f"# TYPE plurality_{name} {kind}"


def _label(text: str) -> str:
    """A label's value, escaped."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
