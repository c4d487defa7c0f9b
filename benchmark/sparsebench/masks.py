"""Fixed sparsity masks: which weights can be pruned, which are, holding them at zero, proving it, and counting.

A mask is a bool tensor of its weight's shape, True where the weight is kept. Masks are kept in a dict under the
parameter's name; a layer that the method exempts has no entry.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .schema import MaskError, MaskProof

Masks = Mapping[str, Tensor]

PRUNABLE_TYPES = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
"""Layers whose weight counts as prunable; biases and normalisation never do."""

DENSE_BELOW = 0.01
"""A file without masks whose prunable weights are zero in less than this fraction is dense: chance zeros stay free."""


def prunable(module: nn.Module, exempt: Iterable[str] = ()) -> dict[str, Tensor]:
    """Return the weights that may be pruned, by parameter name, in the module's order.

    Parameters
    ----------
    module : nn.Module
        A network, with or without its head.
    exempt : iterable of str
        Names of layers (``conv1``, ``fc``) to leave out.
    """
    left_out = set(exempt)
    return {
        f"{name}.weight": layer.weight
        for name, layer in module.named_modules()
        if isinstance(layer, PRUNABLE_TYPES) and name not in left_out and layer.weight is not None
    }


def zeros_in(tensor: Tensor) -> int:
    """Count zeros, four times as fast as by a sum."""
    return int(torch.count_nonzero(tensor.detach() == 0))


def infer(module: nn.Module, exempt: Iterable[str] = ()) -> dict[str, Tensor]:
    """Return masks where a network's prunable weights are zero.

    A layer without any zero gets no entry; a network with less than :data:`DENSE_BELOW` zeros gets none at all.
    """
    weights = prunable(module, exempt)
    zeros = sum(zeros_in(w) for w in weights.values())
    if zeros < DENSE_BELOW * max(1, sum(w.numel() for w in weights.values())):
        return {}
    return {name: w.detach() != 0 for name, w in weights.items() if bool((w == 0).any())}


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

    Groups are of M consecutive input channels (a linear layer's inputs). Every group of every mask must keep at most N
    weights, and nine in ten exactly N, so that a mask that is only very sparse is not taken for a pattern.
    """
    found = []
    for m in PATTERNS:
        counts = []
        for mask in masks.values():
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


@dataclass(frozen=True)
class LayerSparsity:
    """One weight's count of zeros, whether it has a mask, and whether the method exempts it."""

    name: str
    shape: tuple[int, ...]
    weights: int
    zeros: int
    masked: bool
    exempt: bool

    @property
    def sparsity(self) -> float:
        """Fraction of zeros."""
        return self.zeros / self.weights


@dataclass(frozen=True)
class SparsityReport:
    """A network's zeros, counted, by layer and under each scope (see :data:`~sparsebench.schema.SparsityScope`)."""

    layers: tuple[LayerSparsity, ...]
    params: int
    zeros: int

    def scope(self, name: str) -> float:
        """Return the sparsity under a scope: ``prunable``, ``pruned_layers`` or ``all_params``."""
        if name == "all_params":
            return self.zeros / max(1, self.params)
        layers = [layer for layer in self.layers if not layer.exempt]
        if name == "pruned_layers":
            layers = [layer for layer in self.layers if layer.masked and layer.zeros]
        elif name != "prunable":
            raise ValueError(f"unknown sparsity scope {name!r}")
        return sum(layer.zeros for layer in layers) / max(1, sum(layer.weights for layer in layers))


def measure(module: nn.Module, masks: Masks, exempt: Iterable[str] = ()) -> SparsityReport:
    """Count zeros in a network's weights.

    Parameters
    ----------
    module : nn.Module
        The network.
    masks : mapping of str to Tensor
        Its masks.
    exempt : iterable of str
        Layers that the method may not prune; all others are what ``prunable`` is a fraction of.
    """
    left_out = {f"{name}.weight" for name in exempt}
    layers = []
    for name, weight in prunable(module).items():
        zeros = zeros_in(weight)
        layers.append(LayerSparsity(name, tuple(weight.shape), weight.numel(), zeros, name in masks, name in left_out))
    params = sum(p.numel() for p in module.parameters())
    zeros = sum(zeros_in(p) for p in module.parameters())
    return SparsityReport(tuple(layers), params, zeros)
