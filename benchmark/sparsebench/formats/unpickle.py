"""Load ``torch.save`` files without running anything in them.

``torch.load(weights_only=True)`` builds tensors and plain containers only. Files of training runs also name the class
of their optimizer, the command line's ``Namespace`` or a NumPy scalar; nothing here needs those, so that an allow-list
of such names is read as :class:`Placeholder`, which does nothing whatever it is given. Any other name is refused.
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from ..schema import CheckpointError

_SCHEDULERS = (
    "CosineAnnealingLR",
    "ExponentialLR",
    "LambdaLR",
    "MultiStepLR",
    "OneCycleLR",
    "StepLR",
)

ALLOWED = (
    "argparse.Namespace",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.float32",
    "numpy.float64",
    "numpy.int64",
    "optimization.sgd.SGD",  # IST's repositories keep the classes of optimizer and scheduler
    "optimization.custom_optimizers.CrAM",
    "torch.optim.adam.Adam",
    "torch.optim.adamw.AdamW",
    "torch.optim.sgd.SGD",
    *(f"torch.optim.lr_scheduler.{name}" for name in _SCHEDULERS),
)
"""Names in published files that carry nothing needed, beside the schedulers of IST's repositories (a module each)."""

_IST_SCHEDULERS = re.compile(r"optimization\.lr_schedulers\.[A-Za-z_]\w*")


class Placeholder:
    """Stands for an object of a published file that isn't needed; accepts anything, does and keeps nothing."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def load_pickle(path: Path) -> Any:
    """Return what a ``torch.save`` file holds; tensors lie on the CPU.

    Raises
    ------
    CheckpointError
        If the file is truncated or corrupted, or holds objects other than tensors, containers and :data:`ALLOWED`.
    """
    _check_archive(path)
    allowed = list(ALLOWED)
    for _ in range(8):  # a scheduler's name is learned from the refusal of it
        try:
            return _load(path, allowed)
        except pickle.UnpicklingError as error:
            name = _refused(error)
            if name is not None and _IST_SCHEDULERS.fullmatch(name) and name not in allowed:
                allowed.append(name)
                continue
            if name is not None or "nsupported" in str(error):
                raise CheckpointError(
                    f"{path} was refused: it would run or build {name or 'an object'}",
                    "only files of tensors are read; save the model's state_dict() alone, or as .safetensors",
                ) from error
            raise CheckpointError(f"{path} is not a checkpoint: {first_line(error)}", "get the file again") from error
        except Exception as error:  # damaged bytes make torch and pickle fail in any way there is
            raise CheckpointError(
                f"{path} can't be read: {first_line(error)}", "it is truncated or corrupted: get it again"
            ) from error
    raise CheckpointError(f"{path} was refused: it names too many classes", "save the model's state_dict() alone")


def _load(path: Path, allowed: list[str]) -> Any:
    with warnings.catch_warnings(), torch.serialization.safe_globals([(Placeholder, name) for name in allowed]):
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _refused(error: pickle.UnpicklingError) -> str | None:
    found = re.search(r"(?:GLOBAL|global|function|class)[\s:]+`?([\w.]+\.[\w.]+)", str(error))
    return found.group(1).rstrip(".") if found else None


def _check_archive(path: Path) -> None:
    """Check the checksums inside a ``torch.save`` archive, which torch itself doesn't look at."""
    if not zipfile.is_zipfile(path):
        return  # the older format, or not a whole archive: reading it will tell
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(f"{path} is damaged: {first_line(error)}", "get the file again") from error
    if damaged is not None:
        raise CheckpointError(f"{path} is damaged: checksum of {damaged} is wrong", "get the file again")


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, at most 200 characters."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
