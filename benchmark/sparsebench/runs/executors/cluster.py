"""What a site's Slurm asks of a job: a small YAML profile, and what of it the command line replaces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, StringConstraints, model_validator

from ... import extensions
from ...schema import Numerics
from ...schema.base import Strict
from ...schema.yamlfile import read_mapping, validate

Text = Annotated[str, StringConstraints(strict=True, min_length=1, pattern=r"^[^\n\x00]+$")]
Count = Annotated[int, Field(strict=True, gt=0)]
_OURS = {
    "array", "dependency", "error", "input", "job-name", "no-requeue", "nodes", "ntasks", "ntasks-per-node",
    "open-mode", "output", "parsable", "requeue", "signal", "test-only", "wait", "wrap",
}  # fmt: skip
_KEYS = {"time": "time_minutes", "mem": "memory_gb", "cpus-per-task": "cpus", "gpus-per-node": "gpus"}


class Cluster(Strict):
    """The options of the jobs of a submission; what is None is left to the site.

    ``cpus`` defaults to the threads of a run's processes and their image-decoding workers, ``gpus`` to one per process
    where runs compute on CUDA and to none elsewhere. A job is one task, whatever the processes per run. ``array_size``
    is the most elements of one array, ``max_parallel`` the most jobs at a time; short runs share a job of about
    ``bundle_minutes``. ``setup`` are lines of shell before the work (``module load cuda``); ``extra`` are further
    options of sbatch, without their dashes; True is an option without a value.

    Slurm signals a job ``signal_seconds`` before its time limit (120, or a quarter of a shorter limit): the run then
    writes down how far it is and the job queues again, ``max_timeouts`` times at most.
    """

    partition: Text | None = Field(default=None, description="partition; by default the site's")
    account: Text | None = Field(default=None, description="account that is charged; by default the site's")
    qos: Text | None = Field(default=None, description="quality of service; by default the site's")
    constraint: Text | None = Field(default=None, description="features that the nodes must have, such as a100")
    time_minutes: Count = Field(default=240, description="time limit of a job, in minutes")
    memory_gb: float | None = Field(
        strict=True, default=None, gt=0, description="memory of a job, in GiB; by default the site's"
    )
    cpus: Count | None = Field(
        default=None, description="cores of a job; by default --threads plus --workers, per process of a run"
    )
    gpus: int | None = Field(
        strict=True,
        default=None,
        ge=0,
        description="GPUs of a job; by default one per process of a run with --device cuda, else 0",
    )
    array_size: Count = Field(default=1000, description="most jobs in one array")
    bundle_minutes: float = Field(
        strict=True,
        default=5.0,
        ge=0,
        description="short runs share a job of about this much work, in minutes; 0 gives each its own",
    )
    max_parallel: Count | None = Field(default=None, description="most jobs at a time, over all arrays of a submission")
    setup: tuple[Text, ...] = Field(default=(), description="lines of shell before the work, such as module load cuda")
    extra: dict[Text, bool | int | float | Text] = Field(
        default_factory=dict,
        description="further options of sbatch, without their dashes; true is an option without a value",
    )
    signal_seconds: Count | None = Field(
        default=None,
        description="how long before its time limit a job is warned; by default 120, or a quarter of a shorter limit",
    )
    max_timeouts: int = Field(
        strict=True, default=20, ge=0, description="how often a job that reached its time limit queues again"
    )

    def for_runs(self, numerics: Numerics, workers: int) -> Cluster:
        """Return the profile with the numbers that follow from how runs compute filled in."""
        gpus = numerics.processes * numerics.device.startswith("cuda") if self.gpus is None else self.gpus
        cpus = self.cpus or numerics.processes * (numerics.threads + workers)
        return self.model_copy(update={"cpus": cpus, "gpus": gpus})

    @property
    def warning_seconds(self) -> int:
        """Seconds before its time limit at which a job is signalled."""
        return self.signal_seconds or min(120, 15 * self.time_minutes)

    @model_validator(mode="after")
    def _consistent(self) -> Cluster:
        for name in self.extra:
            if name.startswith("-"):
                raise ValueError(f"options in 'extra' are written without dashes: {name.lstrip('-')}")
            if (option := name.replace("_", "-")) in _OURS:
                raise ValueError(f"sparsebench sets the option {name!r} itself")
            if option in _KEYS:
                raise ValueError(f"give {_KEYS[option]!r} instead of the option {name!r}")
        if self.warning_seconds >= 60 * self.time_minutes:
            raise ValueError(f"'signal_seconds' {self.warning_seconds} is no less than the time limit")
        return self

    def sbatch_options(self) -> dict[str, str | int | float | bool]:
        """Return the options of sbatch that ask for resources; True is an option without a value."""
        memory = None if self.memory_gb is None else f"{round(self.memory_gb * 1024)}M"
        asked = {
            "partition": self.partition,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "time": self.time_minutes,
            "nodes": 1,
            "ntasks": 1,
            "cpus-per-task": self.cpus,
            "gpus-per-node": self.gpus or None,
            "mem": memory,
        }
        known = {name: value for name, value in asked.items() if value is not None}
        return known | {name.replace("_", "-"): value for name, value in self.extra.items()}


def settings_model(executor: str | Path | None) -> type[BaseModel]:
    """Return the model of an executor's own settings: Slurm's where it has none, or isn't named."""
    if executor is None:
        return Cluster
    declared = extensions.find("executors", extensions.resolve("executors", executor))
    model: type[BaseModel] | None = None if declared is None else declared.settings
    return model or Cluster


def read_cluster(path: Path | None, executor: str | Path | None = None, **replaced: Any) -> Any:
    """Return the settings of an executor, Slurm's a :class:`Cluster`, from a YAML file and values beside it.

    Fields are replaced whose value is not None; ``extra`` is added to.

    Raises
    ------
    RegistryError
        If the file can't be read, or says what a profile can't say.
    """
    document = None if path is None else read_mapping(path)
    fields = dict(document or {})
    fields |= {name: value for name, value in replaced.items() if value is not None and name != "extra"}
    if more := replaced.get("extra"):
        before = fields.get("extra", {})
        fields["extra"] = {**before, **more} if isinstance(before, dict) else before
    return validate(
        settings_model(executor),
        fields,
        path=document.place if document is not None else Path("the command line"),
        entry="cluster",
    )
