"""Pairs with what a reward says of their labels, in the columns that trainers read.

TRL's RewardTrainer takes `prompt`, `chosen`, `rejected` and `margin`; its loss is
−log σ(r_chosen − r_rejected − margin);
its DPOTrainer takes the first three. `plurality.read` takes the table again, further columns as attributes of the rows.
"""

import warnings

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray

from plurality.arrays import Array, Float, Int
from plurality.data.comparisons import Comparisons
from plurality.data.readers.chats import messages
from plurality.errors import InputError, InputWarning
from plurality.reward.item_features import BLOCK
from plurality.reward.links import prob
from plurality.reward.reward_model import RewardModel
from plurality.reward.scoring import Unknown
from plurality.reward.tensors import Tensors

__all__ = ["annotate"]

MARGIN_OTHERS = "margin_others_"


def annotate(
    model: RewardModel, data: Comparisons, *, relabel: bool = False, unknown: Unknown = "error"
) -> pl.DataFrame:
    """Every pair as `chosen` and `rejected` with what the reward of its own user says of the label, rows in order.

    margin           log-odds that the user prefers chosen, what is not known of them averaged out
    prob_chosen      the probability of that, σ(margin), before the label is looked at
    prob_right       P(the label is what the user prefers | label) = σ(gap + logit E η), the E-step of a flip mixture
                     of reliability η; a soft label has the mean of both sides, a tie has none. Null where the
                     family knows no flips, whose labels are right by assumption
    margin_others_…  of families with objectives, a column for each: the gap that all other objectives, and a base
                     reward, make at the user's code, w₋ₖᵀ Δr₋ₖ in log-odds, as MODPO subtracts it
    weight           of the row, as it was read

    Also `label` where some are not 1, `group_id` (a hash), `objective`, `score_chosen` and `score_rejected` where the
    data have them, and other attributes of the rows. Sides are texts, message lists where prompts are, or rows of
    ready-made embeddings.

    model      a fitted reward
    data       comparisons by users; their texts are written where there are any
    relabel    exchange the sides of rows whose label is more likely wrong than right, `relabelled` says which; ties
               and the sureness of soft labels stay
    unknown    what an unknown user is: "error" raises, "population" has the population's code

    Raises InputError as `RewardModel.log_odds` does, and for `relabel` where the family knows no flips. Sources: RE-PO,
    arXiv 2509.24159, eq. 4; MODPO, arXiv 2310.03708, eq. 8 (w₋ₖᵀ r₋ₖ).

    >>> import numpy as np, plurality as pl8
    >>> rows = {"user_id": ["ada", "bo"], "chosen": [0, 2], "rejected": [1, 3]}
    >>> data = pl8.read(rows, embeddings=np.eye(4))
    >>> pl8.annotate(pl8.BradleyTerry(decay=1.0).fit(data), data).columns
    ['user_id', 'chosen', 'rejected', 'weight', 'margin', 'prob_chosen', 'prob_right']
    """
    chosen = data.label >= 0.5  # whether chosen is the first side
    margin, right = _beliefs(model, data, unknown)  # of first
    changed = np.zeros(len(data), dtype=bool)
    if relabel:
        if right is None:
            raise InputError(
                f"{model.spec.name} takes every label to be right, so it cannot say which to relabel; fit lcpo, which "
                "finds how often each user's labels are flipped"
            )
        changed = (data.label != 0.5) & ((right >= 0.5) != chosen)
        chosen = chosen ^ changed
    sign = np.where(chosen, 1.0, -1.0)
    if right is not None:
        right = np.where(data.label == 0.5, np.nan, np.where(chosen, right, 1 - right))
    said: dict[str, Float] = {
        "margin": sign * margin,
        "prob_chosen": prob(torch.as_tensor(sign * margin)).numpy(),
        "prob_right": np.full(len(data), np.nan) if right is None else right,
    }
    said |= {MARGIN_OTHERS + name: sign * gap for name, gap in _others(model, data, unknown).items()}
    made = _rows(data, chosen).with_columns(pl.Series(name, value).fill_nan(None) for name, value in said.items())
    if relabel:
        made = made.with_columns(relabelled=pl.Series(changed))
    if data.attributes is None:
        return made
    return pl.concat([made, data.attributes.drop(*made.columns, "relabelled", strict=False)], how="horizontal")


