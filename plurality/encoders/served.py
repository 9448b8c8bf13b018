"""Vectors from an embedding server, as an encoder: template and limit as recorded, and no silence when it changed."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from urllib.parse import urlsplit
from warnings import warn

import numpy as np

from plurality.encoders import storage
from plurality.encoders.cache import EmbeddingCache, default_folder
from plurality.encoders.embedding import Counts, Rows, embed
from plurality.encoders.probe import check_probe, probe_texts
from plurality.encoders.protocol import Encoder, Prompt, Template, Vectors
from plurality.encoders.server import EmbeddingServer, is_url
from plurality.encoders.sessions import Sessions
from plurality.encoders.text import check_not_blank, check_pairs, contents, conversations, prompt_conversations
from plurality.encoders.written import WrittenOut
from plurality.errors import InputError, InputWarning
from plurality.io.paths import expanded

if TYPE_CHECKING:
    from plurality.encoders.transformers import TransformersEncoder

__all__ = ["ServerEncoder"]

KEPT = ("url", "model", "max_length", "use_activation", "encoding", "concurrency", "batch", "timeout_s", "retries")
HERE = ("localhost", "127.0.0.1", "::1")


class Recipe(NamedTuple):
    """Everything besides the server that determines a vector."""

    template: Template
    normalise: bool = False
    chat: "TransformersEncoder | None" = None  # which writes texts out


class ServerEncoder(WrittenOut):
    """Embeds by a server: x = what it answers for the text, float32, (n, dim).

    The first time that it embeds, the probe's texts go first: vectors that are not those recorded raise InputError. A
    new one asks for them at once, which tells its width.

    server    where it is
    cache     folder of vectors; None is `$PLURALITY_CACHE` or ~/.cache/plurality, False none
    """

    _probe: Vectors | None

    def __init__(self, server: EmbeddingServer, *, cache: Path | Literal[False] | None = None) -> None:
        if not server.model:
            names = Sessions(server).models()
            if len(names) != 1:
                raise InputError(
                    f"{server.url}: serves {', '.join(names) or 'nothing'}; name the model (--encoder-model, or "
                    "EmbeddingServer(url, model))"
                )
            server = replace(server, model=names[0])
        self._become(server, Recipe(server.template or "conversation"), None, None)
        found = self._ask_probe()
        self._probe, self.dim = found, found.shape[1]
        self._probed = True
        self._open_cache(cache)

    def _start(self, server: EmbeddingServer, dim: int, probe: Vectors | None) -> None:
        """Begin without asking the server."""
        self._become(server, Recipe(server.template or "conversation"), dim, probe)

    @classmethod
    def standing_for(
        cls, recorded: Encoder | None, server: EmbeddingServer, recipe: Recipe, dim: int, probe: Vectors | None
    ) -> "ServerEncoder":
        """A server in place of a recorded encoder, whose fingerprint and record it keeps; see `stand_in`.

        recorded    what made the embeddings; None where nothing is known of it
        server      where the server is
        recipe      how texts are written out and vectors finished
        dim         width of the vectors
        probe       vectors of the probe, if they were recorded
        """
        encoder = cls.__new__(cls)
        encoder._become(server, recipe, dim, probe)
        if recorded is not None:
            encoder.fingerprint, encoder._stands_for = recorded.fingerprint, recorded
        return encoder

    def _become(self, server: EmbeddingServer, recipe: Recipe, dim: int | None, probe: Vectors | None) -> None:
        self.server, self._recipe = server, recipe
        self._probe, self._probed, self._recorded = probe, False, False
        self._cache: EmbeddingCache | None = None
        self._stands_for: Encoder | None = None
        self._sessions = Sessions(server)
        self.dim = dim or 0
        made_by = {
            "kind": "server",
            "name": server.stands_for or server.model,
            "template": recipe.template,
            "max_length": server.max_length,
            "use_activation": server.use_activation,
        }
        self.fingerprint = storage.fingerprint(made_by)

    @property
    def probe(self) -> Vectors | None:
        """Vectors (k, dim) that the probe's texts are to have; None where they were not recorded."""
        return self._probe

    def describe(self) -> dict[str, Any]:
        """What the encoder is, JSON-able; `url` is where the server was."""
        if self._stands_for is not None:
            return self._stands_for.describe()
        return {
            "kind": "server",
            "name": self.server.stands_for or self.server.model,
            "revision": None,
            "url": self.server.url,
            "template": self._recipe.template,
            "pooling": None,
            "dtype": None,
            "max_length": self.server.max_length,
            "dim": self.dim,
            "fingerprint": self.fingerprint,
        }

    async def encode_async(self, texts: Sequence[str]) -> Vectors:
        """Vectors (n, dim) of texts that are written out already, without a cache, in the loop that runs.

        texts    from `texts` or `prompt_texts`
        """
        await self.ready()
        return self._unit(await self._sessions.embed(texts, self.dim, special=self._special))

    async def ready(self) -> None:
        """Compare the probe, once, in the loop that runs. Raises InputError where the server is not as recorded."""
        if self._recorded:
            self._tell_where()
        if not self._probed and self._probe is not None:
            probe = await self._sessions.embed(self._probe_texts(), self.dim, special=self._special)
            self._check_probe(self._unit(probe))
        self._probed = True

    def texts(self, prompts: Sequence[Prompt], completions: Sequence[str]) -> list[str]:
        """What `encode` sends, written out under the template.

        prompts        (n,) strings or message lists
        completions    (n,) strings, one to each prompt
        """
        if self._recipe.chat is not None:
            return self._recipe.chat.texts(prompts, completions)
        if self._recipe.template == "completion":
            check_pairs(prompts, completions)
            texts = [str(completion) for completion in completions]
        else:
            texts = [contents(conversation) for conversation in conversations(prompts, completions)]
        check_not_blank(texts, "completions")
        return texts

    def prompt_texts(self, prompts: Sequence[Prompt]) -> list[str]:
        """What `encode_prompts` sends.

        prompts    (n,) strings or message lists
        """
        if self._recipe.chat is not None:
            return self._recipe.chat.prompt_texts(prompts)
        texts = [contents(conversation) for conversation in prompt_conversations(prompts)]
        check_not_blank(texts, "prompts")
        return texts

    def save(self, folder: Path) -> None:
        """Write where the server is, which model it has and the vectors of the probe, never a key.

        folder    new folder to write

        What stands in for a recorded encoder writes that one.
        """
        folder = expanded(folder)
        if self._stands_for is not None:
            self._stands_for.save(folder)
            return
        assert self._probe is not None
        storage.write_tensors(folder / storage.TENSORS, {"probe": self._probe})
        settings = {name: value for name, value in asdict(replace(self.server, transport=None)).items() if name in KEPT}
        storage.write_record(folder, {**self.describe(), "server": settings})

    @property
    def _special(self) -> bool:
        return self._recipe.chat is None  # a chat template wrote them

    def _open_cache(self, cache: Path | Literal[False] | None) -> None:
        root = default_folder() if cache is None else cache
        if not root:
            return
        folder = expanded(root) / self.fingerprint[:32]
        marks = folder / "probe" / storage.TENSORS
        if marks.is_file():
            stored = storage.read_tensors(marks)["probe"]
            if self._probe is not None:
                check_probe(self._probe, stored, f"{self.server.url}, beside the cache {folder}")
        elif self._probe is not None:
            storage.write_tensors(marks, {"probe": self._probe})
        self._cache = EmbeddingCache(folder, self.dim)

    def _probe_texts(self) -> list[str]:
        return self.texts(*probe_texts(self.describe().get("max_length")))

    def _ask_probe(self) -> Vectors:
        found = self._sessions.embed_now(self._probe_texts(), self.dim or None, special=self._special)
        return self._unit(found)

    def _check_probe(self, found: Vectors) -> None:
        if self._probe is not None:
            check_probe(found, self._probe, self.server.url)

    def _unit(self, vectors: Vectors) -> Vectors:
        if self._recipe.normalise:
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        return vectors.astype(np.float32, copy=False)

    def _embed(self, texts: list[str], what: str, progress: bool) -> Vectors:
        def compute(rows: Rows) -> tuple[Vectors, Counts]:
            self._ready()
            found = self._sessions.embed_now([texts[row] for row in rows], self.dim, special=self._special)
            return self._unit(found), np.zeros(len(rows), dtype=np.int32)

        return embed(texts, compute, self.dim, self._cache, what=what, progress=progress)[0]

    def _ready(self) -> None:
        """Compare the probe, once."""
        if self._probed:
            return
        self._tell_where()
        if self._probe is not None:
            self._check_probe(self._ask_probe())
        self._probed = True

    def _tell_where(self) -> None:
        """Say, once, where texts go if a folder alone said so. Raises InputError where it names no address."""
        if self._recorded and not is_url(self.server.url):
            raise InputError(
                f"{self.server.model!r} embedded these texts by run-batch, so no server is recorded; give the "
                "address of one that has it (encoder=, --encoder URL)"
            )
        if self._recorded and urlsplit(self.server.url).hostname not in HERE:
            note = f"texts are sent to {self.server.url}, which the folder of the encoder names, without a key"
            warn(InputWarning(f"{note}; give encoder= (--encoder URL) for another server, or a key"), stacklevel=6)
        self._recorded = False


def load(
    folder: Path, record: dict[str, Any], *, cache: Path | Literal[False] | None, name: str | None
) -> ServerEncoder:
    """Restore a saved encoder without asking its server; InputError when the record is damaged.

    folder    where it lies
    record    its encoder.json
    cache     folder of vectors
    name      another address of a server that has the same model; None: the recorded one, to which no key is sent
    """
    place = folder / storage.RECORD
    try:
        settings = {key: value for key, value in record["server"].items() if key in KEPT}
        server = EmbeddingServer(**settings, stands_for=record["name"])
        template, dim, promised = record["template"], int(record["dim"]), record["fingerprint"]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{place} is damaged ({error}): save the encoder again") from None
    if name is not None:
        server = replace(server, url=name)
    encoder = ServerEncoder.__new__(ServerEncoder)
    encoder._become(server, Recipe(template), dim, storage.read_tensors(folder / storage.TENSORS)["probe"])
    if encoder.fingerprint != promised:
        raise InputError(f"{place} is damaged, its settings are not those of its fingerprint: save the encoder again")
    if name is None:
        encoder._sessions, encoder._recorded = Sessions(server, send_key=False), True
    encoder._open_cache(cache)
    return encoder
