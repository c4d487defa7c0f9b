"""What people may hand to a probe, checked: arrays or tensors in, float32 features and int64 labels out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ...common.memmap import Mapping
from ...schema import InputError
from .rows import CHUNK

Features = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


def features(value: Any, name: str) -> Features:
    """Return features (n, d) as float32; C-contiguous float32 arrays and CPU tensors are not copied.

    Raises
    ------
    InputError
        If it has another shape, no rows or columns, or numbers that aren't finite.
    """
    array = _array(value, name)
    if array.ndim != 2:
        hint = "give one row per image: (n, d)"
        raise InputError(f"{name} has shape {array.shape}, not two dimensions", hint)
    if 0 in array.shape:
        raise InputError(f"{name} has shape {array.shape}: there is nothing in it", "give at least one row and column")
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise InputError(f"{name} holds {array.dtype}, not numbers", "give float32 features")
    with np.errstate(over="ignore"):  # what is beyond float32 is found below
        result = np.ascontiguousarray(array, dtype=np.float32)
    mapping = Mapping(result)
    for low in range(0, len(result), CHUNK):
        rows = result[low : low + CHUNK]
        mapping.read(rows.nbytes)
        if not np.isfinite(rows.sum(dtype=np.float64)):
            row, column = np.argwhere(~np.isfinite(rows))[0]
            raise InputError(
                f"{name}[{low + row}, {column}] is {rows[row, column]}, and {int((~np.isfinite(rows)).sum())} of the "
                f"features around it aren't finite",
                "check the backbone for NaN, and features for values beyond float32",
            )
    return result


def labels(value: Any, name: str, count: int, of: str) -> Labels:
    """Return class indices (n,) as int64, one for each of the ``count`` rows of ``of``.

    Raises
    ------
    InputError
        If there are more or fewer, or they aren't whole numbers from 0 on.
    """
    array = _array(value, name)
    if array.shape != (count,):
        raise InputError(f"{name} has shape {array.shape}, {of} has {count} rows", f"one label per row: ({count},)")
    if not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"{name} holds {array.dtype}, not whole numbers", "give class indices 0, 1, ... as integers")
    result = array.astype(np.int64)
    if result.min() < 0:
        raise InputError(f"{name} holds {result.min()}", "class indices start at 0")
    return result


def classes(y_train: Labels, others: dict[str, Labels], num_classes: int | None) -> int:
    """Return the number of classes: as given, or one more than the largest label.

    Raises
    ------
    InputError
        If a label is beyond it, train has one class, or another split has a class that train doesn't have.
    """
    largest = max(int(y.max()) for y in (y_train, *others.values()))
    if num_classes is None:
        num_classes = largest + 1
    elif largest >= num_classes:
        raise InputError(f"a label is {largest}", f"{num_classes} classes are 0 to {num_classes - 1}")
    known = set(np.unique(y_train).tolist())
    if len(known) < 2:
        raise InputError(f"y_train has one class ({known.pop()})", "give images of at least two classes")
    for name, y in others.items():
        if unseen := sorted(set(np.unique(y).tolist()) - known):
            shown = ", ".join(map(str, unseen[:5])) + (", ..." if len(unseen) > 5 else "")
            raise InputError(
                f"{name} has {len(unseen)} classes that y_train doesn't have ({shown})",
                "train on them, or leave them out",
            )
    return num_classes


def same_width(arrays: dict[str, Features]) -> None:
    """Check that all features have the same dimension.

    Raises
    ------
    InputError
        If they don't.
    """
    widths = {name: array.shape[1] for name, array in arrays.items()}
    if len(set(widths.values())) > 1:
        found = ", ".join(f"{name}: {width}" for name, width in widths.items())
        raise InputError(f"features differ in dimension ({found})", "extract all of them with the same backbone")


def _array(value: Any, name: str) -> npt.NDArray[Any]:
    if isinstance(value, torch.Tensor):
        value = value.detach()
        if value.dtype in (torch.bfloat16, torch.float16):
            value = value.float()
        return np.asarray(value.cpu().numpy())
    array = np.asanyarray(value) if isinstance(value, np.memmap) else np.asarray(value)
    if array.dtype == object:
        raise InputError(f"{name} is {type(value).__name__}, not an array", "give a numpy array or a torch tensor")
    return array
