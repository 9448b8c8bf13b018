"""Kind baked: one user's reward as a plain classifier of the backbone's family, no code needed to load it."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from plurality.arrays import Array
from plurality.errors import InputError
from plurality.io.atomic import whole_folder
from plurality.io.paths import expanded
from plurality.io.progress import stages
from plurality.reward.reward_model import RewardModel
from plurality.rl.huggingface import checkpoint, parity, portable
from plurality.rl.huggingface.backbone import Backbone
from plurality.rl.huggingface.parity import Exported, Probes
from plurality.rl.huggingface.readout import FeatureReadout
from plurality.rl.huggingface.reward_owner import mean_utility, reward_owner


def export_baked(  # noqa: PLR0913
    reward: RewardModel,
    out: str | Path,
    *,
    user: str | None = None,
    group: tuple[str, str] | None = None,
    users: Any = None,
    backbone: str | Path | None = None,
    base_weights: Array | None = None,
    probes: Probes = parity.DEFAULT,
    tolerance: float = parity.TOLERANCE,
    progress: bool = False,
) -> Exported:
    """Write a `...ForSequenceClassification` whose score is the linear weight of a user, a group or the population.

    score.weight (1, H) is ∂u/∂x at the user's code, log-odds. The scale of standardisation is folded in; its mean is
    left out, being a shift that is the same for every completion. See `whose` for user, group and users, and `Backbone`
    for backbone. Raises InputError where the reward is not linear in the last token's last hidden state, saying what is
    in the way and which kind can, or where the written checkpoint does not agree with the reward. A reward on top of a
    base, u = a·b + h, is baked where b is linear in the same hidden state: score.weight is then a w + ∂h/∂x.

    reward       the fitted model
    out          folder to write
    user         id of the user whose reward is written
    group        (column, level): the mean of its users
    users        users table that groups are read from
    backbone     folder of the backbone, where it has moved
    base_weights    (H,) w of the base reward that the model starts from, b = ⟨w, x⟩: the base's own score.weight; None
                    for a model without a base
    probes       texts that both rewards are compared on
    tolerance    largest difference of utility gaps allowed, log-odds
    progress     show a progress bar
    """
    out = expanded(out)
    meant = reward_owner(reward, user, group, users)
    frozen = Backbone.of(reward, backbone)
    weight, base = FeatureReadout.of(reward.head, meant.codes).mean.weights(), _base(reward, base_weights)
    if base is not None and reward.base is not None:
        weight = weight + reward.base * base.to(weight)
    check_pooling(frozen)
    with stages("export", 2, show=progress) as bar, whole_folder(out, marker=parity.REPORT) as new:
        bar("writing the classifier")
        write_native(frozen, weight[0], new)
        bar("comparing it with the reward")
        loaded = checkpoint.Loaded(new)
        fitting = loaded.fitting(probes, frozen.about["max_length"])
        items = frozen.reference.encode(*fitting)
        scores = None if base is None else items.astype(np.float64) @ base.double().numpy()
        expected = mean_utility(reward, items, meant.codes, scores).numpy()[None]
        agreed = parity.compare(lambda side: loaded.scores(fitting, side)[None], expected, tolerance)
        exported = Exported(out, "baked", meant.name, agreed, notes_of(frozen, agreed))
        portable.write(new / parity.REPORT, exported.record(frozen.about, reward.spec.name))
    return exported


def _base(reward: RewardModel, weights: Array | None) -> torch.Tensor | None:
    if (weights is None) != (reward.base is None):
        raise InputError(
            "this reward starts from no base reward; leave base_weights out" if reward.base is None else
            "this reward starts from a base reward, which a baked checkpoint holds only where it is linear in the same "
            "hidden state; give its weights as base_weights="
        )  # fmt: skip
    if weights is None:
        return None
    found = np.asarray(weights, dtype=np.float64).reshape(-1)
    if found.shape != (reward.head.n_embedding,) or not np.isfinite(found).all():
        raise InputError(f"base_weights must be {reward.head.n_embedding} finite numbers, a hidden unit each")
    return torch.as_tensor(found)


def check_pooling(backbone: Backbone) -> None:
    """Raise InputError unless the embedding is the last token's state as it is, which is what a classifier scores."""
    about = backbone.about
    in_the_way = [
        f"pooling {about['pooling']!r}" * (about["pooling"] != "last"),
        "vectors scaled to unit length" * bool(about["normalise"]),
    ]
    if any(in_the_way):
        what = " and ".join(filter(None, in_the_way))
        raise InputError(
            f"the encoder has {what}, a native classifier scores the last token's state; choose kind custom"
        )


def write_native(backbone: Backbone, weight: torch.Tensor, folder: Path) -> None:
    """Write classifier and tokenizer with this score, (H,)."""
    model = checkpoint.native(backbone)
    tokens = checkpoint.write_texts(backbone, folder)
    checkpoint.make_room(model, tokens)
    checkpoint.set_score(model, weight)
    checkpoint.write_model(model, backbone, tokens, folder)


def notes_of(backbone: Backbone, agreed: parity.Parity) -> tuple[str, ...]:
    """What a person who loads the folder should know."""
    about = backbone.about
    notes = [
        f"The encoder cuts texts to {about['max_length']} tokens from the left; no program does so by itself.",
    ]
    if about["dtype"] != "float32":
        notes.append(f"Compared in float32; loaded in {about['dtype']} scores are rounded.")
    if not agreed.left_padding < agreed.tolerance * max(1.0, agreed.spread):  # not the rounding of other positions
        notes.append(
            f"Padded on the left this backbone scores differently (by up to {agreed.left_padding:.2g} log-odds): "
            "pad on the right."
        )
    return tuple(notes)
