"""Draw every figure from the committed tables alone: the paper's results, and those of the embedded grid.

``figures/published/`` and ``figures/mini/`` get a PNG and a PDF of each, with its caption as text and LaTeX; ``--runs``
takes another table. No torch.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from common import CURATED, PUBLISHED, run_script, shown
from sparsebench.common import files
from sparsebench.report.figures.over_sparsity import figures
from sparsebench.store import ensure_writable, read_results
from sparsebench.store.classes import classes_reader


def draw(runs: Path | str, out: Path) -> list[Path]:
    """Write all figures of a results table to a folder, and return their files."""
    written = []
    for picture in figures(read_results(runs), classes_reader(runs)):
        for name, data in picture.files():
            files.write_bytes(out / name, data)
            written.append(out / name)
    return written


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the figures and print their files."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0], allow_abbrev=False)
    parser.add_argument(
        "--runs", metavar="CSV", help="a tidy CSV, a results folder or `published` (default: both committed tables)"
    )
    parser.add_argument("--out", type=Path, default=Path("figures"), metavar="DIR", help="where to (default: figures/)")
    arguments = parser.parse_args(argv)
    tables = {arguments.out: arguments.runs}
    if arguments.runs is None:
        tables = {arguments.out / path.parent.name: path for path in (PUBLISHED, CURATED)}
    ensure_writable(arguments.out)
    for out, runs in tables.items():
        for path in draw(runs, out):
            print(shown(path))
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
