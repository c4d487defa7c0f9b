"""Draw what trainings with random labels memorise and recover.

    scripts/memorisation.py LOG [LOG ...] [--out FOLDER] [--table FILE]

Each LOG is what ``sparsebench prune --relabel N`` wrote beside its checkpoint, which says how many images and classes
there were. Writes ``memorisation`` as PNG and PDF, with its caption as text and as a LaTeX figure, and
on request the numbers: one row per training and epoch, in fractions.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Mapping
from pathlib import Path

from sparsebench.common.files import write_bytes
from sparsebench.models.formats import sparse_file
from sparsebench.registry.names import method_title
from sparsebench.report.figures.memorisation import Memorised, memorisation_figure

_COLUMNS = ("phase", "sparsity", "val_top1", "memorised", "recovered")


def main() -> None:
    """Read the logs, and write the figure."""
    parser = argparse.ArgumentParser(description="draw what trainings with random labels memorise")
    parser.add_argument("logs", nargs="+", type=Path, metavar="LOG", help="logs of prune --relabel: NAME.log.csv")
    parser.add_argument("--out", type=Path, default=Path(), metavar="FOLDER", help="where to (default: here)")
    parser.add_argument("--table", type=Path, metavar="FILE", help="write the numbers, as CSV")
    arguments = parser.parse_args()
    try:
        logs = [read(path) for path in arguments.logs]
        picture = memorisation_figure(logs)
    except (OSError, ValueError, KeyError) as error:
        parser.error(str(error))
    for name, data in picture.files():
        write_bytes(arguments.out / name, data)
        print(arguments.out / name)
    if arguments.table:
        names = [path.name.removesuffix(".log.csv") for path in arguments.logs]
        write_table(arguments.table, dict(zip(names, logs, strict=True)))
        print(arguments.table)


def read(path: Path) -> Memorised:
    """Return a log with what its checkpoint says of the training.

    Raises
    ------
    ValueError
        If the training had no random labels.
    """
    with path.open(newline="") as file:
        lines = list(csv.DictReader(file))
    if not lines or "memorised" not in lines[0]:
        raise ValueError(f"{path} is not the log of a training with random labels (prune --relabel)")
    beside = path.with_name(path.name.removesuffix(".log.csv") + ".safetensors")
    described = sparse_file.describe(beside)
    if described is None:
        raise ValueError(f"{beside} is not a checkpoint of sparsebench prune")
    meta = described["meta"]
    recipe = meta["recipe"]
    sparsity = f" {100 * meta['sparsity']:g} %" if meta["sparsity"] else ""
    classes = json.loads(recipe["data"])[3]
    return Memorised(f"{method_title(meta['method'])}{sparsity}", lines, int(recipe["relabel"]), int(classes))


def write_table(path: Path, logs: Mapping[str, Memorised]) -> None:
    """Write the accuracies of each training by epoch, counted from 1."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("checkpoint", "epoch", *_COLUMNS))
        for name, log in logs.items():
            for line in log.lines:
                numbers = (line[column] if column == "phase" else f"{float(line[column]):.6g}" for column in _COLUMNS)
                writer.writerow((name, int(line["epoch"]) + 1, *numbers))


if __name__ == "__main__":
    main()
