"""``sparsebench bench``: measure speed on this machine, print it, and write tables and figures."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import extensions
from ..engines.memory import keep_pages
from .listing import columns
from .run import make_selection

if TYPE_CHECKING:
    import pandas as pd

    from ..bench import BenchResult
    from ..schema import Checkpoint

INTERRUPTED = 130


def main(arguments: argparse.Namespace) -> int:
    """Measure what was selected; 130 if it was interrupted, with what was measured written."""
    keep_pages()
    from ..models.entries import select_checkpoints
    from ..registry import load_registry

    registry = load_registry(arguments.registry, [], None)
    selection = make_selection(arguments)
    checkpoints: list[Checkpoint] = select_checkpoints(selection, registry, registry.suite(selection.suite))
    import torch  # what a wrong name doesn't need

    from ..bench import PARTS, BenchOptions, run_bench
    from ..bench.machine import cores
    from ..bench.run import check
    from ..runs.prefetch import fetch_missing
    from .display import Bar

    devices = tuple(arguments.device) or (("cpu", "cuda") if torch.cuda.is_available() else ("cpu",))
    options = BenchOptions(
        out=arguments.out,
        parts=tuple(part for part in PARTS if part in arguments.what),
        engines=tuple(extensions.resolve("engines", name) for name in arguments.engine),
        devices=devices,
        batch=arguments.batch,
        threads=arguments.threads or cores(),
        turns=arguments.turns,
    )
    check(options)
    results = read_accuracy(arguments.results)
    for entry in checkpoints:
        fetch_missing(entry, offline=arguments.offline)
    print(f"{len(checkpoints)} checkpoints, {options.threads} thread(s), batch {options.batch}", file=sys.stderr)
    with Bar("measuring") as bar:

        def show(done: float, total: float, what: str) -> None:
            bar.update(done, total, f"{what}  ({done:.0f} of {total:.0f})")

        result = run_bench(checkpoints, registry, options, results=results, progress=show)
    print(render(result))
    for path in result.files:
        print(path)
    if result.interrupted:
        print(f"interrupted; what was measured until then is in {options.out}", file=sys.stderr)
        return INTERRUPTED
    return 0


def read_accuracy(given: Path | None) -> pd.DataFrame | None:
    """Return the results that were named, else those of ``runs/`` or ``results/mini/``, else none."""
    from ..store import read_results

    if given is not None:
        return read_results(given)
    if (Path("runs") / "records").is_dir() and any((Path("runs") / "records").iterdir()):
        return read_results(Path("runs"))
    curated = Path("results/mini")
    return read_results(curated) if curated.is_dir() else None


def render(result: BenchResult) -> str:
    """Return the tables: engines by checkpoint, then the rest, and the peak."""
    parts = []
    if rows := result.rows.get("engines"):
        head = ["CHECKPOINT", "ENGINE", "DEVICE", "IMG/S", "MS A BATCH", "QUARTILES", "TIMES DENSE", "OF PEAK", "MB"]
        parts.append(columns([head, *map(_engine_line, rows)]))
        peaks: dict[str, float] = {}
        for row in rows:
            peaks[row["device"]] = max(peaks.get(row["device"], 0.0), row.get("peak_flops") or 0.0)
        shown = ", ".join(f"{device} {peak / 1e9:,.0f} GFLOP/s" for device, peak in peaks.items())
        parts.append(f"Times dense: to torch on the dense network. Peak: a matrix product ({shown}). MB: peak memory.")
    others = [row for part, rows in result.rows.items() if part != "engines" for row in rows]
    if others:
        head = ["WHAT", "NAME", "SECONDS", "QUARTILES", "IMG/S", "RATIO", "TO"]
        parts.append(columns([head, *map(_work_line, others)]))
    return "\n\n".join(parts) if parts else "nothing was measured"


def _engine_line(row: dict[str, Any]) -> list[str]:
    if row.get("error"):
        return [row["checkpoint"], row["engine"], row["device"], "–", "–", "–", "–", "–", row["error"]]
    memory = row["peak_memory"]
    return [
        row["checkpoint"],
        row["engine"],
        row["device"],
        f"{row['images_per_second']:,.1f}",
        f"{row['ms']:.2f}",
        f"{row['ms_low']:.2f}-{row['ms_high']:.2f}",
        f"{row['ratio']:.2f}",
        f"{row['share_of_peak']:.0%}",
        "?" if memory is None else f"{memory / 1e6:.0f}",
    ]


def _work_line(row: dict[str, Any]) -> list[str]:
    rate, ratio = row.get("images_per_second"), row.get("ratio")
    return [
        row["what"],
        row["name"],
        f"{row['seconds']:.4g}",
        f"{row['seconds_low']:.4g}-{row['seconds_high']:.4g}",
        "" if rate is None else f"{rate:,.0f}",
        "" if ratio is None else f"{ratio:.3g}",
        row.get("ratio_to") or "",
    ]
