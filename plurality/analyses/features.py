"""Readable features of responses: how long, how hedged, how formal, how laid out; counted, not judged.

Word lists are English: on other languages only lengths, layout and punctuation mean something. Code between
fences counts towards length alone, so that a comment in Python is no heading.
"""

from collections.abc import Iterable

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from plurality.analyses.inference.bootstrap import Floats
from plurality.analyses.inputs import Table, listed, numbers, read_table
from plurality.arrays import floats
from plurality.errors import InputError

_COUNT, _RATE = "log(1 + count)", "per 100 words"

FEATURES: dict[str, tuple[str, str]] = {
    "words": ("Number of words.", _COUNT),
    "characters": ("Number of characters.", _COUNT),
    "hedging": ("Words and phrases that weaken a claim, such as perhaps, might, it depends.", _RATE),
    "formality": ("Words of 7 letters or more, less contractions, less pronouns of the 1st and 2nd person.", _RATE),
    "lists": ("Lines that begin with a bullet or a number.", _COUNT),
    "headings": ("Markdown headings, # to ######.", _COUNT),
    "code_blocks": ("Blocks of code between fences of three backticks.", _COUNT),
    "questions": ("Question marks; a run of them is one.", _COUNT),
    "exclamations": ("Exclamation marks; a run of them is one.", _COUNT),
    "refusal": ("Whether a phrase of refusal occurs, such as I can't help with.", "0 or 1"),
    "numbers": ("Numbers in digits, those of numbered lines left out.", _COUNT),
    "first_person": ("Pronouns of the first person, singular or plural.", _RATE),
}

_HEDGES = (
    "almost|apparently|approximately|arguably|could|fairly|generally|hopefully|in general|it depends|it is possible|"
    "it seems|it's possible|kind of|largely|likely|mainly|maybe|might|mostly|not certain|not sure|often|perhaps|"
    "possibly|potentially|presumably|probably|rather|roughly|seems|seemingly|sometimes|somewhat|sort of|tend to|"
    "tends to|to some extent|typically|unclear|unlikely|usually|(?-i:may)"  # May is a month
)
_REFUSALS = (
    r"(?:i|we)(?:'m| am|'re| are)? (?:can't|cannot|can not|won't|will not|unable to|not able to|not going to) "
    r"(?:help|assist|answer|provide|comply|fulfil|do that|discuss|engage|support|create|generate|write|share)|"
    r"(?:i|we) (?:must|have to) decline|against my (?:guidelines|programming|policy)|"
    r"(?:i'm sorry|i am sorry|i apologi[sz]e|sorry),? but (?:i|we) (?:can|am|'m|do)|"
    r"(?:i'm|i am) not comfortable|as an ai(?: language model| assistant)?,? i (?:can't|cannot|do not|don't|am not)"
)
_FIRST = "i|i'm|i've|i'd|i'll|me|my|mine|myself|we|we're|we've|we'd|we'll|us|our|ours|ourselves"
_SECOND = "you|you're|you've|you'd|you'll|your|yours|yourself|yourselves"
_CONTRACTION = r"(?i)\b(?:\p{L}+n't|\p{L}+'(?:re|ve|ll|d|m)|(?:he|how|it|let|she|that|there|what|where|who)'s)\b"
_WORD = r"[\p{L}\p{N}]+(?:['-][\p{L}\p{N}]+)*"


