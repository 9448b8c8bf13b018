"""HH-RLHF: crowd workers prefer the more helpful, or the less harmful, of two replies in their conversation.

Four subsets of pairs of transcripts without user ids. Source: the hub's card; arXiv 2204.05862.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import polars as pl

from plurality.datasets._tools.about import folder_of, is_there, open_table, parts_there
from plurality.datasets._tools.conversion import one_of
from plurality.datasets._tools.frames import About, Checked, Frames, sieve, some
from plurality.datasets._tools.schema import TEXT
from plurality.errors import InputError

KINDS = {
    "helpful-base": "helpful",
    "helpful-online": "helpful",
    "helpful-rejection-sampled": "helpful",
    "harmless-base": "harmless",
}
ABOUT = About(
    hub="Anthropic/hh-rlhf",
    licence="MIT",
    files=tuple(f"{subset}/*.jsonl.gz" for subset in KINDS),
    checked=Checked.FILE,
)
Subsets = Literal["all", "helpful", "helpful-base", "helpful-online", "helpful-rejection-sampled", "harmless-base"]
Split = Literal["train", "test"]
Objectives = Literal["kind", "subset", "none"]
Users = Literal["one", "kind", "subset"]

LAST = r"(?s)^((?:.*\n\nHuman:)?.*?)\n\nAssistant:(.*)$"  # all that is said after the last human turn
ASSISTANT = r"\s*\n\nAssistant:\s*"
TURN = r"\n\n(Human|Assistant):"
HUMAN = r"\n\nHuman:"
CUT, MARK = "\x1e", "\x1f"  # separators of records and units: no text holds them, and what does loses them
DOUBLINGS = 4  # each joins two neighbours: up to 16 turns in a row
ONE_USER = "everybody"


def frames(
    source: str | Path,
    *,
    subsets: Subsets = "all",
    split: Split = "train",
    objectives: Objectives = "kind",
    users: Users = "one",
) -> Frames:
    """The reply that was preferred with the other, under the messages up to the human's last.

    `objectives` says what the column `objective` holds: what was asked for (helpful, harmless), the subset, or
    nothing. The set names no people: `users` gives all rows to one user, or makes one of each kind or subset.
    `source` may also be the folder of one subset, or one file in it. Raises InputError for bad files.
    """
    given = (("subsets", subsets, Subsets), ("split", split, Split), ("objectives", objectives, Objectives))
    for name, value, choices in (*given, ("users", users, Users)):
        one_of(name, value, get_args(choices))
    folder = folder_of(source, ABOUT.files)
    wanted = [name for name, kind in KINDS.items() if subsets in ("all", kind, name)]
    parts, without = [], Counter[str]()
    for subset, file in _files(folder, wanted, split).items():
        part = open_table(folder, file, {"chosen": TEXT, "rejected": TEXT})
        without.update(part.dropped)
        told = {"subset": pl.lit(subset), "kind": pl.lit(KINDS[subset]), "one": pl.lit(ONE_USER)}
        parts.append(part.frame.select("chosen", "rejected", **told))
    sides = [
        pl.col(side)
        .str.extract_groups(LAST)
        .struct.rename_fields([f"{side}_before", f"{side}_reply"])
        .struct.with_fields(pl.field(f"{side}_reply").str.replace_all(ASSISTANT, "\n\n"))
        for side in ("chosen", "rejected")
    ]
    table = pl.concat(parts).select("subset", "kind", "one", *sides).unnest("chosen", "rejected")
    replies = [pl.col(f"{side}_reply") for side in ("chosen", "rejected")]
    prompt = _messages(pl.col("chosen_before"))
    kept, dropped = sieve(
        table,
        {
            "rows without a reply of the assistant": pl.any_horizontal(reply.is_null() for reply in replies),
            "rows that end with the human": pl.any_horizontal(reply.str.contains(HUMAN) for reply in replies),
            "rows with a blank reply": pl.any_horizontal(~reply.str.contains(r"\S") for reply in replies),
            "rows that differ before the last reply": pl.col("chosen_before") != pl.col("rejected_before"),
            "rows without a prompt": ~pl.col("chosen_before").str.contains(HUMAN + r"\s*\S"),
            "rows of equal texts": replies[0].str.strip_chars() == replies[1].str.strip_chars(),
        },
    )
    made = kept.select(
        user_id=pl.col(users),
        prompt=prompt,
        chosen=replies[0].str.strip_chars(),
        rejected=replies[1].str.strip_chars(),
        **({} if objectives == "none" else {"objective": pl.col(objectives)}),
        subset="subset",
    )
    people = made.select("user_id").unique(maintain_order=True).collect(engine="streaming")
    return some(Frames("hh_rlhf", made, people, {**without, **dropped}), source)


def _files(folder: Path, wanted: Sequence[str], split: str) -> dict[str, str]:
    """The file of each subset that is there: of all in a folder, of the subset whose folder it is, or itself."""
    if folder.is_file():
        if folder.parent.name not in KINDS:
            raise InputError(f"{folder} is in no folder called {', '.join(KINDS)}; leave it in the one it came in")
        return {folder.parent.name: folder.name}
    files = {folder.name: "{}"} if folder.name in KINDS else {subset: f"{subset}/{{}}" for subset in wanted}
    asked, other = (
        {subset: file.format(part) for subset, file in files.items()}
        for part in (split, "test" if split == "train" else "train")
    )
    there = parts_there(folder, asked)
    if not is_there(folder, asked[there[0]]) and (found := [file for file in other.values() if is_there(folder, file)]):
        part = found[0].rpartition("/")[2]
        raise InputError(f"{folder} holds {', '.join(found)} and nothing of the split {split}; say split={part}")
    return {subset: asked[subset] for subset in there}


def _messages(transcript: pl.Expr) -> pl.Expr:
    """A transcript as a list of messages; what stands before its first turn is left out.

    Two turns of one speaker in a row are one message, since roles alternate wherever messages are rendered.
    """
    marked = transcript.str.replace_all(f"[{CUT}{MARK}]", "").str.replace_all(TURN, f"{CUT}${{1}}{MARK}")
    for speaker in ("Human", "Assistant"):
        one = f"({CUT}{speaker}{MARK}[^{CUT}]*?)\\s*{CUT}{speaker}{MARK}\\s*"
        for _ in range(DOUBLINGS):
            marked = marked.str.replace_all(one, "${1}\n\n")
    turns = marked.str.split(CUT).list.slice(1)
    who, said = (pl.element().str.splitn(MARK, 2).struct.field(f"field_{i}") for i in (0, 1))
    role = pl.when(who == "Human").then(pl.lit("user")).otherwise(pl.lit("assistant"))
    return turns.list.eval(pl.struct(role=role, content=said.str.strip_chars()))
