"""A split whose images are corrupted after they were resized and cropped."""

from __future__ import annotations

from functools import cache
from importlib.metadata import version

import numpy as np
import numpy.typing as npt

from ... import extensions
from ...schema import RunError, digest
from ..base import Split


def corrupted(split: Split, name: str, severity: int) -> Split:
    """Return a split's images, each corrupted after it was resized and cropped.

    What is drawn depends on the image's id and the corruption alone: not on the order, the other images, or the
    severity.

    Parameters
    ----------
    split : Split
        The images.
    name : str
        The corruption.
    severity : int
        From 1 to 5.

    Raises
    ------
    InputError
        If there is no such corruption.
    """
    declared: extensions.Corruption = extensions.get("corruptions", name)
    label = [name, declared.version, severity, _packages()]

    def alter(i: int, crop: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        constants = declared.constants_at(crop.shape[0], severity)
        changed: npt.NDArray[np.uint8] = np.asarray(
            extensions.load(declared.apply)(crop, constants, generator_of(name, split.ids[i]))
        )
        if changed.shape != crop.shape or changed.dtype != np.uint8:
            raise RunError(
                f"corruption {name!r} made {changed.dtype} of shape {changed.shape} of {split.ids[i]!r}",
                f"it must return uint8 of shape {crop.shape}",
            )
        return changed

    return Split(
        ids=split.ids,
        labels=split.labels,
        hashes=tuple(digest([content, *label]) for content in split.hashes),
        load=split.load,
        file=split.file,
        rendered=split.rendered if split.file is not None else f"{split.rendered}, {name}",
        alter=alter,
        source=split,
    )


def generator_of(name: str, image: str) -> np.random.Generator:
    """Return the generator of an image's corruption (Philox: Salmon et al., 2011), by name and image id."""
    return np.random.Generator(np.random.Philox(key=int(digest([name, image])[:32], 16)))


@cache
def _packages() -> str:
    """Return the packages whose versions the pixels may depend on."""
    return ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "pillow"))
