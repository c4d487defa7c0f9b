"""Load ``torch.save`` files without running anything in them.

``torch.load(weights_only=True)`` builds tensors and plain containers only. Whatever else a file names is looked up
beforehand and read as a :class:`~.placeholders.Placeholder`, which does nothing whatever it is given.
"""

from __future__ import annotations

import io
import mmap
import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from ...schema import CheckpointError
from .budget import Budget
from .guard import first_line, guarded
from .placeholders import Placeholder, is_harmful, names_in

_MOST_NAMES = 500
"""Classes that a file may name: torch looks each one up in a table of them all."""

_REFUSALS = re.compile(r"nsupported|unrecognized|[Oo]nly|blocked")
_PROTOCOL = "save it with torch.save's own protocol (2), or as .safetensors"
_ALONE = "only tensors and plain containers are read: save the model's state_dict() alone, or as .safetensors"


def load_pickle(path: Path, budget: Budget | None = None) -> Any:
    """Return what a ``torch.save`` file holds; tensors lie on the CPU.

    Parameters
    ----------
    path : Path
        The file.
    budget : Budget, optional
        What its archive may unpack to; by default what :meth:`Budget.of` gives.

    Raises
    ------
    CheckpointError
        If the file is truncated or corrupted, or names what would do harm.
    """
    with guarded(path):
        names = _check_archive(path, budget or Budget.of(path)) if zipfile.is_zipfile(path) else _names_of_pickles(path)
        harmful = sorted(filter(is_harmful, names))
        if harmful:
            raise CheckpointError(f"{path} was refused: it would run or build {harmful[0]}", _ALONE)
        if len(names) > _MOST_NAMES:
            raise CheckpointError(f"{path} was refused: it names {len(names):,} classes", _ALONE)
        try:
            return _load(path, names)
        except pickle.UnpicklingError as error:
            reason = _reason(error)
            if "nsupported operand" in reason:
                raise CheckpointError(
                    f"{path} was refused: it is a pickle of a protocol that isn't read", _PROTOCOL
                ) from error
            if _REFUSALS.search(reason):
                raise CheckpointError(f"{path} was refused: {reason}", _ALONE) from error
            raise CheckpointError(f"{path} is not a checkpoint: {reason}", "get the file again") from error


def _load(path: Path, names: set[str]) -> Any:
    with warnings.catch_warnings(), torch.serialization.safe_globals([(Placeholder, name) for name in names]):
        warnings.simplefilter("ignore")
        return torch.load(path, map_location="cpu", weights_only=True)


def _reason(error: pickle.UnpicklingError) -> str:
    """Return why torch refused a pickle, without its advice to allow what was refused."""
    text = re.split(r"WeightsUnpickler error:\s*", str(error))[-1].strip()
    return (text.splitlines() or ["no reason is given"])[0].split(" was not an allowed")[0][:200]


def _names_of_pickles(path: Path) -> set[str]:
    """Return the names in a file of the older format: magic number, version, platform, then the object."""
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _names(content, 4)


def _names(stream: Any, pickles: int) -> set[str]:
    try:
        return set(names_in(stream, pickles))
    except ValueError:  # no pickle: torch says what is wrong with it
        return set()


def _check_archive(path: Path, budget: Budget) -> set[str]:
    """Check the sizes and checksums inside a ``torch.save`` archive, and return the names in its pickle.

    Torch itself looks at neither.
    """
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        budget.check(sum(member.file_size for member in members), "unpacking it")
        if any(member.filename.endswith("/constants.pkl") for member in members):
            raise CheckpointError(
                f"{path} is a TorchScript archive, a program",
                "load it with torch.jit.load where you trust it, and save its state_dict()",
            )
        try:
            damaged = archive.testzip()
        except Exception as error:
            raise CheckpointError(f"{path} is damaged: {first_line(error)}", "get the file again") from error
        if damaged is not None:
            raise CheckpointError(f"{path} is damaged: checksum of {damaged} is wrong", "get the file again")
        pickles = [member for member in members if member.filename.endswith("/data.pkl")]
        return {name for member in pickles for name in _names(io.BytesIO(archive.read(member)), 1)}
