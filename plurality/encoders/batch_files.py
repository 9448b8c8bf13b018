"""Texts out to `vllm run-batch` as lines of requests, and vectors of its answers back in: no server, no queue of ours.

A request is `{"custom_id", "method": "POST", "url": "/v1/embeddings", "body"}`; an answer has the same custom_id and
`{"response": {"status_code", "body"}}`, in any order. The custom_id is a hash of the text, so that a text is sent once
and answers of several runs go together. The format is OpenAI's batch file; see vLLM's docs, "Offline inference with the
OpenAI batch file format".
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from plurality.encoders.cache import text_keys
from plurality.encoders.probe import probe_texts
from plurality.encoders.protocol import Vectors
from plurality.encoders.served import ServerEncoder
from plurality.encoders.server import EmbeddingServer
from plurality.errors import InputError
from plurality.io.atomic import whole_file

__all__ = ["BatchAnswers", "write_manifest"]

NAMED = 3  # missing texts that an error names


class BatchWriter(ServerEncoder):
    """Takes down what it is asked to embed, in place of embedding it; its vectors are zeros of width 1.

    server    model and settings that the requests name
    """

    def __init__(self, server: EmbeddingServer) -> None:
        self._start(server, 1, None)
        self.wanted: dict[str, str] = {}

    def _embed(self, texts: list[str], what: str, progress: bool) -> Vectors:
        for key, text in zip(text_keys(texts, what), texts, strict=True):
            self.wanted.setdefault(bytes(key).hex(), text)
        return np.zeros((len(texts), 1), dtype=np.float32)

    def probe_too(self) -> None:
        """Ask for the probe's texts as well."""
        self.encode(*probe_texts(self.server.max_length))


@dataclass
class BatchAnswers:
    """Where in files of answers each text's vector is: (n,) lines, read when they are wanted.

    places    custom_id -> file and byte
    failed    custom_id -> what went wrong, of requests that no line answers
    """

    places: dict[str, tuple[Path, int]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @staticmethod
    def of(files: Sequence[Path]) -> "BatchAnswers":
        """Look through files of answers. Raises InputError for a line that is none, naming file and line.

        files    results of `vllm run-batch`, or of several runs
        """
        found = BatchAnswers()
        for file in files:
            at = 0
            with file.open("rb") as lines:
                for number, line in enumerate(lines, 1):
                    if line.strip():
                        found._note(file, number, at, line)
                    at += len(line)
        return found

    def _note(self, file: Path, number: int, at: int, line: bytes) -> None:
        try:
            answer = json.loads(line)
            key, response = str(answer["custom_id"]), answer.get("response") or {}
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InputError(
                f"{file}: line {number} is no answer of run-batch; drop it, and its text can be asked for again"
            ) from None
        if answer.get("error") or response.get("status_code") != 200:
            told = answer.get("error") or response.get("body")
            self.failed[key] = f"{file}: line {number}: {' '.join(str(told).split())[:200]}"
        else:
            self.places[key] = file, at


class BatchReader(ServerEncoder):
    """Gives the vectors of answers; what has none raises InputError that names how many and the first.

    server     model and settings that the requests named
    answers    where they are
    """

    def __init__(self, server: EmbeddingServer, answers: BatchAnswers) -> None:
        self._start(server, 0, None)
        self._answers = answers
        found = self._embed(self.texts(*probe_texts(server.max_length)), "probe texts", False)
        self._probe, self.dim = found, found.shape[1]

    def _embed(self, texts: list[str], what: str, progress: bool) -> Vectors:
        keys = [bytes(key).hex() for key in text_keys(texts, what)]
        missing = [key for key in keys if key not in self._answers.places]
        if missing:
            first = next((self._answers.failed[key] for key in missing if key in self._answers.failed), None)
            named = ", ".join(missing[:NAMED])
            raise InputError(
                f"{len(set(missing)):,} of {len(set(keys)):,} {what} have no answer, such as {named}"
                + (f" ({first})" if first else "")
                + "; write the manifest again with --results, which asks for these alone"
            )
        made = [self._vector(*self._answers.places[key]) for key in keys]
        widths = {len(vector) for vector in made}
        if len(widths) > 1 or (self.dim and widths and widths != {self.dim}):
            widths |= {self.dim} - {0}
            raise InputError(f"the answers have vectors of widths {sorted(widths)}; give those of one model")
        return np.array(made, dtype=np.float32).reshape(len(made), -1)

    def _vector(self, file: Path, at: int) -> Any:
        with file.open("rb") as lines:
            lines.seek(at)
            answer = json.loads(lines.readline())
        return self.server.vectors(answer["response"]["body"], 1, None)[0]


def write_manifest(file: Path, wanted: BatchWriter, answered: BatchAnswers | None = None) -> int:
    """Write a line a text that has no answer yet, the probe's among them; returns how many.

    file        JSON lines to write
    wanted      what is to be embedded
    answered    answers of earlier runs, which are not asked for again
    """
    known = {} if answered is None else answered.places
    count = 0
    with whole_file(file) as new, new.open("w", encoding="utf-8") as lines:
        for key, text in wanted.wanted.items():
            if key in known:
                continue
            request = {"custom_id": key, "method": "POST", "url": "/v1/embeddings", "body": wanted.server.body([text])}
            lines.write(json.dumps(request, ensure_ascii=False) + "\n")
            count += 1
    return count
