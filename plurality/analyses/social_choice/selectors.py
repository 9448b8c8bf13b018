"""Who decides what everybody gets, and who benefits: one response a prompt, chosen by different people or rules.

Users score the same candidates, (users, prompts, candidates) = (U, P, K). NaN marks a prompt that a user has no
rewards of, or, for all users alike, a candidate that a prompt does not have. A user's utility is the mean over
their prompts, a group's the mean over its users. Intervals resample users while choices stay as they were
made: they speak of people like these under these choices. Rewards that both choose and evaluate flatter the
chooser; `deciding` chooses by others (another fit, or half of the labels), and `provenance` says which it was.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

from plurality.analyses.audit.slices import OVERALL
from plurality.analyses.inference.bootstrap import Floats, interval, standard_error
from plurality.analyses.social_choice.aggregation_rules import RULES, Rule, choices, column_means, maximin, weighted
from plurality.analyses.welfare.group_utilities import group_means, group_membership, mean_draws, user_means
from plurality.analyses.welfare.inequality import quantile
from plurality.analyses.welfare.normalisations import normalise_sets
from plurality.analyses.welfare.welfare import gini, worst_group
from plurality.arrays import floats
from plurality.deprecation import renamed
from plurality.errors import InputError

AS_GIVEN = "as given"
PERSONAL = "personal"


@dataclass(frozen=True)
class _Town:
    """Utilities (U, P, K) that decide and that are enjoyed, and the weight of users in groups (U, 1 + G)."""

    decides: Floats
    enjoys: Floats
    names: tuple[str, ...]
    member: Floats
    normalisation: str
    provenance: str

    @property
    def groups(self) -> Floats:
        """Weights in the groups proper (U, G)."""
        return self.member[:, 1:]

    def welfare(self, rule: Rule) -> Floats:
        return rule(self.decides, self.member[:, 0], self.groups)

    def personal(self) -> Floats:
        return choices(self.decides)

    def mean_of(self, chosen: Floats) -> Floats:
        """Mean utility (U,) over a user's prompts of choices (P, K), or (U, P, K) of their own."""
        with np.errstate(invalid="ignore"):
            gained = np.where(chosen != 0, chosen * self.enjoys, 0.0).sum(axis=-1)
        # without candidates there is nothing to gain
        return user_means(gained if self.enjoys.shape[-1] else np.full(gained.shape, np.nan))


