"""From a checkpoint file to a plain state dict plus masks, by the formats that are declared.

Reading goes in steps: the file itself (one format opens it), then each layout that fits its tensors, in order of place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ... import extensions
from ...extensions import CheckpointFormat, Work
from ...extensions.table import MARK, ours
from ...schema import CheckpointError, SparsebenchError, UnknownNameError
from ...schema.text import printable, printable_tree
from .. import backbones
from . import hub, layouts, sparse_file
from .base import RawCheckpoint
from .budget import Budget
from .guard import guarded
from .recognition import recognise
from .wrappers import readings

AUTO = "auto"
"""Stands for whatever format the content is recognised as."""


@dataclass(frozen=True)
class Wanted:
    """What a format is given beside a file's content: its path, and the sparsity and pattern it is registered with."""

    path: Path
    sparsity: float | None = None
    nm: str | None = None


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
        ``auto`` recognises the format from the content; another name of ``sparsebench list formats`` insists on it.
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
    asked = None if format == AUTO else _asked(format)
    head = _first_bytes(path)
    try:
        with guarded(path):
            raw = _open(path, head, Budget.of(path, memory), weights, asked)
            own = raw.format == sparse_file.FORMAT
            raw = raw if own else _convert(raw, Wanted(path, sparsity, nm), asked)
            raw = replace(raw, meta=printable_tree(raw.meta), unused=tuple(map(printable, raw.unused)))
    except CheckpointError as error:
        if printable(str(path)) in error.message:
            raise
        raise CheckpointError(f"{path}: {error.message}", error.hint) from error
    if asked is not None and format not in (["sparse"] if own else raw.format.split("+")):
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


def _asked(name: str) -> CheckpointFormat:
    """Return the format of a name, or raise UnknownNameError with all that may be given."""
    found: CheckpointFormat | None = extensions.find("formats", name)
    if found is None and MARK not in name:
        raise UnknownNameError("checkpoint format", name, (AUTO, *extensions.names("formats")))
    return found or extensions.get("formats", name)


def _open(
    path: Path, head: bytes, budget: Budget, weights: str | None, asked: CheckpointFormat | None
) -> RawCheckpoint:
    """Read a file by the format that was asked for, if that reads files, else by the first that opens it."""
    if head.lstrip()[:1] == b"<":
        raise CheckpointError(
            f"{path} is a web page, not a checkpoint", "the download link led to a page: get the file"
        )
    beside = hub.description_beside(path)
    chosen = asked if asked is not None and asked.read is not None and not _is_ours(asked) else None
    for one in [] if chosen else _all():
        if one.opens is not None and _do(one, one.opens, path, head):
            chosen = one
            break
    if chosen is None or chosen.read is None:
        raise CheckpointError(
            f"{path} is not a checkpoint: it starts with {head[:8]!r}",
            "known are .pth (torch.save) and .safetensors files",
        )
    _check_here(chosen)
    raw: RawCheckpoint = _do(chosen, chosen.read, path, budget, weights)
    if not _is_ours(chosen) and chosen.name not in raw.format.split("+"):
        raw = replace(raw, format=chosen.name)
    return replace(raw, meta={**beside, **raw.meta})


def _convert(raw: RawCheckpoint, wanted: Wanted, asked: CheckpointFormat | None) -> RawCheckpoint:
    """Take a file's tensors through the layouts that fit them, and through the one that was asked for."""
    for one in _all():
        if one.convert is None:
            continue
        fits = _do(one, one.fits, raw) if one.fits is not None else asked is one
        if fits:
            _check_here(one)
            raw = _do(one, one.convert, raw, wanted)
            raw = raw if _is_ours(one) or one.name in raw.format.split("+") else raw.then(one.name)
        if not raw.state:  # masks alone: their weights are another file's
            return raw
    return layouts.linear_head(raw)


def _all() -> Iterator[CheckpointFormat]:
    """Yield the formats in order of place, those of files that were loaded included."""
    found: list[CheckpointFormat] = [extensions.get("formats", name) for name in extensions.names("formats")]
    yield from sorted(found, key=lambda one: one.place)


def _is_ours(one: CheckpointFormat) -> bool:
    """Return whether a format is declared here: it then says itself what it has read, and is checked by content."""
    return one.name in ours("formats")


def _do(one: CheckpointFormat, work: Work, *arguments: Any) -> Any:
    """Do a part of a format's work; what another's raises is said to be its mistake, not the file's."""
    if _is_ours(one):
        return extensions.load(work)(*arguments)
    try:
        return extensions.load(work)(*arguments)
    except SparsebenchError:
        raise
    except Exception as error:  # somebody else's function may raise anything
        raise CheckpointError(
            f"format {one.name!r} fails: {type(error).__name__}: {error}", "correct it, or name another format"
        ) from error


def _check_here(one: CheckpointFormat) -> None:
    if (missing := one.missing()) is not None:
        raise CheckpointError(f"a checkpoint in format {one.name} can't be read here", missing)


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
