"""``load`` a checkpoint; read ``results``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..models.entries import find_entry
from ..registry import load_registry
from ..runs.prefetch import fetch_missing
from ..schema import CheckpointError
from ..store import read_results

if TYPE_CHECKING:
    import pandas as pd

    from ..models.backbone import Backbone

__all__ = ["load", "results"]


def load(
    id_or_path: str | Path,
    arch: str | None = None,
    head: bool = False,
    *,
    registry: Path | None = None,
    offline: bool = False,
) -> Backbone:
    """Load a checkpoint, registered or a file of your own.

    Parameters
    ----------
    id_or_path : str or Path
        An id of ``sparsebench list checkpoints``, or a ``.pth`` or ``.safetensors`` file.
    arch : str, optional
        A file's timm or torchvision architecture; not needed where the file names its own.
    head : bool
        Keep the upstream head, so that the module gives logits instead of features.
    registry : Path, optional
        A YAML file with checkpoints of your own.
    offline : bool
        Fetch nothing; without it, a published checkpoint that isn't here is fetched.

    Returns
    -------
    Backbone
        ``.module`` (eval mode, CPU; ``(B, 3, H, W)`` to features ``(B, d)`` or logits), ``.masks`` (parameter name to
        bool tensor, True = kept), ``.preprocess`` and ``.info``.

    Raises
    ------
    UnknownNameError
        If it is neither a registered id nor a file.
    CheckpointError
        If the file is missing and can't be fetched, is damaged, refused, doesn't fit the architecture, or has no head
        where one is asked for.
    """
    name = str(id_or_path)
    entry = find_entry(name, load_registry([registry] if registry else []), arch)
    fetch_missing(entry, offline=offline)
    from ..models.loading import load_entry

    backbone = load_entry(entry, head=head)
    if head and backbone.info.num_classes is None:
        raise CheckpointError(f"{name} has no classifier", "load it without head=True")
    return backbone


def results(path: str | Path) -> pd.DataFrame:
    """Read a results folder or a curated file as one tidy table; the text ``published`` means the paper's results.

    Returns
    -------
    DataFrame
        One row per run (columns: ``sparsebench.store.COLUMNS``); accuracies are fractions.

    Raises
    ------
    ResultsError
        If there is nothing to read.
    """
    return read_results(path)
