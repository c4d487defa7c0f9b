"""Print the embedded checkpoints as a Markdown table; the model card shows it, and a test holds the two together."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from common import run_script
from sparsebench.common.paths import package_file
from sparsebench.registry import load_registry
from sparsebench.report.style import percent
from sparsebench.schema import Checkpoint


def row(checkpoint: Checkpoint) -> list[str]:
    """Return a checkpoint's fields as text."""
    upstream = checkpoint.upstream
    top1 = "–" if upstream is None or upstream.top1 is None else f"{percent(upstream.top1)} %"
    steps = "–" if upstream is None or upstream.steps is None else f"{upstream.steps:,}"
    exact = "0" if checkpoint.sparsity_exact is None else f"{checkpoint.sparsity_exact:.6f}"
    size = package_file(checkpoint.file.path.removeprefix("package:")).stat().st_size
    spread = checkpoint.nm or checkpoint.distribution
    return [f"`{checkpoint.id}`", top1, exact, spread, steps, f"{size / 1000:,.0f}"]


def table(checkpoints: Sequence[Checkpoint]) -> list[str]:
    """Return the table's lines."""
    rows = [row(c) for c in checkpoints if c.file.path.startswith("package:")]
    header = ["Checkpoint", "Top-1", "Sparsity", "Distribution", "Steps", "kB"]
    return ["| " + " | ".join(line) + " |" for line in (header, ["---", *["---:"] * 2, "---", *["---:"] * 2], *rows)]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table."""
    argparse.ArgumentParser(description=__doc__, allow_abbrev=False).parse_args(argv)
    print("\n".join(table(list(load_registry().checkpoints.values()))))
    return 0


if __name__ == "__main__":
    sys.exit(run_script(main))
