"""What verification needs of this machine: what is registered, and where data sets and caches are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ..registry import Registry, load_registry


@dataclass(frozen=True)
class Means:
    """What a bundle is verified with.

    Parameters
    ----------
    registry : Registry
        What is registered; by default the built-in one.
    data_dir, cache_dir : Path, optional
        Where data sets live, and caches. Without ``data_dir`` only embedded tasks are opened.
    checkpoints : sequence of Path
        Files of checkpoints that bundles have runs of, for running some again.
    rerun : int
        How many linear runs of each bundle to run again, drawn at random; with ``checkpoints`` at least one.
    seed : int, optional
        Of the draw; by default nobody can know it beforehand.
    """

    registry: Registry = field(default_factory=load_registry)
    data_dir: Path | None = None
    cache_dir: Path | None = None
    checkpoints: Sequence[Path] = ()
    rerun: int = 0
    seed: int | None = None

    @property
    def reruns(self) -> int:
        """How many runs to run again."""
        return max(self.rerun, 1) if self.checkpoints else self.rerun
