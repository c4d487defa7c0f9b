"""What a page is made from: results, the registry, and what else is known about checkpoints and runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from ...schema.text import printable
from ..aggregate import Aggregate
from ..agreement import Row, agreement_rows
from ..cells import counted_once, entries_of
from ..contents import by_content, without_warnings
from ..own_task import OwnTask, own_task_rows

if TYPE_CHECKING:
    import pandas as pd

    from ...analysis.intervals import Interval
    from ...registry import Registry
    from ...store.classes import Reader


@dataclass(frozen=True)
class Layer:
    """One prunable layer: how many weights it has, and how many of them its mask holds at zero."""

    name: str
    weights: int
    held: int

    @property
    def sparsity(self) -> float:
        """Fraction of the weights that the mask holds at zero."""
        return self.held / max(1, self.weights)


@dataclass(frozen=True)
class Network:
    """What the files of a network say: its layers, first to last, and the backbone's packed size in bytes."""

    layers: tuple[Layer, ...] = ()
    packed_bytes: int | None = None


@dataclass(frozen=True, eq=False)
class Seen:
    """What may be shown of a task's data.

    Parameters
    ----------
    classes : tuple of str
        The names of its classes.
    image : callable, optional
        Gives a test image by its id as a ``data:`` address, None for one that isn't there; left out where the licence
        doesn't let images be shown.
    licence : str
        Of the images.
    """

    classes: tuple[str, ...] = ()
    image: Callable[[str], str | None] | None = None
    licence: str = ""


@dataclass(frozen=True, eq=False)
class Known:
    """What is known besides results, and only the page shows.

    Parameters
    ----------
    networks : mapping
        By the hashes of weights and mask, as records have them.
    environments : mapping
        By record key: versions and processor.
    seen : mapping
        By task.
    own_tasks : sequence of OwnTask
        Runs in mode ``upstream`` that the table of results lacks.
    own_agreement : mapping
        By checkpoint and own task: on what fraction of the images it predicts what its reference does.
    """

    networks: Mapping[tuple[str, str], Network] = field(default_factory=dict)
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    seen: Mapping[str, Seen] = field(default_factory=dict)
    own_tasks: Sequence[OwnTask] = ()
    own_agreement: Mapping[tuple[str, str], Interval] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Sources:
    """Everything that a page shows. The page is a pure function of it.

    Parameters
    ----------
    frame : DataFrame
        A tidy results table.
    statistics : Aggregate
        Its statistics.
    registry : Registry
        Tasks, suites and, where they are to be described, checkpoints.
    predictions : callable, optional
        What :func:`sparsebench.store.classes.classes_reader` gives.
    bench : DataFrame, optional
        What :func:`sparsebench.report.read_bench` gives.
    known : Known
        What is known besides.
    """

    frame: pd.DataFrame
    statistics: Aggregate
    registry: Registry
    predictions: Reader | None = None
    bench: pd.DataFrame | None = None
    known: Known = field(default_factory=Known)

    @cached_property
    def runs(self) -> pd.DataFrame:
        """The runs that the statistics are of, under the statistics' names; ``entry`` has no ending of a replicate."""
        from ..cells import GROUP

        with without_warnings():  # given when the statistics were made
            runs = by_content(self.frame, self.registry)
        runs[list(GROUP)] = runs[list(GROUP)].astype("string").fillna("")
        runs = counted_once(runs)
        return runs.assign(entry=entries_of(runs))

    @cached_property
    def all_agreement(self) -> list[Row]:
        """Each sparse checkpoint against its reference and its dense twin, where predictions were kept."""
        return agreement_rows(self.frame, self.predictions, self.registry)

    @property
    def agreement(self) -> list[Row]:
        """Each sparse checkpoint against its reference alone."""
        return [row for row in self.all_agreement if not row.twin]

    @cached_property
    def own_tasks(self) -> Sequence[OwnTask]:
        """Each checkpoint's own head on its own task."""
        return own_task_rows(self.frame, self.registry) or self.known.own_tasks

    def class_name(self, task: str, number: int) -> str:
        """Return the name of a task's class, or its number where names aren't known."""
        classes = self.known.seen[task].classes if task in self.known.seen else ()
        return printable(classes[number]) if number < len(classes) else str(number)
