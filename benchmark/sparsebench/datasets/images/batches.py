"""Batches of 8-bit images: in order for evaluation, shuffled and augmented by epoch for training.

Each training image's augmentation comes from a generator keyed by seed, epoch and position, so no number depends on how
many threads decode, or on which epochs were run before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..base import Split
from .decode import read_pixels
from .transforms import Transform

if TYPE_CHECKING:
    import torch

    from .decode import Picture

MEMORY = 512 * 2**20
"""Bytes of decoded images that :class:`EpochBatches` keeps by default."""

_ORDER, _SAMPLE = 0, 1  # counters of separate streams under one key
_WORD = 2**64


def read_picture(split: Split, i: int, decoder: str) -> Picture:
    """Return image ``i``: with the decoder ``fast``, uint8 pixels (3, H, W) where it is a file; else an Image."""
    return read_pixels(split.file(i)) if decoder == "fast" and split.file is not None else split.load(i)


def evaluation_batches(
    split: Split,
    transform: Transform,
    batch_size: int,
    *,
    workers: int | None = 0,
    decoder: str = "pillow",
    first: int = 0,
    every: int = 1,
) -> Iterator[torch.Tensor]:
    """Yield a split's images in order, as evaluation sees them.

    Parameters
    ----------
    first, every : int
        Yield the batch of this number, and each such one after it: the share of one of several processes.
    workers : int or None
        Threads that decode the next batch while this one is used; the images don't depend on it, and about two batches
        are held at a time. 0 decodes here, when a batch is asked for. None is one thread where images are files or
        rendered, and 0 where they are in memory, and a thread costs more than it saves.
    decoder : str
        ``pillow``, or ``fast`` (see :func:`read_picture`).

    Yields
    ------
    Tensor
        uint8, shape (B, 3, S, S); the last batch may be smaller.
    """

    def view(i: int) -> torch.Tensor:
        return transform.evaluate(read_picture(split, i, decoder))

    chunks = _chunks(np.arange(len(split)), batch_size)[first::every]
    yield from _stacked(view, chunks, threads_for(split, workers))


@dataclass
class EpochBatches:
    """A split's images for training, epoch by epoch.

    Parameters
    ----------
    split : Split
        The images.
    transform : Transform
        Crop and augmentation.
    batch_size : int
        Images a batch; an epoch's last batch may be smaller.
    seed : int
        Order and augmentation follow from it and from the epoch.
    workers : int or None
        Threads that decode, as in :func:`evaluation_batches`; no number depends on it.
    memory : int
        Bytes of decoded images that may be kept between epochs.
    decoder : str
        ``pillow``, or ``fast`` (see :func:`read_picture`).
    """

    split: Split
    transform: Transform
    batch_size: int
    seed: int
    workers: int | None = 0
    memory: int = MEMORY
    decoder: str = "pillow"
    _views: torch.Tensor | None = field(default=None, init=False, repr=False)
    _images: dict[int, Picture] = field(default_factory=dict, init=False, repr=False)
    _held: int = field(default=0, init=False, repr=False)

    def __len__(self) -> int:
        """Return the number of batches an epoch."""
        return -(-len(self.split) // self.batch_size)

    def order(self, epoch: int) -> npt.NDArray[np.int64]:
        """Return the order of an epoch (from 0): a permutation of the split's indices."""
        words = _bits(self.seed, epoch, _ORDER).random_raw(len(self.split))
        return np.argsort(words, kind="stable")

    def epoch(self, epoch: int, first: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield an epoch's batches from number ``first`` on, as :meth:`at` does."""
        yield from self.at(epoch, _chunks(np.arange(len(self.split)), self.batch_size)[first:])

    def at(self, epoch: int, positions: Sequence[npt.NDArray[np.int64]]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the images at some positions of an epoch's order, batch after batch.

        Yields
        ------
        Tensor, Tensor
            uint8 images, shape (B, 3, S, S), and int64 labels, shape (B,).
        """
        import torch

        order = self.order(epoch)
        made = self._resident if self._fits() else self._decoded
        for images, chosen in zip(made(epoch, order, positions), positions, strict=True):
            yield images, torch.from_numpy(self.split.labels[order[chosen]])

    def _fits(self) -> bool:
        size = self.transform.preprocess.input_size
        return self.transform.varies_evaluated and len(self.split) * 3 * size * size <= self.memory

    def _resident(
        self, epoch: int, order: npt.NDArray[np.int64], batches: Sequence[npt.NDArray[np.int64]]
    ) -> Iterator[torch.Tensor]:
        """All images decoded once and kept as one tensor; a batch is varied at once."""
        import torch

        if self._views is None:
            self._views = torch.cat(
                list(
                    evaluation_batches(
                        self.split, self.transform, self.batch_size, workers=self.workers, decoder=self.decoder
                    )
                )
            )
        for positions in batches:
            generators = [sample_generator(self.seed, epoch, int(position)) for position in positions]
            yield self.transform.vary(self._views[torch.from_numpy(order[positions])], generators)

    def _decoded(
        self, epoch: int, order: npt.NDArray[np.int64], batches: Sequence[npt.NDArray[np.int64]]
    ) -> Iterator[torch.Tensor]:
        """Images decoded as they are needed, and kept as far as the memory allows."""

        def view(position: int) -> torch.Tensor:
            image = self._image(int(order[position]))
            return self.transform.train(image, sample_generator(self.seed, epoch, position))

        return _stacked(view, batches, threads_for(self.split, self.workers))

    def _image(self, i: int) -> Picture:
        image = self._images.get(i)
        if image is None:
            image = read_picture(self.split, i, self.decoder)
            size = 3 * image.width * image.height if isinstance(image, Image.Image) else image.numel()
            if self._held + size <= self.memory:
                self._held += size
                self._images[i] = image
        return image


def threads_for(split: Split, workers: int | None) -> int:
    """Return how many threads decode a split: those asked for, or one where its images are files or rendered."""
    return workers if workers is not None else int(split.file is not None or split.rendered is not None)


def sample_generator(seed: int, epoch: int, position: int) -> np.random.Generator:
    """Return the generator of the image at a position of an epoch's order (Philox: Salmon et al., 2011)."""
    return np.random.Generator(_bits(seed, epoch, _SAMPLE, position))


def _bits(seed: int, epoch: int, stream: int, position: int = 0) -> np.random.Philox:
    """Streams that never meet: the lowest two counter words are left for drawing."""
    key = np.array([seed % _WORD, epoch], dtype=np.uint64)
    counter = np.array([0, 0, stream, position], dtype=np.uint64)
    return np.random.Philox(key=key, counter=counter)


def _chunks(indices: npt.NDArray[np.int64], size: int) -> list[npt.NDArray[np.int64]]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def _stacked(
    view: Callable[[int], torch.Tensor], chunks: Sequence[npt.NDArray[np.int64]], workers: int
) -> Iterator[torch.Tensor]:
    """Yield each chunk's views as one tensor; with threads, the next chunk is made while this one is used."""
    import torch

    if workers <= 0:
        for chunk in chunks:
            yield torch.stack([view(int(i)) for i in chunk])
        return
    with ThreadPoolExecutor(max_workers=workers) as pool:
        ahead = [pool.submit(view, int(i)) for i in chunks[0]] if chunks else []
        for number in range(len(chunks)):
            now, following = ahead, chunks[number + 1] if number + 1 < len(chunks) else ()
            ahead = [pool.submit(view, int(i)) for i in following]
            yield torch.stack([job.result() for job in now])
