"""What predictions of whole answers are worth: choices, rankings, thumbs and ratings, each by its own measure.

Scores of the things of an answer are those that fit its predicted gaps best by least squares, which are the utilities
up to a shift. Then by kind
    choice     top_1, share of choices whose best score is what was chosen; log-loss of the multinomial logit
    ranking    Kendall's τ and Spearman's ρ; log-loss of Plackett and Luce
    thumbs     Kendall's τ, and ratings' log-loss on two levels
    rating     Kendall's τ and Spearman's ρ within a person; log-loss of a rating, in a cumulative logit where what all
               share is learned from other people and the person's shift and scale are averaged out
    pair       accuracy and log-loss, as all rows have
τ is (concordant − discordant) / pairs on different levels, of those that the answer was broken into; ties in the
prediction count as neither. All are means over people of means over their answers, whatever these weigh.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, eye
from scipy.sparse.linalg import splu

from plurality.analyses.inference.bootstrap import resample_counts
from plurality.arrays import Float, Int
from plurality.data.keys import mix
from plurality.evaluation.few_shot import estimates
from plurality.evaluation.row_scores import hits, losses
from plurality.fitting.scales import fit_scale, grouped_levels
from plurality.reward.responses import multinomial_logit, plackett_luce

__all__ = ["tabulate_answers"]

FEW_PEOPLE = 8  # below which the log-loss of a rating has nobody to be learned from
RIDGE = 1e-9  # beside which scores are up to a shift


def tabulate_answers(
    predictions: pl.DataFrame, *, baseline: str, n_bootstrap: int, seed: int, level: float = 0.95
) -> pl.DataFrame:
    """A row a kind of answer, cell, metric and model, with intervals that resample users; empty of pairs alone.

    answer_kind, model, control, cell, metric, n_users, n_answers (of choices, rankings and pairs; else of things),
    estimate, lo, hi, diff, diff_lo, diff_hi (paired difference to the baseline).

    predictions    rows of all lines and cells, with what `plurality.data.answers` has of them
    baseline       line that others are compared with
    n_bootstrap    resamples of users behind the intervals
    seed           of the resamples
    level          coverage of the intervals, in (0, 1)
    """
    rows: list[dict[str, object]] = []
    if "answer_kind" not in predictions.columns:
        return pl.DataFrame()
    control = dict(predictions.select("model", "control").unique().iter_rows())
    for (cell, kind), part in predictions.group_by("cell", "answer_kind", maintain_order=True):
        by_model = part.partition_by("model", as_dict=True, maintain_order=True)
        names = [str(name) for (name,) in by_model]
        frames = list(by_model.values())
        gap = np.stack([frame["gap"].to_numpy() for frame in frames], 1)
        measured, count = _measured(str(kind), frames[0], gap)
        reference = names.index(baseline)
        for metric, value in measured.items():
            counts = resample_counts(len(value), n_bootstrap, seed)
            own, gain = (estimates(value, other, counts, level) for other in (None, reference))
            for k, name in enumerate(names):
                row: dict[str, object] = {"answer_kind": kind, "model": name, "control": control[name], "cell": cell}
                row |= {"metric": metric, "n_users": len(value), "n_answers": count}
                row |= {c: float(n[k]) for c, n in zip(("estimate", "lo", "hi"), own, strict=True)}
                told = [None] * 3 if k == reference else [float(n[k]) for n in gain]
                rows.append(row | dict(zip(("diff", "diff_lo", "diff_hi"), told, strict=True)))
    return pl.DataFrame(rows, infer_schema_length=None)


def _measured(kind: str, rows: pl.DataFrame, gap: Float) -> tuple[dict[str, Float], int]:
    """Means of each person by metric, (U, K) of K models, and the number of answers."""
    user = _codes(rows.select("user_id"))
    if kind == "pair":
        label = rows["label"].to_numpy()[:, None]
        return {"accuracy": _mean(user, hits(gap, label)), "log_loss": _mean(user, losses(gap, label))}, len(user)
    things = _Things.of(rows, user, gap)
    match kind:
        case "choice":
            padded, levels = things.padded()
            chosen = torch.as_tensor(levels.argmax(1))
            best = padded == padded.max(1, keepdims=True)
            top = np.take_along_axis(best, chosen.numpy()[:, None, None], 1)[:, 0] / best.sum(1)
            nats = [multinomial_logit(torch.as_tensor(u), chosen).numpy() for u in np.moveaxis(padded, 2, 0)]
            found = {"top_1": top, "log_loss": np.stack(nats, 1)}
            return {name: _mean(things.owner, value) for name, value in found.items()}, len(things.owner)
        case "ranking":
            padded, levels = things.padded()
            y = torch.as_tensor(levels)
            nats = [plackett_luce(torch.as_tensor(u), y).numpy() for u in np.moveaxis(padded, 2, 0)]
            found = {"kendall": things.kendall(gap), "spearman": things.spearman(), "log_loss": np.stack(nats, 1)}
            return {name: _mean(things.owner, value) for name, value in found.items()}, len(things.owner)
    by_user = {"kendall": _mean(things.owner, things.kendall(gap))}
    if kind == "rating":
        by_user["spearman"] = _mean(things.owner, things.spearman())
    rated = things.rating_nats()
    return by_user if rated is None else by_user | {"log_loss": rated}, len(things.level)


def _codes(frame: pl.DataFrame) -> Int:
    """Numbers of the distinct rows, in the order in which they sort."""
    return frame.select(pl.struct(pl.all()).rank("dense")).to_series().to_numpy().astype(np.int64) - 1


def _mean(owner: Int, value: Float) -> Float:
    """Means (U, K) of rows (n, K) by who they are of."""
    total = np.stack([np.bincount(owner, column) for column in value.T], 1)
    return total / np.bincount(owner)[:, None]


@dataclass(frozen=True, eq=False)
class _Things:
    """Things that A answers are about: T of them, scores of K models; pairs (P,) that the answers were broken into.

    answer    (T,) number of the answer
    level     (T,) larger is better
    score     (T, K)
    owner     (A,) person
    pair      (P,) answer of each pair, whose first is the better where `up`
    """

    answer: Int
    level: Float
    score: Float
    owner: Int
    pair: Int
    up: NDArray[np.bool_]

    @staticmethod
    def places(rows: pl.DataFrame) -> tuple[Int, Int, Int, Int, Float]:
        """Answer of each row; things of both sides; answer and level of each thing."""
        of = _codes(rows.select("fold", "answer"))
        sides = [rows[f"item_{side}"].to_numpy() for side in ("first", "second")]
        size = int(max(side.max() for side in sides)) + 1
        keys, place = np.unique(np.concatenate([of * size + side for side in sides]), return_inverse=True)
        level = np.empty(len(keys))
        level[place] = np.concatenate([rows[f"level_{side}"].to_numpy() for side in ("first", "second")])
        return of, place[: len(of)], place[len(of) :], keys // size, level

    @staticmethod
    def of(rows: pl.DataFrame, user: Int, gap: Float) -> "_Things":
        of, first, second, answer, level = _Things.places(rows)
        n, t = len(of), len(answer)
        ones = np.ones(n)
        edges = coo_matrix((np.r_[ones, -ones], (np.tile(np.arange(n), 2), np.r_[first, second])), shape=(n, t)).tocsr()
        solve = splu((edges.T @ edges + RIDGE * eye(t)).tocsc()).solve
        score = solve(edges.T @ gap)
        owner = np.empty(int(answer.max()) + 1, dtype=np.int64)
        owner[of] = user
        return _Things(answer, level, score - _mean(answer, score)[answer], owner, of, level[first] > level[second])

    def padded(self) -> tuple[Float, Float]:
        """Scores (A, k, K) and levels (A, k) of the things of each answer, −inf where it has fewer than others."""
        size = np.bincount(self.answer)
        place = np.arange(len(self.answer)) - np.repeat(np.cumsum(size) - size, size)
        scores = np.full((len(size), size.max(), self.score.shape[1]), -np.inf)
        levels = np.full(scores.shape[:2], -np.inf)
        scores[self.answer, place], levels[self.answer, place] = self.score, self.level
        return scores, levels

    def kendall(self, gap: Float) -> Float:
        """(A, K)."""
        return _mean(self.pair, np.sign(gap) * np.where(self.up, 1, -1)[:, None])

    def spearman(self) -> Float:
        """(A, K); 0 where all of an answer have one score."""
        both = np.concatenate([self.level[:, None], self.score.round(9)], 1)
        ranks = pl.DataFrame(both).with_columns(answer=self.answer)
        ranked = ranks.select(pl.all().exclude("answer").rank().over("answer")).to_numpy()
        ranked = ranked - _mean(self.answer, ranked)[self.answer]
        cross, square = _mean(self.answer, ranked[:, 1:] * ranked[:, :1]), _mean(self.answer, np.square(ranked))
        size = np.sqrt(square[:, 1:] * square[:, :1])
        return np.divide(cross, size, out=np.zeros_like(cross), where=size > 0)

    def rating_nats(self) -> Float | None:
        """Nats a rating of each person (U, K): what all share is learned from one half of people, for the other."""
        user = self.owner[self.answer]
        n_users = int(self.owner.max()) + 1
        half = np.zeros(n_users, dtype=bool)
        half[np.argsort(mix(np.arange(n_users)), kind="stable")[: n_users // 2]] = True
        levels, level = grouped_levels(self.level)
        if n_users < FEW_PEOPLE or len(levels) < 2:
            return None
        nats = np.empty((n_users, self.score.shape[1]))
        for known in (half, ~half):
            learn, rest = known[user], ~known[user]
            scale = fit_scale(level[learn], user[learn], n_users, levels=len(levels))
            for k, score in enumerate(self.score.T):
                beside = scale.with_utility(level[learn], user[learn], score[learn])
                nats[~known, k] = beside.judge(level[rest], user[rest], score[rest], n_users)[~known]
        return nats / np.bincount(user)[:, None]
