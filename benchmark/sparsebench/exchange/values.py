"""Values that no run can have, found in a record alone."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from ..analysis.temperature import BOUNDS
from ..schema import Processes, RunRecord, RunSpec, Scores
from . import limits
from .export import LABELS

_CLOCKS = timedelta(days=1)
"""How much later than now a run may have started: clocks differ."""
_ROUNDING = 1e-9
_COUNTED = 1e-6
_LONGEST = 400
_LONGEST_RUN = 3.2e8
"""Most seconds of a run: ten years. Sums of what is stored stay finite."""
_LARGEST_LOSS = 3.5e38
"""A loss is computed in single precision."""
_MOST_THREADS = 2**16
_DEVICE = re.compile(r"(cpu|cuda|mps|xpu)(:[0-9]{1,3})?")
_NAME = re.compile(r"[!-~]([ -~]*[!-~])?")
"""Names are ASCII: a letter of another script looks like one, and makes another row."""
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})?")


def impossible(record: RunRecord, now: datetime | None = None) -> Iterator[str]:
    """Yield what is impossible about a record, in words.

    Parameters
    ----------
    record : RunRecord
        A record whose numbers are finite.
    now : datetime, optional
        The time, with its zone.
    """
    spec = record.spec
    for name in ("sparsity", "sparsity_measured", "upstream_top1"):
        value = getattr(spec, name)
        if value is not None and not 0 <= value <= 1:
            yield f"{name} is {value}, not between 0 and 1"
    yield from texts(record.model_dump(mode="json", exclude={"failure"}))
    for name in ("checkpoint", "task", "protocol_name", "probe", *(label for label in LABELS if label != "nm")):
        value = getattr(spec, name)
        if isinstance(value, str) and not _NAME.fullmatch(value):
            yield f"{name} {value!r} is no name: ASCII without spaces at its ends"
    if record.weights_file is not None or record.head_file is not None:
        yield "it names a file of a machine, which a bundle doesn't carry"
    if not 0 <= spec.seed < 2**32:
        yield f"the seed is {spec.seed}"
    if spec.replicate < 0:
        yield f"the replicate is {spec.replicate}"
    if (spec.mode == "linear") != (spec.probe is not None):
        yield f"mode {spec.mode} with probe {spec.probe}"
    hashes = ["weights_sha256", "mask_sha256", "split_sha256", "transform_sha256"]
    if spec.mode == "upstream":
        hashes.append("head_sha256")
    elif spec.head_sha256 is not None:
        yield f"mode {spec.mode} with a head of the checkpoint's own"
    for name in hashes:
        if not _is_hash(getattr(spec, name)):
            yield f"{name} is no hash"
    if not _DEVICE.fullmatch(spec.numerics.device):
        yield f"the device is {spec.numerics.device!r}"
    if max(spec.numerics.threads, spec.numerics.processes) > _MOST_THREADS:
        yield f"it has {spec.numerics.threads} threads and {spec.numerics.processes} processes"
    yield from _times(record, now or datetime.now(UTC))
    if record.origin is not None:
        yield "it says what was verified of it, which only a reader can"
    if (record.predictions is None) != (record.predictions_sha256 is None):
        yield "it has predictions without a hash, or a hash without predictions"
    if record.processes is not None and not _counts(record.processes):
        yield "its counts of processes contradict themselves"
    if record.tests:
        yield "it has further test sets, which a bundle doesn't carry"
    if record.status == "failed":
        if record.failure is None or record.scores is not None or record.predictions is not None:
            yield "it failed, yet has scores or predictions, or doesn't say why"
        elif not (record.failure.type + record.failure.message.replace("\n", "").replace("\t", "")).isprintable():
            yield "its failure is no plain text"
    elif record.scores is None or record.failure is not None:
        yield "it is finished, yet has no scores, or a failure"
    else:
        yield from _scores(record.scores, spec)
    yield from _trials(record)


def texts(value: Any, path: str = "") -> Iterator[str]:
    """Yield the texts in nested lists and mappings that can't be shown as they are, or are too long."""
    if isinstance(value, str):
        if len(value) > _LONGEST or not value.isprintable() or (not value and path.startswith("spec.")):
            yield f"{path} is no plain text: {value[:40]!r}"
    elif isinstance(value, dict):
        for key, item in value.items():
            name = key if len(key) <= _LONGEST and key.isprintable() else "?"
            if name == "?":
                yield f"{path} has a key that is no plain text: {key[:40]!r}"
            yield from texts(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item, path)


