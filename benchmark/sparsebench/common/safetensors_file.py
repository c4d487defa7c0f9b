"""What a safetensors file says about itself, read without its tensors and without torch."""

from __future__ import annotations

import json
from pathlib import Path

_LARGEST = 2**24  # bytes of a header


def read_metadata(path: Path) -> dict[str, str]:
    """Return the texts that a safetensors file holds beside its tensors; none where it isn't such a file.

    Raises
    ------
    OSError
        If it can't be read.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = file.read(size) if size <= _LARGEST else b""
    try:
        metadata = json.loads(header)["__metadata__"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return {str(k): str(v) for k, v in metadata.items()} if isinstance(metadata, dict) else {}
