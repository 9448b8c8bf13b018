"""Kind adapters: the population's classifier, and for each user a rank-1 LoRA on its score, some hundred bytes a user.

A score is one row of weights, so that w_u = w_0 + B A with A = w_u − w_0 and B = 1 is any user's exactly. One backbone
in memory serves a batch of many users. Source of the adapter's form: LoRA, arXiv 2106.09685, eq. 3.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from plurality.encoders import storage
from plurality.errors import InputError
from plurality.io.atomic import whole_folder
from plurality.io.paths import expanded
from plurality.io.progress import stages
from plurality.reward.reward_model import RewardModel
from plurality.rl.huggingface import checkpoint, parity, portable
from plurality.rl.huggingface.backbone import Backbone
from plurality.rl.huggingface.baked import check_pooling, notes_of, write_native
from plurality.rl.huggingface.parity import Exported, Probes
from plurality.rl.huggingface.readout import FeatureReadout
from plurality.rl.huggingface.reward_owner import check_no_base, mean_utility

BASE, ADAPTERS, INDEX = "base", "adapters", "users.json"
WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
LAYER = "base_model.model.score"  # where PEFT looks for a score's LoRA


def export_adapters(
    reward: RewardModel,
    out: str | Path,
    *,
    user_ids: Sequence[str] | None = None,
    base_name: str | None = None,
    backbone: str | Path | None = None,
    probes: Probes = parity.DEFAULT,
    tolerance: float = parity.TOLERANCE,
    progress: bool = False,
) -> Exported:
    """Write `base/` (the baked population), `adapters/user_<i>/` in PEFT's format, and users.json: user -> folder.

    All users, or those named. `base_name` is where adapters say their base is, a hub id or a folder; the absolute path
    of `out/base` if left out, so give it if the folder will move. Raises InputError as `export_baked` does.

    reward       the fitted model
    user_ids     users to write adapters for; all that the model knows by default
    backbone     folder of the backbone, where it has moved
    probes       texts that both rewards are compared on
    tolerance    largest difference of utility gaps allowed, log-odds
    progress     show a progress bar
    """
    check_no_base(reward, "adapters")
    out = expanded(out)
    names = tuple(reward.user_ids if user_ids is None else dict.fromkeys(user_ids))
    if not names:
        raise InputError("adapters: there is no user to write one for")
    codes = reward.codes(names)
    frozen = Backbone.of(reward, backbone)
    weights = FeatureReadout.of(reward.head, torch.cat([reward.prior.mean[None], codes])).weights().float()
    check_pooling(frozen)
    some = checkpoint.people_of(names)
    with stages("export", 3, show=progress) as bar, whole_folder(out, marker=parity.REPORT) as new:
        bar("writing the base")
        (new / BASE).mkdir()
        write_native(frozen, weights[0], new / BASE)
        bar("writing adapters")
        index = {name: f"{ADAPTERS}/user_{i}" for i, name in enumerate(names)}
        for place, difference in zip(index.values(), weights[1:] - weights[0], strict=True):
            _write_adapter(new / place, difference, base_name or str(out.absolute() / BASE))
        portable.write(new / INDEX, index)
        bar("comparing them with the reward")
        loaded = checkpoint.Loaded(new / BASE)
        fitting = loaded.fitting(probes, frozen.about["max_length"])
        x = frozen.reference.encode(*fitting)
        each = [reward.prior.mean[None], *reward.codes(some)[:, None]]
        expected = np.stack([mean_utility(reward, x, code).numpy() for code in each])
        changes = [torch.zeros_like(weights[0]), *(_read_adapter(new / index[name]) for name in some)]

        def run(side: str) -> parity.Scores:
            scores = []
            for change in changes:
                checkpoint.set_score(loaded.model, weights[0] + change)
                scores.append(loaded.scores(fitting, side))
            return np.stack(scores)

        agreed = parity.compare(run, expected, tolerance)
        whose = f"the population, and {len(names):,} users"
        exported = Exported(out, "adapters", whose, agreed, notes_of(frozen, agreed))
        portable.write(new / parity.REPORT, exported.record(frozen.about, reward.spec.name))
    return exported


def _write_adapter(folder: Path, difference: Tensor, base: str) -> None:
    folder.mkdir(parents=True)
    arrays = {f"{LAYER}.lora_A.weight": difference[None], f"{LAYER}.lora_B.weight": difference.new_ones(1, 1)}
    storage.write_tensors(folder / WEIGHTS, {k: v.numpy() for k, v in arrays.items()}, {"format": "pt"})
    config = {
        "peft_type": "LORA",
        "task_type": None,  # SEQ_CLS would have PEFT replace the whole score besides
        "base_model_name_or_path": base,
        "target_modules": ["score"],
        "r": 1,
        "lora_alpha": 1,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }
    portable.write(folder / CONFIG, config)


def _read_adapter(folder: Path) -> Tensor:
    """B A as it lies on disk: (H,)."""
    found = storage.read_tensors(folder / WEIGHTS)
    a, b = (torch.as_tensor(found[f"{LAYER}.lora_{letter}.weight"]) for letter in "AB")
    return (b @ a)[0]
