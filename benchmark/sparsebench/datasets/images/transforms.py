"""Images to network inputs: the published resize and centre crop, training augmentation, and normalisation.

Everything up to normalisation happens on 8-bit pixels, so that images travel at a quarter of the size of floats. The
evaluation geometry equals torchvision's ``Resize`` and ``CenterCrop`` on Pillow images pixel for pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...schema import Augment, Preprocess, Protocol, RegistryError, Task, digest

if TYPE_CHECKING:
    import numpy as np
    import torch

    from .decode import Picture

TRANSFORM_VERSION = 1
"""Part of every transform's digest; raise it when equal settings give different pixels of a Pillow image.

What decoded pixels are resized with, which may differ from machine to machine, is :func:`.resize.resize_version`.
"""

PUBLISHED = Augment(crop="random_resized", scale=(0.08, 1.0), flip=True)
"""The augmentation of the published full finetuning protocol (torchvision's RandomResizedCrop and horizontal flip)."""


@dataclass(frozen=True)
class Transform:
    """How a task's images become a backbone's input.

    Parameters
    ----------
    preprocess : Preprocess
        Size, crop and interpolation of the checkpoint, with the mean and standard deviation in force.
    augment : Augment or None
        Training-time augmentation; None trains on what evaluation sees.
    """

    preprocess: Preprocess
    augment: Augment | None = None

    @property
    def sha256(self) -> str:
        """Digest of all settings and of the code's version."""
        augment = None if self.augment is None else self.augment.model_dump(mode="json")
        return digest(
            {"version": TRANSFORM_VERSION, "preprocess": self.preprocess.model_dump(mode="json"), "augment": augment}
        )

    def evaluate(self, image: Picture) -> torch.Tensor:
        """Resize the short side and cut out the centre.

        Parameters
        ----------
        image : Image or Tensor
            Mode ``RGB``, any size; or uint8 pixels (3, H, W), which are resized to Pillow's pixels where
            :mod:`.resize` was built; else by torch, a pixel in a hundred differing by a grey level.

        Returns
        -------
        Tensor
            uint8, shape (3, S, S), S the input size.
        """
        from .pixels import centre

        return centre(image, self.preprocess)

    def train(self, image: Picture, rng: np.random.Generator) -> torch.Tensor:
        """Return an augmented view of an RGB image (or of its pixels); uint8, shape (3, S, S).

        Equal generators give equal views.
        """
        augment = self.augment or Augment()
        if augment.crop == "random_resized":
            from .pixels import random_resized

            view = random_resized(image, self.preprocess, augment.scale, rng)
        else:
            view = self.evaluate(image)
        return self.vary(view.unsqueeze(0), [rng])[0]

    @property
    def varies_evaluated(self) -> bool:
        """Whether training views are made from the evaluation view alone (no random area), by :meth:`vary`."""
        return self.augment is None or self.augment.crop != "random_resized"

    def vary(self, batch: torch.Tensor, generators: list[np.random.Generator]) -> torch.Tensor:
        """Shift and flip views that are already cropped.

        Parameters
        ----------
        batch : Tensor
            uint8, shape (B, 3, S, S).
        generators : list of Generator
            One an image; each image's outcome depends on its own alone.

        Returns
        -------
        Tensor
            uint8, shape (B, 3, S, S).
        """
        from .pixels import shift_and_flip

        augment = self.augment or Augment()
        return batch if augment.shift == 0 and not augment.flip else shift_and_flip(batch, augment, generators)

    def normalise(
        self,
        batch: torch.Tensor,
        *,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
        channels_last: bool = True,
    ) -> torch.Tensor:
        """Return ``(pixels / 255 - mean) / std``, computed in single precision.

        Parameters
        ----------
        batch : Tensor
            uint8, shape (B, 3, S, S).
        device : str or torch.device
            Where the result lives; the batch travels there as bytes.
        dtype : torch.dtype, optional
            Of the result; float32 by default.
        channels_last : bool
            The result's memory format.
        """
        import torch

        layout = torch.channels_last if channels_last else torch.contiguous_format
        pixels = batch.to(device).to(torch.float32, memory_format=layout, copy=True).div_(255)
        mean, std = (
            torch.tensor(values, device=pixels.device).view(1, 3, 1, 1)
            for values in (self.preprocess.mean, self.preprocess.std)
        )
        return pixels.sub_(mean).div_(std).to(dtype or torch.float32)


def resolve_transform(preprocess: Preprocess, task: Task, protocol: Protocol) -> Transform:
    """Return the transform of a checkpoint on a task under a protocol.

    Raises
    ------
    RegistryError
        If the protocol normalises by the task's statistics and the task has none.
    """
    if protocol.normalisation == "task":
        if task.mean is None or task.std is None:
            raise RegistryError(
                f"protocol {protocol.name!r} normalises by the task's statistics, but task {task.id!r} has none",
                hint="add mean and std to the task's YAML, or use a protocol with 'normalisation: checkpoint'",
            )
        preprocess = Preprocess(**(preprocess.model_dump() | {"mean": task.mean, "std": task.std}))
    augment = {"none": None, "task": task.augment, "published": PUBLISHED}[protocol.augment]
    return Transform(preprocess, augment)
