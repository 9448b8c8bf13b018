"""How many people of a group, with how many answers each, until its gap to the rest is known well enough."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from textwrap import fill
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import t

from plurality.analyses.audit.attributes import attributes_of
from plurality.analyses.calibration.calibration import log_loss_rows
from plurality.analyses.inference.bootstrap import per_user_sums
from plurality.analyses.inputs import (
    Predictions,
    Table,
    chosen,
    default_cell,
    default_model,
    read_predictions,
    read_table,
)
from plurality.analyses.levels import MISSING, NOT_LISTED, levels_of
from plurality.arrays import Float
from plurality.errors import InputError
from plurality.escaping import markup

__all__ = ["Plan", "plan"]

MOST_PEOPLE = 1_000_000
SHOWN = 11  # people of a group, below which nothing is said of it
CURVE = (5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000)  # people
METRICS = {"accuracy": "share of comparisons in which the model favours what the person prefers", "log_loss": "nats"}


@dataclass(frozen=True)
class _Goal:
    """What is to become small: the half-width of a gap's interval, or the smallest gap that would be shown."""

    limit: float
    confidence: float
    power: float | None
    tests: int

    def width(self, variance: float, n: int, rest: float) -> float:
        """With n people whose mean has this variance, and the variance of the rest's mean."""
        freedom = max(1, n - 1)
        factor = t.isf((1 - self.confidence) / 2 / self.tests, freedom)
        factor += 0.0 if self.power is None else t.ppf(self.power, freedom)
        return float(factor * np.sqrt(variance / n + rest))


@dataclass(frozen=True, eq=False, repr=False)
class Plan:
    """What it takes to know each group's gap to the rest.

    table    level (after its attribute, where several are planned for), answers (a person), n_now, answers_now,
             half_width_now (detectable_now where a gap is to be shown), people (in all, null where no number does)
    curve    level, answers, people, half_width (of the gap's interval, or the smallest gap that would be shown)
    about    metric, within or gap and power, level of the interval, between and within (sd over people, and over a
             person's answers)
    """

    table: pl.DataFrame
    curve: pl.DataFrame
    about: dict[str, Any]

    def figure(self) -> Any:
        """Half-width of the gap's interval by people, a line an answers' number, a panel a level: a Figure."""
        from plurality.analyses.figures import growth

        shown = self.curve.with_columns(
            estimate="half_width", lo="half_width", hi="half_width", answers=pl.format("{} answers each", "answers")
        )
        return growth(
            shown, "people", "answers", panel="level", level=self.about["limit"],
            x_title="people of the group", y_title=f"{self.about['what']}, {self.about['metric']}",
        )  # fmt: skip

    def _sentences(self) -> list[str]:
        about, digits = self.about, 3
        if about["gap"] is None:
            aim, now = (
                f"To know each gap in {about['metric']} within ±{about['within']:g} ({about['confidence']:.0%}). ",
                "±",
            )
        else:
            searched = "" if about["searched"] == 1 else f", {about['searched']} groups searched"
            aim = f"To show gaps of {about['gap']:g} in {about['metric']} ({about['power']:.0%} of times{searched}). "
            now = "gaps from "
        said = [
            f"{aim}People differ by {about['between']:.{digits}f} (sd), answers by {about['within_person']:.{digits}f}."
        ]
        known = self.table.filter(pl.col("people").is_not_null())["level"].to_list()
        never, least = set(self.table["level"]) - set(known), self.table["answers"].min()
        for row in self.table.iter_rows(named=True):
            each = f"{row['answers']} answers each"
            if row["level"] in never:  # said once
                if row["answers"] != least:
                    continue
                each = "however many answers each"
            need = "no number of people does, as the rest is not known well enough"
            if row["people"] is not None:
                more = max(0, row["people"] - row["n_now"])
                need = f"{row['people']:,} people" + (f", {more:,} more" if more else ", who are there")
            said.append(
                f"{row['level']}: {each}: {need}; now {row['n_now']:,} with "
                f"{row['answers_now']:.0f} each, {now}{row[about['column']]:.{digits}f}."
            )
        return said

    def __str__(self) -> str:
        return "\n".join(fill(line, 80, subsequent_indent="  ") for line in self._sentences())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return "".join(f"<p>{markup(line)}</p>" for line in self._sentences())


