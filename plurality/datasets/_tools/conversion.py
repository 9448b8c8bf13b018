"""The rules by which choices, ratings and rankings become comparisons, one for all data sets.

Tables are long: a row is one response that one person saw, `turn` names the columns that tell which responses
were judged together (user and prompt, or an interaction id). The steps are: pairs (`choice_pairs` or
`ordered_pairs`), then `plurality.datasets._tools.frames.sieve` for the pairs to leave out (ties, equal texts), then
`weigh`, so that weights are shared among the pairs that are left.
"""

from collections.abc import Collection, Sequence
from typing import Literal, get_args

import polars as pl

from plurality.errors import InputError

Weights = Literal["answer", "turn", "choice", "pair"]
CHOSEN, REJECTED = "chosen_", "rejected_"


def choice_pairs(
    table: pl.LazyFrame, turn: Sequence[str], *, response: str, choice: str, carry: Collection[str] = ()
) -> pl.LazyFrame:
    """A choice among k responses as k − 1 comparisons: the chosen one with each of the rest.

    `choice` is true for what was chosen. A turn with several chosen compares each of them with each of the
    rest, never with one another; a turn without a choice, or with nothing else to choose, gives nothing.
    Returns the turn's columns, `chosen`, `rejected`, and of the columns in `carry` both sides' values as
    chosen_x and rejected_x.
    """
    keep = [response, *carry]
    best = table.filter(pl.col(choice)).select(*turn, *(pl.col(c).alias(_side(c, response, CHOSEN)) for c in keep))
    rest = table.filter(~pl.col(choice)).select(*turn, *(pl.col(c).alias(_side(c, response, REJECTED)) for c in keep))
    return rest.join(best, on=list(turn), how="inner", maintain_order="left")


def listed_pairs(table: pl.LazyFrame, *, responses: str, choice: str, weights: Weights | None = None) -> pl.LazyFrame:
    """`choice_pairs` of a table with one row a turn: a list of `responses` and the place (from 0) of the chosen.

    A response that is null was not shown. `weights` are those of `weigh`, put on here since nothing need be joined or
    counted for them, so that a table of any length streams. Returns the table's other columns, `chosen`, `rejected`.
    """
    shown = pl.col(responses).list
    if weights is not None:
        one_of("weights", weights, get_args(Weights))
        count = shown.drop_nulls().list.len()
        each = {"pair": pl.lit(1.0), "answer": 2.0 / count}.get(weights, 1.0 / (count - 1.0))
        table = table.with_columns(weight=each)
    listed = table.with_columns(
        chosen=shown.get(pl.col(choice), null_on_oob=True),
        rejected=pl.col(responses),
        _place=pl.int_ranges(shown.len()),
    ).drop(responses)
    rest = listed.explode("rejected", "_place", empty_as_null=True, keep_nulls=True)
    return rest.filter(pl.col("_place") != pl.col(choice), pl.col("rejected").is_not_null()).drop("_place", choice)


def ordered_pairs(
    table: pl.LazyFrame,
    turn: Sequence[str],
    *,
    response: str,
    score: str,
    descending: bool = False,
    min_gap: float = 0.0,
    span: float | None = None,
    carry: Collection[str] = (),
) -> pl.LazyFrame:
    """Ratings or a ranking of k responses as k(k − 1)/2 comparisons: the higher `score` is chosen.

    With `descending` the lower is, as in ranks. A gap of 0 or less than `min_gap` is a tie: `label` 1/2, else 1.
    `strength` = min(|gap| / span, 1) with the `span` of the scale, 1 for ties; no strength without a span.
    Returns the columns of `choice_pairs`, then `gap`, `label` and `strength`. Raises InputError for a span or
    min_gap that is none.
    """
    if min_gap < 0 or (span is not None and not span > 0):
        raise InputError(f"min_gap={min_gap!r}, span={span!r}: give a gap of 0 or more and a positive span")
    keep = [response, *carry]
    rows = table.select(*turn, *dict.fromkeys([*keep, score])).with_row_index("_row")
    sides = rows.join(rows, on=list(turn), how="inner", suffix="_other", maintain_order="left")
    gap = pl.col(score) - pl.col(f"{score}_other")
    gap = (-gap if descending else gap).cast(pl.Float64)
    pairs = sides.filter(pl.col("_row") < pl.col("_row_other")).with_columns(_gap=gap)
    won, other = pl.col("_gap") >= 0, {c: f"{c}_other" for c in keep}
    columns = [
        pl.when(won).then(pl.col(a)).otherwise(pl.col(b)).alias(_side(c, response, side))
        for side, flip in ((CHOSEN, False), (REJECTED, True))
        for c in keep
        for a, b in [(other[c], c) if flip else (c, other[c])]
    ]
    size = pl.col("_gap").abs()
    tie = (size == 0) | (size < min_gap)
    columns += [size.alias("gap"), pl.when(tie).then(0.5).otherwise(1.0).alias("label")]
    if span is not None:
        columns.append(pl.when(tie).then(1.0).otherwise((size / span).clip(upper_bound=1.0)).alias("strength"))
    return pairs.select(*turn, *columns)


