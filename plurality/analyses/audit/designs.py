"""Audits of people who came by a survey's design: strata, clusters, finite population, replicate weights."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import t as student

from plurality.analyses.audit.estimates import Estimate
from plurality.analyses.audit.metrics import GAP, MEANS, METRICS, UTILITY
from plurality.analyses.audit.sections import Section
from plurality.analyses.audit.slices import SHOWN, Slices, State
from plurality.analyses.audit.user_sums import Material
from plurality.analyses.inference.bootstrap import Floats
from plurality.analyses.inference.raking import kish
from plurality.analyses.inference.survey import (
    Lonely,
    Replicates,
    SurveyDesign,
    clusters,
    survey_difference,
    survey_mean,
)
from plurality.analyses.inputs import Predictions, listed, numbers
from plurality.errors import InputError

__all__ = ["DesignColumns"]


@dataclass(frozen=True)
class DesignColumns:
    """The columns of the users table that say how people were sampled, as `SurveyDesign` takes their values.

    weight        sampling weights > 0
    strata        strata; one by default
    psu           clusters that were drawn, nested in strata; people themselves by default
    fpc           clusters in the population of the stratum, or the share that was drawn where ≤ 1
    replicates    replicate weights, which are then used instead of strata, clusters and correction
    scale         factor of the sum over replicates, such as 1 / (R − 1) for a bootstrap of R
    rscales       factor of each replicate; 1 by default
    mse           squares around the estimate, not around the mean of the replicates
    df            degrees of freedom of the replicates; R − 1 by default
    lonely        stratum of one cluster: "error", "adjust" or "remove"
    """

    weight: str
    strata: str | None = None
    psu: str | None = None
    fpc: str | None = None
    replicates: Sequence[str] = ()
    scale: float | None = None
    rscales: Sequence[float] | None = None
    mse: bool = False
    df: float | None = None
    lonely: Lonely = "error"


@dataclass(frozen=True, eq=False)
class Sampled:
    """A design of all people of a users table, and which of them (U,) were audited."""

    design: SurveyDesign
    place: NDArray[np.intp]

    def whole(self, values: Floats) -> Floats:
        """Numbers (U, K) of those who were audited as (n, K) of everybody sampled; 0 of the others."""
        result = np.zeros((len(np.asarray(self.design.weights)), values.shape[1]))
        result[self.place] = values
        return result

    def domain(self, users: NDArray[np.integer]) -> NDArray[np.bool_]:
        """Who of everybody sampled is among some that were audited."""
        inside = np.zeros(len(np.asarray(self.design.weights)), bool)
        inside[self.place[users]] = True
        return inside


def read_design(columns: DesignColumns, users: pl.DataFrame | None, data: Predictions) -> Sampled:
    """The design that some columns describe. Raises InputError where one is missing or does not fit.

    People of the users table who have no comparisons stay in the design, as people outside a domain do.

    columns    what the columns are called
    users      user_id and these columns
    data       comparisons
    """
    if users is None:
        raise InputError("design: no users table; give users= with the columns of the sampling design")
    if (data.people != 1).any():
        raise InputError("design: predictions have weights of people too; leave out their column weight")
    text = [name for name in (columns.strata, columns.psu) if name is not None]
    number = [columns.weight, *([columns.fpc] if columns.fpc else []), *columns.replicates]
    for name in (*text, *number):
        if name not in users.columns:
            raise InputError(f"design: {name!r} is no column of the users table; it has {listed(users.columns)}")
        if users[name].null_count():
            row = int(users[name].is_null().arg_max() or 0)
            raise InputError(
                f"users: {name} is missing in row {row} (first row is 0); the design needs it of everybody"
            )
    if columns.replicates and columns.scale is None:
        raise InputError("design: replicates without scale; give it, such as 1 / (R - 1) for a bootstrap of R")
    values = {name: numbers(users, name, "users", "the sampling design needs numbers") for name in number}
    again = None
    if columns.replicates and columns.scale is not None:
        table = np.stack([values[name] for name in columns.replicates], axis=1)
        again = Replicates(table, columns.scale, columns.rscales, columns.mse, columns.df)
    strata, psu = (None if name is None else users[name].cast(pl.String).to_numpy() for name in
                   (columns.strata, columns.psu))  # fmt: skip
    fpc = values[columns.fpc] if columns.fpc else None
    design = SurveyDesign(values[columns.weight], strata, psu, fpc, again, columns.lonely)
    rows = {user: row for row, user in enumerate(users["user_id"].cast(pl.String))}
    absent = [user for user in data.ids if user not in rows]
    if absent:
        raise InputError(f"design: user {absent[0]!r} is not in the users table; add the row, or drop the comparisons")
    return Sampled(design, np.array([rows[user] for user in data.ids], np.intp))


def weighted(data: Predictions, sampled: Sampled) -> Predictions:
    """The comparisons of people who weigh what they stand for, 1 on average."""
    weight = np.asarray(sampled.design.weights, float)[sampled.place]
    return replace(data, people=weight / weight.mean())


def cluster_counts(sampled: Sampled, draws: int, seed: int) -> NDArray[np.uint8] | None:
    """How often each audited person counts (U, draws) where clusters are drawn anew within strata; None of replicates.

    It is what the intervals of statistics that are no means come from. Of a stratum's clusters as many are drawn as
    there are; the finite population is left out of account, so that these intervals are rather wide.
    """
    if sampled.design.replicates is not None:
        return None
    place, home, size = clusters(sampled.design)
    rng, counts = np.random.default_rng(seed), np.zeros((len(home), draws), np.uint8)
    for h, n in enumerate(size.tolist()):
        counts[home == h] = np.minimum(rng.multinomial(n, np.full(n, 1 / n), draws).T, 255)
    return counts[place[sampled.place]]


def by_design(found: Estimate, base: Material, users: NDArray[np.integer], sampled: Sampled, level: float) -> Estimate:
    """The estimates of a slice with the design's own errors, intervals and tests of means and of their differences.

    found      by resampling
    base       what the audit makes of the comparisons
    users      of the slice
    sampled    the design
    level      coverage of the intervals
    """
    x = sampled.whole(base.sums.means)
    use = np.flatnonzero(np.isfinite(x).all(axis=0))
    mine, everybody = sampled.domain(users), sampled.domain(np.arange(len(sampled.place)))
    mean = survey_mean(x[:, use], sampled.design, domain=mine, level=level)
    new = {name: getattr(found, name).copy() for name in
           ("error", "lo", "hi", "p", "diff_lo", "diff_hi", "diff_error")}  # fmt: skip
    at = use + MEANS.start
    new["error"][at], new["lo"][at], new["hi"][at] = mean.se, mean.lo, mean.hi

    def tested(value: Floats, error: Floats, df: float) -> Floats:
        with np.errstate(divide="ignore", invalid="ignore"):
            return 2 * student.sf(np.abs(value) / np.where(error > 0, error, np.nan), df)

    if np.isfinite(found.diff[at]).any():
        apart = survey_difference(x[:, use], sampled.design, mine, everybody, level=level)
        new["diff_error"][at], new["diff_lo"][at], new["diff_hi"][at] = apart.se, apart.lo, apart.hi
        new["p"][at] = tested(apart.estimate, apart.se, apart.df)
    if (here := np.flatnonzero(at == GAP)).size:  # whose own null is 0
        new["p"][GAP] = tested(mean.estimate, mean.se, mean.df)[here[0]]
    return replace(found, **new)


def design_section(base: Material, groups: Slices, state: State, sampled: Sampled, level: float) -> Section:
    """What weights and clusters cost: Kish's design effect of weights, and that of the design, of shown slices.

    Kish's is 1 + cv²(w), n over the effective number of people; `deff` the variance of utility over that of as many
    people drawn at random.

    base       what the audit makes of the comparisons
    groups     slices of users
    state      (S,) which are withheld
    sampled    the design
    level      coverage of the intervals
    """
    rows: list[dict[str, Any]] = []
    x = sampled.whole(base.sums.means[:, [UTILITY]])
    for s in np.flatnonzero(state == SHOWN).tolist():
        users = groups.users(s)
        found = survey_mean(x, sampled.design, domain=sampled.domain(users), level=level)
        effective = kish(base.people[users])
        row = {"attribute": groups.attribute[s], "level": groups.level[s], "n_users": len(users)}
        row |= {"kish_n": effective, "kish_deff": len(users) / effective, "deff": float(found.deff[0]), "df": found.df}
        rows.append(row)
    frame = pl.DataFrame(rows).with_columns(pl.col("deff").fill_nan(None))
    whole = frame.row(0, named=True)
    deff = ""
    if whole["deff"] is not None:
        worth = whole["n_users"] / whole["deff"]
        deff = (
            f"; {METRICS[UTILITY].title.lower()} of everybody is known as well as by {worth:.0f} people drawn at random"
        )
        deff += f" (design effect {whole['deff']:.2f})"
    return Section(
        "design",
        "How people were sampled",
        (f"Weights leave the information of {whole['kish_n']:.0f} of {whole['n_users']} users (Kish's design effect "
         f"{whole['kish_deff']:.2f}){deff}.",),
        "Intervals and tests of means, and of differences from everybody, are the design's own; those of other "
        "statistics draw clusters anew within strata.",
        frame,
        None,
    )  # fmt: skip
