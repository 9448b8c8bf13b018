"""`Comparison`: the table of a compare run, how it is reckoned, printed and saved."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from plurality.analyses.audit.labels import CONTROLS
from plurality.analyses.calibration.binning import bin_index
from plurality.analyses.calibration.calibration import ece, ece_null
from plurality.analyses.inference.bootstrap import interval, per_user_sums, ratio_draws, resample_counts
from plurality.deprecation import renamed
from plurality.errors import InputError
from plurality.evaluation import views
from plurality.evaluation.blocks import harm_sentences
from plurality.evaluation.comparison_frames import METRICS, ComparisonFrames
from plurality.evaluation.row_scores import hits, losses
from plurality.io.atomic import whole_file, whole_folder
from plurality.io.paths import expanded

if TYPE_CHECKING:
    from plurality.analyses.page.explorer import Displayed, Labels

__all__ = ["Comparison", "tabulate", "worst_share"]

Floats = NDArray[np.float64]

BIASED = ("ece", "worst_decile")  # plug-in values that a resample of users exceeds or falls short of
BINS = 5
MARKER = "comparison.json"
POPULATION = next(iter(CONTROLS))


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(ComparisonFrames):
    """Result of `compare`: its frames, `about` the protocol, and views."""

    def save(self, folder: str | Path, *, labels: "Labels | None" = None) -> Path:
        """Write tables, predictions, fits and curves as parquet, all but predictions as JSON, figures, index.html.

        folder    folder to write
        labels    of the page, as in `to_html`
        """
        from plurality.analyses.figures import as_bytes
        from plurality.evaluation.comparison_page import html

        folder = expanded(folder)
        with whole_folder(folder, marker=MARKER) as new:
            self.table.write_parquet(new / "table.parquet")
            self.gains.write_parquet(new / "gains.parquet")
            self.predictions.write_parquet(new / "predictions.parquet")
            self.fits.write_parquet(new / "fits.parquet")
            self.harmed.write_parquet(new / "harmed.parquet")
            if self.curves.height:
                self.curves.write_parquet(new / "few_shot.parquet")
                (new / "few_shot.png").write_bytes(as_bytes(self.few_shot_figure(), "png"))
            if self.answers.height:
                self.answers.write_parquet(new / "answers.parquet")
            record = {"about": self.about, "fits": self.fits.to_dicts(), "table": self.table.fill_nan(None).to_dicts()}
            for name in ("gains", "harmed", "curves", "answers"):
                record[name] = getattr(self, name).fill_nan(None).to_dicts()
            (new / MARKER).write_text(json.dumps(record, indent=1, default=str) + "\n")
            (new / "comparison.png").write_bytes(as_bytes(self.figure(), "png"))
            (new / "index.html").write_bytes(html(self, labels).encode())
        return folder

    def to_html(self, path: str | Path, *, labels: "Labels | None" = None) -> Path:
        """Write one self-contained page that needs no network: cells, controls, gains, curves and fits to choose from.

        It holds no predictions. Raises InputError for labels that are no mapping of words.

        path      file to write
        labels    {language as in BCP 47, "de": {word of the page: label}}, for models, cells, metrics and headings
        """
        from plurality.evaluation.comparison_page import html

        page, path = html(self, labels), expanded(path)
        with whole_file(path) as new:
            new.write_bytes(page.encode())
        return path

    def explore(self, *, labels: "Labels | None" = None) -> "Displayed":
        """The page of `to_html` inside a notebook, where it is the last line of a cell.

        labels    as in `to_html`
        """
        from plurality.analyses.page.explorer import Displayed
        from plurality.evaluation.comparison_page import html

        return Displayed(html(self, labels), "Comparison")

    def figure(self) -> Any:
        """Accuracy and log-loss by cell with intervals, controls hollow: a matplotlib Figure."""
        from plurality.analyses.figures import comparison

        return comparison(self.table.filter(pl.col("metric").is_in(["accuracy", "log_loss"])))

    def few_shot_figure(self) -> Any:
        """Accuracy and log-loss by number of answers: a matplotlib Figure. Raises InputError without curves."""
        from plurality.analyses.figures import few_shot

        if not self.curves.height:
            raise InputError("this comparison has no few-shot curves; compare with several sizes, support=[0, 5, 20]")
        return few_shot(self.curves)

    @property
    def headline(self) -> dict[str, float]:
        """Accuracy and log-loss of every model that is no control, by "model/cell/metric"."""
        rows = self.table.filter(~pl.col("control") & pl.col("metric").is_in(["accuracy", "log_loss"]))
        return {f"{r['model']}/{r['cell']}/{r['metric']}": r["estimate"] for r in rows.iter_rows(named=True)}

    @property
    def verdict(self) -> list[str]:
        """Whether knowing the user gained anything, and whom it harms: a sentence each for every model and cell."""
        return [*views.verdict(self.gains), *harm_sentences(self.harmed)]

    def __str__(self) -> str:
        return views.as_text(self)

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return views.as_html(self)


@renamed(draws="n_bootstrap")
def tabulate(
    predictions: pl.DataFrame, *, baseline: str, n_bootstrap: int, seed: int, level: float = 0.95
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The tidy table of a predictions frame, and what users' own codes gained over the population's.

    Every metric, cell and model has a user-bootstrap interval. Models of one cell share rows in the same order and
    the same draws of users, so differences are paired. A tie in the prediction or in the label counts half.

    predictions    rows of all lines and cells
    baseline       line that others are compared with
    n_bootstrap    resamples of users behind the intervals
    seed           of the resamples
    level          coverage of the intervals, in (0, 1); default 0.95
    """
    names = predictions["model"].unique(maintain_order=True).to_list()
    control = dict(predictions.select("model", "control").unique().iter_rows())
    rows: list[dict[str, Any]] = []
    gains: list[dict[str, Any]] = []
    for (cell,), part in predictions.group_by("cell", maintain_order=True):
        by_model = part.partition_by("model", as_dict=True, maintain_order=True)
        models = [name for name in names if (name,) in by_model]
        measured = _Cell.of([by_model[(name,)] for name in models], n_bootstrap, seed, level)
        reference = models.index(baseline)
        for metric in METRICS:
            estimate, drawn, null = measured.metric(metric)
            lo, hi = measured.interval(drawn, estimate, metric, level)
            diff, diff_lo, diff_hi = measured.difference(drawn, estimate, reference, metric, level)
            for k, name in enumerate(models):
                same = k == reference
                rows.append(
                    {
                        "model": name,
                        "control": control[name],
                        "cell": cell,
                        "metric": metric,
                        "n_users": measured.n_users,
                        "n_comparisons": measured.n_rows,
                        "estimate": estimate[k],
                        "lo": lo[k],
                        "hi": hi[k],
                        "null_expectation": null[k],
                        "diff": None if same else diff[k],
                        "diff_lo": None if same else diff_lo[k],
                        "diff_hi": None if same else diff_hi[k],
                    }
                )
            if metric not in ("accuracy", "log_loss"):
                continue
            for k, name in enumerate(models):
                if (population := f"{name} · {POPULATION}") in models:
                    of = models.index(population)
                    gain, low, high = (a[k] for a in measured.difference(drawn, estimate, of, metric, level))
                    gains.append({"model": name, "cell": cell, "metric": metric, "gain": gain, "lo": low, "hi": high})
    text, number = (
        dict.fromkeys(("model", "cell", "metric"), pl.String),
        dict.fromkeys(("gain", "lo", "hi"), pl.Float64),
    )
    return pl.DataFrame(rows, infer_schema_length=None), pl.DataFrame(gains, schema={**text, **number})


