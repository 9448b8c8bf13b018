"""Files of an encoder: JSON and safetensors, each written whole or not at all."""

import hashlib
import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from plurality.errors import InputError

SCHEMA = 1
RECORD, TENSORS = "encoder.json", "encoder.safetensors"

Arrays = Mapping[str, NDArray[Any]]


def write_bytes(path: Path, content: bytes) -> None:
    """Write through a temporary name that no other writer shares, then rename: readers see old or new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write encoder.json, stamped with the schema version."""
    text = json.dumps({"schema_version": SCHEMA, **record}, indent=1, ensure_ascii=False)
    write_bytes(folder / RECORD, text.encode("utf-8", "surrogatepass"))


def read_record(folder: Path) -> dict[str, Any]:
    """Read encoder.json; InputError when it is missing, damaged or of a newer schema."""
    path = folder / RECORD
    try:
        record = json.loads(path.read_bytes().decode("utf-8", "surrogatepass"))
    except FileNotFoundError:
        raise InputError(f"{path} is missing: give a folder that an encoder was saved to") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read ({error}): save the encoder again") from None
    if not isinstance(record, dict) or not isinstance(record.get("schema_version"), int):
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
    """Read every array of a safetensors file; InputError when it is missing or damaged."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except FileNotFoundError:
        raise InputError(f"{path} is missing: save the encoder again") from None
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} is damaged ({error}): save the encoder again") from None


def fingerprint(description: Mapping[str, Any], arrays: Arrays | None = None) -> str:
    """SHA-256 (hex) of a JSON-able description and of the arrays' names, shapes, types and bytes."""
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name, array in sorted((arrays or {}).items()):
        digest.update(f"|{name} {array.dtype.str} {array.shape}|".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
