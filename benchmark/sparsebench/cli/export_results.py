"""``sparsebench export-results``: a results folder as one file."""

from __future__ import annotations

import argparse
import sys

from ..common.paths import cache_dir
from ..exchange import export_results


def main(arguments: argparse.Namespace) -> int:
    """Write the bundle, and say what is in it and what it lacks."""
    written = export_results(
        arguments.results,
        arguments.out,
        logits=arguments.logits,
        registry_files=arguments.registry,
        tasks_dirs=arguments.tasks_dir,
        data_dir=arguments.data,
        cache_dir=cache_dir(),
    )
    for note in written.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"written: {written.path}: {written.records} runs, {written.predictions} with predictions")
    print(f"sha256: {written.sha256}")
    print(f"check it as others will: sparsebench verify {written.path}")
    return 0