@dataclass(frozen=True)
class _Cell:
    """Per-user sums of one cell, K models: what every metric and every draw of users is made of."""

    n_rows: int
    sums: dict[str, Floats]  # metric -> (U, K), sums of weighted rows
    weight: Floats  # (U,)
    bins: Floats  # (U, K, B), sums of w (z − c) by confidence bin
    ece: Floats
    null: Floats
    counts: NDArray[np.float32]  # (draws, U)

    @property
    def n_users(self) -> int:
        return len(self.weight)

    @staticmethod
    def of(frames: list[pl.DataFrame], n_bootstrap: int, seed: int, level: float) -> "_Cell":
        label, weight = (frames[0][c].to_numpy().astype(float) for c in ("label", "weight"))
        user = frames[0]["user_id"].rank("dense").to_numpy().astype(np.int64) - 1
        p = np.stack([f["prob_first"].to_numpy() for f in frames], 1)  # (N, K)
        gap = np.stack([f["gap"].to_numpy() for f in frames], 1)
        y = label[:, None]
        hit = hits(gap, y)
        values = {"accuracy": hit, "log_loss": losses(gap, y), "brier": np.square(p - y)}
        sums = {name: per_user_sums(user, v, weight)[0] for name, v in values.items()}
        total = per_user_sums(user, np.ones(len(user)), weight)[1]
        confidence, outcome = np.maximum(p, 1 - p), hit
        place = bin_index(confidence, np.linspace(0.5, 1, BINS + 1))
        off = weight[:, None] * (outcome - confidence)
        bins = np.stack(
            [
                np.bincount(user * BINS + place[:, k], off[:, k], minlength=len(total) * BINS).reshape(-1, BINS)
                for k in range(p.shape[1])
            ],
            1,
        )
        sided = len(np.unique(label)) > 1
        shown = [ece(p[:, k], label, orientation="folded", bins=BINS, weights=weight) if sided else np.nan
                 for k in range(p.shape[1])]  # fmt: skip
        null = [ece_null(p[:, k], bins=BINS, weights=weight, seed=seed) if sided else np.nan for k in range(p.shape[1])]
        counts = resample_counts(len(total), n_bootstrap, seed)
        return _Cell(len(user), sums, total, bins.astype(float), np.array(shown), np.array(null), counts)

    def metric(self, name: str) -> tuple[Floats, Floats, Floats]:
        """Estimate (K,), draws (draws, K) and null expectation (K,) of one metric."""
        none = np.full(self.bins.shape[1], np.nan)
        if name == "ece":
            flat = self.bins.reshape(self.n_users, -1)
            drawn = np.abs((self.counts @ flat).reshape(len(self.counts), -1, BINS)).sum(-1)
            return self.ece, drawn / (self.counts @ self.weight)[:, None], self.null
        if name == "worst_decile":
            means = self.sums["accuracy"] / self.weight[:, None]
            estimate = worst_share(means, np.ones((1, self.n_users)))[0]
            return estimate, worst_share(means, self.counts), none
        base, pooled = name.removesuffix("_pooled"), name.endswith("_pooled")
        top = self.sums[base] if pooled else self.sums[base] / self.weight[:, None]
        bottom = self.weight if pooled else np.ones(self.n_users)
        return top.sum(0) / bottom.sum(), ratio_draws(self.counts, top, bottom), none

    def interval(self, drawn: Floats, estimate: Floats, name: str, level: float) -> tuple[Floats, Floats]:
        """Percentile interval (K,), (K,) as an audit has it: widened for few users, BC where the metric is biased."""
        return interval(drawn, level, n_users=self.n_users, estimate=estimate if name in BIASED else None)

    def difference(
        self, drawn: Floats, estimate: Floats, reference: int, name: str, level: float
    ) -> tuple[Floats, Floats, Floats]:
        """Paired difference of every model to one of them, with its interval: (K,), (K,), (K,)."""
        gain = estimate - estimate[reference]
        return gain, *self.interval(drawn - drawn[:, [reference]], gain, name, level)


def worst_share(means: Floats, counts: Floats | NDArray[np.float32], share: float = 0.1) -> Floats:
    """Mean over the worst `share` of users, the one on the boundary in part: (U, K), (draws, U) -> (draws, K).

    means     (U,) or (..., U) of users
    counts    how often each user counts
    """
    out = np.empty((len(counts), means.shape[1]))
    for k in range(means.shape[1]):
        order = np.argsort(means[:, k])
        n = counts[:, order].astype(np.float64)
        before = np.cumsum(n, 1) - n
        taken = np.clip(share * n.sum(1, keepdims=True) - before, 0, n)
        out[:, k] = (taken @ means[order, k]) / taken.sum(1)
    return out
