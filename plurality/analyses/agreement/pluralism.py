"""Whose answers a model gives: how near its choices are to those of groups of people, and whether it can be steered.

Choices are arrays (..., Q, K) of Q questions with at most K options: shares, or survey-weighted totals, which
are scaled to one within each question. Leading axes (groups, models, ways of steering) are the caller's and
broadcast. A question that nobody answered is NaN and is left out of means.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from scipy.special import rel_entr

from plurality.analyses.agreement.agreement import codes_of
from plurality.analyses.inference.bootstrap import Floats, count_blocks, interval
from plurality.arrays import floats
from plurality.deprecation import renamed
from plurality.errors import InputError

Ints = NDArray[np.int64]

_ENTRIES = 8_000_000  # numbers held at once in a bootstrap
_TIE = 1e-12  # alignments this near are one


def shares(totals: ArrayLike, keep: ArrayLike | None = None) -> Floats:
    """Totals (..., K) scaled to one over the options to `keep` (..., K), the others 0; NaN where nothing is kept.

    Negative or infinite totals raise InputError; NaN makes its question NaN.

    totals    (..., K) shares or survey-weighted totals ≥ 0 of the K options of a question
    keep      (..., K) True for options that count; all by default
    """
    table = floats(totals)
    if not table.ndim:
        raise InputError(f"choices: one number, {table}; give one an option, (..., options)")
    bad = np.argwhere((table < 0) | np.isinf(table))
    if len(bad):
        raise InputError(f"choices: {table[tuple(bad[0])]} at {bad[0].tolist()}; give shares or totals that are >= 0")
    kept = table if keep is None else np.where(np.asarray(keep), table, 0.0)
    whole = kept.sum(axis=-1, keepdims=True)
    return kept / np.where(whole > 0, whole, np.nan)


def alignment(model: ArrayLike, human: ArrayLike, ordinals: ArrayLike) -> Floats:
    """Alignment (..., Q) of choices in each question, A = 1 − W₁(D_m, D_G) / (max ord − min ord), in [0, 1].

    `ordinals` (Q, K) or (K,) places the options on a line; NaN marks a refusal or an option that a question
    lacks, which is dropped on both sides. W₁ = Σ |F_m − F_G| · gap between neighbours. NaN where one side has
    no answers or the question has fewer than two places. Santurkar et al. (2023), arXiv 2303.17548.

    model       (..., Q, K) shares or totals of the model's choices among K options of Q questions
    human       (..., Q, K) those of people; leading axes broadcast against the model's
    ordinals    (Q, K) or (K,) place of each option on a line, in any unit; NaN for an option that is dropped

    >>> from plurality.analyses.agreement import alignment
    >>> alignment([[0.5, 0.5, 0.0]], [[0.0, 0.5, 0.5]], ordinals=[1, 2, 3]).round(3).tolist()
    [0.5]
    """
    place = floats(ordinals)
    if np.isinf(place).any():
        raise InputError(f"ordinals: infinite at {np.argwhere(np.isinf(place))[0].tolist()}; give finite places or NaN")
    sides = [floats(side) for side in (model, human)]
    shapes = (sides[0].shape, sides[1].shape, place.shape)
    if place.ndim not in (1, 2) or not shapes[0][-1:] == shapes[1][-1:] == shapes[2][-1:] or not _broadcast(*shapes):
        raise InputError(
            f"model {shapes[0]}, human {shapes[1]} and ordinals {shapes[2]} do not agree in questions or options; "
            "give (..., questions, options) and ordinals (questions, options) or (options,)"
        )
    order = np.argsort(place, axis=-1)  # NaN last
    sorted_place = np.take_along_axis(place, order, -1)
    kept = ~np.isnan(sorted_place)
    gap = np.nan_to_num(np.diff(sorted_place, axis=-1))  # 0 beside an option that is dropped
    span = gap.sum(axis=-1)
    cumulative = [np.cumsum(shares(_reordered(side, order), kept), axis=-1)[..., :-1] for side in sides]
    distance = (np.abs(cumulative[0] - cumulative[1]) * gap).sum(axis=-1)
    return 1 - distance / np.where(span > 0, span, np.nan)


def _broadcast(*shapes: tuple[int, ...]) -> bool:
    try:
        np.broadcast_shapes(*shapes)
    except ValueError:
        return False
    return True


def _reordered(side: Floats, order: NDArray[np.intp]) -> Floats:
    return np.take_along_axis(side, np.broadcast_to(order, np.broadcast_shapes(side.shape, order.shape)), -1)


def representativeness(aligned: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Representativeness (...,): weighted mean over questions of the alignment (..., Q), NaN questions left out.

    Formula: R = Σ_q w_q A_q / Σ_q w_q, with `weights` (Q,) of questions. NaN where no question is left.

    aligned    (..., Q) alignment in each question, as from `alignment`; NaN is left out
    weights    (Q,) non-negative weights of questions; equal by default
    """
    table = floats(aligned)
    if not table.ndim:
        raise InputError(f"alignment: one number, {table}; give one a question, (..., questions)")
    w = checked_weights(weights, table.shape[-1], "question")
    known = ~np.isnan(table)
    total = (known * w).sum(axis=-1)
    return np.where(known, table * w, 0.0).sum(axis=-1) / np.where(total > 0, total, np.nan)


