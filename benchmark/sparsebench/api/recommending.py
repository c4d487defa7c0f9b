"""``recommend``: which checkpoint to use, from records and measured speed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..common.paths import cache_dir
from ..common.processor import processor_name
from ..models.facts import known_facts
from ..registry import load_registry
from ..runs.request import several
from ..schema import SparsebenchError
from .running import OneOrMore

if TYPE_CHECKING:
    from ..report.recommend import Recommendation

__all__ = ["recommend"]


def recommend(
    results: str | Path = "runs",
    *,
    bench: str | Path | None = None,
    task: OneOrMore[str] = None,
    mode: OneOrMore[str] = None,
    probe: OneOrMore[str] = None,
    max_ms: float | None = None,
    max_mb: float | None = None,
    min_accuracy: float | None = None,
    engine: str | None = None,
    device: str = "cpu",
) -> Recommendation:
    """Recommend a checkpoint: the cheapest of those that can't be told apart from the most accurate, within limits.

    Parameters
    ----------
    results : path
        A results folder, a tidy CSV file, or ``published``.
    bench : path, optional
        The folder that ``sparsebench bench`` wrote on this machine; ``bench/``, if it is there.
    task, mode, probe : one or several, optional
        What to look at; patterns will do for tasks.
    max_ms, max_mb : float, optional
        Milliseconds per image, and megabytes of the packed backbone, at most.
    min_accuracy : float, optional
        Mean accuracy over the tasks, a fraction, at least.
    engine : str, optional
        The engine that will be used; by default the fastest that was measured.
    device : str
        Where it will be used.

    Returns
    -------
    Recommendation
        ``chosen`` (None if none keeps to the limits), ``candidates``, and ``sentences`` that say why.

    Raises
    ------
    InputError
        If a limit can't be used, or there is nothing to choose from.
    """
    from ..report.recommend import Limits
    from ..report.recommend import recommend as choose
    from ..report.speed import ENGINES_FILE

    measured = Path(bench) if bench is not None else Path("bench") if (Path("bench") / ENGINES_FILE).is_file() else None
    return choose(
        results if results == "published" else Path(results),
        bench=measured,
        tasks=several(task),
        modes=several(mode),
        probes=several(probe),
        limits=Limits(max_ms, max_mb, min_accuracy),
        engine=engine,
        device=device,
        sizes=_sizes(),
        processor=processor_name(),
    )


def _sizes() -> dict[str, int]:
    """Return the packed bytes of the registered checkpoints that are known without loading them."""
    found = {}
    for entry in load_registry().checkpoints.values():
        if not entry.file.path.startswith("package:"):
            continue
        try:
            facts = known_facts(entry, cache_dir())
        except SparsebenchError:
            continue
        if facts is not None:
            found[entry.id] = facts.packed_bytes
    return found
