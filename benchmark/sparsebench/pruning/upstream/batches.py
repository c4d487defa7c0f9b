"""Batches of upstream images: shuffled, shifted and flipped for training, or as they are for calibration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .images import Images, in_batches


@dataclass(frozen=True)
class Normalise:
    """Turn a uint8 batch ``(B, H, W, 3)`` into a network's input ``(B, 3, H, W)`` in channels_last memory."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, batch: Tensor, device: torch.device) -> Tensor:
        """Normalise on ``device``."""
        mean = torch.tensor(self.mean, device=device).mul(255).view(1, 3, 1, 1)
        std = torch.tensor(self.std, device=device).mul(255).view(1, 3, 1, 1)
        return (batch.to(device).permute(0, 3, 1, 2).float() - mean) / std


class Batches:
    """Shuffled training batches with random shifts and flips, the same for the same seed and epoch.

    Parameters
    ----------
    images : Images, shape (n, H, W, 3), uint8
        Training images, square.
    labels : Tensor, shape (n,), int64
        Their classes.
    normalise : Normalise
        Mean and standard deviation.
    batch_size : int
        Images a batch; a last smaller batch is left out.
    seed : int
        Seed of order and augmentation.
    shift : int
        Largest shift in pixels; the border is reflected.
    augment : bool
        Whether images are shifted and flipped at all.
    """

    def __init__(
        self,
        images: Images,
        labels: Tensor,
        normalise: Normalise,
        *,
        batch_size: int,
        seed: int,
        shift: int = 4,
        augment: bool = True,
    ) -> None:
        self.images = images
        self.labels = labels
        self.normalise = normalise
        self.batch_size = batch_size
        self.seed = seed
        self.shift = shift
        self.augment = augment

    def __len__(self) -> int:
        return len(self.labels) // self.batch_size

    def epoch(self, epoch: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the batches ``(images (B, 3, H, W) float, labels (B,))`` of a 0-based epoch."""
        generator = torch.Generator().manual_seed((self.seed << 20) + epoch)
        order = torch.randperm(len(self.labels), generator=generator)
        indices = order[: len(self) * self.batch_size].split(self.batch_size) if len(self) else ()
        for index, batch in zip(indices, in_batches(self.images, indices), strict=True):
            shown = self._augment(batch, generator) if self.augment else batch
            yield self.normalise(shown, device), self.labels[index].to(device)

    def sample(self, count: int, size: int, seed: int, device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield training images as they are, without augmentation, drawn without replacement.

        Parameters
        ----------
        count : int
            How many batches.
        size : int
            Images a batch, at most as many as there are. When a whole batch is no longer left, all images are drawn
            from anew, so that no batch holds an image twice.
        seed : int
            What the draw follows from.
        device : torch.device
            Where the batches go.

        Yields
        ------
        tuple of Tensor
            Images (B, 3, H, W) float, normalised, and labels (B,).
        """
        indices = self._draw(count, min(size, len(self.labels)), seed)
        for index, batch in zip(indices, in_batches(self.images, indices), strict=True):
            yield self.normalise(batch, device), self.labels[index].to(device)

    def _draw(self, count: int, size: int, seed: int) -> list[Tensor]:
        generator = torch.Generator().manual_seed(seed)
        indices: list[Tensor] = []
        while len(indices) < count:
            order = torch.randperm(len(self.labels), generator=generator)
            indices += [batch for batch in order.split(size) if len(batch) == size][: count - len(indices)]
        return indices

    def _augment(self, batch: Tensor, generator: torch.Generator) -> Tensor:
        pixels = torch.arange(batch.shape[1])
        down, right = torch.randint(2 * self.shift + 1, (2, len(batch)), generator=generator)
        flip = torch.rand(len(batch), generator=generator) < 0.5
        rows = self._reflect(down[:, None] + pixels, len(pixels))
        columns = self._reflect(right[:, None] + pixels, len(pixels))
        columns = torch.where(flip[:, None], columns.flip(1), columns)
        return batch[torch.arange(len(batch))[:, None, None], rows[:, :, None], columns[:, None, :]]

    def _reflect(self, position: Tensor, size: int) -> Tensor:
        """Return the pixels at positions of an image padded by ``shift``: beyond an edge it is mirrored."""
        return size - 1 - (size - 1 - (position - self.shift).abs()).abs()
