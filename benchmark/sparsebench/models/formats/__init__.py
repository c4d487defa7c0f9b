"""Published checkpoint formats: a file to a plain state dict plus masks, recognised by its content.

Reading goes in steps, each in a file of its own: the container (pickle, safetensors, TensorFlow bundle), where the
sparsity is (masks, thresholds, scores, zeros), the names (``layouts``), the architecture (``recognition``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ...schema import CheckpointError, UnknownNameError
from ...schema.text import printable, printable_tree
from .. import backbones
from . import hub, layouts, masked, patterns, plain, rigl_tensorflow, scores, sparse_file, tensorflow_bundle, thresholds
from .base import RawCheckpoint, is_number
from .budget import Budget
from .contents import ambiguous, is_averaged, matches, warn_of_choice
from .guard import guarded
from .kinds import check_numbers
from .masked import complete
from .recognition import recognise
from .wrappers import readings

__all__ = [
    "FORMATS",
    "RawCheckpoint",
    "ambiguous",
    "architectures_of",
    "check_numbers",
    "complete",
    "guarded",
    "hub",
    "is_averaged",
    "is_number",
    "matches",
    "read_checkpoint",
    "readings_of",
    "warn_of_choice",
]

FORMATS = (
    "auto",
    "sparse",
    "plain",
    "ist",
    "torch-prune",
    "masks",
    "masks-beside",
    "str",
    "superblock",
    "hidden",
    "nm-dense",
    "rigl",
    "amc",
    "lite0",
    "rigl-tf",
)


def read_checkpoint(
    path: Path,
    format: str = "auto",
    sparsity: float | None = None,
    nm: str | None = None,
    *,
    weights: str | None = None,
    memory: int | None = None,
) -> RawCheckpoint:
    """Read a checkpoint file.

    Parameters
    ----------
    path : Path
        The file.
    format : str
        ``auto`` recognises the format from the content; another one of :data:`FORMATS` insists on it.
    sparsity : float, optional
        What the file is registered as, a fraction; needed by formats whose files don't say (SuperBlock, hidden
        networks).
    nm : str, optional
        The registered N:M pattern; needed by ``nm-dense``, which is never recognised.
    weights : str, optional
        Which weights to take where the file holds several sets: ``ema`` (averaged over training), ``raw``, or a name in
        the file.
    memory : int, optional
        Bytes that its tensors may take, where its size doesn't say enough (see :class:`~.budget.Budget`).

    Raises
    ------
    CheckpointError
        If the file is missing, empty, damaged, refused, or not in the format asked for; if it holds several sets of
        weights or kinds of tensors that can't be used without loss; whatever a library raises comes as this.
    """
    if format not in FORMATS:
        raise UnknownNameError("checkpoint format", format, FORMATS)
    head = _first_bytes(path)
    try:
        with guarded(path):
            raw = _open(path, head, Budget.of(path, memory), weights)
            own = raw.format == sparse_file.FORMAT
            raw = raw if own else _interpret(raw, path, sparsity)
            if format == "nm-dense":
                raw = patterns.apply_pattern(raw, nm)
            raw = replace(raw, meta=printable_tree(raw.meta), unused=tuple(map(printable, raw.unused)))
    except CheckpointError as error:
        if printable(str(path)) in error.message:
            raise
        raise CheckpointError(f"{path}: {error.message}", error.hint) from error
    if format not in ("auto", *(["sparse"] if own else raw.format.split("+"))):
        what = "not one of sparsebench's files" if format == "sparse" else f"in format {raw.format}, not {format}"
        raise CheckpointError(f"{path} is {what}", "drop 'format' to let it be recognised")
    return raw


def readings_of(raw: RawCheckpoint) -> Iterator[RawCheckpoint]:
    """Yield a checkpoint under the names that its tensors may have in the network: as they are, then unwrapped."""
    return map(layouts.normalise, readings(raw))


def architectures_of(raw: RawCheckpoint) -> list[str]:
    """Return the architectures that a file may be of, the likeliest first.

    That is the one of its layout or its own description; else those that its training's options name, and what its
    tensors are recognised as.
    """
    own = raw.meta.get("arch")
    if isinstance(own, str):
        return [own]
    found: list[str] = [name for name in raw.meta.get("named", ()) if backbones.is_known(name)]
    for reading in readings_of(raw):
        name = reading.meta.get("arch") or recognise(reading.state)
        if isinstance(name, str):
            found.append(name)
            break
    return list(dict.fromkeys(found))


def _open(path: Path, head: bytes, budget: Budget, weights: str | None) -> RawCheckpoint:
    if head.lstrip()[:1] == b"<":
        raise CheckpointError(
            f"{path} is a web page, not a checkpoint", "the download link led to a page: get the file"
        )
    beside = hub.description_beside(path)
    if _looks_like_safetensors(path, head) and sparse_file.describe(path) is not None:
        raw = sparse_file.read(path, budget)
    elif _looks_like_safetensors(path, head):
        raw = plain.read_safetensors(path, budget, weights)
    elif head[:2] == b"PK" or head[:1] == b"\x80":
        raw = plain.read_pickle(path, budget, weights)
    elif head[:2] == b"\x1f\x8b" or path.suffix == ".index":
        # masks and pruned weights lie there in float32, compressed: twice the ratio
        archive = replace(budget, limit=budget.limit * 2)
        raw = rigl_tensorflow.convert(tensorflow_bundle.read_bundle(path, archive))
    else:
        raise CheckpointError(
            f"{path} is not a checkpoint: it starts with {head[:8]!r}",
            "known are .pth (torch.save) and .safetensors files",
        )
    return replace(raw, meta={**beside, **raw.meta})


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
