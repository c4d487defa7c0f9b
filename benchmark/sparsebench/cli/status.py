"""``sparsebench status``: what is done, running, queued, failed and missing in a results folder."""

from __future__ import annotations

import argparse

from .status_lines import display


def main(arguments: argparse.Namespace) -> int:
    """Show how far the plans of a results folder are; 1 if a run has failed or was lost."""
    from ..runs.status import look_over
    from .watch import watch

    if arguments.watch:
        overview = watch(arguments.results, arguments.interval)
    else:
        overview = look_over(arguments.results)
        print("\n".join(display(overview, arguments.results)))
    return 1 if overview.trouble else 0
