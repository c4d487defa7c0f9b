"""Load a checkpoint, registered or a user's own file, as a backbone: module, masks, preprocessing, description."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from . import backbones, masks
from .downloads import locate
from .fitting import Fitted, fit
from .formats import RawCheckpoint, architectures_of, complete, guarded, hub, read_checkpoint
from .registry import Registry
from .schema import Checkpoint, CheckpointError, FileSource, InputError, Preprocess, SparsityScope, Upstream, nearest
from .schema.text import printable

SPARSITY_TOLERANCE = 0.02
"""Largest difference between a claimed and a measured sparsity (STR's nominal 80 % is 81.27 %)."""

EXACT_TOLERANCE = 5e-7
"""Largest difference between ``sparsity_exact`` and a measured sparsity: what rounding to six digits makes."""

DENSE_ZEROS = 0.25
"""Largest fraction of zeros in a dense checkpoint: dead channels leave some, in AC/DC's dense twins up to a sixth."""


@dataclass(frozen=True)
class BackboneInfo:
    """What is known about a loaded backbone.

    ``weights_sha256`` and ``mask_sha256`` are content hashes of the backbone alone (without the head): whatever the
    file is called, equal backbones have equal hashes. ``mask_source`` is ``file`` (the file's own masks), ``zeros``
    (inferred) or ``none`` (dense). ``weights_taken`` names the set of weights where the file has several, and
    ``prefix_removed`` what was taken out of its tensors' names.
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
    sparsity: masks.SparsityReport
    weights_taken: str | None = None
    prefix_removed: str | None = None

    @property
    def id(self) -> str:
        """The checkpoint's id."""
        return self.checkpoint.id

    @property
    def sparsity_measured(self) -> float:
        """Measured sparsity under the checkpoint's own scope."""
        return self.sparsity.scope(self.checkpoint.sparsity_scope)


@dataclass(frozen=True)
class Backbone:
    """A network ready for use.

    Parameters
    ----------
    module : nn.Module
        In eval mode on the CPU; maps ``(B, 3, H, W)`` to features ``(B, d)``, or to upstream logits with its head.
    masks : dict of str to Tensor
        Parameter name of ``module`` to bool mask, True = kept; a layer that is not pruned has no entry.
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
    if not raw.state:
        if checkpoint.base is None:
            raise _without_weights(path)
        base = locate(checkpoint.files()[-1])
        raw = complete(raw, read_checkpoint(base))
    fitted = fit(checkpoint.arch, raw, path)
    raw, model, architecture, classes = fitted.raw, fitted.model, fitted.architecture, fitted.classes
    if classes is None:
        backbones.remove_head(model, architecture)  # the file has none: what was built is not the checkpoint's
    found, source = _find_masks(model, raw, checkpoint.exempt, dense=checkpoint.method == "dense")
    masks.apply(model, found)
    _check_weights(checkpoint, model, found if source == "file" else None)
    report = masks.measure(model, found, checkpoint.exempt)
    _check_sparsity(checkpoint, report)
    if classes is not None and not head:
        backbones.remove_head(model, architecture)
        kept = dict(model.named_parameters())
        found = {name: mask for name, mask in found.items() if name in kept}
    model.eval()
    preprocess = checkpoint.preprocess or backbones.preprocess_of(architecture)
    head_free = _without(model.state_dict(), fitted)
    info = BackboneInfo(
        checkpoint=checkpoint,
        arch=str(architecture),
        path=path,
        format=raw.format,
        mask_source=source,
        feature_dim=backbones.feature_dim(architecture, preprocess.input_size),
        head_name=fitted.head_names[0],
        num_classes=classes,
        used_keys=len(raw.state),
        unused_keys=raw.unused,
        weights_sha256=state_sha256(head_free),
        mask_sha256=masks.sha256(_without(found, fitted)),
        weights_taken=printable(raw.taken) if raw.taken else None,
        prefix_removed=printable(raw.removed) if raw.removed else None,
        sparsity=report,
    )
    return Backbone(model, found, preprocess, info)


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
        fitted = _fit_one([arch] if arch else architectures_of(raw), raw, path)
        if fitted.classes is None:
            backbones.remove_head(fitted.model, fitted.architecture)  # the file has none: it is not measured
        return _described(path, name, arch, weights, fitted)


def _fit_one(archs: list[str], raw: RawCheckpoint, path: Path) -> Fitted:
    """Return the first of several architectures that fits."""
    if not archs:
        raise CheckpointError(f"{path} doesn't say which architecture it is", "name it with --arch (or arch=...)")
    for arch in archs[:-1]:
        try:
            return fit(arch, raw, path)
        except CheckpointError:
            continue
    return fit(archs[-1], raw, path)


def _described(path: Path, name: str, arch: str | None, weights: str | None, fitted: Fitted) -> Checkpoint:
    """Return the entry of a file that has been read."""
    raw, model = fitted.raw, fitted.model
    meta: Mapping[str, Any] = raw.meta
    try:
        exempt = tuple(meta["exempt"]) if "exempt" in meta else None
        found, _ = _find_masks(model, raw, (), dense=False)
        exempt = _dense_ends(model, fitted.head_names) if exempt is None else exempt
        measured = masks.measure(model, found, exempt).scope("prunable")
        return Checkpoint(
            id=_word(name if raw.taken is None else f"{name}-{weights or raw.taken}") or "checkpoint",
            method=(_word(str(meta.get("method", "custom"))) or "custom") if found else "dense",
            arch=str(fitted.architecture) if arch is None else arch,
            sparsity=min(0.9999, round(float(meta.get("sparsity") or measured), 4)) if found else 0.0,
            sparsity_scope=meta.get("sparsity_scope", "prunable"),
            distribution=meta.get("distribution", "learned") if found else "dense",
            nm=meta.get("nm") if found else None,
            exempt=exempt if found else (),
            reference=meta.get("reference") if found else None,
            file=FileSource(path=str(path.resolve())),
            weights=weights or raw.taken,
            preprocess=Preprocess.model_validate(meta["preprocess"]) if "preprocess" in meta else None,
            upstream=Upstream.model_validate(meta["upstream"]) if "upstream" in meta else None,
        )
    except (ValidationError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(
            f"{path} describes itself wrongly: {str(error).splitlines()[0]}", "correct it, or save the weights alone"
        ) from error


def _word(text: str) -> str:
    """Return a text as an id: letters, digits and ``_.+-``."""
    return re.sub(r"[^A-Za-z0-9_.+-]+", "-", text).strip("-._")


def _without_weights(path: Path) -> CheckpointError:
    return CheckpointError(f"{path} holds masks but no weights", "register it with the base that it is of")


def _dense_ends(model: nn.Module, head_names: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of the first convolution and the heads that hold no zero: methods often leave them dense."""
    weights = masks.prunable(model)
    ends = (next(iter(weights), ""), *(f"{name}.weight" for name in head_names))
    return tuple(n.removesuffix(".weight") for n in ends if n in weights and not bool((weights[n] == 0).any()))


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


def _find_masks(
    model: nn.Module, raw: RawCheckpoint, exempt: tuple[str, ...], *, dense: bool
) -> tuple[dict[str, Tensor], str]:
    """Return the file's own masks, else where its weights are zero, and which of the two."""
    if dense:
        return {}, "none"
    if raw.masks is not None:
        weights = masks.prunable(model)
        for name, mask in raw.masks.items():
            if name not in weights or weights[name].shape != mask.shape:
                raise CheckpointError(f"the file has a mask for {name}, which is no prunable weight of that shape")
        return dict(raw.masks), "file" if raw.masks else "none"
    found = masks.infer(model, exempt)
    return found, "zeros" if found else "none"


def _check_weights(checkpoint: Checkpoint, model: nn.Module, own: Mapping[str, Tensor] | None) -> None:
    """Check what a loaded model's weights tell about the entry: finite, exempt layers dense, dense ones too.

    Where the file has masks of its own, they tell whether a layer is dense: dead filters are zeros, too.
    """
    broken = [name for name, value in model.state_dict().items() if not bool(value.isfinite().all())]
    if broken:
        raise CheckpointError(
            f"checkpoint {checkpoint.id}: {broken[0]} holds NaN or infinity", "it was saved from a broken training"
        )
    everything = masks.prunable(model)
    for layer in checkpoint.exempt:
        weight = everything.get(f"{layer}.weight")
        if weight is None:
            names = [name.removesuffix(".weight") for name in everything]
            raise CheckpointError(
                f"checkpoint {checkpoint.id} exempts layer {layer!r}, which its architecture doesn't have",
                "did you mean " + " or ".join(nearest(layer, names) or names[:3]) + "?",
            )
        zeros = float((weight == 0).float().mean()) if own is None else f"{layer}.weight" in own
        if zeros > masks.DENSE_BELOW:
            raise CheckpointError(
                f"checkpoint {checkpoint.id} exempts layer {layer!r}, but its weights are pruned",
                "take the layer out of the entry's 'exempt'",
            )
    zeros = sum(masks.zeros_in(w) for w in everything.values()) / sum(w.numel() for w in everything.values())
    if checkpoint.method == "dense" and zeros > DENSE_ZEROS:
        raise CheckpointError(
            f"checkpoint {checkpoint.id} is registered as dense, but {zeros:.1%} of its weights are zero",
            "register it under its method and sparsity",
        )


def agreeing_scopes(sparsity: float, report: masks.SparsityReport) -> list[SparsityScope]:
    """Return the scopes under which a network is as sparse as claimed, the closest first."""
    scopes = get_args(SparsityScope)
    off = {scope: abs(report.scope(scope) - sparsity) for scope in scopes}
    return sorted((scope for scope in scopes if off[scope] <= SPARSITY_TOLERANCE), key=off.__getitem__)


def _scope_hint(checkpoint: Checkpoint, report: masks.SparsityReport) -> str:
    agreeing = agreeing_scopes(checkpoint.sparsity, report)
    if not agreeing:
        return "correct the entry's sparsity or its sparsity_scope"
    return f"under sparsity_scope {agreeing[0]} it is {report.scope(agreeing[0]):.4f}: is that what was meant?"


def _check_sparsity(checkpoint: Checkpoint, report: masks.SparsityReport) -> None:
    measured = report.scope(checkpoint.sparsity_scope)
    if checkpoint.method != "dense" and abs(measured - checkpoint.sparsity) > SPARSITY_TOLERANCE:
        raise CheckpointError(
            f"checkpoint {checkpoint.id} claims sparsity {checkpoint.sparsity:g} but measures {measured:.4f}"
            f" (scope {checkpoint.sparsity_scope})",
            _scope_hint(checkpoint, report),
        )
    exact = checkpoint.sparsity_exact
    if exact is not None and checkpoint.method != "dense" and abs(measured - exact) > EXACT_TOLERANCE:
        raise CheckpointError(
            f"checkpoint {checkpoint.id} has sparsity_exact {exact} but measures {measured:.8f}"
            f" (scope {checkpoint.sparsity_scope})",
            "correct the entry, or get the file that it means",
        )
