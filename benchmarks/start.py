"""How long `import plurality` takes, in a process of its own, and what it drags in."""

import subprocess
import sys
from collections.abc import Iterator

from benchmarks.rows import Row

CODE = (
    "import time; t = time.perf_counter(); import plurality; t = time.perf_counter() - t; import sys; "
    "print(t, 'torch' in sys.modules)"
)


def run() -> Iterator[Row]:
    """Median of five."""
    seconds, torch = [], False
    for _ in range(5):
        out = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout.split()
        seconds.append(float(out[0]))
        torch |= out[1] == "True"
    median = sorted(seconds)[2]
    yield Row("import plurality", f"{median:.3f} s, torch {'in' if torch else 'not'} imported", "< .3 s, no torch",
              median < 0.3 and not torch)  # fmt: skip
