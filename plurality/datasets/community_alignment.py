"""Community Alignment: people of five countries choose among four replies, in up to four turns and five languages."""

from pathlib import Path
from typing import Literal, get_args

import polars as pl

from plurality.datasets._tools.about import open_table
from plurality.datasets._tools.conversion import Weights, listed_pairs, one_of
from plurality.datasets._tools.frames import About, Checked, Frames, sieve, some
from plurality.datasets._tools.schema import FLAG, ID, TEXT, raise_at_first

ABOUT = About(
    hub="facebook/community-alignment-dataset",
    licence="CC-BY-4.0 (second-hand; check the hub's card)",
    files=("community_alignment.csv", "full_*.csv", "filtered_*.csv"),
    checked=Checked.READERS,
)
Subset = Literal["all", "balanced", "balanced_10"]
Turns = Literal["all", "first"]
Group = Literal["opening", "conversation", "turn"]

TURNS = ("first", "second", "third", "fourth")
LETTERS = ("a", "b", "c", "d")
PEOPLE = ("age", "gender", "education_level", "political", "ethnicity", "country")
END = "<|end_of_text|>"  # left by the model at the end of some replies
COLUMNS = {"conversation_id": ID, "annotator_id": ID, "first_turn_prompt": TEXT}
OPTIONAL = {
    f"{turn}_turn_{part}": TEXT
    for turn in TURNS
    for part in ("prompt", "preferred_response", *(f"response_{letter}" for letter in LETTERS))
}
OPTIONAL |= {f"annotator_{name}": TEXT for name in PEOPLE} | {"assigned_lang": TEXT, "wave": ID}
OPTIONAL |= dict.fromkeys(("is_pregenerated_first_prompt", "in_balanced_subset", "in_balanced_subset_10"), FLAG)


def frames(
    source: str | Path,
    *,
    subset: Subset = "all",
    language: str | None = None,
    turns: Turns = "all",
    group: Group = "opening",
    weights: Weights = "answer",
) -> Frames:
    """The preferred reply of every turn with each of the others, under the conversation as it went on.

    `language` keeps one assigned language (en, fr, it, hi, pt). `group_id` is what a split keeps together: all
    conversations with one opening prompt (the pre-generated ones are shared by many people), the conversation,
    or the turn alone, whose siblings alone it then keeps. Turns with two candidates of the same text are left
    out. A person's contradictory answers about themselves become null. Raises InputError for bad files.
    """
    for name, value, choices in (("subset", subset, Subset), ("turns", turns, Turns), ("group", group, Group)):
        one_of(name, value, get_args(choices))
    table = open_table(source, ("community_alignment", *ABOUT.files[1:]), COLUMNS, optional=OPTIONAL)
    rows, dropped = sieve(
        table.frame,
        {
            "conversations outside the subset": ~_flag(subset),
            "conversations in other languages": pl.lit(language is not None)
            & pl.col("assigned_lang").ne_missing(language),
        },
    )
    for turn in TURNS:
        preferred = pl.col(f"{turn}_turn_preferred_response")
        raise_at_first(
            table.frame,
            ~preferred.is_in([f"response_{letter}" for letter in LETTERS]),
            table.place,
            f"{turn}_turn_preferred_response is none of response_a to response_d",
            "correct it, or leave it empty where nothing was preferred",
        )
    said = rows.select(
        "conversation_id",
        "annotator_id",
        language="assigned_lang",
        pregenerated="is_pregenerated_first_prompt",
        opening="first_turn_prompt",
        turns=pl.concat_list([_turn(place) for place in range(len(TURNS) if turns == "all" else 1)]),
    )
    said = said.explode("turns", empty_as_null=True, keep_nulls=True).unnest("turns")
    said = said.filter(pl.col("asked").is_not_null() | pl.col("choice").is_not_null())
    answer = pl.col("responses").list
    said, more = sieve(
        said,
        {
            "turns without a prompt": ~pl.col("asked").str.contains(r"\S").fill_null(False),
            "turns without a preference": pl.col("choice").is_null(),
            "turns whose preferred reply is missing": answer.get(pl.col("choice"), null_on_oob=True).is_null(),
            "turns with equal candidates": answer.drop_nulls().list.n_unique() < answer.drop_nulls().list.len(),
            "turns after one without a preference": pl.col("broken"),
        },
    )
    pairs = listed_pairs(said, responses="responses", choice="choice", weights=weights)
    pairs = pairs.rename({"annotator_id": "user_id"})
    pairs = _grouped(pairs, table.frame, group).select(
        "user_id",
        "prompt",
        "chosen",
        "rejected",
        "weight",
        "group_id",
        "conversation_id",
        "turn",
        "language",
        "pregenerated",
    )
    users = _users(table.frame).join(pairs.select("user_id").unique(), on="user_id", how="semi")
    return some(
        Frames("community_alignment", pairs, users.collect(engine="streaming"), {**table.dropped, **dropped, **more}),
        source,
    )


