"""Load a checkpoint, registered or a user's own file, as a backbone: module, masks, preprocessing, description."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from . import backbones, masks
from .backbones import Architecture
from .downloads import locate
from .formats import RawCheckpoint, architecture_of, complete, read_checkpoint
from .names import plain_id
from .registry import Registry
from .schema import Checkpoint, CheckpointError, FileSource, InputError, Preprocess, SparsityScope, Upstream, nearest

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
    (inferred) or ``none`` (dense).
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
    raw = read_checkpoint(path, checkpoint.format, checkpoint.sparsity or None, checkpoint.nm)
    if not raw.state:
        if checkpoint.base is None:
            raise _without_weights(path)
        base = locate(checkpoint.files()[-1])
        raw = complete(raw, read_checkpoint(base))
    model, architecture, head_name, classes = _fit(checkpoint.arch, raw, path)
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
    head_free = _without(model.state_dict(), head_name)
    info = BackboneInfo(
        checkpoint=checkpoint,
        arch=str(architecture),
        path=path,
        format=raw.format,
        mask_source=source,
        feature_dim=_feature_dim(model, head_name if head and classes is not None else None, preprocess),
        head_name=head_name,
        num_classes=classes,
        used_keys=len(raw.state),
        unused_keys=raw.unused,
        weights_sha256=state_sha256(head_free),
        mask_sha256=masks.sha256(_without(found, head_name)),
        sparsity=report,
    )
    return Backbone(model, found, preprocess, info)


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
    model, architecture, head_name, _ = _fit(name, raw, path)
    found, _ = _find_masks(model, raw, (), dense=False)
    meta: Mapping[str, Any] = raw.meta
    exempt = tuple(meta.get("exempt", ())) if "exempt" in meta else _dense_ends(model, head_name)
    measured = masks.measure(model, found, exempt).scope("prunable")
    try:
        return Checkpoint(
            id=plain_id(path.stem, "checkpoint"),
            method=str(meta.get("method", "custom")) if found else "dense",
            arch=str(architecture) if arch is None else arch,
            sparsity=min(0.9999, round(float(meta.get("sparsity") or measured), 4)) if found else 0.0,
            sparsity_scope=meta.get("sparsity_scope", "prunable"),
            distribution=meta.get("distribution", "learned") if found else "dense",
            nm=meta.get("nm") if found else None,
            exempt=exempt if found else (),
            reference=meta.get("reference") if found else None,
            file=FileSource(path=str(path.resolve())),
            preprocess=Preprocess.model_validate(meta["preprocess"]) if "preprocess" in meta else None,
            upstream=Upstream.model_validate(meta["upstream"]) if "upstream" in meta else None,
        )
    except (ValidationError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} describes itself wrongly: {str(error).splitlines()[0]}") from error


def _without_weights(path: Path) -> CheckpointError:
    return CheckpointError(f"{path} holds masks but no weights", "register it with the base that it is of")


def _dense_ends(model: nn.Module, head_name: str) -> tuple[str, ...]:
    """Return those of the first convolution and the head that hold no zero: methods often leave them dense."""
    weights = masks.prunable(model)
    ends = (next(iter(weights), ""), f"{head_name}.weight")
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


def _without(tensors: Mapping[str, Tensor], layer: str) -> dict[str, Tensor]:
    return {name: value for name, value in tensors.items() if not name.startswith(f"{layer}.")}


def _feature_dim(model: nn.Module, head_name: str | None, preprocess: Preprocess) -> int:
    if head_name is not None:
        return int(model.get_submodule(head_name).in_features)  # type: ignore[arg-type]
    return backbones.feature_dim(model, preprocess.input_size)


def _fit(arch: str, raw: RawCheckpoint, path: Path) -> tuple[nn.Module, Architecture, str, int | None]:
    """Build the architecture that the file's keys fit and load them strictly; a missing head alone is allowed."""
    problems = []
    for architecture in backbones.find(arch):
        with torch.random.fork_rng(devices=[]), torch.device("meta"), backbones.Undrawn():
            template = backbones.build(architecture, 2)
        head_name = backbones.head_name(template, architecture)
        weight = raw.state.get(f"{head_name}.weight")
        classes = int(weight.shape[0]) if weight is not None else None
        with torch.random.fork_rng(devices=[]), backbones.Undrawn():
            model = backbones.build(architecture, classes or 2)
        problem = mismatch(model, raw.state, optional=head_name)
        if problem is None:
            model.load_state_dict(raw.state, strict=False)
            return model, architecture, head_name, classes
        problems.append((problem.count, f"{architecture}: {problem.text}"))
    _, text = min(problems)
    raise CheckpointError(f"{path} doesn't fit architecture {text}", "give the architecture the file was saved from")


@dataclass(frozen=True)
class Mismatch:
    """How many keys of a state dict don't fit a model, and which, in words."""

    count: int
    text: str


def mismatch(model: nn.Module, state: Mapping[str, Tensor], *, optional: str | None = None) -> Mismatch | None:
    """Return how the keys and shapes of a state dict differ from a model's; None if they fit.

    Step counters may be missing (old files have none), and so may the layer ``optional`` as a whole.
    """
    wanted = model.state_dict()
    missing = [k for k in wanted if k not in state and not k.endswith("num_batches_tracked")]
    if optional is not None and f"{optional}.weight" not in state:
        missing = [k for k in missing if not k.startswith(f"{optional}.")]
    extra = [k for k in state if k not in wanted]
    wrong = [k for k, v in state.items() if k in wanted and v.shape != wanted[k].shape]
    parts = []
    for what, keys in (("missing", missing), ("unexpected", extra)):
        if keys:
            parts.append(f"{len(keys)} keys {what} ({_some(keys)})")
    if wrong:
        k = wrong[0]
        parts.append(f"{len(wrong)} of another shape ({k}: {tuple(state[k].shape)}, not {tuple(wanted[k].shape)})")
    return Mismatch(len(missing) + len(extra) + len(wrong), ", ".join(parts)) if parts else None


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")


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
