"""PRISM: people from 75 countries rate and choose replies of 21 models in live conversations of their own.

Of the published tables `survey` and `utterances` are read; `utterances` has all that `conversations` has for
comparisons. Source: arXiv 2404.16019.
"""

from pathlib import Path
from typing import Literal, get_args

import polars as pl

from plurality.datasets._tools import conversion
from plurality.datasets._tools.about import folder_of, open_table
from plurality.datasets._tools.conversion import Weights, choice_pairs, one_of, ordered_pairs, weigh
from plurality.datasets._tools.frames import About, Checked, Frames, sieve, some
from plurality.datasets._tools.schema import FLAG, ID, NUMBER, TEXT
from plurality.errors import InputError

ABOUT = About(
    hub="HannahRoseKirk/prism-alignment",
    licence="prompts CC-BY-4.0, model responses CC-BY-NC-4.0",
    files=("survey.jsonl", "utterances.jsonl"),
    checked=Checked.SCHEMA,
)
Pairs = Literal["chosen_vs_rest", "score_gap"]
Subset = Literal["all", "balanced", "UK", "US"]
Ties = Literal["drop", "keep"]

EMPTY = "EMPTY STRING"  # what the published table says where a model said nothing
POINTS = 99.0  # the slider runs from 1 to 100
DEVIATIONS = 4.0  # a gap of so many of the person's standard deviations has strength 1
TURN = ["interaction_id"]
PLAIN: tuple[str, ...] = ("age", "gender", "education", "employment_status", "marital_status", "english_proficiency")
PLAIN += ("lm_familiarity", "lm_frequency_use", "study_locale")
STATED = ("values", "creativity", "fluency", "factuality", "diversity", "safety", "personalisation", "helpfulness")
PLACES = ("birth_country", "birth_region", "reside_country", "reside_region")

UTTERANCES = {"user_id": ID, "conversation_id": ID, "interaction_id": ID, "turn": NUMBER, "within_turn_id": NUMBER}
UTTERANCES |= {"user_prompt": TEXT, "model_response": TEXT, "if_chosen": FLAG}
OPTIONAL = {"score": NUMBER, "model_name": TEXT, "conversation_type": TEXT, "included_in_balanced_subset": FLAG}
NESTED = {
    "religion": {"simplified": TEXT},
    "ethnicity": {"simplified": TEXT},
    "location": dict.fromkeys(PLACES, TEXT),
    "stated_prefs": dict.fromkeys(STATED, NUMBER),
}
SURVEY = {**dict.fromkeys(PLAIN, TEXT), **NESTED, "included_in_UK_REP": FLAG, "included_in_US_REP": FLAG}


