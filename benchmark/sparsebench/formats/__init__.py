"""One file a published checkpoint format: a file to a plain state dict plus masks, recognised by its content."""

from __future__ import annotations

from pathlib import Path

from ..schema import CheckpointError, UnknownNameError
from . import plain, sparse_file
from .base import RawCheckpoint

__all__ = ["FORMATS", "RawCheckpoint", "read_checkpoint"]

FORMATS = ("auto", "sparse", "plain")


def read_checkpoint(path: Path, format: str = "auto") -> RawCheckpoint:
    """Read a checkpoint file.

    Parameters
    ----------
    path : Path
        The file.
    format : str
        ``auto`` recognises the format from the content; ``sparse`` and ``plain`` insist on one.

    Raises
    ------
    CheckpointError
        If the file is missing, empty, damaged, refused, or in no known format.
    """
    if format not in FORMATS:
        raise UnknownNameError("checkpoint format", format, FORMATS)
    head = _first_bytes(path)
    if head.lstrip()[:1] == b"<":
        raise CheckpointError(
            f"{path} is a web page, not a checkpoint", "the download link led to a page: get the file"
        )
    if _looks_like_safetensors(path, head):
        own = sparse_file.describe(path) is not None
        if format == "sparse" or (format == "auto" and own):
            return sparse_file.read(path)
        return plain.read_safetensors(path)
    if format == "sparse":
        raise CheckpointError(f"{path} is not one of sparsebench's files", "drop 'format' to let it be recognised")
    if head[:2] == b"PK" or head[:1] == b"\x80":
        return plain.read_pickle(path)
    raise CheckpointError(
        f"{path} is not a checkpoint: it starts with {head[:8]!r}", "known are .pth (torch.save) and .safetensors files"
    )


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as handle:
            head = handle.read(64)
    except FileNotFoundError as error:
        raise CheckpointError(f"there is no file {path}", "check the path") from error
    except OSError as error:
        raise CheckpointError(f"{path} can't be read: {error.strerror}", "give the path of a readable file") from error
    if not head:
        raise CheckpointError(f"{path} is empty", "get the file again")
    return head


def _looks_like_safetensors(path: Path, head: bytes) -> bool:
    return path.suffix == ".safetensors" or (len(head) > 8 and head[8:9] == b"{")
