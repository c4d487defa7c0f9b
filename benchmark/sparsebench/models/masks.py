"""Fixed sparsity masks: which weights can be pruned, which are, holding them at zero, and proving it.

A mask is a bool tensor of its parameter's shape, True where the weight is kept. Masks are kept in a dict under the
parameter's name; a layer that is not pruned has no entry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from ..schema import CheckpointError, MaskError, MaskProof

Masks = Mapping[str, Tensor]

MaskSource = Literal["file", "zeros"]
"""Where a mask is from: the checkpoint's file, or the places where the weight is zero."""

PRUNABLE_TYPES = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
"""Layers whose weight counts as prunable; biases and normalisation never do."""

_ATTENTION_WEIGHTS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
"""The linear weights that torch's own attention keeps outside of a linear layer."""

DENSE_BELOW = 0.01
"""A layer without a mask of its own, whose weights are zero in less than this fraction, is dense: zeros by chance."""


def prunable(module: nn.Module, exempt: Iterable[str] = ()) -> dict[str, Tensor]:
    """Return the weights that may be pruned, by parameter name, in the module's order.

    These are the weights of convolutions and linear layers, attention's projections included.

    Parameters
    ----------
    module : nn.Module
        A network, with or without its head.
    exempt : iterable of str
        Names of layers (``conv1``, ``fc``) to leave out.
    """
    left_out = set(exempt)
    found: dict[str, Tensor] = {}
    for layer_name, layer in module.named_modules():
        attention = isinstance(layer, nn.MultiheadAttention)
        for leaf in _ATTENTION_WEIGHTS if attention else ("weight",) if isinstance(layer, PRUNABLE_TYPES) else ():
            name = f"{layer_name}.{leaf}" if layer_name else leaf
            weight = getattr(layer, leaf)
            if weight is not None and layer_of(name) not in left_out:
                found[name] = weight
    return found


def layer_of(name: str) -> str:
    """Return the layer that a prunable weight is known by: ``conv1`` for ``conv1.weight``."""
    return name.removesuffix(".weight")


def zeros_in(tensor: Tensor) -> int:
    """Count zeros, four times as fast as by a sum."""
    return int(torch.count_nonzero(tensor.detach() == 0))


@dataclass(frozen=True)
class FoundMasks:
    """The masks of a network, and where each of them is from."""

    masks: dict[str, Tensor] = field(default_factory=dict)
    sources: dict[str, MaskSource] = field(default_factory=dict)

    def only(self, names: Iterable[str]) -> FoundMasks:
        """Return the masks of some parameters."""
        kept = set(names)
        return FoundMasks(
            {name: mask for name, mask in self.masks.items() if name in kept},
            {name: source for name, source in self.sources.items() if name in kept},
        )


def find(module: nn.Module, own: Masks | None = None, exempt: Iterable[str] = ()) -> FoundMasks:
    """Return a network's masks: for each prunable layer the file's own, else where its weights are zero.

    A layer without a mask whose weights are zero in less than :data:`DENSE_BELOW` is dense, whichever layer it is. A
    mask of ones over a layer with more zeros than that says nothing: files are wrapped in such masks after training.

    Parameters
    ----------
    module : nn.Module
        The network, with its weights loaded.
    own : mapping of str to Tensor, optional
        The file's own masks, by parameter name. A mask of a bias or of normalisation counts too.
    exempt : iterable of str
        Layers that are known not to be pruned: zeros there are chance.

    Raises
    ------
    CheckpointError
        If a mask is of no parameter of that shape.
    """
    parameters = dict(module.named_parameters())
    candidates = {name: w for name, w in prunable(module, exempt).items() if _is_pruned(w)}
    masks: dict[str, Tensor] = {}
    for name, mask in (own or {}).items():
        if name not in parameters or parameters[name].shape != mask.shape:
            raise CheckpointError(
                f"the file has a mask of shape {tuple(mask.shape)} for {name}, but the network has no such parameter",
                "give the architecture that the file was saved from",
            )
        if name not in candidates or not bool(mask.all()):
            masks[name] = mask
    sources: dict[str, MaskSource] = dict.fromkeys(masks, "file")
    for name, weight in candidates.items():
        if name not in masks:
            masks[name], sources[name] = weight.detach() != 0, "zeros"
    return FoundMasks(masks, sources)


