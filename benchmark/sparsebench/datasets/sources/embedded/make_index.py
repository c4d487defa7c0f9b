"""Write the split files of the embedded tasks again.

By hand: ``python -m sparsebench.datasets.sources.embedded.make_index FOLDER``.

They are published data, so this is only for whoever changes a task; a test asserts that the committed files are what
this module makes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from . import digits, glyphs, textures
from .index import Row, write_index

MAKERS: dict[str, Callable[[], list[Row]]] = {
    "digits": digits.make_rows,
    "glyphs": glyphs.make_rows,
    "textures": textures.make_rows,
}


def main(arguments: Sequence[str]) -> int:
    """Write every split file into the folder given."""
    if len(arguments) != 1:
        print("usage: python -m sparsebench.datasets.sources.embedded.make_index FOLDER", file=sys.stderr)
        return 2
    for name, make in MAKERS.items():
        write_index(Path(arguments[0]) / f"{name}.csv", make())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
