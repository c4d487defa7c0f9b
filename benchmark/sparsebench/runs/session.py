"""One group's runs: what they share, loaded once; each is computed in its mode, and what it gives is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from safetensors.torch import save

from ..common.files import write_bytes
from ..common.progress import Progress, part
from ..common.timings import stage
from ..datasets import open_task
from ..datasets.base import Split
from ..datasets.further import fingerprint_of, open_further
from ..datasets.images.transforms import resolve_transform
from ..engines.kept import KeptEngine
from ..models.backbone import Backbone
from ..models.loading import load_entry
from ..schema import Checkpoint, Group, PlannedSet, Protocol, RunError, RunRecord, RunSpec, canonical_json
from ..store import Store
from ..transfer.finetune import EpochReport, TrainingState
from ..transfer.full import run_full
from ..transfer.further import Scorer
from ..transfer.linear import LinearRuns
from ..transfer.outcome import Further, Inputs, Outcome
from ..transfer.upstream import run_upstream
from .claiming import lacking
from .kept import kept_file, read_kept
from .logs import RunLogs
from .options import RunOptions

__all__ = ["Kept", "Loaded", "Outcome", "Session"]


@dataclass(frozen=True)
class Kept:
    """Where a run keeps its training state, and its log."""

    resume: TrainingState
    logs: RunLogs

    def observe(self, report: EpochReport) -> None:
        """Log an epoch."""
        values = {"loss": report.loss, "lr": report.lr, "seconds": round(report.seconds, 3)}
        self.logs.epoch(report.epoch + 1, values if report.test is None else values | {"test": report.test})


class Loaded:
    """What a process keeps from one group for the next: the backbone that it loaded last, and its engine."""

    def __init__(self) -> None:
        self.engine = KeptEngine()
        self._of: tuple[Checkpoint, bool] | None = None
        self._backbone: Backbone | None = None

    def backbone(self, checkpoint: Checkpoint, *, head: bool = False) -> Backbone:
        """Return a checkpoint's backbone, perhaps with its head, or raise :class:`CheckpointError`."""
        if self._backbone is None or self._of != (checkpoint, head):
            self.forget()  # before the next one is read: two may not fit into memory
            self._backbone, self._of = load_entry(checkpoint, head=head), (checkpoint, head)
        return self._backbone

    def forget(self) -> None:
        """Let go of all of it."""
        self._backbone = self._of = None
        self.engine.clear()


