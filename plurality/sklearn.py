"""`PreferenceClassifier`: a reward model as a scikit-learn classifier over rows of differences of embeddings."""

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from plurality.arrays import Array, Float
from plurality.data.comparisons import Comparisons
from plurality.data.keys import Keys, combine, mix, text_keys
from plurality.errors import InputError
from plurality.models import spec_class
from plurality.models.family import Spec
from plurality.reward.links import prob

__all__ = ["PreferenceClassifier"]

EXACT = 2**53  # whole numbers below it are themselves as floats


class PreferenceClassifier(ClassifierMixin, BaseEstimator):
    """P(y = classes_[1] | δ, user) = σ(u(δ/2, z) − u(−δ/2, z)), a row of X the difference δ = x_first − x_second.

    model         a family's name or a Spec: how the utility u and the codes z are fitted
    user_column   place or name of the column of X that holds user ids (strings or whole numbers); None: one user
    base_column   place or name of the column of X that holds by how much a reward one owns scores first above second,
                  on top of which the model is fitted (`plurality.reward.base`); None: it starts from nothing
    seed          of the fit

    There is no intercept: log-odds(−δ) = −log-odds(δ), so that nothing scores by which side comes first, and turning
    a row and its label round changes nothing. Scale X by StandardScaler(with_mean=False) if at all, since centring
    takes that away. A user not fitted to gets the population's reward.
    A difference does not say which items it is of. Of curved utilities only the odd part is used, and settings left
    to the fit are chosen as if no item were in two rows; where items recur, give the settings or fit Comparisons.
    Families that look at demographics, objectives or prompts (hierarchical, more, PAL's form B) say that they cannot.

    After fit: classes_ (2,), n_features_in_ (with the user column), feature_names_in_ of frames, reward_ (RewardModel).
    """

    def __init__(
        self,
        model: str | Spec = "bradley_terry",
        *,
        user_column: int | str | None = None,
        base_column: int | str | None = None,
        seed: int = 0,
    ) -> None:
        self.model = model
        self.user_column = user_column
        self.base_column = base_column
        self.seed = seed

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "PreferenceClassifier":
        """Fit to differences X (n, d), with `user_column` (n, d + 1), and two classes y (n,); of weights (n,) ≥ 0.

        A weight of 3 means the same as the row three times. Raises InputError, or scikit-learn's ValueError, for
        values that are not finite, ids that are not user ids, weights below 0, and classes that are not two.

        sample_weight    (n,) positive weights; equal by default
        """
        spec = self.model if isinstance(self.model, Spec) else spec_class(self.model)()
        with _unholdable():
            X, y = validate_data(self, X, y, dtype=self._dtype, ensure_min_samples=2)
        check_classification_targets(y)
        kind = type_of_target(y, input_name="y")
        if kind != "binary":
            raise InputError(f"Only binary classification is supported. The type of the target is {kind}.")
        weight = _weights(sample_weight, len(y))
        used = weight > 0
        classes, label = np.unique(y[used], return_inverse=True)
        if len(classes) != 2:
            raise InputError(f"y has {len(classes)} class where two are needed (rows of weight 0 do not count)")
        differences, ids, base = self._parted(X[used])
        self.classes_ = classes
        data = comparisons(differences, ids, label.astype(np.float64), weight[used], base)
        self.reward_ = spec.fit(merged(data), seed=self.seed)
        return self

    def decision_function(self, X: Any) -> Float:
        """Log-odds of classes_[1], what is not known of the row's user averaged out: (n, d) -> (n,).

        In double precision: float32 products of a row differ by the rows beside it, by some 2e-7 on some processors.

        X    (n, features) differences of embeddings, and the user column
        """
        check_is_fitted(self)
        with _unholdable():
            X = validate_data(self, X, dtype=self._dtype, reset=False)
        differences, ids, base = self._parted(X)
        ones = np.ones(len(differences))
        data = comparisons(differences, ids, ones, ones, base)
        exact = replace(self.reward_, head=self.reward_.head.doubled())
        return (2 * data.label - 1) * exact.log_odds(data, unknown="population")  # of δ/2, whichever is first

    def predict_proba(self, X: Any) -> Float:
        """Probabilities of both classes, in the order of classes_: (n, d) -> (n, 2).

        X    (n, features) differences of embeddings, and the user column
        """
        log_odds = self.decision_function(X)
        return prob(torch.as_tensor(np.column_stack([-log_odds, log_odds]))).numpy()

    def predict(self, X: Any) -> Array:
        """The likelier class, classes_[0] at log-odds 0: (n, d) -> (n,).

        X    (n, features) differences of embeddings, and the user column
        """
        second = self.decision_function(X) > 0
        return self.classes_[second.astype(np.int64)]

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags

    @property
    def _dtype(self) -> type[np.float32] | None:
        """What X is read as: float32, or as it comes while ids are in it, which float32 would round."""
        return np.float32 if self.user_column is None and self.base_column is None else None

    def _parted(self, X: Array) -> tuple[Array, pl.Series, Float | None]:
        """Differences (n, d) float32, user ids (n,) and gaps of base scores (n,) of a checked X."""
        places = {c: self._place(c, X.shape[1]) for c in (self.user_column, self.base_column) if c is not None}
        ids, base = pl.repeat("everybody", len(X), dtype=pl.String, eager=True), None
        if len(set(places.values())) < (self.user_column is not None) + (self.base_column is not None):
            raise InputError(f"column {self.user_column!r} cannot hold user ids and base scores; name two columns")
        if self.user_column is not None:
            ids = _ids(X[:, places[self.user_column]], self.user_column)
        if self.base_column is not None:
            column = X[:, [places[self.base_column]]]
            base = check_array(column, dtype=np.float64, input_name=f"base_column {self.base_column!r}")[:, 0]
        if not places:
            return X, ids, base
        others = ~np.isin(np.arange(X.shape[1]), list(places.values()))
        with _unholdable():
            return check_array(X[:, others], dtype=np.float32, input_name="X"), ids, base

    def _place(self, column: int | str, width: int) -> int:
        """Where a column is among `width`, from 0."""
        if isinstance(column, str):
            names = list(getattr(self, "feature_names_in_", ()))
            if column not in names:
                raise InputError(f"X has no column named {column!r}; give a frame that has, or the column's number")
            return names.index(column)
        if not -width <= column < width:
            raise InputError(f"X has {width} columns, and no column {column}; give a number from 0")
        return column % width


