"""Batches on their way to a network: pinned memory, normalisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...schema import Numerics

if TYPE_CHECKING:
    from ...datasets.images.transforms import Transform

Batch = tuple[Tensor, Tensor]


def to_network(images: Tensor, transform: Transform, device: torch.device, numerics: Numerics) -> Tensor:
    """Move a uint8 batch to the device (on CUDA while the host goes on) and normalise it there, as float32."""
    batch = to_device(images, device)
    return transform.normalise(batch, device=device, dtype=torch.float32, channels_last=numerics.channels_last)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Move a tensor to the device, through pinned memory where that is CUDA."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