class Session:
    """What the runs of a group share; loaded at the first one, so that a failure to load is that run's failure."""

    def __init__(self, group: Group, options: RunOptions, loaded: Loaded | None = None) -> None:
        self.group, self.options, self.loaded = group, options, loaded or Loaded()
        self._together = group.runs
        self.store = Store(options.results)
        self._inputs: Inputs | None = None
        self._linear: LinearRuns | None = None
        self._splits: dict[str, Split] = {}  # of further test sets, by fingerprint

    def take(self, runs: tuple[RunSpec, ...]) -> None:
        """Note which runs of the group are done next in this process: a probe may fit their seeds together."""
        self._together = runs

    def forget(self) -> None:
        """Load anew what is shared, when it is next needed: what it was read from has failed."""
        self._inputs = None
        self._splits.clear()
        self.loaded.forget()
        if self._linear is not None:
            self._linear.forget()

    def run(self, spec: RunSpec, progress: Progress, kept: Kept) -> Outcome:
        """Run one cell, and write what the options say to keep of it beside its record."""
        inputs, protocol, options = self.inputs_of(spec), self.group.protocol, self.options
        scorer, whole, own = self._scorer(spec, self.group.tests), progress, 1.0
        if scorer.sets:
            own = _images(inputs, protocol) / (_images(inputs, protocol) + scorer.images)
            progress = part(whole, 0.0, own)
        if spec.mode == "full":
            outcome = run_full(
                inputs,
                protocol,
                spec,
                progress=progress,
                workers=options.workers,
                resume=kept.resume,
                observe=kept.observe,
            )
        elif spec.mode == "upstream":
            outcome = run_upstream(
                inputs,
                spec,
                keep_logits=options.predictions == "logits",
                cache_dir=options.cache_dir,
                progress=progress,
                workers=options.workers,
            )
        else:
            self._linear = self._linear or LinearRuns(protocol, self.group.label, options.cache_dir, options.workers)
            outcome = self._linear.run(inputs, spec, [run.seed for run in self._together], progress)
        if scorer.sets:
            outcome = replace(outcome, further=scorer.run(spec, outcome.tensors, part(whole, own, 1.0)))
        return self._keep(spec, inputs, outcome)

    def finished(self, spec: RunSpec) -> RunRecord | None:
        """Return a run's finished record if further test sets can be scored by what it kept, and nothing else is to do.

        Raises
        ------
        ResultsError
            If the record is of a newer schema than this version reads.
        """
        if self.options.overwrite == "always" or not self.group.tests:
            return None
        found = self.store.find(spec)
        if (
            found is None
            or not lacking(found.record, self.group.tests)
            or kept_file(found.record, self.store.root) is None
        ):
            return None
        return found.record

    def score_again(self, record: RunRecord, progress: Progress) -> tuple[Further, ...]:
        """Score a finished run on the test sets that it lacks, by the head or network that it kept."""
        path, missing = kept_file(record, self.store.root), lacking(record, self.group.tests)
        if path is None:
            raise RunError(f"the head or network of {record.record_key} is gone", "run again")
        tensors, _ = read_kept(path, record)
        found = self._scorer(record.spec, missing).run(record.spec, tensors, progress)
        return self._trimmed(found)

    def _scorer(self, spec: RunSpec, tests: Sequence[PlannedSet]) -> Scorer:
        """Return what scores further test sets; their images must be those of the plan."""
        inputs, options, sets = self.inputs_of(spec), self.options, []
        for planned in tests:
            if planned.fingerprint not in self._splits:
                split = open_further(inputs.data, planned.name, planned.source, options.data_dir, options.cache_dir)
                if fingerprint_of(inputs.data.split_sha256, planned.source, split) != planned.fingerprint:
                    raise RunError(
                        f"the test set {planned.name!r} of {self.group.label} has changed since the plan was made",
                        "run again",
                    )
                self._splits[planned.fingerprint] = split
            sets.append((planned, self._splits[planned.fingerprint]))
        return Scorer(inputs, sets, options.cache_dir, options.workers)

    def _trimmed(self, found: Sequence[Further]) -> tuple[Further, ...]:
        """Return results with as much of their predictions as the options say."""
        if self.options.predictions != "classes":
            return tuple(found)
        return tuple(replace(one, predictions=one.predictions.without_logits()) for one in found)

    def inputs_of(self, spec: RunSpec) -> Inputs:
        """Return what the group's runs share, loaded by the first that needs it."""
        if self._inputs is None:
            with stage("load"):
                self._inputs = self._load(spec)
        return self._inputs

    def _load(self, spec: RunSpec) -> Inputs:
        backbone = self.loaded.backbone(self.group.checkpoint, head=self.group.mode == "upstream")
        data = open_task(self.group.task, self.options.data_dir, self.options.cache_dir)
        transform = resolve_transform(backbone.preprocess, data.task, self.group.protocol)
        own_head = backbone.info.head_sha256 if spec.mode == "upstream" else None
        for what, now, planned in (
            ("checkpoint's head", own_head, spec.head_sha256),
            ("checkpoint", backbone.info.weights_sha256, spec.weights_sha256),
            ("checkpoint's mask", backbone.info.mask_sha256, spec.mask_sha256),
            ("data set", data.split_sha256, spec.split_sha256),
            ("transform", transform.sha256, spec.transform_sha256),
        ):
            if now != planned:
                raise RunError(f"the {what} of {self.group.label} has changed since the plan was made", "run again")
        return Inputs(backbone, data, transform, self.loaded.engine)

    def _keep(self, spec: RunSpec, inputs: Inputs, outcome: Outcome) -> Outcome:
        """Write an outcome's tensors where they are asked for, and return it as its record has it."""
        options, full = self.options, spec.mode == "full"
        predictions = outcome.predictions
        if options.predictions == "classes":
            predictions = predictions.without_logits()
        kept = replace(outcome, predictions=predictions, further=self._trimmed(outcome.further), tensors=None)
        if outcome.tensors is None or not (options.save_weights if full else options.save_heads):
            return kept
        file = f"{'weights' if full else 'heads'}/{spec.record_key}.safetensors"
        what = {
            "arch": inputs.backbone.info.arch,
            "checkpoint": spec.checkpoint,
            "weights_sha256": spec.weights_sha256,
            "task": spec.task,
            "classes": list(inputs.data.classes),
            "run_id": spec.run_id,
        }
        metadata = {"finetuned" if full else "head": canonical_json(what)}
        write_bytes(options.results / file, save(dict(outcome.tensors), metadata))
        return replace(kept, weights_file=file if full else None, head_file=None if full else file)


def _images(inputs: Inputs, protocol: Protocol) -> int:
    """Return how many images a run takes through the network, further test sets aside; one in training counts thrice.

    A backward pass takes twice the time of a forward one.
    """
    data = inputs.data
    if protocol.mode == "full":
        return 3 * protocol.epochs * len(data.train) + len(data.test)
    return len(data.train) + len(data.val) + len(data.test)
