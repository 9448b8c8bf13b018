"""GlobalOpinionQA: how the people of many countries answered survey questions (Pew's Global Attitudes, World Values).

A row is a question with its options and, for each country, the share of every option. Source: public readers.
"""

import ast
from pathlib import Path

import polars as pl

from plurality.datasets._tools.about import Table, open_table
from plurality.datasets._tools.conversion import Weights, ordered_pairs, weigh
from plurality.datasets._tools.frames import About, Checked, Frames, sieve, some
from plurality.datasets._tools.schema import ID, TEXT, numbered
from plurality.datasets._tools.usable import Ties, unusable
from plurality.errors import InputError

ABOUT = About(
    hub="Anthropic/llm_global_opinions",
    licence="CC-BY-NC-SA-4.0 (second-hand; check the hub's card)",
    files=("global_opinions.csv",),
    checked=Checked.READERS,
)

COLUMNS = {"question": TEXT, "selections": TEXT, "options": TEXT}
NO_ANSWER = r"(?i)^\W*(dk|don.?t know|do not know|refused|no answer|no opinion|missing|not asked|unknown|other|none)\b"
SHARES = pl.List(pl.Struct({"country": pl.String, "option": pl.String, "share": pl.Float64}))


def frames(source: str | Path, *, ties: Ties = "drop", weights: Weights = "turn") -> Frames:
    """Two answers to a question, the one that more people of a country gave chosen; a user is a country.

    `label` is p / (p + q) of the two answers' shares: what somebody who gave one of them gave. Options that are no
    answer ("Don't know", "Refused", "Other") are left out. `objective` is the survey. Raises InputError for bad files.
    """
    table = open_table(source, ("global_opinions", "train"), COLUMNS, optional={"source": ID})
    long, dropped = sieve(
        _shares(table),
        {
            "shares of options that are no answer": pl.col("option").str.contains(NO_ANSWER),
            "shares of blank options": ~pl.col("option").str.contains(r"\S"),
        },
    )
    turn = ["row", "country"]
    pairs = ordered_pairs(long, [*turn, "question", "source"], response="option", score="share", carry=["share"])
    both = pl.col("chosen_share") + pl.col("rejected_share")
    given, without = sieve(pairs, {"pairs of answers that nobody gave": both == 0})
    pairs = given.with_columns(label=pl.col("chosen_share") / both, prompt="question")
    made, more = sieve(pairs, unusable(ties))
    rows = weigh(made, turn, weights).select(
        pl.col("country").alias("user_id"),
        "prompt",
        "chosen",
        "rejected",
        "label",
        "weight",
        objective=pl.col("source").fill_null("unknown"),
    )
    rows = rows.collect(engine="streaming").lazy()
    users = rows.select("user_id").unique().sort("user_id").collect()
    left_out = {**table.dropped, **dropped, **without, **more}
    return some(Frames("global_opinions", rows, users, left_out), source)


def _shares(table: Table) -> pl.LazyFrame:
    """A row for every question, country and option: `row`, `question`, `source`, `country`, `option`, `share`."""
    rows = numbered(table.frame).select("row", *COLUMNS, "source").collect()
    entries = []
    for row, selections, options in rows.select("row", "selections", "options").iter_rows():
        place = f"{table.place}: row {row + 1}"
        names, shares = _literal(options, place, "options"), _literal(selections, place, "selections")
        if not isinstance(names, list) or not isinstance(shares, dict) or not _fit(shares, len(names)):
            raise InputError(f"{place}: selections are not a share of each option for each country; correct the row")
        entries.append(
            [
                {"country": country, "option": str(name), "share": float(share)}
                for country, given in shares.items()
                for name, share in zip(names, given, strict=True)
            ]
        )
    shares_of = rows.select("row", "question", "source").with_columns(entry=pl.Series(entries, dtype=SHARES))
    return shares_of.lazy().explode("entry", empty_as_null=False, keep_nulls=False).unnest("entry")


def _fit(shares: dict[object, object], count: int) -> bool:
    return all(
        isinstance(country, str)
        and isinstance(given, list)
        and len(given) == count
        and all(isinstance(share, int | float) and 0 <= share <= 1 + 1e-9 for share in given)
        for country, given in shares.items()
    )


def _literal(text: str, place: str, name: str) -> object:
    """The literal in a text such as "defaultdict(<class 'list'>, {...})"; ast.literal_eval runs nothing."""
    start, end = text.find("{" if name == "selections" else "["), text.rfind("}" if name == "selections" else "]")
    try:
        return ast.literal_eval(text[start : end + 1])
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise InputError(
            f"{place}: {name} is not a literal that Python wrote; correct the row or leave it out"
        ) from None
