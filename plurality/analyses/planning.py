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


@dataclass(frozen=True, eq=False, repr=False)
class Plan:
    """What it takes to know each group's gap to the rest.

    table    level, answers (a person), n_now, answers_now, half_width_now, people (in all, null where no number does)
    curve    level, answers, people, half_width (of the gap's interval)
    about    metric, within, level of the interval, between and within (sd over people, and over a person's answers)
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
            shown, "people", "answers", panel="level", level=self.about["within"],
            x_title="people of the group", y_title=f"half-width, {self.about['metric']}",
        )  # fmt: skip

    def _sentences(self) -> list[str]:
        about, digits = self.about, 3
        said = [
            f"To know each gap in {about['metric']} within ±{about['within']:g} ({about['confidence']:.0%}). "
            f"People differ by {about['between']:.{digits}f} (sd), answers by {about['within_person']:.{digits}f}."
        ]
        for row in self.table.iter_rows(named=True):
            need = "no number of people does, as the rest is not known well enough"
            if row["people"] is not None:
                more = max(0, row["people"] - row["n_now"])
                need = f"{row['people']:,} people" + (f", {more:,} more" if more else ", who are there")
            said.append(
                f"{row['level']}: {row['answers']} answers each: {need}; now {row['n_now']:,} with "
                f"{row['answers_now']:.0f} each, ±{row['half_width_now']:.{digits}f}."
            )
        return said

    def __str__(self) -> str:
        return "\n".join(fill(line, 80, subsequent_indent="  ") for line in self._sentences())

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return "".join(f"<p>{markup(line)}</p>" for line in self._sentences())


def plan(
    predictions: Table,
    users: Table,
    *,
    by: str,
    within: float,
    metric: str = "accuracy",
    answers: Sequence[int] = (5, 10, 20, 50),
    confidence: float = 0.95,
    model: str | None = None,
    cell: str | None = None,
) -> Plan:
    """How many people of each level of `by`, with how many answers each, until its gap to the rest is known.

    A person's mean over m answers has variance σ_b² + σ_w² / m, with σ_b² between people and σ_w² within a person, by
    the method of moments over all who are there. With n people of the level and the rest as it is, the gap's interval
    is ± t · √((σ_b² + σ_w² / m) / n + SE²_rest), t with n − 1 degrees of freedom; n is the least that does.
    Levels of fewer than 11 people are left out. Source: Snijders & Bosker 2012, ch. 11 (power in two-level designs).

    predictions    user_id, prob_first, label, as an audit reads them
    users          user_id and the column `by`
    by             column whose levels are asked about
    within         half-width δ > 0 that the gap's interval is to have, in units of the metric
    metric         "accuracy" or "log_loss"
    answers        numbers of answers a person to plan for, each 1 or more
    confidence     of the intervals, in (0, 1)
    model, cell    which predictions, as in an audit

    Raises InputError for a column that is missing, for settings out of range and where nobody can be compared.
    """
    numbers = all(isinstance(number, Real) for number in (within, confidence, *answers))
    if not numbers or not within > 0 or not 0 < confidence < 1 or not answers or min(answers) < 1:
        raise InputError("plan: within must be above 0, confidence in (0, 1), and answers numbers of 1 or more")
    if metric not in METRICS:
        raise InputError(f"plan: metric {metric!r} is unknown; give one of {', '.join(METRICS)}")
    frame = read_table(predictions, "predictions")
    frame = chosen(frame, "model", model, default_model(frame))[0]
    frame = chosen(frame, "cell", cell, default_cell(frame))[0]
    data, _ = read_predictions(frame)
    level = attributes_of(read_table(users, "users"), data.ids, [by])[0][by].cast(pl.String)
    score = _scores(data, metric)
    sums, count = per_user_sums(data.user, score, data.weight, len(data.ids))
    means = sums[:, 0] / count
    between, inside = _components(data.user, score, data.weight, means, count)
    variance = between + inside / count
    rows, lines = [], []
    for name in (name for name in levels_of(level)[0] if name not in (MISSING, NOT_LISTED)):
        mine = (level == name).to_numpy()
        if mine.sum() < SHOWN or (~mine).sum() < SHOWN:
            continue
        rest = float(variance[~mine].sum()) / int((~mine).sum()) ** 2
        now = _half_width(float(variance[mine].mean()), int(mine.sum()), rest, confidence)
        for each in answers:
            own = between + inside / each
            rows.append(
                {
                    "level": name,
                    "answers": each,
                    "n_now": int(mine.sum()),
                    "answers_now": float(np.median(count[mine])),
                    "half_width_now": now,
                    "people": _people(own, rest, within, confidence),
                }
            )
            lines += [
                {"level": name, "answers": each, "people": n, "half_width": _half_width(own, n, rest, confidence)}
                for n in CURVE
            ]
    if not rows:
        raise InputError(f"users: no two levels of {by} have {SHOWN} people with predictions; there is nothing to plan")
    about = {"metric": metric, "within": within, "confidence": confidence, "by": by}
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


def _half_width(variance: float, n: int, rest: float, confidence: float) -> float:
    return float(t.ppf(0.5 + confidence / 2, max(1, n - 1)) * np.sqrt(variance / n + rest))


def _people(variance: float, rest: float, within: float, confidence: float) -> int | None:
    """The least n whose interval is narrow enough; None where the rest alone is too uncertain."""
    if _half_width(variance, MOST_PEOPLE, rest, confidence) > within:
        return None
    low, high = 1, MOST_PEOPLE  # half-widths fall with n
    while high - low > 1:
        middle = (low + high) // 2
        if _half_width(variance, middle, rest, confidence) <= within:
            high = middle
        else:
            low = middle
    return high
