"""Bodies that trainers post, and the answers each expects: OpenRLHF and slime at /get_reward, NeMo-Gym at /verify.

A body becomes rows of a user, a prompt and a completion, which the server rewards whoever asked; the rest of NeMo-Gym's
contract, whose sessions have no state here, is answered without the model.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median, stdev
from typing import Any

from plurality.errors import InputError
from plurality.rl.messages import Pairs
from plurality.rl.openrlhf_protocol import OpenRLHFProtocol, Row, kind, strict_json
from plurality.serving.body import rows_of

TASK = "_ng_task_index"  # what NeMo-Gym calls the task of a rollout


@dataclass(frozen=True)
class Asked:
    """The rows of a body, and the answer of their rewards (n,), scores (n,) and logs by name."""

    rows: list[Row]
    answer: Callable[[Sequence[float], Sequence[float], Mapping[str, Any]], Any]


def read_get_reward(body: bytes, protocol: OpenRLHFProtocol) -> Asked:
    """OpenRLHF's lists of query, prompts and labels; or slime's one prompt, response and label, for a bare number.

    Raises InputError that names the key or row it cannot use.
    """
    request = _object(body, "query, prompts and labels, a list each; or slime's prompt, response and label")
    if "query" in request or "response" not in request:
        return Asked(rows_of(body, protocol), lambda rewards, scores, logs: _lists(rewards, scores, logs))
    written = request["response"]
    if not isinstance(written, str):
        raise InputError(f"'response' is {kind(written)}, not text")
    row = protocol.row(0, request.get("prompt") or "", written, request.get("label"))
    return Asked([row], lambda rewards, scores, logs: rewards[0])


def read_verify(body: bytes, protocol: OpenRLHFProtocol) -> Asked:
    """NeMo-Gym's `{responses_create_params, response, **row}`, for the same with `reward`.

    The user stands in the row, or in its `verifier_metadata`. Raises InputError that names the key it cannot use.
    """
    request = _object(body, "responses_create_params, response and the row")
    for key in ("responses_create_params", "response"):
        if not isinstance(request.get(key), dict):
            raise InputError(f"{key!r} is {kind(request.get(key))}, not an object; send NeMo-Gym's /verify body")
    asked, response = request["responses_create_params"], request["response"]
    inner = request.get("verifier_metadata")
    row = {**(inner if isinstance(inner, dict) else {}), **request}
    label = {key: row[key] for key in (protocol.user_key, "user_id") if row.get(key) is not None}
    if protocol.needs_user and not label:
        raise InputError(f"the row has no {protocol.user_key}; add it to NeMo-Gym's data set, or to verifier_metadata")
    system = [{"role": "system", "content": asked["instructions"]}] if asked.get("instructions") else []
    given = asked.get("input", [])
    prompt = [*system, *([{"role": "user", "content": given}] if isinstance(given, str) else turns(given, "input"))]
    said = turns(response.get("output", []), "output")
    pairs = Pairs.of([prompt], [said or ""], protocol.thought_tags)
    if pairs.odd:
        raise InputError(pairs.odd[0])
    seen = bool(pairs.completions)
    user = protocol.row(0, "", "", label).user_id
    rows = [Row(pairs.prompts[0] if seen else prompt, pairs.completions[0] if seen else "", user)]
    return Asked(rows, lambda rewards, scores, logs: {**request, "reward": rewards[0]})


READERS: dict[str, Callable[[bytes, OpenRLHFProtocol], Asked]] = {
    "/get_reward": read_get_reward,
    "/verify": read_verify,
}
"""Paths whose rows the model rewards."""


def seed_session(request: Mapping[str, Any]) -> dict[str, Any]:
    """A session has no state; an environment server's is called by the name it chose."""
    name = "resources_session_id"
    return {name: request[name]} if name in request else {}


def aggregate_metrics(request: Mapping[str, Any]) -> dict[str, Any]:
    """Mean, median, least, greatest and standard deviation of the rewards of a task and of all, by NeMo-Gym's names.

    Rows whose sample is masked do not count. Raises InputError where a response has no reward.
    """
    given = request.get("verify_responses")
    if not isinstance(given, list) or not all(isinstance(row, dict) for row in given):
        raise InputError(f"'verify_responses' is {kind(given)}; send a list of what /verify answered")
    tasks: dict[Any, list[float]] = {}
    for i, row in enumerate(given):
        if row.get("mask_sample") is True:
            continue
        reward = row.get("reward")
        if type(reward) not in (int, float):
            raise InputError(f"verify_responses[{i}]: reward is {kind(reward)}, no number")
        tasks.setdefault(str(row.get(TASK, 0)), []).append(float(reward))
    every = [reward for rewards in tasks.values() for reward in rewards]
    total = _summary(every)
    groups = [{TASK: int(task) if task.isdecimal() else task, **_summary(rewards)} for task, rewards in tasks.items()]
    headline = {name: total[name] for name in ("mean/reward",) if name in total}
    return {"group_level_metrics": groups, "agent_metrics": total, "key_metrics": headline}


PLAIN: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "/seed_session": seed_session,
    "/close_session": seed_session,
    "/aggregate_metrics": aggregate_metrics,
}
"""Paths that are answered without the model."""


def read_plain(path: str, body: bytes) -> dict[str, Any]:
    """The answer of a path of `PLAIN`. Raises InputError for a body that is no JSON object."""
    return PLAIN[path](_object(body or b"{}", "NeMo-Gym's body"))


def turns(items: Any, name: str) -> list[dict[str, Any]]:
    """Items of OpenAI's Responses as chat messages: calls of tools and their answers without words, thoughts left out.

    items    of a response's output, or of a request's input
    name     what they are called in messages

    Raises InputError for what is no list of objects.
    """
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InputError(f"{name!r} is {kind(items)}, not a list of items; send those of OpenAI's Responses")
    made = []
    for item in items:
        what = item.get("type", "message")
        if what == "message":
            made.append({"role": item.get("role", "assistant"), "content": _refused(item.get("content"))})
        elif what.endswith("_output"):
            made.append({"role": "tool", "content": ""})
        elif what != "reasoning":
            made.append({"role": "assistant", "content": None, "tool_calls": [item]})
    return made


def _refused(content: Any) -> Any:
    """Content whose refusals are text, as the person reads them."""
    if not isinstance(content, list):
        return content
    return [
        {"type": "text", "text": part["refusal"]} if isinstance(part, dict) and "refusal" in part else part
        for part in content
    ]


def _object(body: bytes, wanted: str) -> dict[str, Any]:
    request = strict_json(body, "the body")
    if not isinstance(request, dict):
        raise InputError(f"the body is {kind(request)}, not a JSON object; send {wanted}")
    return request


def _lists(rewards: Sequence[float], scores: Sequence[float], logs: Mapping[str, Any]) -> dict[str, Any]:
    return {"rewards": list(rewards), "scores": list(scores), "extra_logs": dict(logs)}


def _summary(rewards: list[float]) -> dict[str, float]:
    if not rewards:
        return {}
    found = {"mean": fmean(rewards), "max": max(rewards), "min": min(rewards), "median": median(rewards)}
    found["std"] = stdev(rewards) if len(rewards) > 1 else 0.0
    return {f"{name}/reward": value for name, value in found.items()}
