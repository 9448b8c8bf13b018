"""What the audit reports: one entry a metric, in the order in which every array of metrics stands."""

from dataclasses import dataclass
from typing import Literal

FOLDED_BINS = 5  # of equal width on [.5, 1], for ECE and the debiased L2


@dataclass(frozen=True)
class Metric:
    """A row kind of the audit table.

    `kind` says how it comes about: the mean over users of their own means, a statistic of pooled rows, or a
    statistic of how user means are spread. `null` says what p tests: that the slice does not differ from
    everybody ("difference"), or that the estimate is what chance gives ("chance").
    """

    name: str
    provenance: Literal["observed", "model"]
    title: str
    unit: str
    better: Literal["higher", "lower", "zero"]
    normalisation: str
    kind: Literal["mean", "pooled", "spread"]
    null: Literal["difference", "chance"]
    meaning: str

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.provenance


_MEAN = "mean over users"
_WIN = "win probability vs the other response"
_BINS = f"pooled, folded, {FOLDED_BINS} bins"

METRICS: tuple[Metric, ...] = (
    Metric(
        "accuracy", "observed", "Accuracy", "share of comparisons", "higher", _MEAN,
        "mean", "difference",
        "Share of a user's comparisons in which the model favours what the user prefers; ties half.",
    ),
    Metric(
        "log_loss", "observed", "Log-loss", "nats", "lower", _MEAN, "mean", "difference",
        "Cross-entropy of the observed preference under the prediction; a coin scores 0.693.",
    ),
    Metric(
        "brier", "observed", "Brier score", "squared probability", "lower", _MEAN, "mean", "difference",
        "Squared distance of the predicted probability from the observed preference; a coin scores 0.25.",
    ),
    Metric(
        "confidence_gap", "observed", "Confidence gap", "probability", "zero", _MEAN, "mean", "chance",
        "Accuracy less stated confidence: below zero the model claims more than it keeps.",
    ),
    Metric(
        "utility", "observed", "Observed utility", "served response preferred", "higher", _WIN,
        "mean", "difference",
        "How often the user preferred the response that is served, by the user's own labels.",
    ),
    Metric(
        "utility", "model", "Predicted utility", "served response preferred", "higher", _WIN,
        "mean", "difference",
        "The same as the model predicts it: optimistic, since the model also chose what to serve.",
    ),
    Metric(
        "ece", "observed", "Calibration error (ECE)", "probability", "lower", _BINS, "pooled", "chance",
        "Mean distance of frequency from confidence; biased upwards, so it is read beside its null.",
    ),
    Metric(
        "l2_debiased", "observed", "Calibration error², debiased", "squared probability", "lower", _BINS,
        "pooled", "chance",
        "Mean squared distance of frequency from confidence less sampling variance; may be negative.",
    ),
    Metric(
        "kuiper", "observed", "Kuiper ratio", "sigma", "lower", "pooled, folded", "pooled", "chance",
        "Range of the cumulative gap over its standard deviation; comparable between groups of any size.",
    ),
    Metric(
        "gini", "observed", "Gini of utility", "0 equal, 1 unequal", "lower", _WIN, "spread", "chance",
        "Inequality of users' observed utility; its null is what few comparisons a user give alone.",
    ),
    Metric(
        "utility_p20", "observed", "20th percentile of utility", "served response preferred", "higher", _WIN,
        "spread", "chance",
        "A fifth of users have no more than this; noise of few comparisons a user alone pulls it down to its null.",
    ),
    Metric(
        "utility_worst_fifth", "observed", "Utility of worst fifth", "served response preferred", "higher", _WIN,
        "spread", "chance",
        "Mean over the fifth of users with least (CVaR); its null is what noise alone gives.",
    ),
    Metric(
        "atkinson", "observed", "Atkinson index (ε = ½)", "0 equal, 1 unequal", "lower", _WIN, "spread", "chance",
        "Share of utility that could be given up if the rest were spread evenly; its null is noise alone.",
    ),
)  # fmt: skip

# of slices too, but not of user sums under every draw: they have parts of the audit of their own
TEMPERATURE = Metric(
    "temperature", "observed", "Temperature", "1 calibrated, above 1 overconfident", "zero", "pooled, symmetrised",
    "pooled", "chance",
    "What log-odds must be divided by to be true, 1 / slope of a logistic fit without intercept.",
)  # fmt: skip
POSITION = Metric(
    "position_bias", "observed", "Position bias", "log-odds", "zero", "pooled, as displayed", "pooled", "chance",
    "What being displayed first adds to the log-odds of being preferred, beside what the model predicts.",
)  # fmt: skip
ALL_METRICS = (*METRICS, TEMPERATURE, POSITION)
KEYS = tuple(metric.key for metric in ALL_METRICS)
ACCURACY, LOG_LOSS, BRIER, GAP, UTILITY, PREDICTED, ECE, L2, KUIPER, GINI = range(10)
MEANS = slice(ACCURACY, ECE)
CALIBRATION = slice(ECE, GINI)
SPREAD = slice(GINI, len(METRICS))
TAIL = slice(GINI + 1, GINI + 3)  # of the worst-off TAIL_SHARE of users alone
TAIL_SHARE = 0.2
