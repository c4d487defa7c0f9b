"""The head or the finetuned network that a finished run kept, by which further test sets are scored."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..schema import ResultsError, RunRecord

if TYPE_CHECKING:
    from torch import Tensor


def kept_file(record: RunRecord, root: Path) -> Path | None:
    """Return the file of a finished run's head or network; None where it kept none."""
    name = record.weights_file if record.spec.mode == "full" else record.head_file
    path = root / (name or "?")
    return path if name and path.is_file() and path.resolve().is_relative_to(root.resolve()) else None


def read_kept(path: Path, record: RunRecord) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors that a run kept, and what their file says of itself.

    Raises
    ------
    ResultsError
        If it isn't a whole file, or not this run's.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as handle:
            metadata = handle.metadata() or {}
            said = json.loads(metadata.get("finetuned") or metadata["head"])
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118 - it is no mapping
        if said["run_id"] != record.run_id:
            raise ValueError(f"it is of the run {said['run_id']}")
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ResultsError(
            f"{str(path)!r} isn't what the run {record.run_id} kept: {error}",
            "run its cell again with --overwrite always",
        ) from error
    broken = [name for name, value in tensors.items() if not bool(value.isfinite().all())]
    if broken:
        raise ResultsError(
            f"{str(path)!r}: {broken[0]} holds NaN or infinity", "run its cell again with --overwrite always"
        )
    return tensors, said
