"""Two or more models on the same rows: paired differences by group, who gains and who is harmed, equivalence."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy.special import logit
from scipy.stats import false_discovery_control
from scipy.stats import t as student

from plurality.analyses.audit.estimates import Plan
from plurality.analyses.audit.labels import with_group_names
from plurality.analyses.audit.metrics import MEANS, METRICS, UTILITY
from plurality.analyses.audit.sections import Section
from plurality.analyses.audit.slices import CROSS, OVERALL, SHOWN, Slices, State
from plurality.analyses.audit.tables import MATTERS
from plurality.analyses.audit.user_sums import Material, user_sums
from plurality.analyses.audit.verdict import name as name_of
from plurality.analyses.audit.verdict import percent, signed
from plurality.analyses.inference.bootstrap import Floats, interval, ratio_draws, standard_error, two_sided_p
from plurality.analyses.inference.resampling import count_parts
from plurality.analyses.inputs import Predictions, Table, chosen, listed, read_predictions, read_table
from plurality.analyses.welfare.harm import Changes, harmed_with_interval
from plurality.analyses.wording import ALPHA, direction
from plurality.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Models = Mapping[str, Table] | Sequence[str]
NUMBERS = ("baseline_estimate", "estimate", "difference", "lo", "hi", "p", "q", "p_equivalent",
           "harmed", "harmed_lo", "harmed_hi", "gaining")  # fmt: skip
MOST_DRAWS = 300  # behind the intervals of those who are harmed


def together(models: Mapping[str, Table]) -> pl.DataFrame:
    """One table of the predictions of several models, with their names in `model`.

    models    predictions by name
    """
    frames = []
    for name, table in models.items():
        frame = read_table(table, f"models[{name!r}]")
        frames.append(frame.drop("model", strict=False).with_columns(model=pl.lit(name)))
    return pl.concat(frames, how="diagonal_relaxed")


def asked_for(
    predictions: Table | None, models: Models | None, model: str | None
) -> tuple[pl.DataFrame, str | None, list[str]]:
    """The table of all models, which is the baseline, and which others stand beside it.

    predictions    of an audit
    models         predictions by name, or names in the table
    model          the one asked for, where none stand beside it
    """
    if models is None:
        if predictions is None:
            raise InputError("audit: give predictions, or models={name: predictions}")
        return read_table(predictions, "predictions"), model, []
    if isinstance(models, Mapping):
        if predictions is not None:
            raise InputError("audit: give predictions or models={name: predictions}, not both")
        names, frame = list(models), together(models)
    elif predictions is None:
        raise InputError(f"audit: models={list(models)} are names; give the predictions in which they stand")
    else:
        names, frame = list(models), read_table(predictions, "predictions")
    if len(set(names)) != len(names) or len(names) < 2:
        raise InputError(f"audit: models {listed(names)}; give at least two, each once")
    if model not in (None, names[0]):
        raise InputError(f"audit: the first of models, {names[0]!r}, is audited; put {model!r} first, or leave it out")
    return frame, names[0], names[1:]


def other_model(frame: pl.DataFrame, name: str, cell: str | None, data: Predictions) -> Predictions:
    """The comparisons of another model of the table, in the order of the baseline's.

    frame    rows of all models
    name     of the model
    cell     of the audit; None where there are none
    data     comparisons under the baseline
    """
    rows, _, _ = chosen(frame, "model", name, None)
    if cell is not None:
        rows, _, _ = chosen(rows, "cell", cell, None)
    return aligned(data, read_predictions(rows)[0], name)


def aligned(first: Predictions, other: Predictions, name: str) -> Predictions:
    """The other model's rows in the order of the first's. Raises InputError where they are not the same comparisons.

    first    comparisons of the baseline
    other    of the model that is compared
    name     what a message calls it
    """
    same = len(first.p) == len(other.p) and first.ids == other.ids
    if same and not (np.array_equal(first.user, other.user) and np.array_equal(first.y, other.y)):
        if first.pair is None or other.pair is None:
            raise InputError(f"models: rows of {name!r} are in another order; sort both alike, or give a column pair")
        one, two = np.lexsort((first.y, first.pair, first.user)), np.lexsort((other.y, other.pair, other.user))
        order = np.empty(len(two), np.intp)
        order[one] = two
        taken = {
            f: v[order] for f in ("user", "p", "y", "weight", "served", "pair") if (v := vars(other)[f]) is not None
        }
        gap = None if other.gap is None else other.gap[order]
        other = Predictions(other.ids, people=other.people, gap=gap, own_pick=other.own_pick, shown=None, **taken)
    if not same or not (np.array_equal(first.user, other.user) and np.array_equal(first.y, other.y)):
        raise InputError(
            f"models: {name!r} has other comparisons than the first; give the same people, rows and labels"
        )
    return other


def model_pairs(
    data: Predictions,
    base: Material,
    baseline: str,
    others: Mapping[str, Predictions],
    groups: Slices,
    state: State,
    plan: Plan,
) -> Section:
    """Differences of each other model from the baseline in everybody and every shown slice, paired by person and row.

    d_u is the difference of a person's two means, its mean over people has an interval by the audit's own draws. p
    tests no difference; `p_equivalent` is the larger of two one-sided tests that it lies within ± margin (Schuirmann
    1987), small where the models are shown to serve alike. `harmed` and `gaining` are the shares of people whose
    log-loss truly rises and falls by switching, the noise of few rows taken off, as `share_harmed` does.

    data        comparisons under the baseline
    base        what the audit makes of them
    baseline    its name
    others      the other models' comparisons, in the same order, by name
    groups      slices of users
    state       (S,) which are withheld
    plan        of the audit
    """
    shown, rows = np.flatnonzero(state == SHOWN).tolist(), list[dict[str, object]]()
    for name, other in others.items():
        sums, _, _ = user_sums(other)
        changes = _changes(data, other)
        start = len(rows)
        for s in shown:
            rows += _of_slice(base, sums.means, changes, groups, s, plan, name, baseline)
        _adjust(rows[start:])
    text = ("model", "baseline", "metric", "provenance", "attribute", "level")
    schema = {**dict.fromkeys(text, pl.String), "n_users": pl.Int64, **dict.fromkeys(NUMBERS, pl.Float64)}
    frame = pl.DataFrame(rows, schema=schema).with_columns(pl.col(NUMBERS).fill_nan(None))
    return Section(
        "models",
        "Models side by side",
        _said(frame, baseline, plan.margin),
        f"Change of observed utility from {baseline}, in points, on the same people's same comparisons; lines are "
        "intervals over people. Beside it the share of people whom switching would truly harm.",
        frame,
        _draw,
    )


def _changes(data: Predictions, other: Predictions) -> Changes | None:
    own, before = (logit(d.p) if d.gap is None else d.gap for d in (other, data))
    if not (np.isfinite(own).all() and np.isfinite(before).all()):
        return None
    return Changes.of(own, before, data.y, data.weight, data.user)


def _of_slice(
    base: Material, means: Floats, changes: Changes | None, groups: Slices, s: int, plan: Plan, name: str, baseline: str
) -> list[dict[str, object]]:
    users = groups.users(s)
    people, n = base.people[users][:, None], len(users)
    before, after = base.sums.means[users], means[users]
    top = people * (after - before)
    draws = np.concatenate([ratio_draws(part, top, people) for part in count_parts(base.counts[users])])
    value, error = top.sum(axis=0) / people.sum(), standard_error(draws, n)
    lo, hi = interval(draws, plan.level, n_users=n)
    p = two_sided_p(value, error, n)
    with np.errstate(divide="ignore", invalid="ignore"):
        apart = np.where(error > 0, (plan.margin - np.abs(value)) / error, np.nan)
        alike = student.sf(apart, n - 1) if n > 1 else np.full(len(value), np.nan)
    harm = dict.fromkeys(("harmed", "lo", "hi"), np.nan)
    gaining = np.nan
    if changes is not None and n > 1:
        mine = Changes(*(array[users] for array in (changes.mean, changes.variance, changes.skewness, changes.rows)))
        harm = harmed_with_interval(mine, min(base.counts.shape[1], MOST_DRAWS), plan.seed, plan.level)
        still = bool((mine.mean == 0).all())
        gaining = 0.0 if still else 1 - harm["harmed"]
    return [
        {"model": name, "baseline": baseline, "metric": METRICS[m].name, "provenance": METRICS[m].provenance,
         "attribute": groups.attribute[s], "level": groups.level[s], "n_users": n,
         "baseline_estimate": float((people[:, 0] @ before[:, m]) / people.sum()),
         "estimate": float((people[:, 0] @ after[:, m]) / people.sum()), "difference": float(value[m]),
         "lo": float(lo[m]), "hi": float(hi[m]), "p": float(p[m]), "q": np.nan,
         "p_equivalent": float(alike[m]) if METRICS[m].name in MATTERS else np.nan,
         "harmed": harm["harmed"], "harmed_lo": harm["lo"], "harmed_hi": harm["hi"], "gaining": gaining}
        for m in range(MEANS.start, MEANS.stop)
    ]  # fmt: skip


def _adjust(rows: list[dict[str, object]]) -> None:
    """Benjamini–Hochberg over the groups of each attribute, a metric at a time, in place."""
    families: dict[tuple[object, ...], list[dict[str, object]]] = {}
    for row in rows:
        families.setdefault((row["metric"], row["provenance"], row["attribute"]), []).append(row)
    for family in families.values():
        known = [row for row in family if np.isfinite(float(str(row["p"])))]
        q = false_discovery_control([float(str(row["p"])) for row in known]) if known else ()
        for row, one in zip(known, q, strict=True):
            row["q"] = float(one)


def _said(frame: pl.DataFrame, baseline: str, margin: float) -> tuple[str, ...]:
    rows = frame.filter(metric=METRICS[UTILITY].name, provenance="observed")
    said = []
    for row in rows.filter(attribute=OVERALL[0]).iter_rows(named=True):
        ends = "" if row["lo"] is None else f" [{signed(100 * row['lo'])}, {signed(100 * row['hi'])}]"
        moved = ("the two are not told apart", "more", "less")[direction(row["lo"], row["hi"])]
        alike = row["p_equivalent"] is not None and row["p_equivalent"] < ALPHA
        moved += f", and within {100 * margin:g} points of each other" if alike else ""
        if row["harmed"] is not None:
            between = f"[{percent(row['harmed_lo'])}, {percent(row['harmed_hi'])}]"
            moved += f"; switching truly harms {percent(row['harmed'])} of people {between}"
        points = f"{signed(100 * row['difference'])} points{ends}"
        said.append(f"{row['model']} serves everybody {points} against {baseline}: {moved}.")
        groups = rows.filter(pl.col("attribute") != OVERALL[0], model=row["model"])
        off = groups.filter(pl.col("q") < ALPHA)
        worse = off.filter(pl.col("difference") < 0).sort("difference").head(5)
        listing = [f"{name_of(r)} {signed(100 * r['difference'])}" for r in worse.iter_rows(named=True)]
        better = off.filter(pl.col("difference") > 0).height
        found = f"better in {better} and worse in {off.height - better}" + (
            f": {'; '.join(listing)}" if listing else ""
        )
        said.append(f"Of {groups.height} groups it is shown to serve people {found}.")
    return tuple(said)


def _draw(frame: pl.DataFrame, width: float) -> "Figure":
    from plurality.analyses.figures.changes import changes

    rows = frame.filter(metric=METRICS[UTILITY].name, provenance="observed")
    single = rows.filter(~pl.col("attribute").str.contains(CROSS, literal=True))
    return changes(with_group_names(single), width=width)
