"""What is doubtful about published results: a table beside them, whose notes a comparison shows beside the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..common.paths import root_file
from ..schema import ResultsError
from ..store.csvfile import read_csv
from ..store.frame import PUBLISHED

FILE = "doubts.csv"
_HEADER = ["checkpoint", "mode", "probably", "doubt"]


@dataclass(frozen=True)
class Doubts:
    """Notes on published checkpoints.

    Parameters
    ----------
    texts : mapping of (str, str) to tuple of str
        Published checkpoint and mode (empty for both modes) to what is doubtful.
    probably : mapping of str to str
        Published checkpoint to the registered one that its numbers are probably of.
    """

    texts: Mapping[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    probably: Mapping[str, str] = field(default_factory=dict)

    def about(self, checkpoint: str, mode: str) -> tuple[str, ...]:
        """Return what is doubtful about a published checkpoint's numbers in a mode."""
        likely = self.probably.get(checkpoint)
        notes = (*self.texts.get((checkpoint, ""), ()), *self.texts.get((checkpoint, mode), ()))
        return (*notes, f"so the number is probably {likely}'s") if likely else notes


def read_doubts(results: Path | str) -> Doubts:
    """Return the notes on the paper's results, or on others that have a file ``doubts.csv`` beside them, if any.

    Parameters
    ----------
    results : Path or str
        As for :func:`~sparsebench.store.read_results`.

    Raises
    ------
    ResultsError
        If the file is not a table with the columns ``checkpoint, mode, probably, doubt``.
    """
    path = root_file(f"results/published/{FILE}") if results == PUBLISHED else _beside(Path(results))
    if not path.is_file():
        return Doubts()
    header, rows = read_csv(path)
    if header != _HEADER:
        raise ResultsError(f"{path} is not a table of doubts", f"its columns are {', '.join(_HEADER)}")
    texts: dict[tuple[str, str], tuple[str, ...]] = {}
    for checkpoint, mode, _, doubt in rows:
        texts[checkpoint, mode] = (*texts.get((checkpoint, mode), ()), doubt)
    return Doubts(texts, {checkpoint: likely for checkpoint, _, likely, _ in rows if likely})


def _beside(path: Path) -> Path:
    return (path if path.is_dir() else path.parent) / FILE
