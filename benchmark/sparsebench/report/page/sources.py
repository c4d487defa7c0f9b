"""What a page is made from: results, the registry, and what else is known about checkpoints and runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from ..aggregate import Aggregate
from ..agreement import Row, agreement_rows
from ..cells import counted_once, entries_of
from ..contents import by_content, without_warnings

if TYPE_CHECKING:
    import pandas as pd

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
    networks : mapping
        By the hashes of weights and mask, as records have them.
    environments : mapping
        By record key: versions and processor.
    """

    frame: pd.DataFrame
    statistics: Aggregate
    registry: Registry
    predictions: Reader | None = None
    bench: pd.DataFrame | None = None
    networks: Mapping[tuple[str, str], Network] = field(default_factory=dict)
    environments: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

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
    def agreement(self) -> list[Row]:
        """Each sparse checkpoint against its reference, where predictions were kept."""
        return agreement_rows(self.frame, self.predictions, self.registry)
