"""``sparsebench predict``: an exported network on a folder of images."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING

from ..schema import ResultsError
from ..schema.text import printable
from .listing import columns

if TYPE_CHECKING:
    from pathlib import Path

    from ..deploy.predict import FolderPredictions

COLUMNS = ("file", "class", "index", "score")


def main(arguments: argparse.Namespace) -> int:
    """Print or write a row per image; 1 if some can't be read."""
    from ..api.exporting import predict
    from .display import Bar

    with Bar("predicting") as bar:
        found = predict(
            arguments.model,
            arguments.images,
            batch=arguments.batch,
            progress=bar.update,
            device=arguments.device,
            precision=arguments.precision,
            engine=arguments.engine,
            threads=arguments.threads,
            channels_last=not arguments.no_channels_last,
        )
    if arguments.out is not None:
        _write(found, arguments.out)
        print(f"{len(found.files)} rows in {arguments.out}", file=sys.stderr)
    if arguments.json:
        print(json.dumps({"predictions": rows(found), "broken": found.broken}, indent=1, ensure_ascii=False))
    elif arguments.out is None:
        table = [[printable(str(row[name])) for name in COLUMNS[:2]] + [f"{row['score']:.3f}"] for row in rows(found)]
        print(columns([["FILE", "CLASS", "SCORE"], *table]))
    for reason in found.broken.values():
        print(f"error: {printable(reason)}", file=sys.stderr)
    if found.broken:
        print(f"error: {len(found.broken)} of {len(found.broken) + len(found.files)} files can't be read",
              file=sys.stderr)  # fmt: skip
    return 1 if found.broken else 0


def rows(found: FolderPredictions) -> list[dict[str, str | int | float]]:
    """Return a row per image that was read."""
    values = zip(
        found.files.tolist(), found.names.tolist(), found.predicted.tolist(), found.scores.tolist(), strict=True
    )
    return [dict(zip(COLUMNS, row, strict=True)) for row in values]


def _write(found: FolderPredictions, path: Path) -> None:
    from ..common.files import write_text
    from ..store.csvfile import to_csv

    try:
        write_text(path, to_csv(COLUMNS, [list(row.values()) for row in rows(found)]))
    except OSError as error:
        raise ResultsError(f"can't write {str(path)!r}: {error.strerror or error}") from error
