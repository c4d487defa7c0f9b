"""Load a checkpoint, registered or a user's own file, as a backbone: module, masks, preprocessing, description."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from ..downloads import locate
from ..registry import Registry
from ..registry.names import plain_id
from ..schema import Checkpoint, CheckpointError, FileSource, InputError, Preprocess, Upstream
from ..schema.text import printable
from . import backbones, masks, sparsity
from .checking import check
from .fitting import Fitted, fit
from .formats import RawCheckpoint, architectures_of, complete, guarded, hub, read_checkpoint, sparse_file
from .masks import FoundMasks
from .sparsity import SparsityReport


@dataclass(frozen=True)
class BackboneInfo:
    """What is known about a loaded backbone.

    ``weights_sha256`` and ``mask_sha256`` are content hashes of the backbone alone (without the head): whatever the
    file is called, equal backbones have equal hashes. ``mask_source`` is ``file`` (the file's own masks), ``zeros``
    (where weights are zero), ``file+zeros`` (some layers have the one, some the other) or ``none`` (dense).
    ``files`` are all that were read: the checkpoint's own, first, and the one that it derives from or completes.
    ``packed_bytes`` is the backbone's size by :func:`sparsebench.models.sparsity.packed_bytes`. ``weights_taken`` names
    the set of weights where the file has several, and ``prefix_removed`` what was taken out of its tensors' names.
    """

    checkpoint: Checkpoint
    arch: str
    path: Path
    format: str
    mask_source: str
    feature_dim: int
    head_name: str
    num_classes: int | None
    used_keys: int
    unused_keys: tuple[str, ...]
    weights_sha256: str
    mask_sha256: str
    sparsity: SparsityReport
    packed_bytes: int
    files: tuple[Path, ...]
    weights_taken: str | None = None
    prefix_removed: str | None = None

    @property
    def id(self) -> str:
        """The checkpoint's id."""
        return self.checkpoint.id

    @property
    def sparsity_measured(self) -> float:
        """Sparsity that the masks hold, under the checkpoint's own scope."""
        return self.sparsity.scope(self.checkpoint.sparsity_scope)


@dataclass(frozen=True)
class Backbone:
    """A network ready for use.

    Parameters
    ----------
    module : nn.Module
        In eval mode on the CPU; maps ``(B, 3, H, W)`` to features ``(B, d)``, or to upstream logits with its head.
    masks : dict of str to Tensor
        Parameter name of ``module`` to bool mask, True = kept; what is not pruned has no entry.
    preprocess : Preprocess
        How images become its input.
    info : BackboneInfo
        Where it comes from and what was measured on it.
    """

    module: nn.Module
    masks: dict[str, Tensor]
    preprocess: Preprocess
    info: BackboneInfo


def load_entry(checkpoint: Checkpoint, *, head: bool = False) -> Backbone:
    """Load a registry entry.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, refused, doesn't fit the architecture, or isn't as sparse as the entry claims.
    """
    path = locate(checkpoint)
    with guarded(path):
        return _load(checkpoint, path, head)


def _load(checkpoint: Checkpoint, path: Path, head: bool) -> Backbone:
    raw = read_checkpoint(
        path,
        checkpoint.format,
        checkpoint.sparsity or None,
        checkpoint.nm,
        weights=checkpoint.weights,
        memory=checkpoint.memory,
    )
    files = [path]
    if raw.format == sparse_file.FORMAT and (derived := sparse_file.base_of(path)):
        files.append(derived)
    if not raw.state:
        if checkpoint.base is None:
            raise _without_weights(path)
        files.append(locate(checkpoint.files()[-1]))
        raw = complete(raw, read_checkpoint(files[-1]))
    fitted = _fit([checkpoint.arch], raw, path)
    raw, model = fitted.raw, fitted.model
    if checkpoint.method == "dense":
        _refuse_masks(checkpoint, raw)
        found = FoundMasks()
    else:
        found = _masks(fitted, checkpoint.exempt, path)
    report = _apply(fitted, found, checkpoint.exempt)
    check(checkpoint, model, report, fitted.head_names)
    if fitted.classes is not None and not head:
        backbones.remove_head(model, fitted.architecture)
        found = found.only(dict(model.named_parameters()))
    model.eval()
    preprocess = checkpoint.preprocess or backbones.preprocess_of(fitted.architecture)
    body, body_masks = _without(model.state_dict(), fitted), _without(found.masks, fitted)
    info = BackboneInfo(
        checkpoint=checkpoint,
        arch=str(fitted.architecture),
        path=path,
        format=raw.format,
        mask_source="+".join(sorted({layer.source for layer in report.layers if layer.source})) or "none",
        feature_dim=backbones.feature_dim(fitted.architecture, preprocess.input_size),
        head_name=fitted.head_names[0],
        num_classes=fitted.classes,
        used_keys=len(raw.state),
        unused_keys=raw.unused,
        weights_sha256=state_sha256(body),
        mask_sha256=masks.sha256(body_masks),
        sparsity=report,
        packed_bytes=sparsity.packed_bytes(body, body_masks),
        files=tuple(files),
        weights_taken=printable(raw.taken) if raw.taken else None,
        prefix_removed=printable(raw.removed) if raw.removed else None,
    )
    return Backbone(model, found.masks, preprocess, info)


def _masks(fitted: Fitted, exempt: Sequence[str] | None, path: Path) -> FoundMasks:
    try:
        return masks.find(fitted.model, fitted.raw.masks, exempt or ())
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error.message}", error.hint) from error


