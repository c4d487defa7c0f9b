"""Task: what is transferred to."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from .base import Strict
from .checkpoint import Sha256
from .errors import nearest
from .further import FurtherSet, check_names
from .protocol import (
    TRAINED,
    Augment,
    Metric,
    Mode,
    Natural,
    Number,
    PositiveRate,
    Protocol,
    settings_of,
    settings_of_any_probe,
)

_LIMIT = "-limit"


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

    pattern: str = Field(
        description="regular expression for an image's whole id; images with equal groups are of one source"
    )
    step: int | None = Field(
        strict=True, default=None, gt=0, description="groups that are numbers are divided by this and rounded down"
    )

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
    run. ``clusters`` says which test images come from one source. ``tests`` are further test sets of the same classes,
    by name. ``limit`` is how many images of each split are used, after these checks; all without one.

    ``upstream`` names the upstream data sets (see :class:`.checkpoint.Upstream`) whose networks this is the own task
    of. Such a task is run in mode ``upstream`` alone, and needs test images alone.
    """

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", description="its name; by default that of the file")
    title: str | None = Field(default=None, description="its name in tables")
    loader: str = Field(description="what reads the images: imagefolder, torchvision, or a data set's own layout")
    root: str | None = Field(default=None, description="folder of the images: below --data DIR, else beside this file")
    options: dict[str, Any] = Field(default_factory=dict, description="the loader's own arguments")
    metric: Metric = Field(default="top1", description="what the task is scored by")
    classes: int | None = Field(
        strict=True, default=None, gt=1, description="number of classes, asserted before the first run"
    )
    sizes: dict[Literal["train", "val", "test", "trainval"], Natural] | None = Field(
        default=None,
        description="number of images per split, asserted before the first run; trainval is train and val together",
    )
    split_sha256: Sha256 | None = Field(
        default=None, description="fingerprint of the split, asserted before the first run"
    )
    clusters: Clusters | None = Field(default=None, description="which test images come from one source")
    augment: Augment = Field(
        default=Augment(crop="random_resized", flip=True), description="augmentation of protocols with `augment: task`"
    )
    mean: tuple[Number, Number, Number] | None = Field(
        default=None, description="mean of each channel, for protocols with `normalisation: task`"
    )
    std: tuple[PositiveRate, PositiveRate, PositiveRate] | None = Field(
        default=None, description="standard deviation of each channel, for protocols with `normalisation: task`"
    )
    overrides: dict[Mode, dict[str, Any]] = Field(
        default_factory=dict, description="settings of the protocol that this task replaces, by mode"
    )
    tests: dict[str, FurtherSet] = Field(
        default_factory=dict, description="further test sets of the same classes, by name"
    )
    licence: str | None = Field(default=None, description="licence of the images, as far as it is stated")
    source: str | None = Field(default=None, description="where the images are from")
    notes: str | None = Field(default=None, description="anything a reader should know")
    limit: int | None = Field(strict=True, default=None, gt=0, description="use at most this many images of each split")
    upstream: tuple[str, ...] = Field(
        default=(), description="upstream data sets whose checkpoints' own heads are tested on it (mode upstream)"
    )
    published_images: int | None = Field(
        strict=True, default=None, gt=0, description="number of test images that published accuracies are about"
    )

    def with_limit(self, limit: int) -> Task:
        """Return the task with at most so many images of each split, under a name that says so."""
        return self.model_copy(update={"id": f"{self.id}{_LIMIT}{limit}", "limit": limit})

    def without_limit(self) -> Task:
        """Return the task that :meth:`with_limit` was called of."""
        return self.model_copy(update={"id": self.id.removesuffix(f"{_LIMIT}{self.limit}"), "limit": None})

    @field_validator("tests")
    @classmethod
    def _names_of_tests(cls, value: dict[str, FurtherSet]) -> dict[str, FurtherSet]:
        check_names(value)
        return value

    @field_validator("overrides")
    @classmethod
    def _settings(cls, value: dict[Mode, dict[str, Any]]) -> dict[Mode, dict[str, Any]]:
        for mode, overrides in value.items():
            _check_overrides(mode, overrides)
        return value


def _check_overrides(mode: Mode, overrides: dict[str, Any]) -> None:
    """Raise a ValueError for an override that no protocol of the mode has, or of a value that SGD's can't take."""
    if mode not in TRAINED:
        raise ValueError(f"{mode} mode trains nothing: it has no settings")
    own = settings_of("sgd" if mode == "linear" else None)
    others = settings_of_any_probe() if mode == "linear" else set()
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
