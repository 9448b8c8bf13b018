"""The folder of a fitted model: config.json, head.safetensors, users.parquet, README.md, its encoder's; no pickle.

A model is written into a temporary folder beside its place and moved there whole, so a folder is either the old
model or the new one. config.json lists the hashes of all files and seals itself (`plurality.io.sealed`); the codes in
head.safetensors carry the hash of the user ids that they belong to, in their order.
"""

import hashlib
import json
import math
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from plurality.encoders.stored import StoredEncoder
from plurality.errors import InputError
from plurality.io.atomic import whole_folder
from plurality.io.causes import unreadable
from plurality.io.plain import read_json
from plurality.io.sealed import check
from plurality.io.staging import sweep
from plurality.reward.content import check_content
from plurality.reward.fitted import Parts, Trace
from plurality.reward.model_card import CARD, CardDetails, Place, model_card
from plurality.reward.posterior import Posterior, Prior
from plurality.reward.registry import GROUP, families, spec_class
from plurality.reward.settings import Settings

SCHEMA = 1
KEYS = {"model", "settings", "n_embedding", "encoder", "trace"}
AGAIN = "fit or copy it again"
UNFIT = (TypeError, ValueError, KeyError, AttributeError, IndexError, RuntimeError, OverflowError, MemoryError)
CONFIG, HEAD, USERS, ENCODER = "config.json", "head.safetensors", "users.parquet", "encoder"


def write(model: Parts, folder: Path, details: CardDetails | None = None, place: Place | None = None) -> Path:
    """Write a model to `folder`, replacing a model that is there.

    model      what is written: spec, head, users and their codes, prior, encoder
    folder     where; its parents are made
    details    what the card says that the model does not know; None: nothing
    place      where the card will lie; None: a local folder

    Raises InputError if it cannot be written, or could not be read back: a family that is not registered, settings or
    a report that JSON does not hold, settings that build another head, and numbers that are not finite.
    """
    _check_head(model)
    who = model.user_ids, model.n_comparisons
    check_content(type(model.spec).__name__, model.head, model.posterior, model.prior, *who, "fit the model again")
    config = {
        "schema_version": SCHEMA,
        "model": model.spec.name,
        "settings": _settings(model.spec),
        "n_embedding": model.head.n_embedding,
        "encoder": None if model.encoder is None else model.encoder.describe(),
        "report": model.report,
        "item_correlation": model.item_correlation,
        "base": model.base,
        "trace": [{k: None if v != v else v for k, v in row.items()} for row in model.trace.rows],  # JSON has no NaN
    }
    codes = {
        "codes": model.posterior.codes,
        "covariance": model.posterior.covariance,
        "prior_mean": model.prior.mean,
        "prior_precision": model.prior.precision,
    }
    state = {f"head.{k}": v for k, v in model.head.state_dict().items()} | {f"users.{k}": v for k, v in codes.items()}
    text = _json(config, model.spec)
    whose = {"user_ids": ids_hash(model.user_ids)}
    with whole_folder(folder, marker=CONFIG) as new:
        save_file({k: v.contiguous().clone() for k, v in state.items()}, new / HEAD, whose)  # weights may be tied
        users = {"user_id": list(model.user_ids), "n_comparisons": model.n_comparisons}
        pl.DataFrame(users, schema_overrides={"user_id": pl.String}).write_parquet(new / USERS)
        if model.encoder is not None:
            model.encoder.save(new / ENCODER)
        (new / CARD).write_text(model_card(model, details, place), encoding="utf-8")
        (new / CONFIG).write_text(text)
    return folder


def read(folder: Path, *, verify: bool = True) -> Parts:
    """What `write` wrote; the encoder is loaded when a text comes.

    folder    where it lies
    verify    compare every file but the card with its SHA-256; False for a folder that was changed on purpose

    Raises InputError for a folder that holds no model, a family that is not installed, a file that is damaged, changed
    or a link, numbers that are not finite, and a file of a newer schema version. Warns (InputWarning) of a folder that
    an earlier version wrote without hashes.
    """
    config = _config(folder)
    check(folder, CONFIG, config, needed=(HEAD, USERS), again=AGAIN, free=(CARD,), verify=verify)
    cls = spec_class(str(config["model"]))
    try:
        spec = cls(**_from_json(config["settings"]))
        _check_size(spec, config["n_embedding"], folder / HEAD)
        head = spec.head(config["n_embedding"], torch.Generator())
    except UNFIT as error:
        raise InputError(
            f"{folder / CONFIG}: settings do not fit model {config['model']!r} ({_first_line(error)})"
        ) from None
    try:
        state, whose = _state(folder / HEAD)
        users = pl.read_parquet(folder / USERS)
        head.load_state_dict({k.removeprefix("head."): v for k, v in state.items() if k.startswith("head.")})
        posterior = Posterior(state["users.codes"], state["users.covariance"])
        prior = Prior(state["users.prior_mean"], state["users.prior_precision"])
        user_ids, n_comparisons = users["user_id"].to_list(), users["n_comparisons"].to_numpy().astype(np.int64)
    except OSError as error:
        raise unreadable(folder, error, AGAIN) from None
    except (SafetensorError, pl.exceptions.PolarsError, *UNFIT) as error:
        reason = _first_line(error)
        raise InputError(f"{folder}: the saved model is damaged or incomplete ({reason}); {AGAIN}") from None
    if len(user_ids) != len(posterior.codes):
        raise InputError(
            f"{folder}: {USERS} names {len(user_ids):,} users, {HEAD} holds codes of {len(posterior.codes):,}; "
            f"the files are not of one model, so {AGAIN}"
        )
    check_content(str(folder), head, posterior, prior, user_ids, n_comparisons, AGAIN)
    if whose is not None and whose != ids_hash(user_ids):
        raise InputError(
            f"{folder}: {HEAD} holds the codes of other users than {USERS} names, or in another order; "
            f"the files are not of one model, so {AGAIN}"
        )
    try:
        about = config["encoder"]
        encoder = None if about is None else StoredEncoder(folder / ENCODER, about)
        trace = Trace([{k: math.nan if v is None else v for k, v in row.items()} for row in config["trace"]])
        report = dict(config.get("report", {}))
        item_correlation = float(config.get("item_correlation", 0.0))  # before 0.2, comparisons counted in full
        if not 0 <= item_correlation < math.inf:
            raise ValueError(f"item_correlation {item_correlation} is not a number of 0 or more")
        base = None if config.get("base") is None else float(config["base"])
        if base is not None and not 0 <= base < math.inf:
            raise ValueError(f"base {base} is not a number of 0 or more")
    except UNFIT as error:
        reason = _first_line(error)
        raise InputError(f"{folder / CONFIG}: its encoder, trace or report is damaged ({reason}); {AGAIN}") from None
    return Parts(
        spec=spec,
        head=head.requires_grad_(False).eval(),
        user_ids=tuple(user_ids),
        posterior=posterior,
        prior=prior,
        n_comparisons=n_comparisons,
        trace=trace,
        report=report,
        item_correlation=item_correlation,
        base=base,
        encoder=encoder,
    )


