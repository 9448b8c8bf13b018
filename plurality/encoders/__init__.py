"""Frozen text encoders: prompts and completions to vectors, with nothing heavy imported until used."""

from pathlib import Path
from typing import Literal

from plurality.encoders import lsa, served, storage, transformers
from plurality.encoders.lsa import Lsa, LsaSpec
from plurality.encoders.protocol import Corpus, CorpusSource, Encoder, Message, Prompt
from plurality.encoders.served import ServerEncoder
from plurality.encoders.server import EmbeddingServer, is_url
from plurality.encoders.transformers import TransformersEncoder, TransformersSpec
from plurality.errors import InputError
from plurality.io.paths import expanded

__all__ = [
    "Corpus",
    "CorpusSource",
    "EmbeddingServer",
    "Encoder",
    "Lsa",
    "LsaSpec",
    "Message",
    "Prompt",
    "ServerEncoder",
    "TransformersEncoder",
    "TransformersSpec",
    "create",
    "load",
]


def create(
    encoder: str | Path | LsaSpec | TransformersSpec | EmbeddingServer | Encoder,
    corpus: CorpusSource | None = None,
    *,
    cache: Path | Literal[False] | None = None,
    seed: int = 0,
    progress: bool = False,
) -> Encoder:
    """Make the encoder that a name, a spec or a saved folder stands for; an encoder is returned as it is.

    "lsa" is fitted on `corpus` (prompts and completions, or a function that gives them, called only when
    needed); "http(s)://…/v1/embeddings" or an `EmbeddingServer` is a server that embeds; any other string is a folder
    that an encoder was saved to, a local model folder or a hub id. `cache` is where vectors of transformers and servers
    are kept: see `TransformersEncoder`. InputError when there is nothing to fit on, no such model or no answer.

    encoder     name, spec, saved folder or encoder
    seed        of an encoder that is fitted
    progress    show a progress bar
    """
    match encoder:
        case "lsa" | LsaSpec():
            spec = encoder if isinstance(encoder, LsaSpec) else LsaSpec()
            if corpus is None:
                raise InputError("the encoder lsa is fitted: give it a corpus of prompts and completions")
            return spec.fit(corpus() if callable(corpus) else corpus, seed=seed, progress=progress)
        case TransformersSpec():
            return TransformersEncoder(encoder, cache=cache)
        case EmbeddingServer():
            return ServerEncoder(encoder, cache=cache)
        case str() if is_url(encoder):
            return ServerEncoder(EmbeddingServer(encoder), cache=cache)
        case str() | Path():
            if (expanded(encoder) / storage.RECORD).is_file():
                return load(encoder, cache=cache)
            return TransformersEncoder(TransformersSpec(str(encoder)), cache=cache)
        case Encoder():
            return encoder
    raise InputError(f"{type(encoder).__name__} is not an encoder: give a name, a folder, a spec or an encoder")


def load(
    folder: str | Path,
    *,
    cache: Path | Literal[False] | None = None,
    name: str | None = None,
    device: str = "auto",
) -> Encoder:
    """Restore a saved encoder.

    `name` says where a transformer's model lies now, or the address of a server, if not where it was when saved; its
    content must be the same. InputError when files are missing, damaged, of a newer schema or of another model.

    folder    what `save` wrote
    cache     where vectors of transformers and servers are kept
    device    "auto", "cpu", "cuda" or "mps"
    """
    folder = expanded(folder)
    record = storage.read_record(folder)
    if record.get("kind") == "lsa":
        return lsa.load(folder, record)
    if record.get("kind") == "transformers":
        return transformers.load(folder, record, cache=cache, name=name, device=device)
    if record.get("kind") == "server":
        return served.load(folder, record, cache=cache, name=name)
    place = folder / storage.RECORD
    raise InputError(f"{place} has kind={record.get('kind')!r}, unknown to this version: upgrade plurality")