def _times(record: RunRecord, now: datetime) -> Iterator[str]:
    try:
        if not _TIME.fullmatch(record.started):
            raise ValueError
        started = datetime.fromisoformat(record.started)
        started = started if started.tzinfo else started.replace(tzinfo=UTC)
        if started > now + _CLOCKS or started.year < 2020:
            yield f"it started at {record.started}"
    except (ValueError, OverflowError):
        yield f"it started at {record.started!r}, which is no time"
    for name in ("seconds", "feature_seconds"):
        value = getattr(record, name)
        if value is not None and not 0 <= value <= _LONGEST_RUN:
            yield f"{name} is {value}"
    for name, value in record.stages.items():
        if not 0 <= value <= _LONGEST_RUN:
            yield f"stage {name} took {value} seconds"


def _scores(scores: Scores, spec: RunSpec) -> Iterator[str]:
    counted = scores.n_train == 0 if spec.mode == "upstream" else scores.n_train > 0
    if not counted or scores.n_test < 1 or scores.n_val < 0 or scores.n_classes < 2:
        counts = f"{scores.n_train} training, {scores.n_val} val and {scores.n_test} test images"
        yield f"{counts} of {scores.n_classes} classes"
        return
    if scores.n_classes > limits.CLASSES:
        yield f"it has {scores.n_classes} classes, {limits.CLASSES} are the limit"
    if scores.train_loss is None and (spec.mode == "full" or spec.probe == "sgd"):
        yield "it was trained, yet has no training loss"
    for name in ("top1", "mean_per_class", "top5", "val_top1", "val_mean_per_class", "best_test"):
        value = getattr(scores, name)
        if value is not None and not 0 <= value <= 1:
            yield f"{name} is {value}, not between 0 and 1"
    right = scores.top1 * scores.n_test
    if not scores.few_shot and abs(right - round(right)) > _COUNTED:
        yield f"top1 is {scores.top1}, which no number of {scores.n_test} images gives"
    if scores.best_test is not None and scores.best_test < getattr(scores, spec.metric) - _ROUNDING:
        yield f"the best epoch's accuracy {scores.best_test} is below the last one's"
    if scores.top5 is not None and scores.top5 < scores.top1 - _ROUNDING:
        yield f"top5 is {scores.top5}, below top1 {scores.top1}"
    if scores.train_loss is not None and not 0 <= scores.train_loss <= _LARGEST_LOSS:
        yield f"the training loss is {scores.train_loss}"
    if scores.temperature is not None and not BOUNDS[0] <= scores.temperature <= BOUNDS[1]:
        yield f"the temperature is {scores.temperature}, not between {BOUNDS[0]} and {BOUNDS[1]}"
    yield from _unmeasured(scores, spec)
    if scores.few_shot:
        last = max(scores.few_shot, key=lambda shot: shot.shots)
        if "few_shot" not in spec.protocol:
            yield "it has scores from few images per class, which its protocol doesn't draw"
        elif (scores.top1, scores.mean_per_class) != (last.top1, last.mean_per_class):
            yield f"top1 is {scores.top1}, from {last.shots} images per class it is {last.top1}"
    for shot in scores.few_shot:
        for name in ("top1", "mean_per_class"):
            low, mean, high = (getattr(shot, f"{name}{end}") for end in ("_low", "", "_high"))
            if not (0 <= mean <= 1 and low <= mean + _ROUNDING and mean <= high + _ROUNDING):
                yield f"{name} from {shot.shots} images per class is {mean} [{low}, {high}]"
    found = scores.convergence
    if found is not None and (
        found.gradient_norm < 0 or found.penalty < 0 or not _near(found.gap, found.objective - found.optimum)
    ):
        yield "its convergence contradicts itself"


def _unmeasured(scores: Scores, spec: RunSpec) -> Iterator[str]:
    """Yield the scores that a run of this kind doesn't measure."""
    if scores.top5 is not None and spec.mode != "upstream":
        yield f"it has top5, which mode {spec.mode} doesn't measure"
    if scores.best_test is not None and spec.protocol.get("eval_test") != "each_epoch":
        yield "it has the best epoch's accuracy, and its protocol scores the last one"
    for name in ("val_top1", "val_mean_per_class", "temperature"):
        if getattr(scores, name) is not None and scores.n_val == 0:
            yield f"it has {name}, and no val images"


def _trials(record: RunRecord) -> Iterator[str]:
    """Yield what is wrong with what a run chose from on val."""
    chosen = record.scores.chosen if record.scores is not None else {}
    if chosen and all(chosen != trial.settings for trial in record.trials):
        yield "what it chose is none of its trials"
    for trial in record.trials:
        accuracies = (trial.val_top1, trial.val_mean_per_class)
        if any(value is not None and not 0 <= value <= 1 for value in accuracies) or (trial.val_loss or 0) < 0:
            yield f"the trial {trial.settings} has impossible scores on val"


def _counts(processes: Processes) -> bool:
    sent = processes.sent.values()
    return (
        1 <= processes.end <= processes.start <= _MOST_THREADS and processes.restarts >= 0 and min(sent, default=0) >= 0
    )


def _near(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-4, abs_tol=1e-6)


def _is_hash(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 64 and not set(value) - set("0123456789abcdef")
