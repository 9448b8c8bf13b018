"""Kind custom: every user's reward in one checkpoint, with the code that reads it beside it."""

import shutil
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from plurality.errors import InputError
from plurality.io.atomic import whole_folder
from plurality.io.paths import expanded
from plurality.io.progress import stages
from plurality.reward.heads import Projector
from plurality.reward.reward_model import RewardModel
from plurality.rl.huggingface import checkpoint, parity, portable
from plurality.rl.huggingface.backbone import Backbone
from plurality.rl.huggingface.baked import notes_of
from plurality.rl.huggingface.parity import Exported, Probes
from plurality.rl.huggingface.readout import FeatureReadout
from plurality.rl.huggingface.reward_owner import RewardOwner, check_no_base, mean_utility, reward_owner

CODE = ("configuration_plurality.py", "modeling_plurality.py")
AUTO_MAP = {
    "AutoConfig": "configuration_plurality.PluralityConfig",
    "AutoModelForSequenceClassification": "modeling_plurality.PluralityForSequenceClassification",
}


def export_custom(
    reward: RewardModel,
    out: str | Path,
    *,
    user: str | None = None,
    group: tuple[str, str] | None = None,
    users: Any = None,
    backbone: str | Path | None = None,
    probes: Probes = parity.DEFAULT,
    tolerance: float = parity.TOLERANCE,
    progress: bool = False,
) -> Exported:
    """Write a classifier whose `forward` takes `user_ids`, a row of its table for each user the reward knows.

    Loaded with `trust_remote_code=True` and nothing of this package. Programs that name no user get the user, the group
    (which has a row of its own, "column=value") or the population chosen here. Every pooling of the encoder, linear
    maps, hidden layers and squares are exact; see `FeatureReadout`. Raises InputError for a reward of another form or
    an encoder-decoder, or where the written checkpoint does not agree with the reward.

    reward       the fitted model
    out          folder to write
    user         id of the user whose reward is written
    group        (column, level): the mean of its users
    users        users table that groups are read from
    backbone     folder of the backbone, where it has moved
    probes       texts that both rewards are compared on
    tolerance    largest difference of utility gaps allowed, log-odds
    progress     show a progress bar
    """
    check_no_base(reward, "custom")
    out = expanded(out)
    meant = reward_owner(reward, user, group, users)
    frozen = Backbone.of(reward, backbone)
    table = _Table.of(reward, meant, user, group)
    with stages("export", 2, show=progress) as bar, whole_folder(out, marker=parity.REPORT) as new:
        bar("writing the model")
        model_class = _write(frozen, table, new)
        bar("comparing it with the reward")
        loaded = checkpoint.Loaded(new, model_class)
        fitting = loaded.fitting(probes, frozen.about["max_length"])
        some = checkpoint.people_of(reward.user_ids)
        x = frozen.reference.encode(*fitting)
        each = [meant.codes, reward.prior.mean[None], *reward.codes(some)[:, None]]
        expected = np.stack([mean_utility(reward, x, codes).numpy() for codes in each])

        def run(side: str) -> parity.Scores:
            people: list[list[str | None] | None] = [None, [None]]  # no user named, and the population
            people += [[name] for name in some]
            return np.stack([loaded.scores(fitting, side, who) for who in people])

        agreed = parity.compare(run, expected, tolerance)
        holds = f"all users; where none is named, {meant.name}"
        exported = Exported(out, "custom", holds, agreed, notes_of(frozen, agreed))
        portable.write(new / parity.REPORT, exported.record(frozen.about, reward.spec.name))
    return exported


@dataclass(frozen=True)
class _Table:
    """A row for the population, then one for each name; `default` is whose reward is given where no user is named."""

    readout: FeatureReadout
    names: tuple[str, ...]
    default: str | None

    @staticmethod
    def of(reward: RewardModel, meant: RewardOwner, user: str | None, group: tuple[str, str] | None) -> "_Table":
        readout = FeatureReadout.of(
            reward.head, torch.cat([reward.prior.mean[None], reward.posterior.codes, meant.codes])
        )
        names, default = tuple(reward.user_ids), user
        rows, of_group = readout.rows.split([1 + len(names), len(meant.codes)])
        if group is not None and group[0] == reward.spec.unit:
            default = group[1]
        elif group is not None:
            if meant.name in names:
                raise InputError(f"the reward knows a user called {meant.name!r}, as the group would be; rename one")
            rows, names, default = torch.cat([rows, of_group.mean(0, keepdim=True)]), (*names, meant.name), meant.name
        return _Table(replace(readout, rows=rows), names, default)


def _write(frozen: Backbone, table: _Table, folder: Path) -> Any:
    """Write the model with its code and tokenizer; returns the class that reads it."""
    code = import_module("plurality.rl.huggingface.remote_code.modeling_plurality")
    model = checkpoint.bare(frozen)
    tokens = checkpoint.write_texts(frozen, folder)
    checkpoint.make_room(model, tokens)
    projector, rows = table.readout.projector, table.readout.rows
    config = code.PluralityConfig(
        backbone=model.config,
        pooling=frozen.about["pooling"],
        normalise=frozen.about["normalise"],
        n_features=len(projector.linear),
        n_hidden=projector.hidden,
        squared=table.readout.squared,
        user_ids=table.names,
        default_user=table.default,
    )
    with torch.device("meta"):
        whole = code.PluralityForSequenceClassification(config)
    whole.model = model
    whole.plurality_head = _head(code.PluralityHead, projector, rows, config)
    checkpoint.write_model(whole, frozen, tokens, folder, nested="backbone", auto_map=AUTO_MAP)
    for name in CODE:
        shutil.copyfile(Path(str(code.__file__)).with_name(name), folder / name)
    return code.PluralityForSequenceClassification


def _head(make: Any, projector: Projector, rows: torch.Tensor, config: Any) -> nn.Module:
    """The readout as the code's own module, float32."""
    width = projector.linear.shape[1]
    matrix, shift = projector.raw(projector.linear)
    state = {"low": projector.low, "high": projector.high}
    state |= {"direct.weight": matrix, "direct.bias": shift, "users.weight": rows}
    if projector.hidden:
        inner, inner_shift = projector.raw(projector.inner)
        state |= {"inner.weight": inner, "inner.bias": inner_shift + projector.bias}
        state |= {"outer.weight": projector.outer * projector.hidden**-0.5}
    with torch.device("meta"):
        head: nn.Module = make(width, config.n_features, config.n_hidden, config.squared, len(config.user_ids))
    head.load_state_dict({k: v.detach().float().contiguous() for k, v in state.items()}, assign=True)
    return head
