"""Batches on their way to a network: the lone last image, pinned memory, normalisation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ...schema import Numerics

if TYPE_CHECKING:
    from ...datasets.images.transforms import Transform

Batch = tuple[Tensor, Tensor]


def join_lone_last(batches: Iterable[Batch]) -> Iterator[Batch]:
    """Yield batches as they come, a last one of a single image joined to the one before it.

    Batch normalisation in train mode has no variance over one image's 1x1 map. The order of images stays as it was.
    """
    before: Batch | None = None
    for images, labels in batches:
        if before is None:
            before = (images, labels)
        elif len(labels) == 1 < len(before[1]):
            before = (torch.cat([before[0], images]), torch.cat([before[1], labels]))
        else:
            yield before
            before = (images, labels)
    if before is not None:
        yield before


def batch_sizes(count: int, batch_size: int) -> list[int]:
    """Return the sizes of an epoch's batches of ``count`` images as :func:`join_lone_last` leaves them."""
    sizes = [min(batch_size, count - start) for start in range(0, count, batch_size)]
    if len(sizes) > 1 and sizes[-1] == 1 < sizes[-2]:
        sizes[-2:] = [sizes[-2] + 1]
    return sizes


def parts_of(batch: Batch, size: int | None) -> list[Batch]:
    """Return a batch in parts of ``size`` images; a lone last image is joined to the part before it."""
    images, labels = batch
    if size is None or size >= len(labels):
        return [batch]
    return list(join_lone_last(zip(images.split(size), labels.split(size), strict=True)))


def to_network(images: Tensor, transform: Transform, device: torch.device, numerics: Numerics) -> Tensor:
    """Move a uint8 batch to the device (on CUDA while the host goes on) and normalise it there, as float32."""
    batch = to_device(images, device)
    return transform.normalise(batch, device=device, dtype=torch.float32, channels_last=numerics.channels_last)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Move a tensor to the device, through pinned memory where that is CUDA."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
