"""A model's folder: where it lies, what it holds to the byte, and how it says its vectors are made."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from warnings import warn

from plurality.errors import InputError, InputWarning
from plurality.io.paths import expanded

Pooling = Literal["last", "mean", "first"]

WEIGHTS = ("model.safetensors", "model-*-of-*.safetensors", "model.safetensors.index.json")
TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "*.model",
    "chat_template.jinja",
    "chat_template.json",
)
SENTENCE = ("modules.json", "sentence_bert_config.json", "1_Pooling/config.json")
FILES = ("config.json", *WEIGHTS, *TOKENIZER, *SENTENCE)

# what sentence-transformers calls the poolings, in the new and in the flag-per-mode configuration
POOLINGS: dict[str, Pooling] = {
    "mean": "mean",
    "cls": "first",
    "lasttoken": "last",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "first",
    "pooling_mode_lasttoken": "last",
}
FOLDED = ("Transformer", "Pooling", "Normalize")


@dataclass(frozen=True)
class SentenceSettings:
    """What a sentence-transformers folder asks for; None where it says nothing."""

    pooling: Pooling | None = None
    normalise: bool = False
    max_length: int | None = None


def locate(name: str, revision: str | None) -> tuple[Path, str | None]:
    """The folder of a local or hub model, and the hub's commit (None for a local folder).

    Downloads what is missing, safetensors and JSON only; InputError when that cannot be done.
    """
    folder = expanded(name)
    if folder.is_dir():
        if revision is not None:
            raise InputError(f"{name} is a local folder, revision={revision!r} means nothing to it: leave it out")
        return folder.resolve(), None
    if name.startswith(("/", "~", ".")):
        raise InputError(f"folder {name} does not exist: give an existing model folder or a hub id")
    snapshot = _download(name, revision)
    return snapshot, snapshot.name


def content(folder: Path) -> dict[str, str]:
    """SHA-256 (hex) of every file of the folder that can change a vector, by relative path."""
    files = {path for pattern in FILES for path in folder.glob(pattern)}
    if not any(path.suffix == ".safetensors" for path in files):
        raise InputError(
            f"{folder} holds no model.safetensors, and pickled weights are not read: save the model as safetensors"
        )
    return {path.relative_to(folder).as_posix(): _sha256(path) for path in sorted(files)}


def sentence_settings(folder: Path, pooling: Pooling | None = None) -> SentenceSettings:
    """Read modules.json and its companions; a folder without modules.json asks for nothing.

    A `pooling` given here stands in for the folder's. InputWarning names a module that is not applied,
    InputError a pooling that is not known here.
    """
    if not (folder / "modules.json").is_file():
        return SentenceSettings(pooling)
    kinds = [module["type"].rsplit(".", 1)[-1] for module in _read_json(folder / "modules.json")]
    unknown = [kind for kind in kinds if kind not in FOLDED]
    if unknown:
        left_out = ", ".join(unknown)
        warn(
            InputWarning(f"{folder}: modules {left_out} are not applied, only backbone and pooling"),
            stacklevel=2,
        )
    limits = folder / "sentence_bert_config.json"
    max_length = _read_json(limits).get("max_seq_length") if limits.is_file() else None
    pooling = pooling or _pooling(folder / "1_Pooling" / "config.json")
    return SentenceSettings(pooling, "Normalize" in kinds, max_length)


def _pooling(path: Path) -> Pooling | None:
    if not path.is_file():
        return None
    config = _read_json(path)
    modes = config.get("pooling_mode") or [key for key, on in config.items() if key.startswith("pooling_") and on]
    modes = [modes] if isinstance(modes, str) else modes
    if len(modes) == 1 and modes[0] in POOLINGS:
        return POOLINGS[modes[0]]
    raise InputError(f"{path} asks for pooling {'+'.join(modes)}, unknown here: set pooling= in the spec")


def _download(name: str, revision: str | None) -> Path:
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise InputError('a hub model needs transformers: pip install "plurality-rm[hf]"') from None
    try:
        return Path(snapshot_download(name, revision=revision, allow_patterns=list(FILES)))
    except (OSError, ValueError) as error:
        cause = re.split(r"\n|(?<=\.) ", str(error).strip())[0].rstrip(".")[:160]
        raise InputError(
            f"model {name!r} cannot be had from the hub ({cause}): give a local folder, "
            "run where the hub cache holds it (HF_HUB_OFFLINE=1), or use the encoder lsa"
        ) from None


def _sha256(path: Path) -> str:
    # the hub cache names a large file by its SHA-256, which saves reading it through
    blob = path.resolve()
    if blob.parent.name == "blobs" and re.fullmatch(r"[0-9a-f]{64}", blob.name):
        return blob.name
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): get the model again") from None
