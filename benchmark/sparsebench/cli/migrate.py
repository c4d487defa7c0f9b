"""``sparsebench migrate``: results of an older version, rewritten for this one."""

from __future__ import annotations

import argparse

from ..store.migrate import migrate


def main(arguments: argparse.Namespace) -> int:
    """Rewrite each folder or file, and say how much that was."""
    for path in arguments.results:
        count = migrate(path)
        print(f"{path}: {count} record(s) rewritten" if count else f"{path}: nothing to rewrite")
    return 0
