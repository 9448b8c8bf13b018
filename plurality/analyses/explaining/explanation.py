"""What the codes of users mean, in frames: directions, the items at their ends, features along them, who has them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike

from plurality.analyses.audit.attributes import attributes_of
from plurality.analyses.audit.readout import Readable, Readout
from plurality.analyses.audit.slices import DISCLOSURE, SHOWN, Disclosure, slices
from plurality.analyses.audit.withholding import withheld
from plurality.analyses.explaining import view
from plurality.analyses.explaining.association_tests import Association, associations, separated
from plurality.analyses.explaining.axes import Axes, code_axes
from plurality.analyses.explaining.findings import DirectionFindings
from plurality.analyses.features import numeric
from plurality.analyses.inference.bootstrap import Floats
from plurality.analyses.inputs import Table, read_table
from plurality.analyses.levels import MISSING, NOT_LISTED, levels_of
from plurality.analyses.wording import correlated, named
from plurality.arrays import Int
from plurality.errors import InputError

STRAIGHT = 0.99  # share of what differs between users from which directions are said to be all of it


@dataclass(frozen=True, repr=False, eq=False)
class Explanation(DirectionFindings, Readable):
    """What the directions of codes mean.

    Positions are in standard deviations of people, values in log-odds for one of them. `directions` has a row each:
    `movement`, the sd over people and items by which it moves utilities, in log-odds, `share` of the variance between
    people that all directions make, and `names`, what goes with it beyond chance. `ends` are the items that it
    lifts and lowers most against others of their prompt; `features` the correlation of each readable feature with it,
    `levels` the mean position of people by level, `attributes` how much lies between levels. p is corrected for all
    that was looked at, and what it does not show is not `named`. `user` is where one user stands. It describes the
    codes and the reward as they are: how sure the fit is of them is no part of it.
    """

    def readout(self) -> Readout:
        """What a person is shown of it."""
        return view.readout(self)

    def page(self) -> str:
        """The result as one HTML page that needs no network."""
        style = "body{font:16px/1.5 sans-serif;margin:2em;color-scheme:light dark}"
        head = f"<meta charset='utf-8'><title>What codes mean</title><style>{style}</style>"
        return f"<!doctype html><html lang='en'><head>{head}</head><body>{self._repr_html_()}</body></html>"

    def __repr__(self) -> str:
        return f"<Explanation of {self.directions.height} directions of {self.meta['n_users']:,} users; print it>"


def explain_codes(  # noqa: PLR0913 - arrays of a model, and what is known of items and people
    codes: ArrayLike,
    values: ArrayLike,
    names: Sequence[str],
    ids: Sequence[str],
    *,
    prompt: Int,
    texts: pl.DataFrame | None = None,
    features: Table | None = None,
    users: Table | None = None,
    by: Sequence[str] | None = None,
    user: str | None = None,
    turned: bool = True,
    straight: float = 1.0,
    title: str = "codes",
    ends: int = 3,
    permutations: int = 999,
    n_bootstrap: int = 500,
    seed: int = 0,
    disclosure: Disclosure = DISCLOSURE,
) -> Explanation:
    """Say what codes (U, K) mean that are worth `values` (K, M) on items.

    A feature of items, or an attribute of people, is named where a permutation test (`associations`, `separated`) has
    p below .05, corrected for all features or attributes, for all directions, and for looking at both; a feature also
    where its interval does not hold 0 and |r| is .1 or more.
    Levels of few users are withheld as in an audit. Raises InputError for shapes that do not match and an unknown user.

    codes           (U, K) of users, in any unit
    values          (K, M) what a unit of code is worth on each item, in log-odds
    names           (K,) of the entries of codes
    ids             (U,) of the users
    prompt          (M,) codes from 0 of the prompts within which items are compared
    texts           a row an item, `prompt` and `completion`; None: items are shown by their row
    features        a row an item, numeric columns that can be named; None: nothing is looked at
    users           table with user_id and attributes; None: nothing is known of people
    by              attributes; all with few levels by default
    user            whose position is told; None: nobody's
    turned          to principal axes, which are then called direction_0, …
    straight        share of what differs between users that codes times values make, for a note where it is not all
    title           what is explained, for the heading
    ends            items shown at either end
    permutations    shuffles behind p
    n_bootstrap     resamples of prompts (or items) behind the intervals of correlations
    seed            of both
    disclosure      how many users a level needs
    """
    found, place = code_axes(codes, values, prompt, turned=turned), {u: i for i, u in enumerate(ids)}
    if len(place) != len(found.position) or (user is not None and user not in place):
        raise InputError(
            f"explain: {len(place)} different ids for {len(found.position)} codes; give each user's once"
            if len(place) != len(found.position)
            else f"explain: user {user!r} has no code; give one the model knows, or adapt it first"
        )
    labels = [f"direction_{k}" for k in range(len(found.value))] if turned else list(names)
    read = None if features is None else read_table(features, "features")
    attributes, notes = attributes_of(_listed(users, place), tuple(place), by)
    shown = _shown(attributes, disclosure)
    kinds = (read is not None) + bool(shown.width)
    if straight < STRAIGHT:
        notes.append(
            f"Directions make {straight:.0%} of what differs between users: utility is no straight line in these codes."
        )
    along = _features(found, read, prompt, labels, kinds, permutations, n_bootstrap, seed)
    between, means = _people(found, attributes, shown, labels, kinds, permutations, seed)
    return Explanation(
        directions=_directions(found, labels, along, between),
        ends=_ends(found, labels, texts, ends),
        features=along,
        attributes=between,
        levels=means,
        user=None if user is None else _user(found, labels, place[user]),
        notes=tuple(notes),
        meta={
            "title": title,
            "n_users": len(place),
            "n_items": len(prompt),
            "n_prompts": len(np.unique(prompt)),
            "user": user,
            "permutations": permutations,
            "seed": seed,
        },
    )


def _listed(users: Table | None, place: dict[str, int]) -> pl.DataFrame | None:
    """The users table, where it says anything of anybody here."""
    if users is None:
        return None
    table = read_table(users, "users")
    known = "user_id" not in table.columns or table["user_id"].cast(pl.String).is_in(list(place)).any()
    return table if known else None


def _shown(attributes: pl.DataFrame, disclosure: Disclosure) -> pl.DataFrame:
    """Codes of levels that may be shown, from 0; null for others and where a level is not known."""
    if not attributes.width:
        return pl.DataFrame()
    groups = slices(attributes, attributes.height, ways=1)
    fine = withheld(groups, disclosure) == SHOWN
    open_levels = {(a, v) for a, v, ok in zip(groups.attribute, groups.level, fine, strict=True) if ok}
    columns = []
    for name in attributes.columns:
        kept = [
            level
            for level in levels_of(attributes[name])[0]
            if (name, level) in open_levels and level not in (MISSING, NOT_LISTED)
        ]
        code = {level: k for k, level in enumerate(kept)}
        text = attributes[name].cast(pl.String)
        columns.append(text.replace_strict(code, default=None, return_dtype=pl.Int64).alias(name))
    return pl.DataFrame(columns)


def _features(
    found: Axes,
    table: pl.DataFrame | None,
    prompt: Int,
    labels: list[str],
    kinds: int,
    permutations: int,
    draws: int,
    seed: int,
) -> pl.DataFrame:
    """A row for each direction and feature, the strongest of each direction first."""
    names = [] if table is None else table.columns
    shape = (len(labels), len(names))
    tested = Association(*(np.full(shape, np.nan) for _ in range(4)))
    if table is not None:
        x = numeric(table, "features")
        tested = associations(found.value, x, prompt, permutations=permutations, draws=draws, seed=seed)
    rows = pl.DataFrame(
        {
            "direction": np.repeat(labels, len(names)).tolist(),
            "feature": list(names) * len(labels),
            "r": tested.r.ravel(),
            "lo": tested.lo.ravel(),
            "hi": tested.hi.ravel(),
            "p": np.minimum(1, kinds * tested.p).ravel(),
        },
        schema_overrides={"direction": pl.String, "feature": pl.String},
    )
    flags = [correlated(row["r"], row["lo"], row["hi"], row["p"]) for row in rows.iter_rows(named=True)]
    rows = rows.with_columns(named=pl.Series(flags, dtype=pl.Boolean))
    size = pl.col("r").abs().fill_nan(0.0)
    return rows.sort(_place("direction", labels), -size, maintain_order=True)


def _people(
    found: Axes,
    attributes: pl.DataFrame,
    shown: pl.DataFrame,
    labels: list[str],
    kinds: int,
    permutations: int,
    seed: int,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """How much of each direction lies between levels, and where each level stands."""
    tested = separated(found.position, shown, permutations=permutations, seed=seed)
    between, means = [], []
    for a, name in enumerate(shown.columns):
        code = shown[name]
        place = dict(zip(code.drop_nulls(), attributes[name].cast(pl.String).filter(code.is_not_null()), strict=True))
        count = np.bincount(code.drop_nulls().to_numpy(), minlength=len(tested.means[a]))
        for k, label in enumerate(labels):
            p = min(1.0, kinds * tested.p[a, k])
            row = (label, name, int(tested.n[a]), len(tested.means[a]), tested.r2[a, k], p, named(p))
            between.append(row)
            means += [
                (label, name, place[level], int(count[level]), mean)
                for level, mean in enumerate(tested.means[a][:, k].tolist())
            ]
    head = {"direction": pl.String, "attribute": pl.String}
    schema = head | {"n_users": pl.Int64, "n_levels": pl.Int64, "r2": pl.Float64, "p": pl.Float64, "named": pl.Boolean}
    table = pl.DataFrame(between, schema=schema, orient="row")
    places = pl.DataFrame(
        means, schema=head | {"level": pl.String, "n_users": pl.Int64, "mean": pl.Float64}, orient="row"
    )
    order = _place("direction", labels)
    return table.sort(order, "p", maintain_order=True), places.sort(order, maintain_order=True)


def _directions(found: Axes, labels: list[str], along: pl.DataFrame, between: pl.DataFrame) -> pl.DataFrame:
    """A row a direction, with what goes with it."""
    variance = found.movement**2
    called = [
        [
            *along.filter(pl.col("named") & (pl.col("direction") == label))["feature"],
            *between.filter(pl.col("named") & (pl.col("direction") == label))["attribute"],
        ]
        for label in labels
    ]
    return pl.DataFrame(
        {
            "direction": labels,
            "movement": found.movement,
            "share": variance / max(float(variance.sum()), np.finfo(float).tiny),
            "names": pl.Series(called, dtype=pl.List(pl.String)),
        }
    )


def _ends(found: Axes, labels: list[str], texts: pl.DataFrame | None, most: int) -> pl.DataFrame:
    """The items that an sd of people moves most, up and down, against others of their prompt."""
    rows: list[dict[str, Any]] = []
    for label, value in zip(labels, found.value, strict=True):
        order = np.argsort(-value, kind="stable")
        for end, items in (("high", order[:most]), ("low", order[::-1][:most])):
            for rank, item in enumerate(items.tolist(), 1):
                moved = value[item] > 0 if end == "high" else value[item] < 0
                if moved:
                    rows.append({"direction": label, "end": end, "rank": rank, "item": item, "value": value[item]})
    kinds = {"direction": pl.String, "end": pl.String, "rank": pl.Int64, "item": pl.Int64, "value": pl.Float64}
    made = pl.DataFrame(rows, schema=kinds)
    if texts is None:
        return made
    return pl.concat([made, texts.select("prompt", "completion")[made["item"].to_numpy()]], how="horizontal")


def _user(found: Axes, labels: list[str], row: int) -> pl.DataFrame:
    """Where one user stands: position in sd of people, and the share of others who stand lower, ties half."""
    own = found.position[row]
    others: Floats = np.delete(found.position, row, axis=0)
    below = ((others < own).mean(axis=0) + (others <= own).mean(axis=0)) / 2
    return pl.DataFrame({"direction": labels, "position": own, "below": below})


def _place(column: str, labels: list[str]) -> pl.Expr:
    """The place of a direction, for sorting."""
    return pl.col(column).replace_strict({label: k for k, label in enumerate(labels)}, return_dtype=pl.Int64)
