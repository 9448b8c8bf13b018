"""Vectors from the hidden states of a frozen transformer: the one file that imports transformers."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from plurality.encoders import checkpoint, storage
from plurality.encoders.cache import EmbeddingCache, default_folder
from plurality.encoders.checkpoint import Pooling
from plurality.encoders.embedding import Counts, Rows, embed
from plurality.encoders.pooling import batches, choose_device, suitable_batch_tokens, vectors_of
from plurality.encoders.probe import probed
from plurality.encoders.protocol import Prompt, Template, Vectors
from plurality.encoders.text import (
    Conversation,
    check_not_blank,
    check_pairs,
    contents,
    conversations,
    prompt_conversations,
)
from plurality.encoders.tokens import SHORTEST, choose_chat_template, choose_max_length, render, tokenise
from plurality.encoders.written import WrittenOut
from plurality.errors import InputError, InputWarning
from plurality.io.paths import expanded

if TYPE_CHECKING:
    import torch

Dtype = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True)
class TransformersSpec:
    """Settings of a transformer encoder: which model, and how its hidden states become one vector.

    `name` is a hub id or a local folder, `revision` a hub branch, tag or commit. None leaves a choice to
    the model: `pooling` and `max_length` to its sentence-transformers configuration, else the mean over
    tokens for a bidirectional model and the last token for a causal one; `chat_template` to the tokenizer,
    whose template is used when there is one (a string prompt is one user message). Without a template the
    messages are joined by blank lines. Vectors have unit length only where the model's folder says so.
    `batch_tokens` bounds rows × longest row of a batch, padding included; None suits the device.

    template    "conversation" (prompt and completion) or "completion"
    dtype       "float32", "bfloat16" or "float16", of the weights
    device      "auto", "cpu", "cuda" or "mps"
    """

    name: str
    revision: str | None = None
    template: Template = "conversation"
    pooling: Pooling | None = None
    chat_template: bool | None = None
    dtype: Dtype = "float32"
    max_length: int | None = None
    device: str = "auto"
    batch_tokens: int | None = None

    def __post_init__(self) -> None:
        choices = (
            ("template", self.template, get_args(Template)),
            ("pooling", self.pooling, (None, *get_args(Pooling))),
            ("dtype", self.dtype, get_args(Dtype)),
        )
        for field, value, allowed in choices:
            if value not in allowed:
                raise InputError(f"{field}={value!r} is unknown: choose from {allowed}")
        if self.template == "completion" and self.chat_template:
            raise InputError('chat_template=True needs template="conversation": a lone completion is not a chat')
        for field, tokens, least in (
            ("batch_tokens", self.batch_tokens, 1),
            ("max_length", self.max_length, SHORTEST),
        ):
            if tokens is not None and tokens < least:
                raise InputError(f"{field}={tokens} is too small: give {least} tokens at least")


@dataclass(frozen=True)
class _Recipe:
    """Everything besides the model that determines a vector, with every choice made."""

    template: Template
    pooling: Pooling
    normalise: bool
    chat_template: bool
    dtype: Dtype
    max_length: int


class TransformersEncoder(WrittenOut):
    """A frozen transformer: x = pool(hidden states of the last layer), float32, (n, dim).

    Weights are loaded at the first text that the cache does not hold. `cache` is a folder, None for
    `$PLURALITY_CACHE` or ~/.cache/plurality, False for none (texts that do not come back, as in RL).
    InputError when the model cannot be had or read, or contradicts the spec.

    spec    which model, and how its states become a vector
    """

    def __init__(self, spec: TransformersSpec, *, cache: Path | Literal[False] | None = None) -> None:
        self.spec = spec
        self._folder, self.revision = checkpoint.locate(spec.name, spec.revision)
        content = checkpoint.content(self._folder)
        settings = checkpoint.sentence_settings(self._folder, spec.pooling)
        self._config, self._tokenizer = _load_parts(self._folder)
        self._model: torch.nn.Module | None = None
        asked = False if spec.template == "completion" else spec.chat_template
        self._chat = choose_chat_template(asked, self._tokenizer)
        self.dim = int(self._config.get_text_config().hidden_size)
        self._recipe = _Recipe(
            spec.template,
            settings.pooling or _default_pooling(self._config),
            settings.normalise,
            self._chat is not None,
            spec.dtype,
            choose_max_length(spec.max_length, settings.max_length, self._config, self._tokenizer),
        )
        made_by = {"kind": "transformers", "content": content, **asdict(self._recipe)}
        self.fingerprint = storage.fingerprint(made_by)
        root = default_folder() if cache is None else cache
        self._cache = EmbeddingCache(expanded(root) / self.fingerprint[:32], self.dim) if root else None

    def describe(self) -> dict[str, Any]:
        """What the encoder is, JSON-able; `revision` is the hub's commit, None for a local folder."""
        return {
            "kind": "transformers",
            "name": self.spec.name,
            "revision": self.revision,
            **asdict(self._recipe),
            "dim": self.dim,
            "fingerprint": self.fingerprint,
        }

    def texts(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[str]:
        """What `encode` embeds, written out under the template; for an engine elsewhere that embeds texts.

        prompts        (n,) strings or message lists
        completions    (n,) strings, one to each prompt
        """
        if self.spec.template == "completion":
            check_pairs(prompts, completions)
            check_not_blank(completions, "completions")
            return [str(completion) for completion in completions]
        return self._write(conversations(prompts, completions), "completions")

    def prompt_texts(self, prompts: Sequence[Prompt]) -> list[str]:
        """What `encode_prompts` embeds.

        prompts    (n,) strings or message lists
        """
        return self._write(prompt_conversations(prompts), "prompts")

    def __getstate__(self) -> dict[str, Any]:
        """Weights stay behind: another process reads them from the model's folder."""
        return {**self.__dict__, "_model": None}

    def save(self, folder: Path) -> None:
        """Write encoder.json: the settings, where the model lies, and the fingerprint it must have; and the probe.

        folder    new folder to write
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", InputWarning)  # one of the probe's texts is to be cut
            storage.write_tensors(expanded(folder) / storage.TENSORS, {"probe": probed(self)})
        name = self.spec.name if self.revision else str(self._folder)
        spec = replace(self.spec, name=name, revision=self.revision)
        storage.write_record(expanded(folder), {**self.describe(), "spec": asdict(spec)})

    def _write(self, conversations: list[Conversation], what: str) -> list[str]:
        plain = [contents(conversation) for conversation in conversations]
        check_not_blank(plain, what)
        if self._chat is None:
            return plain
        return render(self._tokenizer, self._chat, conversations, what)

    def _embed(self, texts: list[str], what: str, progress: bool) -> Vectors:
        def compute(rows: Rows) -> tuple[Vectors, Counts]:
            return self._compute(texts, rows, what)

        vectors, counts = embed(texts, compute, self.dim, self._cache, what=what, progress=progress)
        limit = self._recipe.max_length
        n_cut = int(np.sum(counts > limit))
        if n_cut:
            cut = f"{n_cut} of {len(texts)} {what} exceed max_length={limit} tokens"
            warnings.warn(InputWarning(f"{cut}: their beginnings were cut"), stacklevel=3)
        return vectors

    def _compute(self, texts: list[str], rows: Rows, what: str) -> tuple[Vectors, Counts]:
        recipe = self._recipe
        wanted = [texts[row] for row in rows]
        ids, counts = tokenise(self._tokenizer, wanted, recipe.max_length, special=not recipe.chat_template)
        if not counts.all():
            row = rows[np.argmin(counts)]
            raise InputError(f"{what}[{row}] gives no token with {self.spec.name}: drop the row")
        vectors = np.empty((len(rows), self.dim), dtype=np.float32)
        model, pad_id = self._backbone(), self._tokenizer.pad_token_id or 0
        budget = self.spec.batch_tokens or suitable_batch_tokens(model)
        for batch in batches(np.minimum(counts, recipe.max_length), budget):
            part = [ids[row] for row in batch]
            vectors[batch] = vectors_of(model, part, pad_id, recipe.pooling, recipe.normalise)
        bad = rows[~np.isfinite(vectors).all(1)]
        if len(bad):
            cause = f"{self.spec.name} gives NaN or infinite values in {recipe.dtype}"
            raise InputError(f'{what}[{bad.min()}]: {cause}: use dtype="float32" or drop the row')
        return vectors, counts

    def _backbone(self) -> "torch.nn.Module":
        if self._model is None:
            self._model = _load_model(self._folder, self._config, self.spec)
        return self._model


def load(
    folder: Path,
    record: dict[str, Any],
    *,
    cache: Path | Literal[False] | None,
    name: str | None,
    device: str,
) -> TransformersEncoder:
    """Restore a saved encoder; InputError when its model is gone or is another one now."""
    try:
        spec = replace(TransformersSpec(**record["spec"]), device=device)
        promised = record["fingerprint"]
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{folder / storage.RECORD} is damaged ({error}): save the encoder again") from None
    if name is not None:
        spec = replace(spec, name=name, revision=None)
    encoder = TransformersEncoder(spec, cache=cache)
    if encoder.fingerprint != promised:
        raise InputError(
            f"{folder}: the model at {spec.name} is not the one this encoder was saved with: "
            "give the folder or revision that it was"
        )
    return encoder


def _load_parts(folder: Path) -> tuple[Any, Any]:
    try:
        from transformers import AutoConfig, AutoTokenizer
    except ImportError:
        raise InputError('this encoder needs transformers: pip install "plurality-rm[hf]"') from None
    try:
        with quiet():
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise InputError(f"{folder}: no usable configuration and tokenizer ({_line(error)})") from None
    return config, tokenizer


def _load_model(folder: Path, config: Any, spec: TransformersSpec) -> "torch.nn.Module":
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModel

    config.use_cache = False  # keys and values are for generation
    try:
        device = choose_device(spec.device)
        with quiet(), torch.random.fork_rng(devices=[]):
            model, report = AutoModel.from_pretrained(
                folder,
                config=config,
                dtype=getattr(torch, spec.dtype),
                use_safetensors=True,
                local_files_only=True,
                trust_remote_code=False,
                output_loading_info=True,
            )
            backbone = model.get_encoder() if config.is_encoder_decoder else model
            backbone = backbone.to(device).eval()
    except (OSError, ValueError, RuntimeError, AssertionError, SafetensorError) as error:
        raise InputError(
            f"{folder}: the weights cannot be loaded on device={spec.device!r} ({_line(error)}): "
            "get the model again or name another device"
        ) from None
    # a weight that the checkpoint lacks is drawn at random; the pooler's is never used
    random = [key for key in sorted(report["missing_keys"]) if not key.startswith("pooler.")]
    if random:
        lacks = f"lacks {len(random)} weights of the model, {random[0]} first"
        raise InputError(f"{folder}: the checkpoint {lacks}: give a complete one")
    return backbone


def _default_pooling(config: Any) -> Pooling:
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    sees_both_ways = config.is_encoder_decoder or config.model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    return "mean" if sees_both_ways else "last"


@contextmanager
def quiet() -> Iterator[None]:
    """Hold back the library's loading bars and reports, and give its settings back afterwards."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