def _check_size(spec: Settings, width: int, path: Path) -> None:
    """Raise ValueError where the settings build a head that cannot be in the file, before memory is asked for."""
    count, size = 0, path.stat().st_size
    with suppress(*UNFIT), torch.device("meta"):  # a head that cannot be planned is built as it is
        count = sum(tensor.numel() for tensor in spec.head(width, torch.Generator()).state_dict().values())
    if count > size + 1_000_000:  # a file that is merely cut short has a message of its own
        raise ValueError(f"they build a head of {count:,} numbers, and {path.name} has {size:,} bytes")


def ids_hash(user_ids: Sequence[str]) -> str:
    """SHA-256 of user ids in their order, in hex.

    user_ids    (U,)
    """
    return hashlib.sha256(json.dumps(list(user_ids)).encode()).hexdigest()


def _state(path: Path) -> tuple[dict[str, Tensor], str | None]:
    """The tensors of a file, and the hash of the user ids that they were written with."""
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, (file.metadata() or {}).get("user_ids")  # noqa: SIM118


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _check_head(model: Parts) -> None:
    """Raise InputError where the settings build another head than the one to be written."""
    name = type(model.spec).__name__
    try:
        model.spec.head(model.head.n_embedding, torch.Generator()).load_state_dict(model.head.state_dict())
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{name}: its settings build another head than the one fitted, so the model could not be loaded again "
            f"({reason}); return what the fit chose in Fitted.chosen"
        ) from None


def _json(config: dict[str, Any], spec: Settings) -> str:
    try:
        return json.dumps(config, indent=1, default=float, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{type(spec).__name__}: its report cannot be written as JSON ({error}); use numbers that are finite, "
            "text, lists and dictionaries"
        ) from None


def _settings(spec: Settings) -> dict[str, Any]:
    """The settings for JSON, tried out by reading them back."""
    cls, settings = type(spec), asdict(spec)
    if spec.name not in families() or spec_class(spec.name) is not cls:
        raise InputError(
            f"{cls.__name__}: no family {spec.name!r} of this class is registered, so the model could not be loaded "
            f'again; register the class as an entry point of "{GROUP}" in its package'
        )
    try:
        again = cls(**_from_json(json.loads(json.dumps(settings, allow_nan=False))))
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{cls.__name__}: settings cannot be written as JSON ({error}); use numbers and text"
        ) from None
    if again != spec:
        raise InputError(f"{cls.__name__}: settings come back from JSON as {again!r}; use numbers, text and tuples")
    return settings


def _from_json(value: Any) -> Any:
    """Lists of JSON as the tuples that settings are."""
    if isinstance(value, dict):
        return {k: _from_json(v) for k, v in value.items()}
    return tuple(_from_json(v) for v in value) if isinstance(value, list) else value


def _config(folder: Path) -> dict[str, Any]:
    damaged = "not a model's configuration; fit or copy the model again"
    if not os.path.lexists(folder / CONFIG):
        sweep(folder)  # a write that was killed may have set the model aside
        if not os.path.lexists(folder / CONFIG):
            raise InputError(f"{folder}: no fitted model here ({CONFIG} is missing); give a folder `fit` wrote")
    config = read_json(folder, CONFIG, "give a folder `fit` wrote", damaged)
    version = config.get("schema_version")
    if not isinstance(version, int):
        raise InputError(f"{folder / CONFIG}: {damaged}")
    if version > SCHEMA:
        raise InputError(
            f"{folder / CONFIG}: written by a newer plurality (schema {version}, this one reads {SCHEMA}); upgrade"
        )
    if missing := sorted(KEYS - config.keys()):
        raise InputError(f"{folder / CONFIG}: {', '.join(missing)} missing; fit or copy the model again")
    return config
