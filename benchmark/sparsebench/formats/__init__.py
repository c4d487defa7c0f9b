"""Published checkpoint formats: a file to a plain state dict plus masks, recognised by its content.

Reading goes in steps, each in a file of its own: the container (pickle, safetensors, TensorFlow bundle), where the
sparsity is (masks, thresholds, scores, zeros), the names (``layouts``), the architecture (``recognition``).
"""

from __future__ import annotations

from pathlib import Path

from ..schema import CheckpointError, UnknownNameError
from . import layouts, masked, patterns, plain, rigl_tensorflow, scores, sparse_file, tensorflow_bundle, thresholds
from .base import RawCheckpoint
from .masked import complete
from .recognition import recognise

__all__ = ["FORMATS", "RawCheckpoint", "architecture_of", "complete", "read_checkpoint"]

FORMATS = (
    "auto",
    "sparse",
    "plain",
    "ist",
    "torch-prune",
    "masks",
    "str",
    "superblock",
    "nm-dense",
    "rigl",
    "amc",
    "lite0",
    "rigl-tf",
)


def read_checkpoint(
    path: Path, format: str = "auto", sparsity: float | None = None, nm: str | None = None
) -> RawCheckpoint:
    """Read a checkpoint file.

    Parameters
    ----------
    path : Path
        The file.
    format : str
        ``auto`` recognises the format from the content; another one of :data:`FORMATS` insists on it.
    sparsity : float, optional
        What the file is registered as, a fraction; needed by the one format whose files don't say (SuperBlock).
    nm : str, optional
        The registered N:M pattern; needed by ``nm-dense``, which is never recognised.

    Raises
    ------
    CheckpointError
        If the file is missing, empty, damaged, refused, or not in the format asked for.
    """
    if format not in FORMATS:
        raise UnknownNameError("checkpoint format", format, FORMATS)
    try:
        raw = _open(path)
        own = raw.format == sparse_file.FORMAT
        raw = raw if own else _interpret(raw, path, sparsity)
        if format == "nm-dense":
            raw = patterns.apply_pattern(raw, nm)
    except CheckpointError as error:
        if str(path) in error.message:
            raise
        raise CheckpointError(f"{path}: {error.message}", error.hint) from error
    if format not in ("auto", *(["sparse"] if own else raw.format.split("+"))):
        what = "not one of sparsebench's files" if format == "sparse" else f"in format {raw.format}, not {format}"
        raise CheckpointError(f"{path} is {what}", "drop 'format' to let it be recognised")
    return raw


def architecture_of(raw: RawCheckpoint) -> str | None:
    """Return the architecture that a file names, or that its tensors are recognised as; None if neither."""
    named = raw.meta.get("arch")
    return named if isinstance(named, str) else recognise(raw.state)


def _open(path: Path) -> RawCheckpoint:
    head = _first_bytes(path)
    if head.lstrip()[:1] == b"<":
        raise CheckpointError(
            f"{path} is a web page, not a checkpoint", "the download link led to a page: get the file"
        )
    if _looks_like_safetensors(path, head):
        own = sparse_file.describe(path) is not None
        return sparse_file.read(path) if own else plain.read_safetensors(path)
    if head[:2] == b"PK" or head[:1] == b"\x80":
        return plain.read_pickle(path)
    if head[:2] == b"\x1f\x8b" or path.suffix == ".index":
        return rigl_tensorflow.convert(tensorflow_bundle.read_bundle(path))
    raise CheckpointError(
        f"{path} is not a checkpoint: it starts with {head[:8]!r}", "known are .pth (torch.save) and .safetensors files"
    )


def _interpret(raw: RawCheckpoint, path: Path, sparsity: float | None) -> RawCheckpoint:
    """Take a container's tensors through the steps."""
    if masked.is_wrapped(raw.state):
        raw = masked.unwrap(raw)
    elif masked.is_pruned(raw.state):
        raw = masked.unprune(raw)
    elif masked.is_masks_alone(raw.state):
        return masked.masks_alone(raw)
    if thresholds.has_thresholds(raw.state):
        raw = thresholds.apply_thresholds(raw)
    if scores.has_scores(raw.state):
        raw = scores.apply_scores(raw, sparsity if sparsity is not None else scores.sparsity_in(path.name))
    return layouts.normalise(raw)


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
