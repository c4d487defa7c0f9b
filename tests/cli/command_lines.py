"""Command lines that several tests give."""

from __future__ import annotations

from pathlib import Path


def arguments(tasks: Path, results: Path) -> list[str]:
    return [
        "run",
        "--suite",
        "quick",
        "--tasks-dir",
        str(tasks),
        "--results",
        str(results),
        "--method",
        "acdc",
        "--sparsity",
        "0.9",
        "--no-reference",
    ]
