"""Files of an encoder: JSON and safetensors, each written whole or not at all."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plurality.errors import InputError
from plurality.io.atomic import whole_file
from plurality.io.causes import unreadable
from plurality.io.plain import plain, read_json

SCHEMA = 1
RECORD, TENSORS = "encoder.json", "encoder.safetensors"

Arrays = Mapping[str, NDArray[Any]]


def write_bytes(path: Path, content: bytes) -> None:
    """Write through a temporary name that no other writer shares, then rename: readers see old or new.

    Raises InputError where it cannot be written, such as on a full disk.
    """
    with whole_file(path) as new:
        new.write_bytes(content)


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write encoder.json, stamped with the schema version."""
    text = json.dumps({"schema_version": SCHEMA, **record}, indent=1, ensure_ascii=False)
    write_bytes(folder / RECORD, text.encode("utf-8", "surrogatepass"))


def read_record(folder: Path) -> dict[str, Any]:
    """Read encoder.json; InputError when it is missing, damaged or of a newer schema."""
    path = folder / RECORD
    missing = "give a folder that an encoder was saved to"
    record = read_json(folder, RECORD, missing, f"is not an encoder's record: {missing}, or save the encoder again")
    if not isinstance(record.get("schema_version"), int):
        raise InputError(f"{path} is not an encoder's record: give a folder that an encoder was saved to")
    if record["schema_version"] > SCHEMA:
        raise InputError(
            f"{path} has schema {record['schema_version']}, this version reads up to {SCHEMA}: upgrade plurality"
        )
    return record


def write_tensors(path: Path, arrays: Arrays, metadata: Mapping[str, str] | None = None) -> None:
    """Write named arrays as safetensors."""
    from safetensors.numpy import save

    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    write_bytes(path, save(contiguous, dict(metadata) if metadata else None))


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Read every array of a safetensors file; InputError when it is missing, damaged or not finite."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays: dict[str, NDArray[Any]] = load_file(plain(path.parent, path.name, "save the encoder again"))
    except OSError as error:
        raise unreadable(path, error) from None
    except (SafetensorError, ValueError, TypeError, KeyError, MemoryError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is damaged ({error}): save the encoder again") from None
    for name, array in arrays.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"{path} holds NaN or infinite values in {name}: save the encoder again")
    return arrays


def fingerprint(description: Mapping[str, Any], arrays: Arrays | None = None) -> str:
    """SHA-256 (hex) of a JSON-able description and of the arrays' names, shapes, types and bytes."""
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name, array in sorted((arrays or {}).items()):
        digest.update(f"|{name} {array.dtype.str} {array.shape}|".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
