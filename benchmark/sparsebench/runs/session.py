"""One group's runs: what they share, loaded once, and what each of them computes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..common.files import write_bytes
from ..common.progress import Progress, notify, part
from ..common.retry import RETRIES, RETRY_SECONDS
from ..common.timings import stage
from ..datasets import TaskData, open_task
from ..datasets.base import partition
from ..datasets.images.transforms import Transform, resolve_transform
from ..models.loading import Backbone, load_entry
from ..schema import Group, MaskProof, RunError, RunSpec, Scores, Trial, canonical_json
from ..store import LEASE_SECONDS, Predictions, Store
from ..transfer import probes
from ..transfer.features import Features, extract
from ..transfer.finetune import EpochReport, TrainingState, finetune
from ..transfer.finetune.training_state import EVERY_SECONDS
from ..transfer.grid_search import grid_progress, search_grid, with_choice
from ..transfer.probes.base import LinearHead
from ..transfer.probes.choice import at_best, choose
from ..transfer.probes.data import Fitted, ProbeData
from ..transfer.probes.rows import Rows
from ..transfer.scoring import finetuned_scores, predictions_of, probe_scores
from .logs import RunLogs
from .plan import Overwrite, PredictionKind


@dataclass(frozen=True)
class RunOptions:
    """Where a run reads and writes, what else it leaves, and which records it leaves as they are.

    ``since`` is the date of the command's plan file, in nanoseconds by the clock of the results' file system: a record
    written from then on is this command's own, or that of a process that works on the same runs. ``lease_seconds`` is
    how long a run stays claimed for a process that is not heard of any more. ``checkpoint_seconds`` is how often a
    finetuning writes down how far it is; ``predictions`` says whether test logits are kept or the predicted classes
    alone, ``save_heads`` whether a probe's trained classifier is; ``retries`` and ``retry_seconds`` say how often, and
    after how long, a run is tried again that the disk or the network failed; ``logger`` is one of
    :data:`sparsebench.runs.logs.LOGGERS`.
    """

    results: Path
    data_dir: Path | None = None
    cache_dir: Path | None = None
    save_weights: bool = False
    save_heads: bool = True
    predictions: PredictionKind = "logits"
    workers: int | None = None
    overwrite: Overwrite = "failed"
    since: int | None = None
    lease_seconds: float = LEASE_SECONDS
    checkpoint_seconds: float = EVERY_SECONDS
    retries: int = RETRIES
    retry_seconds: float = RETRY_SECONDS
    logger: str | None = None


@dataclass(frozen=True)
class Kept:
    """Where a run keeps how far it is, and who is told of its epochs."""

    resume: TrainingState
    logs: RunLogs

    def observe(self, report: EpochReport) -> None:
        """Log an epoch."""
        values = {"loss": report.loss, "lr": report.lr, "seconds": round(report.seconds, 3)}
        self.logs.epoch(report.epoch + 1, values if report.test is None else values | {"test": report.test})


@dataclass(frozen=True)
class Outcome:
    """What a run gives; ``shared_seconds`` corrects its time where one fit served several runs of the group."""

    scores: Scores
    predictions: Predictions
    mask_proof: MaskProof | None = None
    feature_seconds: float | None = None
    features_cached: bool | None = None
    weights_file: str | None = None
    head_file: str | None = None
    trials: tuple[Trial, ...] = ()
    shared_seconds: float = 0.0


@dataclass(frozen=True)
class Loaded:
    """A group's checkpoint and task, and the transform between them."""

    backbone: Backbone
    data: TaskData
    transform: Transform


