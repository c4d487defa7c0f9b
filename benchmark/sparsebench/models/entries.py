"""Which checkpoint is meant: a registered one by its id, or a user's own file, described as an entry would.

What reads files is imported when there is one: a wrong name is said before torch is imported.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from ..caching import read_document, write_document
from ..registry import CheckpointFilter, Registry
from ..registry.filter import references_of
from ..registry.names import plain_id
from ..registry.selection import Selection, apart
from ..schema import (
    Checkpoint,
    CheckpointError,
    FileSource,
    InputError,
    Preprocess,
    Suite,
    Upstream,
)
from .facts import file_key, remembering_warnings

if TYPE_CHECKING:
    from .fitting import Fitted

AUTO = "auto"
"""Stands for the format that a file is recognised as."""

FILE_SUFFIXES = frozenset({".pth", ".pt", ".ckpt", ".tar", ".gz", ".index", ".bin", ".safetensors", ".onnx"})
"""Endings of checkpoint files; with one of them a name that is not registered is meant as a path."""


def is_file_name(name: str, registry: Registry) -> bool:
    """Return whether a name is meant as a checkpoint file: not registered, and there or written like a path."""
    if name in registry.checkpoints:
        return False
    path, _ = split_choice(name)
    written_so = "/" in name or "\\" in name or path.suffix in FILE_SUFFIXES
    return written_so or path.is_file() or _is_hub_folder(path)


def _is_hub_folder(path: Path) -> bool:
    """Return whether this is a folder of the Hugging Face hub."""
    if not path.is_dir():
        return False
    from .formats import hub

    return (path / hub.DESCRIPTION).is_file()


def split_choice(name: str) -> tuple[Path, str | None]:
    """Return the file that ``FILE#ema`` means, and which weights in it; a file whose name has a ``#`` is itself."""
    path = Path(name).expanduser()
    if path.exists() or "#" not in path.name:
        return path, None
    stem, _, wanted = name.rpartition("#")
    return Path(stem).expanduser(), wanted or None


def find_entry(name: str, registry: Registry, arch: str | None = None, format: str = AUTO) -> Checkpoint:
    """Return the entry of a registered id, or one that describes a user's file.

    Raises
    ------
    UnknownNameError
        If it is neither.
    InputError
        If ``arch`` is not the architecture of the registered checkpoint, or it is given a format.
    CheckpointError
        If the file can't be described (see :func:`entry_for_file`).
    """
    if is_file_name(name, registry):
        path, weights = split_choice(name)
        return entry_for_file(path, arch, weights, format)
    entry = registry.checkpoint(name)
    if format != AUTO:
        raise InputError(f"--format is for checkpoint files; {name} is registered with its own", "leave --format out")
    if arch is not None and arch != entry.arch:
        raise InputError(f"{name} has architecture {entry.arch}, not {arch}", "leave the architecture out")
    return entry


def entry_for_file(
    path: Path,
    arch: str | None = None,
    weights: str | None = None,
    format: str = AUTO,
    cache_dir: Path | None = None,
) -> Checkpoint:
    """Describe a user's own file as a registry entry would: from what it says of itself and what it measures.

    Parameters
    ----------
    path : Path
        A ``.pth`` or ``.safetensors`` file, or a folder of the Hugging Face hub.
    arch : str, optional
        Its architecture; needed unless the file names its own or is recognised.
    weights : str, optional
        Which weights to take where the file holds several sets: ``ema``, ``raw`` or a name in the file.
    format : str
        Its format, a name of ``sparsebench list formats``; by default it is recognised.
    cache_dir : Path, optional
        Where descriptions are remembered, by the content of the file.

    Raises
    ------
    CheckpointError
        If the architecture is not known, or the file can't be loaded as it.
    """
    if not path.exists():
        raise CheckpointError(f"there is no file {path}", "check the path")
    key = file_key(path, arch, weights, format) if cache_dir is not None else None
    if key is not None and (known := read_document(cache_dir, "facts", key)) is not None:
        with contextlib.suppress(ValidationError):
            return Checkpoint.model_validate(known)
    from .formats import architectures_of, guarded, hub, read_checkpoint
    from .loading import fit_first, without_weights

    name = path.resolve().name if path.is_dir() else path.stem
    path = hub.weights_in(path) if path.is_dir() else path
    with guarded(path), remembering_warnings() as said:
        raw = read_checkpoint(path, format, weights=weights)
        if not raw.state:
            raise without_weights(path)
        fitted = fit_first([arch] if arch else architectures_of(raw), raw, path)
        entry = _described(path, name, arch, weights, fitted).model_copy(update={"format": format})
    if key is not None and not said:
        write_document(cache_dir, "facts", key, entry.model_dump(mode="json", exclude_none=True))
    return entry


