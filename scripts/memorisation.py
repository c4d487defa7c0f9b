"""Draw what trainings with random labels memorise and recover.

    scripts/memorisation.py LOG [LOG ...] [--out FOLDER]

Each LOG is what ``sparsebench prune --relabel N`` wrote beside its checkpoint, which says how many images and classes
there were. Writes ``memorisation`` as PNG and PDF, with its caption as text and as a LaTeX figure.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

from safetensors import safe_open

from sparsebench.common.files import write_bytes
from sparsebench.registry.names import method_title
from sparsebench.report.figures.memorisation import Memorised, memorisation_figure


def main() -> None:
    """Read the logs, and write the figure."""
    parser = argparse.ArgumentParser(description="draw what trainings with random labels memorise")
    parser.add_argument("logs", nargs="+", type=Path, metavar="LOG", help="logs of prune --relabel: NAME.log.csv")
    parser.add_argument("--out", type=Path, default=Path(), metavar="FOLDER", help="where to (default: here)")
    arguments = parser.parse_args()
    try:
        picture = memorisation_figure([read(path) for path in arguments.logs])
    except (OSError, ValueError, KeyError) as error:
        parser.error(str(error))
    for name, data in picture.files():
        write_bytes(arguments.out / name, data)
        print(arguments.out / name)


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
    with safe_open(beside, framework="np") as checkpoint:
        meta = json.loads(checkpoint.metadata()["sparsebench"])
    recipe = meta["recipe"]
    sparsity = f" {100 * meta['sparsity']:g} %" if meta["sparsity"] else ""
    classes = json.loads(recipe["data"])[3]
    return Memorised(f"{method_title(meta['method'])}{sparsity}", lines, int(recipe["relabel"]), int(classes))


if __name__ == "__main__":
    main()
