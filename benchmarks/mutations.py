"""Ways in which a folder of files goes wrong on its way, at random and by a seed."""

import json
import os
from pathlib import Path

import numpy as np
import polars as pl


def files_of(folder: Path) -> list[Path]:
    """The files of a folder, in order, but for a card, which people may edit."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "README.md")


def mutate(folder: Path, other: Path, rng: np.random.Generator) -> str:
    """Change one file of the folder, or put one of `other`, a folder of the same kind, in its place; says what."""
    path = files_of(folder)[rng.integers(len(files_of(folder)))]
    content = bytearray(path.read_bytes())
    kind = ["flip", "flip", "flip", "cut", "swap", "mix", "rows", "number"][rng.integers(8)]
    if kind == "cut":
        del content[int(rng.integers(len(content))) :]
    elif kind == "swap":
        content = bytearray((other / path.relative_to(folder)).read_bytes())
    elif kind == "mix":  # a block that was written elsewhere
        size = int(rng.integers(1, 1 + min(64, len(content) // 2)))
        a, b = (int(n) for n in rng.integers(len(content) - size, size=2))
        content[a : a + size] = content[b : b + size]
    elif kind == "rows" and path.suffix == ".parquet":
        frame = pl.read_parquet(path)
        frame[rng.permutation(frame.height)].write_parquet(path)
        return f"{path.name}: {kind}"
    elif kind == "number" and path.suffix == ".json":
        record = json.loads(content)
        name = sorted(record)[rng.integers(len(record))]
        record[name] = [None, -1, 1 << 70, [], "x", {}, 1.5][rng.integers(7)]
        content = bytearray(json.dumps(record).encode())
    else:
        kind = "flip"
        content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)
    os.utime(path)
    return f"{path.name}: {kind}"
