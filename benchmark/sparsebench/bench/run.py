"""A whole measurement: its parts one after the other, written as it goes, so that an interrupt keeps what there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..common import files
from ..registry import Registry
from ..report.speed import ENGINE_COLUMNS, ENGINES_FILE, read_bench
from ..schema import Checkpoint, InputError, ResultsError, UnknownNameError
from ..store import ensure_writable
from ..store.csvfile import to_csv
from . import engines, work
from .figures import bench_figures
from .machine import describe
from .memory import MemoryMeter

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]

PARTS: tuple[str, ...] = ("engines", "probes", "decoding", "finetuning")
"""What can be measured, in this order."""

WORK_COLUMNS: tuple[str, ...] = (
    "what",
    "name",
    "detail",
    "seconds",  # median; then the quartiles
    "seconds_low",
    "seconds_high",
    "images_per_second",
    "ratio",  # to what ratio_to names
    "ratio_to",
    "turns",
    "device",
    "processor",
    "cores",
    "threads",
    "torch",
    "sparsebench",
)
"""Columns of ``probes.csv``, ``decoding.csv`` and ``finetuning.csv``."""

_SLOW_TURNS = 3  # at most, of what takes seconds: probes


@dataclass(frozen=True)
class BenchOptions:
    """What is measured, and how.

    Parameters
    ----------
    out : Path
        The folder that tables and figures are written to.
    parts : tuple of str
        Of :data:`PARTS`.
    engines : tuple of str
        Engines; those that are here where it is empty.
    devices : tuple of str
        ``cpu``, ``cuda``, ...
    batch : int
        Images a batch.
    threads : int
        CPU threads.
    turns : int
        Times that each thing is measured; probes at most three times.
    """

    out: Path
    parts: tuple[str, ...] = PARTS
    engines: tuple[str, ...] = ()
    devices: tuple[str, ...] = ("cpu",)
    batch: int = 64
    threads: int = 1
    turns: int = 15


@dataclass
class BenchResult:
    """What was measured: rows by part, the files, and whether it was interrupted."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    files: list[Path] = field(default_factory=list)
    interrupted: bool = False


@dataclass(frozen=True)
class _Step:
    part: str
    label: str
    device: str
    measure: work.Measure


def run_bench(
    checkpoints: Sequence[Checkpoint],
    registry: Registry,
    options: BenchOptions,
    *,
    results: pd.DataFrame | None = None,
    progress: Callable[[float, float, str], None] | None = None,
) -> BenchResult:
    """Measure, and write tables and figures.

    Parameters
    ----------
    checkpoints : sequence of Checkpoint
        Registry entries whose files are here.
    registry : Registry
        Where dense references are looked up.
    options : BenchOptions
        What is measured, and how.
    results : DataFrame, optional
        A tidy results table: the accuracy that throughput is drawn against.
    progress : callable, optional
        ``progress(steps done, steps, what comes)``.

    Raises
    ------
    InputError
        If something asked for isn't there; nothing is written then.
    RunError
        If a measurement fails; what was measured before is written.
    """
    check(options)
    ensure_writable(options.out)
    result = BenchResult()
    with MemoryMeter() as meter:
        try:
            if meter is not None:
                meter.wait()
            steps = _steps(checkpoints, registry, options, meter)
            for number, step in enumerate(steps):
                if progress is not None:
                    progress(number, len(steps), step.label)
                machine = describe(options.threads, step.device)
                result.rows.setdefault(step.part, []).extend(row | machine for row in step.measure())
                _write(result, step.part, options.out)
        except KeyboardInterrupt:
            result.interrupted = True
    if result.rows.get("engines"):
        _draw(result, options.out, results)
    return result


def check(options: BenchOptions) -> None:
    """Check names and devices before anything is measured.

    Raises
    ------
    InputError
        If a part, engine or device isn't there.
    """
    from ..engines import check_name
    from ..engines.context import find_device

    here = engines.engines_here()
    for part in options.parts:
        if part not in PARTS:
            raise UnknownNameError("part", part, PARTS)
    for name in options.engines:
        check_name(name)
        if name not in here:
            raise InputError(f"engine {name!r} isn't installed", f"here are: {', '.join(here)}")
    for device in options.devices:
        find_device(device)
    if min(options.batch, options.threads, options.turns) < 1:
        raise InputError("batch, threads and turns are whole numbers from 1 on", "correct the argument")


def _steps(
    checkpoints: Sequence[Checkpoint],
    registry: Registry,
    options: BenchOptions,
    meter: MemoryMeter,
) -> list[_Step]:
    """Return what is measured, in order."""
    found: list[_Step] = []
    for device in options.devices if "engines" in options.parts else ():
        names = options.engines or engines.engines_here()
        setting = engines.Setting(names, options.batch, options.threads, options.turns, device)
        for entry in checkpoints:
            dense = engines.yardstick(entry, checkpoints, registry)
            found.append(_Step("engines", entry.id, device, partial(engines.measure, entry, dense, setting, meter)))
    for name in work.probe_names() if "probes" in options.parts else ():
        turns = min(options.turns, _SLOW_TURNS)
        found.append(_Step("probes", f"probe {name}", "cpu", partial(work.measure_probe, name, options.threads, turns)))
    if "decoding" in options.parts:
        measure = partial(work.measure_decoding, options.threads, options.turns)
        found.append(_Step("decoding", "decoding", "cpu", measure))
    for device in options.devices if "finetuning" in options.parts else ():
        for entry in _of_each_arch(checkpoints):
            step = partial(work.measure_step, entry, options.batch, options.threads, options.turns, device)
            found.append(_Step("finetuning", f"finetuning {entry.id}", device, step))
    return found


def _of_each_arch(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Return the sparsest checkpoint of each architecture: of finetuning only the mask's size matters."""
    best: dict[str, Checkpoint] = {}
    for entry in checkpoints:
        if entry.arch not in best or entry.sparsity > best[entry.arch].sparsity:
            best[entry.arch] = entry
    return list(best.values())


def _write(result: BenchResult, part: str, out: Path) -> None:
    """Write a part's table anew."""
    columns = ENGINE_COLUMNS if part == "engines" else WORK_COLUMNS
    path = out / (ENGINES_FILE if part == "engines" else f"{part}.csv")
    rows = [[_rounded(row.get(name)) for name in columns] for row in result.rows[part]]
    _save(path, to_csv(columns, rows).encode())
    if path not in result.files:
        result.files.append(path)


def _rounded(value: Any) -> Any:
    """Round to four significant digits: measured times aren't known better."""
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _draw(result: BenchResult, out: Path, results: pd.DataFrame | None) -> None:
    for picture in bench_figures(read_bench(out), results):
        for name, data in picture.files():
            _save(out / name, data)
            result.files.append(out / name)


def _save(path: Path, data: bytes) -> None:
    try:
        files.write_bytes(path, data)
    except OSError as error:
        raise ResultsError(f"can't write {str(path)!r}: {error.strerror or error}") from error


__all__ = ["PARTS", "WORK_COLUMNS", "BenchOptions", "BenchResult", "check", "run_bench"]
