"""Load a registry entry as a backbone: module, masks, preprocessing, and what is known about it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from ..downloads import locate
from ..schema import Checkpoint, CheckpointError
from . import backbones, masks, sparsity
from .backbone import Backbone, BackboneInfo
from .checking import check
from .fitting import Fitted, fit
from .formats import RawCheckpoint, complete, guarded, read_checkpoint, sparse_file
from .masks import FoundMasks
from .sparsity import SparsityReport


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
            raise without_weights(path)
        files.append(locate(checkpoint.files()[-1]))
        raw = complete(raw, read_checkpoint(files[-1]))
    fitted = fit_first([checkpoint.arch], raw, path)
    raw, model = fitted.raw, fitted.model
    if checkpoint.method == "dense":
        _refuse_masks(checkpoint, raw)
        found = FoundMasks()
    else:
        found = masks_of(fitted, checkpoint.exempt, path)
    report = hold(fitted, found, checkpoint.exempt)
    check(checkpoint, model, report, fitted.head_names)
    own_head = {name: value for name, value in model.state_dict().items() if name in fitted.head_keys}
    head_sha256 = None if fitted.classes is None else state_sha256(own_head)
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
        head_sha256=head_sha256,
        sparsity=report,
        packed_bytes=sparsity.packed_bytes(body, body_masks),
        files=tuple(files),
        weights_taken=raw.taken or None,
        prefix_removed=raw.removed or None,
    )
    return Backbone(model, found.masks, preprocess, info)


def masks_of(fitted: Fitted, exempt: Sequence[str] | None, path: Path) -> FoundMasks:
    """Return the masks of a network that was read, or raise a :class:`CheckpointError` that names its file."""
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


def hold(fitted: Fitted, found: FoundMasks, exempt: Sequence[str] | None) -> SparsityReport:
    """Set masked weights to zero, and count; without a list of exempt layers these are the dense ends."""
    masks.apply(fitted.model, found.masks)
    if exempt is None:
        exempt = sparsity.dense_ends(fitted.model, found.masks, fitted.head_names)
    return sparsity.measure(fitted.model, found, exempt)


def fit_first(archs: list[str], raw: RawCheckpoint, path: Path) -> Fitted:
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


def without_weights(path: Path) -> CheckpointError:
    """Return the error of a file of masks alone."""
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
