"""Leaderboards by group: which systems people prefer, everybody and each group, style held fixed, people the unit.

    logit P(a preferred to b) = θ_a − θ_b + ⟨γ, s_a − s_b⟩,   Σ θ = 0
Ratings θ are those of Bradley & Terry (1952) with readable differences of style beside them, so that a system is not
ranked for its length. Covariances are robust to what one person's comparisons share (CR3).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import kendalltau
from scipy.stats import t as student

from plurality.analyses.audit.attributes import attributes_of
from plurality.analyses.audit.contrasts import holm
from plurality.analyses.audit.readout import Grid, Readable, Readout
from plurality.analyses.audit.slices import DISCLOSURE, OVERALL, SHOWN, TOO_FEW, Disclosure, Slices, State, slices
from plurality.analyses.audit.tables import hidden
from plurality.analyses.audit.withholding import closed, sums_of, withheld
from plurality.analyses.factors.inputs import FactorRows, read_rows
from plurality.analyses.factors.logistic import FITTED, fit_groups
from plurality.analyses.inference.bootstrap import Floats
from plurality.analyses.inputs import Table, listed, read_table
from plurality.analyses.wording import ALPHA
from plurality.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Leaderboard", "leaderboard"]

Ints = NDArray[np.intp]
Row = dict[str, object]
NUMBERS = ("rating", "se", "lo", "hi")
TABLE = {**dict.fromkeys(("attribute", "level", "system"), pl.String), "n_users": pl.Int64, "n_comparisons": pl.Int64,
         **dict.fromkeys(NUMBERS, pl.Float64), **dict.fromkeys(("rank", "rank_lo", "rank_hi"), pl.Int64),
         "flag": pl.String, "suppressed": pl.Boolean}  # fmt: skip
GROUPS = {**dict.fromkeys(("attribute", "level"), pl.String), "n_users": pl.Int64, "n_systems": pl.Int64,
          "separability": pl.Float64, "kendall": pl.Float64, "top": pl.String, "top_against": pl.Float64,
          "p": pl.Float64, "q": pl.Float64}  # fmt: skip
STYLE = {"feature": pl.String, **dict.fromkeys(("coefficient", "lo", "hi"), pl.Float64)}


@dataclass(frozen=True, repr=False, eq=False)
class Leaderboard(Readable):
    """Rankings of systems by everybody and by groups.

    table     attribute, level, system, n_users and n_comparisons (of the system in the group), rating (log-odds against
              the mean system), se, lo, hi, rank, rank_lo, rank_hi, flag, suppressed
    groups    attribute, level, n_users, n_systems, separability (share of pairs told apart), kendall (rank correlation
              with everybody), top, top_against (its lead in the group over everybody's top), p and q of that lead
    style     feature, coefficient (log-odds per standard deviation), lo, hi, of everybody
    notes     sentences that a reader should see
    """

    table: pl.DataFrame
    groups: pl.DataFrame
    style: pl.DataFrame
    notes: tuple[str, ...]

    def readout(self) -> Readout:
        """What a person is shown of it."""
        everybody = self.table.filter(attribute=OVERALL[0]).sort("rank", nulls_last=True)
        lines = [
            (row["system"], f"{row['rating']:+.2f}", f"[{row['lo']:+.2f}, {row['hi']:+.2f}]", str(row["rank"]),
             f"{row['rank_lo']}–{row['rank_hi']}", str(row["n_users"]))
            for row in everybody.filter(pl.col("rank").is_not_null()).iter_rows(named=True)
        ]  # fmt: skip
        first = self.groups.row(0, named=True)
        said = [
            f"{100 * first['separability']:.0f} % of pairs of systems are told apart by everybody's choices (Holm)."
        ]
        groups = self.groups.slice(1).filter(pl.col("top").is_not_null())
        other = groups.filter(pl.col("top") != first["top"])
        sure = other.filter(pl.col("q") < ALPHA)
        names = [
            f"{r['attribute']} {r['level']}: {r['top']}"
            for r in (sure if sure.height else other).head(5).iter_rows(named=True)
        ]
        if groups.height:
            shown = f"{sure.height} beyond chance" if sure.height else "none beyond chance"
            said.append(
                f"Of {groups.height} groups {other.height} put another system than {first['top']} first, {shown}"
                + (f" ({'; '.join(names)})." if names else ".")
            )
        heads = ("System", "rating", "interval", "rank", "ranks", "users")
        return Readout(
            "Leaderboard",
            f"{first['n_users']:,} users, {first['n_systems']} systems",
            said,
            (Grid(heads, lines, (0,)),),
            self.notes,
        )

    def __repr__(self) -> str:
        return f"<Leaderboard of {self.groups['n_systems'][0]} systems, {self.groups.height - 1} groups; print it>"

    def figure(self) -> "Figure":
        """Ranks of the systems for everybody and for each group: lines that cross are choices that differ."""
        from plurality.analyses.figures import bump

        shown = self.table.filter(pl.col("rank").is_not_null())
        whole = pl.col("attribute") == OVERALL[0]
        named = shown.with_columns(group=pl.when(whole).then(pl.lit("everybody")).otherwise(pl.col("level")))
        return bump(named, "group", "system", "rank", column_title="group", rank_title="rank")


def leaderboard(
    comparisons: Table,
    users: Table | None = None,
    *,
    by: Sequence[str] | None = None,
    style: Table | NDArray[np.floating] | None = None,
    ridge: float = 0.0,
    level: float = 0.95,
    disclosure: Disclosure = DISCLOSURE,
) -> Leaderboard:
    """Rank the systems that wrote the responses, for everybody and for every level of every attribute.

    A rank is 1 + the number of systems with a higher rating; its interval counts those that are shown to be better or
    worse by Wald tests of all pairs (t with users − 1 degrees of freedom, Holm), which covers all ranks of a group at
    once (Mogstad et al. 2024). A system that too few of a group's people judged is left out of its ranking, as is one
    whose numbers would give such people away, and groups of too few people are withheld. `top_against` is θ of the
    group's first system less θ, in the group, of everybody's first; its p is one-sided and corrected for having picked
    the highest (Bonferroni), q for all groups (Holm). Raises InputError for columns that are missing and where nothing
    can be ranked.

    comparisons    user_id, model_a, model_b, label = P(a preferred) in [0, 1], or winner ("model_a", "model_b" or a
                   tie), and optionally weight
    users          user_id and attributes
    by             attributes whose levels get rankings; all with few levels by default
    style          (n, F) differences of features, a's less b's, that are held fixed; in the order of the comparisons
    ridge          penalty |θ|²/2 on ratings, for systems that always win or lose; 0 gives these none
    level          coverage of the intervals
    disclosure     how many users a group, and a system within it, needs

    >>> import plurality as pl8
    >>> ids = [f"u{k}" for k in range(40)] * 3
    >>> table = {"user_id": ids, "model_a": ["x"] * 80 + ["y"] * 40, "model_b": ["y"] * 40 + ["z"] * 80,
    ...          "label": [1, 1, 1, 0] * 10 + [1, 1, 1, 1, 0] * 8 + [1, 0, 1, 0] * 10}
    >>> pl8.leaderboard(table).table.sort("rank")["system"].to_list()
    ['x', 'y', 'z']
    """
    if not 0 < level < 1:
        raise InputError(f"level: {level}; give a coverage between 0 and 1, such as .95")
    frame = read_table(comparisons, "comparisons")
    missing = [c for c in ("model_a", "model_b") if c not in frame.columns]
    if missing:
        raise InputError(f"comparisons: no column {' or '.join(missing)}, found {listed(frame.columns)}; add it")
    names = [frame[c].cast(pl.String) for c in ("model_a", "model_b")]
    if names[0].null_count() + names[1].null_count() or (names[0] == names[1]).any():
        raise InputError("comparisons: model_a or model_b is missing, or they are the same; drop these rows")
    weighed = "weight" in frame.columns and (frame["weight"].cast(pl.Float64) <= 0).any()
    if weighed:
        raise InputError("comparisons: a weight is not above 0; drop these rows")
    frame = _labelled(frame)
    systems = sorted(set(names[0]) | set(names[1]))
    place = {name: k for k, name in enumerate(systems)}
    a, b = (column.replace_strict(place, return_dtype=pl.Int64).to_numpy() for column in names)
    given = np.zeros((frame.height, 1)) if style is None else style
    rows, notes = read_rows(frame.drop("model", strict=False), given, "label")
    features = np.zeros((len(a), 0)) if style is None else rows.x
    attributes, more = attributes_of(None if users is None else read_table(users, "users"), rows.ids, by)
    groups = slices(attributes, len(rows.ids), ways=1)
    state = withheld(groups, disclosure)
    kept = _kept(rows, a, b, len(systems), groups, state, disclosure)
    found: dict[int, _Ranked] = {}
    table: list[Row] = []
    for s in range(len(groups.level)):
        head: Row = {"attribute": groups.attribute[s], "level": groups.level[s]}
        if state[s] != SHOWN:
            table += [head | {"system": name} | hidden(disclosure) for name in systems]
            continue
        member = np.zeros(len(rows.ids), bool)
        member[groups.users(s)] = True
        one = _ranked(rows, features, a, b, kept[s], np.flatnonzero(member[rows.user]), ridge, level)
        found[s] = one
        table += [head | {"system": name} | one.row(k) for k, name in enumerate(systems)]
    if not np.isfinite(found[0].rating).any():
        raise InputError(
            f"comparisons: nothing can be ranked ({found[0].why or 'too few users of each system'}); give ridge > 0"
        )
    columns = [] if style is None else rows.names
    held = [(n, c, c - h, c + h) for n, (c, h) in zip(columns, found[0].style, strict=True)]
    coefficient = pl.DataFrame(held, schema=STYLE, orient="row")
    frame_of = pl.DataFrame(table, schema=TABLE).with_columns(pl.col(NUMBERS).fill_nan(None))
    return Leaderboard(frame_of, _groups(groups.attribute, groups.level, found, systems), coefficient, (*notes, *more))


def _labelled(frame: pl.DataFrame) -> pl.DataFrame:
    """The comparisons with a label, from the winner where there is none, as arenas publish them."""
    if "label" in frame.columns or "winner" not in frame.columns:
        return frame
    winner = frame["winner"].cast(pl.String)
    tie = winner.str.starts_with("tie") | winner.is_in(["both_bad", "bothbad"])
    known = tie | winner.is_in(["model_a", "model_b"])
    if not known.fill_null(False).all():
        row = int((~known.fill_null(False)).arg_max() or 0)
        raise InputError(f'comparisons: winner is {winner[row]!r} in row {row}; write "model_a", "model_b" or "tie"')
    label = pl.select(pl.when(tie).then(0.5).otherwise((winner == "model_a").cast(pl.Float64)).alias("label"))
    return frame.drop("winner").with_columns(label.to_series())


@dataclass(frozen=True, eq=False)
class _Ranked:
    """One group's ranking of K systems; NaN and rank 0 for those that are left out."""

    rating: Floats
    covariance: Floats
    half: float
    ranks: Ints  # (K, 3): rank, and the ends of its interval
    apart: float
    n_users: int
    users_of: Ints
    rows_of: Ints
    style: list[tuple[float, float]]
    why: str

    def row(self, k: int) -> dict[str, Any]:
        """The numbers of one system."""
        if not np.isfinite(self.rating[k]):
            return {
                "flag": self.why or "too few users of this system in the group, or would reveal some",
                "suppressed": self.why == "",
            }
        se = float(np.sqrt(self.covariance[k, k]))
        r = float(self.rating[k])
        ranks = dict(zip(("rank", "rank_lo", "rank_hi"), self.ranks[k].tolist(), strict=True))
        numbers = {"rating": r, "se": se, "lo": r - self.half * se, "hi": r + self.half * se}
        return (
            numbers
            | ranks
            | {"n_users": int(self.users_of[k]), "n_comparisons": int(self.rows_of[k]), "suppressed": False}
        )


def _people_of(rows: FactorRows, a: Ints, b: Ints, use: Ints, systems: int) -> Ints:
    """How many people (K,) judged each system in some rows."""
    seen = np.unique(np.concatenate([np.stack([side[use], rows.user[use]]) for side in (a, b)], axis=1), axis=1)
    return np.bincount(seen[0], minlength=systems)


def _kept(
    rows: FactorRows, a: Ints, b: Ints, systems: int, groups: Slices, state: State, disclosure: Disclosure
) -> NDArray[np.bool_]:
    """Which systems (S, K) each slice ranks: those of people enough, and none that would give another group's away.

    How many people of each group judged one system is a table of its own, in which the rules of `withheld` hold.
    """
    sums, least = sums_of(groups), max(disclosure.min_users_show, 1)
    mine = [np.flatnonzero(np.isin(rows.user, groups.users(s))) for s in range(len(groups.level))]
    keep = np.repeat((state == SHOWN)[:, None], systems, axis=1)
    every = np.ones(systems, bool)
    while True:  # without one system, another may have too few people left
        people = np.zeros(keep.shape, np.int64)
        for s, own in enumerate(mine):
            left = keep[s] if state[s] == SHOWN else every
            people[s] = _people_of(rows, a, b, own[left[a[own]] & left[b[own]]], systems)
        left = keep & (people >= least)
        for k in range(systems if disclosure.complementary else 0):
            one = np.where(left[:, k] | (people[:, k] == 0), SHOWN, TOO_FEW).astype(np.int8)
            left[:, k] &= closed(sums, one, people[:, k : k + 1], disclosure, first=1) == SHOWN
        if (left == keep).all():
            return keep
        keep = left


def _ranked(
    rows: FactorRows,
    features: Floats,
    a: Ints,
    b: Ints,
    keep: NDArray[np.bool_],
    mine: Ints,
    ridge: float,
    level: float,
) -> _Ranked:
    use, systems = mine[keep[a[mine]] & keep[b[mine]]], len(keep)
    people = _people_of(rows, a, b, use, systems)
    order = np.flatnonzero(keep)
    rating, covariance = np.full(systems, np.nan), np.full((systems, systems), np.nan)
    ranks, n = np.zeros((systems, 3), np.intp), len(np.unique(rows.user[use]))
    each = np.bincount(a[use], minlength=systems) + np.bincount(b[use], minlength=systems)
    if len(order) < 2:
        return _Ranked(rating, covariance, np.nan, ranks, np.nan, n, people, each, [], "")
    column = np.full(systems, -1)
    column[order] = np.arange(len(order))
    x = np.zeros((len(use), len(order)))
    x[np.arange(len(use)), column[a[use]]] += 1
    x[np.arange(len(use)), column[b[use]]] -= 1
    design = np.hstack([x[:, :-1], features[use]])
    fits = fit_groups(design, rows.y[use], rows.user[use], weights=rows.w[use], ridge=ridge)
    whole = np.isfinite(fits.coefficient[0]).all() and np.isfinite(fits.covariance[0]).all()
    if fits.why[0] != FITTED or not whole:
        return _Ranked(rating, covariance, np.nan, ranks, np.nan, n, people, each, [], fits.why[0] or "not identified")
    k = len(order)
    turn = np.vstack([np.eye(k - 1), np.zeros(k - 1)]) - 1 / k  # sum to zero
    rating[order] = turn @ fits.coefficient[0, : k - 1]
    covariance[np.ix_(order, order)] = turn @ fits.covariance[0, : k - 1, : k - 1] @ turn.T
    pairs = np.array(list(combinations(order.tolist(), 2)))
    gap = rating[pairs[:, 0]] - rating[pairs[:, 1]]
    spread = (
        covariance[pairs[:, 0], pairs[:, 0]]
        + covariance[pairs[:, 1], pairs[:, 1]]
        - 2 * covariance[pairs[:, 0], pairs[:, 1]]
    )
    p = holm(2 * student.sf(np.abs(gap) / np.sqrt(spread), n - 1))
    better, worse = np.where(gap[:, None] > 0, pairs, pairs[:, ::-1]).T
    shown = p < 1 - level
    above, below = np.bincount(worse[shown], minlength=systems), np.bincount(better[shown], minlength=systems)
    ranks[order, 0] = 1 + (rating[order][None] > rating[order][:, None] + 1e-12).sum(axis=1)
    ranks[order, 1], ranks[order, 2] = 1 + above[order], k - below[order]
    half = float(student.isf((1 - level) / 2, n - 1))
    error = half * fits.error[0, k - 1 :]
    style = list(zip(fits.coefficient[0, k - 1 :].tolist(), error.tolist(), strict=True))
    return _Ranked(rating, covariance, half, ranks, float(shown.mean()), n, people, each, style, "")


def _groups(
    attribute: tuple[str, ...], level: tuple[str, ...], found: dict[int, _Ranked], systems: list[str]
) -> pl.DataFrame:
    """How each group's ranking stands to everybody's."""
    first, lines = found[0], list[dict[str, Any]]()
    leader = int(np.nanargmax(first.rating))
    for s, one in found.items():
        known = np.isfinite(one.rating)
        line: dict[str, Any] = {
            "attribute": attribute[s],
            "level": level[s],
            "n_users": one.n_users,
            "n_systems": int(known.sum()),
        }
        if known.any():
            top = int(np.nanargmax(one.rating))
            both = known & np.isfinite(first.rating)
            line |= {
                "separability": one.apart,
                "top": systems[top],
                "kendall": float(kendalltau(one.rating[both], first.rating[both])[0]),
            }
            if known[leader] and top != leader:
                gap = one.rating[top] - one.rating[leader]
                v = one.covariance
                error = np.sqrt(v[top, top] + v[leader, leader] - 2 * v[top, leader])
                line |= {
                    "top_against": float(gap),
                    "p": float(student.sf(gap / error, one.n_users - 1) * max(known.sum() - 1, 1)),
                }
                line["p"] = min(line["p"], 1.0)
        lines.append(line)
    p = np.array([line.get("p", np.nan) for line in lines], dtype=float)
    for line, q in zip(lines, holm(p).tolist(), strict=True):
        line["q"] = q
    return pl.DataFrame(lines, schema=GROUPS).with_columns(pl.col("kendall", "p", "q", "separability").fill_nan(None))
