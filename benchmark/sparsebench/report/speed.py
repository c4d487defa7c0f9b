"""Measured speed beside accuracy: reads what ``sparsebench bench`` wrote, and joins it to a report's checkpoints."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..schema import ResultsError
from .aggregate import Aggregate
from .style import percent
from .tables import NOTHING, Field, Table, sparsity_text

if TYPE_CHECKING:
    import pandas as pd

ENGINES_FILE = "engines.csv"

_TEXTS = ("checkpoint", "method", "variant", "arch", "nm", "twin_of", "distribution", "engine", "dense", "error")
_MACHINE = ("device", "processor", "cores", "threads", "torch", "sparsebench")

ENGINE_COLUMNS: tuple[str, ...] = (
    "checkpoint",
    "method",
    "variant",
    "arch",
    "sparsity",
    "nm",
    "twin_of",
    "distribution",
    "engine",
    "batch",
    "input_size",
    "images_per_second",  # median; then the quartiles
    "images_per_second_low",
    "images_per_second_high",
    "ms",  # a batch
    "ms_low",
    "ms_high",
    "ratio",  # to torch on the dense checkpoint: the median of the ratios within a turn
    "ratio_low",
    "ratio_high",
    "dense",
    "share_of_peak",  # of the FLOP/s of a large matrix product on this machine
    "peak_flops",  # those, the best of as many turns
    "peak_memory",  # bytes
    "file_bytes",  # of all files that are needed
    "packed_bytes",  # of the backbone, computed alike for every checkpoint (sparsity.packed_bytes)
    "flops",  # multiply-adds per image, dense
    "flops_sparse",  # and with pruned weights left out
    "off",  # largest difference to torch over the largest value
    "turns",
    "error",
    *_MACHINE,
)
"""Columns of :data:`ENGINES_FILE`, a row per checkpoint, engine and device."""

SPEED_COLUMNS: tuple[str, ...] = (
    "suite",
    "arch",
    "mode",
    "probe",
    "protocol",
    "checkpoint",
    "sparsity",
    "mean_accuracy",
    "file_bytes",
    "packed_bytes",
    "flops",
    "flops_sparse",
    "engine",
    "images_per_second",
    "images_per_second_low",
    "images_per_second_high",
    "ratio",
    "peak_memory",
    "batch",
    *_MACHINE,
)
"""Columns of a report's ``speed.csv``: a row per group, checkpoint, engine and device."""


def bench_beside(results: Path | str) -> Path | None:
    """Return the folder ``bench`` beside results, if it holds a measurement."""
    folder = Path(results).absolute().parent / "bench"
    return folder if (folder / ENGINES_FILE).is_file() else None


def read_bench(folder: Path) -> pd.DataFrame:
    """Read the engines' table of a bench folder; rows of failures are left out.

    Raises
    ------
    ResultsError
        If there is none, or it is no such table.
    """
    import pandas as pd

    from ..store.csvfile import read_csv

    path = folder / ENGINES_FILE
    if not path.is_file():
        raise ResultsError(f"{str(folder)!r} holds no {ENGINES_FILE}", "measure first: sparsebench bench")
    header, body = read_csv(path)
    if missing := [name for name in ENGINE_COLUMNS if name not in header]:
        raise ResultsError(f"{str(path)!r} lacks the columns {', '.join(missing)}", "measure again: sparsebench bench")
    table = pd.DataFrame(body, columns=header)[list(ENGINE_COLUMNS)]
    for name in ENGINE_COLUMNS:
        if name not in _TEXTS and name not in _MACHINE:
            try:
                table[name] = pd.to_numeric(table[name].replace("", None))
            except (ValueError, TypeError) as error:
                raise ResultsError(f"{str(path)!r}: {name} is not a number: {error}") from error
    return table[table["images_per_second"].notna()].reset_index(drop=True)


