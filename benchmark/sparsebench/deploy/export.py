"""Write a trained network with its head: weights, description, model card, and ONNX where it is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import save

from ..common.files import sha256_file, write_bytes, write_text
from ..common.version import __version__
from ..datasets.images.transforms import Transform, resolve_transform
from ..models.backbone import Backbone
from ..schema import (
    Checkpoint,
    InputError,
    Protocol,
    RegistryError,
    ResultsError,
    RunRecord,
    Task,
    canonical_json,
)
from ..schema.text import printable
from ..store import Store
from .card import card
from .folder import CARD, CONFIG, ONNX, WEIGHTS, Description, ExportedFile, ExportedFolder, config_json
from .trained import Trained, kept_file, trained_network


def export_model(
    record: RunRecord,
    store: Store,
    out: Path,
    *,
    checkpoints: Iterable[Checkpoint],
    tasks: Iterable[Task],
    onnx: bool = False,
    opset: int | None = None,
) -> ExportedFolder:
    """Write the network that a run trained into a folder of its own.

    Parameters
    ----------
    record : RunRecord
        The finished run.
    store : Store
        The results folder that it is in.
    out : Path
        The folder to write; it must be empty or not there.
    checkpoints, tasks : iterables
        What the run's checkpoint and task may be, by name; hashes say which they are.
    onnx : bool
        Write ``model.onnx``, too, and check it against torch.
    opset : int, optional
        Version of its operators.

    Raises
    ------
    InputError
        If the run kept nothing to export, the folder isn't empty, or ONNX isn't to be had.
    ResultsError
        If what was kept is damaged, or the folder can't be written.
    RunError
        If a masked weight isn't zero, or onnxruntime doesn't compute what torch does.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{str(out)!r} is there already", "name a folder that is not")
    kept_file(record, store.root)
    if onnx:
        from .onnx import require_onnx

        require_onnx()
    trained = trained_network(record, store.root, checkpoints)
    task, transform = _transform(record, trained.backbone, tasks)
    model = trained.whole()
    about = _provenance(record, store, trained, task)
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    try:
        write_bytes(out / WEIGHTS, save(state, {"format": "pt", "sparsebench_model": canonical_json(about)}))
        weights = ExportedFile(name=WEIGHTS, sha256=sha256_file(out / WEIGHTS))
        description = Description(
            arch=trained.backbone.info.arch,
            classes=trained.classes,
            feature_dim=trained.backbone.info.feature_dim,
            preprocess=transform.preprocess,
            decoder=record.spec.numerics.decoder,
            mode=record.spec.mode,
            probe=record.spec.probe,
            weights=weights,
            provenance=about | {"file_sha256": weights.sha256},
        )
        if onnx:
            from .onnx import OPSET, onnx_bytes

            said = {"classes": trained.classes, **transform.preprocess.model_dump(mode="json"), "provenance": about}
            write_bytes(out / ONNX, onnx_bytes(model, transform.preprocess.input_size, said, opset or OPSET))
            description = description.model_copy(
                update={"onnx": ExportedFile(name=ONNX, sha256=sha256_file(out / ONNX))}
            )
        write_text(out / CARD, card(description))
        write_text(out / CONFIG, canonical_json(config_json(description)) + "\n")  # last: a folder without isn't one
    except OSError as error:
        raise ResultsError(f"can't write {str(out)!r}: {error.strerror or error}") from error
    return ExportedFolder(out, description)


def _transform(record: RunRecord, backbone: Backbone, tasks: Iterable[Task]) -> tuple[Task | None, Transform]:
    """Return the task that a run was trained on, and how its images became the network's input."""
    spec = record.spec
    settings = {name: value for name, value in spec.protocol.items() if name != "select_by"}
    protocol = Protocol.model_validate({"name": spec.protocol_name, **settings})
    for task in tasks:
        try:
            found = resolve_transform(backbone.preprocess, task, protocol)
        except RegistryError:
            continue
        if found.sha256 == spec.transform_sha256:
            return task, found
    plain = Transform(backbone.preprocess)
    if plain.sha256 == spec.transform_sha256:
        return None, plain
    raise InputError(f"the task {spec.task} of the run is not the one that is registered", "give its file: --tasks-dir")


def _provenance(record: RunRecord, store: Store, trained: Trained, task: Task | None) -> dict[str, Any]:
    spec, info = record.spec, trained.backbone.info
    entry = info.checkpoint
    made = {
        "record_key": record.record_key,
        "run_id": record.run_id,
        "checkpoint": spec.checkpoint,
        "method": " ".join(filter(None, (spec.method, spec.variant))),
        "task": spec.task,
        "task_licence": task.licence if task else None,
        "task_source": task.source if task else None,
        "checkpoint_licence": entry.licence,
        "checkpoint_source": entry.source,
        "upstream": entry.upstream.dataset if entry.upstream else None,
        "sparsity": spec.sparsity,
        "sparsity_measured": spec.sparsity_measured,
        "sparsity_scope": spec.sparsity_scope,
        "parameters": info.sparsity.params,
        "weights_sha256": spec.weights_sha256,
        "mask_sha256": spec.mask_sha256,
        "split_sha256": spec.split_sha256,
        "transform_sha256": spec.transform_sha256,
        "protocol": spec.protocol_name,
        "protocol_settings": spec.protocol,
        "seed": spec.seed,
        "accuracy": _accuracy(record, store),
        "chosen": record.scores.chosen if record.scores else {},
        "n_train": record.scores.n_train if record.scores else None,
        "made": record.started,
        "versions": {k: v for k, v in record.environment.items() if k in ("sparsebench", "torch", "timm")},
        "exported_by": f"sparsebench {__version__}",
    }
    return {name: printable(value) if isinstance(value, str) else value for name, value in made.items()}


def _accuracy(record: RunRecord, store: Store) -> dict[str, Any]:
    """Return a run's accuracy, and that of the same cell over the seeds that were run."""
    from ..analysis.metrics import Sample

    assert record.scores is not None  # noqa: S101 - the record is of a finished run
    metric = record.spec.metric
    values = [getattr(other.scores, metric) for other in _seeds(record, store)]
    sample = Sample.of(values)
    chosen = "val_top1" if metric == "top1" else "val_mean_per_class"
    return {
        "metric": metric,
        "value": getattr(record.scores, metric),
        "val": getattr(record.scores, chosen),
        "seed": record.spec.seed,
        "n_test": record.scores.n_test,
        "seeds": len(values),
        "mean": sample.mean,
        "sd": sample.sd if len(values) > 1 else None,
    }


def _seeds(record: RunRecord, store: Store) -> Sequence[RunRecord]:
    """Return the finished records of a run's cell, computed in the same way: one per seed."""
    cell = record.spec.model_copy(update={"seed": 0})
    found = {}
    for other in store.read():
        same = other.spec.model_copy(update={"seed": 0}).record_key == cell.record_key
        if same and other.status == "ok" and other.scores is not None:
            found[other.spec.seed] = other
    return list(found.values())
