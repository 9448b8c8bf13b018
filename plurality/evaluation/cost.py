"""What a piece of work cost: wall and CPU seconds, and the most memory it held beyond what was held before."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psutil

__all__ = ["Cost", "metered"]


@dataclass
class Cost:
    """Filled in when the metered block ends; memory in MiB, file-backed pages (mapped embeddings) left out.

    seconds        wall-clock time
    cpu_seconds    time of all cores together
    peak_mib       largest memory of the process, MiB
    """

    seconds: float = float("nan")
    cpu_seconds: float = float("nan")
    peak_mib: float = float("nan")


@contextmanager
def metered(every: float = 0.02) -> Iterator[Cost]:
    """Yield a `Cost` that is filled in at the end; memory is sampled `every` seconds, so short peaks may be missed."""
    process, cost, done = psutil.Process(), Cost(), threading.Event()
    before = peak = _own_memory(process)

    def watch() -> None:
        nonlocal peak
        while not done.wait(every):
            peak = max(peak, _own_memory(process))

    watcher = threading.Thread(target=watch, daemon=True)
    wall, cpu = time.perf_counter(), time.process_time()
    watcher.start()
    try:
        yield cost
    finally:
        done.set()
        watcher.join()
        cost.seconds, cost.cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
        cost.peak_mib = (max(peak, _own_memory(process)) - before) / 2**20


def _own_memory(process: psutil.Process) -> int:
    info = process.memory_info()
    shared = getattr(info, "shared", 0)  # Linux tells file-backed pages apart, other systems do not
    return int(info.rss) - int(shared)