def speed_csv(statistics: Aggregate, bench: pd.DataFrame) -> str:
    """Return throughput, size and FLOPs beside each checkpoint's accuracy as CSV."""
    from ..store.csvfile import to_csv

    rows = []
    for line in statistics.lines:
        for found in _of(bench, line["checkpoint"]):
            row = found | {name: line[name] for name in SPEED_COLUMNS if name in line}
            rows.append([row[name] for name in SPEED_COLUMNS])
    return to_csv(SPEED_COLUMNS, rows)


def speed_tables(statistics: Aggregate, bench: pd.DataFrame) -> list[Table]:
    """Return a table a device: size, multiply-adds and throughput by engine, beside the accuracy in each group."""
    lines = {line["checkpoint"]: line for line in statistics.lines}
    tables = []
    for device in dict.fromkeys(bench["device"]):
        own = bench[(bench["device"] == device) & bench["checkpoint"].isin(list(lines))]
        if len(own):
            tables.append(_table(statistics, lines, own))
    return tables


def _table(statistics: Aggregate, lines: dict[str, Any], own: pd.DataFrame) -> Table:
    engines = list(dict.fromkeys(own["engine"]))
    groups = [group for group, _ in statistics.groups()]
    parts = {_name(group, groups): part for group, part in statistics.groups()}
    rows = []
    for name, line in lines.items():
        found = {row["engine"]: row for row in _of(own, name)}
        if not found:
            continue
        any_one = next(iter(found.values()))
        best = max(found.values(), key=lambda row: row["images_per_second"])
        accuracy = [_accuracy(part, name) for part in parts.values()]
        rows.append(
            (
                Field(name),
                Field(sparsity_text(line)),
                *map(Field, accuracy),
                Field(f"{any_one['packed_bytes'] / 1e6:.2f}"),
                Field(f"{any_one['file_bytes'] / 1e6:.2f}"),
                Field(f"{any_one['flops_sparse'] / 1e6:.1f} of {any_one['flops'] / 1e6:.1f}"),
                *(
                    Field(f"{found[e]['images_per_second']:,.0f}" if e in found else NOTHING, found.get(e) is best)
                    for e in engines
                ),
                Field(f"{best['ratio']:.2f}"),
            )
        )
    header = (
        "Checkpoint",
        "Sparsity %",
        *(f"Mean, {name}" for name in parts),
        "MB packed",
        "MB on disk",
        "M multiply-adds",
        *(f"{engine} img/s" for engine in engines),
        "Times dense",
    )
    first = own.iloc[0]
    notes = (
        f"Measured on {first['processor']}, {first['threads']} of {first['cores']} cores, torch {first['torch']}, batch"
        f" {first['batch']:.0f}, {first['input_size']:.0f} px: medians of {first['turns']:.0f} interleaved runs.",
        "MB packed: the backbone, computed alike for every checkpoint: a mask's bits, and weights in half precision. MB"
        " on disk: the checkpoint's file, and the one it derives from. Multiply-adds of an image: those of the weights"
        " that are left, of the dense network's. Times dense: the fastest engine to torch, dense.",
    )
    return Table(f"Speed · {first['device']}", header, tuple(rows), notes)


def _of(bench: pd.DataFrame, checkpoint: str) -> list[dict[str, Any]]:
    rows = bench[bench["checkpoint"] == checkpoint].to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in rows]


def _accuracy(part: Aggregate, checkpoint: str) -> str:
    values = part.summary.loc[part.summary["checkpoint"] == checkpoint, "mean_accuracy"].tolist()
    return percent(values[0]) if values and not math.isnan(values[0]) else NOTHING


def _name(group: dict[str, str], groups: list[dict[str, str]]) -> str:
    """Return a group's mode, with what distinguishes it from others of the mode."""
    same = [other for other in groups if other["mode"] == group["mode"]]
    more = [group[name] for name in group if name != "mode" and len({other[name] for other in same}) > 1]
    return " ".join(part for part in (group["mode"], *more) if part)
