"""RunSpec, Group and RunRecord: one cell of the benchmark, before and after it ran."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, computed_field, model_validator

from .base import SCHEMA_VERSION, Lenient, digest
from .checkpoint import Checkpoint
from .probe import Convergence
from .task import Metric, Mode, Probe, Protocol, Task

Status = Literal["ok", "failed"]


class Numerics(Lenient):
    """How a run computes: with equal run ids and equal numerics the numbers are equal bit for bit.

    ``microbatch`` is how many images of a training batch are computed at once where the memory doesn't take them all;
    batch normalisation then sees that many.
    """

    device: str = "cpu"
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    engine: str = "torch"
    threads: int = Field(default=1, gt=0)
    channels_last: bool = True
    compile: bool = False
    decoder: Literal["fast", "pillow"] = "fast"
    microbatch: int | None = Field(default=None, ge=2)


class RunSpec(Lenient):
    """One run: a checkpoint on a task in a mode with a seed.

    The identity is what the numbers depend on, by content and never by name; the labels are what people call it.
    """

    # identity
    arch: str
    weights_sha256: str
    mask_sha256: str
    split_sha256: str
    transform_sha256: str
    mode: Mode
    probe: Probe | None
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
    upstream_top1: float | None = None
    task: str
    suite: str | None = None
    protocol_name: str
    metric: Metric
    numerics: Numerics = Numerics()

    @computed_field  # type: ignore[prop-decorator]
    @property
    def run_id(self) -> str:
        """Sha256 (first 16 hex digits) of the canonical JSON of what defines the cell."""
        return digest(
            {
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
        )[:16]


class Group(Lenient):
    """The runs that share a checkpoint, a task and a mode: one load, one extraction, one record a run.

    A group is all that a worker needs: it carries the registry entries themselves, so no registry is read again.
    """

    checkpoint: Checkpoint
    task: Task
    mode: Mode
    protocol: Protocol
    runs: tuple[RunSpec, ...]

    @property
    def label(self) -> str:
        """What people call it, for example ``mini.acdc_s90 · digits · linear``."""
        return f"{self.checkpoint.id} · {self.task.id} · {self.mode}"


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
    """Accuracy over random draws of ``shots`` images a class: mean and Student's 95 % interval, as fractions."""

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

    Where the protocol chooses, ``val_top1`` and ``val_mean_per_class`` are the chosen point's, trained on train
    alone, and ``chosen`` has the hyperparameters by name that the final training used (see :class:`Trial`). Schema 1
    had them as ``chosen_lr`` and so on, which are still read.
    A few-shot probe's accuracies are the means over the draws of most images a class; ``few_shot`` has them all.
    ``convergence`` is known of linear heads under cross-entropy (``sgd`` and ``lbfgs``).
    """

    top1: float
    mean_per_class: float
    val_top1: float | None = None
    val_mean_per_class: float | None = None
    best_test: float | None = None
    chosen: dict[str, Any] = Field(default_factory=dict)
    few_shot: tuple[FewShotScore, ...] = ()
    train_loss: float | None = None
    convergence: Convergence | None = None
    n_train: int
    n_val: int = 0
    n_test: int
    n_classes: int

    @model_validator(mode="before")
    @classmethod
    def _from_schema_1(cls, data: Any) -> Any:
        return _gathered(data, "chosen", "chosen_")


class MaskProof(Lenient):
    """Count of masked weights and of those among them that are not zero (which must be 0)."""

    masked: int
    nonzero: int


class RunRecord(Lenient):
    """What one run leaves on disk.

    ``stages`` are the seconds that passed in each stage (:data:`sparsebench.stages.STAGES`). What the runs of a group
    share counts for the run that did it, but fits that served several runs for each of them equally, as in ``seconds``.
    """

    schema_version: int = SCHEMA_VERSION
    run_id: str
    status: Status
    spec: RunSpec
    scores: Scores | None = None
    trials: tuple[Trial, ...] = ()
    mask_proof: MaskProof | None = None
    failure: Failure | None = None
    predictions: str | None = None
    predictions_sha256: str | None = None
    weights_file: str | None = None
    seconds: float | None = None
    feature_seconds: float | None = None
    stages: dict[str, float] = Field(default_factory=dict)
    features_cached: bool | None = None
    started: str
    environment: dict[str, str] = Field(default_factory=dict)


class PlanFile(Lenient):
    """A plan on disk: what ``status`` compares the records with, and all that a worker elsewhere needs."""

    schema_version: int = SCHEMA_VERSION
    command: str
    created: str
    groups: tuple[Group, ...]
