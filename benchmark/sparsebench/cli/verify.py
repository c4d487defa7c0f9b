"""``sparsebench verify``: what is wrong with a bundle of results, or what is known of its runs."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter

from ..common.paths import cache_dir
from ..exchange import Means, Verified, verify_bundle
from ..registry import load_registry
from ..schema.text import printable

REFUSED = 2
"""The status where a bundle is refused, as for any input that can't be used."""


def main(arguments: argparse.Namespace) -> int:
    """Print what was found, as text or JSON."""
    found = verify_bundle(
        arguments.bundle,
        means_of(arguments),
        None if arguments.json else print,
    )
    if arguments.json:
        print(json.dumps(found.document(), indent=1))
        return REFUSED if found.problems else 0
    show_problems(found)
    if not found.problems:
        print("\n".join(summary(found)))
    return REFUSED if found.problems else 0


def means_of(arguments: argparse.Namespace) -> Means:
    """Return what the arguments say that bundles are verified with."""
    return Means(
        registry=load_registry([], arguments.tasks_dir, arguments.data),
        data_dir=arguments.data,
        cache_dir=cache_dir(),
        checkpoints=arguments.checkpoint,
        rerun=arguments.rerun,
    )


def show_problems(found: Verified) -> None:
    """Print each problem of a bundle as an error."""
    for problem in found.problems:
        print(f"error: {problem.line}", file=sys.stderr)
    if found.problems:
        count = len(found.problems)
        print(f"{found.name} is refused: {count} problem{'s' if count > 1 else ''}", file=sys.stderr)


def summary(found: Verified) -> list[str]:
    """Return what is known of a bundle that holds, line by line."""
    verdicts = Counter(found.verdicts.values())
    status = Counter(record.status for record in found.records)
    names = {record.spec.checkpoint for record in found.records}
    tasks = {record.spec.task for record in found.records}
    lines = [
        f"{found.name}: {found.verdict}",
        f"sha256: {found.sha256}",
        f"runs: {status['ok']} finished, {status['failed']} failed, of {len(names)} checkpoints on {len(tasks)} tasks",
        "of the finished: " + ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items())),
    ]
    for one in found.again:
        lines.append(f"run again: {one.cell}: claimed {one.claimed:.4f}, now {one.now:.4f}, {one.agreement:.1%} agree")
    lines += [f"note: {note}" for note in found.notes]
    return [printable(line) for line in lines]