def _flag(subset: Subset) -> pl.Expr:
    return (
        pl.lit(True)
        if subset == "all"
        else pl.col(f"in_{subset.replace('balanced', 'balanced_subset')}").fill_null(False)
    )


def _text(turn: str, letter: str) -> pl.Expr:
    """A reply without the model's end mark; null where nothing is left."""
    text = pl.col(f"{turn}_turn_response_{letter}").str.strip_suffix(END).str.strip_chars_end()
    return pl.when(text.str.contains(r"\S")).then(text)


def _chosen(turn: str) -> pl.Expr:
    preferred = pl.col(f"{turn}_turn_preferred_response")
    return pl.coalesce(pl.when(preferred == f"response_{letter}").then(_text(turn, letter)) for letter in LETTERS)


def _turn(place: int) -> pl.Expr:
    """One turn as a struct: the conversation so far as `prompt`, the candidates, and the place of the preferred."""
    turn = TURNS[place]
    messages = []
    for earlier in TURNS[:place]:
        messages += [_message("user", pl.col(f"{earlier}_turn_prompt")), _message("assistant", _chosen(earlier))]
    broken = [pl.col(f"{earlier}_turn_prompt").is_null() | _chosen(earlier).is_null() for earlier in TURNS[:place]]
    letters = pl.col(f"{turn}_turn_preferred_response").str.tail(1)
    return pl.struct(
        turn=pl.lit(place + 1),
        asked=pl.col(f"{turn}_turn_prompt"),
        prompt=pl.concat_list([*messages, _message("user", pl.col(f"{turn}_turn_prompt"))]),
        responses=pl.concat_list([_text(turn, letter) for letter in LETTERS]),
        choice=letters.replace_strict(list(LETTERS), range(len(LETTERS)), default=None, return_dtype=pl.Int64),
        broken=pl.any_horizontal(broken) if broken else pl.lit(False),
    )


def _message(role: str, content: pl.Expr) -> pl.Expr:
    return pl.struct(role=pl.lit(role), content=content)


def _grouped(pairs: pl.LazyFrame, table: pl.LazyFrame, group: Group) -> pl.LazyFrame:
    if group == "turn":
        return pairs.with_columns(group_id=pl.format("{}/{}", "conversation_id", "turn"))
    if group == "conversation":
        return pairs.with_columns(group_id="conversation_id")
    openings = table.group_by(opening="first_turn_prompt").agg(group_id=pl.col("conversation_id").min())
    return pairs.join(openings, on="opening", how="left", maintain_order="left")


def _users(table: pl.LazyFrame) -> pl.LazyFrame:
    answers = [pl.col(f"annotator_{name}").drop_nulls() for name in PEOPLE]
    agreed = [pl.when(a.n_unique() == 1).then(a.first()).alias(n) for a, n in zip(answers, PEOPLE, strict=True)]
    return table.group_by(user_id="annotator_id").agg(agreed).sort("user_id")
