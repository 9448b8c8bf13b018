"""What a reward function costs beyond its encoder: 64 completions, each for its user or by a rule for 10,000 people."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks.rows import Row
from plurality.models import PAL, VPL, LowRank
from plurality.models.family import Spec
from plurality.reward.fitted import Trace
from plurality.reward.posterior import Posterior, Prior
from plurality.reward.reward_model import RewardModel
from plurality.rl.reward_function import RewardFunction

BATCH, WIDTH, USERS, REFERENCES, REPEATS = 64, 384, 10_000, 32, 200


class Ready:
    """An encoder that has its answer ready, so that only what is around it takes time."""

    dim, fingerprint = WIDTH, "ready"

    def __init__(self) -> None:
        self.vectors = np.random.default_rng(0).standard_normal((BATCH, WIDTH), dtype=np.float32)

    def describe(self) -> dict[str, Any]:
        return {"kind": "ready", "name": "ready", "template": "conversation"}

    def encode(self, prompts: Sequence[Any], completions: Sequence[str], progress: bool = False) -> np.ndarray:
        return self.vectors[: len(completions)]

    def encode_prompts(self, prompts: Sequence[Any], progress: bool = False) -> np.ndarray:
        return self.vectors[: len(prompts)]

    def save(self, folder: Any) -> None:
        raise NotImplementedError


@dataclass(frozen=True)
class Mean:
    """The simplest rule: what it takes is the matrix product and little else."""

    name: str = "mean"

    def __call__(self, utilities: np.ndarray, weights: np.ndarray, groups: np.ndarray) -> np.ndarray:
        return weights @ utilities / weights.sum()


def run() -> Iterator[Row]:
    """Medians of 200 calls on one thread, conversational prompts as TRL hands them over, eight completions a prompt."""
    text = "a sentence of some length that a person might have written, " * 8
    chats = [
        [{"role": "system", "content": text}, {"role": "user", "content": f"{text}{i // 8}"}] for i in range(BATCH)
    ]
    said = [[{"role": "assistant", "content": f"{text}{i}"}] for i in range(BATCH)]
    reference = np.random.default_rng(1).standard_normal((REFERENCES, WIDTH), dtype=np.float32)
    users = {"user_id": [f"user {i // 8}" for i in range(BATCH)], "topic": ["x"] * BATCH}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield from _rows(chats, said, users, reference)
    finally:
        torch.set_num_threads(threads)


def _rows(chats: list, said: list, users: dict[str, Any], reference: np.ndarray) -> Iterator[Row]:
    for spec in (LowRank(rank=8, weights="deviations"), PAL(n_prototypes=8), VPL()):
        model = _people(spec)
        own = _milliseconds(RewardFunction(model), chats, said, users)
        yield Row(f"{spec.name}, 64 × own user", f"{own:.2f} ms", "< 1 ms", own < 1)
        rule = _milliseconds(RewardFunction(model, rule=Mean()), chats, said, users)
        yield Row(f"{spec.name}, 64 × 10,000 users, rule", f"{rule:.2f} ms", "< 5 ms", rule < 5)
    model = _people(LowRank(rank=8, weights="deviations"))
    for how in ("win", "z"):
        f = RewardFunction(model, normalise=how, reference=reference)
        yield Row(f"low_rank, own user, {how} against 32", f"{_milliseconds(f, chats, said, users):.2f} ms")
        f = RewardFunction(model, normalise=how, reference=reference, rule=Mean())
        yield Row(f"low_rank, 10,000 users, {how} against 32", f"{_milliseconds(f, chats, said, users, 20):.1f} ms")


def _people(spec: Spec) -> RewardModel:
    """A model of 10,000 people with random codes, as fast as a fitted one."""
    head = spec.head(WIDTH, torch.Generator().manual_seed(0)).requires_grad_(False).eval()
    codes = torch.randn(USERS, head.n_codes, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    eye = torch.eye(head.n_codes, dtype=torch.float64)
    return RewardModel(
        spec=spec,
        head=head,
        user_ids=tuple(f"user {i}" for i in range(USERS)),
        posterior=Posterior(codes, eye.expand(USERS, -1, -1)),
        prior=Prior(codes.mean(0), eye),
        n_comparisons=np.ones(USERS, dtype=np.int64),
        trace=Trace([]),
        encoder=Ready(),
    )


def _milliseconds(
    f: RewardFunction, prompts: list, said: list, columns: dict[str, Any], repeats: int = REPEATS
) -> float:
    times = []
    for _ in range(repeats):
        start = perf_counter()
        f(prompts=prompts, completions=said, **columns)
        times.append(perf_counter() - start)
    return 1000 * median(times)
