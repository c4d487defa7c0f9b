"""``export`` a trained network with its head, and ``predict`` with what was exported."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack, cast

from ..common.progress import Progress
from ..registry import load_registry
from ..runs.lookup import checkpoints_of, find_record, results_folder, tasks_of
from ..runs.request import several
from .keywords import Computing, numerics_of, with_keywords

if TYPE_CHECKING:
    from ..deploy.predict import FolderPredictions

__all__ = ["export", "predict"]


def export(
    run: str,
    results: str | Path = "runs",
    out: str | Path | None = None,
    *,
    onnx: bool = False,
    opset: int | None = None,
    registry_files: Sequence[str | Path] | str | Path = (),
    tasks_dirs: Sequence[str | Path] | str | Path = (),
    data_dir: str | Path | None = None,
) -> Path:
    """Write the network that a run trained, with its head, so that others can use it.

    In full mode that is the finetuned network, which a run keeps with ``save_weights=True``; in linear mode the
    backbone under the head of the probe ``sgd``, ``lbfgs`` or ``ridge``.

    Parameters
    ----------
    run : str
        A run id or a record key.
    results : path
        The results folder.
    out : path, optional
        The folder to write, which must be empty or not there; by default ``CHECKPOINT-TASK-MODE-seedK``.
    onnx : bool
        Write ``model.onnx``, too, checked against torch to 1e-4 (the extra ``onnx``).
    opset : int, optional
        Version of its operators; 17 by default.
    registry_files, tasks_dirs, data_dir : paths, optional
        Where a checkpoint or task of your own is described.

    Returns
    -------
    Path
        The folder: ``model.safetensors``, ``config.json``, the model card ``README.md``, and ``model.onnx``.

    Raises
    ------
    InputError
        If there is no such run, it kept nothing to export, or its checkpoint or task isn't here any more.
    RunError
        If a masked weight isn't zero, or onnxruntime doesn't compute what torch does.
    """
    store = results_folder(results)
    record = find_record(store, run)
    root = None if data_dir is None else Path(data_dir)
    registry = load_registry([Path(p) for p in several(registry_files)], [Path(p) for p in several(tasks_dirs)], root)
    spec = record.spec
    folder = Path(out or f"{spec.checkpoint}-{spec.task}-{spec.probe or spec.mode}-seed{spec.seed}")
    from ..deploy.export import export_model

    found = export_model(
        record,
        store,
        folder,
        checkpoints=checkpoints_of(record, store, registry),
        tasks=tasks_of(record, store, registry),
        onnx=onnx,
        opset=opset,
    )
    return found.path


@with_keywords(Computing)
def predict(
    model: str | Path,
    images: str | Path,
    *,
    batch: int = 64,
    progress: Progress | None = None,
    **computing: Unpack[Computing],
) -> FolderPredictions:
    """Classify image files with an exported network.

    Parameters
    ----------
    model : path
        The folder that :func:`export` wrote.
    images : path
        A folder, which is searched with the folders in it, or one image.
    batch : int
        Images that are computed at once.
    progress : callable, optional
        ``progress(files done, files)``.
    **computing
        ``device``, ``precision``, ``engine``, ``threads``, ``channels_last``, ``compile``.

    Returns
    -------
    FolderPredictions
        ``files``, ``predicted``, ``names``, ``scores`` and ``logits`` as arrays, ``.frame()``; files that can't be read
        are in ``broken``, with the reason.

    Raises
    ------
    InputError
        If the folder is no exported network, its weights have changed, or there is no image.
    """
    from ..deploy.folder import read_folder

    numerics = numerics_of(cast("dict[str, Any]", computing))
    exported = read_folder(Path(model))
    from ..deploy.predict import predict_files

    return predict_files(exported, Path(images), numerics, batch=batch, progress=progress)