def comparisons(
    differences: Array, user_ids: pl.Series, label: Float, weight: Float, base: Float | None = None
) -> Comparisons:
    """Comparisons of δ/2 with −δ/2, a row a difference δ (n, d) float32; label (n,) is 1 where δ/2 is preferred.

    Likewise half of a gap of base scores (n,) is of δ/2. Items of one content are one item. Its key comes from its
    content, so that nothing depends on the order of rows, and sides stand in the order of their keys: where −δ/2 comes
    first, the label is flipped.
    """
    half = differences / np.float32(2) + np.float32(0)  # plus 0: there is no −0 with a key of its own
    both = np.concatenate([half, np.float32(0) - half])
    content, scores = _content_keys(both), None
    if base is not None:
        scores = np.concatenate([base, 0 - base]) / 2 + 0.0
        content = combine(content, mix(scores.view(np.int64)))
    keys, place, item = np.unique(content, return_index=True, return_inverse=True)
    plus, minus = item[: len(half)], item[len(half) :]  # keys ascend, so that the smaller row has the smaller key
    users = user_ids.unique().sort()
    return Comparisons(
        items=both[place],
        first=np.minimum(plus, minus),
        second=np.maximum(plus, minus),
        user=users.search_sorted(user_ids).to_numpy().astype(np.int64),
        label=np.where(plus > minus, 1 - label, label),
        weight=weight,
        group=combine(keys[np.minimum(plus, minus)], keys[np.maximum(plus, minus)]),
        prompt=np.zeros(len(keys), dtype=np.int64),
        users=users.to_frame("user_id"),
        item_keys=keys,
        prompt_keys=text_keys([""]),
        source="X",
        base=None if scores is None else scores[place],
    )


def merged(data: Comparisons) -> Comparisons:
    """Rows of one pair, user and whole label as one row of their summed weight: a weight then is a repetition."""
    row_keys = combine(data.group, mix(2 * data.user + data.label.astype(np.int64)))
    _, rows, inverse = np.unique(row_keys, return_index=True, return_inverse=True)
    return replace(data.take(rows), weight=np.bincount(inverse, data.weight).astype(np.float64))


def _unholdable() -> np.errstate:
    """What float32 cannot hold becomes infinite without NumPy's warnings; scikit-learn's checks then reject it."""
    return np.errstate(over="ignore", invalid="ignore")


def _content_keys(items: NDArray[np.float32]) -> Keys:
    """Stable key of every row's values: (m, d) -> (m,)."""
    bits = np.ascontiguousarray(items).view(np.uint32).astype(np.uint64)
    column = np.arange(items.shape[1], dtype=np.uint64) << np.uint64(32)
    return mix(mix(bits | column).sum(1, dtype=np.uint64))


def _ids(column: Array, name: int | str) -> pl.Series:
    """User ids as strings: strings as they are, whole numbers without a decimal point."""
    try:
        ids = pl.Series("user_id", column.tolist())
    except TypeError:
        raise InputError(f"X: column {name!r} of users mixes types; make all of them strings") from None
    if ids.dtype.is_nested() or ids.dtype == pl.Object:
        raise InputError(f"X: column {name!r} holds no user ids; give strings or whole numbers")
    if ids.dtype.is_float():
        whole = ids.is_finite() & (ids == ids.round()) & (ids.abs() < EXACT)
        if not whole.fill_null(True).all():
            row = int((~whole).arg_max() or 0)
            raise InputError(
                f"X, row {row} (from 0): {ids[row]} in column {name!r} is not a user id; give strings or whole "
                "numbers, untouched by scaling, or another user_column"
            )
        ids = ids.cast(pl.Int64)
    if ids.null_count():
        row = int(ids.is_null().arg_max() or 0)
        raise InputError(f"X, row {row} (from 0): no user in column {name!r}; fill it in or drop the row")
    return ids.cast(pl.String)


def _weights(sample_weight: Any, n: int) -> Float:
    """Weights (n,), finite and not negative; ones where none are given."""
    if sample_weight is None:
        return np.ones(n)
    weight = np.asarray(sample_weight, dtype=np.float64)
    if weight.shape != (n,):
        raise InputError(f"sample_weight has shape {weight.shape} where ({n},) is needed; give a weight a row")
    wrong = ~(np.isfinite(weight) & (weight >= 0))
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(f"sample_weight, row {row} (from 0): {weight[row]} is not a valid weight; give 0 or more")
    if not weight.any():
        raise InputError("sample_weight is zero in every row; give some row a positive weight")
    return weight
