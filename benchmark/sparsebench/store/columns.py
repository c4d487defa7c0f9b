"""The columns of the tidy results table, in order, and how a record becomes one row of it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

from ..schema import Metric, Numerics, RunRecord, Scores, digest

Kind = Literal["text", "integer", "number"]

KINDS: dict[str, Kind] = {
    "run_id": "text",
    "record_key": "text",  # the run id and a hash of how it was computed
    "status": "text",  # ok or failed
    "checkpoint": "text",
    "method": "text",
    "variant": "text",
    "arch": "text",  # what it is compared under: resnet50 for RigL's ResNet-50
    "sparsity": "number",  # nominal
    "sparsity_measured": "number",
    "sparsity_scope": "text",
    "distribution": "text",
    "nm": "text",
    "reference": "text",  # the dense checkpoint it is compared with
    "twin_of": "text",
    "replicate": "integer",  # of the upstream training: the same recipe with another seed
    "upstream_top1": "number",
    "task": "text",
    "mode": "text",
    "probe": "text",
    "protocol": "text",  # its name
    "seed": "integer",
    "metric": "text",
    "accuracy": "number",  # the task's metric on test: the headline
    "top1": "number",
    "mean_per_class": "number",
    "top5": "number",  # in mode upstream
    "val_accuracy": "number",  # the task's metric on validation, where the protocol holds data out
    "best_test": "number",
    "chosen": "text",  # the hyperparameters that were chosen on validation: lr=0.01 weight_decay=0.0005
    "few_shot": "text",  # images per class: accuracy [95 % interval over draws]; ... for every number of images
    "few_shot_1": "number",  # accuracy from so many images per class, in the task's metric: the mean over draws
    "few_shot_2": "number",
    "few_shot_5": "number",
    "few_shot_10": "number",
    "train_loss": "number",
    "gradient_norm": "number",  # of a linear head's objective on its training images, at its own penalty
    "optimality_gap": "number",  # the objective minus its minimum, in nats
    "relative_gap": "number",  # the same as a fraction of what an untrained head is above the minimum
    "n_train": "integer",
    "n_val": "integer",
    "n_test": "integer",
    "n_classes": "integer",
    "masked": "integer",  # weights held at zero
    "masked_nonzero": "integer",  # and those of them that aren't, which must be 0
    "seconds": "number",
    "feature_seconds": "number",
    "device": "text",
    "precision": "text",
    "engine": "text",
    "threads": "integer",
    "numerics": "text",  # a hash of all that decides the bits; the columns before it are the part that people ask for
    "weights_sha256": "text",
    "mask_sha256": "text",
    "split_sha256": "text",
    "transform_sha256": "text",
    "protocol_sha256": "text",
    "started": "text",  # ISO 8601
    "error": "text",  # type and message of a failure
    "verdict": "text",  # claimed, rescored or rerun, of a run from a bundle; curated files have it where there is one
}
"""Column to the kind of its values: ``string``, ``Int64`` and ``float64`` in pandas. Accuracies are fractions."""

COLUMNS: tuple[str, ...] = tuple(KINDS)
"""All columns, in order."""

SPARSE: tuple[str, ...] = ("verdict",)
"""Those that a curated file has only where a row has a value."""

REQUIRED: tuple[str, ...] = (
    "checkpoint",
    "method",
    "arch",
    "sparsity",
    "task",
    "mode",
    "protocol",
    "seed",
    "accuracy",
)
"""What a curated file must have; a column that it lacks otherwise is empty."""

FRACTIONS: tuple[str, ...] = (
    "sparsity",
    "sparsity_measured",
    "upstream_top1",
    "accuracy",
    "top1",
    "mean_per_class",
    "top5",
    "val_accuracy",
    "best_test",
    "few_shot_1",
    "few_shot_2",
    "few_shot_5",
    "few_shot_10",
)
"""Columns whose values lie between 0 and 1."""

SORT_KEYS: tuple[str, ...] = ("checkpoint", "task", "mode", "probe", "protocol", "seed", "run_id", "started")
"""What rows are sorted by."""


def row(record: RunRecord) -> dict[str, Any]:
    """Return a record's values by column; what it doesn't know is left out, and what is no column may be there, too."""
    spec, scores, proof, failure = record.spec, record.scores, record.mask_proof, record.failure
    run_id, numerics = spec.run_id, _key_of(spec.numerics)  # digests: each is made once
    values: dict[str, Any] = {**vars(spec), **vars(spec.numerics)}
    if scores is not None:
        values |= vars(scores)
        values["accuracy"] = getattr(scores, spec.metric)
        values["val_accuracy"] = getattr(scores, f"val_{spec.metric}")
        values["chosen"] = " ".join(f"{name}={value}" for name, value in sorted(scores.chosen.items())) or None
        values["few_shot"] = _few_shot(scores, spec.metric)
        values |= {f"few_shot_{score.shots}": getattr(score, spec.metric) for score in scores.few_shot}
        if (found := scores.convergence) is not None:
            values["gradient_norm"] = found.gradient_norm
            values["optimality_gap"] = found.gap
            values["relative_gap"] = found.relative_gap
    if proof is not None:
        values["masked"], values["masked_nonzero"] = proof.masked, proof.nonzero
    if failure is not None:
        values["error"] = f"{failure.type}: {failure.message}"
    if record.origin is not None:
        values["verdict"] = record.origin.verdict
    values["run_id"] = run_id
    values["record_key"] = f"{run_id}-{numerics}"
    values["numerics"] = numerics
    values["status"] = record.status
    values["arch"] = spec.family or spec.arch
    values["protocol"] = spec.protocol_name
    values["protocol_sha256"] = digest(spec.protocol)
    values["seconds"] = record.seconds
    values["feature_seconds"] = record.feature_seconds
    values["started"] = record.started
    return values


@lru_cache(maxsize=1024)
def _key_of(numerics: Numerics) -> str:
    return numerics.key


def _few_shot(scores: Scores, metric: Metric) -> str | None:
    """Return few-shot accuracies as text, for example ``1: 0.4120 [0.4019, 0.4221]; 5: ...``; None without any."""
    parts = []
    for score in scores.few_shot:
        mean, low, high = (getattr(score, name) for name in (metric, f"{metric}_low", f"{metric}_high"))
        parts.append(f"{score.shots}: {mean:.4f} [{low:.4f}, {high:.4f}]")
    return "; ".join(parts) or None
