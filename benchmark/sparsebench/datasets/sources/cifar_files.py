"""CIFAR's pickled batches, of which no checksum is known: only plain values and arrays are unpickled, never code."""

from __future__ import annotations

import codecs
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...schema import DatasetError

_FILES: dict[str, tuple[str, tuple[str, ...], str, str, str]] = {
    "CIFAR10": (
        "cifar-10-batches-py",
        tuple(f"data_batch_{k}" for k in range(1, 6)),
        "test_batch",
        "batches.meta",
        "label_names",
    ),
    "CIFAR100": ("cifar-100-python", ("train",), "test", "meta", "fine_label_names"),
}
_LABELS = ("labels", "fine_labels")
_ARRAY_PARTS = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("_reconstruct", "scalar")),
    *((f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")),
}


@dataclass(frozen=True)
class Images:
    """Images (n, 32, 32, 3), their class indices, and the classes' names."""

    data: npt.NDArray[np.uint8]
    targets: list[int]
    classes: list[str]


class _Unpickler(pickle.Unpickler):
    """Builds dictionaries, lists, text, numbers and numpy arrays; whatever else a file asks for is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return codecs.encode
        if (module, name) not in _ARRAY_PARTS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no array needs")
        return super().find_class(module, name)


def folder_of(root: Path, dataset: str) -> Path:
    """Return where torchvision keeps the data set below ``root``."""
    return root / _FILES[dataset][0]


def read_images(root: Path, dataset: str, train: bool) -> Images:
    """Read the images for training or for test.

    Parameters
    ----------
    root : Path
        The folder that torchvision's folder is in.
    dataset : str
        ``CIFAR10`` or ``CIFAR100``.

    Raises
    ------
    DatasetError
        If a file is missing, damaged, asks for code, or isn't a batch of 32x32 images with labels.
    """
    folder, train_files, test_file, meta_file, names_key = _FILES[dataset]
    names = _unpickle(root / folder / meta_file).get(names_key)
    if not isinstance(names, list) or not names:
        raise DatasetError(f"{root / folder / meta_file}: holds no {names_key}", hint="it lists the classes' names")
    batches = [_batch(root / folder / name, len(names)) for name in (train_files if train else (test_file,))]
    pixels = np.concatenate([data for data, _ in batches]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return Images(np.ascontiguousarray(pixels), [label for _, labels in batches for label in labels], list(names))


def _batch(path: Path, classes: int) -> tuple[npt.NDArray[np.uint8], list[int]]:
    content = _unpickle(path)
    data, labels = content.get("data"), next((content[key] for key in _LABELS if key in content), None)
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.size % 3072 or labels is None:
        raise DatasetError(f"{path}: not a batch of CIFAR", hint="it has 'data', uint8 (n, 3072), and 'labels'")
    targets = [int(label) for label in labels]
    if len(targets) * 3072 != data.size or not all(0 <= label < classes for label in targets):
        raise DatasetError(f"{path}: {data.size // 3072} images, {len(targets)} labels, {classes} classes don't fit")
    return data.reshape(-1, 3072), targets


def _unpickle(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = _Unpickler(file, encoding="latin1").load()
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: the file is missing", hint="get or unpack it again") from error
    except Exception as error:  # damaged pickles raise nearly anything
        reason = " ".join(str(error).split())
        raise DatasetError(f"{path}: can't be read: {reason}", hint="get or write the file again") from error
    if not isinstance(content, dict):
        raise DatasetError(f"{path}: holds no dictionary", hint="get or write the file again")
    return {key.decode() if isinstance(key, bytes) else str(key): value for key, value in content.items()}