class Session:
    """What the runs of a group share; loaded at the first one, so that a failure to load is that run's failure."""

    def __init__(self, group: Group, options: RunOptions) -> None:
        self.group, self.options = group, options
        self.store = Store(options.results)
        self._loaded: Loaded | None = None
        self._features: list[Features] | None = None
        self._fitted: dict[int, Fitted | RunError] = {}  # by seed
        self._alone = False  # fitting all seeds at once has failed

    def take(self, runs: tuple[RunSpec, ...]) -> None:
        """Let ``runs`` be those of the group that are done here, next and together."""
        self.group = self.group.model_copy(update={"runs": runs})

    def forget(self) -> None:
        """Load anew what is shared, when it is next needed: what it was read from has failed."""
        self._loaded, self._features = None, None

    def run(self, spec: RunSpec, progress: Progress, kept: Kept) -> Outcome:
        """Run one cell."""
        if self._loaded is None:
            with stage("load"):
                self._loaded = self._load(spec)
        if spec.mode == "full":
            return self._full(spec, self._loaded, progress, kept)
        if self._features is None:
            self._features = self._extract(spec, self._loaded, part(progress, 0.0, 0.5))
            progress = part(progress, 0.5, 1.0)
        return self._linear(spec, self._loaded, self._features, progress)

    def _load(self, spec: RunSpec) -> Loaded:
        backbone = load_entry(self.group.checkpoint)
        data = open_task(self.group.task, self.options.data_dir, self.options.cache_dir)
        transform = resolve_transform(backbone.preprocess, data.task, self.group.protocol)
        for what, now, planned in (
            ("checkpoint", backbone.info.weights_sha256, spec.weights_sha256),
            ("checkpoint's mask", backbone.info.mask_sha256, spec.mask_sha256),
            ("data set", data.split_sha256, spec.split_sha256),
            ("transform", transform.sha256, spec.transform_sha256),
        ):
            if now != planned:
                raise RunError(f"the {what} of {self.group.label} has changed since the plan was made", "run again")
        return Loaded(backbone, data, transform)

    def _extract(self, spec: RunSpec, loaded: Loaded, progress: Progress) -> list[Features]:
        """Return the features of the training, test and validation images, each for itself: any protocol uses them."""
        data = loaded.data
        splits = [data.train, data.test] + ([data.val] if len(data.val) else [])
        return [
            extract(
                loaded.backbone,
                split,
                loaded.transform,
                spec.numerics,
                cache_dir=self.options.cache_dir,
                progress=part(progress, k / len(splits), (k + 1) / len(splits)),
                workers=self.options.workers,
            )
            for k, split in enumerate(splits)
        ]

    def _linear(self, spec: RunSpec, loaded: Loaded, features: list[Features], progress: Progress) -> Outcome:
        train, test, *held_out = features
        data = loaded.data
        probe_data = ProbeData(
            x=Rows([train.x, *(f.x for f in held_out)]),
            y=np.concatenate([train.y, *(f.y for f in held_out)]),
            n_train=len(data.train),
            x_test=test.x,
            y_test=test.y,
            num_classes=len(data.classes),
            metric=spec.metric,
        )
        started = time.perf_counter()
        with stage("probe"):
            fitted = self._fit(spec, probe_data, progress)
        passed = time.perf_counter() - started
        if isinstance(fitted, RunError):
            raise fitted
        return Outcome(
            probe_scores(fitted, probe_data, data),
            self._predictions(fitted.test_logits, data),
            head_file=self._save_head(spec, loaded, fitted.head),
            feature_seconds=round(sum(f.seconds for f in features), 4),
            features_cached=all(f.cached for f in features),
            trials=fitted.trials,
            shared_seconds=fitted.seconds - passed,
        )

    def _fit(self, spec: RunSpec, data: ProbeData, progress: Progress) -> Fitted | RunError:
        """Return a run's fit; the first one asked for fits all runs of the group together.

        Where that fails as a whole, each run is fitted alone, so that what is wrong with one is its own failure.
        """
        if spec.seed not in self._fitted:
            fit, seeds = probes.get(spec.probe or ""), [run.seed for run in self.group.runs]
            options: dict[str, Any] = {"device": spec.numerics.device, "progress": progress}
            if len(seeds) > 1 and not self._alone:
                try:
                    self._fitted = dict(zip(seeds, fit(data, self.group.protocol, seeds, **options), strict=True))
                except Exception as error:
                    notify(
                        f"{self.group.label}: {type(error).__name__} with {len(seeds)} seeds at once; now one by one"
                    )
                    self._alone = True
            if spec.seed not in self._fitted:
                (self._fitted[spec.seed],) = fit(data, self.group.protocol, [spec.seed], **options)
        return self._fitted.pop(spec.seed)

    def _full(self, spec: RunSpec, loaded: Loaded, progress: Progress, kept: Kept) -> Outcome:
        data, protocol, numerics = loaded.data, self.group.protocol, spec.numerics
        workers = self.options.workers
        trials: tuple[Trial, ...] = ()
        chosen: Trial | None = None
        fixed = (loaded.backbone, data, loaded.transform)
        if protocol.grid is not None:
            searching, progress = grid_progress(protocol, progress)
            trials = search_grid(
                *fixed,
                protocol,
                spec.seed,
                numerics=numerics,
                progress=searching,
                workers=workers,
                resume=kept.resume,
            )
            chosen = choose(trials, spec.metric)
            protocol = at_best(protocol, chosen)
        result = finetune(
            *fixed,
            protocol,
            spec.seed,
            numerics=numerics,
            progress=progress,
            workers=workers,
            resume=kept.resume,
            observe=kept.observe,
        )
        scores = finetuned_scores(
            result.test_logits,
            data,
            n_train=len(partition(data, protocol.train_on)[0]),
            val_logits=result.val_logits,
            train_loss=result.train_loss,
            best_test=result.best_test,
        )
        weights = self._save_weights(spec, loaded, result.state_dict) if self.options.save_weights else None
        predictions = self._predictions(result.test_logits, data)
        scores = with_choice(scores, chosen, len(data.val))
        return Outcome(scores, predictions, result.mask_proof, weights_file=weights, trials=trials)

    def _predictions(self, logits: npt.NDArray[np.floating], data: TaskData) -> Predictions:
        found = predictions_of(logits, data)
        return found if self.options.predictions == "logits" else found.without_logits()

    def _save_weights(self, spec: RunSpec, loaded: Loaded, state: dict[str, torch.Tensor]) -> str:
        tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
        return self._save(f"weights/{spec.record_key}.safetensors", "finetuned", spec, loaded, tensors)

    def _save_head(self, spec: RunSpec, loaded: Loaded, head: LinearHead | None) -> str | None:
        if head is None or not self.options.save_heads:
            return None
        tensors = {"weight": torch.from_numpy(head.weight), "bias": torch.from_numpy(head.bias)}
        return self._save(f"heads/{spec.record_key}.safetensors", "head", spec, loaded, tensors)

    def _save(self, name: str, what: str, spec: RunSpec, loaded: Loaded, tensors: dict[str, torch.Tensor]) -> str:
        """Write tensors below the results folder, with what they are in the file's metadata; return the file's name."""
        from safetensors.torch import save

        described = {
            "arch": loaded.backbone.info.arch,
            "checkpoint": spec.checkpoint,
            "weights_sha256": spec.weights_sha256,
            "task": spec.task,
            "classes": list(loaded.data.classes),
            "run_id": spec.run_id,
        }
        write_bytes(self.options.results / name, save(tensors, {what: canonical_json(described)}))
        return name
