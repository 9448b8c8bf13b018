"""Load a data set of many gigabytes' kind: UltraFeedback at its published size, written here with invented text."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.rows import Row
from plurality.datasets.ultrafeedback import ASPECTS, frames
from plurality.evaluation.cost import metered

PROMPTS = {"evol_instruct": 10_000, "false_qa": 2_339, "flan": 20_939}
PROMPTS |= {"sharegpt": 19_949, "truthful_qa": 811, "ultrachat": 9_929}
RESPONSE, RATIONALE, CRITIQUE = 1_300, 330, 900  # characters, so that the six files have about a gigabyte
LIMIT = 2e9


def run() -> Iterator[Row]:
    """All pairs of all replies by all aspects, the most there is to make of the set; then written to disk."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seed, (part, prompts) in enumerate(PROMPTS.items()):
            _write(folder / f"{part}.jsonl", prompts, seed)
        size = sum(path.stat().st_size for path in folder.iterdir())
        with metered() as cost:
            made = frames(folder, pairs="all", disagreement=False)
            made.write(folder / "out")
        count = made.count()
    case = f"ultrafeedback, {size / 1e9:.2f} GB, {count:,} comparisons"
    yield Row(f"{case}: memory", f"{cost.peak_mib * 2**20 / 1e9:.2f} GB", "< 2 GB", cost.peak_mib * 2**20 < LIMIT)
    yield Row(f"{case}: wall", f"{cost.seconds:.0f} s ({cost.cpu_seconds:.0f} CPU s)")


def _write(path: Path, prompts: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    text = "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz      é"), size=1_000_000))

    def some(length: int) -> str:
        start = int(rng.integers(len(text) - 2 * length))
        return text[start : start + length + int(rng.integers(length))].strip() + "."

    def completion() -> dict[str, object]:
        ratings = {a: {"Rating": str(rng.integers(1, 6)), "Rationale": some(2 * RATIONALE // 3)} for a in ASPECTS}
        scores = {"fine-grained_score": 4.0, "overall_score": 7.0, "model": "m", "principle": "honesty"}
        texts = {"response": some(2 * RESPONSE // 3), "critique": some(2 * CRITIQUE // 3)}
        return {"annotations": ratings, "custom_system_prompt": some(100), **scores, **texts}

    with path.open("w", encoding="utf-8") as file:
        for _ in range(prompts):
            row = {"source": path.stem, "instruction": some(200), "completions": [completion() for _ in range(4)]}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