def checked_weights(weights: ArrayLike | None, n: int, row: str) -> Floats:
    """Weights (n,) of the rows called `row`, ones unless given; InputError names the first bad one.

    weights    (n,) weights, or None for ones
    n          how many rows there are
    row        what a row is called in messages, such as "question"
    """
    w = np.ones(n) if weights is None else floats(weights)
    if w.shape != (n,):
        raise InputError(f"weights: shape {w.shape} for {n} {row}s; give one a {row}")
    bad = np.flatnonzero(~(np.isfinite(w) & (w >= 0)))
    if len(bad):
        raise InputError(f"weights: {row} {bad[0]} has {w[bad[0]]}; give finite weights >= 0")
    return w


@dataclass(frozen=True)
class Representativeness:
    """Representativeness of G groups, (G,) each, with its interval and what a perfect model could reach.

    value          mean of alignment over the questions that count for the group, in [0, 1]
    lo, hi         ends of its interval over users
    ceiling        what a model that answers exactly as the group does is expected to get on so few answers
    n_users        users of the group with an answer of positive weight
    n_questions    questions that enough of them answered
    """

    value: Floats
    lo: Floats
    hi: Floats
    ceiling: Floats
    n_users: Ints
    n_questions: Ints


@renamed(draws="n_bootstrap")
def group_representativeness(  # noqa: PLR0913 - four columns of answers, and the arguments of every interval
    model: ArrayLike,
    ordinals: ArrayLike,
    user: ArrayLike,
    question: ArrayLike,
    option: ArrayLike,
    group: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    fewest: int = 5,
    n_bootstrap: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Representativeness:
    """Representativeness of a model's choices (Q, K) for every group, with an interval from resampled users.

    An answer (n,) has a user (any label), a question, an option (below 0: refused) and a group, the last three whole
    numbers from 0, and a survey weight. A question counts for a group where `fewest` of its people answer. Sampling
    noise is distance too, so the value is biased downwards, by 1 − ceiling at the most (the mean of |d + noise| lies
    between |d| and |d| + mean |noise|): set the two side by side. The interval allows for any bias in between:
    R + (R* − mean R*) from draws R*, its upper end higher by 1 − ceiling.

    model          (Q, K) shares or totals of the model's choices among K options of Q questions
    ordinals       (Q, K) or (K,) place of each option on a line; NaN for an option that is dropped
    user           (n,) labels of who answered
    question       (n,) question of each answer, from 0 to Q − 1
    option         (n,) option chosen, from 0 to K − 1, or below 0 where the answer was refused
    group          (n,) group of each answer's user, from 0 to G − 1
    weights        (n,) non-negative survey weights of answers; equal by default
    fewest         people of a group who must answer a question for it to count, at least 2
    n_bootstrap    resamples of users behind the interval and the ceiling, at least 1
    seed           makes the result the same again
    level          coverage of the interval, in (0, 1)
    """
    if fewest < 2:
        raise InputError(f"fewest: {fewest}; give at least 2 people, as the noise of one cannot be told")
    choices, place = floats(model), floats(ordinals)
    if choices.ndim != 2:
        raise InputError(f"model: shape {choices.shape}; give shares of options (questions, options)")
    w = checked_weights(weights, np.size(user), "answer")
    columns = [np.asarray(values) for values in (group, question, option)]
    for name, code in zip(("group", "question", "option"), columns, strict=True):
        if code.shape != w.shape or (code.size and not np.issubdtype(code.dtype, np.integer)):
            raise InputError(f"{name}: {code.dtype} {code.shape} for {len(w)} answers; give a whole number each")
    shape = (int(columns[0].max(initial=-1)) + 1, *choices.shape)
    for name, code, size in zip(("group", "question", "option"), columns, shape, strict=True):
        bad = np.flatnonzero((code >= size) | ((code < 0) & (name != "option")))
        if len(bad):
            raise InputError(f"{name}: row {bad[0]} is {code[bad[0]]}; give one of 0 … {size - 1}")
    (person,) = codes_of(len(w), (("user", user),))
    kept = (w > 0) & (columns[2] >= 0)
    of_group, asked, chosen = (code[kept].astype(np.int64) for code in columns)
    _, person = np.unique(person[kept], return_inverse=True)
    cell = (of_group * shape[1] + asked) * shape[2] + chosen
    totals = np.bincount(cell, w[kept], minlength=int(np.prod(shape))).reshape(shape)
    n_users = np.bincount(np.unique(np.stack([of_group, person]), axis=1)[0], minlength=shape[0])
    answered = np.unique(np.stack([of_group * shape[1] + asked, person]), axis=1)[0]
    people = np.bincount(answered, minlength=shape[0] * shape[1]).reshape(shape[:2])
    few = people < fewest
    aligned = np.where(few, np.nan, alignment(choices, totals, place))
    value = representativeness(aligned)
    drawn, off, times = [np.full((1, shape[0]), np.nan)], np.zeros(shape[:2]), np.zeros(shape[:2])
    for sums in summed_draws(person, cell, w[kept], int(np.prod(shape)), n_bootstrap, seed):
        block = sums.reshape(-1, *shape)
        drawn.append(representativeness(np.where(few, np.nan, alignment(choices, block, place))))
        noise = 1 - alignment(block, totals, place)
        off, times = off + np.nansum(noise, axis=0), times + (~np.isnan(noise)).sum(axis=0)
    # resampled people differ from a sample of n less than that from everybody, as 1 − 1/n is less than 1
    wider = np.sqrt(people / np.where(few, np.nan, people - 1))
    ceiling = np.maximum(representativeness(1 - wider * off / np.where(times > 0, times, np.nan)), 0)
    table = np.concatenate(drawn)
    held = ~np.isnan(table)
    centre = np.where(held, table, 0).sum(axis=0) / np.where(held.any(axis=0), held.sum(axis=0), np.nan)
    lo, hi = interval(value + table - centre, level, n_users=n_users)
    return Representativeness(
        value, np.maximum(lo, 0), np.minimum(hi + 1 - ceiling, 1), ceiling, n_users, (~np.isnan(aligned)).sum(axis=-1)
    )


def summed_draws(user: Ints, cell: Ints, value: Floats, cells: int, draws: int, seed: int) -> Iterator[Floats]:
    """Bootstrap sums of `value` (n,) per cell, (block, cells) a block of draws, users (codes from 0) resampled."""
    users = int(user.max(initial=-1)) + 1
    if not users:
        return
    table = sparse.coo_array((value, (cell, user)), shape=(cells, users)).tocsr()
    for counts in count_blocks(users, draws, seed, entries=max(1, _ENTRIES * users // max(cells, users))):
        yield (table @ counts.T.astype(np.float64)).T


@dataclass(frozen=True)
class Consistency:
    """In how many topics the group that is represented best is the one that is represented best overall.

    value       share of topics, in [0, 1]; a tie counts 1 over the number tied
    best        number of the group that is represented best overall, −1 where none is or several tie
    n_topics    topics that could be compared
    """

    value: float
    best: int
    n_topics: int


def consistency(aligned: ArrayLike, topics: ArrayLike, weights: ArrayLike | None = None) -> Consistency:
    """Consistency C = mean over topics of 1[argmax_G R_topic(G) = argmax_G R(G)], from alignment (G, Q).

    `topics` (Q,) are labels. A tie within a topic counts 1 over the number tied; a tie overall, or fewer than
    two groups, gives NaN. A topic without questions of the best group is left out. Santurkar et al. (2023).

    aligned    (G, Q) alignment of the model with each of G groups in each question, as from `alignment`
    topics     (Q,) label of each question's topic
    weights    (Q,) non-negative weights of questions; equal by default
    """
    table, label = floats(aligned), np.asarray(topics)
    if table.ndim != 2 or label.shape != table.shape[1:]:
        raise InputError(f"consistency: alignment {table.shape}, topics {label.shape}; give (groups, questions)")
    overall, nan = representativeness(table, weights), float("nan")
    if np.isnan(overall).sum() > len(overall) - 2:
        return Consistency(nan, -1, 0)
    first = np.flatnonzero(overall >= np.nanmax(overall) - _TIE)
    if len(first) > 1:
        return Consistency(nan, -1, 0)
    names, topic = np.unique(label, return_inverse=True)
    member = np.eye(len(names))[topic] * checked_weights(weights, len(label), "question")[:, None]
    known = ~np.isnan(table)
    weight = known @ member
    score = np.where(known, table, 0.0) @ member / np.where(weight > 0, weight, np.nan)
    usable = ((~np.isnan(score)).sum(axis=0) > 1) & ~np.isnan(score[first[0]])
    if not usable.any():
        return Consistency(nan, int(first[0]), 0)
    score = score[:, usable]
    tied = score >= np.nanmax(score, axis=0) - _TIE
    return Consistency(float((tied[first[0]] / tied.sum(axis=0)).mean()), int(first[0]), int(usable.sum()))


@dataclass(frozen=True)
class Steerability:
    """Representativeness (...,) with and without steering.

    steered        in the best way of telling the model whom to answer for
    unsteered      without telling it
    gain           steered − unsteered
    n_questions    questions that all ways of steering and the unsteered model answer
    """

    steered: Floats
    unsteered: Floats
    gain: Floats
    n_questions: Ints


def steerability(
    steered: ArrayLike,
    unsteered: ArrayLike,
    *,
    form: Literal["question", "context"] = "question",
    weights: ArrayLike | None = None,
) -> Steerability:
    """How well a model answers for a group when told to, over the best of C ways of telling it.

    `form="question"`, of the paper: mean_q max_c A(q; c); "context", of its released notebook: max_c mean_q A(q; c),
    never larger. `steered` is alignment (..., C, Q), `unsteered` (..., Q). Questions that one of them lacks are left
    out of all. A mean of maxima is biased upwards by noise, and gain with it. Santurkar et al. (2023).

    steered      (..., C, Q) alignment in each of Q questions under each of C ways of steering
    unsteered    (..., Q) alignment without steering; leading axes broadcast
    form         "question" picks the best way in each question (default), "context" one way for all questions
    weights      (Q,) non-negative weights of questions; equal by default
    """
    if form not in ("question", "context"):
        raise InputError(f'form: {form!r}; use "question" (mean of maxima) or "context" (maximum of means)')
    told, plain = floats(steered), floats(unsteered)
    apart = told.ndim < 2 or not told.shape[-2] or plain.shape[-1:] != told.shape[-1:]
    if apart or not _broadcast(told.shape[:-2], plain.shape[:-1]):
        raise InputError(f"steerability: shapes {told.shape} and {plain.shape}; give (..., contexts, questions)")
    missing = np.isnan(told).any(axis=-2) | np.isnan(plain)
    told, base = (np.where(missing[..., None, :], np.nan, told), np.where(missing, np.nan, plain))
    by_question = form == "question"
    best = representativeness(told.max(axis=-2) if by_question else told, weights)
    best, plain = best if by_question else best.max(axis=-1), representativeness(base, weights)
    return Steerability(best, plain, best - plain, (~missing).sum(axis=-1))


def distribution_distance(p: ArrayLike, q: ArrayLike, kind: Literal["tv", "js"] = "tv") -> Floats:
    """Distance (...,) of two distributions (..., K) over options without an order, in [0, 1]; NaN without mass.

    "tv", total variation ½ Σ|p − q|; "js", Jensen–Shannon divergence KL(p‖m)/2 + KL(q‖m)/2 in bits, m = (p + q)/2.
    Totals are scaled to one. Lin (1991) for the second.

    p, q    (..., K) probabilities, or totals ≥ 0, of the same K options; leading axes broadcast
    kind    "tv" for total variation (default) or "js" for the Jensen–Shannon divergence
    """
    left, right = shares(p), shares(q)
    if left.shape[-1:] != right.shape[-1:] or not _broadcast(left.shape, right.shape):
        raise InputError(f"distributions: shapes {left.shape} and {right.shape}; give the same options in both")
    left, right = np.broadcast_arrays(left, right)
    if kind == "tv":
        return np.abs(left - right).sum(axis=-1) / 2
    if kind == "js":
        middle = (left + right) / 2
        return (rel_entr(left, middle) + rel_entr(right, middle)).sum(axis=-1) / (2 * np.log(2))
    raise InputError(f'kind: {kind!r}; use "tv" or "js"')
