"""Task, Suite and Protocol: what is transferred to, and how."""

from __future__ import annotations

import re
from itertools import product
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, ValidationError, field_validator, model_validator

from .base import Strict
from .checkpoint import Sha256
from .errors import nearest
from .probe import FewShot, Neighbours, Strengths

Mode = Literal["linear", "full"]
Probe = Literal["sgd", "lbfgs", "ridge", "knn", "fewshot"]
Metric = Literal["top1", "mean_per_class"]
Rate = Annotated[float, Field(strict=True, ge=0)]
PositiveRate = Annotated[float, Field(strict=True, gt=0)]
Number = Annotated[float, Field(strict=True)]
Natural = Annotated[int, Field(strict=True, ge=0)]
Count = Annotated[int, Field(strict=True, gt=0)]
MODES: tuple[Mode, ...] = ("linear", "full")

SEEDED_PROBES: tuple[Probe, ...] = ("sgd", "fewshot")
"""The probes that a seed changes; the others give the same numbers for every seed."""

_SGD_FIELDS = (
    "optimizer", "lr", "momentum", "nesterov", "weight_decay", "batch_size", "epochs", "milestones", "gamma",
    "microbatch", "eval_test", "grid",
)  # fmt: skip
_SETTINGS: dict[str, tuple[str, ...]] = {
    "lbfgs": ("l2",),
    "ridge": ("l2",),
    "knn": ("neighbours",),
    "fewshot": ("few_shot",),
}
_OTHERS = ("train_on", "normalisation")
_OPTIONAL = ("grid", "l2", "microbatch", "neighbours", "few_shot")


def settings_of(probe: Probe | None) -> tuple[str, ...]:
    """Return the fields of a protocol that its probe (None: full mode) has a use for and that may be changed."""
    if probe in _SETTINGS:
        return (*_SETTINGS[probe], *_OTHERS)
    unused = () if probe is None else ("nesterov", "microbatch", "eval_test")
    return (*(name for name in _SGD_FIELDS if name not in unused), *_OTHERS, *(() if probe else ("augment",)))


class Augment(Strict):
    """Training-time augmentation that doesn't change what an image shows.

    ``crop``: ``shift`` moves the image by up to ``shift`` pixels (reflected at the border); ``random_resized`` is the
    published random area (``scale`` of the image) and aspect ratio (3/4 to 4/3), resized to the input size.
    """

    crop: Literal["none", "shift", "random_resized"] = "none"
    shift: int = Field(strict=True, default=0, ge=0, le=64)
    scale: tuple[PositiveRate, PositiveRate] = (0.08, 1.0)
    flip: StrictBool = False

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


