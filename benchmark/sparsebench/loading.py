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

from . import backbones, masks, sparsity
from .checking import check
from .downloads import locate
from .fitting import Network, fit
from .formats import RawCheckpoint, architecture_of, complete, read_checkpoint, sparse_file
from .masks import FoundMasks
from .names import plain_id
from .registry import Registry
from .schema import Checkpoint, CheckpointError, FileSource, InputError, Preprocess, Upstream
from .sparsity import SparsityReport


@dataclass(frozen=True)
class BackboneInfo:
    """What is known about a loaded backbone.

    ``weights_sha256`` and ``mask_sha256`` are content hashes of the backbone alone (without the head): whatever the
    file is called, equal backbones have equal hashes. ``mask_source`` is ``file`` (the file's own masks), ``zeros``
    (where weights are zero), ``file+zeros`` (some layers have the one, some the other) or ``none`` (dense).
    ``files`` are all that were read: the checkpoint's own, first, and the one that it derives from or completes.
    ``packed_bytes`` is the size of the backbone by :func:`sparsebench.sparsity.packed_bytes`.
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
    raw = read_checkpoint(path, checkpoint.format, checkpoint.sparsity or None, checkpoint.nm)
    files = [path]
    if raw.format == sparse_file.FORMAT and (derived := sparse_file.base_of(path)):
        files.append(derived)
    if not raw.state:
        if checkpoint.base is None:
            raise _without_weights(path)
        files.append(locate(checkpoint.files()[-1]))
        raw = complete(raw, read_checkpoint(files[-1]))
    network = fit(checkpoint.arch, raw, path)
    model, head_name = network.model, network.head_name
    if checkpoint.method == "dense":
        _refuse_masks(checkpoint, raw)
        found = FoundMasks()
    else:
        found = _masks(network, raw, checkpoint.exempt, path)
    report = _apply(network, found, checkpoint.exempt)
    check(checkpoint, model, report, head_name)
    if network.classes is not None and not head:
        backbones.remove_head(model, network.architecture)
        found = found.only(dict(model.named_parameters()))
    model.eval()
    preprocess = checkpoint.preprocess or backbones.preprocess_of(network.architecture)
    body, body_masks = _without(model.state_dict(), head_name), _without(found.masks, head_name)
    info = BackboneInfo(
        checkpoint=checkpoint,
        arch=str(network.architecture),
        path=path,
        format=raw.format,
        mask_source="+".join(sorted({layer.source for layer in report.layers if layer.source})) or "none",
        feature_dim=_feature_dim(model, head_name if head and network.classes is not None else None, preprocess),
        head_name=head_name,
        num_classes=network.classes,
        used_keys=len(raw.state),
        unused_keys=raw.unused,
        weights_sha256=state_sha256(body),
        mask_sha256=masks.sha256(body_masks),
        sparsity=report,
        packed_bytes=sparsity.packed_bytes(body, body_masks),
        files=tuple(files),
    )
    return Backbone(model, found.masks, preprocess, info)


def _masks(network: Network, raw: RawCheckpoint, exempt: Sequence[str] | None, path: Path) -> FoundMasks:
    try:
        return masks.find(network.model, raw.masks, exempt or ())
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


def _apply(network: Network, found: FoundMasks, exempt: Sequence[str] | None) -> SparsityReport:
    """Set masked weights to zero, and count; without a list of exempt layers these are the dense ends."""
    masks.apply(network.model, found.masks)
    if exempt is None:
        exempt = sparsity.dense_ends(network.model, found.masks, network.head_name)
    return sparsity.measure(network.model, found, exempt)


FILE_SUFFIXES = frozenset({".pth", ".pt", ".ckpt", ".tar", ".gz", ".index", ".bin", ".safetensors"})
"""Endings of checkpoint files; with one of them a name that is not registered is meant as a path."""


def is_file_name(name: str, registry: Registry) -> bool:
    """Return whether a name is meant as a checkpoint file: not registered, and there or written like a path."""
    if name in registry.checkpoints:
        return False
    return "/" in name or "\\" in name or Path(name).suffix in FILE_SUFFIXES or Path(name).is_file()


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
        return entry_for_file(Path(name).expanduser(), arch)
    entry = registry.checkpoint(name)
    if arch is not None and arch != entry.arch:
        raise InputError(f"{name} has architecture {entry.arch}, not {arch}", "leave the architecture out")
    return entry


def entry_for_file(path: Path, arch: str | None = None) -> Checkpoint:
    """Describe a user's own file as a registry entry would: from what it says of itself and what it measures.

    Parameters
    ----------
    path : Path
        A ``.pth`` or ``.safetensors`` file.
    arch : str, optional
        Its architecture; needed unless the file names its own.

    Raises
    ------
    CheckpointError
        If the architecture is not known, or the file can't be loaded as it.
    """
    raw = read_checkpoint(path)
    if not raw.state:
        raise _without_weights(path)
    name = arch or architecture_of(raw)
    if name is None:
        raise CheckpointError(f"{path} doesn't say which architecture it is", "name it with --arch (or arch=...)")
    network = fit(name, raw, path)
    meta: Mapping[str, Any] = raw.meta
    exempt = _own_exempt(meta, path)
    found = FoundMasks() if meta.get("method") == "dense" else _masks(network, raw, exempt, path)
    report = _apply(network, found, exempt)
    sparse = report.held > 0
    try:
        claimed = float(meta.get("sparsity") or report.scope("prunable"))
        return Checkpoint(
            id=plain_id(path.stem, "checkpoint"),
            method=str(meta.get("method", "custom")) if sparse else "dense",
            arch=str(network.architecture) if arch is None else arch,
            sparsity=min(0.9999, max(0.0001, round(claimed, 4))) if sparse else 0.0,
            sparsity_scope=meta.get("sparsity_scope", "prunable"),
            distribution=meta.get("distribution", "learned") if sparse else "dense",
            nm=meta.get("nm") if sparse else None,
            exempt=tuple(masks.layer_of(layer.name) for layer in report.layers if layer.exempt),
            reference=meta.get("reference") if sparse else None,
            file=FileSource(path=str(path.resolve())),
            preprocess=Preprocess.model_validate(meta["preprocess"]) if "preprocess" in meta else None,
            upstream=Upstream.model_validate(meta["upstream"]) if "upstream" in meta else None,
        )
    except (ValidationError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"{path} describes itself wrongly: {str(error).splitlines()[0]}") from error


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


def _without(tensors: Mapping[str, Tensor], layer: str) -> dict[str, Tensor]:
    return {name: value for name, value in tensors.items() if not name.startswith(f"{layer}.")}


def _feature_dim(model: nn.Module, head_name: str | None, preprocess: Preprocess) -> int:
    if head_name is not None:
        return int(model.get_submodule(head_name).in_features)  # type: ignore[arg-type]
    return backbones.feature_dim(model, preprocess.input_size)
