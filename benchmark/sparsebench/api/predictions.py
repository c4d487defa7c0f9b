"""What a run predicted on the test images, as arrays and as a table."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..common.paths import cache_dir, datasets_dir
from ..common.safetensors_file import read_metadata
from ..registry import Registry, load_registry
from ..runs.lookup import find_record, results_folder, tasks_of
from ..runs.request import several
from ..schema import RunRecord, SparsebenchError
from ..store import Store

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["RunPredictions", "predictions"]


@dataclass(frozen=True, eq=False)
class RunPredictions:
    """What a run predicted on the test images of its task.

    Parameters
    ----------
    record_key, checkpoint, task : str
        Whose predictions these are.
    ids : ndarray of str, shape (n,)
        The images' names, in the order of the test split.
    labels : ndarray of int64, shape (n,)
        True class indices.
    predicted : ndarray of int64, shape (n,)
        Predicted class indices.
    classes : ndarray of str, shape (C,), or None
        The classes' names; None where neither the run nor its data, which isn't here, says them.
    logits : ndarray of float32, shape (n, C), or None
        As they were kept, in half precision; None where the classes alone were kept.
    """

    record_key: str
    checkpoint: str
    task: str
    ids: npt.NDArray[np.str_]
    labels: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]
    classes: npt.NDArray[np.str_] | None = None
    logits: npt.NDArray[np.float32] | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        kept = "classes alone" if self.logits is None else f"logits {self.logits.shape}"
        right = float((self.labels == self.predicted).mean())
        return (
            f"RunPredictions({self.record_key}: {self.checkpoint} on {self.task}, {len(self)} images, {kept},"
            f" top-1 {right:.1%})"
        )

    def frame(self) -> pd.DataFrame:
        """Return a table with one row per image.

        Returns
        -------
        DataFrame
            ``id``, ``label``, ``predicted``, ``correct``; with known classes ``label_name`` and ``predicted_name``;
            with logits a column ``logit_K`` per class.
        """
        import pandas as pd

        columns: dict[str, Any] = {"id": self.ids, "label": self.labels, "predicted": self.predicted}
        if self.classes is not None:
            columns |= {"label_name": self.classes[self.labels], "predicted_name": self.classes[self.predicted]}
        columns["correct"] = self.labels == self.predicted
        if self.logits is not None:
            columns |= {f"logit_{k}": self.logits[:, k] for k in range(self.logits.shape[1])}
        return pd.DataFrame(columns)


def predictions(
    run: str,
    results: str | Path = "runs",
    *,
    registry_files: Sequence[str | Path] | str | Path = (),
    tasks_dirs: Sequence[str | Path] | str | Path = (),
    data_dir: str | Path | None = None,
) -> RunPredictions:
    """Read what a run predicted on its test images.

    Parameters
    ----------
    run : str
        A run id or a record key, as in the columns ``run_id`` and ``record_key`` of :func:`sparsebench.results`.
    results : path
        The results folder.
    registry_files, tasks_dirs, data_dir : paths, optional
        Where classes' names are looked up that the run hasn't kept.

    Returns
    -------
    RunPredictions
        Ids, labels, class names, logits and predicted classes as arrays; ``.frame()`` gives a DataFrame.

    Raises
    ------
    ResultsError
        If there is no results folder, or the predictions are missing or damaged.
    InputError
        If there is no such run, it failed, or its id stands for several records.
    """
    store = results_folder(results)
    record = find_record(store, run)
    kept = store.predictions(record)
    root = None if data_dir is None else Path(data_dir)
    registry = load_registry([Path(p) for p in several(registry_files)], [Path(p) for p in several(tasks_dirs)], root)
    names = class_names(record, store, registry, root)
    return RunPredictions(
        record_key=record.record_key,
        checkpoint=record.spec.checkpoint,
        task=record.spec.task,
        ids=np.array(kept.ids, dtype=np.str_),
        labels=kept.labels,
        predicted=kept.predicted,
        classes=None if names is None else np.array(names, dtype=np.str_),
        logits=None if kept.logits is None else kept.logits.astype(np.float32),
    )


def class_names(
    record: RunRecord, store: Store, registry: Registry, data_dir: Path | None = None
) -> tuple[str, ...] | None:
    """Return the names of a run's classes: from what it kept, else from its data; None where neither is here."""
    for file in (record.head_file, record.weights_file):
        if file is not None and (names := _names_in(store.root / file, store.root)) is not None:
            return names
    from ..datasets import open_task

    for task in tasks_of(record, store, registry):
        try:
            data = open_task(task, data_dir or datasets_dir(), cache_dir())
        except SparsebenchError:  # the data isn't here any more
            continue
        if data.split_sha256 == record.spec.split_sha256:
            return data.classes
    return None


def _names_in(path: Path, root: Path) -> tuple[str, ...] | None:
    """Return the classes that a kept head or network says it was trained for; only its header is read."""
    if not path.resolve().is_relative_to(root.resolve()):
        return None
    try:
        metadata = read_metadata(path)
        said = json.loads(metadata.get("head") or metadata["finetuned"])
        return tuple(str(name) for name in said["classes"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
