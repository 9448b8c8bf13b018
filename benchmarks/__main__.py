"""`python -m benchmarks [name ...]`: what the project promises, measured; one table at the end.

planted   accuracy on planted PAL populations against the truth, in CPU seconds
scale     200,000 comparisons, 15,000 users, 250,000 items × 768: time and memory to fit, time to adapt 10,000 users
audits    1,000,000 predictions, 20,000 users, 6 attributes and all pairs, 1,000 draws: time and memory
start     time of `import plurality`, and that it brings in no torch
families  every family with default settings on seven planted populations, seen and unseen users
rankings  people who rank ten items, on which they differ beside the embedding: what codes lose by it (minutes)
wide      tastes in 200 of 4,096 dimensions, and in 2,048 that are rotated, some then huge: families (minutes)
base      a strong reward of one's own and 10 comparisons a person, 4,096 dimensions: on it, without it, it alone
elicitation  questions needed by each way of asking, on planted people (minutes)
peers     the same arrays through scikit-learn, choix and statsmodels: CPU seconds as ratios, accuracy beside them
rewards   what a reward function adds to its encoder's pass: 64 completions for their users, and by a rule for 10,000
server    20,000 requests by 64 clients to the reward server: its delay beyond the encoder, answers lost or mixed
learning_server  20,000 rewards and answers interleaved, of a server that learns: delay, answers lost or mixed
published a generated table of the size of Pick-a-Pic v2: memory and time to load
loading   UltraFeedback at its published size, generated: memory and time to load
robustness  files changed, writers killed, folders of others: how much of it is a clear line (--size: trials a row)
real      polis and popquorn under ../shared/data, where they are there: by item, and by row to show the leak
"""

import os
import sys
from argparse import ArgumentParser

os.environ.setdefault("OMP_NUM_THREADS", "2")

from rich.console import Console
from rich.table import Table

from benchmarks import (
    audits,
    base,
    elicitation,
    families,
    learning_server,
    loading,
    peers,
    planted,
    published,
    rankings,
    real,
    rewards,
    robustness,
    scale,
    server,
    start,
    wide,
)

BENCHMARKS = {"start": start.run, "planted": planted.run, "scale": scale.run, "audits": audits.run}
BENCHMARKS |= {"rewards": rewards.run, "server": server.run, "learning_server": learning_server.run}
BENCHMARKS |= {"families": families.run, "elicitation": elicitation.run}
BENCHMARKS |= {"robustness": robustness.run, "published": published.run, "loading": loading.run, "real": real.run}
BENCHMARKS |= {"rankings": rankings.run, "wide": wide.run, "base": base.run, "peers": peers.run}


def main(arguments: list[str]) -> int:
    """Run the named benchmarks, all by default, and print what was promised beside what was measured."""
    parser = ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", metavar="name", help=f"{', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--size", type=int, default=robustness.SIZE, help="trials a row of robustness")
    asked = parser.parse_args(arguments)
    names = asked.names
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    table = Table("benchmark", "case", "measured", "promised", "met")
    for name in names or list(BENCHMARKS):
        print(f"{name} …", file=sys.stderr)
        for row in robustness.run(asked.size) if name == "robustness" else BENCHMARKS[name]():
            table.add_row(name, row.case, row.measured, row.promised, {True: "yes", False: "NO", None: "–"}[row.met])
    Console(width=110).print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