def _described(path: Path, name: str, arch: str | None, weights: str | None, fitted: Fitted) -> Checkpoint:
    """Return the entry of a file that has been read."""
    from . import masks
    from .loading import hold, masks_of

    raw = fitted.raw
    meta: Mapping[str, Any] = raw.meta
    exempt = _own_exempt(meta, path)
    found = masks.FoundMasks() if meta.get("method") == "dense" else masks_of(fitted, exempt, path)
    report = hold(fitted, found, exempt)
    sparse = report.held > 0
    try:
        claimed = float(meta.get("sparsity") or report.scope("prunable"))
        return Checkpoint(
            id=plain_id(name if raw.taken is None else f"{name}-{weights or raw.taken}", "checkpoint"),
            method=plain_id(str(meta.get("method", "custom")), "custom") if sparse else "dense",
            arch=str(fitted.architecture) if arch is None else arch,
            sparsity=min(0.9999, max(0.0001, round(claimed, 4))) if sparse else 0.0,
            sparsity_scope=meta.get("sparsity_scope", "prunable"),
            distribution=meta.get("distribution", "learned") if sparse else "dense",
            nm=meta.get("nm") if sparse else None,
            exempt=tuple(masks.layer_of(layer.name) for layer in report.layers if layer.exempt),
            reference=meta.get("reference") if sparse else None,
            file=FileSource(path=str(path.resolve())),
            weights=weights or raw.taken,
            preprocess=Preprocess.model_validate(meta["preprocess"]) if "preprocess" in meta else None,
            upstream=Upstream.model_validate(meta["upstream"]) if "upstream" in meta else None,
        )
    except (ValidationError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(
            f"{path} describes itself wrongly: {str(error).splitlines()[0]}", "correct it, or save the weights alone"
        ) from error


def _own_exempt(meta: Mapping[str, Any], path: Path) -> tuple[str, ...] | None:
    """Return the layers that a file itself says its method doesn't prune; None if it doesn't say."""
    own = meta.get("exempt")
    if own is None:
        return None
    if not isinstance(own, list | tuple) or not all(isinstance(name, str) for name in own):
        raise CheckpointError(
            f"{path} describes itself wrongly: 'exempt' is not a list of layers", "get the file again"
        )
    return tuple(own)


def select_checkpoints(
    selection: Selection, registry: Registry, suite: Suite, cache_dir: Path | None = None
) -> list[Checkpoint]:
    """Return the checkpoints of a selection: registered ones, the user's files, and references if asked for."""
    files = [name for name in dict.fromkeys(selection.checkpoints) if is_file_name(name, registry)]
    ids = [name for name in selection.checkpoints if name not in files]
    if files and len(selection.archs) > 1:
        raise InputError("a checkpoint file has one architecture", "give --arch once")
    if files and not ids and (selection.methods or selection.sparsities):
        raise InputError("--method and --sparsity don't select among checkpoint files", "leave them out")
    if selection.format != AUTO and not files:
        raise InputError("--format is for checkpoint files", "give one with --checkpoint FILE")
    arch = selection.archs[0] if selection.archs else None
    own = [_entry(name, arch, selection.format, cache_dir) for name in files]
    selected: list[Checkpoint] = []
    if ids or not files:
        archs = () if files else selection.archs
        wanted = CheckpointFilter(
            ids, selection.methods, selection.sparsities, archs, selection.variants, selection.replicates
        )
        selected = wanted.select(registry, suite)
    taken = {checkpoint.id for checkpoint in selected}
    for file, checkpoint in zip(files, own, strict=True):
        name = apart("checkpoint", checkpoint.id, split_choice(file)[0], taken)
        selected.append(checkpoint.model_copy(update={"id": name}))
        taken |= {name}
    return selected + (references_of(selected, registry) if selection.references else [])


def _entry(name: str, arch: str | None, format: str, cache_dir: Path | None) -> Checkpoint:
    """Return the entry of a user's file, ``FILE`` or ``FILE#WEIGHTS``."""
    path, weights = split_choice(name)
    return entry_for_file(path, arch, weights, format, cache_dir)