def _beliefs(model: RewardModel, data: Comparisons, unknown: Unknown) -> tuple[Float, Float | None]:
    """Log-odds that the user prefers first, and P(they prefer first | label) where labels are flipped: (N,), (N,)."""
    units = data.by_unit(model.spec.unit)
    reliability = model.head.reliability(model.beliefs(units.users[units.present], unknown))
    if reliability is None:
        return model.log_odds(data, unknown=unknown), None
    if model.report.get("identified") is False:
        warnings.warn(
            InputWarning(
                f"{model.spec.name}: flips cannot be told from weak tastes in what this reward was fitted on, so "
                "prob_right may be far off; report['verdict'] says why"
            ),
            stacklevel=3,
        )
    gap = model.gap(data, unknown=unknown)
    right = torch.logit(reliability.double())[torch.as_tensor(np.searchsorted(units.present, units.user))]
    clean, label = torch.as_tensor(gap), torch.as_tensor(data.label)
    return gap, (label * prob(clean + right) + (1 - label) * prob(clean - right)).numpy()


def _others(model: RewardModel, data: Comparisons, unknown: Unknown) -> dict[str, Float]:
    """Gap of first over second that all objectives but one make, and a base, by the name of the one: (N,)."""
    names = model.head.objectives
    if not names:
        return {}
    units, step = data.by_unit(model.spec.unit), 4 * BLOCK
    codes = model.beliefs(units.users[units.present], unknown).codes
    place = np.searchsorted(units.present, units.user)
    own = np.empty((len(data), len(names)))
    for start in range(0, len(data), step):
        rows = np.arange(start, min(start + step, len(data)))
        block = Tensors.of(units, model.head, rows)
        with torch.no_grad():
            reward = model.head.by_objective(model.head.features(block.items, block.prompts)).double()
            weight = model.head.coefficients(codes[torch.as_tensor(place[rows])]).double()
        own[rows] = (weight * (reward[block.first] - reward[block.second])).numpy()
    gap = model.gap(data, unknown=unknown)
    return {name: gap - own[:, k] for k, name in enumerate(names)}


def _rows(data: Comparisons, chosen: NDArray[np.bool_]) -> pl.DataFrame:
    """What `read` takes: who, which sides, how sure and with what weight, a row a comparison."""
    better, worse = np.where(chosen, data.first, data.second), np.where(chosen, data.second, data.first)
    columns: dict[str, pl.Series | Array] = {"user_id": data.users["user_id"].gather(data.user)}
    columns |= _ready_made(data, better, worse) if data.texts is None else _texts(data, better, worse)
    label = np.maximum(data.label, 1 - data.label)
    if (label != 1).any():
        columns["label"] = label
    columns["weight"] = data.weight
    if (data.group != data.prompt_keys[data.prompt[better]]).any():
        columns["group_id"] = pl.Series(data.group).cast(pl.String)
    if data.objective is not None:
        columns["objective"] = pl.Series(data.objectives, dtype=pl.String).gather(data.objective)
    if data.base is not None:
        columns |= {"score_chosen": data.base[better], "score_rejected": data.base[worse]}
    return pl.DataFrame(columns)


def _ready_made(data: Comparisons, better: Int, worse: Int) -> dict[str, pl.Series | Array]:
    """Sides as rows of the embeddings, prompts as rows of theirs or else as names of their own."""
    sides: dict[str, pl.Series | Array] = {"chosen": better, "rejected": worse}
    if data.prompts is not None:
        return {"prompt": data.prompt[better], **sides}
    if len(data.prompt_keys) > 1:
        return {"prompt": pl.Series(data.prompt_keys[data.prompt[better]]).cast(pl.String), **sides}
    return sides


def _texts(data: Comparisons, better: Int, worse: Int) -> dict[str, pl.Series | Array]:
    """Prompts and completions as TRL takes them: strings, or message lists where prompts are those."""
    assert data.texts is not None
    prompt, chat = data.texts["prompt"], data.texts["chat"]
    replies = data.texts["completion"]
    used = chat.gather(np.unique(np.concatenate([better, worse])))
    if used.any() and not used.all():
        note = f"{data.source}: some prompts are message lists, some strings; these are written as user messages"
        warnings.warn(InputWarning(note), stacklevel=4)
    if used.any():
        spelled = [
            messages(text) if is_chat else [{"content": text, "role": "user"}]
            for text, is_chat in zip(prompt, chat, strict=True)
        ]
        prompt = pl.Series(spelled)
        replies = pl.Series([[{"role": "assistant", "content": text}] for text in replies])
    return {"prompt": prompt.gather(better), "chosen": replies.gather(better), "rejected": replies.gather(worse)}
