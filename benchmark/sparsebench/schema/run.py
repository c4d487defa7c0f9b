"""RunSpec, Group and RunRecord: one cell of the benchmark, before and after it ran."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

from pydantic import Field, computed_field, field_validator, model_validator

from .base import SCHEMA_VERSION, Lenient, digest
from .checkpoint import Checkpoint
from .further import FurtherTest, PlannedSet, by_name
from .probe import Convergence
from .protocol import RECORDED, Metric, Mode, Protocol
from .task import Task

Status = Literal["ok", "failed"]
Verdict = Literal["claimed", "rescored", "rerun"]
VERDICTS: tuple[Verdict, ...] = ("claimed", "rescored", "rerun")
"""What is known of a row from a bundle, the least first."""


class Numerics(Lenient):
    """How a run computes: equal run ids and equal numerics give equal bits on one machine.

    ``processes`` is the number of processes that compute one run together, each with so many ``threads``.
    """

    device: str = "cpu"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    engine: str = "torch"
    threads: int = Field(default=1, gt=0)
    channels_last: bool = True
    compile: bool = False
    decoder: Literal["fast", "pillow"] = "fast"
    processes: int = Field(default=1, gt=0)

    @property
    def key(self) -> str:
        """Sha256 (first 8 hex digits) of what decides the bits; which of several equal GPUs computes does not."""
        return digest(self.model_dump(mode="json") | {"device": self.device.partition(":")[0]})[:8]


class RunSpec(Lenient):
    """One run: a checkpoint on a task in a mode with a seed.

    The identity is what the user asks for, by content and never by name; the labels are what people call it. The
    numerics say how it is computed.

    ``head_sha256`` is the hash of the checkpoint's own classifier, where the run uses it. ``protocol`` holds every
    hyperparameter, and ``select_by``, the metric, where the protocol chooses some of them on validation.
    """

    # identity
    arch: str
    weights_sha256: str
    mask_sha256: str
    head_sha256: str | None = None
    split_sha256: str
    transform_sha256: str
    mode: Mode
    probe: str | None
    protocol: dict[str, Any]
    seed: int
    # labels
    checkpoint: str
    family: str | None = None
    method: str
    variant: str | None = None
    sparsity: float
    sparsity_measured: float
    sparsity_scope: str
    distribution: str
    nm: str | None = None
    reference: str | None = None
    twin_of: str | None = None
    replicate: int = 0
    upstream_top1: float | None = None
    task: str
    protocol_name: str
    metric: Metric
    numerics: Numerics = Numerics()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def run_id(self) -> str:
        """Sha256 (first 16 hex digits) of the canonical JSON of what the user asks for."""
        asked = {
            "arch": self.arch,
            "weights": self.weights_sha256,
            "mask": self.mask_sha256,
            "split": self.split_sha256,
            "transform": self.transform_sha256,
            "mode": self.mode,
            "probe": self.probe,
            "protocol": self.protocol,
            "seed": self.seed,
        }
        return digest(asked if self.head_sha256 is None else asked | {"head": self.head_sha256})[:16]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def record_key(self) -> str:
        """The run id and the key of the numerics: records of equal keys hold equal numbers."""
        return f"{self.run_id}-{self.numerics.key}"


class Group(Lenient):
    """The runs that share a checkpoint, a task and a mode: one load, one extraction, one record per run.

    ``tests`` are the further test sets that its runs are scored on. A group is all that a worker needs: it carries the
    registry entries themselves, so no registry is read again.
    """

    checkpoint: Checkpoint
    task: Task
    mode: Mode
    protocol: Protocol
    runs: tuple[RunSpec, ...]
    tests: tuple[PlannedSet, ...] = ()

    @field_validator("protocol", mode="before")
    @classmethod
    def _recorded(cls, value: Any) -> Any:
        return Protocol.model_validate(value, context=RECORDED) if isinstance(value, dict) else value

    @property
    def label(self) -> str:
        """What people call it, for example ``mini.acdc_s90 · digits · linear``."""
        return f"{self.checkpoint.id} · {self.task.id} · {self.mode}"

    def only(self, keys: Collection[str]) -> Group | None:
        """Return the group with those of its runs that have one of these record keys; None if there are none."""
        runs = tuple(run for run in self.runs if run.record_key in keys)
        return self.model_copy(update={"runs": runs}) if runs else None


class Failure(Lenient):
    """Why a run failed."""

    type: str
    message: str
    traceback: str = ""


_SCHEMA_1_SETTINGS = ("lr", "weight_decay", "l2", "k")


def _gathered(data: Any, into: str, prefix: str) -> Any:
    """Return a record's mapping where schema 1 has a field per hyperparameter: these become one mapping."""
    if not isinstance(data, dict) or into in data:
        return data
    found = {name: data[prefix + name] for name in _SCHEMA_1_SETTINGS if data.get(prefix + name) is not None}
    return {**data, into: found} if found else data