@renamed(draws="n_bootstrap")
def who_decides(
    reward: ArrayLike,
    groups: ArrayLike,
    *,
    normalisation: str | None = "win_probability",
    deciding: ArrayLike | None = None,
    seats: Mapping[str, ArrayLike] | None = None,
    weights: ArrayLike | None = None,
    level: float = 0.95,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> pl.DataFrame:
    """Mean utility of each group when each selector chooses: selector × group, with interval lo, hi.

    Selectors, by the mean of normalised utility: everybody, each group for itself, the seats named in `seats`,
    "maximin" over groups, and "personal", where all get their own choice. Columns: selector, kind, group, n_users,
    mean, lo, hi, n_prompts (that the selector could choose for), normalisation, provenance. Raises InputError for
    shapes that do not fit, and for a user who knows some but not all candidates of a prompt.

    reward           (U, P, K) each user's rewards of the K candidates of P prompts, NaN where there is none
    groups           (U,) label of each user's group
    normalisation    name in `NORMALISATIONS`, or None for utilities that are comparable as they are
    deciding         (U, P, K) rewards that choices go by, such as those of another fit; `reward` itself by default
    seats            name -> (U,) weights of the users who sit there, in place of `weights`; none by default
    weights          (U,) how many people a user stands for, ≥ 0; 1 by default
    level            coverage of the interval, in (0, 1)
    n_bootstrap      resamples of users behind the interval, at least 1
    seed             makes the result the same again

    >>> from plurality.analyses.social_choice import who_decides
    >>> reward = [[[0.0, 2.0]], [[0.0, 2.0]], [[3.0, 0.0]]]  # three users, one prompt, two candidates
    >>> found = who_decides(reward, ["young", "young", "old"], n_bootstrap=20)
    >>> alone = found.filter(selector="old", kind="group")
    >>> {group: round(mean, 3) for group, mean in alone.select("group", "mean").iter_rows()}
    {'(all users)': 0.397, 'old': 0.953, 'young': 0.119}
    """
    town = _town(reward, groups, normalisation, deciding, weights)
    means = column_means(town.decides, town.member)
    picked = {("everybody", OVERALL[1]): choices(means[0])}
    picked |= {("group", name): choices(own) for name, own in zip(town.names[1:], means[1:], strict=True)}
    for name, seat in (seats or {}).items():
        picked["seat", name] = choices(town.welfare(weighted(seat)))
    picked["rule", "maximin"] = choices(town.welfare(maximin))
    picked["rule", PERSONAL] = town.personal()
    per_user = np.stack([town.mean_of(chosen) for chosen in picked.values()])
    table, lo, hi = group_means(per_user, town.member, level=level, draws=n_bootstrap, seed=seed)
    known = (~np.isnan(per_user)).astype(int) @ (town.member > 0)
    size = len(town.names)
    return pl.DataFrame(
        {
            "selector": np.repeat([name for _, name in picked], size),
            "kind": np.repeat([kind for kind, _ in picked], size),
            "group": list(town.names) * len(picked),
            "n_users": known.ravel(),
            "mean": table.ravel(),
            "lo": lo.ravel(),
            "hi": hi.ravel(),
            "n_prompts": np.repeat([_prompts(chosen) for chosen in picked.values()], size),
        }
    ).with_columns(normalisation=pl.lit(town.normalisation), provenance=pl.lit(town.provenance))


def rule_choices(
    reward: ArrayLike,
    groups: ArrayLike,
    *,
    rules: Mapping[str, Rule] = RULES,
    normalisation: str | None = "win_probability",
    weights: ArrayLike | None = None,
) -> dict[str, Floats]:
    """Probability of each candidate under each rule, (P, K), and under "personal", (U, P, K).

    Errors as in `who_decides`.

    reward           (U, P, K) each user's rewards of the K candidates of P prompts, NaN where there is none
    groups           (U,) label of each user's group
    rules            name -> rule; the rules of `RULES` by default
    normalisation    name in `NORMALISATIONS`, or None for utilities that are comparable as they are
    weights          (U,) how many people a user stands for, ≥ 0; 1 by default
    """
    town = _town(reward, groups, normalisation, None, weights)
    return _rule_choices(town, rules)


@renamed(draws="n_bootstrap")
def aggregation_front(
    reward: ArrayLike,
    groups: ArrayLike,
    *,
    rules: Mapping[str, Rule] = RULES,
    normalisation: str | None = "win_probability",
    deciding: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    level: float = 0.95,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> pl.DataFrame:
    """Mean utility and that of the worst-off group under each rule of choice, and under "personal".

    The worst group is one that can have an interval, so of at least two users. `worst` is the plug-in minimum, which is
    too low; `worst_shrunk` is too high when groups truly differ; the interval worst_lo, worst_hi covers the worst true
    value (see `welfare.worst_group`). A row a rule: rule, mean, lo, hi, worst, worst_lo, worst_hi, worst_shrunk,
    worst_group, p_worst (that this group is the worst), correlation (of mean and worst over draws), n_users, n_groups,
    normalisation, provenance. Errors as in `who_decides`.

    reward           (U, P, K) each user's rewards of the K candidates of P prompts, NaN where there is none
    groups           (U,) label of each user's group
    rules            name -> rule; the rules of `RULES` by default
    normalisation    name in `NORMALISATIONS`, or None for utilities that are comparable as they are
    deciding         (U, P, K) rewards that choices go by, such as those of another fit; `reward` itself by default
    weights          (U,) how many people a user stands for, ≥ 0; 1 by default
    level            coverage of the intervals, in (0, 1)
    n_bootstrap      resamples of users behind the intervals; 0 gives none
    seed             makes the result the same again
    """
    town = _town(reward, groups, normalisation, deciding, weights)
    rows = []
    for name, chosen in _rule_choices(town, rules).items():
        per_user = town.mean_of(chosen)[None]
        known = ~np.isnan(per_user)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = (np.where(known, per_user, 0.0) @ town.member)[0] / (known @ town.member)[0]
        users = (known.astype(int) @ (town.member > 0))[0]
        drawn = mean_draws(per_user, town.member, draws=n_bootstrap, seed=seed)[:, 0]
        lo, hi = interval(drawn[:, 0], level, n_users=users[0])
        error = standard_error(drawn[:, 1:], users[1:])
        worst = worst_group(value[1:], error, n_users=users[1:], level=level, seed=seed)
        found = worst.index >= 0
        rows.append(
            {
                "rule": name,
                "mean": float(value[0]),
                "lo": float(lo),
                "hi": float(hi),
                "worst": worst.plug_in,
                "worst_lo": worst.lo,
                "worst_hi": worst.hi,
                "worst_shrunk": worst.shrunk,
                "worst_group": town.names[1 + worst.index] if found else None,
                "p_worst": float(worst.probability[worst.index]) if found else float("nan"),
                "correlation": _correlation(drawn[:, 0], drawn[:, 1 + worst.index]) if found else float("nan"),
                "n_users": int(users[0]),
                "n_groups": int((np.isfinite(value[1:]) & np.isfinite(error)).sum()),
                "normalisation": town.normalisation,
                "provenance": town.provenance,
            }
        )
    return pl.DataFrame(rows)


def negotiation_report(
    reward: ArrayLike,
    policies: Mapping[str, ArrayLike],
    groups: ArrayLike,
    *,
    normalisation: str | None = "win_probability",
    weights: ArrayLike | None = None,
) -> pl.DataFrame:
    """Total utility, worst group, 20th percentile of satisfaction and Gini of each policy, a row each.

    `policies`: probabilities of candidates (P, K), or (U, P, K) where they are personal (see `rule_choices`).
    total_utility = Σ_u w_u ū_u and worst_group, the least mean of a group, are in the units of the
    normalisation; percentile_20 is that of users' mean satisfaction, min-max normalised within each prompt
    (½ where a user is indifferent); gini is that of ū_u, NaN where one is negative. The four columns of
    Mushkani, Berard & Koseki (2025), arXiv 2503.12613.

    reward           (U, P, K) each user's rewards of the K candidates of P prompts, NaN where there is none
    policies         name -> probabilities of candidates (P, K), or (U, P, K) where they are personal
    groups           (U,) label of each user's group
    normalisation    name in `NORMALISATIONS`, or None for utilities that are comparable as they are
    weights          (U,) how many people a user stands for, ≥ 0; 1 by default
    """
    town = _town(reward, groups, normalisation, None, weights)
    content = _town(reward, groups, "min_max", None, weights)
    w, rows = town.member[:, 0], []
    for name, given in policies.items():
        chosen = floats(given)
        if chosen.shape not in (town.enjoys.shape, town.enjoys.shape[1:]):
            raise InputError(f"policy {name!r}: shape {chosen.shape} for rewards {town.enjoys.shape}; align them")
        total = np.nansum(chosen, axis=-1)
        if np.nanmin(chosen, initial=0.0) < 0 or not (np.isclose(total, 1) | np.isnan(chosen).all(axis=-1)).all():
            raise InputError(f"policy {name!r}: give the probability of every candidate, adding up to 1 a prompt")
        utility, satisfied = town.mean_of(chosen), content.mean_of(chosen)
        used = ~np.isnan(utility) & (w > 0)
        value, share = utility[used], w[used]
        with np.errstate(divide="ignore", invalid="ignore"):
            means = (value @ town.groups[used]) / town.groups[used].sum(axis=0)
        known = ~np.isnan(means)
        least = int(np.argmin(np.where(known, means, np.inf))) if known.any() else -1
        rows.append(
            {
                "policy": name,
                "total_utility": float(value @ share) if len(value) else float("nan"),
                "worst_group": float(means[least]) if known.any() else float("nan"),
                "percentile_20": quantile(satisfied[used], 0.2, None if weights is None else share),
                "gini": gini(value, share) if (value >= 0).all() else float("nan"),
                "worst_group_name": town.names[1 + least] if known.any() else None,
                "n_users": int(used.sum()),
                "normalisation": town.normalisation,
            }
        )
    return pl.DataFrame(rows)


def _rule_choices(town: _Town, rules: Mapping[str, Rule]) -> dict[str, Floats]:
    return {name: choices(town.welfare(rule)) for name, rule in rules.items()} | {PERSONAL: town.personal()}


def _town(
    reward: ArrayLike,
    groups: ArrayLike,
    normalisation: str | None,
    deciding: ArrayLike | None,
    weights: ArrayLike | None,
) -> _Town:
    """Checked and normalised utilities."""
    cube = _shared(reward, "reward")
    names, member = group_membership(groups, len(cube), weights)
    other = cube if deciding is None else _shared(deciding, "deciding")
    if other.shape != cube.shape or (_candidates(other) != _candidates(cube)).any():
        raise InputError("deciding: not the users, prompts and candidates of reward; align them")
    enjoys = cube if normalisation is None else normalise_sets(cube, normalisation).value
    decides = enjoys if deciding is None else other
    if deciding is not None and normalisation is not None:
        decides = normalise_sets(other, normalisation).value
    provenance = "same rewards" if deciding is None else "other rewards"
    return _Town(decides, enjoys, names, member, normalisation or AS_GIVEN, provenance)


def _shared(reward: ArrayLike, name: str) -> Floats:
    """Rewards (U, P, K) in which a user knows all or none of the candidates of a prompt."""
    cube = floats(reward)
    if cube.ndim != 3 or np.isinf(cube).any():
        raise InputError(f"{name}: shape {cube.shape}; give finite users x prompts x candidates, NaN where unknown")
    known = ~np.isnan(cube)
    partly = known.any(axis=2) & (known != _candidates(cube)).any(axis=2)
    if partly.any():
        user, prompt = np.argwhere(partly)[0]
        raise InputError(f"{name}: user {user} lacks a candidate of prompt {prompt} that others have; complete or drop")
    return cube


def _candidates(cube: Floats) -> NDArray[np.bool_]:
    """Which candidates (P, K) a prompt has: those that anybody scored."""
    return np.asarray((~np.isnan(cube)).any(axis=0))


def _prompts(chosen: Floats) -> int:
    """For how many prompts there was a choice."""
    decided = ~np.isnan(chosen).all(axis=-1)
    return int((decided.any(axis=0) if decided.ndim == 2 else decided).sum())


def _correlation(a: Floats, b: Floats) -> float:
    """Correlation of draws (draws,); NaN where one of them does not vary."""
    both = ~(np.isnan(a) | np.isnan(b))
    if both.sum() < 2 or np.ptp(a[both]) == 0 or np.ptp(b[both]) == 0:
        return float("nan")
    return float(np.corrcoef(a[both], b[both])[0, 1])
