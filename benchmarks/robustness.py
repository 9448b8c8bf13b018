"""What goes wrong on the way, tried at random: is it a clear line, or does it go wrong in silence?

    python -m benchmarks robustness --size 200

A row is a function that takes a folder of its own and a number of trials and yields an `Outcome` for each; it is in
`ROWS` by the name it has in the table. "same" is a trial that changed nothing that anybody reads.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import polars as pl
from rich.console import Console
from rich.table import Table

import plurality
from benchmarks.disclosure import solved
from benchmarks.mutations import files_of, mutate
from benchmarks.rows import Row
from plurality.datasets.simulated import text as planted_text
from plurality.encoders import LsaSpec
from plurality.errors import InputError, InputWarning
from plurality.models import BradleyTerry

Outcome = Literal["clear line", "same", "silent", "traceback", "half-written", "leaked"]
BAD: tuple[Outcome, ...] = ("silent", "traceback", "half-written", "leaked")
SIZE = 40
TEXTS = ["tea is green", "rain, and 3 umbrellas", "bread with jam"]
SECRET = "the key of somebody's house"


def run(size: int = SIZE) -> Iterator[Row]:
    """Every row, `size` trials each; prints the table of outcomes and reports a line a row."""
    table = Table("what is tried", "tried", *get_args(Outcome), title="robustness")
    for name, row in ROWS.items():
        with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)
            counts = Counter(row(Path(place), size))
        table.add_row(name, str(counts.total()), *(str(counts[outcome]) for outcome in get_args(Outcome)))
        bad = sum(counts[outcome] for outcome in BAD)
        yield Row(name, f"{bad} of {counts.total()} not as promised", "0", bad == 0)
    Console(width=110).print(table)


def judged(trial: Callable[[], bool]) -> Outcome:
    """The outcome of a trial that returns whether all is as it was; an InputError of one line is a clear one."""
    try:
        return "same" if trial() else "silent"
    except InputError as error:
        return "clear line" if "\n" not in str(error) else "traceback"
    except Exception:
        traceback.print_exc()
        return "traceback"


def _saved(place: Path) -> None:
    """this/ and other/, each with a store and a reward of other people and another encoder."""
    for seed, name in enumerate(("this", "other")):
        people = planted_text.simulate(n_users=10, n_comparisons=8, n_prompts=10, seed=seed)
        data = plurality.read(people.comparisons, users=people.users, encoder=LsaSpec(dim=6))
        data.save(place / name / "store")
        BradleyTerry(temperature=True, decay=3.0).fit(data).save_pretrained(place / name / "reward")


def _numbers(folder: Path) -> list[np.ndarray]:
    """All that a folder says, as arrays whose rows know their users."""
    if folder.name == "store":
        data = plurality.Comparisons.load(folder)
        assert data.encoder is not None
        who = data.users["user_id"].to_numpy()[data.user]
        arrays = [data.items, data.first, data.second, who, data.label, data.weight, data.group, data.prompt]
        return [*arrays, data.encoder.encode(TEXTS, TEXTS)]
    model = plurality.load(folder)
    items, users = model.text_encoder().encode(TEXTS, TEXTS), sorted(model.user_ids)
    counts = model.users.sort("user_id")["n_comparisons"].to_numpy()
    return [items, model.utility(items, users), np.array(users), counts]


def mutations(kind: str) -> Callable[[Path, int], Iterator[Outcome]]:
    """Bits flipped, files cut, swapped and reordered, in a saved folder of this kind, which is then used."""

    def row(place: Path, size: int) -> Iterator[Outcome]:
        _saved(place)
        good, rng = _numbers(place / "this" / kind), np.random.default_rng(0)
        for number in range(size):
            folder = shutil.copytree(place / "this" / kind, place / str(number) / kind)
            mutate(folder, place / "other" / kind, rng)

            def trial(folder: Path = folder) -> bool:
                return all(np.array_equal(a, b) for a, b in zip(good, _numbers(folder), strict=True))

            yield judged(trial)
            shutil.rmtree(folder)

    return row


def strange_files(place: Path, size: int) -> Iterator[Outcome]:
    """A file of a received folder is a link to a secret, or a pipe; the folder is used and saved again."""
    _saved(place)
    (place / "secret").write_text(SECRET)
    for number in range(size):
        kind = ("store", "reward")[number % 2]
        folder = shutil.copytree(place / "this" / kind, place / str(number) / kind)
        names = [path.relative_to(folder) for path in files_of(folder)]
        path = folder / [*names, Path("encoder/notes.txt"), Path("encoder/more")][(number // 2) % (len(names) + 2)]
        path.unlink(missing_ok=True)
        path.symlink_to(place / "secret") if (number // 4) % 2 else os.mkfifo(path)

        def trial(folder: Path = folder, kind: str = kind) -> bool:
            _numbers(folder)
            again = folder.parent / "again"
            if kind == "store":
                plurality.Comparisons.load(folder).save(again)
            else:
                plurality.load(folder).save_pretrained(again)
            return True

        outcome = judged(trial)
        copies = (folder.parent / "again").rglob("*")
        leaked = any(SECRET.encode() in path.read_bytes() for path in copies if path.is_file())
        yield "leaked" if leaked else outcome
        shutil.rmtree(folder.parent)


def foreign_folders(place: Path, size: int) -> Iterator[Outcome]:
    """A file of somebody's own lies where a model or store is to be written; "silent" is that it is gone."""
    _saved(place)
    model, data = plurality.load(place / "this" / "reward"), plurality.Comparisons.load(place / "this" / "store")
    names = ["thesis.txt", "encoder/notes.txt", "meta.json", "config.json", "head.safetensors", "audit.json", ".git/x"]
    for number in range(size):
        kind, name = ("store", "reward")[number % 2], names[(number // 2) % len(names)]
        target = place / "out" / kind
        if number % 3:  # beside what we wrote, or alone
            shutil.copytree(place / "this" / kind, target)
        ours = (target / name).exists()
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if not ours:
            (target / name).write_text('{"schema_version": 1, "mine": true}')

        def trial(target: Path = target, kind: str = kind, name: str = name, ours: bool = ours) -> bool:
            data.save(target) if kind == "store" else model.save_pretrained(target)
            return ours or (target / name).exists()

        yield judged(trial)
        shutil.rmtree(place / "out")


WRITER = """
import sys
from pathlib import Path
import plurality
from plurality import cli
from plurality.cli.signals import terminable
here = Path(sys.argv[1])
stores = [plurality.Comparisons.load(here / name / "store") for name in ("this", "other")]
models = [plurality.load(here / name / "reward") for name in ("this", "other")]
print("there", flush=True)
with terminable():
    for turn in range(100_000):
        stores[turn % 2].save(here / "out" / "store")
        models[turn % 2].save_pretrained(here / "out" / "reward")
"""


def kills(number: signal.Signals) -> Callable[[Path, int], Iterator[Outcome]]:
    """A writer of stores and models is ended at a random moment; what stands there is then read, and written again."""

    def row(place: Path, size: int) -> Iterator[Outcome]:
        _saved(place)
        either = {kind: [_numbers(place / name / kind) for name in ("this", "other")] for kind in ("store", "reward")}
        rng = np.random.default_rng(0)
        for _ in range(max(1, size // 4)):  # some seconds each
            writer = subprocess.Popen(
                [sys.executable, "-c", WRITER, place], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
            assert writer.stdout is not None
            writer.stdout.readline()
            time.sleep(0.2 + 0.2 * rng.random())
            writer.send_signal(number)
            writer.communicate()
            left = [path for path in (place / "out").iterdir() if path.name.startswith(".")]
            swept = number == signal.SIGTERM and left

            def trial() -> bool:
                for kind, numbers in either.items():
                    found = _numbers(place / "out" / kind)
                    if not any(all(map(np.array_equal, found, known)) for known in numbers):
                        return False
                plurality.Comparisons.load(place / "this" / "store").save(place / "out" / "store")
                plurality.load(place / "this" / "reward").save_pretrained(place / "out" / "reward")
                return True

            outcome = judged(trial)
            strays = sorted(path.name for path in (place / "out").iterdir()) != ["reward", "store"]
            yield "half-written" if swept or strays or outcome == "clear line" else outcome

    return row


def full_disk(place: Path, size: int) -> Iterator[Outcome]:
    """No file may grow beyond so many bytes, drawn at random, while a store and a model are written (POSIX only)."""
    import resource

    _saved(place)
    model, data = plurality.load(place / "this" / "reward"), plurality.Comparisons.load(place / "this" / "store")
    largest = max(path.stat().st_size for path in files_of(place / "this"))
    before, ignored = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    rng = np.random.default_rng(0)
    for number in range(size):
        target = place / "out" / ("store", "reward")[number % 2]

        def trial(target: Path = target) -> bool:
            data.save(target) if target.name == "store" else model.save_pretrained(target)
            return True

        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (int(rng.integers(2 * largest)), before[1]))
            outcome = judged(trial)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        found = list((place / "out").iterdir()) if (place / "out").exists() else []
        if outcome == "same" and [path.name for path in found] == [target.name]:
            _numbers(target)
        elif found:
            outcome = "half-written"
        yield outcome
        shutil.rmtree(place / "out", ignore_errors=True)
    signal.signal(signal.SIGXFSZ, ignored)


def fuzzed_tables(place: Path, size: int) -> Iterator[Outcome]:
    """Bytes of a table of comparisons are changed, and it is read; other text in it is no fault of the reader."""
    people = planted_text.simulate(n_users=5, n_comparisons=4, n_prompts=4, seed=0)
    people.comparisons.write_csv(place / "t.csv")
    people.comparisons.write_ndjson(place / "t.jsonl")
    people.comparisons.write_parquet(place / "t.parquet")
    rng = np.random.default_rng(0)
    for number in range(size):
        suffix = ("csv", "jsonl", "parquet")[number % 3]
        content = bytearray((place / f"t.{suffix}").read_bytes())
        for at in rng.integers(len(content), size=1 + number % 5):
            content[at] = rng.integers(256) if number % 2 else rng.integers(32, 127)
        (place / f"bad.{suffix}").write_bytes(content[: int(rng.integers(len(content))) if number % 4 == 0 else None])

        def trial(path: Path = place / f"bad.{suffix}") -> bool:
            data = plurality.read(path, encoder=LsaSpec(dim=2, min_df=1))
            return bool(np.isfinite(data.items).all() and np.isfinite(data.label).all())

        yield judged(trial)


def fuzzed_arrays(place: Path, size: int) -> Iterator[Outcome]:
    """Headers of .npy and .safetensors files are changed; what is read must still be all numbers of the file."""
    from safetensors.numpy import save_file

    values = np.random.default_rng(1).random((40, 3)).astype(np.float32)
    np.save(place / "e.npy", values)
    save_file({"embeddings": values}, place / "e.safetensors")
    rows = pl.DataFrame({"user_id": ["a", "b"], "first": [0, 2], "second": [1, 3], "label": [1.0, 0.0]})
    rng = np.random.default_rng(0)
    for number in range(size):
        suffix = ("npy", "safetensors")[number % 2]
        content = bytearray((place / f"e.{suffix}").read_bytes())
        head = len(content) - values.nbytes
        digits = [at for at in range(8, head) if 48 <= content[at] < 58]
        for at in rng.choice(digits, 2) if number % 3 else rng.integers(head, size=1):
            content[at] = rng.choice(bytearray(b"0123456789-" if number % 3 else b"-,[](){}\"' \x00\xff"))
        (place / f"bad.{suffix}").write_bytes(content)

        def trial(path: Path = place / f"bad.{suffix}") -> bool:
            found = plurality.read(rows, embeddings=path).items
            return bool(np.array_equal(np.sort(np.ravel(found)), np.sort(values.ravel())))

        yield judged(trial)


def audits_solved(_: Path, size: int) -> Iterator[Outcome]:
    """Audits of small towns: "leaked" where a number that is withheld is the only one to fit what is written."""
    for seed in range(size):
        yield "leaked" if solved(seed) else "same"


ROWS: dict[str, Callable[[Path, int], Iterator[Outcome]]] = {
    "a model changed": mutations("reward"),
    "a store changed": mutations("store"),
    "links and pipes": strange_files,
    "foreign folders": foreign_folders,
    "SIGTERM while writing": kills(signal.SIGTERM),
    "SIGKILL while writing": kills(signal.SIGKILL),
    "full disk": full_disk,
    "tables fuzzed": fuzzed_tables,
    "arrays fuzzed": fuzzed_arrays,
    "audits solved for what they withhold": audits_solved,
}
