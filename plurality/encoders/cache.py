"""Vectors on disk by the text they came from, so that no text is embedded twice.

One folder per encoder fingerprint; in it, shards that are written whole and never changed. A shard is
named by the texts it holds, so two runs that do the same work write the same file.
"""

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from warnings import warn

import numpy as np
from numpy.typing import NDArray

from plurality.encoders import storage
from plurality.encoders.protocol import Vectors
from plurality.errors import InputError, InputWarning
from plurality.io.paths import cache_folder

Keys = NDArray[np.bytes_]
KEY_BYTES = 16


def default_folder() -> Path:
    """`$PLURALITY_CACHE`, or `~/.cache/plurality`."""
    return cache_folder()


def text_keys(texts: Sequence[str], what: str) -> Keys:
    """The first 16 bytes of each text's SHA-256, (n,); InputError where a text is not valid Unicode."""
    try:
        digests = [hashlib.sha256(text.encode()).digest()[:KEY_BYTES] for text in texts]
    except UnicodeEncodeError:
        row = next(row for row, text in enumerate(texts) if not _is_unicode(text))
        raise InputError(
            f"{what}[{row}] holds half a surrogate pair, which is not text: read the file again as UTF-8"
        ) from None
    return np.frombuffer(b"".join(digests), dtype=f"S{KEY_BYTES}")


@dataclass
class EmbeddingCache:
    """The shards of one encoder's vectors.

    A damaged shard is left where it is, named by an InputWarning and not used: its texts are embedded
    again. Shards that other processes add are seen at the next `read`.
    """

    folder: Path
    dim: int
    _shards: dict[Path, Keys] = field(default_factory=dict)

    def read(self, keys: Keys) -> tuple[Vectors, NDArray[np.int32], NDArray[np.bool_]]:
        """Vectors (n, dim), token counts (n,) and which of them were found (n,), for unique keys."""
        order = np.argsort(keys)
        wanted = keys[order]
        vectors = np.zeros((len(keys), self.dim), dtype=np.float32)
        tokens = np.zeros(len(keys), dtype=np.int32)
        found = np.zeros(len(keys), dtype=bool)
        for shard in sorted(self.folder.glob("*.safetensors")):
            rows, ranks = _matches(self._keys(shard), wanted)
            places = order[ranks]
            new = ~found[places]
            if not new.any():
                continue
            arrays = self._load(shard)
            if arrays is None:
                continue
            rows, places = rows[new], places[new]
            vectors[places], tokens[places], found[places] = arrays[0][rows], arrays[1][rows], True
        return vectors, tokens, found

    def write(self, keys: Keys, vectors: Vectors, tokens: NDArray[np.int32]) -> None:
        """Keep one shard: keys (n,), vectors (n, dim), token counts (n,)."""
        raw = keys.view(np.uint8).reshape(-1, KEY_BYTES)
        name = hashlib.sha256(raw.tobytes()).hexdigest()[:32]
        path = self.folder / f"{name}.safetensors"
        arrays: storage.Arrays = {"keys": raw, "vectors": vectors, "tokens": tokens}
        try:
            storage.write_tensors(path, arrays, {"crc32": _checksum(raw, vectors, tokens)})
        except InputError as error:
            raise InputError(
                f"cache folder {self.folder} cannot be written ({error}): set PLURALITY_CACHE or pass cache="
            ) from None
        self._shards[path] = keys

    def _keys(self, path: Path) -> Keys:
        """The keys alone: a look-up reads 16 bytes a text, and each shard's only once."""
        from safetensors import SafetensorError, safe_open

        if path not in self._shards:
            try:
                with safe_open(path, framework="numpy") as file:
                    raw, shape = file.get_tensor("keys"), file.get_slice("vectors").get_shape()
                if raw.shape[1:] != (KEY_BYTES,) or shape != [len(raw), self.dim]:
                    raise ValueError(f"keys {raw.shape} and vectors {shape} do not fit dim={self.dim}")
                self._shards[path] = np.frombuffer(raw.tobytes(), dtype=f"S{KEY_BYTES}")
            except FileNotFoundError:  # removed since it was listed
                return np.empty(0, dtype=f"S{KEY_BYTES}")
            except (OSError, SafetensorError, ValueError) as error:
                self._distrust(path, error)
        return self._shards[path]

    def _load(self, path: Path) -> tuple[Vectors, NDArray[np.int32]] | None:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, framework="numpy") as file:
                raw, vectors, tokens = (file.get_tensor(name) for name in ("keys", "vectors", "tokens"))
                promised = file.metadata()["crc32"]
            if promised != _checksum(raw, vectors, tokens):
                raise ValueError("its checksum is wrong")
        except FileNotFoundError:
            return None
        except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
            self._distrust(path, error)
            return None
        return vectors, tokens

    def _distrust(self, path: Path, error: Exception) -> None:
        self._shards[path] = np.empty(0, dtype=f"S{KEY_BYTES}")
        note = f"{path} is damaged ({error}) and not used, its texts are embedded again: delete the file"
        warn(InputWarning(note), stacklevel=2)


def _matches(shard: Keys, wanted: Keys) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of the shard that are wanted, and where they stand in the sorted keys."""
    ranks = np.searchsorted(wanted, shard)
    rows = np.flatnonzero(ranks < len(wanted))
    rows = rows[wanted[ranks[rows]] == shard[rows]]
    return rows, ranks[rows]


def _checksum(*arrays: NDArray[np.generic]) -> str:
    total = 0
    for array in arrays:
        total = zlib.crc32(np.ascontiguousarray(array).data, total)
    return f"{total:08x}"


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
