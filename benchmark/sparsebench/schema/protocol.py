"""Protocol: every hyperparameter of a mode that changes the number."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    SerializerFunctionWrapHandler,
    StrictBool,
    ValidationInfo,
    field_validator,
    model_serializer,
    model_validator,
)

from .base import Strict
from .errors import nearest

Mode = Literal["linear", "full", "upstream"]
Metric = Literal["top1", "mean_per_class"]
Rate = Annotated[float, Field(strict=True, ge=0)]
PositiveRate = Annotated[float, Field(strict=True, gt=0)]
Number = Annotated[float, Field(strict=True)]
Natural = Annotated[int, Field(strict=True, ge=0)]
Count = Annotated[int, Field(strict=True, gt=0)]
MODES: tuple[Mode, ...] = ("linear", "full", "upstream")
TRAINED: tuple[Mode, ...] = ("linear", "full")
"""The modes that train something on a task; ``upstream`` tests a checkpoint's own head on its own task."""

_SGD_FIELDS = (
    "optimizer", "lr", "momentum", "nesterov", "weight_decay", "batch_size", "epochs", "milestones", "gamma",
    "microbatch", "eval_test", "grid", "parallel",
)  # fmt: skip
_OTHERS = ("train_on", "normalisation")
_OPTIONAL = ("grid", "microbatch", "parallel")


def probe_named(name: str | None) -> Any | None:
    """Return the declaration of a probe (:class:`sparsebench.extensions.Probe`); None if there is none of this name."""
    return None if name is None else import_module("sparsebench.extensions").find("probes", name)


def _own_settings(probe: str | None) -> tuple[str, ...]:
    """Return the fields that are a probe's own settings."""
    declared = probe_named(probe)
    return () if declared is None else tuple(declared.settings.model_fields)


def _trains(probe: str | None) -> bool:
    """Return whether full mode (None) or a probe uses the fields of training by SGD."""
    declared = probe_named(probe)
    return probe is None or (declared is not None and declared.trains)


def settings_of(probe: str | None) -> tuple[str, ...]:
    """Return the fields of a protocol that its probe (None: full mode) has a use for and that may be changed."""
    own = _own_settings(probe)
    if not _trains(probe):
        return (*own, *_OTHERS)
    unused = () if probe is None else ("nesterov", "microbatch", "eval_test", "parallel")
    trained = (name for name in _SGD_FIELDS if name not in unused)
    return (*own, *trained, *_OTHERS, *(() if probe else ("augment",)))


def settings_of_any_probe() -> set[str]:
    """Return the fields that are the own settings of some probe."""
    probes = import_module("sparsebench.extensions").known("probes")
    return {name for probe in probes.values() for name in probe.settings.model_fields}