class Clusters(Strict):
    """Which test images come from one source: renderings of one glyph, patches of one region, frames of one video.

    Such images aren't independent, so intervals and tests take a source, not an image, as their unit.

    Parameters
    ----------
    pattern : str
        A regular expression for the whole id of an image, with groups in parentheses. Images whose groups have the same
        text are of one source; an image that it doesn't match is its own.
    step : int, optional
        Groups that are numbers are divided by it and rounded down: with 64, patches whose corners lie in one square of
        64 pixels are of one source.
    """

    pattern: str
    step: int | None = Field(strict=True, default=None, gt=0)

    @field_validator("pattern")
    @classmethod
    def _names_a_source(cls, value: str) -> str:
        try:
            groups = re.compile(value).groups
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from error
        if not groups:
            raise ValueError("it needs a group in parentheses that names an image's source")
        return value

    def source_of(self, image: str) -> str | None:
        """Return a name of the source of an image, given its id; None where it is its own."""
        match = re.fullmatch(self.pattern, image)
        if match is None:
            return None
        parts = [part or "" for part in match.groups()]
        if self.step is not None:
            parts = [str(int(part) // self.step) if part.isdecimal() and len(part) < 19 else part for part in parts]
        return "\n".join(parts)


class Task(Strict):
    """A downstream image-classification task.

    ``loader`` names the code in ``sparsebench.datasets``; ``options`` are that loader's own arguments. ``classes``,
    ``sizes`` (``trainval`` is train and val together) and ``split_sha256``, where given, are asserted before the first
    run. ``clusters`` says which test images come from one source.
    """

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")
    title: str | None = None
    loader: str
    root: str | None = None
    options: dict[str, Any] = Field(default_factory=dict)
    metric: Metric = "top1"
    classes: int | None = Field(strict=True, default=None, gt=1)
    sizes: dict[Literal["train", "val", "test", "trainval"], Natural] | None = None
    split_sha256: Sha256 | None = None
    clusters: Clusters | None = None
    augment: Augment = Augment(crop="random_resized", flip=True)
    mean: tuple[Number, Number, Number] | None = None
    std: tuple[PositiveRate, PositiveRate, PositiveRate] | None = None
    overrides: dict[Mode, dict[str, Any]] = Field(default_factory=dict)
    licence: str | None = None
    source: str | None = None
    notes: str | None = None

    @field_validator("overrides")
    @classmethod
    def _settings(cls, value: dict[Mode, dict[str, Any]]) -> dict[Mode, dict[str, Any]]:
        for mode, overrides in value.items():
            _check_overrides(mode, overrides)
        return value


def _check_overrides(mode: Mode, overrides: dict[str, Any]) -> None:
    """Raise a ValueError for an override that no protocol of the mode has, or of a value that SGD's can't take."""
    own = settings_of("sgd" if mode == "linear" else None)
    others = {name for names in _SETTINGS.values() for name in names} if mode == "linear" else set()
    for name in overrides:
        if name not in own and name not in others:
            near = " or ".join(nearest(name, [*own, *others]))
            raise ValueError(f"{mode} mode has no {name!r}" + (f", did you mean {near}?" if near else ""))
    base = {"name": "base", "mode": mode, "probe": "sgd" if mode == "linear" else None, "lr": 1.0, "epochs": 1}
    try:
        Protocol.model_validate(base | {name: value for name, value in overrides.items() if name in own})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in (mode, *first["loc"]))
        raise ValueError(f"{field}: {first['msg'].removeprefix('Value error, ')}") from error


class Grid(Strict):
    """Learning rates and weight decays to choose from on the validation split."""

    lr: tuple[PositiveRate, ...] = Field(min_length=1)
    weight_decay: tuple[Rate, ...] = Field(min_length=1)

    @field_validator("lr", "weight_decay")
    @classmethod
    def _distinct(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if len(set(value)) != len(value):
            raise ValueError("the values of a grid are distinct")
        return value


class Protocol(Strict):
    """Every hyperparameter of a mode.

    ``sgd`` and full mode use the fields from ``optimizer`` to ``gamma``, ``eval_test`` and ``grid``; another probe has
    none of them but ``l2`` (``lbfgs``, ``ridge``), ``neighbours`` (``knn``) or ``few_shot`` (``fewshot``).

    The learning rate is ``lr`` and is multiplied by ``gamma`` at the start of each (0-based) epoch in ``milestones``.

    ``microbatch`` (full mode) is how many images of a training batch are computed at once where the memory doesn't take
    them all; batch normalisation then sees that many.

    With a ``grid``, learning rate and weight decay are those of the :meth:`points` that scores best on val when trained
    on train; with them the run then trains on train and val, and is scored once on test.
    """

    name: str
    mode: Mode
    probe: Probe | None = None
    optimizer: Literal["sgd"] = "sgd"
    lr: float = Field(strict=True, default=0.0, ge=0)
    momentum: float = Field(strict=True, default=0.9, ge=0, lt=1)
    nesterov: StrictBool = False
    weight_decay: float = Field(strict=True, default=5e-4, ge=0)
    batch_size: int = Field(strict=True, default=64, gt=0)
    microbatch: int | None = Field(strict=True, default=None, ge=2)
    epochs: int = Field(strict=True, default=0, ge=0)
    milestones: tuple[Count, ...] = ()
    gamma: float = Field(strict=True, default=0.1, gt=0)
    train_on: Literal["train", "trainval"] = "trainval"
    eval_test: Literal["last", "each_epoch"] = "last"
    normalisation: Literal["checkpoint", "task"] = "checkpoint"
    augment: Literal["none", "task", "published"] = "none"
    grid: Grid | None = None
    l2: Strengths | None = None
    neighbours: Neighbours | None = None
    few_shot: FewShot | None = None
    source: str | None = None

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
        return self

    @model_validator(mode="after")
    def _fields_of_its_probe(self) -> Protocol:
        own = _SETTINGS.get(self.probe or "", ())
        for name in ("l2", "neighbours", "few_shot"):
            if name not in own and getattr(self, name) is not None:
                raise ValueError(f"{self.probe or self.mode} has no {name!r}")
            if name in own and getattr(self, name) is None:
                raise ValueError(f"{self.probe} needs {name!r}; {{}} takes its defaults")
        if not own:
            for name in ("lr", "epochs"):
                if getattr(self, name) <= 0:
                    raise ValueError(f"{name!r} is missing or not above 0")
            return self
        for name in _SGD_FIELDS:
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name!r} is SGD's; {self.probe} has {', '.join(own)}")
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
        unset = {name for name in _OPTIONAL if getattr(self, name) is None}
        if self.microbatch is not None and self.microbatch >= self.batch_size:
            unset.add("microbatch")
        others = set(_SGD_FIELDS) if self.probe in _SETTINGS else set()
        values = self.model_dump(mode="json", exclude={"name", "source"} | unset | others)
        selects = self.chooses or self.eval_test == "each_epoch"
        return values | {"select_by": metric} if selects else values

    @property
    def chooses(self) -> bool:
        """Whether something is chosen on val."""
        candidates = self.l2.count if self.l2 else len(self.neighbours.k) if self.neighbours else 1
        return self.grid is not None or candidates > 1

    def without_sgd(self, overrides: dict[str, Any]) -> dict[str, Any]:
        """Return those of a task's overrides that this protocol's probe has a use for."""
        return {k: v for k, v in overrides.items() if self.probe not in _SETTINGS or k not in _SGD_FIELDS}

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


class SuiteMode(Strict):
    """What a suite does in one mode: the protocol's name and the default seeds.

    ``other_tasks`` is the protocol of tasks that the suite doesn't have, where it is another one.
    """

    protocol: str
    other_tasks: str | None = None
    seeds: tuple[Natural, ...] = Field(min_length=1)

    @field_validator("seeds")
    @classmethod
    def _distinct(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(value)) != len(value):
            raise ValueError("seeds are distinct")
        return value


class Suite(Strict):
    """Tasks, the architectures and checkpoints selected by default, and a protocol for each mode.

    Without ``checkpoints`` a suite takes all that its architectures have.
    """

    id: str
    title: str | None = None
    tasks: tuple[str, ...] = Field(min_length=1)
    archs: tuple[str, ...] = Field(min_length=1)
    checkpoints: tuple[str, ...] = ()
    modes: dict[Mode, SuiteMode]

    def protocol_of(self, mode: Mode, *, own_task: bool) -> str:
        """Return the name of the protocol that the suite's own tasks, or others, are run with in a mode."""
        settings = self.modes[mode]
        return settings.protocol if own_task else settings.other_tasks or settings.protocol
