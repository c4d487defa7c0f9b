"""Further test sets: what a task may name besides its own test images, and what a run scored on one."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from pydantic import Field, StrictBool, model_validator

from .base import Lenient, Strict

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*")
CORRUPTIONS, DECLARED = "corruptions", "tests"
"""What ``--shift`` takes for all corruptions, and for all test sets that tasks name."""


class FurtherSet(Strict):
    """What a further test set is made of: a folder, what another loader reads, or a corruption of the task's own.

    With a ``root`` and no ``loader`` it is a folder of class folders, all of whose images are for testing (or those in
    its ``test/``). With ``options`` alone it is what the task's own loader makes by them. A ``corruption`` has a
    ``severity`` from 1 to 5. One that is ``on_request`` is scored where ``--shift`` names it; others with each new run.
    """

    title: str | None = Field(default=None, description="what differs from the task's own images")
    loader: str | None = Field(default=None, description="what reads the images; by default the task's own loader")
    root: str | None = Field(default=None, description="folder of the images: below --data DIR, else beside this file")
    options: dict[str, Any] = Field(default_factory=dict, description="the loader's own arguments")
    corruption: str | None = Field(default=None, description="what is done to the task's own test images")
    severity: int | None = Field(strict=True, default=None, ge=1, le=5, description="how strong the corruption is")
    on_request: StrictBool = Field(default=False, description="score it only where --shift names it")
    licence: str | None = Field(default=None, description="licence of the images, as far as it is stated")
    source: str | None = Field(default=None, description="where the images are from")
    notes: str | None = Field(default=None, description="anything a reader should know")

    @model_validator(mode="after")
    def _one_kind(self) -> FurtherSet:
        other = [name for name in ("loader", "root", "options") if getattr(self, name)]
        if (self.corruption is None) != (self.severity is None):
            raise ValueError("a corruption and a severity from 1 to 5 go together")
        if self.corruption is not None and other:
            raise ValueError(f"a corruption is of the task's own images: no {other[0]!r}")
        if self.corruption is None and not other:
            raise ValueError("it needs a root, a loader, options, or a corruption with its severity")
        return self


def check_names(tests: Iterable[str]) -> None:
    """Raise a ValueError for a test set's name that can't be used."""
    for name in tests:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name: letters, digits and ._+- make one")
        if name in (CORRUPTIONS, DECLARED):
            raise ValueError(f"{name!r} is what --shift calls several test sets by: give this one another name")


class PlannedSet(Lenient):
    """A further test set of a group: its name, its content's fingerprint, and what it is made of.

    One that was ``asked`` for is scored for finished runs, too.
    """

    name: str
    fingerprint: str
    source: FurtherSet
    asked: bool = True


class FurtherTest(Lenient):
    """What a run scored on a further test set, with the same trained head or network.

    ``fingerprint`` is the set's content: with the run id it identifies the result. Accuracies, and the expected
    calibration error ``ece`` (15 bins of equal width), are fractions, ``nll`` is in nats; both are of full-precision
    logits.
    """

    name: str
    fingerprint: str
    corruption: str | None = None
    severity: int | None = None
    top1: float
    mean_per_class: float
    ece: float | None = None
    nll: float | None = None
    n_test: int
    predictions: str | None = None
    predictions_sha256: str | None = None


def by_name(tests: Any) -> Any:
    """Return results by name, which were once a list."""
    if isinstance(tests, (list, tuple)):
        return {one["name"] if isinstance(one, dict) else one.name: one for one in tests}
    return tests
