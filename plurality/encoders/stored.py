"""The encoder of a store: described at once, loaded (model, tokenizer and all) when a text must be embedded."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plurality.encoders.probe import check_probe, probe_of_file, probed
from plurality.encoders.storage import RECORD, TENSORS, read_record, write_bytes
from plurality.errors import InputError
from plurality.io.paths import expanded
from plurality.io.plain import plain

if TYPE_CHECKING:
    from plurality.encoders import Encoder, Prompt
    from plurality.encoders.protocol import Vectors


class StoredEncoder:
    """An encoder that stands for a saved one; a store opens without its model, which may be elsewhere."""

    def __init__(self, folder: Path, record: dict[str, Any]) -> None:
        self.folder = folder
        self.dim = int(record["dim"])
        self.fingerprint = str(record["fingerprint"])
        self._record = record

    def describe(self) -> dict[str, Any]:
        """What the encoder is, JSON-able."""
        return dict(self._record)

    def encode(self, prompts: "Sequence[Prompt]", completions: Sequence[str], progress: bool = False) -> "Vectors":
        """Embed each completion, (n, dim). Raises InputError when the encoder or its model is gone."""
        return self._encoder.encode(prompts, completions, progress=progress)

    def encode_prompts(self, prompts: "Sequence[Prompt]", progress: bool = False) -> "Vectors":
        """Embed each prompt by itself, (n, dim). Raises InputError as `encode` does."""
        return self._encoder.encode_prompts(prompts, progress=progress)

    def save(self, folder: Path) -> None:
        """Copy the saved encoder's two files, and nothing else that lies beside them; this needs no model."""
        for path in self._files():
            write_bytes(expanded(folder) / path.name, path.read_bytes())
        if (expanded(folder) / RECORD).is_file():
            self._check(str(read_record(expanded(folder)).get("fingerprint")))

    @cached_property
    def _encoder(self) -> "Encoder":
        from plurality import encoders

        self._files()
        encoder = encoders.load(self.folder)
        self._check(encoder.fingerprint)
        stored = probe_of_file(self.folder) if self._record.get("kind") == "transformers" else None
        if stored is not None:
            check_probe(probed(encoder), stored, str(self._record.get("name")))
        return encoder

    def _files(self) -> list[Path]:
        """What is read of the folder. Raises InputError for links, its own among them."""
        names = [name for name in (RECORD, TENSORS) if os.path.lexists(self.folder / name)]
        return [plain(self.folder.parent, f"{self.folder.name}/{name}") for name in names]

    def _check(self, found: str) -> None:
        """Raise InputError where another encoder than the recorded one lies in the folder."""
        if found != self.fingerprint:
            raise InputError(
                f"{self.folder} holds the encoder [{found[:8]}], but [{self.fingerprint[:8]}] is recorded; "
                "copy the folder again"
            )
