"""Polis: statements of public consultations, agreed with preferred to disagreed with, by the same participant.

Of a consultation's exported folder the tables `votes` and `comments` are read. Source: the files of the repository.
"""

import warnings
from collections import Counter
from dataclasses import replace
from pathlib import Path

import polars as pl

from plurality.datasets._tools import external
from plurality.datasets._tools.about import folder_of, open_table
from plurality.datasets._tools.frames import About, Checked, Frames, sieve, some
from plurality.datasets._tools.ratings import RatingWeights, rated_pairs
from plurality.datasets._tools.schema import ID, NUMBER, TEXT, raise_at_first, require_given
from plurality.datasets._tools.usable import blank
from plurality.errors import InputError, InputWarning

ABOUT = About(
    hub=None,
    licence="CC BY 4.0 (compdemocracy/openData)",
    files=("votes.csv", "comments.csv", *external.FILES),
    checked=Checked.FILE,
)

AGREE, PASS = 1.0, 0.0
VOTES = {"comment-id": ID, "voter-id": ID, "vote": NUMBER}


def frames(
    source: str | Path,
    *,
    conversation: str | None = None,
    block: int = 8,
    weights: RatingWeights = "rating",
    seed: int = 0,
) -> Frames:
    """Comparisons of all consultations of a folder, or of one `conversation`, which is the prompt: its folder's name.

    A person's last vote on a statement counts, passes are left out. Each statement meets `block` − 1 others of the same
    person, drawn by `seed` (see `ratings.rated_pairs`), and two that were both agreed with say nothing. Statements
    recur: split by item. A folder of comparisons.parquet and users.parquet, a conversion, is read as it stands.
    Raises InputError for bad files and for a conversation that is not there.
    """
    folder = folder_of(source, ABOUT.files)
    if external.is_there(folder):
        return _of(external.external("polis", folder), conversation, source)
    places = [folder] if (folder / "votes.csv").is_file() else sorted(p.parent for p in folder.rglob("votes.csv"))
    wanted = [place for place in places if conversation in (None, place.resolve().name)]
    if not wanted:
        there = ", ".join(place.name for place in places[:10]) or "no votes.csv"
        raise InputError(
            f"{source}: conversation {conversation!r} is not there; name one of {there}"
            if places
            else f"{source} holds {there}; give the folder of a consultation, or a folder of such"
        )
    parts, left_out = [], Counter[str]()
    for place in wanted:
        pairs, dropped = _consultation(place, block, weights, seed)
        parts.append(pairs)
        left_out.update(dropped)
    made = pl.concat(parts)
    users = made.select("user_id", conversation="prompt").unique(maintain_order=True)
    return some(Frames("polis", made, users, left_out), source)


def _of(made: Frames, conversation: str | None, source: str | Path) -> Frames:
    """The comparisons of one conversation, or all."""
    if conversation is None:
        return made
    users = made.users.filter(pl.col("conversation") == conversation)
    rows = made.comparisons.lazy().join(users.lazy().select("user_id"), on="user_id", how="semi", maintain_order="left")
    return some(replace(made, comparisons=rows, users=users), f"{source}: conversation {conversation!r}")


def _consultation(place: Path, block: int, weights: RatingWeights, seed: int) -> tuple[pl.DataFrame, dict[str, int]]:
    name = place.resolve().name
    optional = {"comment-body": TEXT, "agrees": NUMBER}
    comments = open_table(place / "comments.csv", "comments", {"comment-id": ID}, optional=optional)
    table = open_table(place / "votes.csv", "votes", VOTES, optional={"timestamp": NUMBER})
    require_given(comments.frame, ["comment-body"], comments.place)
    twice = ~pl.col("comment-id").is_first_distinct()
    raise_at_first(comments.frame, twice, comments.place, "comment-id is that of an earlier row", "keep one of them")
    vote = pl.col("vote")
    raise_at_first(table.frame, ~vote.is_in([-1.0, 0.0, 1.0]), table.place, "vote is none of -1, 0, 1", "correct it")
    said = comments.frame.select("comment-id", text="comment-body", agrees="agrees")
    votes = table.frame.join(said, on="comment-id", how="left", maintain_order="left").sort(
        "timestamp", maintain_order=True, nulls_last=False
    )
    last = pl.struct("voter-id", "comment-id").is_last_distinct()
    kept, dropped = sieve(
        votes,
        {
            "votes on statements without a text": blank("text"),
            "votes that the person changed later": ~last,
            "passes": vote == PASS,
        },
    )
    agree = _agree(comments.frame, kept, place)
    who = pl.format("{}:{}", pl.lit(name), "voter-id")
    rows = kept.select("text", user_id=who, item_id="comment-id", score=vote * agree).collect(engine="streaming")
    texts = rows.group_by("item_id", maintain_order=True).agg(pl.col("text").first())
    pairs, more = rated_pairs(rows, texts, span=2.0, block=block, ties="drop", weights=weights, seed=seed)
    more = {"pairs of two agreed or two disagreed with": more.pop("ties", 0)} | more
    made = pairs.with_columns(prompt=pl.lit(name)).drop("strength", "label").collect()
    return made, {**comments.dropped, **table.dropped, **dropped, **{k: n for k, n in more.items() if n}}


def _agree(comments: pl.LazyFrame, votes: pl.LazyFrame, place: Path) -> float:
    """1, or −1 where the statements' own counts say that an export writes agreement as −1."""
    cast = votes.group_by("comment-id").agg(up=(pl.col("vote") == 1).sum(), down=(pl.col("vote") == -1).sum())
    off = [(pl.col("agrees") - pl.col(side).fill_null(0)).abs().sum().alias(side) for side in ("up", "down")]
    up, down = comments.join(cast, on="comment-id", how="inner").select(off).collect().row(0)
    if up <= down:
        return AGREE
    told = f"{place}: the counts in comments.csv say that a vote of -1 is agreement; votes are read so"
    warnings.warn(InputWarning(told), stacklevel=4)
    return -AGREE