def plan(  # noqa: PLR0913 - the public face: each argument is a decision of the reader
    predictions: Table,
    users: Table,
    *,
    by: str | Sequence[str],
    within: float | None = None,
    gap: float | None = None,
    power: float = 0.8,
    searched: int | None = None,
    metric: str = "accuracy",
    answers: Sequence[int] = (5, 10, 20, 50),
    confidence: float = 0.95,
    model: str | None = None,
    cell: str | None = None,
) -> Plan:
    """How many people of each level of `by`, with how many answers each, until its gap to the rest is known, or shown.

    A person's mean over m answers has variance σ_b² + σ_w² / m, with σ_b² between people and σ_w² within a person, by
    the method of moments over all who are there. With n people of the level and the rest as it is, the gap's interval
    is ± t · √((σ_b² + σ_w² / m) / n + SE²_rest), t with n − 1 degrees of freedom; n is the least that does. With `gap`
    instead of `within`, n is the least with which a true gap of this size is shown with this power by a two-sided test:
    (t_{1 − α/2k} + t_power) · √(…) ≤ gap, α = 1 − confidence spread over the k groups that an audit would search.
    Levels of fewer than 11 people are left out. Source: Snijders & Bosker 2012, ch. 11 (power in two-level designs).

    predictions    user_id, prob_first, label, as an audit reads them
    users          user_id and the column `by`
    by             column whose levels are asked about, or several
    within         half-width δ > 0 that the gap's interval is to have, in units of the metric
    gap            smallest gap > 0 that an audit is to show, instead of `within`
    power          chance of showing it, in (0, 1)
    searched       groups that are searched together (k); those of `by` by default where a gap is to be shown
    metric         "accuracy" or "log_loss"
    answers        numbers of answers a person to plan for, each 1 or more
    confidence     of the intervals, in (0, 1)
    model, cell    which predictions, as in an audit

    Raises InputError for a column that is missing, for settings out of range and where nobody can be compared.
    """
    if (within is None) == (gap is None):
        raise InputError(
            "plan: give within, how well each gap is to be known, or gap, the smallest that is to be shown"
        )
    limit = within if gap is None else gap
    numbers = all(isinstance(number, Real) for number in (limit, confidence, power, *answers))
    fits = numbers and limit is not None and limit > 0 and 0 < confidence < 1 and 0 < power < 1
    if not fits or not answers or min(answers) < 1 or (searched is not None and searched < 1):
        raise InputError(
            "plan: within must be above 0, or gap; confidence and power in (0, 1), and answers and searched 1 or more"
        )
    if metric not in METRICS:
        raise InputError(f"plan: metric {metric!r} is unknown; give one of {', '.join(METRICS)}")
    frame = read_table(predictions, "predictions")
    frame = chosen(frame, "model", model, default_model(frame))[0]
    frame = chosen(frame, "cell", cell, default_cell(frame))[0]
    data, _ = read_predictions(frame)
    names = [by] if isinstance(by, str) else list(by)
    attributes = attributes_of(read_table(users, "users"), data.ids, names)[0]
    score = _scores(data, metric)
    sums, count = per_user_sums(data.user, score, data.weight, len(data.ids))
    means = sums[:, 0] / count
    between, inside = _components(data.user, score, data.weight, means, count)
    variance = between + inside / count
    groups = {
        level if len(names) == 1 else f"{name}: {level}": (attributes[name].cast(pl.String) == level).to_numpy()
        for name in names
        for level in levels_of(attributes[name])[0]
        if level not in (MISSING, NOT_LISTED)
    }
    groups = {name: mine for name, mine in groups.items() if mine.sum() >= SHOWN and (~mine).sum() >= SHOWN}
    if not groups:
        where = ", ".join(names)
        raise InputError(
            f"users: no two levels of {where} have {SHOWN} people with predictions; there is nothing to plan"
        )
    tests = 1 if gap is None else searched or len(groups)
    goal = _Goal(float(limit or 0), confidence, None if gap is None else power, tests)
    column = "half_width_now" if gap is None else "detectable_now"
    rows, lines = [], []
    for name, mine in groups.items():
        rest = float(variance[~mine].sum()) / int((~mine).sum()) ** 2
        now = goal.width(float(variance[mine].mean()), int(mine.sum()), rest)
        head = {"n_now": int(mine.sum()), "answers_now": float(np.median(count[mine])), column: now}
        for each in answers:
            own = between + inside / each
            rows.append({"level": name, "answers": each, **head, "people": _people(own, rest, goal)})
            lines += [
                {"level": name, "answers": each, "people": n, "half_width": goal.width(own, n, rest)} for n in CURVE
            ]
    about = {"metric": metric, "within": within, "confidence": confidence, "by": by, "gap": gap, "searched": tests}
    about |= {"power": None if gap is None else power, "limit": goal.limit, "column": column}
    about |= {"what": "half-width" if gap is None else "smallest gap shown"}
    about |= {"between": between**0.5, "within_person": inside**0.5}
    return Plan(pl.DataFrame(rows), pl.DataFrame(lines), about)


def _scores(data: Predictions, metric: str) -> Float:
    """What each comparison counts: (n,)."""
    if metric == "log_loss":
        return log_loss_rows(data.p, data.y, data.gap)
    favoured = np.where(data.p == 0.5, 0.5, data.p > 0.5)
    agrees: Float = favoured * data.y + (1 - favoured) * (1 - data.y)
    return agrees


def _components(user: np.ndarray, score: Float, weight: Float, means: Float, count: Float) -> tuple[float, float]:
    """Variance between people and of one answer within a person, by the method of moments."""
    rows = np.bincount(user, minlength=len(means))
    several = rows > 1
    off = weight * np.square(score - means[user])
    free = float((rows[several] - 1).sum())
    if not free:
        raise InputError("predictions: nobody has two comparisons, so that a person's answers cannot be told apart")
    # of weights that are numbers of comparisons; the mean of a person's n has variance σ_w² / n
    inside = float(off[several[user]].sum() / (count[several] * (1 - 1 / rows[several])).sum())
    spread = float(means.var(ddof=1)) if len(means) > 1 else 0.0
    return max(0.0, spread - inside * float((1 / count).mean())), inside


def _people(variance: float, rest: float, goal: _Goal) -> int | None:
    """The least n with which the goal is met; None where the rest alone is too uncertain."""
    if goal.width(variance, MOST_PEOPLE, rest) > goal.limit:
        return None
    low, high = 1, MOST_PEOPLE  # widths fall with n
    while high - low > 1:
        middle = (low + high) // 2
        if goal.width(variance, middle, rest) <= goal.limit:
            high = middle
        else:
            low = middle
    return high
