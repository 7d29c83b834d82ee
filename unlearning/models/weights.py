"""Safetensors files on disk: their hash and size, without reading them into a model."""

from __future__ import annotations

import hashlib
import json
import math
import os
from pathlib import Path
from typing import Any

from unlearning.errors import ModelError
from unlearning.models.catalogue import home


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that make up the model in this folder, in order of their names."""
    whole = folder / "model.safetensors"
    return [whole] if whole.is_file() else sorted(folder.glob("*.safetensors"))


def weights_hash(files: list[Path]) -> str:
    """sha256 of one file; of several, that of their hashes in order. Computed once per version of a file."""
    hashes = [_file_hash(path) for path in files]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def count_parameters(path: Path) -> int:
    """Numbers in a safetensors file, from its header alone.

    Raises:
        ModelError: it is no safetensors file, or is cut short.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= path.stat().st_size - 8:
                raise ValueError("its header is longer than the file")
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        end = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
        if path.stat().st_size < 8 + length + end:
            raise ValueError("it is cut short")
        return sum(math.prod(tensor["shape"]) for tensor in header.values())
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"The weights {path} are damaged ({error}).", "Copy the model again.") from error


def _file_hash(path: Path) -> str:
    """From the side file, if path, size and time of change are still the same; else from the bytes."""
    state = path.stat()
    where = str(path.resolve())
    version = {"path": where, "size": state.st_size, "mtime_ns": state.st_mtime_ns}
    side = home() / "hashes" / f"{hashlib.sha256(where.encode()).hexdigest()[:24]}.json"
    try:
        kept = json.loads(side.read_text())
        if {key: kept[key] for key in version} == version:
            return str(kept["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    _keep(side, version | {"sha256": found})
    return found


def _keep(side: Path, content: dict[str, Any]) -> None:
    draft = side.with_suffix(f".{os.getpid()}")
    try:
        side.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(content))
        draft.replace(side)
    except OSError:
        pass  # only means that the hash is computed again
