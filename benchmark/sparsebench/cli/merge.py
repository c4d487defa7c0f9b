"""``sparsebench merge``: verified bundles of results, added to a results folder."""

from __future__ import annotations

import argparse
import json
import sys

from ..exchange import merge_bundles
from ..schema.text import printable
from .verify import means_of


def main(arguments: argparse.Namespace) -> int:
    """Merge; 1 if there were conflicts, which are named and left out."""
    done = merge_bundles(
        arguments.bundles,
        arguments.results,
        means_of(arguments),
        None if arguments.json else print,
    )
    if arguments.json:
        document = {
            "added": list(done.added),
            "same": list(done.same),
            "conflicts": [vars(conflict) for conflict in done.conflicts],
            "verdicts": {one.name: one.verdict for one in done.verified},
        }
        print(json.dumps(document, indent=1))
    else:
        for conflict in done.conflicts:
            print(f"conflict: {printable(conflict.line)}", file=sys.stderr)
        for one in done.verified:
            print(printable(f"{one.name}: {one.verdict}"))
        counts = f"{len(done.added)} runs added, {len(done.same)} there already, {len(done.conflicts)} in conflict"
        print(f"{arguments.results}: {counts}")
    return 1 if done.conflicts else 0