def frames(
    source: str | Path,
    *,
    pairs: Pairs = "chosen_vs_rest",
    subset: Subset = "all",
    standardise: bool = True,
    min_gap: float = 0.0,
    ties: Ties = "drop",
    weights: Weights = "answer",
) -> Frames:
    """Comparisons of the replies within a turn, under the conversation as it went on: each turn's chosen reply.

    chosen_vs_rest   the chosen reply with each of the rest
    score_gap        all pairs of a turn by score (1 to 100), ties being gaps of 0 or under `min_gap`; `strength` is
                     the gap over 4 of the person's standard deviations if `standardise` (`min_gap` is then in
                     these too), else over the 99 points of the scale

    `subset` is the authors' balanced conversations or census-matched UK or US people. `group_id` is the conversation,
    since a later turn repeats what was chosen before; `objective` is the type of the conversation. Users have
    the codebook's simplified demographics and what they said matters to them (stated_*, 0 to 100); the survey's
    order_stated_prefs is left out: it is the order of display, no ranking. Raises InputError for bad files.
    """
    for name, value, choices in (("pairs", pairs, Pairs), ("subset", subset, Subset), ("ties", ties, Ties)):
        one_of(name, value, get_args(choices))
    if pairs == "chosen_vs_rest" and (min_gap != 0 or ties != "drop"):
        raise InputError('min_gap and ties are of scores; give them with pairs="score_gap"')
    folder = folder_of(source, ABOUT.files)
    survey = open_table(folder, "survey", {"user_id": ID}, optional=SURVEY)
    table = open_table(folder, "utterances", UTTERANCES, optional=OPTIONAL)
    said = _of_subset(table.frame, survey.frame, subset).collect().lazy()  # 68,371 rows
    said = said.with_columns(pl.col("model_response").replace(EMPTY, ""))
    replies, dropped = sieve(
        said,
        {
            "empty replies": ~pl.col("model_response").str.contains(r"\S"),
            "replies without a score": pl.col("score").is_null() if pairs == "score_gap" else pl.lit(False),
        },
    )
    if pairs == "score_gap":
        if standardise:
            replies = conversion.standardise(replies, "score")
        span = DEVIATIONS if standardise else POINTS
        made = ordered_pairs(
            replies,
            TURN,
            response="model_response",
            score="score",
            min_gap=min_gap,
            span=span,
            carry=["model_name"],
        )
    else:
        made = choice_pairs(replies, TURN, response="model_response", choice="if_chosen", carry=["model_name"])
    made = made.join(_turns(said), on=TURN, how="left", maintain_order="left")
    reasons = {
        "pairs of equal texts": pl.col("chosen") == pl.col("rejected"),
        "pairs after a turn that is missing or has no choice": pl.col("prompt").list.len() != 2 * pl.col("turn") + 1,
    }
    if pairs == "score_gap" and ties == "drop":
        reasons["ties"] = pl.col("label") == 0.5
    made, more = sieve(made, reasons)
    made = weigh(made, TURN, weights).drop("turn").collect().lazy()
    users = _users(survey.frame, survey.place).join(made.select("user_id").unique(), on="user_id", how="semi")
    return some(Frames("prism", made, users.collect(), {**survey.dropped, **table.dropped, **dropped, **more}), source)


def _of_subset(said: pl.LazyFrame, survey: pl.LazyFrame, subset: Subset) -> pl.LazyFrame:
    if subset == "all":
        return said
    if subset == "balanced":
        return said.filter(pl.col("included_in_balanced_subset"))
    return said.join(
        survey.filter(pl.col(f"included_in_{subset}_REP")), on="user_id", how="semi", maintain_order="left"
    )


def _turns(said: pl.LazyFrame) -> pl.LazyFrame:
    """A row a turn: who, in which conversation, and as `prompt` what had been said before and was asked then.

    Of several chosen replies (the same text, or a tie broken at random by the platform) the first goes on.
    """
    on = [*TURN, "conversation_id", "turn"]
    facts = {"user_id": "user_id", "objective": "conversation_type", "asked": "user_prompt"}
    first_chosen = pl.col("model_response").filter(pl.col("if_chosen")).first()
    turns = (
        said.sort("within_turn_id")
        .group_by(on)
        .agg(**{new: pl.col(old).first() for new, old in facts.items()}, reply=first_chosen)
    )
    # places of messages in a conversation: what is asked in turn t is message 2t, what was chosen 2t + 1
    asked = turns.select("conversation_id", place=2 * pl.col("turn"), role=pl.lit("user"), content="asked")
    reply = turns.select("conversation_id", place=2 * pl.col("turn") + 1, role=pl.lit("assistant"), content="reply")
    messages = pl.concat([asked, reply.filter(pl.col("content").is_not_null())])
    context = (
        turns.select(on)
        .join(messages, on="conversation_id")
        .filter(pl.col("place") <= 2 * pl.col("turn"))
        .group_by(TURN)
        .agg(prompt=pl.struct("role", "content").sort_by("place"))
    )
    table = turns.join(context, on=TURN).with_columns(group_id="conversation_id")
    return table.select(*TURN, "turn", "user_id", "prompt", "objective", "group_id")


def _users(survey: pl.LazyFrame, place: str) -> pl.LazyFrame:
    simple = [pl.col(name).struct.field("simplified").alias(name) for name in ("religion", "ethnicity")]
    places = [pl.col("location").struct.field(name) for name in PLACES]
    stated = [pl.col("stated_prefs").struct.field(name).alias(f"stated_{name}") for name in STATED]
    flags = ["included_in_UK_REP", "included_in_US_REP"]
    return survey.select("user_id", *PLAIN, *simple, *places, *stated, *flags)