def features(texts: Iterable[str] | pl.Series) -> pl.DataFrame:
    """The features of FEATURES, a column each and a row a text, (n, 12).

    An empty text has none of anything: every feature is 0. Raises InputError for a missing text, and for one bare
    string, which is no column.
    """
    if isinstance(texts, str):
        raise InputError("texts: one string; give a column of them, [text] for a single one")
    try:
        column = texts if isinstance(texts, pl.Series) else pl.Series(list(texts), dtype=pl.String)
    except (TypeError, pl.exceptions.PolarsError) as error:
        raise InputError(f"texts: {str(error).splitlines()[0]}; give a column of strings") from error
    if column.dtype != pl.String:
        raise InputError(f"texts: the column is {column.dtype}; give strings")
    missing = np.flatnonzero(column.is_null().to_numpy())
    if len(missing):
        raise InputError(f"texts: row {missing[0]} is missing (first row is 0); give a text, or drop the comparison")
    text = pl.col("text").str.replace_all("[\u2018\u2019]", "'")
    frame = pl.DataFrame({"text": column}).lazy().with_columns(text)
    prose = pl.col("text").str.replace_all(r"(?s)```.*?(?:```|$)", "\n")
    frame = frame.with_columns(
        prose=prose,
        running=prose.str.replace_all(r"(?m)^[ \t]*\d+[.)][ \t]", ""),
        count=_count(_WORD, "text"),
    )
    columns = {
        "words": pl.col("count").log1p(),
        "characters": pl.col("text").str.len_chars().log1p(),
        "hedging": _rate(_any(_HEDGES)),
        "formality": _rate(r"\b\p{L}{7,}\b") - _rate(_CONTRACTION) - _rate(_any(f"{_FIRST}|{_SECOND}")),
        "lists": _count(r"(?m)^[ \t]*(?:[-*+•]|\d+[.)])[ \t]+\S").log1p(),
        "headings": _count(r"(?m)^ {0,3}#{1,6}[ \t]+\S").log1p(),
        "code_blocks": _count(r"(?s)```.*?(?:```|$)", "text").log1p(),
        "questions": _count(r"\?+").log1p(),
        "exclamations": _count(r"!+(?:[^!\[=]|$)").log1p(),  # neither an image nor an inequality
        "refusal": pl.col("prose").str.contains(_any(_REFUSALS)).cast(pl.Float64),
        "numbers": _count(r"\d+(?:[.,]\d+)*", "running").log1p(),
        "first_person": _rate(_any(_FIRST)),
    }
    return frame.select(**columns).collect()


def _any(words: str) -> str:
    return rf"(?i)\b(?:{words})\b"


def _count(pattern: str, column: str = "prose") -> pl.Expr:
    return pl.col(column).str.count_matches(pattern).cast(pl.Float64)


def _rate(pattern: str) -> pl.Expr:
    """Matches per 100 words of the text; none in a text without words."""
    return 100 * _count(pattern) / pl.max_horizontal(pl.col("count"), 1.0)


def differences(first: Table, second: Table, weights: ArrayLike | None = None) -> pl.DataFrame:
    """Differences of features in standard deviations, (first − second) / √(Σ w d² / Σ w), a row a comparison.

    `first` and `second` have the same numeric columns, from `features` or of the reader's own, and a row a
    comparison. Nothing is centred, so exchanging the sides changes the sign and no more. A feature that never
    differs stays 0. Raises InputError for columns or rows that do not match and for numbers that are missing.
    """
    left, right = read_table(first, "first"), read_table(second, "second")
    if set(left.columns) != set(right.columns) or not left.columns:
        odd = sorted(set(left.columns) ^ set(right.columns))
        raise InputError(f"features: first and second differ in the columns {listed(odd)}; give both the same ones")
    if left.height != right.height:
        raise InputError(f"features: {left.height} rows in first, {right.height} in second; align the comparisons")
    names = left.columns
    gap = numeric(left, "first") - numeric(right.select(names), "second")
    return pl.DataFrame(gap / spread(gap, weights), schema=names)


def numeric(frame: pl.DataFrame, name: str) -> Floats:
    """The columns of a frame as finite floats (n, F); InputError names the first that are not."""
    values = np.zeros(frame.shape)
    for place, column in enumerate(frame.columns):
        values[:, place] = numbers(frame, column, name, "give numbers")
    row, column_index = np.nonzero(~np.isfinite(values))
    if len(row):
        where = f"{frame.columns[column_index[0]]} in row {row[0]} (first row is 0)"
        raise InputError(f"{name}: {where} is missing, NaN or infinite; drop the comparison or fill it in")
    return values


def spread(gaps: Floats, weights: ArrayLike | None = None) -> Floats:
    """Root mean square √(Σ w d² / Σ w) of differences (n, F), per feature (F,); 1 where it would be 0."""
    w = np.ones(len(gaps)) if weights is None else floats(weights)
    if w.shape != (len(gaps),):
        raise InputError(f"weights: shape {w.shape} for {len(gaps)} comparisons; give one weight each")
    bad = np.flatnonzero(~(np.isfinite(w) & (w >= 0)))
    if len(bad):
        raise InputError(f"weights: row {bad[0]} is {w[bad[0]]}; give finite weights >= 0")
    square = w @ gaps**2 / max(w.sum(), np.finfo(float).tiny)
    return np.where(square > 0, np.sqrt(square), 1.0)