def _refuse_masks(checkpoint: Checkpoint, raw: RawCheckpoint) -> None:
    """Refuse a dense checkpoint whose file has masks; what is zero in it by chance isn't masked."""
    pruned = [layer for layer, mask in (raw.masks or {}).items() if not bool(mask.all())]
    if pruned:
        raise CheckpointError(
            f"checkpoint {checkpoint.id} is registered as dense, but its file masks {', '.join(pruned[:3])}"
            + (f" and {len(pruned) - 3} more" if len(pruned) > 3 else ""),
            "register it under its method and sparsity",
        )


def _apply(fitted: Fitted, found: FoundMasks, exempt: Sequence[str] | None) -> SparsityReport:
    """Set masked weights to zero, and count; without a list of exempt layers these are the dense ends."""
    masks.apply(fitted.model, found.masks)
    if exempt is None:
        exempt = sparsity.dense_ends(fitted.model, found.masks, fitted.head_names)
    return sparsity.measure(fitted.model, found, exempt)


FILE_SUFFIXES = frozenset({".pth", ".pt", ".ckpt", ".tar", ".gz", ".index", ".bin", ".safetensors"})
"""Endings of checkpoint files; with one of them a name that is not registered is meant as a path."""


def is_file_name(name: str, registry: Registry) -> bool:
    """Return whether a name is meant as a checkpoint file: not registered, and there or written like a path."""
    if name in registry.checkpoints:
        return False
    path, _ = split_choice(name)
    written_so = "/" in name or "\\" in name or path.suffix in FILE_SUFFIXES
    return written_so or path.is_file() or (path / hub.DESCRIPTION).is_file()


def split_choice(name: str) -> tuple[Path, str | None]:
    """Return the file that ``FILE#ema`` means, and which weights in it; a file whose name has a ``#`` is itself."""
    path = Path(name).expanduser()
    if path.exists() or "#" not in path.name:
        return path, None
    stem, _, wanted = name.rpartition("#")
    return Path(stem).expanduser(), wanted or None


def find_entry(name: str, registry: Registry, arch: str | None = None) -> Checkpoint:
    """Return the entry of a registered id, or one that describes a user's file.

    Raises
    ------
    UnknownNameError
        If it is neither.
    InputError
        If ``arch`` is not the architecture of the registered checkpoint.
    CheckpointError
        If the file can't be described (see :func:`entry_for_file`).
    """
    if is_file_name(name, registry):
        path, weights = split_choice(name)
        return entry_for_file(path, arch, weights)
    entry = registry.checkpoint(name)
    if arch is not None and arch != entry.arch:
        raise InputError(f"{name} has architecture {entry.arch}, not {arch}", "leave the architecture out")
    return entry


def entry_for_file(path: Path, arch: str | None = None, weights: str | None = None) -> Checkpoint:
    """Describe a user's own file as a registry entry would: from what it says of itself and what it measures.

    Parameters
    ----------
    path : Path
        A ``.pth`` or ``.safetensors`` file, or a folder of the Hugging Face hub.
    arch : str, optional
        Its architecture; needed unless the file names its own or is recognised.
    weights : str, optional
        Which weights to take where the file holds several sets: ``ema``, ``raw`` or a name in the file.

    Raises
    ------
    CheckpointError
        If the architecture is not known, or the file can't be loaded as it.
    """
    name = path.resolve().name if path.is_dir() else path.stem
    path = hub.weights_in(path) if path.is_dir() else path
    with guarded(path):
        raw = read_checkpoint(path, weights=weights)
        if not raw.state:
            raise _without_weights(path)
        return _described(path, name, arch, weights, _fit([arch] if arch else architectures_of(raw), raw, path))


def _fit(archs: list[str], raw: RawCheckpoint, path: Path) -> Fitted:
    """Return the first of several architectures that fits; without the heads that were built but the file lacks."""
    if not archs:
        raise CheckpointError(f"{path} doesn't say which architecture it is", "name it with --arch (or arch=...)")
    for arch in archs:
        try:
            fitted = fit(arch, raw, path)
        except CheckpointError:
            if arch == archs[-1]:
                raise
        else:
            break
    if fitted.classes is None:
        backbones.remove_head(fitted.model, fitted.architecture)
    return fitted


def _described(path: Path, name: str, arch: str | None, weights: str | None, fitted: Fitted) -> Checkpoint:
    """Return the entry of a file that has been read."""
    raw = fitted.raw
    meta: Mapping[str, Any] = raw.meta
    exempt = _own_exempt(meta, path)
    found = FoundMasks() if meta.get("method") == "dense" else _masks(fitted, exempt, path)
    report = _apply(fitted, found, exempt)
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


def _without_weights(path: Path) -> CheckpointError:
    return CheckpointError(f"{path} holds masks but no weights", "register it with the base that it is of")


def state_sha256(state: Mapping[str, Tensor]) -> str:
    """Return a content hash of a state dict: names, types, shapes and bytes.

    -0.0 counts as 0.0, and batch norm's step counters don't count.
    """
    value = hashlib.sha256()
    for name in sorted(state):
        if name.endswith("num_batches_tracked"):
            continue
        tensor = state[name].detach().cpu().contiguous()
        if tensor.is_floating_point():
            tensor = tensor + 0.0
        value.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}:".encode())
        value.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return value.hexdigest()


def _without(tensors: Mapping[str, Tensor], fitted: Fitted) -> dict[str, Tensor]:
    return {name: value for name, value in tensors.items() if name not in fitted.head_keys}
