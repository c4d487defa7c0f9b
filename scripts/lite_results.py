"""Write ``results/lite/`` from the folder that ``scripts/lite.py`` wrote to: records, tables and figures.

Networks that the study has not done yet are left out; the same call writes them once they are whole.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

import curate
from common import ROOT, run_script, shown
from lite import METHODS, NETWORKS, TASKS, dense
from sparsebench.bench.figures import bench_figures
from sparsebench.common import files
from sparsebench.registry import load_registry
from sparsebench.report import Report, read_bench, write_report
from sparsebench.report.further import Further
from sparsebench.schema import ResultsError
from sparsebench.store import Store, read_results, write_curated
from sparsebench.store.classes import classes_reader
from sparsebench.store.curated import FILE, write_classes
from sparsebench.store.further import further_frame, further_reader

OUT = ROOT / "results" / "lite"
RUNS = 13 * 23
"""Of one network: 13 checkpoints; 2 tasks x (5 seeds of SGD and few images, one run of L-BFGS), and its own head."""
TEXTS = ("tables.md", "upstream.[cm]*", "fewshot.*", "shift.*", "corruptions.csv")
FIGURES = ("relative_error*", "accuracy-*", "shots*")


def done(runs: pd.DataFrame) -> list[str]:
    """Return the architectures of which every run is there."""
    counts = runs[runs["status"] == "ok"].groupby("arch").size()
    return [arch for arch in (dense(n).partition(".")[0] for n in NETWORKS) if counts.get(arch, 0) >= RUNS]


def speeds(work: Path) -> pd.DataFrame | None:
    """Return the measured speeds of all networks, or None if there are none."""
    folders = [work / "bench" / f"{network}_{part}" for network in NETWORKS for part in ("dense", *METHODS)]
    found = [read_bench(folder) for folder in folders if (folder / "engines.csv").exists()]
    return pd.concat(found, ignore_index=True) if found else None


def write_records(work: Path, out: Path) -> list[str]:
    """Write the runs of whole networks, their predicted classes and speeds; return the architectures."""
    runs = curate.merge([read_results(work / "runs")])
    whole = done(runs)
    if not whole:
        raise ResultsError(f"no network of {str(work)!r} is done", "run scripts/lite.py again; it resumes")
    runs = runs[runs["arch"].isin(whole)]
    curate.refuse_failed(runs)
    write_curated(runs, out / "runs.csv")
    write_classes(out / FILE, curate.predictions_of([work / "runs"], set(runs["record_key"])).items())
    measured = speeds(work)
    if measured is not None:
        measured = measured[measured["arch"].isin(whole)]
        files.write_text(out / "engines.csv", measured.to_csv(index=False))
    return whole


def write_tables(work: Path, out: Path) -> None:
    """Write tables and figures of the curated runs, and of the corrupted images that only the study's folder has."""
    runs = out / "runs.csv"
    frame = read_results(runs)
    bench = read_bench(out) if (out / "engines.csv").exists() else None
    kept = set(frame["record_key"])
    records = [record for record in Store(work / "runs").read() if record.record_key in kept]
    further = Further(further_frame(records), further_reader(records, work / "runs"))
    registry = load_registry([], [TASKS], None)
    report = Report(frame, registry, predictions=classes_reader(runs), further=further, bench=bench)
    with tempfile.TemporaryDirectory() as name:
        made = Path(name)
        write_report(report, made)
        for picture in [] if bench is None else bench_figures(bench, frame):
            for file, data in picture.files():
                if file.startswith("speedup"):  # rates of different minutes can't be in one figure, ratios can
                    files.write_bytes(out / "figures" / file, data)
        for folder, patterns in ((out, TEXTS), (out / "figures", FIGURES)):
            for path in sorted(path for pattern in patterns for path in made.glob(pattern)):
                files.write_bytes(folder / path.name, path.read_bytes())


def main(argv: Sequence[str] | None = None) -> int:
    """Write all of it."""
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--work", type=Path, default=Path("lite-study"), metavar="DIR", help="as for scripts/lite.py")
    parser.add_argument("--out", type=Path, default=OUT, metavar="DIR", help="where to write (default: results/lite)")
    arguments = parser.parse_args(argv)
    whole = write_records(arguments.work, arguments.out)
    write_tables(arguments.work, arguments.out)
    print(f"{shown(arguments.out)}: {', '.join(whole)}")
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
