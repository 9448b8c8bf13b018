"""Which readable features drive whose preferences: one tidy table for every group, and where groups differ."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import t as student

from plurality.analyses.audit.attributes import attributes_of
from plurality.analyses.audit.readout import Readable, Readout
from plurality.analyses.audit.slices import DISCLOSURE, SHOWN, Disclosure, Slices, slices
from plurality.analyses.audit.tables import hidden
from plurality.analyses.audit.withholding import withheld
from plurality.analyses.factors import view
from plurality.analyses.factors.findings import FactorFindings
from plurality.analyses.factors.inputs import FactorRows, read_rows
from plurality.analyses.factors.logistic import FITTED, GroupFits, fit_groups
from plurality.analyses.factors.pooling import Homogeneity, Pooled, adjusted, homogeneity, pool
from plurality.analyses.factors.scores import LABELS, Scores, group_scores
from plurality.analyses.factors.selection import select
from plurality.analyses.inference.bootstrap import Floats, two_sided_p
from plurality.analyses.inputs import Table, read_table
from plurality.deprecation import renamed
from plurality.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TABLE = {
    "attribute": pl.String,
    "level": pl.String,
    "feature": pl.String,
    "n_users": pl.Int64,
    "n_comparisons": pl.Int64,
    "coefficient": pl.Float64,
    "lo": pl.Float64,
    "hi": pl.Float64,
    "p": pl.Float64,
    "q": pl.Float64,
    "shrunk": pl.Float64,
    "l1": pl.Float64,
    "selected": pl.Boolean,
    "tau": pl.Float64,
    "tau_lo": pl.Float64,
    "tau_hi": pl.Float64,
    "flag": pl.String,
    "suppressed": pl.Boolean,
}

HOMOGENEITY = {
    "attribute": pl.String,
    "feature": pl.String,
    "n_groups": pl.Int64,
    "cochran_q": pl.Float64,
    "p": pl.Float64,
    "q": pl.Float64,
    "between_sd": pl.Float64,
}

Row = dict[str, object]


@dataclass(frozen=True, repr=False, eq=False)
class Factors(FactorFindings, Readable):
    """What drives whose preferences.

    `table` is tidy, a row for each group and feature. `coefficient` is in log-odds of being preferred per
    standard deviation of the feature's difference, the other features held fixed, with `lo` and `hi` over users
    and `p`, `q` of being 0; `shrunk` leans towards the attribute's mean as far as its groups agree; `l1` and
    `selected` are what an L1 penalty leaves; `tau` is Kendall's tau-b of the feature alone. `homogeneity` says,
    for each attribute and feature, whether the groups differ. Groups of too few users are withheld.
    """

    def readout(self) -> Readout:
        """What a person is shown of it."""
        return view.readout(self)

    def __repr__(self) -> str:
        return (
            f"<Factors of {self.meta['n_users']} users, {len(self.meta['features'])} features; print it, or see .table>"
        )

    def figure(self, attribute: str | None = None) -> "Figure":
        """Heat map of coefficients, features by groups, beside those of all users.

        Raises InputError for an unknown attribute.

        attribute    whose groups are shown; the first attribute of the table by default
        """
        return view.figure(self, attribute)


@renamed(draws="n_bootstrap")
def factors(  # noqa: PLR0913 - the public face: each argument is a decision of the reader
    predictions: Table,
    differences: Table | NDArray[np.floating],
    users: Table | None = None,
    *,
    by: Sequence[str] | None = None,
    label: str = "label",
    ridge: float = 0.0,
    n_bootstrap: int = 500,
    seed: int = 0,
    level: float = 0.95,
    disclosure: Disclosure = DISCLOSURE,
) -> Factors:
    """Regress preferences on differences of features, for all users and for every level of every attribute.

    `predictions` has a row for each comparison: user_id, `label` = P(first preferred) in [0, 1] as people said, or
    as a model says it when `label` names such a column, and optionally weight. `differences` (n, F) are features
    of the first response less the second's, in the same order of rows, named by their columns; they are scaled
    to a root mean square of 1 over all rows. `users` has user_id and attributes, taken `by` name or all with few
    levels. `ridge` > 0 penalises each group's |coefficients|²/2, for groups that features separate; 0 does not.
    `n_bootstrap` draws of users are for tau's intervals, from `seed`. `level` is the coverage of intervals, and
    `disclosure` says how many users a group needs. Intervals and p take users as units; q is Benjamini & Hochberg's
    within an attribute. Raises InputError on input that cannot give a right answer.

    >>> import plurality as pl8
    >>> users = [f"user-{k // 4}" for k in range(80)]
    >>> predictions = {"user_id": users, "label": [1, 0, 1, 1] * 20}
    >>> found = pl8.factors(predictions, {"length": [1.0, -1.0, 2.0, -0.5] * 20}, n_bootstrap=20)
    >>> found.table.select("feature", "n_users", "n_comparisons").row(0)
    ('length', 20, 80)
    >>> round(found.table["tau"][0], 3)
    0.686
    """
    if not 0 < level < 1:
        raise InputError(f"level: {level}; give a coverage between 0 and 1, such as .95")
    rows, notes = read_rows(read_table(predictions, "predictions"), differences, label)
    listed_users = None if users is None else read_table(users, "users")
    attributes, more = attributes_of(listed_users, rows.ids, by)
    groups = slices(attributes, len(rows.ids), ways=1)
    state = withheld(groups, disclosure)
    ranked = bool(np.isin(rows.y, LABELS).all())
    if not ranked:
        more = [*more, "Some labels are soft: tau, which needs labels of 0, 0.5 or 1, is left out."]
    table: list[Row] = []
    differing: list[Row] = []
    for attribute in dict.fromkeys(groups.attribute):
        member = np.flatnonzero(np.array(groups.attribute) == attribute)
        shown = member[state[member] == SHOWN]
        code = _codes(groups, shown, rows.user)
        n = len(shown)
        fits = fit_groups(rows.x, rows.y, rows.user, code, weights=rows.w, n_groups=n, ridge=ridge)
        pooled = pool(fits.coefficient, fits.covariance, n_users=fits.n_users)
        scores = _scores(rows, code, n, (n_bootstrap, seed, level)) if ranked else _no_scores(fits)
        kept = _selected(rows, code, n, seed)
        n_rows = np.bincount(code[code >= 0], minlength=n)
        apart = attribute != groups.attribute[0]
        found = _Found(fits, pooled if apart else None, scores, kept, n_rows, level)
        table += _table(groups, member, state, rows.names, found, disclosure)
        if apart:
            differing += _differing(attribute, rows.names, fits, pooled)
    # NaN is an estimate that is undefined; what does not apply to a row is null
    frame = pl.DataFrame(table, schema=TABLE).with_columns(pl.col("p", "q", "shrunk", "l1").fill_nan(None))
    return Factors(
        table=frame,
        homogeneity=pl.DataFrame(differing, schema=HOMOGENEITY).with_columns(pl.col("p", "q").fill_nan(None)),
        notes=(*notes, *more),
        meta={"n_users": len(rows.ids), "n_comparisons": len(rows.y), "features": rows.names}
        | {"attributes": attributes.columns, "label": label, "ridge": ridge}
        | {"n_bootstrap": n_bootstrap, "seed": seed, "level": level},
        disclosure=disclosure,
    )


@dataclass(frozen=True)
class _Found:
    """Estimates of the shown groups of one attribute; `pooled` is None for everybody together."""

    fits: GroupFits
    pooled: Pooled | None
    scores: Scores
    l1: Floats
    n_rows: NDArray[np.intp]
    level: float


def _codes(groups: Slices, shown: NDArray[np.intp], user: NDArray[np.intp]) -> NDArray[np.intp]:
    """Which of the shown slices each row belongs to, −1 for none."""
    of_user = np.full(groups.membership.shape[0], -1)
    for k, s in enumerate(shown):
        of_user[groups.users(int(s))] = k
    return of_user[user]


def _selected(rows: FactorRows, code: NDArray[np.intp], n_groups: int, seed: int) -> Floats:
    """L1 coefficients (G, F), a group at a time."""
    result = np.full((n_groups, rows.x.shape[1]), np.nan)
    for k in range(n_groups):
        mine = code == k
        result[k] = select(rows.x[mine], rows.y[mine], rows.user[mine], weights=rows.w[mine], seed=seed).coefficient
    return result


def _scores(rows: FactorRows, code: NDArray[np.intp], n_groups: int, how: tuple[int, int, float]) -> Scores:
    draws, seed, level = how
    return group_scores(
        rows.x, rows.y, rows.user, code, weights=rows.w, n_groups=n_groups, draws=draws, seed=seed, level=level
    )


def _no_scores(fits: GroupFits) -> Scores:
    nothing = np.full(fits.coefficient.shape, np.nan)
    return Scores(nothing, nothing, nothing)


def _table(
    groups: Slices,
    member: NDArray[np.intp],
    state: NDArray[np.int8],
    names: list[str],
    found: _Found,
    disclosure: Disclosure,
) -> list[Row]:
    """Rows of every slice of one attribute and every feature; the numbers of withheld slices are null."""
    fits = found.fits
    users = fits.n_users[:, None]
    half = student.ppf(0.5 + found.level / 2, np.where(users > 1, users - 1, np.nan)) * fits.error
    p = two_sided_p(fits.coefficient, fits.error, np.broadcast_to(users, half.shape))
    shrunk = np.full(half.shape, np.nan) if found.pooled is None else found.pooled.value
    numbers = {
        "coefficient": fits.coefficient, "lo": fits.coefficient - half, "hi": fits.coefficient + half,
        "p": p, "q": adjusted(p), "shrunk": shrunk, "l1": np.where(fits.used, found.l1, np.nan),
        "tau": found.scores.tau, "tau_lo": found.scores.lo, "tau_hi": found.scores.hi,
    }  # fmt: skip
    result: list[Row] = []
    k = 0
    for s in member.tolist():
        head = {"attribute": groups.attribute[s], "level": groups.level[s]}
        if state[s] != SHOWN:
            result += [head | {"feature": name} | hidden(disclosure) for name in names]
            continue
        for f, name in enumerate(names):
            row: Row = head | {"feature": name, "n_users": int(fits.n_users[k]), "n_comparisons": int(found.n_rows[k])}
            row |= {column: float(values[k, f]) for column, values in numbers.items()}
            row["selected"] = None if np.isnan(numbers["l1"][k, f]) else bool(numbers["l1"][k, f] != 0)
            result.append(row | {"flag": _flag(fits, k, f, disclosure), "suppressed": False})
        k += 1
    return result


def _flag(fits: GroupFits, k: int, f: int, disclosure: Disclosure) -> str | None:
    """Everything a reader should know before trusting the row."""
    fitted = fits.why[k] == FITTED
    said = {
        fits.why[k]: not fitted,
        "differs for fewer than two users": fitted and not fits.used[k, f],
        "error unknown: rests on one user": fitted and fits.used[k, f] and np.isnan(fits.error[k, f]),
        f"n_users < {disclosure.min_users_flag}": 1 < fits.n_users[k] < disclosure.min_users_flag,
    }
    return "; ".join(text for text, holds in said.items() if holds) or None


def _differing(attribute: str, names: list[str], fits: GroupFits, pooled: Pooled) -> list[Row]:
    tested: Homogeneity = homogeneity(fits.coefficient, fits.error, fits.n_users)
    q = adjusted(tested.p)
    between = np.sqrt(np.diag(pooled.between))
    return [
        {
            "attribute": attribute,
            "feature": name,
            "n_groups": int(tested.n_groups[f]),
            "cochran_q": float(tested.q[f]),
            "p": float(tested.p[f]),
            "q": float(q[f]),
            "between_sd": float(between[f]),
        }
        for f, name in enumerate(names)
    ]
