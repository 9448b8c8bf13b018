"""Named ways to make rewards comparable between people, and whether who is worst off depends on the choice.

A row is one candidate response as one user's reward model scores it; the rows of one user and one prompt are a
candidate set. Choices tell rewards only up to a shift per user and prompt, and their scale only against that
user's own noise, so a utility that is compared between people needs a convention. Each one here has a name, is
listed in NORMALISATIONS with what it does not depend on, and belongs into every table that uses it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
import polars as pl
from numpy.typing import ArrayLike
from scipy.special import expit

from plurality.analyses.inference.bootstrap import Floats, per_user_sums
from plurality.analyses.social_choice.candidate_sets import CandidateSets, coded, reference_table
from plurality.analyses.welfare.group_utilities import group_table
from plurality.arrays import floats
from plurality.errors import InputError

_ENTRIES = 4_000_000  # pairs of candidates held at once


@dataclass(frozen=True)
class Normalised:
    """Utilities of candidates, and for how many candidate sets (users, for the z-score) there is none to tell.

    value    (n,) utility of each candidate, in the unit of the normalisation
    sets     how many sets, or users, there are
    flat     how many of them leave no utility to tell; what their candidates are given, each function says
    """

    value: Floats
    sets: int
    flat: int


def win_probability(
    reward: ArrayLike,
    user: ArrayLike,
    prompt: ArrayLike,
    *,
    reference: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Normalised:
    """Probability that the user prefers a candidate to one of the reference, E σ(r − r_ref).

    Without a reference a candidate that is alone in its set has NaN and counts as flat. Bad rows raise InputError.

    reward       (n,) rewards in log-odds
    user         (n,) label of each row's user
    prompt       (n,) label of each row's prompt; rows of one user and prompt are a set
    reference    (n,) or (n, M) the user's rewards of reference responses to the prompt, NaN where there are fewer; by
                 default the other candidates of the set
    weights      (n,) how many candidates a row stands for, ≥ 0; 1 by default

    >>> from plurality.analyses.welfare import win_probability
    >>> win_probability([0.0, 1.0, 3.0], ["ada"] * 3, ["Tea?"] * 3).value.round(3).tolist()
    [0.158, 0.425, 0.917]
    """
    rows = CandidateSets.of(reward, user, prompt, weights)
    if not rows.weight.all():
        given = {} if reference is None else {"reference": reference_table(reference, rows)[rows.weight > 0]}
        return _only(partial(win_probability, **given), (reward, user, prompt), rows.weight)
    if reference is not None:
        table = reference_table(reference, rows)
        filled = ~np.isnan(table)
        value = np.where(filled, expit(rows.reward[:, None] - np.where(filled, table, 0)), 0).sum(axis=1)
        return Normalised(value / filled.sum(axis=1), len(rows.start), 0)
    mass = rows.mass
    value = np.full(len(rows.reward), np.nan)
    for size in np.unique(rows.size):
        members = rows.order[rows.start[rows.size == size, None] + np.arange(size)]
        step = max(1, _ENTRIES // size**2)
        for at in range(0, len(members), step):
            some = members[at : at + step]
            gap = rows.reward[some][:, :, None] - rows.reward[some][:, None, :]
            # one copy of the candidate itself is no opponent, and adds ½
            value[some] = np.einsum("sij,sj->si", expit(gap), rows.weight[some]) - 0.5
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(mass[rows.code] > 1, value / (mass[rows.code] - 1), np.nan)
    return Normalised(value, len(rows.start), int((mass <= 1).sum()))


def percentile(
    reward: ArrayLike, user: ArrayLike, prompt: ArrayLike, *, weights: ArrayLike | None = None
) -> Normalised:
    """Share of the other candidates of the set that are worse, ties half: (#worse + ½ #ties) / (K − 1).

    NaN for a candidate that is alone in its set, which counts as flat. Bad rows raise InputError.

    reward     (n,) rewards, in any unit
    user       (n,) label of each row's user
    prompt     (n,) label of each row's prompt; rows of one user and prompt are a set
    weights    (n,) how many candidates a row stands for, ≥ 0; 1 by default
    """
    rows = CandidateSets.of(reward, user, prompt, weights)
    if not rows.weight.all():
        return _only(percentile, (reward, user, prompt), rows.weight)
    r, s, w = rows.reward[rows.order], rows.code[rows.order], rows.weight[rows.order]
    opens = np.append(True, (r[1:] != r[:-1]) | (s[1:] != s[:-1]))[: len(r)]
    block = np.cumsum(opens) - 1
    running = np.append(0.0, np.cumsum(w))
    at = np.flatnonzero(opens)
    below = running[at] - running[rows.start[s[at]]]
    tied = np.diff(running[np.append(at, len(r))])
    value = np.empty(len(r))
    value[rows.order] = (below + 0.5 * (tied - 1))[block]
    mass = rows.mass
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(mass[rows.code] > 1, value / (mass[rows.code] - 1), np.nan)
    return Normalised(value, len(rows.start), int((mass <= 1).sum()))


def min_max(reward: ArrayLike, user: ArrayLike, prompt: ArrayLike) -> Normalised:
    """Place between the worst and the best candidate of the set, (r − min) / (max − min); ½ in a flat set.

    Relative utilitarianism when summed (Dhillon & Mertens 1999). How often a candidate occurs has no meaning here. Bad
    rows raise InputError.

    reward    (n,) rewards, in any unit
    user      (n,) label of each row's user
    prompt    (n,) label of each row's prompt; rows of one user and prompt are a set
    """
    rows = CandidateSets.of(reward, user, prompt)
    low, span = rows.least, rows.greatest - rows.least
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(span[rows.code] > 0, (rows.reward - low[rows.code]) / span[rows.code], 0.5)
    return Normalised(value, len(rows.start), int((span == 0).sum()))


def normalised_regret(
    reward: ArrayLike,
    user: ArrayLike,
    prompt: ArrayLike,
    *,
    reference: ArrayLike | None = None,
    weights: ArrayLike | None = None,
) -> Normalised:
    """Share of what could be gained on the reference that is gained, (r − r_ref) / (max r − r_ref); below 0 if worse.

    NaN, and counted as flat, where nothing beats the reference. Near there it is unstable. Bad rows raise InputError.

    reward       (n,) rewards, in any unit
    user         (n,) label of each row's user
    prompt       (n,) label of each row's prompt; rows of one user and prompt are a set
    reference    (n,) or (n, M) the user's rewards of reference responses, averaged, the same for all candidates of a
                 set; by default a candidate of the set drawn at random
    weights      (n,) how many candidates a row stands for, ≥ 0; 1 by default
    """
    rows = CandidateSets.of(reward, user, prompt, weights)
    if not rows.weight.all():
        given = {} if reference is None else {"reference": reference_table(reference, rows)[rows.weight > 0]}
        return _only(partial(normalised_regret, **given), (reward, user, prompt), rows.weight)
    if reference is None:
        with np.errstate(divide="ignore", invalid="ignore"):
            # from the least reward on, so that a flat set has no rounding left to divide by
            above = rows.weight * (rows.reward - rows.least[rows.code])
            base = np.bincount(rows.code, above, minlength=len(rows.start)) / rows.mass + rows.least
    else:
        row = np.nanmean(reference_table(reference, rows), axis=1)
        base = row[rows.order[rows.start]]
        apart = np.abs(row - base[rows.code]) > 1e-9 * np.maximum(1, np.abs(row))
        if apart.any():
            raise InputError(f"reference: row {apart.argmax()} differs from others of its set; give each set one")
    gain = rows.greatest - base
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where(gain[rows.code] > 0, (rows.reward - base[rows.code]) / gain[rows.code], np.nan)
    return Normalised(value, len(rows.start), int((~(gain > 0)).sum()))


def z_score(reward: ArrayLike, user: ArrayLike, prompt: ArrayLike, *, weights: ArrayLike | None = None) -> Normalised:
    """Standard deviations above the user's own mean over all their candidates, (r − mean_u) / sd_u; 0 if sd_u = 0.

    The mean over a user's own candidates is 0 by construction, so it cannot compare levels between people. sd divides
    by n; `flat` counts users. Bad rows raise InputError.

    reward     (n,) rewards, in any unit
    user       (n,) label of each row's user
    prompt     (n,) label of each row's prompt; plays no part
    weights    (n,) how many candidates a row stands for, ≥ 0; 1 by default
    """
    rows = CandidateSets.of(reward, user, None, weights)
    if not rows.weight.all():
        return _only(z_score, (reward, user, prompt), rows.weight)
    centre = rows.least[rows.code]
    with np.errstate(divide="ignore", invalid="ignore"):
        above = rows.reward - centre
        mean = np.bincount(rows.code, rows.weight * above, minlength=len(rows.start)) / rows.mass
        away = above - mean[rows.code]
        sd = np.sqrt(np.bincount(rows.code, rows.weight * away**2, minlength=len(rows.start)) / rows.mass)
        flat = (rows.greatest == rows.least) | (sd == 0)
        value = np.where(flat[rows.code], 0.0, away / sd[rows.code])
    return Normalised(value, len(rows.start), int(flat.sum()))


@dataclass(frozen=True)
class Normalisation:
    """A normalisation, what it does not depend on, and what it claims.

    function           from rewards, users and prompts (n,) to `Normalised`
    shift_invariant    unchanged under a shift of all rewards of one user and prompt
    scale_invariant    unchanged when all rewards of one user are multiplied by a positive number
    takes_reference    whether the function has the argument `reference`
    comparable         what is compared between people, in words
    caveat             where it misleads
    """

    function: Callable[..., Normalised]
    shift_invariant: bool
    scale_invariant: bool
    takes_reference: bool
    comparable: str
    caveat: str


NORMALISATIONS: Mapping[str, Normalisation] = MappingProxyType(
    {
        "win_probability": Normalisation(
            win_probability, True, False, True,
            "chance to get what one prefers to the reference",
            "people who choose noisily are near one half whatever they get; name the reference",
        ),
        "percentile": Normalisation(
            percentile, True, True, False,
            "rank among the candidates",
            "ordinal: blind to how much better; depends on the candidates",
        ),
        "min_max": Normalisation(
            min_max, True, True, False,
            "place between one's worst and best candidate",
            "takes everybody's range as equally wide; depends on the candidates",
        ),
        "normalised_regret": Normalisation(
            normalised_regret, True, True, True,
            "share of one's possible gain on the reference",
            "unstable where the reference is near the best, undefined where it is the best",
        ),
        "z_score": Normalisation(
            z_score, False, True, False,
            "standard deviations of one's own rewards",
            "mean 0 for everybody: shows preferences between policies, never who is better off",
        ),
    }
)  # fmt: skip


def named(name: str) -> Normalisation:
    """The normalisation of that name; InputError lists the names there are.

    name    one of NORMALISATIONS, such as "win_probability"
    """
    if name not in NORMALISATIONS:
        raise InputError(f"normalisation: {name!r} is unknown; use {', '.join(NORMALISATIONS)}")
    return NORMALISATIONS[name]


def normalise_sets(reward: ArrayLike, normalisation: str, reference: ArrayLike | None = None) -> Normalised:
    """Utilities (U, P, K) of U users for the K candidates of P prompts, by a normalisation of that name.

    Raises InputError for an unknown name or a bad shape.

    reward           (U, P, K) rewards in log-odds, NaN where there is none
    normalisation    name in `NORMALISATIONS`
    reference        (U, P) or (U, P, M) the user's rewards of reference responses, which normalisations without one
                     ignore; by default the other candidates

    >>> from plurality.analyses.welfare import normalise_sets
    >>> normalise_sets([[[0.0, 1.0, 4.0]], [[2.0, 1.0, 0.0]]], "min_max").value.round(3).tolist()
    [[[0.0, 0.25, 1.0]], [[1.0, 0.5, 0.0]]]
    """
    rule, cube = named(normalisation), floats(reward)
    if cube.ndim != 3:
        raise InputError(f"reward: shape {cube.shape}; give users x prompts x candidates")
    user, prompt, _ = there = np.nonzero(~np.isnan(cube))
    given = {}
    if rule.takes_reference and reference is not None:
        table = floats(reference)
        if table.shape[:2] != cube.shape[:2]:
            raise InputError(f"reference: shape {table.shape} for rewards {cube.shape}; give users x prompts (x M)")
        given["reference"] = table[user, prompt]
    found = rule.function(cube[there], user, prompt, **given)
    value = np.full(cube.shape, np.nan)
    value[there] = found.value
    return Normalised(value, found.sets, found.flat)


def sensitivity(
    reward: ArrayLike,
    user: ArrayLike,
    prompt: ArrayLike,
    served: ArrayLike,
    group: ArrayLike,
    *,
    reference: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    names: Sequence[str] = tuple(NORMALISATIONS),
) -> pl.DataFrame:
    """Mean utility of each group under each normalisation, and the group's rank, 1 for the worst off.

    A user's utility is the mean over their prompts, a group's the mean over its users, with standard error `se`. A row
    each: normalisation, group, mean, se, rank, worst, n_users, n_sets, n_flat. Sets without utility are left out of the
    mean; `n_flat`, over all groups, is that of the normalisation. Raises InputError for bad rows.

    reward       (n,) rewards of candidates in log-odds
    user         (n,) label of each row's user
    prompt       (n,) label of each row's prompt; rows of one user and prompt are a set
    served       (n,) probability (or True) with which the policy gives that candidate, in any scale
    group        (n,) label of the user's group, the same in all rows of a user
    reference    (n,) or (n, M) rewards of reference responses, for normalisations that take one; by default the other
                 candidates
    weights      (n,) how many people a user stands for, the same in all rows of a user; 1 by default
    names        names in NORMALISATIONS; all of them by default
    """
    sets = CandidateSets.of(reward, user, prompt)
    groups, code = coded(sets.per_user(group, "group"), "group")
    people = np.ones(len(code)) if weights is None else sets.per_user(weights, "weights").astype(float)
    give = floats(served)
    if give.shape != sets.reward.shape or not (np.isfinite(give) & (give >= 0)).all():
        raise InputError("served: give every candidate a probability >= 0, or True for the one that is served")
    if not (np.isfinite(people) & (people >= 0)).all():
        raise InputError("weights: give every user a finite number of people, >= 0")
    mass = np.bincount(sets.code, give, minlength=len(sets.start))
    frames = []
    for name in names:
        rule = named(name)
        found = rule.function(reward, user, prompt, **({"reference": reference} if rule.takes_reference else {}))
        # what is never served may be undefined
        gained = np.where(give > 0, give * found.value, 0.0)
        of_set = np.bincount(sets.code, gained, minlength=len(sets.start))
        used = (mass > 0) & ~np.isnan(of_set)
        total, count = per_user_sums(sets.owner[used], of_set[used] / mass[used], n_users=len(code))
        kept = (count > 0) & (people > 0)
        table = group_table(groups, code[kept], total[kept, 0] / count[kept], people[kept], count[kept])
        frames.append(table.select(pl.lit(name).alias("normalisation"), pl.all(), pl.lit(found.flat).alias("n_flat")))
    return pl.concat(frames)


def _only(function: Callable[..., Normalised], columns: Sequence[ArrayLike], weight: Floats) -> Normalised:
    """The function of rows that stand for somebody; NaN for the others."""
    kept = weight > 0
    found = function(*(np.asarray(column)[kept] for column in columns), weights=weight[kept])
    value = np.full(len(kept), np.nan)
    value[kept] = found.value
    return Normalised(value, found.sets, found.flat)