def weigh(pairs: pl.LazyFrame, turn: Sequence[str], weights: Weights = "turn") -> pl.LazyFrame:
    """The pairs with a `weight`: how much each tells, given its siblings.

    answer   that of `plurality.data.ordered_pairs`, as sure as the answer is: 2/k of one chosen from k, 3/(k + 1) of
             a full ranking; of P pairs that are no ties it is 2P / Σ (wins − losses)², over the responses
    turn     1 / (pairs of the turn): every turn counts as one comparison, however many responses it showed
    choice   Plackett–Luce's sequence of choices: 1 / (choices of the turn · pairs of this choice), a choice being
             all pairs with the same chosen response; sums to 1 a turn
    pair     1 for every pair, as if siblings were independent
    """
    one_of("weights", weights, get_args(Weights))
    on = list(turn)
    if weights == "pair":
        return pairs.with_columns(weight=pl.lit(1.0))
    if weights == "turn":
        counts = pairs.group_by(on).agg(weight=1.0 / pl.len())
        return pairs.join(counts, on=on, how="left", maintain_order="left")
    if weights == "answer":
        return pairs.join(_answer_weights(pairs, on), on=on, how="left", maintain_order="left")
    stages = pairs.group_by([*on, "chosen"]).agg(_size=pl.len())
    choices = stages.group_by(on).agg(_choices=pl.len())
    joined = pairs.join(stages, on=[*on, "chosen"], how="left", maintain_order="left")
    joined = joined.join(choices, on=on, how="left", maintain_order="left")
    return joined.with_columns(weight=1.0 / (pl.col("_size") * pl.col("_choices"))).drop("_size", "_choices")


def _answer_weights(pairs: pl.LazyFrame, on: list[str]) -> pl.LazyFrame:
    """`weight` of a turn's pairs; 1 over their number where all are ties."""
    decided = pl.col("label") != 0.5 if "label" in pairs.collect_schema().names() else pl.lit(True)
    pairs = pairs.with_columns(_decided=decided.cast(pl.Int64))
    sides = [
        pairs.select(*on, response=side, won=sign * pl.col("_decided"))
        for side, sign in (("chosen", 1), ("rejected", -1))
    ]
    spread = pl.concat(sides).group_by([*on, "response"]).agg(pl.col("won").sum())
    squares = spread.group_by(on).agg(squares=pl.col("won").pow(2).sum())
    counts = pairs.group_by(on).agg(decided=pl.col("_decided").sum(), pairs=pl.len()).join(squares, on=on)
    told = 2.0 * pl.col("decided") / pl.col("squares")
    return counts.select(*on, weight=pl.when(pl.col("squares") > 0).then(told).otherwise(1.0 / pl.col("pairs")))


def standardise(table: pl.LazyFrame, score: str, by: Sequence[str] = ("user_id",)) -> pl.LazyFrame:
    """`score` as (s − mean) / sd of the same person: people use a scale's ends and middle differently.

    The sd is that of the person's own scores (divided by n); somebody with one score for everything gets 0.
    """
    of_person = table.group_by(list(by)).agg(_mean=pl.col(score).mean(), _sd=pl.col(score).std(ddof=0))
    centred = pl.col(score) - pl.col("_mean")
    z = pl.when(pl.col("_sd") > 0).then(centred / pl.col("_sd")).otherwise(0.0)
    joined = table.join(of_person, on=list(by), how="left", maintain_order="left")
    return joined.with_columns(z.alias(score)).drop("_mean", "_sd")


def key(*columns: str) -> pl.Expr:
    """One id from several, such as user and turn, for `group_id`."""
    return pl.concat_str([pl.col(c).cast(pl.String) for c in columns], separator="/")


def one_of(name: str, value: object, choices: Sequence[object]) -> None:
    """Raise InputError unless an option has one of its values."""
    if value not in choices:
        raise InputError(f"{name}={value!r} is unknown; choose {', '.join(map(str, choices))}")


def _side(column: str, response: str, side: str) -> str:
    return side.rstrip("_") if column == response else side + column
