"""The images of upstream data: decoded once into memory, or batch by batch on threads, a few batches ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

Report = Callable[[int, int], None]
"""``report(done, total)``: progress of something long."""

AHEAD = 3
"""Batches that :func:`in_batches` decodes ahead of the one in use."""

_REPORT_EVERY = 256

T = TypeVar("T")


class Images(Protocol):
    """What images are indexed like: a tensor ``(n, H, W, 3)`` of uint8, or something that decodes when asked."""

    @property
    def shape(self) -> tuple[int, ...]:
        """``(n, H, W, 3)``."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: Any, /) -> Tensor:
        """Return the images of a slice or of a 1-D index tensor: ``(B, H, W, 3)`` uint8."""


@dataclass(frozen=True)
class Part:
    """One split before it is decoded.

    Parameters
    ----------
    labels : Tensor, shape (n,), int64
        Classes.
    load : callable
        ``load(i)`` decodes image ``i`` to RGB, or raises a DatasetError that names it.
    """

    labels: Tensor
    load: Callable[[int], Image.Image]

    def __len__(self) -> int:
        return len(self.labels)

    def decode(self, i: int, size: int) -> npt.NDArray[np.uint8]:
        """Return image ``i``, its short side resized to ``size`` and its centre cropped: ``(size, size, 3)``."""
        rgb = self.load(i)
        if rgb.size != (size, size):
            scale = size / min(rgb.size)
            width, height = (max(size, round(side * scale)) for side in rgb.size)
            left, top = (width - size) // 2, (height - size) // 2
            rgb = rgb.resize((width, height), Image.Resampling.BILINEAR).crop((left, top, left + size, top + size))
        return np.asarray(rgb)


class OnDemand:
    """Images that are decoded on threads whenever they are asked for, and not kept.

    Parameters
    ----------
    part : Part
        What to decode.
    size : int
        Height and width in pixels.
    """

    def __init__(self, part: Part, size: int) -> None:
        self.part = part
        self.shape = (len(part), size, size, 3)
        self._pool = ThreadPoolExecutor(thread_name_prefix="decode")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: slice | Tensor, /) -> Tensor:
        return next(self.in_batches([index]))

    def in_batches(self, indices: Iterable[slice | Tensor]) -> Iterator[Tensor]:
        """Yield the images of each index; the next :data:`AHEAD` are decoded while one is used."""
        waiting: deque[list[Future[npt.NDArray[np.uint8]]]] = deque()
        try:
            for index in indices:
                waiting.append(self._submit(index))
                if len(waiting) > AHEAD:
                    yield self._collect(waiting)
            while waiting:
                yield self._collect(waiting)
        finally:
            for job in (job for batch in waiting for job in batch):
                job.cancel()

    def _submit(self, index: slice | Tensor) -> list[Future[npt.NDArray[np.uint8]]]:
        chosen = range(len(self))[index] if isinstance(index, slice) else index.tolist()
        return [self._pool.submit(self.part.decode, i, self.shape[1]) for i in chosen]

    def _collect(self, waiting: deque[list[Future[npt.NDArray[np.uint8]]]]) -> Tensor:
        images = np.empty((len(waiting[0]), *self.shape[1:]), dtype=np.uint8)
        for row, job in enumerate(waiting[0]):
            images[row] = job.result()
        waiting.popleft()
        return torch.from_numpy(images)


def in_batches(images: Images, indices: Iterable[slice | Tensor]) -> Iterator[Tensor]:
    """Yield the images of each index, decoded ahead where they aren't in memory.

    Parameters
    ----------
    images : Images
        A tensor, or images decoded on demand.
    indices : iterable of slice or Tensor
        What each batch holds.

    Yields
    ------
    Tensor
        Shape (B, H, W, 3), uint8.
    """
    if isinstance(images, OnDemand):
        yield from images.in_batches(indices)
    else:
        for index in indices:
            yield images[index]


def decode_all(parts: Iterable[Part], size: int, report: Report | None = None) -> list[Tensor]:
    """Decode splits into memory.

    Parameters
    ----------
    parts : iterable of Part
        The splits.
    size : int
        Height and width in pixels.
    report : callable, optional
        Progress over all images of all splits.

    Returns
    -------
    list of Tensor
        For each split its images, shape (n, size, size, 3), uint8.
    """
    jobs = [(part, torch.empty((len(part), size, size, 3), dtype=torch.uint8)) for part in parts]
    places = [(part, images.numpy(), i) for part, images in jobs for i in range(len(part))]

    def work(place: tuple[Part, npt.NDArray[np.uint8], int]) -> None:
        part, images, i = place
        images[i] = part.decode(i, size)

    on_threads(work, places, report)
    return [images for _, images in jobs]


def on_threads(work: Callable[[Any], T], items: Iterable[Any], report: Report | None = None) -> list[T]:
    """Return ``work`` of each item, in order, done on threads; the first error ends it."""
    items = list(items)
    results: list[T] = []
    with ThreadPoolExecutor() as pool:
        for result in pool.map(work, items):
            results.append(result)
            if report is not None and (len(results) % _REPORT_EVERY == 0 or len(results) == len(items)):
                report(len(results), len(items))
    return results