class Trial(Lenient):
    """One of the hyperparameters to choose from, fitted on train and scored on val; no scores where it diverged.

    ``settings`` are the hyperparameters by name: ``lr`` and ``weight_decay`` of a grid, ``l2`` or ``k`` of a probe that
    chooses a penalty or a number of neighbours. Schema 1 had them as fields of their own, which are still read.
    """

    settings: dict[str, Any] = Field(default_factory=dict)
    val_top1: float | None = None
    val_mean_per_class: float | None = None
    val_loss: float | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_schema_1(cls, data: Any) -> Any:
        return _gathered(data, "settings", "")


class FewShotScore(Lenient):
    """Accuracy over random draws of ``shots`` images per class: mean and Student's 95 % interval, as fractions."""

    shots: int
    draws: int
    top1: float
    top1_low: float
    top1_high: float
    mean_per_class: float
    mean_per_class_low: float
    mean_per_class_high: float


class Scores(Lenient):
    """What a run measured; accuracies are fractions.

    Where the protocol chooses, ``val_top1`` and ``val_mean_per_class`` are the chosen point's, trained on train alone,
    and ``chosen`` has the hyperparameters by name that the final training used (see :class:`Trial`). Schema 1 had
    them as ``chosen_lr`` and so on, which are still read. ``top5`` is mode ``upstream``'s: the label is among the
    five largest logits. A few-shot probe's accuracies are the means over the draws of most images per class;
    ``few_shot`` has them all. ``temperature`` is what fits the logits of the validation images best
    (:func:`sparsebench.analysis.fit_temperature`); None where they were trained on, or there are none.
    ``convergence`` is known of linear heads under cross-entropy (``sgd`` and ``lbfgs``).
    """

    top1: float
    mean_per_class: float
    top5: float | None = None
    val_top1: float | None = None
    val_mean_per_class: float | None = None
    best_test: float | None = None
    chosen: dict[str, Any] = Field(default_factory=dict)
    few_shot: tuple[FewShotScore, ...] = ()
    train_loss: float | None = None
    convergence: Convergence | None = None
    temperature: float | None = None
    n_train: int
    n_val: int = 0
    n_test: int
    n_classes: int

    @model_validator(mode="before")
    @classmethod
    def _from_schema_1(cls, data: Any) -> Any:
        return _gathered(data, "chosen", "chosen_")


class MaskProof(Lenient):
    """Count of masked weights and of those among them that are not zero (which must be 0).

    ``sparsity`` is the fraction of the backbone's ``weights`` (the prunable ones, without exempt layers and the head)
    that masks held at zero; ``unheld_zeros`` is how many prunable weights were zero before training without a mask.
    """

    masked: int
    nonzero: int
    weights: int | None = None
    sparsity: float | None = None
    unheld_zeros: int | None = None


class Processes(Lenient):
    """What became of the processes that computed a run together.

    ``start`` and ``end`` are how many there were, ``restarts`` how often they went on from the last training state
    after one had ended. ``sent`` are the bytes that all of them sent in the training, by kind: ``gradients``,
    ``batch_norm`` and ``other``, as counted for ring algorithms.
    """

    start: int
    end: int
    restarts: int = 0
    sent: dict[str, int] = Field(default_factory=dict)


class Origin(Lenient):
    """Where a record that was not made here is from, and what was verified of it.

    ``bundle`` is the sha256 of the file that it came in. ``claimed``: nobody has checked its scores; ``rescored``: they
    follow from its predicted classes and the labels of the known test split; ``rerun``: moreover a random sample of its
    checkpoint's linear runs was run again and agrees.
    """

    bundle: str
    verdict: Verdict


class RunRecord(Lenient):
    """What one run leaves on disk.

    ``head_file`` holds a probe's trained classifier, ``tests`` the scores on further test sets by name. ``stages`` are
    the seconds that passed in each stage (:data:`~sparsebench.common.timings.STAGES`). What the
    runs of a group share counts for the run that did it, but fits that served several runs for each of them equally, as
    in ``seconds``. ``processes`` is known of a run that several computed.
    ``origin`` is that of a record from a bundle; None where it was run here.
    """

    schema_version: int = SCHEMA_VERSION
    status: Status
    spec: RunSpec
    scores: Scores | None = None
    tests: dict[str, FurtherTest] = Field(default_factory=dict)
    trials: tuple[Trial, ...] = ()
    mask_proof: MaskProof | None = None
    failure: Failure | None = None
    predictions: str | None = None
    predictions_sha256: str | None = None
    weights_file: str | None = None
    head_file: str | None = None
    seconds: float | None = None
    feature_seconds: float | None = None
    stages: dict[str, float] = Field(default_factory=dict)
    processes: Processes | None = None
    features_cached: bool | None = None
    started: str
    environment: dict[str, str] = Field(default_factory=dict)
    origin: Origin | None = None

    @field_validator("tests", mode="before")
    @classmethod
    def _tests_by_name(cls, value: Any) -> Any:
        return by_name(value)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self.spec.run_id

    @computed_field  # type: ignore[prop-decorator]
    @property
    def record_key(self) -> str:
        """The key of the record: run id and numerics."""
        return self.spec.record_key


class PlanFile(Lenient):
    """A plan on disk: what ``status`` compares the records with, and all that a worker elsewhere needs."""

    schema_version: int = SCHEMA_VERSION
    command: str
    created: str
    groups: tuple[Group, ...]