def _is_pruned(weight: Tensor) -> bool:
    return zeros_in(weight) >= max(1.0, DENSE_BELOW * weight.numel())


def apply(module: nn.Module, masks: Masks) -> None:
    """Set every masked weight of ``module`` to (positive) zero, in place."""
    parameters = dict(module.named_parameters())
    with torch.no_grad():
        for name, mask in masks.items():
            parameters[name].masked_fill_(~mask.to(parameters[name].device), 0.0)


class MaskHolder:
    """Holds a network's masked weights, and the optimizer's momentum there, at zero during training.

    Multiplying weights and momentum by the mask after each step equals training with masked gradients from a clean
    start, and also cleans a momentum that wasn't. The products are one fused call each, 0.1-0.2 % of a step.

    Parameters
    ----------
    module : nn.Module
        The network in training; masks are moved to its device and memory format.
    masks : mapping of str to Tensor
        Parameter names to bool masks.
    optimizer : torch.optim.Optimizer, optional
        Its momentum buffers are masked too.
    """

    def __init__(self, module: nn.Module, masks: Masks, optimizer: torch.optim.Optimizer | None = None) -> None:
        parameters = dict(module.named_parameters())
        self._weights: list[Tensor] = [parameters[name] for name in masks]
        self._masks = [
            torch.empty_like(weight, requires_grad=False).copy_(mask)
            for weight, mask in zip(self._weights, masks.values(), strict=True)
        ]
        self._optimizer = optimizer

    @torch.no_grad()
    def hold(self) -> None:
        """Set masked weights and their momentum to zero; call after every optimizer step."""
        if not self._weights:
            return
        torch._foreach_mul_(self._weights, self._masks)
        if self._optimizer is None:
            return
        buffers, masks = [], []
        for weight, mask in zip(self._weights, self._masks, strict=True):
            state = self._optimizer.state.get(weight, {})
            for value in state.values():
                if isinstance(value, Tensor) and value.shape == weight.shape:
                    buffers.append(value)
                    masks.append(mask)
        if buffers:
            torch._foreach_mul_(buffers, masks)


def prove(module: nn.Module, masks: Masks) -> MaskProof:
    """Count the masked weights that are not zero.

    Raises
    ------
    MaskError
        If there is one (NaN counts as not zero), naming the first such layer.
    """
    parameters = dict(module.named_parameters())
    masked = nonzero = 0
    worst = None
    for name, mask in masks.items():
        off = parameters[name].detach().cpu()[~mask.cpu()]
        count = int(torch.count_nonzero(off))
        masked += off.numel()
        nonzero += count
        if count and worst is None:
            worst = f"{name} ({count} of {off.numel()})"
    if nonzero:
        raise MaskError(f"{nonzero} masked weights are not zero, first in {worst}", "the sparsity pattern was not held")
    return MaskProof(masked=masked, nonzero=nonzero)


PATTERNS = (2, 4, 8, 16)
"""Group sizes M in which :func:`pattern` looks for N:M sparsity."""


def pattern(masks: Masks) -> str | None:
    """Return the N:M pattern that masks follow, ``2:4``, or None.

    Groups are of M consecutive input channels (a linear layer's inputs). Every group of every weight's mask must keep
    at most N weights, and nine in ten exactly N, so that a mask that is only very sparse is not taken for a pattern.
    """
    found = []
    weights = [mask for mask in masks.values() if mask.ndim >= 2]
    for m in PATTERNS:
        counts = []
        for mask in weights:
            rows = mask.movedim(1, -1).reshape(-1)
            if rows.numel() % m:
                break
            counts.append(rows.view(-1, m).sum(1))
        else:
            kept = torch.cat(counts) if counts else torch.zeros(1)
            n = int(kept.max())
            if 0 < n < m and float((kept == n).float().mean()) >= 0.9:
                found.append(f"{n}:{m}")
    return found[0] if found else None


def sha256(masks: Masks) -> str:
    """Return a content hash of masks: names, shapes and bits."""
    value = hashlib.sha256()
    for name in sorted(masks):
        mask = masks[name].cpu().contiguous()
        value.update(f"{name}{tuple(mask.shape)}".encode())
        value.update(mask.numpy().tobytes())
    return value.hexdigest()
