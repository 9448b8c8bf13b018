"""What a code means: the walk from a fitted reward to the arrays that `plurality.analyses.explaining` describes."""

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from plurality.analyses.explaining.axes import STILL
from plurality.analyses.explaining.explanation import Explanation, explain_codes
from plurality.analyses.features import features as readable
from plurality.analyses.inputs import Table, read_table
from plurality.arrays import Float, Int
from plurality.data.comparisons import Comparisons
from plurality.errors import InputError
from plurality.reward.reward_model import RewardModel

__all__ = ["explain"]

BLOCK = 2048  # items whose utilities to all users are held at once
TOLERANCE = 1e-5  # singular values of codes, over the largest, below which users do not differ


def explain(
    model: RewardModel,
    data: Comparisons,
    user: str | None = None,
    *,
    features: Table | None = None,
    by: Sequence[str] | None = None,
    ends: int = 3,
    permutations: int = 999,
    seed: int = 0,
) -> Explanation:
    """Say what the codes of a reward's users mean, on the items and with the texts and users of `data`.

    Directions are what the entries of the code, as `model.users` shows them, are worth on each item: the least-squares
    slope of all users' utilities, ∂u/∂z where utility is linear in what is shown, groups or prototypes against their
    mean. Where turned codes are the same reward (low rank unless simplex, hierarchical, VPL), they are the principal
    axes of what differs between users. Items are compared with others of their prompt.

    model           a fitted reward with codes
    data            comparisons whose items are looked at; texts give features, the users table who has which code
    user            whose position is told; None: nobody's
    features        a row an item of `data`, numeric columns that can be named; None: those that
                    `plurality.analyses.features` counts in texts, and nothing without texts
    by              columns of the users table; all with few levels by default
    ends            items shown at either end
    permutations    shuffles behind p-values
    seed            of shuffles and resamples

    Raises InputError for a model without codes or with fewer than two users, an unknown user and items embedded
    otherwise.
    """
    shown = {name: column.double().numpy() for name, column in model.head.show(model.posterior.codes).items()}
    if not shown or len(model.user_ids) < 2:
        raise InputError(
            f"{model.spec.name} shows no code of its users, as all have one reward or its members have codes of "
            "their own, so there is nothing to explain; fit low_rank, say"
            if not shown
            else "one user has a code, and what it means shows in how users differ; fit two or more"
        )
    model.check(data)
    codes = np.stack(list(shown.values()), axis=1)
    codes = codes - codes.mean(axis=0)
    used = np.unique(np.concatenate([data.first, data.second]))
    texts = None if data.texts is None else data.texts[used]
    table = None if texts is None else readable(texts["completion"])
    if features is not None:
        table = _own(features, len(data.items), used)
    worth, straight = _worth(model, data, codes, used)
    return explain_codes(
        codes,
        worth,
        list(shown),
        model.user_ids,
        prompt=np.unique(data.prompt[used], return_inverse=True)[1],
        texts=texts,
        features=table,
        users=data.by_unit(model.spec.unit).users,
        by=by,
        user=user,
        turned=model.head.rotatable,
        straight=straight,
        title=model.spec.name,
        ends=ends,
        permutations=permutations,
        seed=seed,
    )


def _worth(model: RewardModel, data: Comparisons, codes: Float, used: Int) -> tuple[NDArray[np.float64], float]:
    """What a unit of each code is worth on items, by least squares over users: (K, M); and its share of what differs.

    model    the reward
    data     whose items are looked at
    codes    (U, K), of mean 0
    used     (M,) rows of items
    """
    slope = np.linalg.pinv(codes, rcond=TOLERANCE)  # (K, U), of which each row sums to 0: what is common drops out
    worth, size, made, all_of_it = np.empty((codes.shape[1], len(used))), 0.0, 0.0, 0.0
    for start in range(0, len(used), BLOCK):
        rows = used[start : start + BLOCK]
        prompts = None if data.prompts is None or not model.head.uses_prompts else data.prompts[data.prompt[rows]]
        nothing = None if model.base is None else np.zeros(len(rows))  # the same for all users
        utility = model.utility(data.items[rows], prompts=prompts, base=nothing).astype(np.float64)
        part = slope @ utility
        size = max(size, float(np.abs(utility).max(initial=0.0)))
        all_of_it += float(np.square(utility - utility.mean(axis=0)).sum())
        made += float(np.square(codes @ part).sum())
        worth[:, start : start + BLOCK] = part
    still = np.abs(worth * codes.std(axis=0)[:, None]).max(axis=1, initial=0.0) < STILL * size
    worth[still] = 0.0  # rounding, where all users have one reward
    return worth, made / all_of_it if not still.all() else 1.0


def _own(features: Table, n_items: int, used: Int) -> pl.DataFrame:
    """The reader's features of the items in use."""
    table = read_table(features, "features")
    if table.height != n_items:
        raise InputError(f"features: {table.height} rows for {n_items} items; give one for each item of the data")
    return table[used]
