"""Kinds of tensors: what can be made plain without loss is, and of what can't the kind is named."""

from __future__ import annotations

import torch
from torch import Tensor

from ...schema import CheckpointError
from .budget import Budget

_SPARSE = (torch.sparse_coo, torch.sparse_csr, torch.sparse_csc, torch.sparse_bsr, torch.sparse_bsc)


def plain(name: str, value: Tensor, budget: Budget) -> Tensor:
    """Return a tensor as a dense one without a gradient, floating point numbers in float32, others as they are.

    Sparse layouts are made dense. Whole numbers stay what they are: only the architecture says where they belong.

    Raises
    ------
    CheckpointError
        If it is quantised, complex, nested, on the meta device, or would take more memory than the budget.
    """
    reason = _unusable(value)
    if reason is not None:
        raise CheckpointError(f"tensor {name} {reason[0]}", reason[1])
    budget.check(4 * value.numel(), f"tensor {name}")
    value = value.detach()
    if value.layout in _SPARSE:
        value = value.to_dense()
    elif value.layout != torch.strided:
        raise CheckpointError(f"tensor {name} has layout {value.layout}", "save it as a dense tensor: .to_dense()")
    return value.float().resolve_neg() if value.is_floating_point() else value


def size_of(value: Tensor) -> int:
    """Return how many bytes a tensor takes as a dense one of float32, without looking at its values."""
    return 0 if value.is_nested else 4 * value.numel()


def _unusable(value: Tensor) -> tuple[str, str] | None:
    """Return what is wrong with a tensor and what to do, None if nothing is."""
    if value.is_nested:
        return "is nested: it has no one shape", "save the weights as ordinary tensors"
    if value.is_quantized:
        return f"is quantised ({_short(value.dtype)})", "save the weights as floating point numbers: .dequantize()"
    if value.is_meta:
        return "has no values: it was saved from the meta device", "save the network after its weights are loaded"
    if value.is_complex():
        return f"is complex ({_short(value.dtype)})", "save real weights: a complex layer is not one of a known network"
    return None


def check_numbers(name: str, value: Tensor, wanted: Tensor) -> None:
    """Check that a tensor's numbers are of the kind that the architecture's are.

    Raises
    ------
    CheckpointError
        If there are whole numbers where weights belong: they were quantised, and their scale isn't in the tensor; or if
        there are other numbers where whole ones belong.
    """
    if wanted.is_floating_point() and not value.is_floating_point():
        raise CheckpointError(
            f"{name} holds whole numbers ({_short(value.dtype)}), not weights: their scale is missing",
            "save the weights as floating point numbers",
        )
    if value.is_floating_point() and not wanted.is_floating_point() and not bool((value == value.round()).all()):
        raise CheckpointError(f"{name} must hold whole numbers, but holds others", "save the network anew")


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
