"""Use an exported network on images: a class for each file, and the files that can't be read, named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ..common.progress import Progress, Throttle
from ..datasets.images.decode import is_image, read_pixels, read_rgb
from ..datasets.images.transforms import Transform
from ..engines import prepare
from ..engines.choice import pinned, torch_threads
from ..models import backbones
from ..schema import CheckpointError, DatasetError, InputError, Numerics
from .folder import ExportedFolder

if TYPE_CHECKING:
    import pandas as pd

    from ..datasets.images.decode import Picture

BATCH = 64


@dataclass(frozen=True, eq=False)
class FolderPredictions:
    """What an exported network says of image files.

    Parameters
    ----------
    files : ndarray of str, shape (n,)
        Paths relative to the folder, with ``/``; sorted.
    predicted : ndarray of int64, shape (n,)
        Class indices.
    logits : ndarray of float32, shape (n, C)
        A score per class.
    classes : ndarray of str, shape (C,)
        The classes' names.
    broken : dict of str to str
        Files that can't be read, and why.
    """

    files: npt.NDArray[np.str_]
    predicted: npt.NDArray[np.int64]
    logits: npt.NDArray[np.float32]
    classes: npt.NDArray[np.str_]
    broken: dict[str, str]

    @property
    def names(self) -> npt.NDArray[np.str_]:
        """The predicted classes' names."""
        return self.classes[self.predicted]

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """Softmax of the logits at the predicted class; of a ridge probe's it is no probability."""
        if not len(self.logits):
            return np.empty(0)
        shifted = np.exp(self.logits.astype(np.float64) - self.logits.max(axis=1, keepdims=True))
        return shifted.max(axis=1) / shifted.sum(axis=1)

    def frame(self) -> pd.DataFrame:
        """Return a table with one row per file: ``file``, ``class``, ``index`` and ``score``."""
        import pandas as pd

        columns = {"file": self.files, "class": self.names, "index": self.predicted, "score": self.scores}
        return pd.DataFrame(columns)


def predict_files(
    model: ExportedFolder,
    images: Path,
    numerics: Numerics | None = None,
    *,
    batch: int = BATCH,
    progress: Progress | None = None,
) -> FolderPredictions:
    """Classify every image file in a folder and the folders in it, or one file.

    Parameters
    ----------
    model : ExportedFolder
        The network.
    images : Path
        A folder, or an image file.
    numerics : Numerics, optional
        Device, precision, engine and threads.
    batch : int
        Images that are computed at once.
    progress : callable, optional
        ``progress(files done, files)``.

    Raises
    ------
    InputError
        If there is no image there, or the network can't be used.
    """
    root, names = _listed(images)
    settings = (numerics or Numerics()).model_copy(update={"decoder": model.description.decoder})
    transform = Transform(model.description.preprocess)
    network = load_network(model)
    size = transform.preprocess.input_size
    settings = pinned(network, settings, (batch, 3, size, size))
    broken: dict[str, str] = {}
    kept: list[str] = []
    logits: list[npt.NDArray[np.float32]] = []
    report = Throttle(progress, len(names))
    with torch_threads(settings.threads):
        run = prepare(network, settings, (batch, 3, size, size))
        for some, views in _batches(root, names, transform, settings.decoder, batch, broken):
            if some:
                pixels = transform.normalise(
                    torch.stack(views), device=settings.device, channels_last=settings.channels_last
                )
                logits.append(run(pixels).float().cpu().numpy())
                kept += some
            report.advance(min(batch, len(names)))
    classes = np.array(model.description.classes, dtype=np.str_)
    found = np.concatenate(logits) if logits else np.empty((0, len(classes)), np.float32)
    return FolderPredictions(
        np.array(kept, dtype=np.str_), found.argmax(axis=1).astype(np.int64), found, classes, broken
    )


def load_network(model: ExportedFolder) -> nn.Module:
    """Return an exported network, from normalised images to logits, in eval mode on the CPU.

    Raises
    ------
    InputError
        If its weights don't fit its architecture.
    """
    description = model.description
    (arch, *_) = backbones.find(description.arch)
    with backbones.skip_init():
        network = backbones.build(arch, len(description.classes))
    try:
        network.load_state_dict(load_file(model.weights))
    except (RuntimeError, OSError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise CheckpointError(f"{model.weights} doesn't fit {description.arch}: {reason}") from error
    return network.eval()


def _listed(images: Path) -> tuple[Path, list[str]]:
    if images.is_file():
        return images.parent, [images.name]
    if not images.is_dir():
        raise InputError(f"there is no folder {str(images)!r}", "give a folder of images, or an image")
    try:
        names = sorted(p.relative_to(images).as_posix() for p in images.rglob("*") if is_image(p.name) and p.is_file())
    except OSError as error:
        raise InputError(f"can't list {str(images)!r}: {error.strerror}", "check that you may read it") from error
    if not names:
        raise InputError(f"{str(images)!r} holds no image", "image files end in .jpg, .png, .webp, .tif, ...")
    return images, names


def _batches(
    root: Path, names: Sequence[str], transform: Transform, decoder: str, size: int, broken: dict[str, str]
) -> Iterator[tuple[list[str], list[Tensor]]]:
    """Yield names and evaluation views of readable files; the others go into ``broken``."""
    for start in range(0, len(names), size):
        some, views = [], []
        for name in names[start : start + size]:
            try:
                views.append(transform.evaluate(_decoded(root / name, decoder)))
            except DatasetError as error:
                broken[name] = error.message
                continue
            some.append(name)
        yield some, views


def _decoded(path: Path, decoder: str) -> Picture:
    return read_pixels(path) if decoder == "fast" else read_rgb(path)


__all__ = ["BATCH", "FolderPredictions", "load_network", "predict_files"]