class Augment(Strict):
    """Training-time augmentation that doesn't change what an image shows.

    ``crop``: ``shift`` moves the image by up to ``shift`` pixels (reflected at the border); ``random_resized`` is the
    published random area (``scale`` of the image) and aspect ratio (3/4 to 4/3), resized to the input size.
    """

    crop: Literal["none", "shift", "random_resized"] = Field(
        default="none",
        description="shift moves the image by up to `shift` pixels; random_resized cuts a random part and resizes it",
    )
    shift: int = Field(
        strict=True, default=0, ge=0, le=64, description="largest shift, in pixels; goes with crop shift"
    )
    scale: tuple[PositiveRate, PositiveRate] = Field(
        default=(0.08, 1.0), description="smallest and largest share of the image's area that random_resized cuts"
    )
    flip: StrictBool = Field(default=False, description="whether images are flipped horizontally at random")

    @field_validator("scale")
    @classmethod
    def _shares(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not value[0] <= value[1] <= 1:
            raise ValueError("'scale' is two shares of an image's area, the smaller first")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Augment:
        if (self.crop == "shift") != (self.shift > 0):
            raise ValueError("crop 'shift' and a positive 'shift' go together")
        return self


class Grid(Strict):
    """Learning rates and weight decays to choose from on the validation split."""

    lr: tuple[PositiveRate, ...] = Field(min_length=1, description="learning rates to choose from")
    weight_decay: tuple[Rate, ...] = Field(min_length=1, description="weight decays to choose from")

    @field_validator("lr", "weight_decay")
    @classmethod
    def _distinct(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(value)) != len(value):
            raise ValueError("the values of a grid are distinct")
        return value


class Parallel(Strict):
    """What several processes of a run do otherwise than one, so that it is part of the protocol.

    Without it they compute what one process would, but for rounding, and their number is a matter of numerics.
    """

    processes: int | None = Field(
        strict=True, default=None, ge=2, description="their number; --processes-per-run N fills it in"
    )
    batch_norm: Literal["synchronised", "local"] = Field(
        default="synchronised",
        description="local: each process normalises by the images of its own share of a batch",
    )
    exchange: Literal["exact", "int8"] = Field(
        default="exact",
        description="int8 exchanges gradients in 8 bits; what rounding leaves is added to the next step's",
    )
    when_killed: Literal["restart", "continue"] = Field(
        default="restart",
        description="restart: all go on from the last state; continue: all but the one that was lost, on fewer images",
    )

    @property
    def changes(self) -> bool:
        """Whether anything differs from what one process does."""
        return self.model_dump(exclude={"processes"}) != Parallel().model_dump(exclude={"processes"})


RECORDED = {"recorded": True}
"""Context for validating what a program wrote: a probe may be one that is declared on another machine alone."""


def _may_be_elsewhere(probe: Any, info: ValidationInfo) -> bool:
    """Return whether a probe that isn't known here may be another machine's: of a file, by its hash, or recorded."""
    return (isinstance(probe, str) and "@" in probe) or bool((info.context or {}).get("recorded"))


def _is_own(name: str, value: Any, protocol: type[Protocol]) -> bool:
    """Return whether a field that was written is the own setting of a probe of which nothing else is known."""
    if name not in protocol.model_fields:
        return True
    default = protocol.model_fields[name].default
    return name in _SGD_FIELDS and value not in (default, list(default) if isinstance(default, tuple) else default)


class Protocol(Strict):
    """Every hyperparameter of a mode.

    ``sgd`` and full mode use the fields from ``optimizer`` to ``gamma``, ``eval_test`` and ``grid``. Another probe has
    none of them, but its own ``settings``: these are written as fields beside the others (``l2``, ``neighbours``), and
    read as an object of the model that the probe declares.

    The learning rate is ``lr`` and is multiplied by ``gamma`` at the start of each (0-based) epoch in ``milestones``.

    ``microbatch`` (full mode) is how many images of a training batch are computed at once where the memory doesn't take
    them all; batch normalisation then sees that many.

    With a ``grid``, learning rate and weight decay are those of the :meth:`points` that scores best on val when trained
    on train; with them the run then trains on train and val, and is scored once on test.
    """

    name: str = Field(description="its name")
    mode: Mode = Field(description="linear (frozen features) or full (finetuning)")
    probe: str | None = Field(default=None, description="linear mode: the classifier")
    optimizer: Literal["sgd"] = Field(default="sgd", description="optimizer")
    lr: float = Field(strict=True, default=0.0, ge=0, description="learning rate; needed for SGD and full mode")
    momentum: float = Field(strict=True, default=0.9, ge=0, lt=1, description="momentum of SGD")
    nesterov: StrictBool = Field(default=False, description="Nesterov momentum; full mode")
    weight_decay: float = Field(strict=True, default=5e-4, ge=0, description="weight decay")
    batch_size: int = Field(strict=True, default=64, gt=0, description="images per step")
    microbatch: int | None = Field(
        strict=True,
        default=None,
        ge=2,
        description="images of a batch that are computed at once; full mode. Batch norm then sees that many",
    )
    epochs: int = Field(strict=True, default=0, ge=0, description="number of epochs; needed for SGD and full mode")
    milestones: tuple[Count, ...] = Field(
        default=(), description="epochs (from 0) at whose start the learning rate is multiplied by gamma"
    )
    gamma: float = Field(strict=True, default=0.1, gt=0, description="factor of the learning rate at each milestone")
    train_on: Literal["train", "trainval"] = Field(
        default="trainval", description="trainval trains on train and val together; train holds val out"
    )
    eval_test: Literal["last", "each_epoch"] = Field(
        default="last",
        description="last scores test after the last epoch; each_epoch records the best epoch, too. Full mode",
    )
    normalisation: Literal["checkpoint", "task"] = Field(
        default="checkpoint",
        description="whose mean and standard deviation normalise pixels: the checkpoint's or the task's",
    )
    augment: Literal["none", "task", "published"] = Field(
        default="none",
        description="augmentation in full mode: none, published (random resized crop, flip), or the task's own",
    )
    grid: Grid | None = Field(default=None, description="learning rates and weight decays to choose from on val")
    parallel: Parallel | None = Field(
        default=None, description="what several processes of a run do otherwise than one; full mode"
    )
    settings: Any = Field(default=None, description="the probe's own settings, written as fields beside the others")
    source: str | None = Field(default=None, description="where the protocol is from")

    @model_validator(mode="before")
    @classmethod
    def _with_settings(cls, data: Any, info: ValidationInfo) -> Any:
        """Gather the fields that are the probe's own settings, and check them by its model."""
        if not isinstance(data, dict):
            return data
        probe = data.get("probe")
        declared = probe_named(probe) if isinstance(probe, str) else None
        fields = {name: value for name, value in data.items() if name != "settings"}
        given = data.get("settings")
        own = dict(given) if isinstance(given, dict) else {} if given is None else given.model_dump()
        if declared is None:
            if probe is not None and _may_be_elsewhere(probe, info):  # its settings stay as they were written
                own |= {name: fields.pop(name) for name, value in data.items() if _is_own(name, value, cls)}
                return {**fields, "settings": own}
            names: set[str] = set()
        else:
            names = set(declared.settings.model_fields)
            own |= {name: fields.pop(name) for name in list(fields) if name in names}
        for name in fields.keys() & (settings_of_any_probe() - set(cls.model_fields)):
            if fields.pop(name) is not None:
                raise ValueError(f"{probe or 'full mode'} has no {name!r}")
        return {**fields, "settings": None if declared is None else declared.settings.model_validate(own)}

    @model_serializer(mode="wrap")
    def _as_written(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write the probe's own settings as fields beside the others."""
        fields: dict[str, Any] = handler(self)
        return fields | (fields.pop("settings", None) or {})

    @field_validator("probe")
    @classmethod
    def _known(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and probe_named(value) is None and not _may_be_elsewhere(value, info):
            there = import_module("sparsebench.extensions").names("probes")
            near = " or ".join(nearest(value, there))
            raise ValueError(
                f"there is no such probe, {f'did you mean {near}?' if near else 'but ' + ', '.join(there)}"
            )
        return value

    @field_validator("milestones")
    @classmethod
    def _ascending(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("milestones must be ascending epochs from 1 on")
        return value

    @model_validator(mode="after")
    def _probe_with_linear(self) -> Protocol:
        if (self.mode == "linear") != (self.probe is not None):
            raise ValueError("a linear protocol names its probe, a full one has none")
        if self.mode == "linear" and self.augment != "none":
            raise ValueError("linear mode extracts features once, so it can't augment")
        if self.mode == "linear" and (self.nesterov or self.eval_test != "last"):
            raise ValueError("a linear probe is plain SGD scored after its last epoch: no nesterov, eval_test last")
        if self.mode == "linear" and self.microbatch is not None:
            raise ValueError("a linear probe trains on features, whose batches fit: no microbatch")
        if self.mode == "linear" and self.parallel is not None:
            raise ValueError("a linear probe is fitted by one process: no parallel")
        return self

    @model_validator(mode="after")
    def _fields_of_its_probe(self) -> Protocol:
        if self.mode not in TRAINED:
            for name, field in type(self).model_fields.items():
                if name not in ("name", "mode", "source") and getattr(self, name) != field.default:
                    raise ValueError(f"{self.mode} mode trains nothing: it has no {name!r}")
            return self
        if _trains(self.probe):
            for name in ("lr", "epochs"):
                if getattr(self, name) <= 0:
                    raise ValueError(f"{name!r} is missing or not above 0")
            return self
        for name in _SGD_FIELDS:
            if getattr(self, name) != type(self).model_fields[name].default:
                own = ", ".join(_own_settings(self.probe)) or "no settings"
                raise ValueError(f"{name!r} is SGD's; {self.probe} has {own}")
        if self.chooses and self.train_on != "trainval":
            raise ValueError(f"{self.probe} chooses on val, then trains on both: train_on is 'trainval'")
        return self

    @model_validator(mode="after")
    def _grid_spares_test(self) -> Protocol:
        if self.grid is not None and (self.train_on != "trainval" or self.eval_test != "last"):
            raise ValueError("a grid is searched on val before train_on 'trainval', and test is scored last, once")
        if self.grid is not None and len(self.points()) < 2:
            raise ValueError("a grid of one point leaves nothing to choose")
        return self

    def resolved(self, metric: Metric = "top1") -> dict[str, Any]:
        """Return the hyperparameters that define a run, without the protocol's name and source.

        What isn't set, or isn't the probe's, is left out: so the ids of runs are those from before there was more. A
        microbatch that takes the whole batch changes nothing. Where something is chosen on validation, or the best
        epoch on test is recorded, ``select_by`` is the metric that it is chosen by.
        """
        if self.mode not in TRAINED:
            return {}
        unset = {name for name in _OPTIONAL if getattr(self, name) is None}
        if self.microbatch is not None and self.microbatch >= self.batch_size:
            unset.add("microbatch")
        if self.parallel is not None and not self.parallel.changes:
            unset.add("parallel")
        others = set() if _trains(self.probe) else set(_SGD_FIELDS)
        values = self.model_dump(mode="json", exclude={"name", "source"} | unset | others)
        selects = self.chooses or self.eval_test == "each_epoch"
        return values | {"select_by": metric} if selects else values

    @property
    def chooses(self) -> bool:
        """Whether something is chosen on val."""
        return self.grid is not None or bool(getattr(self.settings, "chooses", False))

    def own_overrides(self, overrides: Mapping[str, Any]) -> dict[str, Any]:
        """Return those of a task's overrides that this protocol's mode and probe have a use for."""
        known = settings_of(self.probe)
        return {name: value for name, value in overrides.items() if name in known}

    def points(self) -> tuple[tuple[float, float], ...]:
        """Return the learning rates and weight decays to try: the protocol's own, then the grid's in order."""
        own = (self.lr, self.weight_decay)
        grid = [] if self.grid is None else product(self.grid.lr, self.grid.weight_decay)
        return tuple(dict.fromkeys([own, *grid]))

    def at(self, lr: float, weight_decay: float, **changes: Any) -> Protocol:
        """Return the protocol at one point of its grid, without the grid."""
        return self.model_copy(update={"lr": lr, "weight_decay": weight_decay, "grid": None, **changes})

    def lr_at(self, epoch: int) -> float:
        """Return the learning rate of a 0-based epoch."""
        return self.lr * self.gamma ** sum(epoch >= m for m in self.milestones)


UPSTREAM = Protocol(name="upstream", mode="upstream")
"""The protocol of mode ``upstream``: there is nothing to set."""
