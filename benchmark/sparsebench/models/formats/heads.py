"""What kind of file a checkpoint is, by its path and first bytes."""

from __future__ import annotations

from pathlib import Path


def is_safetensors(path: Path, head: bytes) -> bool:
    """Return whether a file is one of safetensors."""
    return path.suffix == ".safetensors" or (len(head) > 8 and head[8:9] == b"{")


def is_plain(path: Path, head: bytes) -> bool:
    """Return whether a file is one of safetensors or of ``torch.save``: a ZIP archive, or a bare pickle."""
    return is_safetensors(path, head) or head[:2] == b"PK" or head[:1] == b"\x80"


def is_tensorflow(path: Path, head: bytes) -> bool:
    """Return whether a file is a TensorFlow checkpoint: an index, or a gzip archive that may hold one."""
    return head[:2] == b"\x1f\x8b" or path.suffix == ".index"
